"""A call that is cut short closes what it holds, while its thread goes on: that must work on the very same objects."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from running import AllPermitted, perform

from kernel.visits import Visits
from protocol.errors import UnavailableError
from stdlib import lending
from stdlib.blobs import Brought, FolderBlobs
from stdlib.host import Host, RunContext
from stdlib.lending import on_thread
from stdlib.paths import resolve
from stdlib.places import place

PATIENCE_S = 60.0


class Stuck(AllPermitted):
    """A passage whose call stops on its thread at the first look whether it is over, until it is let go on."""

    def __init__(self) -> None:
        super().__init__()
        self.is_there, self.goes_on = threading.Event(), threading.Event()

    @property
    def is_over(self) -> bool:  # type: ignore[override]  # a plain value elsewhere
        self.is_there.set()
        assert self.goes_on.wait(PATIENCE_S)
        return False  # the worst that can be: the thread does not see that the call was cut short


async def until(is_so: Callable[[], bool], what: str) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < ends, what
        await asyncio.to_thread(os.sched_yield)


def held_in(directory: Path) -> set[int]:
    """Return the descriptors that are open of a directory, or of what is in it."""
    shown = {}
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # closed meanwhile, by a thread
            shown[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return {number for number, name in shown.items() if name.startswith(str(directory))}


async def cut_short(calling: asyncio.Task[Any], directory: Path) -> set[int]:
    """Cut a call short and return which descriptors in a directory it closed by that."""
    before = held_in(directory)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    closed = before - held_in(directory)
    assert closed, "the call closes what it holds"
    return closed


def take_over(numbers: set[int], path: Path, closing: ExitStack, flags: int = os.O_RDONLY | os.O_DIRECTORY) -> None:
    """Open a path until it has each of these numbers, as an unlucky or a patient process would."""
    while numbers:
        number = os.open(path, flags)
        closing.callback(os.close, number)
        numbers.discard(number)


def archive() -> bytes:
    kept = io.BytesIO()
    with tarfile.open(fileobj=kept, mode="w") as written:
        entry = tarfile.TarInfo("file")
        entry.size = 3
        written.addfile(entry, io.BytesIO(b"new"))
    return kept.getvalue()


@pytest.mark.parametrize(
    ("call", "parameter", "content"), [("fs.fetch", "path", b"new"), ("fs.extract", "dir", archive())]
)
async def test_what_a_thread_writes_after_its_call_lies_where_it_was_decided(
    tmp_path: Path, call: str, parameter: str, content: bytes
) -> None:
    """Never in a directory that has taken over the number of one that was closed."""
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.mkdir()
    other.mkdir()
    blobs, passage = FolderBlobs(tmp_path / "blobs"), Stuck()
    draft = blobs.draft(1 << 20)
    draft.write(content)
    given: dict[str, Any] = {"blob_hash": await blobs.keep(draft, ""), parameter: str(mine / "new")}
    calling = asyncio.create_task(perform(call, run=RunContext(blobs=blobs), host=Host(), passage=passage, **given))
    assert await asyncio.to_thread(passage.is_there.wait, PATIENCE_S)
    closed = await cut_short(calling, mine)
    with ExitStack() as closing:
        take_over(closed, other, closing)
        passage.goes_on.set()
        await until(lambda: not held_in(mine), "the thread did not end, or keeps its copies")
    assert (os.listdir(mine), os.listdir(other)) == (["new"], [])


async def test_a_thread_has_copies_of_all_it_works_on_and_closes_them(tmp_path: Path) -> None:
    """Whatever comes of it."""
    (tmp_path / "file").write_bytes(b"x")
    with (
        resolve(f"{tmp_path}/file") as target,
        resolve(f"{tmp_path}/none") as missing,
        place(f"{tmp_path}/new", follow=False) as entry,
        target.opened(os.O_RDONLY) as fd,
    ):
        before = held_in(tmp_path)

        def work(*copies: Any) -> list[Any]:
            own, none, at, brought = copies
            numbers = [own.fd, at.directory, brought.fd]
            assert not before & set(numbers)
            assert (own.real, at.real, none) == (target.real, entry.real, missing)
            return [os.fstat(number).st_ino for number in numbers]

        lent = (target, missing, entry, Brought("sha256:" + "0" * 64, 1, fd))
        real = [os.stat(tmp_path / "file").st_ino, os.stat(tmp_path).st_ino, os.stat(tmp_path / "file").st_ino]
        assert await on_thread(work, *lent) == real
        with pytest.raises(ZeroDivisionError):
            await on_thread(lambda *_: 1 // 0, *lent)
        assert held_in(tmp_path) == before


async def test_without_a_descriptor_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what was copied already is closed."""
    real, left = os.dup, [1]

    def dup(fd: int) -> int:
        if not left:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        left.pop()
        return real(fd)

    with resolve(str(tmp_path)) as target:
        before = held_in(tmp_path)
        monkeypatch.setattr(os, "dup", dup)
        with pytest.raises(UnavailableError, match="no descriptor left"):
            await on_thread(lambda *_: pytest.fail("it was begun"), target, target)
        assert held_in(tmp_path) == before


class Seen(FolderBlobs):
    """Remembers all that is written to its drafts."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.written = bytearray()

    def draft(self, most_bytes: int) -> Any:
        """Give a draft that tells what is written to it."""
        draft = super().draft(most_bytes)
        write = draft.write

        def seen(data: Any) -> Any:
            self.written.extend(data)
            return write(data)

        draft.write = seen  # type: ignore[method-assign]  # looked at
        return draft


async def test_what_a_thread_archives_after_its_call_is_what_was_decided(tmp_path: Path) -> None:
    """Never what a directory holds that has taken over the number of one that was closed."""
    mine, other = tmp_path / "mine", tmp_path / "other"
    for place_, text in ((mine, "MINE"), (other, "SECRET")):
        place_.mkdir()
        (place_ / "file").write_text(text)
    blobs, passage = Seen(tmp_path / "blobs"), Stuck()
    given: dict[str, Any] = {"paths": [str(mine)], "format": "zip"}
    calling = asyncio.create_task(perform("fs.archive", run=RunContext(blobs=blobs), passage=passage, **given))
    assert await asyncio.to_thread(passage.is_there.wait, PATIENCE_S)
    closed = await cut_short(calling, mine)
    with ExitStack() as closing:
        take_over(closed, other, closing)
        passage.goes_on.set()
        await until(lambda: not held_in(mine), "the thread did not end, or keeps its copies")
        await until(lambda: not list((tmp_path / "blobs").glob("*")), "the draft was not discarded")
    with zipfile.ZipFile(io.BytesIO(bytes(blobs.written))) as archived:
        assert [archived.read(name) for name in archived.namelist() if name.endswith("file")] == [b"MINE"]


async def test_what_a_thread_uploads_after_its_call_is_what_was_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never what a file holds that has taken over the number of one that was closed, however late the thread begins."""
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.write_text("MINE")
    other.write_text("SECRET")
    one_thread, goes_on = Visits(max_threads=1), threading.Event()
    monkeypatch.setattr(lending, "VISITS", one_thread)
    blobs, passage = Seen(tmp_path / "blobs"), AllPermitted()
    with ExitStack() as closing:
        closing.callback(goes_on.set)
        busy = one_thread.begin(lambda: goes_on.wait(PATIENCE_S))  # so that the upload waits for a thread
        given: dict[str, Any] = {"run": RunContext(blobs=blobs), "passage": passage, "path": str(mine)}
        calling = asyncio.create_task(perform("fs.upload", **given))
        await until(lambda: len(held_in(mine)) == 2, "the call did not open its file, or no copy was made")
        closed = await cut_short(calling, mine)
        take_over(closed, other, closing, os.O_RDONLY)
        goes_on.set()
        assert await busy
        await until(lambda: not held_in(mine), "the thread did not end, or keeps its copy")
        await until(lambda: not list((tmp_path / "blobs").glob("*")), "the draft was not discarded")
    assert blobs.written == b"MINE"


async def test_what_never_comes_back_takes_no_thread_from_others() -> None:
    """Six files on a file system whose server is gone were enough: no upload went on, and no run with a temporary
    directory ended any more.
    """
    goes_on, inside = threading.Event(), threading.Semaphore(0)

    def stay() -> None:
        inside.release()
        assert goes_on.wait(PATIENCE_S)

    stuck = [asyncio.ensure_future(on_thread(stay)) for _ in range(40)]
    try:
        for _ in stuck:  # by the loop's own threads, which are free then
            assert await asyncio.to_thread(inside.acquire, timeout=PATIENCE_S)
        assert await on_thread(lambda: 5) == 5
    finally:
        goes_on.set()
        await asyncio.gather(*stuck)
