"""Links and directories are swapped while calls run: nothing that is denied, or lies outside, ever comes out.

Each test counts that the race was really there, over a bounded number of rounds.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from running import Kept
from trees import streamed

from kernel.files import AT_FDCWD, RENAME_EXCHANGE, rename_at
from policies.decide import Effective, Layer, decide_below, decide_effective
from policies.model import Effect, Limits, Rule
from policies.paths import PathPattern
from sandbox.budget import Budget
from sandbox.gate import Gate
from sandbox.parties import Session
from sandbox.pump import Pump
from stdlib.catalogue import load
from stdlib.host import Host, RunContext

ROUNDS = 400
ENOUGH = 20_000  # rounds after which a race that has not happened will not


class Ground:
    """What may be seen, what may not, and a name that stands for either in turn."""

    def __init__(self, place: Path) -> None:
        self.root = place / "root"
        self.secret = place / "secret"
        for directory, word in ((self.root / "inner", "open"), (self.secret, "secret")):
            (directory / f"{word}-below").mkdir(parents=True)
            (directory / "file").write_text(f"{word}\n")
            (directory / f"{word}-below/file").write_text(f"{word}\n")
        self.name = self.root / "inner"
        self.looks = itertools.cycle(range(24))  # while the name is what it was: some calls go through, others do not

    def swap_link(self) -> None:
        """A link that leads to either."""
        spare = self.root / "spare"
        for target in (self.secret, self.root / "inner"):
            spare.symlink_to(target)
            spare.rename(self.root / "link")

    def swap_directory(self) -> None:
        """A directory that is a link to what may not be seen, for a moment."""
        away = self.root.parent / "away"
        self.name.rename(away)
        self.name.symlink_to(self.secret)
        self.name.unlink()
        away.rename(self.name)
        for _ in range(next(self.looks)):
            self.root.stat()


@contextmanager
def swapping(act: Any) -> Iterator[None]:
    stop = threading.Event()

    def go_on() -> None:
        while not stop.is_set():
            act()

    swapper = threading.Thread(target=go_on)
    swapper.start()
    try:
        yield
    finally:
        stop.set()
        swapper.join()


def gate_of(ground: Ground) -> Gate:
    """A gate whose policy allows everything, but nothing of what is secret."""
    pattern = PathPattern.parse(f"{ground.secret}/**")
    rules = (Rule(Effect.ALLOW, "*", "test:1"), Rule(Effect.DENY, "*", "test:2", paths=(pattern,)))
    allowed = Effective((Layer("test", rules),))
    limits = Limits(calls=1_000_000, calls_per_s=1_000_000)
    return Gate(
        load(), partial(decide_effective, allowed), Kept(), Session("s", "r", "tester"), Budget(limits), Host(),
        RunContext(), decide_below=partial(decide_below, allowed),
    )  # fmt: skip


CONTENT: dict[str, list[Any]] = {
    "fs.read": [], "fs.hash": [], "fs.magic": [], "fs.lines": [], "fs.read_stream": [], "fs.tail": [],
}  # fmt: skip


async def content(gate: Gate, name: str, path: str) -> tuple[str, str]:
    """What a call gives of a path: its error's code, or all that came, as text."""
    options = {"start": "beginning"} if name == "fs.tail" else {}
    reply = await gate.call(name, [path], options)
    if reply.error is not None:
        return reply.error.code, ""
    value = reply.value
    if hasattr(value, "thing") and isinstance(value.thing, Pump):
        bodies: list[bytes] = []
        while gate.holder.find(value.number) is not None:
            await gate.pull(value.number, bodies.append)
        return "ok", repr(bodies)
    return "ok", repr(value)


@pytest.mark.parametrize("name", sorted(CONTENT))
async def test_what_a_link_leads_to_is_what_was_decided_on(tmp_path: Path, name: str) -> None:
    ground = Ground(tmp_path)
    (ground.root / "link").symlink_to("inner")
    gate = gate_of(ground)
    secret = repr((await content(gate_of_all(ground), name, str(ground.secret / "file")))[1])
    seen: dict[str, int] = {}
    with swapping(ground.swap_link):
        for _ in range(ENOUGH):
            code, told = await content(gate, name, str(ground.root / "link/file"))
            seen[code] = seen.get(code, 0) + 1
            if code == "ok" and name not in ("fs.magic", "fs.hash"):
                assert "secret" not in told
            if code == "ok" and name == "fs.hash":
                assert told not in secret
            if sum(seen.values()) >= ROUNDS and len(seen) >= 2:
                break
    assert set(seen) == {"ok", "denied"}, "the race did not happen: the test proves nothing"


def gate_of_all(ground: Ground) -> Gate:
    """A gate that allows everything, to see what must not be seen."""
    allowed = Effective((Layer("all", (Rule(Effect.ALLOW, "*", "test:1"),)),))
    return Gate(
        load(), partial(decide_effective, allowed), Kept(), Session("s", "r", "tester"), Budget(Limits()), Host(),
        RunContext(),
    )  # fmt: skip


TREES: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "fs.walk": ([], {}), "fs.glob": ([["**"]], {}), "fs.disk_usage": ([], {"depth": 9}),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(TREES))
def test_no_walk_leaves_its_root(tmp_path: Path, name: str) -> None:
    """A directory that becomes a link between its listing and its opening is not entered."""
    ground = Ground(tmp_path)
    before, named = TREES[name]
    misses = hits = 0
    with swapping(ground.swap_directory):
        for _ in range(ENOUGH):
            items, _ = streamed(name, *before, str(ground.root), **named)
            paths = [item["path"] for item in items]
            assert not [path for path in paths if "secret" in path.removeprefix(str(tmp_path))]
            is_hit = any("open-below" in path for path in paths)
            hits, misses = hits + is_hit, misses + (not is_hit)
            if hits + misses >= ROUNDS and hits and misses:
                break
    assert hits, "the race did not happen: the test proves nothing"
    assert misses, "the race did not happen: the test proves nothing"


@pytest.mark.parametrize("kind", ["directory", "file"])
def test_no_search_reads_what_a_link_leads_to(tmp_path: Path, kind: str) -> None:
    """A directory or a file that becomes a link between its listing and its opening is not searched."""
    ground = Ground(tmp_path)
    if kind == "file":
        ground.name, ground.secret = ground.name / "file", ground.secret / "file"
    looked_for = str(ground.root / "inner/file")
    misses = hits = 0
    with swapping(ground.swap_directory):
        for _ in range(ENOUGH):
            items, _ = streamed("fs.grep", [str(ground.root)], "open|secret", recursive=True)
            assert not [item for item in items if "secret" in item["text"]]
            is_hit = any(item["path"] == looked_for for item in items)
            hits, misses = hits + is_hit, misses + (not is_hit)
            if hits + misses >= ROUNDS and hits and misses:
                break
    assert hits, "the race did not happen: the test proves nothing"
    assert misses, "the race did not happen: the test proves nothing"


async def test_no_directory_is_made_but_where_it_was_decided_on(tmp_path: Path) -> None:
    """Whoever owns a directory on the way could have the agent make one with a mode of their choice, anywhere."""
    ground = Ground(tmp_path)
    for place in (ground.root / "inner", ground.secret):
        (place / "both").mkdir()
    (ground.root / "link").symlink_to(ground.secret)
    gate = gate_of(ground)

    def swap() -> None:
        rename_at(AT_FDCWD, str(ground.root / "inner"), AT_FDCWD, str(ground.root / "link"), RENAME_EXCHANGE)

    seen: dict[str, int] = {}
    with swapping(swap):
        for number in range(ENOUGH):
            reply = await gate.call("fs.mkdir", [f"{ground.root}/inner/both/{number}"], {"mode": "0777"})
            code = "ok" if reply.error is None else reply.error.code
            seen[code] = seen.get(code, 0) + 1
            if sum(seen.values()) >= 10 * ROUNDS and seen.get("ok") and seen.get("denied"):
                break
    assert {"ok", "denied"} <= set(seen), "the race did not happen: the test proves nothing"
    assert os.listdir(ground.secret / "both") == []
