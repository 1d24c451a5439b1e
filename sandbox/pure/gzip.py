"""``gzip.*``: RFC 1952. What is unpacked is bounded while it is unpacked, so a bomb costs no more than the bound."""

from __future__ import annotations

import zlib

from sandbox.pure.declared import MAX_BYTES, Refused, data, integer, pure

_GZIP = 16 + zlib.MAX_WBITS  # zlib(3), deflateInit2: a gzip header and trailer instead of zlib's own


@pure("gzip.compress", data=data, level=integer(1, 9))
def compress(data: bytes, level: int = 6) -> bytes:
    """Return one gzip member without a name or a time, so that equal bytes give equal ones."""
    packer = zlib.compressobj(level, zlib.DEFLATED, _GZIP)
    return packer.compress(data) + packer.flush()


@pure("gzip.decompress", data=data, most=integer(1, MAX_BYTES))
def decompress(data: bytes, most: int = MAX_BYTES) -> bytes:
    """Return what all members hold together, at most ``most`` bytes. Zeros may follow the last one (gzip(1))."""
    parts: list[bytes] = []
    room = most
    while True:
        unpacker = zlib.decompressobj(_GZIP)
        try:
            part = unpacker.decompress(data, room + 1)
        except zlib.error as error:
            raise Refused("data", _problem(error, bool(parts))) from None
        parts.append(part)
        room -= len(part)
        if room < 0:
            raise Refused("data", f"would unpack to more than {most} bytes", "too_large")
        if not unpacker.eof:
            raise Refused("data", "ends too early")
        data = unpacker.unused_data.lstrip(b"\0")
        if not data:
            return b"".join(parts)


def _problem(error: zlib.error, is_later: bool) -> str:
    told = str(error).rpartition(": ")[2]
    return f"{'after the first member: ' if is_later else ''}is not gzip: {told}"
