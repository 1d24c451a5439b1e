"""Reads a zip archive (APPNOTE 6.3.10), strictly: stored and deflated entries of one file, by its central directory.

The directory is read entry by entry; sizes and checksums of it are held against what comes out, and names against those
in front of the content, so that two readers cannot see two archives in one. Encrypted entries, links, archives in parts
and content that lies in two entries at once are refused.
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from protocol.errors import TooLargeError
from stdlib.archives.entries import PERMISSIONS, PIECE_BYTES, Allowance, Entry, ReadAt, damaged

_END: Final = struct.Struct("<4s4H2LH")  # 4.3.16
_END64: Final = struct.Struct("<4sQ2H2L4Q")  # 4.3.14
_LOCATOR64: Final = struct.Struct("<4sLQL")  # 4.3.15
_ITEM: Final = struct.Struct("<4s6H3L5H2L")  # 4.3.12
_LOCAL: Final = struct.Struct("<4s5H3L2H")  # 4.3.7
_MAX_COMMENT: Final = 0xFFFF
_IS_ENCRYPTED: Final = 0x0001 | 0x0040 | 0x2000
_UNIX: Final = 3  # version made by, 4.4.2
_STORED, _DEFLATED = 0, 8


@dataclass(frozen=True, slots=True)
class _Item:
    """One entry of the central directory."""

    name: bytes
    flags: int
    method: int
    checksum: int
    packed: int
    size: int
    mode: int
    mtime: int | None
    offset: int

    @property
    def shown(self) -> str:
        return ascii(self.name[:200].decode("utf-8", "backslashreplace"))


class ZipReader:
    """Entries of one archive.

    Args:
        read_at: Its bytes.
        size: How many.
        allowance: Of what comes out of it.
        most_entries: In its directory.
    """

    def __init__(self, read_at: ReadAt, size: int, allowance: Allowance, most_entries: int) -> None:
        self._read_at = read_at
        self._size = size
        self._allowance = allowance
        self._most = most_entries

    def entries(self) -> Iterator[Entry]:
        """Yield every entry; its content must be read before the next one is asked for.

        Raises:
            ArgumentError: It is damaged, or holds what is no plain file or directory.
            TooLargeError: It holds more than it may.
        """
        count, position, end = self._directory()
        if count > self._most:
            raise TooLargeError(f"the archive holds more than {self._most} entries (max_entries)")
        items = []
        for _ in range(count):
            item, position = self._item(position, end)
            items.append(item)
        if position != end:
            raise damaged("its directory is longer than it says")
        free_from = 0  # content lies behind one another; what overlaps is a bomb (Fifield, WOOT 2019)
        for item in sorted(items, key=lambda item: item.offset):
            begin = self._begin(item, end)
            if item.offset < free_from:
                raise damaged(f"{item.shown} overlaps another entry")
            free_from = begin + item.packed
            yield from self._entry(item, begin)

    def _entry(self, item: _Item, begin: int) -> Iterator[Entry]:
        is_directory = item.name.endswith(b"/")
        kind = stat.S_IFMT(item.mode)
        if kind and kind != (stat.S_IFDIR if is_directory else stat.S_IFREG):
            raise damaged(f"{item.shown} is a link or special; only files and directories are unpacked")
        if is_directory and item.size:
            raise damaged(f"{item.shown} is a directory with content")
        bits = item.mode & PERMISSIONS or (0o755 if is_directory else 0o644)
        content = self._content(item, begin)
        yield Entry(item.name, is_directory, bits, item.mtime, content)
        for _ in content:
            pass

    # the directory -----------------------------------------------------------------------------------------------

    def _directory(self) -> tuple[int, int, int]:
        """Return how many entries the directory has, where it begins and where it ends."""
        tail_size = min(self._size, _END.size + _MAX_COMMENT)
        tail = self._exactly(tail_size, self._size - tail_size)
        at = tail.rfind(b"PK\5\6")
        if at < 0 or len(tail) - at < _END.size:
            raise damaged("it is no zip archive, or cut off")
        _, disk, start_disk, here, count, size, offset, comment = _END.unpack_from(tail, at)
        end = self._size - tail_size + at
        if len(tail) - at - _END.size != comment:
            raise damaged("there is more behind its end")
        if 0xFFFF in (here, count) or 0xFFFFFFFF in (size, offset):
            disk, start_disk, here, count, size, offset, end = self._directory64(end)
        if disk or start_disk or here != count:
            raise damaged("it is one part of several")
        if offset + size != end:
            raise damaged("its directory is not where it says")
        return count, offset, end

    def _directory64(self, end: int) -> tuple[int, int, int, int, int, int, int]:
        if end < _LOCATOR64.size:
            raise damaged("its directory cannot be found")
        mark, _, place, _ = _LOCATOR64.unpack(self._exactly(_LOCATOR64.size, end - _LOCATOR64.size))
        if mark != b"PK\6\7" or place + _END64.size != end - _LOCATOR64.size:
            raise damaged("its directory cannot be found")
        mark, _, _, _, disk, start_disk, here, count, size, offset = _END64.unpack(self._exactly(_END64.size, place))
        if mark != b"PK\6\6":
            raise damaged("its directory cannot be found")
        return disk, start_disk, here, count, size, offset, place

    def _item(self, position: int, end: int) -> tuple[_Item, int]:
        """Return the entry of the directory at ``position``, and where the next one begins."""
        if position + _ITEM.size > end:
            raise damaged("its directory is cut off")
        (mark, made, _, flags, method, time, date, checksum, packed, size, name_size, extra_size, comment_size, disk,
         _, attributes, offset) = _ITEM.unpack(self._exactly(_ITEM.size, position))  # fmt: skip
        following = position + _ITEM.size + name_size + extra_size + comment_size
        if mark != b"PK\1\2" or following > end or disk not in (0, 0xFFFF):
            raise damaged("its directory is not in its form")
        name = self._exactly(name_size, position + _ITEM.size)
        extra = self._exactly(extra_size, position + _ITEM.size + name_size)
        wide = _wide(extra)
        if size == 0xFFFFFFFF:
            size = _next(wide)
        if packed == 0xFFFFFFFF:
            packed = _next(wide)
        if offset == 0xFFFFFFFF:
            offset = _next(wide)
        mode = attributes >> 16 if made >> 8 == _UNIX else 0
        item = _Item(name, flags, method, checksum, packed, size, mode, _moment(date, time), offset)
        if flags & _IS_ENCRYPTED:
            raise damaged(f"{item.shown} is encrypted")
        if method not in (_STORED, _DEFLATED):
            raise damaged(f"{item.shown} is compressed in the unknown way {method}")
        return item, following

    def _begin(self, item: _Item, end: int) -> int:
        """Return where the content of an entry begins."""
        if item.offset + _LOCAL.size > end:
            raise damaged(f"{item.shown} lies outside")
        mark, _, flags, method, _, _, _, _, _, name_size, extra_size = _LOCAL.unpack(
            self._exactly(_LOCAL.size, item.offset)
        )
        name = self._exactly(name_size, item.offset + _LOCAL.size)
        if mark != b"PK\3\4" or name != item.name or method != item.method or flags & _IS_ENCRYPTED:
            raise damaged(f"{item.shown} is another entry than the directory says")
        begin = item.offset + _LOCAL.size + name_size + extra_size
        if begin + item.packed > end:
            raise damaged(f"{item.shown} lies outside")
        return int(begin)

    # content -----------------------------------------------------------------------------------------------------

    def _content(self, item: _Item, begin: int) -> Iterator[bytes]:
        pieces = self._stored(item, begin) if item.method == _STORED else self._inflated(item, begin)
        checksum, size = 0, 0
        for piece in pieces:
            size += len(piece)
            if size > item.size:
                raise damaged(f"{item.shown} is larger than it says")
            self._allowance.spend(len(piece))
            checksum = zlib.crc32(piece, checksum)
            yield piece
        if (size, checksum) != (item.size, item.checksum):
            raise damaged(f"{item.shown} does not have its size or checksum")

    def _stored(self, item: _Item, begin: int) -> Iterator[bytes]:
        position, end = begin, begin + item.packed
        while position < end:
            piece = self._exactly(min(PIECE_BYTES, end - position), position)
            position += len(piece)
            yield piece

    def _inflated(self, item: _Item, begin: int) -> Iterator[bytes]:
        inflate = zlib.decompressobj(wbits=-15)
        try:
            for packed in self._stored(item, begin):
                if inflate.eof:
                    raise damaged(f"{item.shown}: there is more behind its content")
                data = packed
                while data and not inflate.eof:
                    yield inflate.decompress(data, PIECE_BYTES)
                    data = inflate.unconsumed_tail
            while not inflate.eof and (piece := inflate.decompress(b"", PIECE_BYTES)):
                yield piece
        except zlib.error as error:
            raise damaged(f"{item.shown}: the compression is broken ({error})") from None
        if not inflate.eof or inflate.unused_data:
            raise damaged(f"{item.shown}: the compression is cut off, or there is more behind it")

    def _exactly(self, size: int, position: int) -> bytes:
        data = self._read_at(size, position)
        if len(data) < size:
            raise damaged("it is cut off")
        return data


def _wide(extra: bytes) -> list[int]:
    """Return the 64-bit numbers of an entry (4.5.3), in order."""
    begin = 0
    while len(extra) - begin >= 4:
        kind, size = struct.unpack_from("<2H", extra, begin)
        begin += 4 + size
        if kind == 1:
            data = extra[begin - size : begin]
            return [value for (value,) in struct.iter_unpack("<Q", data[: len(data) // 8 * 8])]
    return []


def _next(wide: list[int]) -> int:
    if not wide or wide[0] >= 1 << 53:
        raise damaged("an entry of its directory has no size or place")
    return wide.pop(0)


def _moment(date: int, time: int) -> int | None:
    """Return a moment of MS-DOS (4.4.6) as seconds since 1970, as if it were UTC: the zone is not known."""
    try:
        moment = datetime(
            1980 + (date >> 9),
            date >> 5 & 15,
            date & 31,
            time >> 11,
            time >> 5 & 63,
            min(2 * (time & 31), 59),
            tzinfo=UTC,
        )
    except ValueError:
        return None
    return int(moment.timestamp())
