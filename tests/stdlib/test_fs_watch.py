"""Watching: what happens is told, nothing else is, and nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from running import AllPermitted, run
from trees import Permitted

from protocol.errors import ArgumentError, BudgetError, DeniedError, NotFoundError, UnavailableError
from protocol.tiers import Tier
from sandbox.launch import Sandbox
from stdlib import fs_watch
from stdlib.catalogue import load
from stdlib.host import Host, RunContext

LONG_S = 20


class Watcher:
    """One watch, read event by event."""

    def __init__(self, source: Any, root: Path) -> None:
        self.source = source
        self._root = root
        self._events: list[dict[str, Any]] = []

    async def next(self) -> tuple[str, str, bool]:
        while not self._events:
            async with asyncio.timeout(LONG_S):
                self._events = list(await anext(self.source))
        event = self._events.pop(0)
        return event["event"], os.path.relpath(event["path"], self._root), event["is_dir"]

    async def take(self, count: int) -> list[tuple[str, str, bool]]:
        return [await self.next() for _ in range(count)]

    async def until(self, event: str, path: str) -> set[tuple[str, str, bool]]:
        """Everything up to an event."""
        seen = {await self.next()}
        while not any(one[:2] == (event, path) for one in seen):
            seen.add(await self.next())
        return seen


@asynccontextmanager
async def watching(
    path: Path, passage: AllPermitted | None = None, context: RunContext | None = None, **options: Any
) -> AsyncIterator[Watcher]:
    spec = load().find("fs.watch")
    assert spec is not None
    bound = spec.bind([str(path)], options)
    with spec.prepare(Host(), context or RunContext(), bound, passage or AllPermitted()) as prepared:
        source = await asyncio.to_thread(prepared.perform)
        try:
            yield Watcher(source, path)
        finally:
            await source.aclose()


async def test_what_happens_in_a_directory(tmp_path: Path) -> None:
    async with watching(tmp_path, events=["created", "written", "deleted", "moved_from", "moved_to"]) as watcher:
        (tmp_path / "file").write_text("x")
        (tmp_path / "file").rename(tmp_path / "other")
        (tmp_path / "other").unlink()
        (tmp_path / "caf\udce9").mkdir()
        assert await watcher.take(6) == [
            ("created", "file", False), ("written", "file", False), ("moved_from", "file", False),
            ("moved_to", "other", False), ("deleted", "other", False), ("created", "caf\udce9", True),
        ]  # fmt: skip
        (tmp_path / "caf\udce9/inside").touch()
        (tmp_path / "last").mkdir()
        assert await watcher.next() == ("created", "last", True), "what lies deeper is not watched"


@pytest.mark.parametrize(
    ("events", "act", "expected"),
    [
        (["modified"], lambda file: file.write_text("xy"), "modified"),
        (["attributes"], lambda file: file.chmod(0o600), "attributes"),
        (["written"], lambda file: file.write_text(""), "written"),
    ],
)
async def test_a_file_itself(tmp_path: Path, events: list[str], act: Callable[[Path], object], expected: str) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    async with watching(file, events=events) as watcher:
        act(file)
        assert await watcher.next() == (expected, ".", False)


@pytest.mark.parametrize("end", ["remove", "rename"])
@pytest.mark.parametrize("kind", ["file", "directory"])
async def test_the_end_of_what_is_watched_ends_it(tmp_path: Path, kind: str, end: str) -> None:
    """Moved, it may be somewhere where other rules hold."""
    root = tmp_path / "root"
    root.mkdir() if kind == "directory" else root.touch()
    async with watching(root, events=["created"]) as watcher:
        if end == "rename":
            root.rename(tmp_path / "moved")
        else:
            root.rmdir() if kind == "directory" else root.unlink()
        assert await watcher.next() == ("ended", ".", kind == "directory")
        with pytest.raises(StopAsyncIteration):
            await anext(watcher.source)


async def test_what_is_watched_is_looked_at_on_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may lie where nobody answers: the event loop would wait for ever, and all runs of the host with it."""
    looks, fstat = set(), os.fstat

    def looked(descriptor: int) -> os.stat_result:
        looks.add(threading.get_ident())
        return fstat(descriptor)

    (tmp_path / "root").mkdir()
    (tmp_path / "beside").touch()
    async with watching(tmp_path / "root") as watcher:
        monkeypatch.setattr(os, "fstat", looked)
        (tmp_path / "beside").unlink()  # was that the root?
        (tmp_path / "root/new").touch()
        assert await watcher.until("created", "new")
        monkeypatch.undo()
    assert looks
    assert threading.get_ident() not in looks


async def test_recursive_watching_follows_what_comes_and_forgets_what_goes(tmp_path: Path) -> None:
    (tmp_path / "root/a/b").mkdir(parents=True)
    root = tmp_path / "root"
    (root / "link").symlink_to("/etc")
    async with watching(root, events=["created", "moved_to"], recursive=True) as watcher:
        (root / "a/b/file").touch()
        assert await watcher.next() == ("created", "a/b/file", False)
        (root / "new/deep").mkdir(parents=True)
        (root / "new/deep/early").touch()
        await watcher.until("created", "new/deep/early")
        (root / "new/deep/late").touch()
        await watcher.until("created", "new/deep/late")
        (root / "a").rename(tmp_path / "outside")
        (root / "mark").touch()
        await watcher.until("created", "mark")
        (tmp_path / "outside/b/unseen").touch()
        (tmp_path / "outside").rename(root / "back")
        await watcher.until("created", "back/b/unseen")
        (root / "back/b/seen").touch()
        seen = await watcher.until("created", "back/b/seen")
        assert not [path for _, path, _ in seen if path.startswith(("..", "a/", "link"))]


async def test_what_is_denied_is_not_told(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "open").mkdir()
    passage = Permitted([str(tmp_path / "secret"), str(tmp_path / "hidden")])
    async with watching(tmp_path, passage, events=["created"], recursive=True) as watcher:
        (tmp_path / "hidden").touch()
        (tmp_path / "secret/file").touch()
        (tmp_path / "open/file").touch()
        assert await watcher.next() == ("created", "open/file", False)
    with pytest.raises(DeniedError):
        async with watching(tmp_path, Permitted(["x"], {str(tmp_path): False})):
            pass


async def test_directories_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's watches belong to all programs of the user."""
    monkeypatch.setattr(fs_watch, "MAX_DIRECTORIES", 2)
    for name in "abcd":
        (tmp_path / name).mkdir()
    async with watching(tmp_path, recursive=True) as watcher:
        event, path, is_dir = await watcher.next()
        assert (event, is_dir, path in "abcd") == ("unwatched", True, True)
        assert len(watcher.source._watched) == 2


async def test_all_calls_together_watch_a_part_of_what_the_kernel_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else four calls of a script leave none for whatever else runs as root here."""
    for name in "abcd":
        (tmp_path / name).mkdir()
    monkeypatch.setattr(fs_watch, "_given", lambda: 6)
    monkeypatch.setattr(fs_watch, "_together", fs_watch._Together())
    async with watching(tmp_path / "a"), watching(tmp_path, recursive=True) as watcher:
        assert (await watcher.next())[0] == "unwatched"
        assert len(watcher.source._watched) == 6 // fs_watch.PART - 1
        with pytest.raises(UnavailableError, match="no watch is left"):
            async with watching(tmp_path / "b"):
                pass
    async with watching(tmp_path / "b") as watcher:
        assert len(watcher.source._watched) == 1
    assert fs_watch._together.calls == 0


async def test_a_run_has_few_open_and_all_runs_have_no_more_than_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel gives a user 128 descriptors: the services of a host could begin to watch nothing any more."""
    monkeypatch.setattr(fs_watch, "MAX_CALLS", 2 * fs_watch.MAX_CALLS_OF_RUN)
    contexts = [RunContext() for _ in range(3)]
    async with AsyncExitStack() as open_ones:
        for context in contexts[:2]:
            for _ in range(fs_watch.MAX_CALLS_OF_RUN):
                await open_ones.enter_async_context(watching(tmp_path, context=context))
            with pytest.raises(BudgetError, match="a run may have 8 open"):
                await open_ones.enter_async_context(watching(tmp_path, context=context))
        with pytest.raises(BudgetError, match="all runs may have 16 open"):
            await open_ones.enter_async_context(watching(tmp_path, context=contexts[2]))
    async with watching(tmp_path, context=contexts[2]):
        assert [context.watches for context in contexts] == [0, 0, 1]


async def test_what_a_directory_brings_with_it_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody may move one with millions of entries to where they may write, and all were held at once."""
    monkeypatch.setattr(fs_watch, "MAX_WAITING", 10)
    (tmp_path / "root").mkdir()
    (tmp_path / "full").mkdir()
    for number in range(100):
        (tmp_path / f"full/{number}").touch()
    async with watching(tmp_path / "root", recursive=True, events=["created", "deleted"]) as watcher:
        (tmp_path / "full").rename(tmp_path / "root/full")
        seen = [await watcher.next()]
        while seen[-1][0] != "overflow":
            seen.append(await watcher.next())
        assert len(seen) <= 12
        (tmp_path / "root/full/5").unlink()
        assert await watcher.next() == ("deleted", "full/5", False)


async def test_an_overflow_is_told(tmp_path: Path) -> None:
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    file = tmp_path / "file"
    async with watching(tmp_path, events=["created", "deleted"]) as watcher:

        def churn() -> None:
            for _ in range(most // 2 + 10):
                file.touch()
                file.unlink()

        await asyncio.to_thread(churn)
        seen = await watcher.until("overflow", ".")
        assert ("created", "file", False) in seen


@pytest.mark.parametrize("events", [["nosuch"], ["created", ""], ["CREATED"]])
async def test_unknown_events_are_refused(tmp_path: Path, events: list[str]) -> None:
    with pytest.raises(ArgumentError) as caught:
        async with watching(tmp_path, events=events):
            pass
    assert caught.value.parameter == "events"


@pytest.mark.usefixtures("descriptors_kept")
async def test_what_cannot_be_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ArgumentError, match="neither"):
        async with watching(tmp_path / "fifo"):
            pass
    with pytest.raises(NotFoundError):
        async with watching(tmp_path / "missing"):
            pass

    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fs_watch.inotify, "watch", refuse)
    for path in (tmp_path, Path("/etc/passwd")):
        with pytest.raises(UnavailableError, match="no watch is left"):
            async with watching(path):
                pass


WATCH = {
    "lua": 'local w = fs.watch(param("at"), {events = {"attributes"}}) local n = 0'
    ' log.info("ready") for e in w do n = n + 1 if n == 2 then break end end return n',
    "python": 'w = fs.watch(param("at"), events=["attributes"])\nn = 0\nlog.info("ready")\nfor e in w:\n    n += 1\n'
    "    if n == 2:\n        break\nresult = n",
}


def held_of(place: Path) -> list[str]:
    """Return what is open of watches, and of a directory; other tests' sources may have left some of the former."""
    held = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # closed meanwhile, by a thread
            held.append(os.readlink(f"/proc/self/fd/{number}"))
    return sorted(name for name in held if "inotify" in name or name.startswith(str(place)))


@pytest.mark.parametrize("language", sorted(WATCH))
async def test_a_script_watches_and_leaves(sandbox: Sandbox, tmp_path: Path, language: str) -> None:
    """Nothing is open once its run has ended."""
    file = tmp_path / "file"
    file.touch()
    before = held_of(tmp_path)
    running = asyncio.create_task(run(sandbox, language, WATCH[language], Tier.ADMIN, {"at": str(tmp_path)}))
    while not running.done():
        file.chmod(0o600)
        await asyncio.sleep(0)
    outcome = running.result()
    assert (outcome.status, outcome.result) == ("ok", 2), outcome.reason
    assert not Counter(held_of(tmp_path)) - Counter(before)
