"""Bundles on their way: what the server sends on streams that we asked for, bounded, and nothing else.

Pure bookkeeping of one connection: events in, a finished download out. A stream that nobody asked for is refused, and
so is one that grows beyond a bundle's bound; what arrives is believed by nobody until its digest has been checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from protocol.errors import ProtocolError, TooLargeError
from protocol.limits import MAX_BUNDLE_BYTES

PURPOSE = "bundle"
_MAX_PACKED_BYTES: Final = 2 * MAX_BUNDLE_BYTES  # as protocol.bundle packs: the files, and their paths around them


@dataclass(slots=True)
class Download:
    """One bundle under way."""

    digest: str
    packed: bytearray = field(default_factory=bytearray)
    stream: int | None = None  # None until the server opened it
    is_finished: bool = False


class Downloads:
    """The downloads of one connection."""

    def __init__(self) -> None:
        self._by_digest: dict[str, Download] = {}
        self._by_stream: dict[int, Download] = {}

    def expect(self, digest: str, beginning: bytes = b"") -> Download:
        """Accept the next stream that carries ``digest``, or what follows on ``beginning``.

        Raises:
            ProtocolError: It is under way already; the caller should have joined that one.
        """
        if digest in self._by_digest:
            raise ProtocolError(f"{digest} is being fetched already")
        download = Download(digest, bytearray(beginning))
        self._by_digest[digest] = download
        return download

    def forget(self, digest: str) -> tuple[int | None, bytes]:
        """Give a download up; returns its stream if the server still owns one, and what has arrived of it so far."""
        download = self._by_digest.pop(digest, None)
        if download is None:
            return None, b""
        if download.stream is not None:
            self._by_stream.pop(download.stream, None)
        if download.is_finished:
            return None, b""
        return download.stream, bytes(download.packed)

    def opened(self, stream: int, purpose: str, header: Mapping[str, Any]) -> bool:
        """A stream was opened; False if nobody asked for it."""
        digest = header.get("digest")
        download = self._by_digest.get(digest) if purpose == PURPOSE and isinstance(digest, str) else None
        if download is None or download.stream is not None:
            return False
        if header.get("offset", 0) != len(download.packed):  # it would be put where it does not belong
            return False
        download.stream = stream
        self._by_stream[stream] = download
        return True

    def arrived(self, stream: int, data: bytes) -> bool:
        """Bytes arrived on a stream; False if it is none of ours.

        Raises:
            TooLargeError: That is more than a packed bundle can be.
        """
        download = self._by_stream.get(stream)
        if download is None:
            return False
        if len(download.packed) + len(data) > _MAX_PACKED_BYTES:
            raise TooLargeError(f"{download.digest} is larger than a bundle may be ({_MAX_PACKED_BYTES} bytes packed)")
        download.packed += data
        return True

    def finished(self, stream: int) -> Download | None:
        """The server has sent all of it."""
        download = self._by_stream.pop(stream, None)
        if download is not None:
            download.is_finished = True
        return download

    def reset(self, stream: int) -> Download | None:
        """The server gave up on it."""
        return self._by_stream.pop(stream, None)
