"""The link, as scripts of commands in and events out, and every way in which a peer can break it."""

from __future__ import annotations

from typing import Any

import pytest
from wires import Wire

from protocol import limits, messages
from protocol.errors import (
    ArgumentError,
    ConflictError,
    NotConnectedError,
    ProtocolError,
    TooLargeError,
    UnavailableError,
)
from protocol.link import (
    Link,
    PongReceived,
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
    StreamWritable,
)
from protocol.messages import Kind

STATUS: dict[str, Any] = {"facts": {}, "schedules_version": 0, "running": 0}
CREDIT = limits.INITIAL_CREDIT_BYTES


@pytest.fixture
def wire() -> Wire:
    return Wire()


# requests ------------------------------------------------------------------------------------------------------------


def test_a_request_is_answered_once(wire: Wire) -> None:
    number = wire.agent.link.request("status", STATUS)
    assert wire.settle() == [RequestReceived(number, "status", STATUS)]
    wire.server.link.respond(number, {"ok": True})
    assert wire.settle() == [ResponseReceived(number, {"ok": True})]
    with pytest.raises(ConflictError):
        wire.server.link.respond(number, {})


def test_a_failed_request_tells_code_and_text(wire: Wire) -> None:
    number = wire.server.link.request("run.cancel", {"run_id": "r1"})
    wire.settle()
    wire.agent.link.fail(number, "not_found", "no such run")
    assert wire.settle() == [RequestFailed(number, "not_found", "no such run")]


def test_a_failure_text_that_cannot_cross_is_made_to(wire: Wire) -> None:
    """Otherwise the request would hang for ever because its error holds an odd file name."""
    number = wire.server.link.request("run.cancel", {"run_id": "r1"})
    wire.settle()
    wire.agent.link.fail(number, "not_found", "\udcff" + "x" * 10_000)
    (event,) = wire.settle()
    assert isinstance(event, RequestFailed)
    assert event.message.startswith("?x")
    assert len(event.message) <= limits.MAX_ERROR_TEXT_BYTES


def test_an_answer_too_large_leaves_the_request_to_be_failed(wire: Wire) -> None:
    number = wire.agent.link.request("status", STATUS)
    wire.settle()
    with pytest.raises(TooLargeError):
        wire.server.link.respond(number, {"blob": bytes(limits.MAX_LINK_FRAME_BYTES)})
    wire.server.link.fail(number, "too_large", "the answer does not fit")
    assert wire.settle() == [RequestFailed(number, "too_large", "the answer does not fit")]


@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("run.start", STATUS),
        ("status", {"facts": {}}),
        ("status", STATUS | {"more": 1}),
        ("status", STATUS | {"running": -1}),
        ("status", STATUS | {"running": True}),
        ("bundle.get", {"digest": "sha256:AB"}),
        ("nothing", {}),
    ],
)
def test_a_request_of_wrong_form_is_refused_where_it_is_made(wire: Wire, method: str, body: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        wire.agent.link.request(method, body)
    assert wire.settle() == []


@pytest.mark.parametrize(("method", "body"), [("later.version", {}), ("run.cancel", {}), ("status", STATUS)])
def test_a_bad_request_of_the_peer_fails_alone(wire: Wire, method: str, body: dict[str, Any]) -> None:
    """A newer server may ask what this agent does not know; that must not cost the link."""
    assert wire.agent.link.receive(messages.pack(Kind.REQUEST, 1, method, body)) == []
    ((kind, values),) = map(messages.unpack, wire.agent.link.take())
    assert (kind, values[:2]) == (Kind.FAILURE, [1, "invalid_argument"])
    assert wire.agent.link.close_code is None


def test_optional_fields_of_a_request_may_be_missing(wire: Wire) -> None:
    body = {"run_id": "r1", "digest": "sha256:" + "0" * 64, "parameters": {}, "principal": "ann", "reason": ""}
    wire.server.link.request("run.start", body)
    wire.server.link.request("run.start", body | {"timeout_s": 2.5, "order": {}})
    assert len(wire.settle()) == 2


def test_too_many_open_requests_are_refused_on_both_sides(wire: Wire) -> None:
    for _ in range(limits.MAX_REQUESTS):
        wire.agent.link.request("status", STATUS)
    with pytest.raises(UnavailableError):
        wire.agent.link.request("status", STATUS)
    assert len(wire.settle()) == limits.MAX_REQUESTS
    with pytest.raises(TooLargeError):
        wire.server.link.receive(messages.pack(Kind.REQUEST, limits.MAX_REQUESTS + 1, "status", STATUS))


def test_requests_that_take_too_much_room_together_are_failed(wire: Wire) -> None:
    """As a server sends that keeps an agent from answering: what is made of them in memory is many times as large."""
    body = {"schedules": ["x" * 1000] * 1000, "version": 1}
    most = limits.MAX_REQUESTS_BYTES // len(messages.pack(Kind.REQUEST, 1, "schedules.set", body))
    assert 1 < most < limits.MAX_REQUESTS - 2
    asked = [wire.server.link.request("schedules.set", body) for _ in range(most + 1)]
    came = wire.settle()
    assert [event.id for event in came if isinstance(event, RequestReceived)] == asked[:most]
    (failed,) = [event for event in came if isinstance(event, RequestFailed)]
    assert (failed.id, failed.code) == (asked[most], "rate_limited")
    assert wire.agent.link.close_code is None
    wire.server.link.request("run.cancel", {"run_id": "run_1"})
    assert isinstance(wire.settle()[0], RequestReceived), "a small one still finds room"
    wire.agent.link.fail(asked[0], "unavailable", "later")
    wire.agent.link.respond(asked[1], {})
    for _ in range(2):
        wire.server.link.request("schedules.set", body)
    assert [type(event).__name__ for event in wire.settle()].count("RequestReceived") == 2


# streams -------------------------------------------------------------------------------------------------------------


def test_a_one_way_stream_ends_with_its_opener(wire: Wire) -> None:
    """A bundle's receiver never says it is finished; its stream must not stay open for the life of the link."""
    for _ in range(limits.MAX_STREAMS + 5):
        stream = wire.server.link.open("bundle", {"digest": "d"})
        assert wire.server.link.send(stream, b"abc") == 3
        wire.server.link.finish(stream)
        assert wire.settle() == [
            StreamOpened(stream, "bundle", {"digest": "d"}),
            StreamData(stream, b"abc"),
            StreamFinished(stream),
        ]


def test_a_two_way_stream_carries_both_ways_until_both_finish(wire: Wire) -> None:
    stream = wire.server.link.open("tty", {}, is_two_way=True)
    wire.settle()
    wire.agent.link.send(stream, b"$ ")
    wire.server.link.send(stream, b"ls\n")
    wire.server.link.finish(stream)
    wire.settle()
    assert wire.server.events == [StreamData(stream, b"$ ")]
    assert wire.agent.events == [
        StreamOpened(stream, "tty", {}, is_two_way=True),
        StreamData(stream, b"ls\n"),
        StreamFinished(stream),
    ]
    wire.agent.link.send(stream, b"bye")
    wire.agent.link.finish(stream)
    assert wire.settle() == [StreamData(stream, b"bye"), StreamFinished(stream)]
    assert wire.lose() == ([], [])


def test_the_receiver_of_a_one_way_stream_may_not_send(wire: Wire) -> None:
    stream = wire.server.link.open("bundle", {})
    wire.settle()
    with pytest.raises(ConflictError):
        wire.agent.link.send(stream, b"x")
    with pytest.raises(ProtocolError, match="may not send"):
        wire.server.link.receive(messages.pack(Kind.DATA, stream, b"x"))


def test_credit_bounds_what_is_sent(wire: Wire) -> None:
    stream = wire.server.link.open("bundle", {})
    data = bytes(CREDIT + 1)
    assert wire.server.link.send(stream, data) == CREDIT
    assert wire.server.link.send(stream, data) == 0
    wire.settle()
    wire.agent.link.grant(stream, 10)
    wire.agent.link.grant(stream, 5)
    assert wire.settle() == [StreamWritable(stream)], "credit that waits is put together"
    assert wire.server.link.send(stream, data) == 15


def test_ids_say_who_opened(wire: Wire) -> None:
    assert [wire.agent.link.open("x", {}) for _ in range(3)] == [1, 3, 5]
    assert [wire.server.link.open("x", {}) for _ in range(3)] == [2, 4, 6]


def test_streams_of_one_side_do_not_use_up_those_of_the_other(wire: Wire) -> None:
    """Both may fill their places at the same moment without breaking the link."""
    for end in (wire.agent, wire.server):
        for _ in range(limits.MAX_STREAMS):
            end.link.open("x", {})
        with pytest.raises(UnavailableError):
            end.link.open("x", {})
    assert len(wire.settle()) == 2 * limits.MAX_STREAMS


def test_a_reset_drops_what_waits_and_frees_the_place(wire: Wire) -> None:
    stream = wire.server.link.open("bundle", {})
    wire.server.link.send(stream, b"abc")
    wire.server.link.reset(stream, "gone")
    assert wire.settle() == [StreamOpened(stream, "bundle", {}), StreamReset(stream, "gone")]
    wire.server.link.reset(stream, "again")
    wire.server.link.grant(stream, 1)
    assert wire.settle() == []
    with pytest.raises(ConflictError):
        wire.server.link.send(stream, b"x")


def test_a_reset_takes_its_queue_along(wire: Wire) -> None:
    """Bytes of a terminal that was closed must not hold up the link."""
    link = wire.agent.link
    stream = link.open("tty", {}, is_two_way=True)
    link.send(stream, bytes(100_000))
    link.grant(stream, 10)
    link.reset(stream, "closed")
    kinds = [messages.unpack(frame)[0] for frame in link.take()]
    assert kinds == [Kind.OPEN, Kind.RESET]


def test_an_answer_that_comes_twice_closes_the_link(wire: Wire) -> None:
    number = wire.agent.link.request("status", STATUS)
    answer = messages.pack(Kind.RESPONSE, number, {})
    wire.agent.link.receive(answer)
    with pytest.raises(ProtocolError, match="no request of ours"):
        wire.agent.link.receive(answer)


def test_frames_that_cross_a_reset_are_passed_over(wire: Wire) -> None:
    stream = wire.server.link.open("bundle", {})
    wire.server.link.send(stream, b"abc")
    wire.flush()
    wire.agent.link.receive(messages.pack(Kind.OPEN, stream, "bundle", {}, 0))
    wire.agent.link.reset(stream, "refused")
    for kind, values in ((Kind.DATA, [b"x"]), (Kind.CREDIT, [1]), (Kind.FINISH, []), (Kind.RESET, ["x"])):
        assert wire.agent.link.receive(messages.pack(kind, stream, *values)) == []


def test_streams_take_turns(wire: Wire) -> None:
    """A bulk stream that came first must not keep a terminal waiting behind all it has."""
    link = wire.server.link
    bulk, terminal = link.open("bundle", {}), link.open("tty", {})
    link.send(bulk, bytes(2 * limits.MAX_STREAM_DATA_BYTES))
    link.send(terminal, b"$")
    sent = [messages.unpack(frame) for frame in link.take()]
    order = [values[0] for kind, values in sent if kind is Kind.DATA]
    assert order == [bulk, terminal, bulk]


def test_control_overtakes_bulk_that_waits() -> None:
    link = Link(Role.AGENT, next_record=1)
    link.send_records(1, [bytes(100)] * 3000)
    first = link.next_frame()
    assert first is not None
    assert messages.unpack(first)[0] is Kind.RECORDS
    link.ping()
    urgent = link.next_frame()
    assert urgent is not None
    assert messages.unpack(urgent)[0] is Kind.PING


def test_records_and_streams_take_turns() -> None:
    link = Link(Role.AGENT, next_record=1)
    stream = link.open("tty", {})
    link.send_records(1, [bytes(10)] * (2 * limits.MAX_RECORD_BATCH))
    link.send(stream, bytes(2 * limits.MAX_STREAM_DATA_BYTES))
    kinds = [messages.unpack(frame)[0] for frame in link.take()]
    assert kinds == [Kind.OPEN, Kind.RECORDS, Kind.DATA, Kind.RECORDS, Kind.DATA]


# records -------------------------------------------------------------------------------------------------------------


def test_records_arrive_in_sequence_and_are_acknowledged(wire: Wire) -> None:
    wire.agent.link.send_records(1, [b"a", b"b"])
    wire.agent.link.send_records(3, [b"c"])
    assert wire.settle() == [RecordsReceived(1, [b"a", b"b"]), RecordsReceived(3, [b"c"])]
    wire.server.link.acknowledge(2)
    wire.server.link.acknowledge(3)
    assert wire.settle() == [RecordsAcknowledged(3)], "an acknowledgement that waits is replaced by a newer one"


def test_a_link_goes_on_where_the_last_one_ended() -> None:
    wire = Wire(next_record=43)
    with pytest.raises(ConflictError, match="go on from 43, not 42"):
        wire.agent.link.send_records(42, [b"a"])
    wire.agent.link.send_records(43, [b"a"])
    assert wire.settle() == [RecordsReceived(43, [b"a"])]


def test_batches_always_fit_a_frame() -> None:
    link = Link(Role.AGENT, next_record=1)
    link.send_records(1, [bytes(limits.MAX_RECORD_BYTES)] * 40 + [b"x"] * 5000)
    frames = link.take()
    assert all(len(frame) <= limits.MAX_LINK_FRAME_BYTES for frame in frames)
    assert sum(len(messages.unpack(frame)[1][1]) for frame in frames) == 5040


@pytest.mark.parametrize("blob", [b"", bytes(limits.MAX_RECORD_BYTES + 1)])
def test_what_cannot_be_a_record_is_not_sent(wire: Wire, blob: bytes) -> None:
    with pytest.raises(TooLargeError):
        wire.agent.link.send_records(1, [b"a", blob])
    wire.agent.link.send_records(1, [b"a"])


@pytest.mark.parametrize("through", [0, 3])
def test_only_what_arrived_can_be_acknowledged(wire: Wire, through: int) -> None:
    wire.agent.link.send_records(1, [b"a", b"b"])
    wire.settle()
    wire.server.link.acknowledge(1)
    with pytest.raises(ConflictError):
        wire.server.link.acknowledge(through)


def test_records_that_were_not_sent_cannot_be_acknowledged() -> None:
    """A server that claims to hold what it never got would make the agent forget it."""
    link = Link(Role.AGENT, next_record=1)
    link.send_records(1, [b"a"])
    with pytest.raises(ProtocolError, match="not sent"):
        link.receive(messages.pack(Kind.ACKNOWLEDGE, 1))


def test_roles_cannot_swap_their_commands(wire: Wire) -> None:
    with pytest.raises(ConflictError):
        wire.server.link.send_records(1, [b"a"])
    with pytest.raises(ConflictError):
        wire.agent.link.acknowledge(0)


# signs of life -------------------------------------------------------------------------------------------------------


def test_a_ping_is_answered_by_the_link_itself(wire: Wire) -> None:
    assert wire.agent.link.ping() == 1
    assert wire.settle() == [PongReceived(1)]


def test_pings_that_pile_up_get_one_pong() -> None:
    """A peer that pings and does not read must not fill our memory."""
    link = Link(Role.SERVER, next_record=1)
    for number in range(1, 1001):
        link.receive(messages.pack(Kind.PING, number))
    assert link.take() == [messages.pack(Kind.PONG, 1000)]


# the end -------------------------------------------------------------------------------------------------------------


def test_loss_reports_everything_open_once(wire: Wire) -> None:
    stream = wire.agent.link.open("tty", {}, is_two_way=True)
    number = wire.agent.link.request("status", STATUS)
    wire.settle()
    at_agent, at_server = wire.lose()
    assert at_agent == [
        StreamReset(stream, "lost"),
        RequestFailed(number, "not_connected", "the link was lost"),
    ]
    assert at_server == [StreamReset(stream, "lost")]
    assert wire.lose() == ([], [])
    assert wire.agent.link.close_code == 1006


def test_after_the_end_nothing_is_taken_sent_or_believed(wire: Wire) -> None:
    wire.agent.link.ping()
    wire.lose()
    link = wire.agent.link
    assert link.take() == []
    for command in (
        lambda: link.request("status", STATUS), lambda: link.open("x", {}), lambda: link.respond(1, {}),
        lambda: link.send(1, b"x"), lambda: link.send_records(1, [b"x"]), link.ping, lambda: link.finish(1),
    ):  # fmt: skip
        with pytest.raises(NotConnectedError):
            command()
    with pytest.raises(ProtocolError, match="closed"):
        link.receive(messages.pack(Kind.PING, 1))


OPEN = messages.pack(Kind.OPEN, 2, "tty", {}, 10)
RECORDS = messages.pack(Kind.RECORDS, 1, [b"x"])

#: what a hostile server says to an agent: the frames, and what the refusal names
HOSTILE: dict[str, tuple[list[bytes], str]] = {
    "not a message": ([b"\x01"], "not a message"),
    "empty": ([b""], "frame"),
    "a kind that does not exist": ([b"\x91\x7f"], "unknown kind 127"),
    "a kind that is true": ([b"\x91\xc3"], "not a message"),
    "a kind of the handshake": ([messages.pack(Kind.PROOF, bytes(64))], "no place here"),
    "too few fields": ([b"\x92\x0b\x01"], "fields"),
    "empty data": ([OPEN, b"\x93\x0b\x02\xc4\x00"], "field data"),
    "text for data": ([OPEN, b"\x93\x0b\x02\xa1x"], "field data"),
    "a stream of ours": ([messages.pack(Kind.OPEN, 1, "tty", {}, 0)], "cannot be opened"),
    "a stream twice": ([OPEN, OPEN], "cannot be opened"),
    "stream 0": ([messages.pack(Kind.OPEN, 0, "tty", {}, 0)], "cannot be opened"),
    "data for no stream": ([messages.pack(Kind.DATA, 2, b"x")], "never opened"),
    "data for a stream of ours to come": ([messages.pack(Kind.DATA, 1, b"x")], "never opened"),
    "credit for no stream": ([messages.pack(Kind.CREDIT, 4, 1)], "never opened"),
    "data beyond credit": ([OPEN, *[messages.pack(Kind.DATA, 2, bytes(65536))] * 5], "more on stream 2"),
    "too much credit": ([OPEN, messages.pack(Kind.CREDIT, 2, limits.MAX_CREDIT_BYTES)], "too much credit"),
    "data after the end": ([OPEN, messages.pack(Kind.FINISH, 2), messages.pack(Kind.DATA, 2, b"x")], "may not send"),
    "two ends": ([OPEN, messages.pack(Kind.FINISH, 2), messages.pack(Kind.FINISH, 2)], "ends twice"),
    "an answer to nothing": ([messages.pack(Kind.RESPONSE, 1, {})], "no request of ours"),
    "a failure of nothing": ([messages.pack(Kind.FAILURE, 1, "x", "")], "no request of ours"),
    "a request twice": ([messages.pack(Kind.REQUEST, 1, "run.cancel", {"run_id": "r"})] * 2, "twice"),
    "records for an agent": ([RECORDS], "agent to the server only"),
    "a pong for nothing": ([messages.pack(Kind.PONG, 1)], "no ping"),
    "too deep": ([b"\x91" * 100], "nested deeper"),
    "a reset code that is a sentence": ([OPEN, b"\x93\x0e\x02\xa3a b"], "field code"),
    "a code with a line end": ([OPEN, b"\x93\x0e\x02\xa2a\n"], "field code"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_frame_closes_the_link_and_names_why(case: str) -> None:
    frames, why = HOSTILE[case]
    link = Link(Role.AGENT, next_record=1)
    for frame in frames[:-1]:
        link.receive(frame)
    with pytest.raises(ProtocolError, match=why):
        link.receive(frames[-1])
    assert link.close_code in {1002, 1009}
    assert link.close_reason
    assert len(link.close_reason.encode()) <= 123, "RFC 6455 section 5.5: a close frame has room for 123 bytes"


@pytest.mark.parametrize(
    "frames",
    [
        [messages.pack(Kind.RECORDS, 2, [b"x"])],
        [RECORDS, RECORDS],
        [b"\x93\x1e\x01\x90"],
        [messages.pack(Kind.ACKNOWLEDGE, 0)],
        [messages.pack(Kind.OPEN, 2, "tty", {}, 0)],
    ],
    ids=["a gap", "twice", "no records", "acknowledges itself", "a server's stream"],
)
def test_a_hostile_agent_is_closed(frames: list[bytes]) -> None:
    link = Link(Role.SERVER, next_record=1)
    for frame in frames[:-1]:
        link.receive(frame)
    with pytest.raises(ProtocolError):
        link.receive(frames[-1])
    assert link.close_code == 1002


def test_a_peer_that_makes_us_answer_and_never_reads_is_closed() -> None:
    link = Link(Role.AGENT, next_record=1)
    for number in range(1, limits.MAX_CONTROL_FRAMES + 1):
        link.receive(messages.pack(Kind.REQUEST, number, "unknown", {}))
    with pytest.raises(ProtocolError, match="does not read"):
        link.receive(messages.pack(Kind.REQUEST, limits.MAX_CONTROL_FRAMES + 1, "unknown", {}))


def test_too_many_streams_of_the_peer_close_the_link() -> None:
    link = Link(Role.AGENT, next_record=1)
    for number in range(limits.MAX_STREAMS):
        link.receive(messages.pack(Kind.OPEN, 2 + 2 * number, "x", {}, 0))
    with pytest.raises(TooLargeError):
        link.receive(messages.pack(Kind.OPEN, 2 + 2 * limits.MAX_STREAMS, "x", {}, 0))
