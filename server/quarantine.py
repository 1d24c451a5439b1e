"""Where what somebody pushed is looked at: a folder of its own, whose objects reach nothing else and are gone later.

- Git itself takes the pack in and proves it (``index-pack --strict``: every object is whole, has a good form, and what
  it names is there), under limits of time, memory and disk that stand before it begins (:mod:`server.git_program`).
- What the sender may clone is there to be built on, read only, and no object more.
- Nothing of it is checked out, run, or ever part of the repository: files of one folder are read, and that is all.
- A folder that a crash left is taken away when the server starts.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from protocol.bundle import MANIFEST, Bundle
from protocol.commits import LISTING, Entry, bundle_entries, entries
from protocol.errors import ArgumentError, NotFoundError, TooLargeError
from protocol.signing import Envelope, peek
from protocol.statements import STATEMENT
from server import git_program

FOLDER: Final = "pushes"
MAX_PACK_BYTES: Final = 12 << 20  # the largest bundle, and the history that it comes with
MAX_OBJECTS: Final = 20_000  # of one pack; a delta rests on no more than all others
MAX_LISTED_BYTES: Final = 8 << 20  # of a commit's files, about 80,000; a tree that holds itself often ends here
MAX_STATEMENTS: Final = 256  # of scripts in one commit
MAX_STATEMENT_BYTES: Final = 16 << 10  # of one; an author's has under 1 KiB
_ANSWER_BYTES: Final = 64 << 10  # of git where it has little to say
_READ_BYTES: Final = 64 << 10


def clear(directory: Path) -> None:
    """Take away what a crash left."""
    shutil.rmtree(directory / FOLDER, ignore_errors=True)


class Quarantine:
    """One push. Use as an asynchronous context manager.

    Args:
        directory: The server's.
        known: The repository that the sender may read.
        git: The program.
    """

    def __init__(self, directory: Path, known: Path, git: str) -> None:
        self._directory = directory / FOLDER
        self._known = known
        self._git = git
        self._folder = Path()

    async def __aenter__(self) -> Quarantine:
        self._folder = self._make()  # here and at once: a thread's work would stay if this were given up meanwhile
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    def _make(self) -> Path:
        """Make a bare repository by hand, as gitrepository-layout describes it."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=self._directory))
        for each in ("objects/info", "objects/pack", "refs"):
            (folder / each).mkdir(parents=True)
        (folder / "HEAD").write_text("ref: refs/heads/none\n")
        (folder / "config").write_text("[core]\n\trepositoryformatversion = 0\n\tbare = true\n")
        (folder / "objects/info/alternates").write_text(f"{self._known / 'objects'}\n")
        return folder

    async def take(self, pack: AsyncIterator[bytes]) -> None:
        """Take a pack in.

        Raises:
            ArgumentError: It is none, or something in it is not as git has it; then all of it is refused.
            TooLargeError: It holds more objects or bytes than a push may.
        """
        first = b""
        async for part in pack:
            first += part
            if len(first) >= 12:
                break
        count = int.from_bytes(first[8:12], "big")
        if first[:8] not in (b"PACK\0\0\0\2", b"PACK\0\0\0\3") or len(first) < 12:
            raise ArgumentError("no pack follows")
        if count > MAX_OBJECTS:
            raise TooLargeError(
                f"the push holds {count} objects, over {MAX_OBJECTS}: push a commit without its history"
            )
        await self._run(
            "index-pack", "--stdin", "--strict", "--fix-thin", f"--max-input-size={MAX_PACK_BYTES}",
            what="the push", feed=_after(first, pack),
        )  # fmt: skip

    async def script(self, commit: str, name: str) -> tuple[Envelope, Bundle]:
        """Return a script in a commit and its author's signed publication, believing neither.

        Args:
            commit: The id of an object.
            name: Of the script; its statement says where it lies.

        Raises:
            NotFoundError: The commit holds no publication of that script.
            ArgumentError: It holds two; or what it holds is no bundle.
            TooLargeError: It is over the bounds of a bundle, or the commit over ours.
        """
        kind = await self._run("cat-file", "-t", commit, what="what was pushed")
        if kind.strip() != b"commit":
            raise ArgumentError("what was pushed is no commit")
        folder, envelope = await self._statement(commit, name)
        where = os.fsdecode(folder)
        listed = await self._run(*LISTING, f"{commit}:{where}", what="the commit", most=MAX_LISTED_BYTES)
        found = bundle_entries(listed)
        if MANIFEST not in found:
            raise ArgumentError(f"holds no {MANIFEST}", where=where or "the commit")
        contents = await self._blobs(list(found.values()))
        return envelope, Bundle.from_files(dict(zip(found, contents, strict=True)))

    async def _statement(self, commit: str, name: str) -> tuple[bytes, Envelope]:
        """Return the folder of a script and its publication."""
        listed = await self._run(*LISTING, commit, what="the commit", most=MAX_LISTED_BYTES)
        is_it = STATEMENT.encode()
        kept = [each for each in entries(listed) if each.path.rpartition(b"/")[2] == is_it and each.is_file]
        if len(kept) > MAX_STATEMENTS:
            raise TooLargeError(f"the commit holds over {MAX_STATEMENTS} signed scripts: push a commit of one")
        kept = [each for each in kept if each.size <= MAX_STATEMENT_BYTES]
        found = []
        for entry, text in zip(kept, await self._blobs(kept), strict=True):
            envelope = _envelope(text)
            if envelope is not None and peek(envelope).get("name") == name:
                found.append((entry.path.rpartition(b"/")[0], envelope))
        if not found:
            raise NotFoundError(
                f"the commit holds no signed publication of {name}: outrider script sign FOLDER, and commit {STATEMENT}"
            )
        if len(found) > 1:
            places = " and in ".join(repr(os.fsdecode(folder)) for folder, _ in found[:2])
            raise ArgumentError(f"{name} lies in {places}: push a commit that holds it once")
        return found[0]

    async def _blobs(self, wanted: list[Entry]) -> list[bytes]:
        """Return the contents of files, whose sizes were added up before."""
        if not wanted:
            return []
        asked = "".join(f"{each.object}\n" for each in wanted).encode()
        most = sum(each.size + 100 for each in wanted)
        told = await self._run("cat-file", "--batch", what="the commit", feed=_once(asked), most=most)
        contents, at = [], 0
        for each in wanted:
            head = f"{each.object} blob {each.size}\n".encode()
            end = at + len(head) + each.size
            if told[at : at + len(head)] != head or told[end : end + 1] != b"\n":
                raise ArgumentError("a file of the commit cannot be read")
            contents.append(told[at + len(head) : end])
            at = end + 1
        return contents

    async def _run(
        self, *command: str, what: str, feed: AsyncIterator[bytes] | None = None, most: int = _ANSWER_BYTES
    ) -> bytes:
        """Return what git says, on the objects of this folder alone.

        Args:
            command: Words of ours; what somebody sent can be no option in them.
            what: For an error: what git does not like.
            feed: Standard input.
            most: Bytes of an answer.

        Raises:
            ArgumentError: Git refuses, with its own reason; or it came to the end of its limits.
            TooLargeError: The answer is longer.
        """
        process = await asyncio.create_subprocess_exec(
            *git_program.limited(self._git, f"--git-dir={self._folder}", *command),
            stdin=asyncio.subprocess.PIPE if feed is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env=git_program.environment(), cwd="/", start_new_session=True,
        )  # fmt: skip
        try:
            feeding = asyncio.create_task(_feed(process.stdin, feed))
            complaining = asyncio.create_task(_end_of(process.stderr))
            try:
                answer = await _read(process.stdout, most)
                if answer is None:
                    raise TooLargeError(f"{what} holds too much: push a commit of the script alone")
                await feeding
                complaint = await complaining
            finally:
                feeding.cancel()
                complaining.cancel()
            if await process.wait() != 0:
                raise ArgumentError(f"git does not take {what}: {_reason(complaint, process.returncode)}")
            return answer
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.communicate()  # what is left in its pipes, so that they are closed


def _envelope(text: bytes) -> Envelope | None:
    """Return what a file of the commit is, if it is an envelope at all; others are not asked about."""
    try:
        envelope = Envelope.from_json(text)
        peek(envelope)
    except (ArgumentError, TooLargeError):
        return None
    return envelope


def _reason(complaint: bytes, status: int | None) -> str:
    lines = [line for line in complaint.decode("utf-8", "replace").splitlines() if line.strip()]
    # Git's last word is often only that it gives up; what it found comes before it.
    told = [line for line in lines if line.startswith(("error:", "fatal:"))][-2:] or lines[-1:]
    if status is not None and status < 0:
        return f"it would take more time or memory than a script is worth (signal {-status})"
    return "; ".join(told)[:400] or "no reason given"


async def _feed(stdin: asyncio.StreamWriter | None, feed: AsyncIterator[bytes] | None) -> None:
    """Hand all of ``feed`` on; when nobody reads any more, read it to its end all the same."""
    if stdin is None or feed is None:
        return
    is_read = True
    try:
        async for part in feed:
            if is_read:
                try:
                    stdin.write(part)
                    await stdin.drain()
                except (ConnectionError, RuntimeError):  # uvloop's word for a pipe whose reader is gone
                    is_read = False  # git says itself why
    finally:
        stdin.close()


async def _read(stdout: asyncio.StreamReader | None, most: int) -> bytes | None:
    """Return what comes, None if it is more than ``most`` bytes."""
    parts, size = [], 0
    while stdout is not None and (part := await stdout.read(_READ_BYTES)):
        size += len(part)
        if size > most:
            return None
        parts.append(part)
    return b"".join(parts)


async def _end_of(stderr: asyncio.StreamReader | None) -> bytes:
    """Return the last of what comes."""
    kept = b""
    while stderr is not None and (part := await stderr.read(_READ_BYTES)):
        kept = (kept + part)[-4_000:]
    return kept


async def _after(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for part in rest:
        yield part


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
