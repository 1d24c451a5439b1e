"""Messages: every kind has one form, and nothing else gets past it."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import limits, messages
from protocol.errors import ArgumentError, ProtocolError
from protocol.frames import decode, encode
from protocol.messages import FIELDS, Kind

GOOD: dict[Kind, list[Any]] = {
    Kind.HELLO: [1, "web-1", bytes(32), bytes(32)],
    Kind.CHALLENGE: [bytes(32), bytes(32), bytes(64)],
    Kind.PROOF: [bytes(64)],
    Kind.WELCOME: [0, bytes(32), 0],
    Kind.REFUSED: ["untrusted", "", "no"],
    Kind.OPEN: [2, "bundle", {}, 0],
    Kind.DATA: [2, b"x"],
    Kind.CREDIT: [2, 1],
    Kind.FINISH: [2],
    Kind.RESET: [2, "lost"],
    Kind.PING: [1],
    Kind.PONG: [1],
    Kind.REQUEST: [1, "status", {}],
    Kind.RESPONSE: [1, {}],
    Kind.FAILURE: [1, "not_found", "no"],
    Kind.RECORDS: [1, [b"x"]],
    Kind.ACKNOWLEDGE: [0],
}


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_crosses_in_its_form_only(kind: Kind) -> None:
    values = GOOD[kind]
    assert messages.unpack(messages.pack(kind, *values)) == (kind, values)
    for wrong in (values[:-1], [*values, None]):
        with pytest.raises(ProtocolError, match=f"kind {kind.name} has {len(wrong)} fields"):
            messages.unpack(encode([int(kind), *wrong]))
    for at, (name, _) in enumerate(FIELDS[kind]):
        for odd in (None, 1.5, True, -1, []):
            with pytest.raises(ProtocolError, match=f"the field {name} of a message of kind {kind.name}"):
                messages.unpack(encode([int(kind), *values[:at], odd, *values[at + 1 :]]))


def test_numbers_of_kinds_are_for_good() -> None:
    """An agent of last year speaks to a server of today."""
    assert {kind.name: kind.value for kind in Kind} == {
        "HELLO": 1, "CHALLENGE": 2, "PROOF": 3, "WELCOME": 4, "REFUSED": 5, "OPEN": 10, "DATA": 11, "CREDIT": 12,
        "FINISH": 13, "RESET": 14, "PING": 15, "PONG": 16, "REQUEST": 20, "RESPONSE": 21, "FAILURE": 22, "RECORDS": 30,
        "ACKNOWLEDGE": 31,
    }  # fmt: skip
    assert set(FIELDS) == set(Kind) == set(GOOD)


@pytest.mark.parametrize("value", [None, [], {}, [True, 1], [99], ["1"], [1.0], [0], [-1], 1, "x"])
def test_what_is_no_message_is_refused(value: Any) -> None:
    with pytest.raises(ProtocolError):
        messages.unpack(encode(value))


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Kind.DATA, [1, b""]),
        (Kind.DATA, [1, bytes(limits.MAX_STREAM_DATA_BYTES + 1)]),
        (Kind.CREDIT, [1, 0]),
        (Kind.CREDIT, [1, limits.MAX_CREDIT_BYTES + 1]),
        (Kind.RECORDS, [0, [b"x"]]),
        (Kind.RECORDS, [1, []]),
        (Kind.RECORDS, [1, [b""]]),
        (Kind.RECORDS, [1, [bytes(limits.MAX_RECORD_BYTES + 1)]]),
        (Kind.RECORDS, [1, [b"x"] * (limits.MAX_RECORD_BATCH + 1)]),
        (Kind.ACKNOWLEDGE, [limits.MAX_SEQUENCE + 1]),
        (Kind.FAILURE, [1, "not found", "x"]),
        (Kind.FAILURE, [1, "a", "x" * (limits.MAX_ERROR_TEXT_BYTES + 1)]),
        (Kind.HELLO, [2, "a", bytes(32), bytes(32)]),
    ],
)
def test_what_is_over_a_bound_is_refused_on_both_sides(kind: Kind, values: list[Any]) -> None:
    with pytest.raises(ProtocolError):
        messages.pack(kind, *values)
    with pytest.raises(ProtocolError):
        messages.unpack(encode([int(kind), *values]))


@settings(max_examples=100)
@given(st.binary(max_size=60))
def test_hostile_frames_raise_only_the_documented_error(frame: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        messages.unpack(frame)


def test_each_side_may_ask_only_what_is_its_to_ask() -> None:
    assert set(messages.requests_of("agent")) & set(messages.requests_of("server")) == set()
    for table in (messages.requests_of("agent"), messages.requests_of("server")):
        with pytest.raises(ArgumentError, match="the request 'nothing' is unknown"):
            messages.check_request("nothing", {}, table)


@pytest.mark.parametrize("runs", [[], "r1", ["a b"], [7], [["r1"]], None, ["r"] * (limits.MAX_RUNS_ASKED + 1)])
def test_runs_are_asked_about_by_their_ids(runs: Any) -> None:
    with pytest.raises(ArgumentError, match="run_ids"):
        messages.check_request("run.known", {"run_ids": runs}, messages.requests_of("server"))
    for good in (["r1"], ["r"] * limits.MAX_RUNS_ASKED):
        messages.check_request("run.known", {"run_ids": good}, messages.requests_of("server"))


def test_a_key_of_a_request_is_named() -> None:
    table = messages.requests_of("server")
    messages.check_request("freeze.set", {"frozen": True, "reason": ""}, table)
    for body, words in [
        ({"frozen": True}, "the key 'reason' of freeze.set is missing"),
        ({"frozen": 1, "reason": ""}, "the key 'frozen' of freeze.set does not have its form"),
        ({"frozen": True, "reason": "", "more": 1}, "freeze.set has no key 'more'"),
    ]:
        with pytest.raises(ArgumentError, match=words):
            messages.check_request("freeze.set", body, table)


@settings(max_examples=40)
@given(st.text(st.characters(exclude_categories=[])) | st.just("\udcff" * 9000) | st.just("\U0001f600" * 9000))
def test_any_error_text_can_be_told(text: str) -> None:
    """An error that cannot be sent leaves the asker waiting for ever."""
    assert messages.unpack(messages.pack(Kind.FAILURE, 1, "internal", messages.told(text)))[1][2] is not None
    assert len(messages.told(text).encode()) <= limits.MAX_ERROR_TEXT_BYTES


@given(
    st.one_of(st.integers(0, 300), st.integers(0, limits.MAX_SEQUENCE)),
    st.one_of(st.binary(min_size=1, max_size=300), st.sampled_from([255, 256, 65535, 65536, 131072]).map(bytes)),
)
@settings(max_examples=200)
def test_a_data_frame_that_is_made_and_taken_the_short_way_is_what_the_codec_makes_and_takes(
    number: int, data: bytes
) -> None:
    frame = messages.pack(Kind.DATA, number, data)
    assert frame == encode([int(Kind.DATA), number, data])
    assert messages.unpack(frame) == (Kind.DATA, [number, data]) == (Kind.DATA, decode(frame)[1:])


@given(st.integers(0, 1 << 16), st.binary(min_size=1, max_size=300), st.data())
@settings(max_examples=500)
def test_the_short_way_takes_nothing_that_the_codec_would_not_take_for_the_same(
    number: int, payload: bytes, data: st.DataObject
) -> None:
    """One byte of a data frame is another, or it is cut off, or goes on."""
    frame = bytearray(messages.pack(Kind.DATA, number, payload))
    frame[data.draw(st.integers(2, min(11, len(frame) - 1)))] = data.draw(st.integers(0, 255))
    hostile = bytes(frame)[: data.draw(st.integers(2, len(frame)))] + data.draw(st.binary(max_size=2))
    taken = messages.data_of(hostile)
    if taken is not None:
        assert decode(hostile) == [int(Kind.DATA), *taken]
        messages._check(Kind.DATA, list(taken))
