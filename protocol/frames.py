"""Bytes to plain values and back, safely: MessagePack with every bound checked before anything is built.

Only None, bool, 64-bit int, finite float, str, bytes, list and dict with str keys exist on our wires. Depth and the
number of items are bounded before decoding: a cheap count of the bytes that can open a container proves most frames
harmless at C speed, and only the rest is walked marker by marker.

What :func:`encode` returns, :func:`decode` with the same bounds accepts: nothing is ever written into a ledger or sent
that the other side would have to refuse.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgpack

from protocol import limits
from protocol.errors import ProtocolError, TooLargeError

_NOTHING: dict[str, Any] = {}
_LEAVES = frozenset({type(None), bool, int, str, bytes})  # what needs no look inside
LENGTH_BYTES = 4  # big-endian, in front of each frame of a byte stream

# Markers that open a map or an array (MessagePack specification, "Formats").
_CONTAINERS = bytes([*range(0x80, 0xA0), 0xDC, 0xDD, 0xDE, 0xDF])
# Markers of extension types and the one that is never used. The decoder's hook for them never sees timestamps.
_EXTENSIONS = bytes([0xC1, 0xC7, 0xC8, 0xC9, *range(0xD4, 0xD9)])
_FIXED = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
_FIXED |= {0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
_SIZED = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}  # bin 8/16/32, str 8/16/32: width of the length


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
    if type(value) not in _LEAVES and _count(value, max_depth) > max_items:
        raise TooLargeError(f"a frame holds more than {max_items} values")
    return _packed(_packb, value, max_bytes)


class FlatEncoder:
    """Encodes lists of scalars and small maps as :func:`encode` does, quicker: it keeps its buffer. Of one thread."""

    def __init__(self) -> None:
        self._pack = msgpack.Packer(use_bin_type=True).pack

    def encode(self, values: list[Any], *, max_bytes: int) -> bytes:
        """Return ``values`` as one document; raises as :func:`encode`."""
        for value in values:
            if type(value) not in _LEAVES and value != _NOTHING:
                _count(value, limits.MAX_DEPTH - 1)
        return _packed(self._pack, values, max_bytes)


def _packb(value: Any) -> bytes:
    return bytes(msgpack.packb(value, use_bin_type=True))


def _packed(pack: Callable[[Any], bytes], value: Any, max_bytes: int) -> bytes:
    try:
        data = pack(value)
    except (ValueError, OverflowError) as error:  # an int over 64 bits, a lone surrogate in a text
        raise ProtocolError(f"a value cannot be sent: {error}") from None
    if len(data) > max_bytes:
        raise TooLargeError(f"a frame of {len(data)} bytes is over the limit of {max_bytes}")
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
        return 1 + sum([1 if type(item) in _LEAVES else _count(item, levels - 1) for item in value])
    for key in value:
        if type(key) is not str:
            raise ProtocolError("a map has a key that is not text")
    inside = [1 if type(item) in _LEAVES else _count(item, levels - 1) for item in value.values()]
    return 1 + len(inside) + sum(inside)


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
    if _occurs(data, _CONTAINERS) > max_depth or len(data) > max_items or _occurs(data, _EXTENSIONS):
        scan(data, max_depth=max_depth, max_items=max_items)
    try:
        value = msgpack.unpackb(
            data, raw=False, use_list=True, strict_map_key=True, object_pairs_hook=_mapping, ext_hook=_refuse_extension
        )
    except ProtocolError:
        raise
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise ProtocolError(f"not a well-formed frame: {type(error).__name__}") from None
    if 0xCA in data or 0xCB in data:
        _refuse_nan(value)
    return value


def decode_trusted(data: bytes) -> Any:
    """Return the one value in a frame of who is trusted with everything anyway, such as the gate by its worker.

    Neither depth nor items are bounded, which takes most of the time of decoding a list of maps.

    Raises:
        ProtocolError: Not exactly one well-formed value.
    """
    try:
        return msgpack.unpackb(data, raw=False, use_list=True, strict_map_key=True, ext_hook=_refuse_extension)
    except ProtocolError:
        raise
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise ProtocolError(f"not a well-formed frame: {type(error).__name__}") from None


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
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the frames that ``data`` completes.

        Raises:
            TooLargeError: A length is over the limit; said as soon as the length is there. Nothing more is read.
        """
        self._buffer += data
        frames: list[bytes] = []
        position = 0
        while len(self._buffer) - position >= LENGTH_BYTES:
            length = int.from_bytes(self._buffer[position : position + LENGTH_BYTES], "big")
            if length > self._max_bytes:
                raise TooLargeError(f"a frame of {length} bytes is over the limit of {self._max_bytes}")
            if len(self._buffer) - position - LENGTH_BYTES < length:
                break
            with memoryview(self._buffer) as whole:  # copied once, not twice
                frames.append(bytes(whole[position + LENGTH_BYTES : position + LENGTH_BYTES + length]))
            position += LENGTH_BYTES + length
        del self._buffer[:position]
        return frames

    @property
    def pending_bytes(self) -> int:
        """Bytes of an incomplete frame."""
        return len(self._buffer)


def prefixed(frame: bytes) -> bytes:
    """Return ``frame`` with its length in front."""
    return len(frame).to_bytes(LENGTH_BYTES, "big") + frame
