"""One live link: frames into events, events into actions, and everything that waits told when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from peers import Pipe, Server, statements
from premises import Premises, approved, script, until
from world import DIGEST, World

from agent import limits
from agent.cache import Entry
from agent.link import Connection, Fetched
from agent.shipping import Shipper
from agent.transport import LinkClosedError
from protocol import link as events
from protocol import messages
from protocol.bundle import Bundle
from protocol.errors import (
    ArgumentError,
    DeadlineError,
    DeniedError,
    NotConnectedError,
    OutriderError,
    ProtocolError,
    UnavailableError,
)
from protocol.limits import INITIAL_CREDIT_BYTES
from protocol.link import Link, Role
from protocol.messages import Kind

Body = dict[str, Any]


class Rig:
    """A connection whose other end is a server's link in the test's hands."""

    def __init__(self, premises: Premises) -> None:
        self.premises = premises
        self.server = Server(premises)
        self.pipe = Pipe()
        self.server.pipes.append(self.pipe)
        self.server.link = Link(Role.SERVER, next_record=1)
        self.server._tasks.append(asyncio.create_task(self._feed()))
        link = Link(Role.AGENT, next_record=1)
        self.taken: list[tuple[str, Body]] = []
        self.answers: dict[str, Callable[[Body], Any]] = {}
        self.connection = Connection(self.pipe, link, Shipper(premises.spool, link, 0), self.handle)
        self.running = asyncio.create_task(self.connection.run())

    async def _feed(self) -> None:
        assert self.server.link is not None
        while (frame := await self.pipe.to_server.get()) is not None:
            for event in self.server.link.receive(frame):
                self.server._on(event)
            self.server.flush()

    async def handle(self, method: str, body: Body) -> Any:
        """Take up a request as the dispatcher does: what is raised here refuses it, what is returned is awaited."""
        self.taken.append((method, body))
        answer = self.answers.get(method)
        made = answer(body) if answer is not None else {}

        async def done() -> Any:
            return await made if asyncio.isfuture(made) or asyncio.iscoroutine(made) else made

        return done()

    async def end(self) -> BaseException | None:
        """Return what ended the connection."""
        await asyncio.wait([self.running])
        return None if self.running.cancelled() else self.running.exception()

    async def close(self) -> None:
        self.running.cancel()
        await asyncio.wait([self.running])
        await self.server.close()


@pytest.fixture
async def rig(premises: Premises) -> AsyncIterator[Rig]:
    made = Rig(premises)
    yield made
    await made.close()


@pytest.fixture
def entry(world: World) -> Entry:
    return approved(world, script())


# requests of the server ----------------------------------------------------------------------------------------------


async def test_a_request_is_answered(rig: Rig) -> None:
    rig.answers["run.cancel"] = lambda body: {"seen": body["run_id"]}
    assert await rig.server.asked("run.cancel", {"run_id": "run_1"}) == {"seen": "run_1"}


async def test_requests_are_taken_up_in_their_order(rig: Rig) -> None:
    """A run sees the roster that was sent before it, although its answer may take longer than that of later ones."""
    slow: asyncio.Future[Body] = asyncio.get_running_loop().create_future()
    rig.answers["freeze.set"] = lambda _: slow
    first = rig.server.ask("freeze.set", {"frozen": True, "reason": ""})
    for number in range(20):
        await rig.server.asked("run.cancel", {"run_id": f"run_{number}"})
    assert [method for method, _ in rig.taken] == ["freeze.set", *["run.cancel"] * 20]
    assert [body["run_id"] for _, body in rig.taken[1:]] == [f"run_{number}" for number in range(20)]
    assert first not in rig.server.answers
    slow.set_result({})
    await until(lambda: first in rig.server.answers)


@pytest.mark.parametrize("value", ["x" * (1 << 20), [[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]], 1 << 70])
async def test_an_answer_that_no_frame_holds_is_a_failure(rig: Rig, value: Any) -> None:
    """Or whoever asked waits for ever, and has one request less of those that a link may have open."""
    rig.answers["run.cancel"] = lambda _: {"value": value}
    assert await rig.server.asked("run.cancel", {"run_id": "run_1"}) in {"too_large", "protocol"}


async def refused(error: Exception) -> Body:
    raise error


def refuse(error: Exception) -> Callable[[Body], Any]:
    def now(_: Body) -> Any:
        raise error

    return now


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DeniedError("no"), "denied"),
        (ArgumentError("odd"), "invalid_argument"),
        (KeyError("what is inside"), "internal"),
    ],
)
@pytest.mark.parametrize("is_late", [False, True])
async def test_a_refusal_travels_by_its_code(rig: Rig, error: Exception, code: str, is_late: bool) -> None:
    """And a fault of ours as a bare word; the link goes on."""
    rig.answers["run.cancel"] = (lambda _: refused(error)) if is_late else refuse(error)
    assert await rig.server.asked("run.cancel", {"run_id": "run_1"}) == code
    rig.answers.clear()
    assert await rig.server.asked("run.cancel", {"run_id": "run_1"}) == {}


async def test_an_answer_that_outlives_the_link_is_not_sent(rig: Rig) -> None:
    never: asyncio.Future[Body] = asyncio.get_running_loop().create_future()
    rig.answers["run.cancel"] = lambda _: asyncio.shield(never)
    rig.server.ask("run.cancel", {"run_id": "run_1"})
    await until(lambda: rig.taken)
    rig.pipe.cut()
    assert isinstance(await rig.end(), LinkClosedError)
    assert not never.done(), "what the request started goes on"
    never.set_result({})


# our requests --------------------------------------------------------------------------------------------------------

STATUS = {"facts": {}, "schedules_version": 0, "running": 0}


async def test_the_server_answers_us(rig: Rig) -> None:
    rig.server.on_request = lambda request: {"seen": request.method}
    assert await rig.connection.request("status", STATUS) == {"seen": "status"}


async def test_the_servers_refusal_is_an_error_of_ours(rig: Rig) -> None:
    with pytest.raises(UnavailableError, match="no such bundle"):
        await rig.connection.request("bundle.get", {"digest": DIGEST})


async def test_a_server_that_does_not_answer(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FETCH_TIMEOUT_S", 0.01)
    rig.server.on_request = lambda _: None
    with pytest.raises(DeadlineError, match="status"):
        await rig.connection.request("status", STATUS)


async def test_whoever_waits_hears_that_the_link_has_ended(rig: Rig) -> None:
    rig.server.on_request = lambda _: None
    waiting = [
        asyncio.create_task(rig.connection.request("status", STATUS)),
        asyncio.create_task(rig.connection.fetch(DIGEST)),
        asyncio.create_task(rig.connection.drain(60.0)),
    ]
    await rig.premises.recorder.commit([{"kind": "event"}])
    rig.server.acknowledges = False
    await until(lambda: len(rig.server.requests) == 2)
    rig.pipe.cut(close_code=1012)
    done = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(each) for each in done[:2]] == [NotConnectedError, NotConnectedError]
    error = await rig.end()
    assert isinstance(error, LinkClosedError)
    assert error.close_code == 1012
    with pytest.raises(NotConnectedError):
        await rig.connection.request("status", STATUS)


# bundles -------------------------------------------------------------------------------------------------------------


async def test_a_bundle_arrives_with_its_statements(rig: Rig, entry: Entry) -> None:
    rig.server.bundles[entry.bundle.digest] = entry
    fetched = await rig.connection.fetch(entry.bundle.digest)
    assert Bundle.unpack(fetched.packed).digest == entry.bundle.digest
    assert {"publication": fetched.publication, "approvals": fetched.approvals} == statements(entry)


async def test_a_bundle_larger_than_the_first_credit_arrives(rig: Rig, world: World) -> None:
    """The agent grants what it has taken in, so the server can go on."""
    entry = approved(world, script("-" * (3 * INITIAL_CREDIT_BYTES) + "\nreturn 1\n"))
    packed = entry.bundle.pack()
    link = rig.server.link
    assert link is not None
    left: list[bytes] = []

    def answer(_: events.RequestReceived) -> Body:
        stream = link.open("bundle", {"digest": entry.bundle.digest})
        left.append(packed[link.send(stream, packed) :])
        return statements(entry)

    rig.server.on_request = answer
    fetching = asyncio.create_task(rig.connection.fetch(entry.bundle.digest))
    await until(lambda: left)
    while left[-1]:
        await until(lambda: link.send(2, left[-1][:1]) and left.append(left[-1][1:]) is None)
        left.append(left[-1][link.send(2, left[-1]) :])
        rig.server.flush()
    link.finish(2)
    rig.server.flush()
    assert (await fetching).packed == packed


async def test_a_bundle_that_the_server_gives_up(rig: Rig, entry: Entry) -> None:
    def answer(_: events.RequestReceived) -> Body:
        assert rig.server.link is not None
        stream = rig.server.link.open("bundle", {"digest": entry.bundle.digest})
        rig.server.link.reset(stream, "internal")
        return statements(entry)

    rig.server.on_request = answer
    with pytest.raises(UnavailableError, match="gave up"):
        await rig.connection.fetch(entry.bundle.digest)
    rig.server.on_request = rig.server.answer
    rig.server.bundles[entry.bundle.digest] = entry
    assert isinstance(await rig.connection.fetch(entry.bundle.digest), Fetched), "and it can be fetched again"


async def test_a_bundle_that_stops_on_its_way(rig: Rig, entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up, and the server told, or it would hold what nobody takes."""
    resets: list[str] = []

    def answer(_: events.RequestReceived) -> Body:
        assert rig.server.link is not None
        monkeypatch.setattr(limits, "FETCH_TIMEOUT_S", 0.01)  # from now on: the answer itself may take its time
        stream = rig.server.link.open("bundle", {"digest": entry.bundle.digest})
        rig.server.link.send(stream, b"the beginning")
        return statements(entry)

    on = rig.server._on
    monkeypatch.setattr(
        rig.server, "_on", lambda e: resets.append(e.code) if isinstance(e, events.StreamReset) else on(e)
    )
    rig.server.on_request = answer
    with pytest.raises(DeadlineError, match="did not arrive"):
        await rig.connection.fetch(entry.bundle.digest)
    await until(lambda: resets == ["cancelled"])


async def test_a_bundle_goes_on_where_it_broke_off(rig: Rig, entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    patience_s = limits.FETCH_TIMEOUT_S
    packed, asked = entry.bundle.pack(), []
    assert len(packed) > 120

    def answer(request: events.RequestReceived) -> Body:
        assert rig.server.link is not None
        offset = request.body.get("offset") or 0
        asked.append(offset)
        stream = rig.server.link.open("bundle", {"digest": entry.bundle.digest, "offset": offset})
        if offset < 100:
            rig.server.link.send(stream, packed[offset : offset + 60])
            monkeypatch.setattr(limits, "FETCH_TIMEOUT_S", 0.01)  # for what does not come
        else:
            rig.server.link.send(stream, packed[offset:])
            rig.server.link.finish(stream)
        return statements(entry)

    rig.server.on_request = answer
    for _ in range(2):
        with pytest.raises(DeadlineError):
            await rig.connection.fetch(entry.bundle.digest)
        monkeypatch.setattr(limits, "FETCH_TIMEOUT_S", patience_s)
    fetched = await rig.connection.fetch(entry.bundle.digest)
    assert (fetched.packed, fetched.is_resumed, asked) == (packed, True, [0, 60, 120])


async def test_a_server_that_cannot_go_on_is_asked_for_all_of_it(rig: Rig, entry: Entry) -> None:
    """An older one does not know how; nothing must be stuck because of a beginning."""
    digest = entry.bundle.digest
    rig.connection._partials.keep(digest, b"the beginning")
    rig.server.bundles[digest] = entry

    def answer(request: events.RequestReceived) -> Body | None:
        assert rig.server.link is not None
        if "offset" in request.body:
            rig.server.link.fail(request.id, "invalid_argument", "bundle.get has no key 'offset'")
            return None
        return rig.server.answer(request)

    rig.server.on_request = answer
    with pytest.raises(UnavailableError, match="no key"):
        await rig.connection.fetch(digest)
    assert (await rig.connection.fetch(digest)).is_resumed is False


@pytest.mark.parametrize("told", [{}, {"publication": {}}, {"approvals": []}])
async def test_an_answer_without_statements_is_the_servers_fault(rig: Rig, entry: Entry, told: Body) -> None:
    def answer(_: events.RequestReceived) -> Body:
        rig.server.send_bundle(entry.bundle.digest, entry.bundle.pack())
        return told

    rig.server.on_request = answer
    with pytest.raises(OutriderError, match="statements"):
        await rig.connection.fetch(entry.bundle.digest)


async def test_a_stream_that_nobody_asked_for_is_refused(rig: Rig, entry: Entry) -> None:
    rig.server.send_bundle(entry.bundle.digest, entry.bundle.pack())
    rig.server.flush()
    assert await rig.server.asked("run.cancel", {"run_id": "run_1"}) == {}, "and the link goes on"


# hostile servers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xc1",
        messages.pack(Kind.DATA, 2, b"x"),
        messages.pack(Kind.RECORDS, 1, [b"x"]),
        messages.pack(Kind.ACKNOWLEDGE, 99),
        messages.pack(Kind.RESPONSE, 7, {}),
        messages.pack(Kind.WELCOME, 0, bytes(32), 0),
    ],
)
async def test_a_server_that_breaks_the_protocol_is_told_and_left(rig: Rig, frame: bytes) -> None:
    rig.pipe.to_agent.put_nowait(frame)
    assert isinstance(await rig.end(), ProtocolError)
    assert rig.pipe.closed is not None
    assert rig.pipe.closed[0] in (1002, 1009)


async def test_a_request_that_no_agent_knows_does_not_reach_us(rig: Rig) -> None:
    rig.pipe.to_agent.put_nowait(messages.pack(Kind.REQUEST, 1, "host.reboot", {}))
    rig.pipe.to_agent.put_nowait(messages.pack(Kind.REQUEST, 2, "run.cancel", {"run_id": "run_1", "force": True}))
    assert rig.server.link is not None
    rig.server.link._asked |= {1, 2}
    await until(lambda: len(rig.server.answers) == 2)
    assert set(rig.server.answers.values()) == {"invalid_argument"}
    assert rig.taken == []


# records -------------------------------------------------------------------------------------------------------------


async def test_records_go_out_as_they_become_durable(rig: Rig) -> None:
    for number in range(3):
        await rig.premises.recorder.commit([{"kind": "event", "data": {"number": number}}])
        rig.connection.durable(is_awaited=number == 1)
        await until(lambda: len(rig.server.blobs) == number + 1)  # noqa: B023 - waited for at once
    assert await rig.connection.drain(10.0)
    assert rig.premises.spool.acknowledged == 3


async def test_records_that_nobody_waits_for_travel_with_the_next_that_somebody_does(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The beginning of a short run and its end are one frame, and one commit at the server."""
    monkeypatch.setattr(limits, "SHIP_GATHER_S", 600.0)  # however long a commit takes
    for is_awaited in (False, False, True):
        await rig.premises.recorder.commit([{"kind": "event"}])
        rig.connection.durable(is_awaited=is_awaited)
    await until(lambda: len(rig.server.blobs) == 3)
    assert rig.server.batches == [3]


async def test_draining_gives_up_in_its_time(rig: Rig) -> None:
    rig.server.acknowledges = False
    await rig.premises.recorder.commit([{"kind": "event"}])
    assert not await rig.connection.drain(0.01)
    assert rig.premises.spool.acknowledged == 0
    rig.server.acknowledge()
    assert await rig.connection.drain(10.0)
