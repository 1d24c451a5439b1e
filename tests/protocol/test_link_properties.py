"""The link under any interleaving, with the connection lost at any byte, and with hostile frames.

Why anyone cares: an agent comes back hundreds of times from networks that cut anywhere. What must hold every time: no
record lost, none twice, none out of order; every byte of a stream at most once and in order, or the stream reported as
reset; every request answered or reported as failed, once.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from wires import End, Wire

from protocol import limits, messages
from protocol.errors import ConflictError, ProtocolError, UnavailableError
from protocol.frames import encode
from protocol.link import (
    Link,
    RecordsAcknowledged,
    RecordsReceived,
    RequestFailed,
    RequestReceived,
    ResponseReceived,
    Role,
    StreamData,
    StreamFinished,
    StreamOpened,
    StreamReset,
)
from protocol.messages import Kind

STATUS: dict[str, Any] = {"facts": {}, "schedules_version": 0, "running": 0}


class Owner:
    """What one side has done and seen on the present connection."""

    def __init__(self) -> None:
        self.sent: dict[int, bytes] = defaultdict(bytes)
        self.finished: set[int] = set()
        self.got: dict[int, bytes] = defaultdict(bytes)
        self.opened: set[int] = set()  # by us
        self.seen: set[int] = set()  # opened by the peer
        self.may_send: set[int] = set()
        self.ended: set[int] = set()  # the peer's end was told
        self.reset: set[int] = set()  # gone, by either side
        self.asked: set[int] = set()
        self.answered: list[int] = []
        self.asking: set[int] = set()


class Traffic(RuleBasedStateMachine):
    """Both ends do what they like; bytes arrive as the wire likes; connections are lost and made again."""

    @initialize()
    def begin(self) -> None:
        self.ledger: list[bytes] = []  # the agent's, durable
        self.durable: list[bytes] = []  # the server's copy
        self.connect()

    def connect(self) -> None:
        self.wire = Wire(next_record=len(self.durable) + 1)
        self.handed = len(self.durable)  # records given to this link
        self.received = list(self.durable)  # on this link, not durable yet
        self.acknowledged = len(self.durable)
        self.agent, self.server = Owner(), Owner()

    def sides(self, is_agent: bool) -> tuple[End, Owner]:
        return (self.wire.agent, self.agent) if is_agent else (self.wire.server, self.server)

    # what the owners do ----------------------------------------------------------------------------------------------

    @rule(count=st.integers(1, 5), size=st.integers(1, 40))
    def write_records(self, count: int, size: int) -> None:
        self.ledger += [f"{len(self.ledger) + number}:".encode() + bytes(size) for number in range(count)]

    @precondition(lambda self: len(self.ledger) > self.handed)
    @rule(count=st.integers(1, 10))
    def send_records(self, count: int) -> None:
        batch = self.ledger[self.handed : self.handed + count]
        self.wire.agent.link.send_records(self.handed + 1, batch)
        self.handed += len(batch)

    @precondition(lambda self: len(self.received) > len(self.durable))
    @rule(acknowledge=st.booleans())
    def make_durable(self, acknowledge: bool) -> None:
        self.durable = list(self.received)
        if acknowledge:
            self.wire.server.link.acknowledge(len(self.durable))

    @rule(is_agent=st.booleans(), is_two_way=st.booleans())
    def open(self, is_agent: bool, is_two_way: bool) -> None:
        end, owner = self.sides(is_agent)
        stream = end.link.open("any", {"two": is_two_way}, is_two_way=is_two_way)
        owner.opened.add(stream)
        owner.may_send.add(stream)

    @rule(is_agent=st.booleans(), pick=st.integers(0, 50), data=st.binary(max_size=60), bulk=st.booleans())
    def send(self, is_agent: bool, pick: int, data: bytes, bulk: bool) -> None:
        end, owner = self.sides(is_agent)
        for stream in self.pick(owner.may_send - owner.finished - owner.reset, pick):
            data = data * 4000 if bulk else data
            owner.sent[stream] += data[: end.link.send(stream, data)]

    @rule(is_agent=st.booleans(), pick=st.integers(0, 50))
    def finish(self, is_agent: bool, pick: int) -> None:
        end, owner = self.sides(is_agent)
        for stream in self.pick(owner.may_send - owner.finished - owner.reset, pick):
            end.link.finish(stream)
            owner.finished.add(stream)

    @rule(is_agent=st.booleans(), pick=st.integers(0, 50))
    def reset(self, is_agent: bool, pick: int) -> None:
        end, owner = self.sides(is_agent)
        for stream in self.pick((owner.opened | owner.seen) - owner.reset, pick):
            end.link.reset(stream, "enough")
            owner.reset.add(stream)

    @rule(is_agent=st.booleans(), pick=st.integers(0, 50), size=st.integers(1, 100_000))
    def grant(self, is_agent: bool, pick: int, size: int) -> None:
        end, owner = self.sides(is_agent)
        for stream in self.pick(owner.opened | owner.seen, pick):
            end.link.grant(stream, size)

    @rule(is_agent=st.booleans())
    def ask(self, is_agent: bool) -> None:
        end, owner = self.sides(is_agent)
        with contextlib.suppress(UnavailableError):
            made = ("status", STATUS) if is_agent else ("run.cancel", {"run_id": "r"})
            owner.asked.add(end.link.request(*made))

    @rule(is_agent=st.booleans(), pick=st.integers(0, 50), well=st.booleans())
    def answer(self, is_agent: bool, pick: int, well: bool) -> None:
        end, owner = self.sides(is_agent)
        for number in self.pick(owner.asking, pick):
            if well:
                end.link.respond(number, {})
            else:
                end.link.fail(number, "denied", "no")
            owner.asking.discard(number)

    @rule(is_agent=st.booleans())
    def ping(self, is_agent: bool) -> None:
        self.sides(is_agent)[0].link.ping()

    @staticmethod
    def pick(among: set[int], index: int) -> list[int]:
        return [sorted(among)[index % len(among)]] if among else []

    # what the wire does ----------------------------------------------------------------------------------------------

    @rule()
    def flush(self) -> None:
        self.wire.flush()

    @rule(is_agent=st.booleans(), size=st.integers(1, 200) | st.integers(1000, 300_000))
    def arrive(self, is_agent: bool, size: int) -> None:
        self.wire.flush()
        end, owner = self.sides(is_agent)
        for event in end.arrive(size):
            self.note(owner, event)

    @rule()
    def settle(self) -> None:
        """Everything that was said arrives, in steps."""
        self.wire.flush()
        while self.wire.agent.incoming or self.wire.server.incoming:
            self.arrive(True, 1 << 20)
            self.arrive(False, 1 << 20)

    @rule()
    def lose(self) -> None:
        at_agent, at_server = self.wire.lose()
        for owner, events in ((self.agent, at_agent), (self.server, at_server)):
            failed = [event.id for event in events if isinstance(event, RequestFailed)]
            assert sorted([*owner.answered, *failed]) == sorted(owner.asked), "each request ends exactly once"
            for event in events:
                self.note(owner, event)
        assert self.durable == self.ledger[: len(self.durable)]
        self.connect()

    def note(self, owner: Owner, event: Any) -> None:
        match event:
            case RecordsReceived(first=first, blobs=blobs):
                assert first == len(self.received) + 1
                self.received += blobs
            case RecordsAcknowledged(through=through):
                assert self.acknowledged <= through <= len(self.durable), "only what is durable is acknowledged"
                self.acknowledged = through
            case StreamOpened(id=stream, header=header, is_two_way=is_two_way):
                assert stream not in owner.seen
                assert header == {"two": is_two_way}
                owner.seen.add(stream)
                if is_two_way:
                    owner.may_send.add(stream)
            case StreamData(id=stream, data=data):
                assert stream in owner.seen | owner.opened
                assert stream not in owner.ended | owner.reset
                owner.got[stream] += data
            case StreamFinished(id=stream):
                assert stream not in owner.ended | owner.reset
                owner.ended.add(stream)
                peer = self.server if owner is self.agent else self.agent
                assert owner.got[stream] == peer.sent[stream], "an end comes after everything that was sent"
            case StreamReset(id=stream):
                assert stream not in owner.reset
                owner.reset.add(stream)
            case RequestReceived(id=number):
                assert number not in owner.asking
                owner.asking.add(number)
            case ResponseReceived(id=number) | RequestFailed(id=number):
                assert number in owner.asked
                assert number not in owner.answered
                owner.answered.append(number)

    # what must always hold -------------------------------------------------------------------------------------------

    @invariant()
    def records_are_a_prefix(self) -> None:
        assert self.received == self.ledger[: len(self.received)], "nothing lost, doubled or out of order"

    @invariant()
    def streams_are_prefixes(self) -> None:
        for owner, peer in ((self.agent, self.server), (self.server, self.agent)):
            for stream, data in owner.got.items():
                assert peer.sent[stream].startswith(data)

    @invariant()
    def nobody_broke_the_protocol(self) -> None:
        assert self.wire.agent.link.close_code is None
        assert self.wire.server.link.close_code is None

    def teardown(self) -> None:
        """After quiet everything that was sent has arrived and everything finished is gone."""
        if not hasattr(self, "wire"):
            return
        self.settle()
        for is_agent in (True, False):
            end, owner = self.sides(is_agent)
            for number in sorted(owner.asking):
                end.link.respond(number, {})
        self.settle()
        assert sorted(self.agent.answered) == sorted(self.agent.asked), "each request was answered once"
        assert sorted(self.server.answered) == sorted(self.server.asked)
        assert len(self.received) == self.handed
        for owner, peer in ((self.agent, self.server), (self.server, self.agent)):
            for stream in peer.sent.keys() - owner.reset - peer.reset:
                assert owner.got[stream] == peer.sent[stream]
            assert peer.finished - owner.reset - peer.reset <= owner.ended


Traffic.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestTraffic = Traffic.TestCase


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=30), st.data())
def test_the_connection_is_lost_at_every_byte_in_turn(records: list[bytes], data: st.DataObject) -> None:
    """Cut, come back, cut later, come back: in the end the server has each record once."""
    durable: list[bytes] = []
    cut = data.draw(st.integers(1, 40), label="bytes of each connection")
    for _ in range(10_000):
        if len(durable) == len(records):
            break
        wire = Wire(next_record=len(durable) + 1)
        pending = records[len(durable) :]
        while pending:  # small batches, so that cuts fall between and inside them
            first = len(records) - len(pending) + 1
            wire.agent.link.send_records(first, pending[:2])
            pending = pending[2:]
            wire.flush()
        for event in wire.server.arrive(cut):
            assert isinstance(event, RecordsReceived)
            durable += event.blobs
        wire.lose()
        cut += 1
    assert durable == records


message = st.one_of(
    st.tuples(
        st.just(Kind.OPEN), st.integers(0, 6), st.sampled_from(["tty", "bundle"]), st.just({}), st.integers(0, 9)
    ),
    st.tuples(st.just(Kind.DATA), st.integers(0, 6), st.binary(min_size=1, max_size=20)),
    st.tuples(st.just(Kind.CREDIT), st.integers(0, 6), st.integers(1, limits.MAX_CREDIT_BYTES)),
    st.tuples(st.just(Kind.FINISH), st.integers(0, 6)),
    st.tuples(st.just(Kind.RESET), st.integers(0, 6), st.just("x")),
    st.tuples(st.just(Kind.PING), st.integers(0, 6)),
    st.tuples(st.just(Kind.PONG), st.integers(0, 3)),
    st.tuples(st.just(Kind.REQUEST), st.integers(0, 6), st.sampled_from(["status", "run.cancel"]), st.just(STATUS)),
    st.tuples(st.just(Kind.RESPONSE), st.integers(0, 3), st.just({})),
    st.tuples(st.just(Kind.FAILURE), st.integers(0, 3), st.just("denied"), st.just("")),
    st.tuples(
        st.just(Kind.RECORDS), st.integers(1, 4), st.lists(st.binary(min_size=1, max_size=5), min_size=1, max_size=3)
    ),
    st.tuples(st.just(Kind.ACKNOWLEDGE), st.integers(0, 4)),
).map(lambda fields: messages.pack(*fields))
nonsense = st.binary(max_size=40) | st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
).map(encode)


@settings(deadline=None)
@given(st.sampled_from(list(Role)), st.lists(message | nonsense, max_size=40), st.booleans())
@example(Role.AGENT, [messages.pack(Kind.FINISH, 1)], True)
def test_hostile_frames_never_crash_double_or_reorder(role: Role, frames: list[bytes], is_busy: bool) -> None:
    """Whatever the peer says: only documented errors, events that make sense, and silence after the link has closed."""
    link = Link(role, next_record=1)
    if is_busy:
        link.open("tty", {}, is_two_way=True)
        link.ping()
        link.request(*(("status", STATUS) if role is Role.AGENT else ("run.cancel", {"run_id": "r"})))
        if role is Role.AGENT:
            link.send_records(1, [b"x", b"y"])
        link.take()
    records, open_streams, ended = 0, {1 if role is Role.AGENT else 2} if is_busy else set(), set()
    for frame in frames:
        try:
            events = link.receive(frame)
        except ProtocolError:
            assert link.close_code in {1002, 1009}
            break
        for event in events:
            match event:
                case RecordsReceived(first=first, blobs=blobs):
                    assert first == records + 1
                    records += len(blobs)
                case StreamOpened(id=stream):
                    assert stream not in open_streams | ended
                    open_streams.add(stream)
                case StreamData(id=stream):
                    assert stream in open_streams - ended
                case StreamFinished(id=stream):
                    assert stream in open_streams - ended
                    ended.add(stream)
                case StreamReset(id=stream):
                    assert stream in open_streams
                    open_streams.discard(stream)
                    ended.add(stream)
        link.take()
    closed = link.close_code is not None
    lost = link.lost()
    assert len(lost) == len(set(lost))
    assert link.lost() == []
    if closed:
        assert link.take() == []


@settings(deadline=None)
@given(st.lists(st.integers(0, 7), max_size=40), st.integers(-2, 9), st.binary(max_size=100))
def test_commands_raise_only_documented_errors(order: list[int], number: int, data: bytes) -> None:
    """An owner that lags behind the wire gets an error it can handle, and nothing else changes."""
    link = Link(Role.AGENT, next_record=1)
    commands = [
        lambda: link.open("x", {}), lambda: link.send(number, data), lambda: link.finish(number),
        lambda: link.reset(number, "x"), lambda: link.grant(number, number), lambda: link.respond(number, {}),
        lambda: link.send_records(number, [data]), lambda: link.acknowledge(number),
    ]  # fmt: skip
    for index in order:
        with contextlib.suppress(ConflictError, ProtocolError):
            commands[index]()
    for frame in link.take():
        messages.unpack(frame)


_CHANGES = st.one_of(
    st.none(),
    st.tuples(st.just("flip"), st.integers(0, 12), st.integers(0, 255)),
    st.tuples(st.just("cut"), st.integers(0, 12), st.just(0)),
    st.tuples(st.just("add"), st.just(0), st.integers(0, 255)),
)  # fmt: skip


@given(
    st.lists(
        st.tuples(st.sampled_from([2, 4, 260, 70_000]), st.sampled_from([1, 2, 3, 255, 256, 300, 5000]), _CHANGES),
        max_size=12,
    ),
    st.integers(0, 12),
)
def test_bytes_of_a_stream_mean_the_same_in_few_steps(
    script: list[tuple[int, int, tuple[str, int, int] | None]], reset_at: int
) -> None:
    """Also of frames that were changed on their way, and after the stream was given up."""
    quick, plain = (Link(Role.AGENT, next_record=1) for _ in range(2))
    for number in (2, 4, 260, 70_000):
        for link in (quick, plain):
            link.receive(messages.pack(Kind.OPEN, number, "session", {}, 0))
    for place, (number, size, change) in enumerate(script):
        if place == reset_at:
            quick.reset(number, "refused")
            plain.reset(number, "refused")
        frame = messages.pack(Kind.DATA, number, bytes(at % 251 for at in range(size)))
        match change:
            case ("flip", at, byte):
                frame = frame[: at % len(frame)] + bytes((byte,)) + frame[at % len(frame) + 1 :]
            case ("cut", at, _):
                frame = frame[: len(frame) - at]
            case ("add", _, byte):
                frame += bytes((byte,))
        came = quick.receive_data(frame)
        if came is not None:
            assert plain.receive(frame) == [StreamData(came[0], bytes(came[1]))]
            continue
        told: list[Any] = []
        for link in (quick, plain):
            try:
                told.append(link.receive(frame))
            except ProtocolError as error:
                told.append((error.code, error.message))
        assert told[0] == told[1]
        assert (quick.close_code, quick.take()) == (plain.close_code, plain.take())
