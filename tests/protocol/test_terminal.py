"""The rules of a terminal that is far away, as scripts of events: what is kept, who waits for whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import ProtocolError
from protocol.frames import LENGTH_BYTES, LengthPrefixed, decode, encode
from protocol.terminal import (
    CHUNK_BYTES,
    LEAD_BYTES,
    PACE_S,
    STEPS,
    WIDE_WINDOW_BYTES,
    WINDOW_BYTES,
    Audience,
    Backlog,
    Chunk,
    from_agent,
    packed,
    packed_input,
    packed_output,
    read_from_agent,
    read_to_agent,
    to_agent,
)


def sent(backlog: Backlog) -> bytes:
    """Everything that goes now."""
    data = b""
    while (chunk := backlog.next()) is not None:
        assert len(chunk.data) <= CHUNK_BYTES
        data += chunk.data
    return data


def test_what_is_printed_goes_once_and_in_order() -> None:
    backlog = Backlog()
    backlog.add(1, b"one ")
    backlog.add(2, b"two")
    assert sent(backlog) == b"one two"
    assert backlog.next() is None


def test_a_program_waits_when_nothing_is_confirmed() -> None:
    """That bounds memory whether the link is slow or gone."""
    backlog = Backlog(window=10)
    backlog.add(1, b"12345678")
    assert backlog.room == 2
    sent(backlog)
    backlog.confirm(5)
    assert backlog.room == 7
    backlog.confirm(8)
    assert backlog.room == 10


def test_after_a_lost_link_it_goes_on_where_the_recording_ends() -> None:
    backlog = Backlog()
    backlog.add(1, b"abc")
    assert sent(backlog) == b"abc"
    backlog.add(2, b"def")
    backlog.resume(2)
    assert sent(backlog) == b"cdef"
    assert backlog.confirmed == 2
    backlog.resume(6)
    assert sent(backlog) == b""


def test_what_a_server_lost_after_confirming_it_is_a_gap_and_no_error() -> None:
    backlog = Backlog()
    backlog.add(1, b"x" * 5000)
    sent(backlog)
    backlog.confirm(5000)
    backlog.add(2, b"new")
    backlog.resume(1000)
    chunk = backlog.next()
    assert chunk is not None
    assert (chunk.offset, chunk.data) == (5000, b"new")


@pytest.mark.parametrize("offset", [4, 1 << 40])
def test_a_server_cannot_have_what_was_not_printed(offset: int) -> None:
    backlog = Backlog()
    backlog.add(1, b"abc")
    with pytest.raises(ProtocolError):
        backlog.resume(offset)
    sent(backlog)
    with pytest.raises(ProtocolError):
        backlog.confirm(offset)


def test_what_is_passed_on_little_by_little_is_kept_until_it_is_confirmed() -> None:
    backlog = Backlog()
    for number in range(10_000):
        assert backlog.pass_on(number, b"%d" % (number % 10)) == (number, number, b"%d" % (number % 10))
    backlog.confirm(9_000)
    assert backlog.room == WINDOW_BYTES - 1_000
    backlog.resume(9_990)
    assert sent(backlog) == b"0123456789"
    assert backlog.pass_on(0, bytes(5_000)) is None, "much is for the other way"


def test_a_confirmation_of_what_was_only_printed_is_refused() -> None:
    backlog = Backlog()
    backlog.add(1, b"abc")
    with pytest.raises(ProtocolError):
        backlog.confirm(1)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("print"), st.binary(min_size=1, max_size=50)),
            st.tuples(st.just("pass"), st.binary(min_size=1, max_size=50)),
            st.tuples(st.just("send"), st.just(0)),
            st.tuples(st.just("confirm"), st.integers(0, 60)),
            st.tuples(st.just("lose"), st.integers(0, 60)),
        ),
        max_size=60,
    )
)
def test_whatever_happens_the_recording_is_what_was_printed(script: list[tuple[str, Any]]) -> None:
    backlog, printed, stored = Backlog(window=100), b"", b""

    def take() -> None:
        nonlocal stored
        while (chunk := backlog.next()) is not None:
            assert chunk.offset <= len(stored), "no hole"
            stored = stored[: chunk.offset] + chunk.data

    for what, value in script:
        if what in ("print", "pass"):
            data = value[: backlog.room]
            if data:
                passed = backlog.pass_on(0, data) if what == "pass" else None
                assert what == "print" or (passed is None) is (backlog.unsent_bytes > 0), "nothing is overtaken"
                if passed is None:
                    backlog.add(0, data)
                else:
                    assert (passed[0], passed[2]) == (len(printed), data)
                    stored = stored[: passed[0]] + data
                printed += data
        elif what == "send":
            take()
        elif what == "confirm":
            backlog.confirm(max(0, len(stored) - value))
        else:  # the link is lost, and the server has some of what it was sent; never less than it confirmed
            stored = stored[: max(backlog.confirmed, len(stored) - value)]
            backlog.resume(len(stored))
        assert backlog.end - backlog.confirmed <= 100
    take()
    assert stored == printed


# the server's side ---------------------------------------------------------------------------------------------------


def audience(stored: int = 0, **more: Any) -> Audience:
    return Audience(stored, **{"window": 80, "lead": 60, "behind": 200, **more})


def pump(room: Audience, viewer: str) -> int:
    """Send a viewer all that it may be sent now; return up to where that goes."""
    while (span := room.next(viewer)) is not None:
        room.sent(viewer, span[1])
    return room.viewers[viewer].sent


def test_who_types_sets_the_pace() -> None:
    """Else Ctrl-C would stop a program whose output goes on for minutes."""
    room = audience()
    room.join("typist", None, 0)
    room.typist = "typist"
    room.stored = 500
    assert pump(room, "typist") >= 80
    assert room.confirm() is None, "the program is a window ahead of that already"
    room.saw("typist", 70)
    assert room.confirm() == 50, "up to 130, which is 60 ahead of what was seen"
    room.leave("typist")
    assert room.confirm() == 500, "nobody holds it up"


def test_who_only_watches_holds_up_nobody_and_is_sent_on() -> None:
    room = audience()
    for viewer in ("typist", "fast", "slow"):
        room.join(viewer, None, 0)
    room.typist = "typist"
    for stored in range(40, 1000, 40):
        room.stored = stored
        for viewer in ("typist", "fast"):
            room.saw(viewer, pump(room, viewer))
        room.next("slow")
    assert (room.viewers["typist"].sent, room.viewers["fast"].sent) == (960, 960)
    assert room.viewers["fast"].skipped == 0
    room.confirm()
    assert 960 - room.confirmed < 80 - 60 + 80 // STEPS
    slow = room.viewers["slow"]
    pump(room, "slow")
    assert slow.skipped > 0
    assert slow.sent == 960


def test_who_comes_back_sees_what_was_missed_and_who_comes_new_a_little() -> None:
    room = audience(1000)
    assert room.join("back", 900, 50).sent == 900
    assert room.join("new", None, 50).sent == 950
    gone_long = room.join("long", 100, 50)
    assert (gone_long.sent, gone_long.skipped) == (800, 700)
    assert room.join("liar", 5000, 50).sent == 950


def test_nobody_has_seen_what_was_not_sent() -> None:
    room = audience()
    room.join("typist", None, 0)
    room.typist = "typist"
    room.stored = 500
    room.sent("typist", 70)
    room.saw("typist", 10_000)
    assert room.confirm() == 50
    room.saw("nobody", 5)


def test_a_program_is_never_further_ahead_of_who_types_than_the_lead_and_never_waits_for_nothing() -> None:
    """Whatever a client tells, as long as it tells at least every 64 KiB."""
    backlog, room, printed = Backlog(), Audience(), 0
    room.join("typist", None, 0)
    room.typist = "typist"
    for _ in range(2000):
        size = min(4096, backlog.room)
        if size:
            backlog.add(0, bytes(size))
            printed += size
        while (chunk := backlog.next()) is not None:
            room.stored = chunk.end
        sent = pump(room, "typist")
        watching = room.viewers["typist"]
        if sent - watching.seen >= 64 << 10:
            room.saw("typist", sent)
        confirmed = room.confirm()
        if confirmed is not None:
            backlog.confirm(confirmed)
        assert printed - watching.seen <= LEAD_BYTES + (64 << 10), "the first window is the agent's own"
    assert printed > 2000 * 4000, "it never stood still"


def test_the_window_is_wide_while_who_types_is_shown_much_and_only_then() -> None:
    """Ctrl-C has to stop what is seen within LEAD_S; who sees 10 MB in a second may be so much behind."""
    room = Audience()
    room.join("typist", None, 0)
    room.typist = "typist"
    now_s = 100.0

    def shown(bytes_per_s: float) -> int | None:
        nonlocal now_s
        now_s += 2 * PACE_S
        room.stored += int(bytes_per_s * 2 * PACE_S)
        room.saw("typist", pump(room, "typist"), now_s)
        return room.widened()

    shown(0)
    assert shown(12e6) is None, "an older agent does not know of it"
    room.may_widen = True
    assert [shown(pace) for pace in (9e6, 12e6, 12e6, 9e6, 6e6)] == [None, WIDE_WINDOW_BYTES, None, None, None]
    assert [shown(pace) for pace in (5e6, 5e6, 9e6)] == [WINDOW_BYTES, None, None], "as it was, at half of that"
    assert shown(12e6) == WIDE_WINDOW_BYTES
    room.attached()
    assert shown(12e6) is None, "the agent has to say again that it knows of it"


def test_what_was_shown_in_no_time_is_no_pace() -> None:
    """A client that tells of every byte by itself has it measured over PACE_S all the same."""
    room = Audience()
    room.join("typist", None, 0)
    room.typist, room.may_widen = "typist", True
    room.saw("typist", 0, 100.0)
    for number in range(1, 11):
        room.stored += 10_000
        room.saw("typist", pump(room, "typist"), 100.0 + number * PACE_S / 10)
        assert room.widened() is None


@pytest.mark.parametrize("pace", [1e6, 40e6])
def test_a_program_is_never_further_ahead_than_who_types_is_shown_in_the_lead(pace: float) -> None:
    """Through all changes of the window, whether much is shown or little; and it never waits for nothing."""
    backlog, room, printed, now_s = Backlog(), Audience(), 0, 100.0
    room.join("typist", None, 0)
    room.typist, room.may_widen = "typist", True
    for turn in range(4000):
        now_s += 0.002
        size = min(80_000, backlog.room)
        if size:
            backlog.add(0, bytes(size))
            printed += size
        while (chunk := backlog.next()) is not None:
            room.stored = chunk.end
        sent = pump(room, "typist")
        is_slow = 1000 <= turn < 2000  # a terminal that stops being quick
        shown = min(sent, room.viewers["typist"].seen + int((1e6 if is_slow else pace) * 0.002))
        room.saw("typist", shown, now_s)
        if (window := room.widened()) is not None:
            backlog.widen(window)
        if (confirmed := room.confirm()) is not None:
            backlog.confirm(confirmed)
        ahead = printed - room.viewers["typist"].seen
        wide = WIDE_WINDOW_BYTES - WINDOW_BYTES if pace > 1e7 else 0
        assert ahead <= WINDOW_BYTES + wide
        if turn > 1500 and (is_slow or pace < 1e7):
            assert ahead <= LEAD_BYTES
    assert printed > 4000 * 0.002 * pace * 0.6, "it never stood still"


def test_a_new_attachment_begins_with_the_window_as_it_was() -> None:
    backlog = Backlog()
    backlog.widen(WIDE_WINDOW_BYTES)
    assert backlog.room == WIDE_WINDOW_BYTES
    backlog.widen(1)
    assert backlog.room == WINDOW_BYTES, "never less than at first"
    backlog.widen(WIDE_WINDOW_BYTES)
    backlog.resume(0)
    assert backlog.room == WINDOW_BYTES


# messages ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        None, [], ["no"], [1], {}, ["ack"], ["ack", -1], ["ack", True], ["ack", "1"], ["ack", 1, 2],
        ["input", b"", "x"], ["input", "text", "x"], ["input", b"x" * 70_000, "x"],
        ["resize", 0, 1], ["resize", 10_001, 1], ["window", 0], ["window", (1 << 20) + 1], ["window", True],
        ["resize", 1.5, 1], ["signal", "STOP"], ["signal", 9], ["signal", []], ["redraw", 1], [["ack"], 1],
    ],
)  # fmt: skip
def test_what_no_server_says_is_refused(message: Any) -> None:
    with pytest.raises(ProtocolError):
        to_agent(message)


@pytest.mark.parametrize(
    "message",
    [
        ["output", 0, 0, b""], ["output", -1, 0, b"x"], ["output", 0, 0, "x"], ["output", 0, 0, b"x" * 200_000],
        ["output", 1 << 60, 0, b"x"], ["exit", 1], ["exit", {str(n): n for n in range(40)}], ["notice", 0, "x" * 5000],
        ["typed", 0], ["took", -1], ["opened"], ["input", b"x", "a"],
    ],
)  # fmt: skip
def test_what_no_agent_says_is_refused(message: Any) -> None:
    with pytest.raises(ProtocolError):
        from_agent(message)


def test_what_both_say_has_a_form() -> None:
    assert to_agent(["resize", 10_000, 1]) == ("resize", [10_000, 1])
    assert to_agent(["redraw"]) == ("redraw", [])
    assert to_agent(["hold", True]) == ("hold", [True])
    assert from_agent(["output", 5, 7, b"\xff"]) == ("output", [5, 7, b"\xff"])


OFFSETS = st.one_of(
    st.integers(0, 1 << 53), st.sampled_from([0, 127, 128, 255, 256, 65535, 65536, (1 << 32) - 1, 1 << 32])
)


@given(OFFSETS, OFFSETS, st.binary(min_size=1, max_size=400))
def test_output_is_read_as_it_was_packed(offset: int, us: int, data: bytes) -> None:
    ours = packed_output(Chunk(offset, us, data))
    assert LengthPrefixed().feed(ours) == [ours[LENGTH_BYTES:]]
    for body in (ours[LENGTH_BYTES:], encode(["output", offset, us, data])):  # so does an agent of another version
        assert decode(body) == ["output", offset, us, data]
        assert read_from_agent(body) == ("output", [offset, us, data])


@pytest.mark.parametrize("size", [255, 256, 65535, 65536, CHUNK_BYTES + 4096])
def test_output_of_any_size_is_read_as_it_was_packed(size: int) -> None:
    data = bytes(size)
    assert read_from_agent(packed_output(Chunk(7, 8, data))[LENGTH_BYTES:]) == ("output", [7, 8, data])


def test_output_beyond_its_bounds_is_refused() -> None:
    for message in (
        ["output", 0, 0, b""], ["output", 0, 0, bytes(CHUNK_BYTES + 4097)], ["output", (1 << 53) + 1, 0, b"x"],
        ["output", 0, (1 << 53) + 1, b"x"], ["output", -1, 0, b"x"], ["output", 0, 0, "x"], ["output", 0, 0],
    ):  # fmt: skip
        with pytest.raises(ProtocolError):
            read_from_agent(encode(message))
    with pytest.raises(ProtocolError):
        read_from_agent(encode(["output", 0, 0, b"x"]) + b"\x00")


@given(st.binary(min_size=1, max_size=40), st.text(max_size=40))
def test_what_is_typed_is_read_as_it_was_packed(data: bytes, by: str) -> None:
    assert packed_input(data, encode(by)) == packed(["input", data, by])
    assert read_to_agent(packed(["input", data, by])[LENGTH_BYTES:]) == ("input", [data, by])


@pytest.mark.parametrize("read", [read_from_agent, read_to_agent])
@given(
    message=st.sampled_from([["output", 300, 70000, b"what was printed"], ["input", b"keys", "somebody"]]),
    data=st.data(),
)
@settings(max_examples=500)
def test_the_short_way_reads_nothing_that_the_decoder_would_not_read_as_the_same(
    read: Callable[[bytes], tuple[str, list[Any]]], message: list[Any], data: st.DataObject
) -> None:
    """A byte is another one, or it is cut off, or goes on."""
    body = bytearray(encode(message))
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    hostile = bytes(body)[: data.draw(st.integers(0, len(body)))] + data.draw(st.binary(max_size=2))
    check = from_agent if read is read_from_agent else to_agent
    try:
        expected = check(decode(hostile))
    except ProtocolError:
        with pytest.raises(ProtocolError):
            read(hostile)
    else:
        assert read(hostile) == expected
