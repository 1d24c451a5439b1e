"""Bytes to plain values and back, safely: MessagePack with every bound checked before anything is built.

Only None, bool, 64-bit int, finite float, str, bytes, list and dict with str keys exist on our wires. Depth and the
number of items are bounded before decoding: a cheap count of the bytes that can open a container proves most frames
harmless at C speed, and only the rest is walked marker by marker.

What :func:`encode` returns, :func:`decode` with the same bounds accepts: nothing is ever written into a ledger or sent
that the other side would have to refuse.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgpack

from protocol import limits
from protocol.errors import ProtocolError, TooLargeError

_LEAVES = frozenset({type(None), bool, int, str, bytes})  # what needs no look inside
_TEXT = frozenset({str})  # what the key of a map is
LENGTH_BYTES = 4  # big-endian, in front of each frame of a byte stream
BULK_BYTES = 4096  # of a frame that may be mostly a blob; looking at each byte of a smaller one costs microseconds
FEW_VALUES = 32  # that are walked to find out
MAX_KEPT_BYTES = 64 * 1024  # of a document; a packer that made a larger one is not kept, as its buffer would be

# Markers that open a map or an array (MessagePack specification, "Formats").
_CONTAINERS = bytes([*range(0x80, 0xA0), 0xDC, 0xDD, 0xDE, 0xDF])
# Markers of extension types and the one that is never used.
_EXTENSIONS = bytes([0xC1, 0xC7, 0xC8, 0xC9, *range(0xD4, 0xD9)])
_FIXED = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
_FIXED |= {0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
_SIZED = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}  # bin 8/16/32, str 8/16/32: width of the length
_UNSIGNED = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}  # unsigned integers, by their marker
BLOBS = {0xC4: 1, 0xC5: 2, 0xC6: 4}  # width of the length of a blob, by its marker
SHORT_BLOB = 0xC4  # the first of these
SHORT_BLOBS = tuple(bytes((SHORT_BLOB, size)) for size in range(1 << 8))  # what stands before a blob, by its size


def encode(
    value: Any,
    *,
    max_bytes: int = limits.MAX_LINK_FRAME_BYTES,
    max_depth: int = limits.MAX_DEPTH,
    max_items: int = limits.MAX_ITEMS,
) -> bytes:
    """Return ``value`` as one MessagePack document of at most ``max_bytes``.

    Raises:
        TooLargeError: Larger, deeper or with more items than allowed.
        ProtocolError: It holds something that has no place on a wire.
    """
    if type(value) is list and max_depth > 0 and len(value) < max_items and _LEAVES.issuperset(map(type, value)):
        return encode_trusted(value, max_bytes)  # as most messages are
    if type(value) not in _LEAVES and _count(value, max_depth) > max_items:
        raise TooLargeError(f"a frame holds more than {max_items} values")
    return encode_trusted(value, max_bytes)


class RowEncoder:
    """Encodes rows as :func:`encode` does lists, quicker, as it knows what stands in each place.

    Args:
        columns: Name and type of each value, scalars and maps, in order.
    """

    def __init__(self, columns: Mapping[str, type]) -> None:
        self._names = tuple(columns)
        self._types = list(columns.values())
        self._maps = tuple(place for place, kind in enumerate(self._types) if kind is dict)

    def encode(self, values: list[Any], *, max_bytes: int) -> bytes:
        """Return ``values`` as one document; raises as :func:`encode`, and for a value of another type."""
        types = list(map(type, values))
        if types != self._types:
            wrong = [name for name, was, kind in zip(self._names, types, self._types, strict=True) if was is not kind]
            raise ProtocolError(f"not of its type: {', '.join(wrong)}")
        for place in self._maps:
            if values[place]:
                _count(values[place], limits.MAX_DEPTH - 1)
        return encode_trusted(values, max_bytes)


def _packer() -> msgpack.Packer:
    return msgpack.Packer(use_bin_type=True, buf_size=BULK_BYTES)


_kept = [_packer()]  # those that nobody uses at the moment; to make one takes longer than to use it


def encode_trusted(value: Any, max_bytes: int) -> bytes:
    """Return ``value``, known to be plain and within every other bound, as one document of at most ``max_bytes``.

    By a packer that nobody else has meanwhile, on whatever thread.

    Raises:
        TooLargeError: Larger than allowed.
        ProtocolError: It is not plain after all.
    """
    try:
        packer = _kept.pop()
    except IndexError:
        packer = _packer()
    try:
        data: bytes = packer.pack(value)
    except (ValueError, OverflowError) as error:  # an int over 64 bits, a lone surrogate in a text
        raise ProtocolError(f"a value cannot be sent: {error}") from None  # the packer that failed is not kept
    size = len(data)
    if size <= MAX_KEPT_BYTES:
        _kept.append(packer)
    if size > max_bytes:
        raise TooLargeError(f"a frame of {size} bytes is over the limit of {max_bytes}")
    return data


def _count(value: Any, levels: int) -> int:
    """Return how many values ``value`` is made of; refuse what has no place on a wire or needs more ``levels``."""
    kind = type(value)
    if kind in _LEAVES:
        return 1
    if kind is float:
        if not math.isfinite(value):
            raise ProtocolError("a number is not finite")
        return 1
    if kind is not list and kind is not dict:
        raise ProtocolError(f"a value of type {kind.__name__} cannot be sent")
    if levels == 0:
        raise TooLargeError("a frame is nested too deeply")
    if kind is list:
        if _LEAVES.issuperset(map(type, value)):
            return 1 + len(value)
        count = 1
        for item in value:  # no comprehension: that is a function, made each time
            count += 1 if type(item) in _LEAVES else _count(item, levels - 1)
        return count
    if not _TEXT.issuperset(map(type, value)):
        raise ProtocolError("a map has a key that is not text")
    count = 1 + len(value)
    for item in value.values():
        kind = type(item)  # a number minus itself is 0 unless it is infinite or NaN, of which the other branch tells
        is_leaf = kind in _LEAVES or (kind is float and item - item == 0.0)
        count += 1 if is_leaf else _count(item, levels - 1)
    return count


def decode(
    data: bytes,
    *,
    max_bytes: int = limits.MAX_LINK_FRAME_BYTES,
    max_depth: int = limits.MAX_DEPTH,
    max_items: int = limits.MAX_ITEMS,
) -> Any:
    """Return the one plain value in ``data``.

    Raises:
        TooLargeError: Larger, deeper or with more items than allowed; nothing was built.
        ProtocolError: Not exactly one well-formed plain value.
    """
    if len(data) > max_bytes:
        raise TooLargeError(f"a frame of {len(data)} bytes is over the limit of {max_bytes}")
    is_bulk = len(data) >= BULK_BYTES and _is_of_few(data)
    if is_bulk or _occurs(data, _CONTAINERS) > max_depth or len(data) > max_items:
        scan(data, max_depth=max_depth, max_items=max_items)
    try:
        # Extensions: the hook never sees timestamps, which have a length, and an empty one reaches no other.
        value = msgpack.unpackb(
            data, raw=False, use_list=True, strict_map_key=True, object_pairs_hook=_mapping, max_ext_len=0,
            ext_hook=_refuse_extension,
        )  # fmt: skip
    except ProtocolError:
        raise
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        if _occurs(data, _EXTENSIONS):
            scan(data, max_depth=max_depth, max_items=max_items)  # tells if it is one of them
        raise ProtocolError(f"not a well-formed frame: {type(error).__name__}") from None
    if 0xCA in data or 0xCB in data:
        _refuse_nan(value)
    return value


def decode_trusted(data: bytes, *, texts: bool = True) -> Any:
    """Return the one value in a frame of who is trusted with everything anyway, such as the gate by its worker.

    Neither depth nor items are bounded, which takes most of the time of decoding a list of maps. Without ``texts``
    every text and key is given as the bytes that it came as.

    Raises:
        ProtocolError: Not exactly one well-formed value.
    """
    try:
        return msgpack.unpackb(data, raw=not texts, use_list=True, strict_map_key=True, ext_hook=_refuse_extension)
    except ProtocolError:
        raise
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise ProtocolError(f"not a well-formed frame: {type(error).__name__}") from None


def _is_of_few(data: bytes) -> bool:
    """Tell whether walking all of ``data`` takes few steps, as with one that is mostly a blob.

    Looking for markers in its bytes would cost more than all the rest, and a blob of any bytes has them all anyway.
    """
    position, size = 0, len(data)
    for _ in range(FEW_VALUES):
        try:
            position, _inside = _step(data, position)
        except (ProtocolError, IndexError):
            return False  # the long way says what is wrong
        if position >= size:
            return True
    return False


def _occurs(data: bytes, markers: bytes) -> int:
    """Return how often ``markers`` occur, also inside texts and blobs where they mean nothing."""
    return len(data) - len(data.translate(None, markers))


def scan(data: bytes, *, max_depth: int, max_items: int) -> None:
    """Walk the markers of ``data`` without building anything; refuse what is too deep or has too many items."""
    position, items, size = 0, 0, len(data)
    open_containers = [1]  # values still expected at each level
    while open_containers:
        if open_containers[-1] == 0:
            open_containers.pop()
            continue
        if position >= size:
            raise ProtocolError("a frame ends in the middle of a value")
        open_containers[-1] -= 1
        items += 1
        if items > max_items:
            raise TooLargeError(f"a frame holds more than {max_items} values")
        position, inside = _step(data, position)
        if inside is not None:
            if len(open_containers) > max_depth:
                raise TooLargeError(f"a frame is nested deeper than {max_depth} levels")
            if inside > max_items:
                raise TooLargeError(f"a frame announces a container of {inside} values")
            open_containers.append(inside)
    if position != size:
        raise ProtocolError("bytes follow the value in a frame")


def _step(data: bytes, position: int) -> tuple[int, int | None]:
    """Return the position after the value (or head of a container) at ``position``, and how many values are inside."""
    marker = data[position]
    position += 1
    if marker <= 0x7F or marker >= 0xE0:
        return position, None
    if marker <= 0x8F:
        return position, 2 * (marker & 0x0F)
    if marker <= 0x9F:
        return position, marker & 0x0F
    if marker <= 0xBF:
        return position + (marker & 0x1F), None
    if marker in _FIXED:
        return position + _FIXED[marker], None
    if marker in _SIZED:
        width = _SIZED[marker]
        return position + width + int.from_bytes(data[position : position + width], "big"), None
    if marker >= 0xDC:
        width = 2 if marker in (0xDC, 0xDE) else 4
        count = int.from_bytes(data[position : position + width], "big")
        return position + width, count * (2 if marker >= 0xDE else 1)
    raise ProtocolError("extension types are not allowed")  # 0xC1, 0xC7 to 0xC9, 0xD4 to 0xD8


def _mapping(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    if not pairs:
        return {}
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ProtocolError("a map names a key twice")
    for key in result:
        if type(key) is not str:
            raise ProtocolError("a map has a key that is not text")
    return result


def _refuse_extension(_code: int, _data: bytes) -> Any:
    raise ProtocolError("extension types are not allowed")


def _refuse_nan(value: Any) -> None:
    if type(value) is float:
        if not math.isfinite(value):
            raise ProtocolError("a number is not finite")
    elif type(value) is list:
        for item in value:
            _refuse_nan(item)
    elif type(value) is dict:
        for item in value.values():
            _refuse_nan(item)


class LengthPrefixed:
    """Cuts a byte stream into frames: four bytes of length, big-endian, then the frame."""

    def __init__(self, max_bytes: int = limits.MAX_CHANNEL_FRAME_BYTES) -> None:
        self._max_bytes = max_bytes
        self.pending = bytearray()  # of an incomplete frame

    def feed(self, data: bytes) -> list[bytes]:
        """Return the frames that ``data`` completes.

        Raises:
            TooLargeError: A length is over the limit; said as soon as the length is there. Nothing more is read.
        """
        if not self.pending and len(data) >= LENGTH_BYTES:
            length = int.from_bytes(data[:LENGTH_BYTES], "big")
            if length == len(data) - LENGTH_BYTES and length <= self._max_bytes:
                return [data[LENGTH_BYTES:]]  # one frame came whole, as most do
        self.pending += data
        frames: list[bytes] = []
        position = 0
        while len(self.pending) - position >= LENGTH_BYTES:
            length = int.from_bytes(self.pending[position : position + LENGTH_BYTES], "big")
            if length > self._max_bytes:
                raise TooLargeError(f"a frame of {length} bytes is over the limit of {self._max_bytes}")
            if len(self.pending) - position - LENGTH_BYTES < length:
                break
            with memoryview(self.pending) as whole:  # copied once, not twice
                frames.append(bytes(whole[position + LENGTH_BYTES : position + LENGTH_BYTES + length]))
            position += LENGTH_BYTES + length
        del self.pending[:position]
        return frames


def blob_head(size: int) -> bytes:
    """Return what stands before a blob (MessagePack specification, "bin format family")."""
    if size < 1 << 8:
        return SHORT_BLOBS[size]
    if size < 1 << 16:
        return b"\xc5" + size.to_bytes(2, "big")
    return b"\xc6" + size.to_bytes(4, "big")


def number_at(data: bytes, at: int) -> tuple[int, int] | None:
    """Return the number of 0 or more that stands at ``at``, and the place after it; None if no whole one does."""
    if at >= len(data):
        return None
    marker = data[at]
    if marker < 0x80:
        return marker, at + 1
    width = _UNSIGNED.get(marker)
    end = at + 1 + (width or 0)
    return None if width is None or end > len(data) else (int.from_bytes(data[at + 1 : end], "big"), end)


def blob_at(data: bytes, at: int) -> tuple[int, int] | None:
    """Return where the blob begins and ends whose head stands at ``at``; None if no whole one does."""
    width = BLOBS.get(data[at]) if at < len(data) else None
    if width is None or at + 1 + width > len(data):
        return None
    begin = at + 1 + width
    end = begin + int.from_bytes(data[at + 1 : begin], "big")
    return None if end > len(data) else (begin, end)


def prefixed(frame: bytes) -> bytes:
    """Return ``frame`` with its length in front."""
    return len(frame).to_bytes(LENGTH_BYTES, "big") + frame
