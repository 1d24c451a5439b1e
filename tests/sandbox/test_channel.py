"""The frames of one worker, and the rules of the conversation; hostile bytes included."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import ProtocolError, TooLargeError
from protocol.frames import LengthPrefixed, decode, encode
from protocol.limits import MAX_CHANNEL_FRAME_BYTES
from sandbox.channel import (
    MAX_CALL_NAME_CHARS,
    MAX_ERROR_CHARS,
    CallMade,
    Channel,
    Conversation,
    Finished,
    Printed,
    Violated,
    error_body,
    framed,
    start_frame,
    value_body,
)
from sandbox.runtimes import CallError
from sandbox.values import CALL_CAPS

CALL = [1, "fs.space", ["/"], {"x": 1}]
OK = [3, [1], None, 0]
FAILED = [3, None, ["m", "w", None], 0]


def frame(message: Any) -> bytes:
    return framed(encode(message, max_bytes=MAX_CHANNEL_FRAME_BYTES))


def events(*messages: Any) -> list[Any]:
    return Conversation().receive(b"".join(frame(message) for message in messages))


def violation(*messages: Any) -> str:
    last = events(*messages)[-1]
    assert isinstance(last, Violated), last
    return str(last.error)


def test_a_call() -> None:
    """Name, positional and named arguments."""
    assert events(CALL) == [CallMade("fs.space", ["/"], {"x": 1})]


def test_output_and_a_result() -> None:
    """In order; nothing follows."""
    assert events([2, b"hi"], OK) == [Printed(b"hi"), Finished(True, [1], None, None, None, 0)]


def test_a_failed_result() -> None:
    """With its place and code."""
    assert events(FAILED) == [Finished(False, None, "m", "w", None, 0)]


def test_a_second_call_while_one_is_open() -> None:
    """The first one is seen, the second one ends the run."""
    assert events(CALL, CALL)[0] == CallMade("fs.space", ["/"], {"x": 1})
    assert violation(CALL, CALL) == "a frame came while a call was open"


@pytest.mark.parametrize("message", [[2, b"x"], OK])
def test_nothing_comes_while_a_call_is_open(message: Any) -> None:
    """A worker that waits has nothing to say."""
    assert violation(CALL, message) == "a frame came while a call was open"


def test_an_answer_opens_the_way_for_the_next_call() -> None:
    """And only an answer."""
    conversation = Conversation()
    conversation.receive(frame(CALL))
    conversation.answer(value_body(1))
    assert conversation.receive(frame(CALL)) == [CallMade("fs.space", ["/"], {"x": 1})]


def test_a_worker_that_does_not_read_its_answer_may_not_go_on() -> None:
    """Or a worker that calls and never reads would fill the agent's memory with answers."""
    conversation = Conversation()
    conversation.receive(frame(CALL))
    conversation.answer(value_body(1))
    conversation.is_answer_unread = True
    (found,) = conversation.receive(frame(CALL))
    assert isinstance(found, Violated)
    assert str(found.error) == "a frame came before the answer to the call was read"


def test_more_values_than_an_honest_worker_sends() -> None:
    """Each of them costs the agent time, so what the runtimes refuse the gate refuses as well."""
    most = {f"k{number}": number for number in range(CALL_CAPS.items)}
    assert events([1, "a", [most], {}]) == [CallMade("a", [most], {})]
    assert "values" in violation([1, "a", [[most, *range(200)]], {}])


def test_a_frame_after_the_result() -> None:
    """The result is the last word."""
    assert violation(OK, [2, b"x"]) == "a frame came after the result"


def test_nothing_is_seen_after_the_end() -> None:
    """Neither after a result nor after a violation."""
    for first in (OK, [9]):
        conversation = Conversation()
        conversation.receive(frame(first))
        assert conversation.receive(frame(CALL)) == []


@pytest.mark.parametrize(
    "message",
    [
        None, [], "x", [True, "a", [], {}], [1.0, "a", [], {}], [9, 1], [0, {}], [1], [1, "a", []], [1, b"a", [], {}],
        [1, "a" * (MAX_CALL_NAME_CHARS + 1), [], {}], [1, "a", {}, {}], [1, "a", [], []], [1, "a", [], {}, 1],
        [2, "text"], [2], [2, b""], [2, b"", 1], [3], [3, 1], [3, {}],
        [3, 1, None], [3, 1, None, -1], [3, 1, None, True], [3, 1, None, 0.0], [3, 1, None, None], [3, 1, {}, 0],
        [3, 1, [], 0], [3, 1, False, 0], [3, 1, "m", 0], [3, 1, ["m", "w", None], 0], [3, None, [], 0],
        [3, None, ["m", None], 0], [3, None, ["m", None, None, None], 0], [3, None, [1, None, None], 0],
        [3, None, ["m", b"w", None], 0],
        [3, None, ["m", None, "c" * 5000], 0], [3, None, ["m", None, None], -1], [3, 1, None, 0, 0],
        [3, {"status": "ok", "result": 1, "error": None, "output_bytes": 0}],
        [0, ["m", [], {}, 7, None, None]], [6, ["m", b""]],
    ],
)  # fmt: skip
def test_a_malformed_frame_is_a_violation(message: Any) -> None:
    """Whatever it is; strictness is what keeps the two sides from reading differently."""
    violation(message)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff",
        (MAX_CHANNEL_FRAME_BYTES + 1).to_bytes(4, "big"),
        framed(b""),
        framed(b"\xc1"),
        framed(b"\xd4\x01\x00"),
        framed(b"\x91" * 40 + b"\xc0"),
        framed(b"\xdd\xff\xff\xff\xff"),
        framed(b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"),
        framed(b"\x94\x01\xa1a\x90\x82\xa1a\x01\xa1a\x02"),
    ],
)
def test_bytes_that_are_no_frame_are_a_violation(data: bytes) -> None:
    """Too long, empty, extension types, too deep, too many, not a number, a key twice."""
    found = Conversation().receive(data)
    assert [type(event) for event in found] == [Violated]


MESSAGES = st.sampled_from([CALL, [2, b"out"], OK, FAILED, [9], None, [1, "x", [], {}]])


@given(st.lists(MESSAGES, max_size=8), st.data())
def test_the_cut_of_the_stream_changes_nothing(messages: list[Any], data: st.DataObject) -> None:
    """Any chunks give the same events, up to a first violation."""
    stream = b"".join(frame(message) for message in messages)
    whole = Conversation().receive(stream)
    conversation, at, cut = Conversation(), 0, []
    while at < len(stream):
        size = data.draw(st.integers(1, len(stream) - at))
        cut += conversation.receive(stream[at : at + size])
        at += size
    until = next((i for i, event in enumerate(whole) if isinstance(event, Finished)), len(whole))
    assert [repr(event) for event in cut[: until + 1]] == [repr(event) for event in whole[: until + 1]]


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_no_bytes_crash_it(chunks: list[bytes]) -> None:
    """It never raises; after a violation nothing is seen."""
    conversation = Conversation()
    found = [event for chunk in chunks for event in conversation.receive(chunk)]
    assert sum(isinstance(event, Violated) for event in found) <= 1
    assert all(not isinstance(event, Violated) for event in found[:-1])


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(st.one_of(PLAIN, st.tuples(st.integers(0, 4), PLAIN, PLAIN, PLAIN).map(list)), max_size=6))
def test_well_formed_nonsense_makes_at_most_one_open_call(messages: list[Any]) -> None:
    """However the frames look, no second call is seen before an answer."""
    found = events(*messages)
    assert sum(isinstance(event, CallMade) for event in found) <= 1


def talk(worker: Callable[[Channel], Any], answers: list[bytes]) -> tuple[Any, list[Any]]:
    """Run the worker's side on a thread against ready answers; return what it returned and what it sent."""
    ours, theirs = socket.socketpair()
    came: list[Any] = []

    def work() -> None:
        try:
            came.append(worker(Channel(theirs.fileno())))
        except Exception as error:  # noqa: BLE001 - handed to the test
            came.append(error)
        theirs.close()

    thread = threading.Thread(target=work)
    thread.start()
    for answer in answers:
        ours.sendall(answer)
    ours.shutdown(socket.SHUT_WR)
    received = b""
    while chunk := ours.recv(65536):
        received += chunk
    thread.join()
    ours.close()
    return came[0], [decode(body) for body in LengthPrefixed().feed(received)]


def test_the_worker_starts_with_the_program() -> None:
    """A whole bundle fits into the start frame, more than into any other."""
    big = b"x" * (2 * MAX_CHANNEL_FRAME_BYTES)
    start = start_frame(main="m", files={"m": big}, parameters={"p": 1}, output_bytes=7)
    came, _ = talk(lambda channel: channel.receive_start(), [start])
    assert came == (0, ["m", [["m", big]], {"p": 1}, 7, None, None])


def test_the_worker_s_call_and_its_answers() -> None:
    """A value is returned, an error is raised with its fields."""

    def work(channel: Channel) -> Any:
        first = channel.call("a.b", [1], {"n": 2})
        with pytest.raises(CallError) as caught:
            channel.call("a.c", [], {})
        channel.output(b"out")
        channel.finish({"r": 1}, None, 3)
        return first, caught.value.code, caught.value.message, caught.value.fields

    answers = [framed(value_body([5])), framed(error_body("denied", "no", rule="r"))]
    came, sent = talk(work, answers)
    assert came == ([5], "denied", "no", {"rule": "r"})
    assert sent == [[1, "a.b", [1], {"n": 2}], [1, "a.c", [], {}], [2, b"out"], [3, {"r": 1}, None, 3]]


def test_a_gate_that_is_gone_ends_the_worker() -> None:
    """An error that the worker does not take for one of the script."""
    came, _ = talk(lambda channel: channel.call("a", [], {}), [])
    assert isinstance(came, EOFError)


class Listening(Channel):
    """One that listens, and counts how it got what it got."""

    def __init__(self, end: socket.socket) -> None:
        super().__init__(end.fileno(), take=end.recv)
        self.looks = 0
        self.sleeps = 0

    def _listen(self, take: Callable[[int, int], bytes]) -> bytes:
        self.looks += 1
        return super()._listen(take)

    def _read(self) -> bytes:
        self.sleeps += 1
        return super()._read()


@pytest.fixture
def listening() -> Iterator[tuple[Listening, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Listening(theirs), ours


def test_an_answer_within_a_moment_is_not_slept_for(listening: tuple[Listening, socket.socket]) -> None:
    """Also not a large one, of which only the first part needs listening for."""
    channel, gate = listening
    gate.sendall(framed(value_body([5])))
    assert channel.call("a.b", [], {}) == [5]
    assert (channel.looks, channel.sleeps) == (1, 0)


def test_a_gate_that_goes_while_it_is_listened_for_ends_the_worker(listening: tuple[Listening, socket.socket]) -> None:
    """As one that goes while the worker sleeps."""
    channel, gate = listening
    gate.shutdown(socket.SHUT_WR)
    with pytest.raises(EOFError):
        channel.call("a.b", [], {})


def test_who_listens_in_vain_listens_less_and_less(
    listening: tuple[Listening, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy host, or with slow calls, it costs next to nothing; one answer in time, and it listens as before."""
    channel, gate = listening
    monkeypatch.setattr("sandbox.channel.LISTEN_NS", 0)
    take, channel._take = channel._take, lambda _size, _flags: never()
    for _ in range(500):
        gate.sendall(framed(value_body(1)))
        assert channel.call("a.b", [], {}) == 1
        gate.recv(65536)
    assert channel.sleeps == 500
    assert channel.looks == 13  # at the answers 1, 3, 6, 11, 20, 37, 70, 135, and then each 65
    channel._take = take
    channel._rest = 0
    before = channel.looks
    for _ in range(3):
        gate.sendall(framed(value_body(1)))
        assert channel.call("a.b", [], {}) == 1
        gate.recv(65536)
    assert channel.looks == before + 3


def never() -> bytes:
    raise BlockingIOError


def test_arguments_that_fit_no_frame_are_not_sent() -> None:
    """So the conversation is as good as before."""
    came, sent = talk(lambda channel: channel.call("a", [b"x" * MAX_CHANNEL_FRAME_BYTES], {}), [])
    assert isinstance(came, TooLargeError)
    assert sent == []


@pytest.mark.parametrize("answer", [[1], [5, 1], {"a": 1}, [2, "text"]])
def test_a_gate_that_speaks_nonsense_is_not_believed(answer: Any) -> None:
    """It cannot happen; if it does, the worker stops."""
    came, _ = talk(lambda channel: channel.call("a", [], {}), [frame(answer)])
    assert isinstance(came, ProtocolError)


def test_error_texts_are_always_sendable() -> None:
    """A file's name need not be UTF-8, and an error that names it must still reach the script and the record."""
    assert decode(error_body("c", "no \udcff", path="/\udcff"))[1] == {
        "code": "c", "message": "no \\udcff", "path": "/\\udcff",
    }  # fmt: skip


def test_error_texts_are_cut() -> None:
    """An answer is always small enough."""
    assert len(decode(error_body("c", "m" * 10**6))[1]["message"]) == MAX_ERROR_CHARS
