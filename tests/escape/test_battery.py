"""Every technique against the real sandbox, and against one that is weakened as the technique says.

The first test shows that the sandbox holds. The second shows that the first one proves something: where the named guard
or wall is away, the same file does its harm.
"""

from __future__ import annotations

import importlib
import os
import platform
import sys
from collections import Counter
from dataclasses import replace

import pytest
from battery import WALLS_WORD, Battery
from outcomes import PROOFS, REAL, check
from place import COMMANDS, Place
from technique import GROUPS, Technique, files, parse, read_all

from sandbox.jail.walls import SECCOMP, WALLS

TECHNIQUES = read_all()
AT_LEAST = 150
pytestmark = pytest.mark.asyncio(loop_scope="module")

_HAVE = {
    "root": os.geteuid() == 0,
    "x86_64": platform.machine() == "x86_64",
    "ip": os.access(COMMANDS["ip"][0], os.X_OK),
    "except_star_bug": sys.version_info < (3, 12, 9),
    "c_recursion_bug": sys.version_info < (3, 12),  # from then on the interpreter bounds its own stack in C
    "slow_digits": sys.version_info < (3, 12),  # from then on that is a module of Python, which no worker has
}
NOT_BUILT_IN = [{"errno": "ENOSYS"}, {"errno": "EAFNOSUPPORT"}]
each = pytest.mark.parametrize("technique", TECHNIQUES, ids=lambda technique: technique.id)
each_held = pytest.mark.parametrize(
    "technique",
    [
        pytest.param(one, id=one.id, marks=pytest.mark.xfail(reason=one.open, strict=True) if one.open else ())
        for one in TECHNIQUES
    ],
)


@each_held
async def test_it_is_held(technique: Technique, battery: Battery, place: Place) -> None:
    """Nobody gets out, and what happens instead is what the file says."""
    if technique.open and not all(_HAVE[need] for need in technique.needs):
        pytest.skip(f"the attack needs {', '.join(technique.needs)}")
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


@pytest.mark.parametrize("technique", [one for one in TECHNIQUES if one.group == "lua"], ids=lambda one: one.id)
async def test_it_is_held_in_luajit_as_well(technique: Technique, battery: Battery, place: Place) -> None:
    """The other flavour has other libraries, limits and errors, so only this is asked: that the attack did not work."""
    seen = await battery.real(replace(technique, group="luajit"), place)
    assert not seen.touched, f"it made a file outside: {seen}"
    assert place.token not in f"{seen.value}{seen.reason}{seen.said}", f"it read the canary: {seen}"
    assert check(technique.proof, seen, PROOFS) is not None, f"it worked: {seen}"


MANY_WALLS = [one for one in TECHNIQUES if one.group == "native" and len(one.weakened) > 1]


@pytest.mark.parametrize("technique", MANY_WALLS, ids=lambda technique: technique.id)
async def test_without_seccomp_another_wall_holds(technique: Technique, battery: Battery, place: Place) -> None:
    """An attacker needs two holes. It also shows that no technique takes more walls away than it must."""
    seen = await battery.without(technique, place, SECCOMP)
    if seen.value in NOT_BUILT_IN:
        pytest.skip("this kernel has none of what is attacked")
    assert check(technique.proof, seen, PROOFS) is not None, f"seccomp alone was in the way: {seen}"


PLAIN_LOOPS = {"lua": "-- {}\n\nwhile true do end\n", "python": "# {}\n\nwhile True:\n    pass\n"}


@pytest.mark.parametrize("language", PLAIN_LOOPS)
async def test_the_deadline_inside_does_stop_a_plain_loop(language: str, battery: Battery, place: Place) -> None:
    """What stands for the deadline outside in weakened runs is a limit, so whoever outlasts it has got around it."""
    mark = PLAIN_LOOPS[language].partition(" ")[0]
    told = (
        "title: loop",
        "reference: CWE-835",
        "real: budget: cpu",
        "weakened: deadline outside, walls",
        "proof: value: 1",
    )
    header = f"\n{mark} ".join(told)
    loop = parse(PLAIN_LOOPS[language].format(header), language, "plain_loop")
    seen = await battery.weakened(loop, place)
    assert seen.status == "error", seen
    assert "timeout" in str(seen.reason)


async def test_there_are_enough_of_them() -> None:
    """And each group has its share."""
    count = Counter(technique.group for technique in TECHNIQUES)
    assert sum(count.values()) >= AT_LEAST, count
    assert set(count) == set(GROUPS), count


async def test_no_two_are_the_same() -> None:
    """A technique that is told twice does not count twice."""
    titles = Counter(technique.title for technique in TECHNIQUES)
    attacks = Counter(" ".join(technique.attack.split()) for technique in TECHNIQUES)
    assert not [text for text, times in (titles + attacks).items() if times > 1]


async def test_every_file_is_read() -> None:
    """A file beside the groups, or with another ending, would be forgotten."""
    assert len(TECHNIQUES) == sum(len(list(files(group))) for group in GROUPS)


async def test_what_is_taken_away_is_named() -> None:
    """An empty or unknown weakening would prove nothing."""
    import weakening

    importlib.import_module("weakened")  # registers them

    known = {
        "lua": set(weakening.LUA) | {WALLS_WORD},
        "luajit": set(weakening.LUA) | {WALLS_WORD},
        "python": set(weakening.PYTHON) | {WALLS_WORD},
        "native": set(WALLS) | {"deadline outside"},
    }
    for technique in TECHNIQUES:
        assert technique.weakened, technique.id
        if technique.group in known:
            assert set(technique.weakened) <= known[technique.group], technique.id
        else:
            assert len(technique.weakened) == 1, technique.id
