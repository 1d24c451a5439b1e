"""Whole binary messages of a WebSocket as they stand on the wire (RFC 6455 section 5.2), and nothing else of it.

Nearly all that crosses a link, a terminal or a forward is one, and each passes cold caches when a key is pressed: so
they are written and cut out here in few steps. Whatever is anything else is the library's, which keeps the state of the
connection: texts, control frames, messages in several frames, a frame of which only a part came, one that is longer
may be, one that breaks the protocol. :func:`is_between` says when the library is at a place where nothing is missed if
it does not see the next one.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, repeat
from typing import Any, Final, Protocol

from websockets.frames import apply_mask as masked  # type: ignore[attr-defined]  # the C one where there is one

__all__ = [
    "HEADS", "MASKED", "MASKED_HEADS", "MASK_BYTES", "TEXT", "WHOLE_BINARY", "Unfinished", "cut", "head", "is_between",
    "keys", "masked", "write", "write_all",
]  # fmt: skip

WHOLE_BINARY: Final = 0x82  # the last frame of its message, no extension's bits, opcode 2
TEXT: Final = 0x81  # the same of a text: opcode 1
MASKED: Final = 0x80  # in the second byte of a client's frames
MASK_BYTES: Final = 4
#: The shortest heads, by the size of the message; those of a client have its key behind them.
HEADS: Final = tuple(bytes((WHOLE_BINARY, size)) for size in range(126))
MASKED_HEADS: Final = tuple(bytes((WHOLE_BINARY, MASKED | size)) for size in range(126))
_KEYS_AT_ONCE: Final = 1024
_KEY: Final = struct.Struct(f"{MASK_BYTES}s")
_SMALL_BYTES: Final = 4 << 10  # a message that is written in one piece with its head
#: Of several pieces asyncio's own transport then takes more than its bound without a word (CVE-2024-12254); no other's.
_TAKES_WITHOUT_END: Final = (3, 12) <= sys.version_info < (3, 12, 9) or (3, 13) <= sys.version_info < (3, 13, 2)
_OWN_TRANSPORTS: Final = "asyncio.selector_events"
_OPEN: Final = 1  # State.OPEN of the library
_BETWEEN: Final = "at_eof"  # where its parser waits for the first byte of a frame, and only there


class Transport(Protocol):
    """What of ``asyncio.WriteTransport`` is used here."""

    def write(self, data: bytes) -> None:
        """Write this."""

    def writelines(self, list_of_data: Iterable[bytes | memoryview]) -> None:
        """Write these, one after the other."""


def write(transport: Transport, begin: bytes, data: bytes) -> None:
    """Write a head and the message behind it; what is long is not copied for that, where the transport may be trusted.

    Args:
        transport: Of an event loop.
        begin: As :func:`head` gives it.
        data: The message, hidden if it is a client's.
    """
    if len(data) < _SMALL_BYTES:
        transport.write(begin + data)
    else:
        write_all(transport, (begin, data))


def write_all(transport: Transport, pieces: Sequence[bytes | memoryview]) -> None:
    """Write pieces one after the other, without copying them into one where the transport may be trusted with that."""
    if _TAKES_WITHOUT_END and type(transport).__module__ == _OWN_TRANSPORTS:
        transport.write(b"".join(pieces))
    else:
        transport.writelines(pieces)


def head(size: int, mask: bytes = b"") -> bytes:
    """Return what stands before the ``size`` bytes of a whole binary message.

    Args:
        size: Of the message, in bytes.
        mask: The key of a client's; a server has none (section 5.1).
    """
    if size < 126:
        return (MASKED_HEADS if mask else HEADS)[size] + mask
    bit = MASKED if mask else 0
    if size < 1 << 16:
        return bytes((WHOLE_BINARY, bit | 126)) + size.to_bytes(2, "big") + mask
    return bytes((WHOLE_BINARY, bit | 127)) + size.to_bytes(8, "big") + mask


def cut(data: bytes, at: int, *, is_masked: bool, most: int, kind: int = WHOLE_BINARY) -> tuple[int, int] | None:
    """Return where the message begins and ends whose frame begins at ``at``.

    Args:
        data: What came.
        at: Where a frame begins.
        is_masked: Whether it comes of a client; the key is in the ``MASK_BYTES`` before the message.
        most: Bytes that a message may have.
        kind: How its frame begins: that of a message of bytes, or ``TEXT``, of which nobody has looked whether it is
            UTF-8 then.

    Returns:
        None if what stands there is not the whole of one, or is anything else, or is not written as it must be.
    """
    place = _extent(data, at, is_masked, most, kind)
    return None if place is None or place[1] > len(data) else place


def _extent(data: bytes, at: int, is_masked: bool, most: int, kind: int) -> tuple[int, int] | None:
    """Return the same also of a message of which only the head and a part stand there."""
    size = len(data)
    if size < at + 2 or data[at] != kind:
        return None
    length, begin = data[at + 1], at + 2
    if is_masked:
        if length < MASKED:
            return None
        length ^= MASKED
        begin += MASK_BYTES
    elif length >= MASKED:
        return None
    if length >= 126:
        width = 2 if length == 126 else 8
        if size < at + 2 + width:
            return None
        length = int.from_bytes(data[at + 2 : at + 2 + width], "big")
        if length < (126 if width == 2 else 1 << 16):  # "the minimal number of bytes MUST be used"
            return None
        begin += width
    return None if length > most else (begin, begin + length)


class Unfinished:
    """The beginning of a message of bytes whose rest is still to come: kept until it is whole, and copied once then.

    Nobody else has seen it; whoever keeps it gives all of it to the library if that has to have it after all.
    """

    __slots__ = ("_pieces", "missing")

    def __init__(self) -> None:
        self.missing = 0  # bytes; 0: nothing is kept
        self._pieces: list[bytes | memoryview] = []

    def begin(self, data: bytes, at: int, *, is_masked: bool, most: int) -> bool:
        """Keep what stands at ``at``, if it is the head of a message and a part of it; return whether it is kept."""
        place = _extent(data, at, is_masked, most, WHOLE_BINARY)
        if place is None or place[1] <= len(data):
            return False
        # A view holds on to all that came with it: only if what is kept is most of that.
        self._pieces.append(memoryview(data)[at:] if at * 2 < len(data) else data[at:])
        self.missing = place[1] - len(data)
        return True

    def more(self, data: bytes) -> tuple[bytes, int]:
        """Return the message once it is whole, and until then nothing; and how much of ``data`` is of it.

        Args:
            data: What comes next.

        Returns:
            The message with its head, or ``b""``; and bytes of ``data``.
        """
        if len(data) < self.missing:
            self._pieces.append(data)
            self.missing -= len(data)
            return b"", len(data)
        end = self.missing
        self._pieces.append(data if end == len(data) else memoryview(data)[:end])
        whole, self._pieces, self.missing = b"".join(self._pieces), [], 0
        return whole, end


def is_between(library: Any) -> bool:
    """Tell whether the next byte that comes is the first of a message.

    Args:
        library: The state of a connection (``websockets.protocol.Protocol``).
    """
    if library.state != _OPEN or library.current_size is not None:  # the latter: in a message of several frames
        return False
    step = library.parser
    while (inner := step.gi_yieldfrom) is not None:
        step = inner
    return bool(step.gi_code.co_name == _BETWEEN)


def keys(draw: Callable[[int], bytes]) -> Iterator[tuple[bytes]]:
    """Return keys for the messages of a client, each used once and known to nobody before (RFC 6455 section 5.3).

    Args:
        draw: Returns so many random bytes, of the kernel's; many keys are drawn at once.
    """
    drawn = (draw(_KEYS_AT_ONCE * MASK_BYTES) for _ in repeat(None))
    return chain.from_iterable(map(_KEY.iter_unpack, drawn))  # no function of Python for each
