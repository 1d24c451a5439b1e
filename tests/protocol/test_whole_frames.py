"""Messages that are written and cut out by ourselves: to the byte what the library would have made of them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode, apply_mask
from websockets.protocol import Protocol, Side, State
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from protocol import whole_frames
from protocol.whole_frames import MASK_BYTES, TEXT, Unfinished, cut, head, is_between, keys, write

MOST = 1 << 20
SIZES = [0, 1, 125, 126, 127, 4095, 4096, 65535, 65536, 1 << 20]


@pytest.mark.parametrize("size", SIZES)
def test_a_message_of_a_server_is_written_as_the_library_writes_it(size: int) -> None:
    data = os.urandom(size)
    assert head(size) + data == Frame(Opcode.BINARY, data).serialize(mask=False)


class Pieces:
    """A transport that keeps what it was given, and in how many pieces."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def writelines(self, list_of_data: Iterable[bytes]) -> None:
        self.written += list_of_data


@pytest.mark.parametrize("forgets", [False, True])
@pytest.mark.parametrize("module", ["uvloop.loop", "asyncio.selector_events", "asyncio.sslproto"])
@pytest.mark.parametrize("size", SIZES)
def test_pieces_are_given_only_to_who_says_when_it_has_too_much(
    size: int, module: str, forgets: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some versions of Python take pieces from who writes for ever, and whoever does not read fills the memory."""
    monkeypatch.setattr(whole_frames, "_TAKES_WITHOUT_END", forgets)
    monkeypatch.setattr(Pieces, "__module__", module)
    transport, data = Pieces(), os.urandom(size)
    write(transport, head(size), data)
    assert b"".join(transport.written) == head(size) + data
    is_in_pieces = size >= 4096 and not (forgets and module == "asyncio.selector_events")
    assert len(transport.written) == (2 if is_in_pieces else 1)


@pytest.mark.parametrize("size", SIZES)
def test_a_message_of_a_client_is_read_by_the_library_as_it_was_meant(size: int) -> None:
    data, key = os.urandom(size), os.urandom(MASK_BYTES)
    library = opened(Side.SERVER)
    library.receive_data(head(size, key) + apply_mask(data, key))
    (frame,) = library.events_received()
    assert isinstance(frame, Frame)
    assert (frame.opcode, frame.fin, bytes(frame.data)) == (Opcode.BINARY, True, data)


@pytest.mark.parametrize("is_masked", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_a_message_of_the_library_is_cut_out_wherever_it_stands(size: int, is_masked: bool) -> None:
    data = os.urandom(size)
    frame = Frame(Opcode.BINARY, data).serialize(mask=is_masked)
    begin, end = cut(b"before" + frame + b"after", 6, is_masked=is_masked, most=MOST) or (0, 0)
    assert end == 6 + len(frame)
    found = (b"before" + frame)[begin:end]
    key = frame[begin - 6 - MASK_BYTES : begin - 6]
    assert (apply_mask(found, key) if is_masked else found) == data


@pytest.mark.parametrize("is_masked", [False, True])
@pytest.mark.parametrize("size", [0, 1, 125, 126])
def test_a_text_is_cut_out_for_who_asks_for_texts(size: int, is_masked: bool) -> None:
    frame = Frame(Opcode.TEXT, bytes(size)).serialize(mask=is_masked)
    place = cut(frame, 0, is_masked=is_masked, most=125, kind=TEXT)
    assert place == ((len(frame) - size, len(frame)) if size <= 125 else None)
    assert (
        cut(Frame(Opcode.BINARY, bytes(size)).serialize(mask=is_masked), 0, is_masked=is_masked, most=125, kind=TEXT)
        is None
    )
    assert (
        cut(
            Frame(Opcode.TEXT, bytes(size), fin=False).serialize(mask=is_masked),
            0,
            is_masked=is_masked,
            most=125,
            kind=TEXT,
        )
        is None
    )


@pytest.mark.parametrize("is_masked", [False, True])
@pytest.mark.parametrize(
    "frame",
    [
        Frame(Opcode.TEXT, b"text"),
        Frame(Opcode.PING, b"ping"),
        Frame(Opcode.CLOSE, b""),
        Frame(Opcode.BINARY, b"a part", fin=False),
        Frame(Opcode.CONT, b"the rest"),
    ],
    ids=["text", "ping", "close", "part", "rest"],
)
def test_whatever_is_no_whole_binary_message_is_left_to_the_library(frame: Frame, is_masked: bool) -> None:
    assert cut(frame.serialize(mask=is_masked), 0, is_masked=is_masked, most=MOST) is None


@pytest.mark.parametrize("is_masked", [False, True])
@pytest.mark.parametrize("size", [0, 1, 126, 65536])
def test_a_frame_of_which_a_part_came_is_left_to_the_library(size: int, is_masked: bool) -> None:
    frame = Frame(Opcode.BINARY, bytes(size)).serialize(mask=is_masked)
    for cut_at in {*range(min(len(frame), 16)), len(frame) - 1}:
        assert cut(frame[:cut_at], 0, is_masked=is_masked, most=MOST) is None


@pytest.mark.parametrize(
    ("frame", "is_masked"),
    [
        (b"\x82\x01x", True),  # a client must mask
        (b"\x82\x81keysx", False),  # a server must not
        (b"\xc2\x01x", False),  # a bit of an extension that was not agreed on
        (b"\xa2\x01x", False),
        (b"\x92\x01x", False),
        (b"\x83\x01x", False),  # an opcode that means nothing
        (b"\x82\x7e\x00\x01x", False),  # a length that is written longer than it must be
        (b"\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x01x", False),
        (b"\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x01x", False),  # the most significant bit must be 0
        (b"\x82\x03xxx", False),  # over the bound
    ],
)
def test_what_breaks_the_rules_is_left_to_the_library(frame: bytes, is_masked: bool) -> None:
    assert cut(frame, 0, is_masked=is_masked, most=2) is None


def opened(side: Side) -> Protocol:
    """Return the library's state of a connection after its handshake."""
    if side is Side.SERVER:
        return ServerProtocol(state=State.OPEN)
    return ClientProtocol(parse_uri("ws://localhost/"), state=State.OPEN)


FRAMES = st.one_of(
    st.builds(Frame, st.just(Opcode.BINARY), st.binary(max_size=300)),
    st.builds(Frame, st.just(Opcode.PING), st.binary(max_size=20)),
    st.builds(Frame, st.just(Opcode.BINARY), st.binary(max_size=20), st.just(False)),
)


@pytest.mark.parametrize("side", [Side.SERVER, Side.CLIENT])
@given(frames=st.lists(FRAMES, max_size=8), data=st.data())
def test_however_bytes_arrive_the_same_messages_come(side: Side, frames: list[Frame], data: st.DataObject) -> None:
    """Cut out where that may be, and given to the library where not: as if the library had had all of it."""
    is_masked, wire, expected = side is Side.SERVER, b"", []
    for frame in frames:
        wire += frame.serialize(mask=is_masked)
        expected.append((frame.opcode, frame.fin, bytes(frame.data)))
        if not frame.fin:  # what follows must be the rest of it
            rest = Frame(Opcode.CONT, b"rest")
            wire += rest.serialize(mask=is_masked)
            expected.append((rest.opcode, True, b"rest"))
    library, unfinished, found, at = opened(side), Unfinished(), [], 0
    while at < len(wire):
        size = data.draw(st.integers(1, len(wire) - at))
        piece, at, done = wire[at : at + size], at + size, 0
        if unfinished.missing:
            whole, rest = unfinished.more(piece)
            piece = whole + piece[rest:]
        if is_between(library):
            while (place := cut(piece, done, is_masked=is_masked, most=MOST)) is not None:
                begin, done = place
                message = piece[begin:done]
                found.append(
                    (Opcode.BINARY, True, apply_mask(message, piece[begin - 4 : begin]) if is_masked else message)
                )
            if done < len(piece) and unfinished.begin(piece, done, is_masked=is_masked, most=MOST):
                done = len(piece)
        if done < len(piece):
            library.receive_data(piece[done:])
        found += [(event.opcode, event.fin, bytes(event.data)) for event in library.events_received()]  # type: ignore[union-attr]  # all are frames
    assert found == expected


@pytest.mark.parametrize("is_masked", [False, True])
@pytest.mark.parametrize("size", [1, 126, 65536])
def test_a_message_that_comes_in_pieces_is_kept_until_it_is_whole(size: int, is_masked: bool) -> None:
    frame = Frame(Opcode.BINARY, os.urandom(size)).serialize(mask=is_masked)
    head_bytes = len(frame) - size
    for first in {head_bytes, head_bytes + size // 2, len(frame) - 1} - {len(frame)}:
        unfinished = Unfinished()
        assert unfinished.begin(b"before" + frame[:first], 6, is_masked=is_masked, most=size)
        assert unfinished.missing == len(frame) - first
        assert unfinished.more(frame[first:-1]) == (b"", len(frame) - 1 - first) or first == len(frame) - 1
        assert unfinished.more(frame[-1:] + b"after") == (frame, 1), "what comes after it is not copied"
        assert unfinished.missing == 0
    for first in range(1, head_bytes - (MASK_BYTES if is_masked else 0)):
        assert not Unfinished().begin(frame[:first], 0, is_masked=is_masked, most=size), "how long it is, is not there"
    assert not Unfinished().begin(frame, 0, is_masked=is_masked, most=size), "it is whole"
    assert not Unfinished().begin(frame[:-1], 0, is_masked=is_masked, most=size - 1), "it may not be so long"
    text = Frame(Opcode.TEXT, bytes(size)).serialize(mask=is_masked)
    assert not Unfinished().begin(text[:-1], 0, is_masked=is_masked, most=size)


@pytest.mark.parametrize("side", [Side.SERVER, Side.CLIENT])
def test_the_library_is_between_messages_only_where_it_is(side: Side) -> None:
    is_masked = side is Side.SERVER
    library = opened(side)
    assert is_between(library)
    frame = Frame(Opcode.BINARY, bytes(200)).serialize(mask=is_masked)
    for place in range(len(frame) - 1):
        library.receive_data(frame[place : place + 1])
        assert not is_between(library), place
    library.receive_data(frame[-1:])
    assert is_between(library)
    library.receive_data(Frame(Opcode.BINARY, b"a part", fin=False).serialize(mask=is_masked))
    assert not is_between(library), "its rest is not a message"
    library.receive_data(Frame(Opcode.CONT, b"the rest").serialize(mask=is_masked))
    assert is_between(library)
    library.receive_data(Frame(Opcode.CLOSE, b"").serialize(mask=is_masked))
    assert not is_between(library), "nothing that comes after a close frame counts"


def test_a_connection_that_was_broken_is_between_nothing() -> None:
    library = opened(Side.SERVER)
    library.receive_data(b"\x82\x01x")  # not masked
    assert library.parser_exc is not None
    assert not is_between(library)


def test_no_key_is_used_twice() -> None:
    drawn: list[bytes] = []

    def draw(size: int) -> bytes:
        drawn.append(os.urandom(size))
        return drawn[-1]

    made = [key for (key,) in islice(keys(draw), 3000)]
    assert all(len(key) == MASK_BYTES for key in made)
    assert b"".join(made) == b"".join(drawn)[: len(made) * MASK_BYTES], "each byte that was drawn is in one key"
