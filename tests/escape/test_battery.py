"""Every technique against the real sandbox, and against one that is weakened as the technique says.

The first test shows that the sandbox holds. The second shows that the first one proves something: where the named guard
or wall is away, the same file does its harm.
"""

from __future__ import annotations

import os
import platform
import sys
from collections import Counter

import pytest
from battery import WALLS_WORD, Battery
from outcomes import PROOFS, REAL, check
from place import Place
from technique import GROUPS, Technique, files, read_all

TECHNIQUES = read_all()
AT_LEAST = 150
pytestmark = pytest.mark.asyncio(loop_scope="module")

_HAVE = {
    "root": os.geteuid() == 0,
    "x86_64": platform.machine() == "x86_64",
    "except_star_bug": sys.version_info < (3, 12, 9),
}
each = pytest.mark.parametrize("technique", TECHNIQUES, ids=lambda technique: technique.id)


@each
async def test_it_is_held(technique: Technique, battery: Battery, place: Place) -> None:
    """Nobody gets out, and what happens instead is what the file says."""
    seen = await battery.real(technique, place)
    assert not seen.touched, f"it made a file outside: {seen}"
    assert place.token not in f"{seen.value}{seen.reason}{seen.said}", f"it read the canary: {seen}"
    wrong = check(technique.real, seen, REAL)
    assert wrong is None, wrong


@each
async def test_it_works_where_it_is_let(technique: Technique, battery: Battery, place: Place) -> None:
    """Otherwise the test above would prove nothing."""
    for need in technique.needs:
        if not _HAVE[need]:
            pytest.skip(f"the proof needs {need}")
    seen = await battery.weakened(technique, place)
    wrong = check(technique.proof, seen, PROOFS)
    assert wrong is None, wrong


async def test_there_are_enough_of_them() -> None:
    """And each group has its share."""
    count = Counter(technique.group for technique in TECHNIQUES)
    assert sum(count.values()) >= AT_LEAST, count
    assert set(count) == set(GROUPS), count


async def test_no_two_are_the_same() -> None:
    """A technique that is told twice does not count twice."""
    for field in ("title", "source"):
        told = Counter(" ".join(getattr(technique, field).split()) for technique in TECHNIQUES)
        assert not [text for text, times in told.items() if times > 1], field


async def test_every_file_is_read() -> None:
    """A file beside the groups, or with another ending, would be forgotten."""
    assert len(TECHNIQUES) == sum(len(list(files(group))) for group in GROUPS)


async def test_what_is_taken_away_is_named() -> None:
    """An empty or unknown weakening would prove nothing."""
    import weakened

    from sandbox.jail.walls import WALLS

    known = {
        "lua": set(weakened.LUA) | {WALLS_WORD},
        "python": set(weakened.PYTHON) | {WALLS_WORD},
        "native": set(WALLS) | {"deadline outside"},
    }
    for technique in TECHNIQUES:
        assert technique.weakened, technique.id
        if technique.group in known:
            assert set(technique.weakened) <= known[technique.group], technique.id
        else:
            assert len(technique.weakened) == 1, technique.id
