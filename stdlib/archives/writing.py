"""Writes an archive of what is held open, entry by entry, into whatever takes bytes.

Names are the real paths without their first slash. A file is as long in the archive as it was when it was opened; one
that becomes shorter meanwhile ends the archive. Links are kept as links and not followed.
"""

from __future__ import annotations

import io
import os
import stat
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable
from typing import Final, Literal, Protocol

from protocol.errors import ArgumentError, ConflictError
from stdlib.archives.entries import PIECE_BYTES

Format = Literal["tar.gz", "zip"]
_EARLIEST: Final = 315532800  # 1980-01-01, before which a zip archive knows no time


class Archive(Protocol):
    """An archive being written; what is left without its end is no archive."""

    def add_directory(self, name: str, status: os.stat_result) -> None:
        """Add a directory itself."""

    def add_link(self, name: str, status: os.stat_result, target: str) -> None:
        """Add a symlink."""

    def add_file(self, name: str, status: os.stat_result, fd: int) -> None:
        """Add an open regular file, from its start."""

    def finish(self) -> None:
        """Write the end."""

    def abandon(self) -> None:
        """Write no end: nobody wants it any more."""


def archive(kind: Format, write: Callable[[bytes], None], is_over: Callable[[], None]) -> Archive:
    """Return a new archive.

    Args:
        kind: Its format.
        write: Takes its bytes.
        is_over: Called now and then; raises if nobody waits for it any more.
    """
    return _Tar(write, is_over) if kind == "tar.gz" else _Zip(write, is_over)


class _Sink(io.RawIOBase):
    """A file that hands on what is written to it."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._position = 0

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload]  # anything that holds bytes
        self._write(piece)
        self._position += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._position


class _Reading:
    """A regular file from its start to the length that it had when it was opened; reads are never short before it."""

    def __init__(self, fd: int, size: int, name: str, is_over: Callable[[], None]) -> None:
        self._fd, self._size, self._name, self._is_over = fd, size, name, is_over
        self._position = 0

    def read(self, size: int = -1) -> bytes:
        self._is_over()
        left = self._size - self._position
        wanted = left if size < 0 else min(size, left)
        data = b""
        while len(data) < wanted:
            piece = os.pread(self._fd, wanted - len(data), self._position)
            if not piece:
                raise ConflictError(f"/{self._name} has become shorter while it was read")
            self._position += len(piece)
            data += piece
        return data


class _Tar:
    def __init__(self, write: Callable[[bytes], None], is_over: Callable[[], None]) -> None:
        self._write, self._is_over = write, is_over
        self._deflate = zlib.compressobj(wbits=31)  # gzip, at the usual level; tarfile's own is the slowest
        self._tar = tarfile.TarFile(
            None, "w", _Sink(self._compressed), format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape",
            copybufsize=PIECE_BYTES,
        )  # fmt: skip

    def _compressed(self, piece: bytes) -> None:
        data = self._deflate.compress(piece)
        if data:
            self._write(data)

    def _info(self, name: str, status: os.stat_result, kind: bytes) -> tarfile.TarInfo:
        self._is_over()
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.mtime = kind, stat.S_IMODE(status.st_mode), int(status.st_mtime)
        info.uid, info.gid = status.st_uid, status.st_gid
        return info

    def add_directory(self, name: str, status: os.stat_result) -> None:
        self._tar.addfile(self._info(name, status, tarfile.DIRTYPE))

    def add_link(self, name: str, status: os.stat_result, target: str) -> None:
        info = self._info(name, status, tarfile.SYMTYPE)
        info.linkname = target
        self._tar.addfile(info)

    def add_file(self, name: str, status: os.stat_result, fd: int) -> None:
        info = self._info(name, status, tarfile.REGTYPE)
        info.size = status.st_size
        self._tar.addfile(info, _Reading(fd, status.st_size, name, self._is_over))

    def finish(self) -> None:
        self._tar.close()
        self._write(self._deflate.flush())

    def abandon(self) -> None:
        self._tar.closed = True  # type: ignore[attr-defined]  # which is how it says that it needs no end


class _Zip:
    def __init__(self, write: Callable[[bytes], None], is_over: Callable[[], None]) -> None:
        self._is_over = is_over
        self._zip = zipfile.ZipFile(_Sink(write), "w", zipfile.ZIP_DEFLATED)

    def _info(self, name: str, status: os.stat_result) -> zipfile.ZipInfo:
        self._is_over()
        try:
            name.encode("utf-8")
        except UnicodeEncodeError:
            raise ArgumentError(f"/{name!a} is no name for a zip archive: it is not UTF-8") from None
        moment = time.gmtime(max(status.st_mtime, _EARLIEST))
        info = zipfile.ZipInfo(name, moment[:6])
        info.external_attr = status.st_mode << 16
        info.create_system = 3
        info.compress_type = zipfile.ZIP_DEFLATED
        return info

    def add_directory(self, name: str, status: os.stat_result) -> None:
        self._zip.writestr(self._info(f"{name}/", status), b"", zipfile.ZIP_STORED)

    def add_link(self, name: str, status: os.stat_result, target: str) -> None:
        self._zip.writestr(self._info(name, status), os.fsencode(target), zipfile.ZIP_STORED)

    def add_file(self, name: str, status: os.stat_result, fd: int) -> None:
        info = self._info(name, status)
        info.file_size = status.st_size
        source = _Reading(fd, status.st_size, name, self._is_over)
        with self._zip.open(info, "w", force_zip64=status.st_size > 1 << 31) as target:
            while data := source.read(PIECE_BYTES):
                target.write(data)

    def finish(self) -> None:
        self._zip.close()

    def abandon(self) -> None:
        self._zip.fp = None  # else it writes its end when it is collected
