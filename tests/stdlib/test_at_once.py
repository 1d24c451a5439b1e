"""Calls that are tried on the event loop: what a thread would give or nothing, and never a wait.

The two ways are compared over every kind of path; where the kernel has no such lookup, all of it is done on a thread.
"""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mounting import told
from running import Kept
from test_fs_races import ENOUGH, ROUNDS, Ground, swapping
from visiting import all_back

from kernel import files
from kernel.mounts import Mounts
from policies.decide import Effective, Layer, decide_effective
from policies.model import Effect, Limits, Rule
from policies.paths import PathPattern
from protocol.tiers import Tier
from sandbox.budget import Budget
from sandbox.gate import Gate
from sandbox.parties import Session
from stdlib import at_once, call_specs, declaring, fs
from stdlib.call_specs import CallSpec
from stdlib.catalogue import load
from stdlib.host import Host, RunContext
from stdlib.paths import Target

CALLS = ("fs.exists", "fs.lstat", "fs.stat")
LOOP, THREAD = "loop", "thread"
TRIES = 20


def _is_local_here() -> bool:
    """Whether this machine's temporary files answer at once."""
    mounts = Mounts()
    mounts.look()
    try:
        fd = files.open_cached(tempfile.gettempdir())
    except OSError:
        return False
    try:
        return mounts.answers_at_once(fd)
    finally:
        os.close(fd)


LOCAL_HERE = _is_local_here()
needs_local = pytest.mark.skipif(not LOCAL_HERE, reason="temporary files of this machine are not looked at on the loop")


class Watched:
    """A table of the real calls, which notes where each was carried out."""

    def __init__(self) -> None:
        self.ways: list[str] = []
        self._specs = {name: self._watched(name) for name in CALLS}

    def _watched(self, name: str) -> CallSpec:
        spec = load().find(name)
        assert spec is not None
        implementation = spec.implementation
        assert implementation is not None
        own = threading.get_ident()

        def perform(path: Target) -> Any:
            self.ways.append(LOOP if threading.get_ident() == own else THREAD)
            return implementation(path)

        return replace(spec, implementation=perform)

    def find(self, name: str) -> CallSpec | None:
        return self._specs.get(name)


def gate_of(table: Any, kept: Kept, *denied: str) -> Gate:
    """A gate that allows everything, but nothing of what is denied."""
    rules = [Rule(Effect.ALLOW, "*", "test:1")]
    rules += [Rule(Effect.DENY, "*", "test:2", paths=(PathPattern.parse(path, where="test"),)) for path in denied]
    allowed = Effective((Layer("test", tuple(rules)),))
    limits = Limits(calls=1_000_000, calls_per_s=1_000_000)
    return Gate(
        table, partial(decide_effective, allowed), kept, Session("s", "r", "tester"), Budget(limits), Host(),
        RunContext(),
    )  # fmt: skip


@pytest.fixture(autouse=True)
def known() -> None:
    """The mounts and the names of this machine's files are known, as after a first call."""
    at_once._mounts = at_once.Mounts()
    at_once.learn()
    for number in {0, os.getuid()}:
        fs._USERS.of(number, False)
    for number in {0, os.getgid()}:
        fs._GROUPS.of(number, False)


@pytest.fixture
def old_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has openat2, and not this lookup: it refuses the flag as every kernel does one that it does not know."""
    monkeypatch.setattr(files, "RESOLVE_CACHED", 1 << 40)


def linked(link: Path, to: Any) -> None:
    """Make a link of which the kernel need not note that it was followed: to note that is not done at once."""
    link.symlink_to(to)
    os.utime(link, (time.time() + 1000, 0), follow_symlinks=False)


def paths_in(place: Path) -> dict[str, str]:
    """One path of each kind."""
    (place / "directory").mkdir()
    (place / "file").write_text("x")
    (place / "closed").mkdir()
    (place / "closed/file").write_text("x")
    (place / "closed").chmod(0o000)
    (place / os.fsdecode(b"odd-\xff")).write_text("x")
    for link, to in (("link", "file"), ("far", "/etc/passwd"), ("dangling", "no/where"), ("round", "round")):
        linked(place / link, to)
    os.mkfifo(place / "fifo")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(place / "socket"))
    names = ("directory", "file", "link", "far", "dangling", "round", "fifo", "socket", "closed/file", "denied", "none")
    named = {name: f"{place}/{name}" for name in names}
    return named | {
        "odd": os.fsdecode(os.fsencode(f"{place}/") + b"odd-\xff"),
        "deep": f"{place}/none/none/none",
        "below a file": f"{place}/file/x",
        "file with a slash": f"{place}/file/",
        "directory with a slash": f"{place}/directory/",
        "dots": f"{place}/directory/.././link",
        "above the root": "/../../etc/passwd",
        "device": "/dev/null",
        "of the kernel": "/proc/self/status",
        "of the kernel's settings": "/sys/kernel",
        "magic link": "/proc/self/root/etc/passwd",
        "magic descriptor": "/proc/self/fd/0",
        "long name": f"{place}/{'n' * 256}",
        "long path": f"{place}/{'directory/../' * 400}file",
    }


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "denied").write_text("x")
    yield tmp_path
    if (tmp_path / "closed").exists():  # so that it can be removed
        (tmp_path / "closed").chmod(0o700)


async def outcome(table: Any, name: str, path: str, denied: str) -> tuple[Any, dict[str, Any]]:
    kept = Kept()
    reply = await gate_of(table, kept, denied).call(name, [path], {})
    (record,) = kept.records
    del record["duration_us"]
    value, error = reply.value, reply.error
    if isinstance(value, dict):
        del value["atime"]  # which whoever reads a file of the system's changes
    told = None if error is None else (error.code, str(error), error.path, getattr(error, "parameter", None))
    return (value, told), record


async def test_both_ways_give_the_same(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values, errors and records, for every call and every kind of path; and each way is really taken."""
    paths, found, at_once = paths_in(place), {}, set()
    for kind, path in paths.items():
        for name in CALLS:
            for _ in range(TRIES):  # who mounts or renames at that very moment, or wants memory, leaves it to a thread
                table = Watched()
                found[kind, name] = await outcome(table, name, path, f"{place}/denied")
                if table.ways == [LOOP]:
                    at_once.add((kind, name))
                    break
    monkeypatch.setattr(files, "RESOLVE_CACHED", 1 << 40)
    for kind, path in paths.items():
        for name in CALLS:
            table = Watched()
            assert await outcome(table, name, path, f"{place}/denied") == found[kind, name], (kind, name)
            assert LOOP not in table.ways, (kind, name)
    taken = {kind for kind, name in at_once if name == "fs.stat"}
    if LOCAL_HERE:
        assert taken >= {"directory", "file", "link", "far", "fifo", "socket", "odd", "dots", "directory with a slash"}
    assert not taken & {"none", "deep", "dangling", "round", "magic link", "magic descriptor", "of the kernel"}


@needs_local
async def test_what_is_denied_is_denied_on_the_loop_as_well(place: Path) -> None:
    """Through a link too: the decision is about what was opened."""
    (place / "innocent").symlink_to("denied")
    for name in CALLS:
        table, kept = Watched(), Kept()
        reply = await gate_of(table, kept, f"{place}/denied").call(name, [f"{place}/innocent"], {})
        if name == "fs.lstat":
            assert reply.ok
            continue
        assert (reply.ok, table.ways, [record["verdict"] for record in kept.records]) == (False, [], ["deny"])


async def test_an_old_kernel_leaves_all_to_threads(old_kernel: None, place: Path) -> None:
    """And nothing is missing there."""
    table = Watched()
    reply = await gate_of(table, Kept()).call("fs.stat", [f"{place}/denied"], {})
    assert (reply.value["size"], table.ways) == (1, [THREAD])


@needs_local
async def test_a_name_that_is_not_known_is_looked_up_on_a_thread(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory service may be asked for it. The second time it is known."""
    monkeypatch.setattr(fs, "_USERS", fs._Names(lambda uid: f"user {uid} by {threading.get_ident()}"))
    table, kept = Watched(), Kept()
    gate = gate_of(table, kept)
    for _ in range(2):
        reply = await gate.call("fs.stat", [f"{place}/denied"], {})
        assert reply.value["owner"].startswith(f"user {os.getuid()} by ")
        assert reply.value["owner"] != f"user {os.getuid()} by {threading.get_ident()}"
    assert table.ways == [LOOP, THREAD, LOOP]
    assert [(record["verdict"], record["outcome"]) for record in kept.records] == [("allow", "ok")] * 2


def test_names_are_bounded_and_a_number_may_have_none() -> None:
    """Numbers are chosen by whoever owns files."""
    names = fs._Names(lambda number: {7: "seven"}[number])
    assert [names.of(number, False) for number in range(fs.MAX_NAMES + 8)].count("seven") == 1
    assert len(names._known) <= fs.MAX_NAMES
    with pytest.raises(BlockingIOError):
        names.of(10**6, True)
    assert names.of(10**6, False) is None
    assert names.of(10**6, True) is None


@pytest.mark.usefixtures("descriptors_kept")
async def test_everything_is_closed(place: Path) -> None:
    """On both ways, and where neither leads to something."""
    gate = gate_of(load(), Kept(), f"{place}/denied")
    for path in paths_in(place).values():
        for name in CALLS:
            await gate.call(name, [path], {})
    await all_back()
    at_once._mounts = at_once.Mounts()  # with which goes what it keeps


@needs_local
async def test_what_has_lost_its_name_meanwhile_is_closed_on_a_thread(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last to close it frees all that it held, which may take a disk its time."""
    apart: list[int] = []
    monkeypatch.setattr(at_once, "_close_apart", lambda fd: (apart.append(fd), os.close(fd)))
    spec = load().find("fs.exists")
    assert spec is not None
    taken = replace(spec, implementation=lambda path: os.unlink(path.asked))
    table = type("Table", (), {"find": staticmethod(lambda _: taken)})()
    await gate_of(load(), Kept()).call("fs.exists", [f"{place}/denied"], {})
    assert apart == []
    await gate_of(table, Kept()).call("fs.exists", [f"{place}/denied"], {})
    assert len(apart) == 1


@needs_local
@pytest.mark.parametrize("name", ["fs.stat", "fs.lstat"])
async def test_the_look_that_is_given_also_tells_how_to_close(
    place: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """One look, after the decision, on what was opened then; without a name left a thread closes it."""
    apart: list[int] = []
    monkeypatch.setattr(at_once, "_close_apart", lambda fd: (apart.append(fd), os.close(fd)))
    spec = load().find(name)
    assert spec is not None
    assert spec.implementation is not None
    await gate_of(load(), Kept()).call(name, [f"{place}/denied"], {})  # names of its owner are known from now on
    (place / "file").write_text("")
    inode = (place / "file").stat().st_ino
    look = spec.implementation

    def swapped(path: Target) -> Any:
        os.unlink(path.asked)
        Path(path.asked).symlink_to("/etc")
        return look(path)

    table = type("Table", (), {"find": staticmethod(lambda _: replace(spec, implementation=swapped))})()
    reply = await gate_of(table, Kept()).call(name, [f"{place}/file"], {})
    assert (reply.value["inode"], reply.value["nlink"], len(apart)) == (inode, 0, 1)


@needs_local
async def test_what_cannot_be_looked_at_any_more_is_closed_all_the_same(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that has shut itself down answers with an error, and the call does not fail for it."""
    apart: list[int] = []
    monkeypatch.setattr(at_once, "_close_apart", apart.append)
    spec = load().find("fs.exists")
    assert spec is not None
    taken = replace(spec, implementation=lambda path: os.close(path.fd) or True)
    table = type("Table", (), {"find": staticmethod(lambda _: taken)})()
    reply = await gate_of(table, Kept()).call("fs.exists", [f"{place}/denied"], {})
    assert (reply.value, len(apart)) == (True, 1)


@needs_local
@pytest.mark.parametrize("name", CALLS)
async def test_a_link_that_is_swapped_never_leads_past_the_decision(tmp_path: Path, name: str) -> None:
    """What is told of is what was decided on, on whichever way; both are taken while the link changes."""
    ground = Ground(tmp_path)
    linked(ground.root / "link", "inner")
    table, kept = Watched(), Kept()

    def swap() -> None:
        for target in (ground.secret, ground.root / "inner"):
            linked(ground.root / "spare", target)
            (ground.root / "spare").rename(ground.root / "link")

    gate = gate_of(table, kept, f"{ground.secret}/**")
    path = str(ground.root / "link/file")
    open_inode = (ground.root / "inner/file").stat().st_ino
    seen: dict[str, int] = {}
    with swapping(swap):
        for _ in range(ENOUGH):
            reply = await gate.call(name, [path], {})
            code = "ok" if reply.error is None else reply.error.code
            seen[code] = seen.get(code, 0) + 1
            if reply.ok and name != "fs.exists":
                assert reply.value["inode"] == open_inode
            if sum(seen.values()) >= ROUNDS and len(seen) >= 2 and LOOP in table.ways:
                break
    assert set(seen) == {"ok", "denied"}, "the race did not happen: the test proves nothing"
    assert LOOP in table.ways
    assert len(kept.records) == sum(seen.values())


SILENT = """
import asyncio
sys.path[:0] = ["tests/stdlib"]
from running import gate
from kernel.files import open_cached
from protocol.tiers import Tier
from stdlib import at_once

place = sys.argv[1]
fuse = Fuse(f"{place}/m")
os.close(open_cached(f"{place}/m/x"))  # its name is in memory: only its type says that it must not be asked

async def main():
    one = gate(Tier.ADMIN)
    at_once.learn()
    assert at_once._mounts.are_known
    waiting = [asyncio.ensure_future(one.call(name, [f"{place}/m/x"], {})) for name in ("fs.stat", "fs.lstat")]
    for _ in waiting:
        await asyncio.get_running_loop().run_in_executor(None, os.read, fuse.asked, 1)
    replies = [await one.call("fs.exists", [place], {}) for _ in range(3)]
    assert not any(call.done() for call in waiting)
    fuse.end()
    ended = [(await call).error is not None for call in waiting]
    print(json.dumps([[reply.value for reply in replies], ended]))

asyncio.run(main())
"""


def test_a_file_system_that_never_answers_holds_up_its_own_call_alone(tmp_path: Path) -> None:
    """Any user may mount one where a script looks. The loop goes on, for all other runs."""
    assert told(SILENT, str(tmp_path)) == [[True, True, True], [True, True]]


@pytest.mark.parametrize(
    "unfit", [{"changes": True}, {"decides": lambda *_: None}, {"command": "path"}], ids=lambda unfit: next(iter(unfit))
)
def test_only_calls_that_look_may_be_tried(unfit: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A change would be made twice, and would have no intent."""
    monkeypatch.setattr(call_specs, "_declared", {})

    def look(path: Target) -> bool:
        """Look."""
        return path.exists

    async def wait(path: Target) -> bool:
        """Wait."""
        return path.exists

    def lines(path: Target) -> Iterator[str]:
        """Give a stream."""
        yield path.asked

    declare: Callable[..., Any] = partial(declaring.call, "t.look", tier=Tier.OBSERVE, at_once=True)
    for function, more in ((look, unfit), (wait, {}), (lines, {})):
        with pytest.raises(TypeError, match="event loop"):
            declare(**more)(function)
    declare()(look)


def test_these_are_the_calls_that_are_tried() -> None:
    """Each was looked at for what it does with its paths: another one is to be looked at as well."""
    assert [spec.name for spec in load() if spec.at_once] == list(CALLS)


def test_no_path_is_opened_on_the_loop_in_another_way() -> None:
    """Whatever a call does with it later: to open it may take for ever."""
    opening = [spec for spec in load() if not spec.is_local and any(item.is_path for item in spec.parameters)]
    assert [spec.name for spec in opening if not spec.is_blocking and spec.looks_up is not True] == []
    assert any(not spec.is_blocking for spec in opening)
