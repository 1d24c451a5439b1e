"""Archives as nobody's tool would write them."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from typing import Any


def member(
    name: str, data: bytes = b"", *, kind: bytes = tarfile.REGTYPE, link: str = "", **more: Any
) -> tuple[Any, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, len(data), link
    for key, value in more.items():
        setattr(info, key, value)
    return info, data


def tar(*members: tuple[Any, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as file:
        for info, data in members:
            file.addfile(info, io.BytesIO(data))
    return out.getvalue()


def tgz(*members: tuple[Any, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    return gzip.compress(tar(*members, form=form))


def header(name: bytes, size: int, kind: bytes = b"0", *, mode: bytes = b"0000644\0", spoil: bool = False) -> bytes:
    """One raw header of ustar."""
    size_field = b"%011o\0" % size if size < 8**11 else b"\x80" + size.to_bytes(11, "big")
    block = bytearray(
        name.ljust(100, b"\0") + mode + b"0000000\0" * 2 + size_field + b"%011o\0" % 1 + b" " * 8 + kind
        + bytes(100) + b"ustar\x0000" + bytes(247)
    )  # fmt: skip
    block[148:156] = b"%06o\0 " % (sum(block) + spoil)
    return bytes(block)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def zipped(entries: Iterable[tuple[zipfile.ZipInfo | str, bytes]], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", how) as file:
        for name, data in entries:
            file.writestr(name, data)
    return out.getvalue()


def overlapping(count: int, size: int) -> bytes:
    """Return a zip archive in which all entries are the same content (D. Fifield, "A better zip bomb", WOOT 2019)."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    plain = bytes(size)
    packed = packer.compress(plain) + packer.flush()
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 33, zlib.crc32(plain), len(packed), size, 1, 0) + b"a"
    items = b"".join(
        struct.pack(
            "<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 8, 0, 33, zlib.crc32(plain), len(packed), size, 1, 0, 0, 0, 0, 0, 0
        ) + b"a"
        for _ in range(count)
    )  # fmt: skip
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(items), len(local) + len(packed), 0)
    return local + packed + items + end
