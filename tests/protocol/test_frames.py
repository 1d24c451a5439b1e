"""Frames: plain values in, the same out, and nothing hostile gets further than a documented error."""

from __future__ import annotations

import contextlib
import math
import struct
from typing import Any

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocol import frames, limits
from protocol.errors import ProtocolError, TooLargeError
from protocol.frames import LengthPrefixed, decode, decode_trusted, encode, prefixed, scan

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**63), max_value=2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=20,
)


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


@given(plain)
def test_what_is_encoded_decodes_to_the_same(value: Any) -> None:
    try:
        data = encode(value)
    except TooLargeError:  # deeper than allowed
        return
    assert decode(data) == value


@given(st.binary(max_size=300))
@example(b"\xdf\xff\xff\xff\xff")
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\xc6\xff\xff\xff\xff")
@example(b"\x91" * 200)
@example(b"\xc1")
@example(b"")
@example(b"\x82\xa1a\x01\xa1a\x02")
def test_hostile_bytes_decode_or_raise_a_documented_error(data: bytes) -> None:
    """And what decodes is plain: it encodes again."""
    try:
        value = decode(data)
    except ProtocolError:
        return
    encode(value)


@given(st.binary(max_size=200), st.integers(0, 200), st.integers(0, 255))
def test_a_flipped_byte_of_a_real_frame_does_no_harm(payload: bytes, at: int, byte: int) -> None:
    frame = bytearray(encode([1, {"path": "/var", "data": payload}, [1.5, None, True, -7]]))
    frame[at % len(frame)] = byte
    with contextlib.suppress(ProtocolError):
        encode(decode(bytes(frame)))


@given(plain)
def test_the_walk_counts_as_the_decoder_does(value: Any) -> None:
    """The scan must accept exactly what fits: a bound that differs from the value would be no bound."""
    data = msgpack.packb(value)
    depth, items = measure(value)
    scan(data, max_depth=depth, max_items=items)
    if depth:
        with pytest.raises(TooLargeError):
            scan(data, max_depth=depth - 1, max_items=items)
    with pytest.raises(TooLargeError):
        scan(data, max_depth=depth, max_items=items - 1)


def measure(value: Any) -> tuple[int, int]:
    """Depth and number of values, as an independent recursion sees them."""
    if isinstance(value, dict):
        inner = [measure(item) for pair in value.items() for item in pair]
    elif isinstance(value, list):
        inner = [measure(item) for item in value]
    else:
        return 0, 1
    return 1 + max((depth for depth, _ in inner), default=0), 1 + sum(items for _, items in inner)


def test_depth_is_bounded_before_anything_is_built() -> None:
    assert decode(msgpack.packb(nested(limits.MAX_DEPTH))) == nested(limits.MAX_DEPTH)
    with pytest.raises(TooLargeError, match="nested deeper than 16"):
        decode(msgpack.packb(nested(limits.MAX_DEPTH + 1)))
    with pytest.raises(TooLargeError, match="nested deeper"):
        decode(b"\x91" * 500_000 + b"\xc0")


def test_depth_through_maps_counts_too() -> None:
    value: Any = 1
    for _ in range(limits.MAX_DEPTH + 1):
        value = {"k": value}
    with pytest.raises(TooLargeError):
        decode(msgpack.packb(value))


def test_size_is_bounded_before_anything_is_read() -> None:
    with pytest.raises(TooLargeError, match="a frame of 11 bytes is over the limit of 10"):
        decode(b"\xc4\x09" + bytes(9), max_bytes=10)
    with pytest.raises(TooLargeError):
        encode(bytes(9), max_bytes=10)


def test_the_number_of_values_is_bounded() -> None:
    many = msgpack.packb([0] * (limits.MAX_ITEMS + 1))
    with pytest.raises(TooLargeError):
        decode(many)
    with pytest.raises(TooLargeError):
        encode([0] * (limits.MAX_ITEMS + 1))
    assert len(decode(msgpack.packb([0] * (limits.MAX_ITEMS - 1)))) == limits.MAX_ITEMS - 1


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x82\xa1a\x01\xa1a\x02", "names a key twice"),
        (b"\x81\x01\x02", "frame"),
        (b"\x81\xc4\x01a\x02", "not text"),
        (b"\xd4\x05\x00", "extension"),
        (b"\xd6\xff\x00\x00\x00\x00", "extension"),
        (b"\xc7\x00\x05", "extension"),
        (b"\xc1", "extension"),
        (b"\x01\x02", "frame"),
        (b"", "frame"),
        (b"\x92\x01", "frame"),
        (b"\xa2\xff\xfe", "frame"),
        (b"\xcb" + struct.pack(">d", math.nan), "not finite"),
        (b"\xcb" + struct.pack(">d", math.inf), "not finite"),
        (b"\x91\xca" + struct.pack(">f", -math.inf), "not finite"),
        (b"\x81\xa1a\x91\xcb" + struct.pack(">d", math.nan), "not finite"),
    ],
)
def test_what_has_no_place_on_a_wire_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(ProtocolError, match=why):
        decode(data)


@pytest.mark.parametrize(
    "value",
    [
        (1,),
        {1},
        {1: 2},
        {b"a": 1},
        2**64,
        -(2**63) - 1,
        object(),
        math.nan,
        [math.inf],
        "\ud800",
        {"a": {2: 3}},
        bytearray(),
    ],
)
def test_what_could_not_be_decoded_is_not_encoded(value: Any) -> None:
    """A record that its reader has to refuse would break the ledger for good."""
    with pytest.raises(ProtocolError):
        encode(value)


def test_too_deep_a_value_is_not_encoded() -> None:
    encode(nested(limits.MAX_DEPTH))
    with pytest.raises(TooLargeError):
        encode(nested(limits.MAX_DEPTH + 1))
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(TooLargeError):
        encode(cycle)


@given(st.lists(st.binary(max_size=50), max_size=10), st.data())
def test_a_stream_cut_anywhere_gives_the_same_frames(frames: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(map(prefixed, frames))
    splitter, found, at = LengthPrefixed(50), [], 0
    while at < len(stream):
        size = data.draw(st.integers(1, len(stream) - at))
        found += splitter.feed(stream[at : at + size])
        at += size
    assert found == frames
    assert not splitter.pending


def test_a_length_over_the_limit_is_refused_at_once() -> None:
    """Before a single byte of the frame was kept."""
    splitter = LengthPrefixed(10)
    assert splitter.feed(prefixed(bytes(10))) == [bytes(10)]
    with pytest.raises(TooLargeError, match="a frame of 11 bytes"):
        splitter.feed((11).to_bytes(4, "big"))


def test_frames_of_who_is_trusted_are_decoded_without_bounds_and_still_well_formed() -> None:
    value = [{"path": "x", "mtime": 1.5, "inner": [[[None]]]}] * 20_000
    assert decode_trusted(encode(value, max_bytes=1 << 22, max_items=1 << 20)) == value
    for data in (b"", b"\xc1", b"\x91", b"\x00\x00", b"\xd4\x01\x00", b"\x81\x01\x02", b"\xa1\xff"):
        with pytest.raises(ProtocolError):
            decode_trusted(data)


def test_a_packer_that_failed_or_is_in_use_leaves_nothing_in_another_document(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed one holds the half that it packed; one in use, on another thread, whatever it has come to."""
    monkeypatch.setattr(frames, "_kept", [frames._packer()])
    with pytest.raises(ProtocolError):
        encode(["a" * 100, "\ud800"])
    assert frames._kept == []
    assert encode([1]) == b"\x91\x01"
    held = frames._kept.pop()
    assert encode([2]) == b"\x91\x02"
    assert held not in frames._kept
