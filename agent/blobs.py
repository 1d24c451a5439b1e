"""Blobs of this host: sent to the server, at once or when it is back; and brought from it, checked.

- What a call has made is durable here before anything is sent, in an outbox: a directory with the content and, beside
  it, what it is called and who made it. It leaves when the server has it on its disk, or refuses it for good.
- A call waits for that while there is a link. Without one its blob stays here, and the call has done what it can.
- What is brought is a file without a name as soon as it is whole: nobody else sees it, and it is gone with whoever uses
  it, whatever way that ends. A link that breaks meanwhile is waited for, and the transfer goes on where it was.
- All of it together takes no more of the disk than the settings say.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from agent import limits
from agent.files import write_durably
from agent.link import Connection, RefusedError
from agent.logs import LOG
from agent.recorder import Recorder
from kernel.visits import begun_apart
from protocol.errors import (
    ConflictError,
    DeadlineError,
    NotConnectedError,
    NotFoundError,
    OutriderError,
    ProtocolError,
    RateError,
    TooLargeError,
    TrustError,
    UnavailableError,
)
from protocol.limits import MAX_BLOB_BYTES
from protocol.pipes import GivenUpError, Pipe
from protocol.transfer import GET, PIECE_BYTES, PREFIX, PUT, Header, Receiving, Sending
from stdlib.blobs import Brought, Draft, Room, check_size, forget_drafts
from stdlib.lending import on_thread

_T = TypeVar("_T")
_CONTENT: Final = re.compile(r"[0-9a-f]{64}")
_ABOUT_BYTES: Final = 16 * limits.KIB
_LATER: Final = frozenset({RateError.code, UnavailableError.code, ConflictError.code, DeadlineError.code, "internal"})


@dataclass(frozen=True, slots=True)
class About:
    """What is told about a blob."""

    name: str
    run: str
    script: str


class HostBlobs:
    """The blobs of one host. Used from the event loop's thread, but for drafts.

    Args:
        directory: In the state directory.
        most_bytes: Of the disk.
        recorder: That the server refused what was kept for it is on record.
    """

    def __init__(self, directory: Path, most_bytes: int, recorder: Recorder) -> None:
        self._directory = directory
        self._recorder = recorder
        self._queued = self._found()  # hash -> size, oldest first
        self._room = Room(most_bytes, sum(self._queued.values()))
        self._turns = asyncio.Semaphore(limits.BLOBS_AT_ONCE)
        self._sending: dict[str, asyncio.Task[None]] = {}
        self._connection: Connection | None = None
        self._moved_on = asyncio.Event()  # set, and another one in its place, when the connection changes
        self._moving = asyncio.Lock()  # the outbox on the disk and what we know of it change together

    def of(self, run: str, script: str) -> RunBlobs:
        """Return what one run uses."""
        return RunBlobs(self, run, script)

    @property
    def queued(self) -> int:
        """How many blobs wait for the server."""
        return len(self._queued)

    @property
    def used_bytes(self) -> int:
        """How much of the disk is taken."""
        return self._room.used_bytes

    def connected(self, connection: Connection | None) -> None:
        """There is a link, or none any more."""
        self._connection = connection
        self._moved_on.set()
        self._moved_on = asyncio.Event()

    async def send_queued(self) -> None:
        """Send what waits, oldest first; what cannot be sent now stays."""
        for blob in list(self._queued):
            if self._connection is None:
                return
            with suppress(OutriderError):  # it was told to the log, and to the record if it is over
                await asyncio.shield(self._send_soon(blob))

    async def close(self) -> None:
        """Stop sending; what was not sent stays."""
        for task in list(self._sending.values()):
            task.cancel()
        await asyncio.gather(*self._sending.values(), return_exceptions=True)

    def draft(self, most_bytes: int) -> Draft:
        """Return a new draft. It blocks; any thread.

        Raises:
            UnavailableError: It cannot be made.
        """
        return Draft(self._directory, most_bytes, self._room)

    # there ---------------------------------------------------------------------------------------------------------

    async def keep(self, draft: Draft, about: About) -> str:
        """Put a draft into the outbox, and wait until the server has it, if there is a link.

        Raises:
            UnavailableError: The outbox is full, or the disk refuses.
            OutriderError: The server refuses it for good.
        """
        blob = draft.hash
        await asyncio.shield(asyncio.ensure_future(self._take_in(draft, about)))  # whoever waits may be cancelled
        if self._connection is not None and blob in self._queued:
            try:
                await asyncio.shield(self._send_soon(blob))
            except OutriderError:
                if blob not in self._queued:
                    raise
        return blob

    async def _take_in(self, draft: Draft, about: About) -> None:
        blob, size = draft.hash, draft.size_bytes
        async with self._moving:
            if blob not in self._queued and len(self._queued) >= limits.MAX_QUEUED_BLOBS:
                await begun_apart(draft.discard)
                raise UnavailableError(f"{limits.MAX_QUEUED_BLOBS} blobs wait for the server already")
            await begun_apart(self._enqueue, draft, about)
            if blob in self._queued:
                self._room.give(size)  # the same again: it lies there once
            self._queued[blob] = size

    def _enqueue(self, draft: Draft, about: About) -> None:
        place = self._place(draft.hash)
        try:
            write_durably(place.with_suffix(".json"), json.dumps(asdict(about)).encode(), mode=0o600)
        except BaseException:
            draft.discard()
            raise
        draft.move_to(place)

    def _send_soon(self, blob: str) -> asyncio.Task[None]:
        """Return what sends a blob; one task however many wait."""
        task = self._sending.get(blob)
        if task is None:
            task = self._sending[blob] = asyncio.create_task(self._send(blob), context=Context())  # for nobody alone
            task.add_done_callback(lambda done: self._sent(blob, done))
        return task

    def _sent(self, blob: str, done: asyncio.Task[None]) -> None:
        self._sending.pop(blob, None)
        if not done.cancelled():
            done.exception()  # seen: whoever waits has it too

    async def _send(self, blob: str) -> None:
        async with self._turns:
            try:
                await self._send_now(blob)
            except OutriderError as error:
                if isinstance(error, NotConnectedError) or error.code in _LATER:
                    LOG.warning("the blob %s waits: %s", blob, error)
                else:
                    LOG.error("the server refuses the blob %s: %s", blob, error)
                    await self._forget(blob)
                    data = {"event": "blob", "hash": blob, "message": str(error)[:1000]}
                    self._recorder.record(kind="event", outcome=error.code, data=data)
                raise
            await self._forget(blob)

    async def _forget(self, blob: str) -> None:
        async with self._moving:
            size = self._queued.pop(blob, None)
            if size is None:
                return
            self._room.give(size)
            place = self._place(blob)
            place.unlink(missing_ok=True)
            place.with_suffix(".json").unlink(missing_ok=True)

    async def _send_now(self, blob: str) -> None:
        connection, size = self._linked(), self._queued[blob]
        try:
            fd = os.open(self._place(blob), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise ProtocolError(f"the outbox has lost {blob}: {error.strerror}") from None
        try:
            offer = {"hash": blob, "size": size, **asdict(await begun_apart(self._about, blob))}
            answer = await _asked(connection, "blob.offer", offer)
            if answer.get("held") is True:
                return
            header = Header.parse({"hash": blob, "size": size, "offset": answer.get("offset")})
            async with _transfer(connection, PUT, header) as pipe:
                sending = Sending(header)
                while not sending.is_done:
                    at, wanted = sending.wanted()
                    sending.feed(await on_thread(partial(_read, wanted, at), Brought(blob, size, fd)))
                    await _moving(pipe.write(sending.pending))
                    sending.sent(wanted)
                pipe.finish()
                if await _moving(pipe.read()):
                    raise ProtocolError("the server sends where it should take")
        finally:
            os.close(fd)

    # and back ------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def bring(self, blob: str, most_bytes: int) -> AsyncIterator[Brought]:
        """Yield a blob of the server's, or of the outbox; see ``stdlib.blobs.Blobs``."""
        if blob in self._queued:
            fd, size, taken = os.open(self._place(blob), os.O_RDONLY | os.O_CLOEXEC), self._queued[blob], 0
        else:
            connection = self._linked()
            size = (await _asked(connection, "blob.ask", {"hash": blob})).get("size", -1)
            if type(size) is not int or not 0 <= size <= MAX_BLOB_BYTES:
                raise ProtocolError(f"the server told no size of {blob}")
            self._room.take(check_size(blob, size, most_bytes))
            taken = size
            try:
                fd = await self._arrived(blob, size)
            except BaseException:
                self._room.give(taken)
                raise
        try:
            yield Brought(blob, check_size(blob, size, most_bytes), fd)
        finally:
            os.close(fd)
            self._room.give(taken)

    async def _arrived(self, blob: str, size: int) -> int:
        """Return a file without a name that holds the whole blob."""
        making = begun_apart(self._nameless)
        try:
            fd = await asyncio.shield(making)
        except asyncio.CancelledError:
            making.add_done_callback(_close)
            raise
        try:
            receiving = Receiving(Header(blob, size, 0))
            while True:
                connection = self._linked()
                try:
                    await self._take(connection, receiving, fd)
                    break
                except NotConnectedError:
                    await self._another(connection)
            receiving.finish()
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _nameless(self) -> int:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._directory / f"draft-{secrets.token_hex(12)}"
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            path.unlink()
        except OSError as error:
            raise UnavailableError(f"a blob cannot be written on this host: {error.strerror}") from None
        return fd

    async def _take(self, connection: Connection, receiving: Receiving, fd: int) -> None:
        header = Header(receiving.header.hash, receiving.header.size, receiving.position)
        async with _transfer(connection, GET, header) as pipe:
            pipe.finish()
            while pieces := await _moving(pipe.gather(PIECE_BYTES)):
                data, at = b"".join(pieces), receiving.position
                receiving.take(data)
                await on_thread(partial(_write, data, at), Brought(header.hash, header.size, fd))

    async def _another(self, lost: Connection) -> None:
        """Wait for another connection than the one that was lost."""
        try:
            async with asyncio.timeout(limits.RESUME_WAIT_S):
                while self._connection is None or self._connection is lost:
                    await self._moved_on.wait()
        except TimeoutError:
            raise NotConnectedError("the link to the server ended, and did not come back in time") from None

    def _linked(self) -> Connection:
        if self._connection is None:
            raise NotConnectedError("there is no link to the server")
        return self._connection

    # the outbox ----------------------------------------------------------------------------------------------------

    def _place(self, blob: str) -> Path:
        return self._directory / blob.removeprefix(PREFIX)

    def _found(self) -> dict[str, int]:
        """Return what waits since an earlier process, oldest first; what that was still making goes."""
        if not self._directory.is_dir():
            return {}
        forget_drafts(self._directory)
        found = []
        for path in self._directory.iterdir():
            if _CONTENT.fullmatch(path.name):
                status = path.stat()
                found.append((status.st_mtime_ns, PREFIX + path.name, status.st_size))
            elif not path.with_suffix("").exists():  # what is told about a blob that never came, or has left
                path.unlink(missing_ok=True)
        return {blob: size for _, blob, size in sorted(found)}

    def _about(self, blob: str) -> About:
        try:
            with open(self._place(blob).with_suffix(".json"), "rb") as file:
                told = json.loads(file.read(_ABOUT_BYTES))
            return About(str(told["name"]), str(told["run"]), str(told["script"]))
        except (OSError, ValueError, KeyError, TypeError):  # the content is worth more than its name
            return About("", "", "")


@asynccontextmanager
async def _transfer(connection: Connection, purpose: str, header: Header) -> AsyncIterator[Pipe]:
    """Yield a pipe for a transfer; what the server gives it up for is raised as an error of its own kind."""
    pipe = connection.pipe(purpose, header.to_plain())
    try:
        yield pipe
    except GivenUpError as error:
        raise refusal(error.reset, f"the server gave up on the transfer ({error.reset})") from None
    finally:
        pipe.reset("cancelled")  # of no effect if both sides have finished


async def _moving(step: Awaitable[_T]) -> _T:
    """Return what a step of a transfer gives; DeadlineError if nothing moves for too long."""
    try:
        async with asyncio.timeout(limits.STREAM_STALL_S):
            return await step
    except TimeoutError:
        raise DeadlineError(f"nothing moved for {limits.STREAM_STALL_S:g} s") from None


def refusal(code: str, told: str) -> OutriderError:
    """Return the error for what the server said no to with a code."""
    if code == TrustError.code:
        return TrustError(told, reason="wrong_digest")
    kinds: tuple[type[OutriderError], ...] = (NotFoundError, TooLargeError, ConflictError)
    return {kind.code: kind for kind in kinds}.get(code, UnavailableError)(told)


async def _asked(connection: Connection, method: str, body: dict[str, Any]) -> dict[str, Any]:
    """Ask the server; its refusal comes as an error of its own kind."""
    try:
        answer: dict[str, Any] = await connection.request(method, body)
    except RefusedError as error:
        raise refusal(error.refusal, error.message) from None
    return answer


def _close(making: asyncio.Future[int]) -> None:
    """Close a file that nobody waits for any more."""
    if not making.cancelled() and making.exception() is None:
        os.close(making.result())


def _read(size: int, position: int, blob: Brought) -> bytes:
    return os.pread(blob.fd, size, position)


def _write(data: bytes, position: int, blob: Brought) -> None:
    view = memoryview(data)
    try:
        while view:
            size = os.pwrite(blob.fd, view, position)
            position, view = position + size, view[size:]
    except OSError as error:
        raise UnavailableError(f"a blob cannot be written on this host: {error.strerror}") from None


class RunBlobs:
    """The blobs of the host as one run uses them: what it keeps is told to be its own."""

    def __init__(self, blobs: HostBlobs, run: str, script: str) -> None:
        self._blobs = blobs
        self._run = run
        self._script = script
        self.draft = blobs.draft
        self.bring = blobs.bring

    async def keep(self, draft: Draft, name: str) -> str:
        """Keep a draft; see :meth:`HostBlobs.keep`."""
        return await self._blobs.keep(draft, About(name, self._run, self._script))
