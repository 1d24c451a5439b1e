"""Blobs of one host over a link that can be cut: sent at once, later, in two goes; brought; refused; bounded."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from peers import Pipe
from premises import Premises, until

from agent import blobs, limits
from agent.blobs import About, HostBlobs
from agent.link import Connection
from agent.shipping import Shipper
from protocol import link as events
from protocol.errors import NotConnectedError, NotFoundError, OutriderError, TooLargeError, TrustError, UnavailableError
from protocol.link import Link, Role
from protocol.transfer import GET, PUT, Header, Receiving, Sending
from stdlib.blobs import Brought

DATA = bytes(range(256)) * 8192  # two megabytes: eight windows
ABOUT = About("disk.img", "run_1", "checks/disk")


def named(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Store:
    """A server's end of blobs: keeps what arrives whole, and what broke off; answers as it is told."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.parts: dict[str, bytearray] = {}
        self.offers: list[dict[str, Any]] = []
        self.refuses: OutriderError | None = None
        self.lies = b""  # sent in place of what is held
        self.cut_after: int | None = None  # bytes, then the link breaks
        self.cut: Callable[[], None] = lambda: None
        self._finished: set[int] = set()
        self._open: dict[int, tuple[Receiving | Sending, Any]] = {}

    def request(self, link: Link, request: events.RequestReceived) -> None:
        try:
            if self.refuses is not None:
                raise self.refuses
            link.respond(request.id, self._answer(request))
        except OutriderError as error:
            link.fail(request.id, error.code, str(error))

    def _answer(self, request: events.RequestReceived) -> dict[str, Any]:
        blob = request.body["hash"]
        if request.method == "blob.ask":
            if blob not in self.held:
                raise NotFoundError(f"there is no blob {blob}")
            return {"size": len(self.held[blob])}
        self.offers.append(request.body)
        return {"held": blob in self.held, "offset": len(self.parts.get(blob, b""))}

    def stream(self, link: Link, event: events.Event) -> None:
        match event:
            case events.StreamOpened(id=number, purpose=purpose, header=given):
                self._finished.discard(number)
                header = Header.parse(given)
                if purpose == PUT:
                    part = self.parts.setdefault(header.hash, bytearray())
                    assert header.offset == len(part)
                    self._open[number] = (Receiving(header, hashlib.sha256(part)), part)
                else:
                    assert purpose == GET
                    self._open[number] = (Sending(header), self.lies or self.held[header.hash])
                    self._feed(link, number)
            case events.StreamData(id=number, data=data):
                receiving, part = self._open[number]
                assert isinstance(receiving, Receiving)
                receiving.take(data)
                part += data
                link.grant(number, len(data))
                self._maybe_cut(len(part))
            case events.StreamWritable(id=number):
                self._feed(link, number)
            case events.StreamFinished(id=number):
                receiving, part = self._open[number]
                if isinstance(receiving, Receiving):
                    receiving.finish()
                    self.held[receiving.header.hash] = bytes(part)
                    link.finish(number)

    def _feed(self, link: Link, number: int) -> None:
        sending, data = self._open[number]
        if not isinstance(sending, Sending) or number in self._finished:
            return
        while not sending.is_done:
            at, size = sending.wanted()
            if size:
                sending.feed(data[at : at + size])
            sent = link.send(number, sending.pending)
            sending.sent(sent)
            if not sent:
                break
        if sending.is_done:
            self._finished.add(number)
            link.finish(number)
        self._maybe_cut(sending.wanted()[0])

    def _maybe_cut(self, moved: int) -> None:
        if self.cut_after is not None and moved >= self.cut_after:
            self.cut_after = None
            self.cut()


class Rig:
    """One host's blobs, and links to the store that come and go."""

    def __init__(self, premises: Premises, *, most: int = 1 << 30) -> None:
        self.premises = premises
        self.store = Store()
        self.most = most
        self.blobs = HostBlobs(premises.state.blobs, most, premises.recorder)
        self._tasks: list[asyncio.Task[Any]] = []

    def connect(self) -> None:
        pipe, link = Pipe(), Link(Role.SERVER, next_record=1)
        self.store.cut = pipe.cut
        connection = Connection(
            pipe, agent := Link(Role.AGENT, next_record=1), Shipper(self.premises.spool, agent, 0), _nothing
        )
        self._tasks += [asyncio.create_task(self._serve(pipe, link)), asyncio.create_task(self._run(connection))]
        self.blobs.connected(connection)

    async def _run(self, connection: Connection) -> None:
        try:
            await connection.run()
        except OutriderError:
            if self.blobs._connection is connection:
                self.blobs.connected(None)

    async def _serve(self, pipe: Pipe, link: Link) -> None:
        while (frame := await pipe.to_server.get()) is not None:
            for event in link.receive(frame):
                if isinstance(event, events.RequestReceived):
                    self.store.request(link, event)
                elif isinstance(event, events.RecordsReceived):
                    link.acknowledge(event.first + len(event.blobs) - 1)
                else:
                    self.store.stream(link, event)
            for frame in link.take():
                pipe.to_agent.put_nowait(frame)

    def restart(self) -> None:
        """A new process on the same disk."""
        self.blobs = HostBlobs(self.premises.state.blobs, self.most, self.premises.recorder)

    async def keep(self, data: bytes) -> str:
        draft = self.blobs.draft(1 << 30)
        try:
            draft.write(data)
        except OutriderError:
            draft.discard()
            raise
        return await self.blobs.keep(draft, ABOUT)

    async def bring(self, blob: str, most: int = 1 << 30) -> bytes:
        async with self.blobs.bring(blob, most) as brought:
            assert (brought.hash, brought.size) == (blob, os.fstat(brought.fd).st_size)
            return os.pread(brought.fd, brought.size + 1, 0)

    def files(self) -> list[str]:
        return sorted(path.name for path in self.premises.state.blobs.glob("*"))

    async def close(self) -> None:
        await self.blobs.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _nothing(method: str, body: Any) -> Any:
    raise AssertionError(method)


@pytest.fixture
async def rig(premises: Premises) -> AsyncIterator[Rig]:
    made = Rig(premises)
    yield made
    await made.close()


async def test_what_is_kept_is_at_the_server_when_the_call_returns(rig: Rig) -> None:
    rig.connect()
    assert await rig.keep(DATA) == named(DATA)
    assert rig.store.held == {named(DATA): DATA}
    offer = {"hash": named(DATA), "size": len(DATA), "name": "disk.img", "run": "run_1", "script": "checks/disk"}
    assert rig.store.offers == [offer]
    assert (rig.files(), rig.blobs.used_bytes, rig.blobs.queued) == ([], 0, 0)
    rig.store.parts.clear()
    await rig.keep(DATA)
    assert rig.store.parts == {}, "what the server has is not sent again"


async def test_without_a_link_it_waits_and_a_restart_does_not_lose_it(rig: Rig) -> None:
    for data in (b"one", b"two", b"two"):
        assert await rig.keep(data) == named(data)
    (rig.premises.state.blobs / "draft-0").write_bytes(b"of a process that was killed")
    (rig.premises.state.blobs / f"{'0' * 64}.json").write_text("{}")
    rig.restart()
    assert (rig.blobs.queued, rig.blobs.used_bytes) == (2, 6)
    assert len(rig.files()) == 4
    assert await rig.bring(named(b"one")) == b"one", "what waits is here"
    rig.connect()
    await rig.blobs.send_queued()
    assert rig.store.held == {named(data): data for data in (b"one", b"two")}
    assert [offer["run"] for offer in rig.store.offers] == ["run_1", "run_1"]
    assert (rig.files(), rig.blobs.used_bytes) == ([], 0)


async def test_a_link_that_breaks_keeps_what_was_sent(rig: Rig) -> None:
    rig.connect()
    rig.store.cut_after = 500_000
    assert await rig.keep(DATA) == named(DATA), "it waits here, so the call has done what it can"
    arrived = len(rig.store.parts[named(DATA)])
    assert 500_000 <= arrived < len(DATA)
    assert rig.blobs.queued == 1
    rig.connect()
    await rig.blobs.send_queued()
    assert rig.store.held == {named(DATA): DATA}
    assert (rig.files(), rig.blobs.used_bytes) == ([], 0)


async def test_what_the_server_refuses_for_good_is_told_and_gone(rig: Rig) -> None:
    rig.connect()
    rig.store.refuses = TooLargeError("a blob has at most 5 bytes here")
    with pytest.raises(TooLargeError, match="at most 5 bytes here"):
        await rig.keep(DATA)
    assert (rig.files(), rig.blobs.used_bytes) == ([], 0)
    (record,) = [record for record in await rig.premises.records("event") if record.data.get("event") == "blob"]
    assert (record.outcome, record.data["hash"]) == ("too_large", named(DATA))
    rig.store.refuses = UnavailableError("the disk is full")
    assert await rig.keep(b"x") == named(b"x")
    assert rig.blobs.queued == 1, "a full disk is not for good"


async def test_bounds_of_the_disk_and_of_how_many_wait(premises: Premises, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(premises, most=1000)
    await rig.keep(b"a" * 400)
    with pytest.raises(UnavailableError, match="at most 1000 bytes"):
        await rig.keep(b"b" * 700)
    monkeypatch.setattr(limits, "MAX_QUEUED_BLOBS", 1)
    with pytest.raises(UnavailableError, match="1 blobs wait for the server already"):
        await rig.keep(b"c")
    await rig.keep(b"a" * 400)
    assert (rig.blobs.used_bytes, rig.blobs.queued) == (400, 1)
    assert json.loads((premises.state.blobs / f"{named(b'a' * 400)[7:]}.json").read_text())["name"] == "disk.img"


async def test_what_is_brought_is_checked_and_leaves_nothing(rig: Rig) -> None:
    rig.connect()
    rig.store.held |= {named(DATA): DATA, named(b""): b""}
    assert await rig.bring(named(DATA)) == DATA
    assert await rig.bring(named(b"")) == b""
    with pytest.raises(NotFoundError, match="there is no blob"):
        await rig.bring("sha256:" + "0" * 64)
    with pytest.raises(TooLargeError, match="more than 100"):
        await rig.bring(named(DATA), 100)
    rig.store.lies = bytes(len(DATA))
    with pytest.raises(TrustError):
        await rig.bring(named(DATA))
    assert (rig.files(), rig.blobs.used_bytes) == ([], 0)


async def test_without_a_link_nothing_is_brought(rig: Rig) -> None:
    with pytest.raises(NotConnectedError):
        await rig.bring(named(DATA))


async def test_what_broke_off_while_it_came_goes_on(rig: Rig) -> None:
    rig.connect()
    rig.store.held[named(DATA)] = DATA
    rig.store.cut_after = 500_000
    bringing = asyncio.create_task(rig.bring(named(DATA)))
    await until(lambda: rig.store.cut_after is None and rig.blobs._connection is None)
    assert not bringing.done()
    rig.connect()
    assert await bringing == DATA
    assert (rig.files(), rig.blobs.used_bytes) == ([], 0)


async def test_a_link_that_does_not_come_back_ends_it(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RESUME_WAIT_S", 0.05)
    rig.connect()
    rig.store.held[named(DATA)] = DATA
    rig.store.cut_after = 500_000
    with pytest.raises(NotConnectedError, match="did not come back in time"):
        await rig.bring(named(DATA))
    assert (rig.files(), rig.blobs.used_bytes) == ([], 0)


async def test_whoever_is_cancelled_loses_nothing(rig: Rig) -> None:
    """A run that is killed while its blob is sent: the blob stays on its way, and room is given back in the end."""
    rig.connect()
    keeping = asyncio.create_task(rig.keep(DATA))
    await until(lambda: rig.store.offers)
    keeping.cancel()
    await asyncio.wait([keeping])
    await until(lambda: rig.store.held)
    await until(lambda: not rig.files())
    bringing = asyncio.create_task(rig.bring(named(DATA)))
    await until(lambda: rig.blobs.used_bytes)
    bringing.cancel()
    await asyncio.wait([bringing])
    await until(lambda: not rig.blobs.used_bytes)
    await until(lambda: not rig.files())  # a thread may be about to take the name away from one that it has just made


async def test_threads_that_the_loop_has_for_itself_are_not_needed(rig: Rig) -> None:
    """A handful, which look-ups of names and files that never answer may have taken."""
    go, taken = threading.Event(), threading.Event()
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    asyncio.get_running_loop().run_in_executor(None, lambda: (taken.set(), go.wait(60)))
    try:
        assert taken.wait(60)
        rig.connect()
        assert await rig.keep(DATA) == named(DATA)
        assert await rig.bring(named(DATA)) == DATA
    finally:
        go.set()


async def test_who_is_cancelled_leaves_no_thread_with_a_file_of_somebody_else(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of a file that was closed is soon another one's: what a thread still writes must not go there."""
    rig.connect()
    await rig.keep(DATA)
    go, written = threading.Event(), asyncio.Event()
    loop, real, found = asyncio.get_running_loop(), blobs._write, list[int]()

    def write(data: bytes, position: int, blob: Brought) -> None:
        loop.call_soon_threadsafe(written.set)
        assert go.wait(60)
        found.append(os.fstat(blob.fd).st_size)  # it is open, and nobody else's: nothing was written yet
        real(data, position, blob)

    monkeypatch.setattr(blobs, "_write", write)
    bringing = asyncio.create_task(rig.bring(named(DATA)))
    await written.wait()
    bringing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await bringing
    others = [os.open("/dev/null", os.O_RDONLY) for _ in range(8)]
    go.set()
    while not found:
        await asyncio.sleep(0)
    assert found == [0]
    for fd in others:
        os.close(fd)
    assert rig.blobs.used_bytes == 0
