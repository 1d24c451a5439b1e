"""Reads a tar archive (POSIX.1-2001 pax, ustar, GNU long names), compressed with gzip or not, strictly.

One pass from front to back, and memory for one header. Links, devices, FIFOs, sparse files and everything of a kind
that is not known here end it, as does a checksum that does not fit.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Final

from stdlib.archives.entries import PERMISSIONS, PIECE_BYTES, Allowance, Entry, ReadAt, damaged

BLOCK: Final = 512
PACKED_BYTES: Final = 16 << 10  # of compressed bytes at once: zlib copies what is left of them for each member
MAX_HEADER_BYTES: Final = 64 << 10  # of one extended header or long name
_FILES: Final = frozenset({b"0", b"\0"})
_KINDS: Final = {
    b"1": "a hard link", b"2": "a symlink", b"3": "a character device", b"4": "a block device", b"6": "a FIFO",
    b"7": "a contiguous file", b"S": "a sparse file", b"K": "a long link", b"M": "a continued file", b"V": "a label",
}  # fmt: skip
_TOO_MUCH: Final = "after its end there is more than padding"


class _Plain:
    """The bytes of an archive in order."""

    def __init__(self, read_at: ReadAt) -> None:
        self._read_at = read_at
        self._position = 0

    def read(self, size: int) -> bytes:
        data = self._read_at(size, self._position)
        self._position += len(data)
        return data


class _Gunzip:
    """The bytes of an archive in order, out of gzip (RFC 1952); a few members in a row are one stream.

    Each member costs a block of the allowance: those without content would cost nothing, and could go on for ever.
    """

    def __init__(self, source: _Plain, allowance: Allowance) -> None:
        self._source = source
        self._allowance = allowance
        self._inflate = zlib.decompressobj(wbits=31)
        self._input = b""
        self._is_over = False

    def read(self, size: int) -> bytes:
        parts: list[bytes] = []
        missing = size
        while missing and not self._is_over:
            piece = self._next(missing)
            missing -= len(piece)
            parts.append(piece)
        return b"".join(parts)

    def _next(self, most: int) -> bytes:
        if self._inflate.eof:
            self._input = self._inflate.unused_data or self._source.read(PACKED_BYTES)
            if not self._input.strip(b"\0"):  # padding of tapes
                self._is_over = True
                return b""
            self._allowance.spend(BLOCK)
            self._inflate = zlib.decompressobj(wbits=31)
        elif not self._input:
            self._input = self._source.read(PACKED_BYTES)
            if not self._input:
                raise damaged("it is cut off")
        try:
            data = self._inflate.decompress(self._input, most)
        except zlib.error as error:
            raise damaged(f"the compression is broken ({error})") from None
        self._input = self._inflate.unconsumed_tail
        return data


class TarReader:
    """Entries of one archive.

    Args:
        read_at: Its bytes.
        allowance: Of what comes out of it.
        is_compressed: Whether they are gzip.
    """

    def __init__(self, read_at: ReadAt, allowance: Allowance, *, is_compressed: bool) -> None:
        plain = _Plain(read_at)
        self._read: Callable[[int], bytes] = _Gunzip(plain, allowance).read if is_compressed else plain.read
        self._allowance = allowance

    def entries(self) -> Iterator[Entry]:
        """Yield every entry; its content must be read before the next one is asked for.

        Raises:
            ArgumentError: It is damaged, or holds what is no plain file or directory.
            TooLargeError: It holds more than it may.
        """
        said: dict[str, bytes] = {}
        while (header := self._block()).strip(b"\0"):
            kind, size = self._check(header), _number(header[124:136], "size")
            if kind in (b"x", b"L"):
                data = self._whole(size)
                said |= {"path": data.rstrip(b"\0")} if kind == b"L" else _records(data)
                continue
            if kind == b"g":  # about all that follows; what we would take from it is not for all
                self._whole(size)
                continue
            yield from self._entry(header, kind, said, size)
            said = {}
        if said:
            raise damaged("it ends where an entry should follow")
        while rest := self._read(PIECE_BYTES):
            self._allowance.spend(len(rest))
            if rest.strip(b"\0"):
                raise damaged(_TOO_MUCH)

    def _entry(self, header: bytes, kind: bytes, said: dict[str, bytes], size: int) -> Iterator[Entry]:
        name = said.get("path") or _name(header)
        shown = ascii(name[:200].decode("utf-8", "backslashreplace"))
        if kind in _KINDS or "linkpath" in said:
            raise damaged(f"{shown} is {_KINDS.get(kind, 'a link')}; only files and directories are unpacked")
        is_directory = kind == b"5" or (kind == b"\0" and name.endswith(b"/"))
        if kind not in _FILES and not is_directory:
            raise damaged(f"{shown} is of the unknown kind {kind!r}")
        if "size" in said:
            size = _decimal(said["size"], "size")
        if is_directory and size:
            raise damaged(f"{shown} is a directory with content")
        mode = _number(header[100:108], "mode") & PERMISSIONS
        content = self._content(size)
        yield Entry(name, is_directory, mode, _mtime(header, said), content)
        for _ in content:  # what was not read is passed over
            pass

    def _content(self, size: int) -> Iterator[bytes]:
        left = size
        while left:
            piece = self._read(min(PIECE_BYTES, left))
            if not piece:
                raise damaged("it is cut off")
            self._allowance.spend(len(piece))
            left -= len(piece)
            yield piece
        self._pass(-size % BLOCK)

    def _whole(self, size: int) -> bytes:
        if size > MAX_HEADER_BYTES:
            raise damaged(f"a header has more than {MAX_HEADER_BYTES} bytes")
        data = self._exactly(size)
        self._pass(-size % BLOCK)
        self._allowance.spend(size + BLOCK)  # headers without end are a bomb too
        return data

    def _block(self) -> bytes:
        """Return the next header; a block of zeros at the end, which some writers leave out."""
        self._allowance.spend(0)
        data = self._read(BLOCK)
        if data and len(data) < BLOCK:
            raise damaged("it is cut off")
        return data

    def _exactly(self, size: int) -> bytes:
        data = self._read(size)
        if len(data) < size:
            raise damaged("it is cut off")
        return data

    def _pass(self, size: int) -> None:
        self._exactly(size)

    def _check(self, header: bytes) -> bytes:
        """Return the kind of a header."""
        told = _number(header[148:156], "checksum")
        blank = header[:148] + b" " * 8 + header[156:]
        if told != sum(blank):
            raise damaged("the checksum of a header does not fit")
        if header[257:262] not in (b"ustar", b"\0" * 5):
            raise damaged("it is no tar archive")
        return header[156:157]


def _name(header: bytes) -> bytes:
    name = header[:100].split(b"\0", 1)[0]
    prefix = header[345:500].split(b"\0", 1)[0] if header[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _number(field: bytes, what: str) -> int:
    """Return a number of a header: octal digits, or base 256 as GNU has it for large ones."""
    if field[0] == 0x80:
        value = int.from_bytes(field[1:], "big")
    else:
        digits = field.replace(b"\0", b" ").strip()
        if digits and (not digits.isdigit() or digits.translate(None, b"01234567")):
            raise damaged(f"the {what} in a header is no number")
        value = int(digits or b"0", 8)
    if value >= 1 << 53:
        raise damaged(f"the {what} in a header is out of range")
    return value


def _decimal(text: bytes, what: str) -> int:
    if not text.isdigit() or len(text) > 15:
        raise damaged(f"the {what} in an extended header is no number")
    return int(text)


def _records(data: bytes) -> dict[str, bytes]:
    """Return the records of an extended header, ``<length> <key>=<value>`` each, that say something to us."""
    found: dict[str, bytes] = {}
    begin = 0
    while begin < len(data):
        length_text, space, _ = data[begin : begin + 7].partition(b" ")
        if not space or not length_text.isdigit():
            raise damaged("an extended header is not in its form")
        length = int(length_text)
        if length <= len(length_text):
            raise damaged("an extended header is not in its form")
        record = data[begin : begin + length]
        begin += length
        key, equals, value = record[len(length_text) + 1 :].partition(b"=")
        if len(record) < length or not equals or not value.endswith(b"\n"):
            raise damaged("an extended header is not in its form")
        if key.startswith(b"GNU.sparse"):
            raise damaged("it holds a sparse file")
        if key in (b"path", b"size", b"mtime", b"linkpath"):
            found[key.decode()] = value[:-1]
    return found


def _mtime(header: bytes, said: dict[str, bytes]) -> int | None:
    if "mtime" in said:
        seconds = said["mtime"].split(b".")[0]
        return int(seconds) if seconds.isdigit() and len(seconds) < 11 else None
    value = _number(header[136:148], "time")
    return value if value < 1 << 33 else None
