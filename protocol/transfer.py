"""Moving many bytes over one stream of a link: which piece comes next, what has arrived, and whether it is all of it.

Without I/O. One end has a :class:`Sending`, the other a :class:`Receiving`; whoever owns the stream and the files feeds
them. Blobs go this way, and so can files of live sessions and bundles: nothing here knows what the bytes are.

- Content is addressed by its SHA-256. What has arrived is believed only when all of it is there and the hash matches.
- A transfer that broke off goes on where it ended: the receiver says how much it has, and hashes that first.
- A stream is opened by the side that wants something, in both directions. The sending side finishes after the last
  byte; a receiver that keeps the bytes finishes once they are durable, which is the receipt. A reset says why not.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from protocol import limits
from protocol.errors import ArgumentError, ConflictError, ProtocolError, TooLargeError, TrustError

PUT: Final = "blob.put"  # purpose of a stream on which the opener sends
GET: Final = "blob.get"  # purpose of a stream on which the opener receives
PREFIX: Final = "sha256:"
PIECE_BYTES: Final = 256 << 10  # read from a disk at once; a few frames
HASH_FORM: Final = r"(?:sha256:)?([0-9a-f]{64})"
HASH_TOLD: Final = "must be 64 lower-case hexadecimal digits, with or without sha256: before them"
_HASH: Final = re.compile(HASH_FORM)
_KEYS: Final = frozenset({"hash", "size", "offset"})


def blob_hash(text: str, *, parameter: str = "hash") -> str:
    """Return a blob's hash as it is written everywhere: ``sha256:`` and 64 lower-case hexadecimal digits.

    Raises:
        ArgumentError: It is none; the prefix may be missing, nothing else.
    """
    found = _HASH.fullmatch(text)
    if found is None:
        raise ArgumentError(f"{parameter}: {HASH_TOLD}", parameter=parameter)
    return PREFIX + found[1]


@dataclass(frozen=True, slots=True)
class Header:
    """What the opener of a stream says about the transfer on it."""

    hash: str
    size: int  # bytes of the whole
    offset: int  # bytes that the receiver has already

    @classmethod
    def parse(cls, header: Mapping[str, Any]) -> Header:
        """Return what the peer said.

        Raises:
            ArgumentError: It does not have its form.
        """
        if set(header) != _KEYS:
            raise ArgumentError(f"a transfer is opened with {', '.join(sorted(_KEYS))}", parameter="header")
        size, offset = header["size"], header["offset"]
        if type(header["hash"]) is not str or type(size) is not int or type(offset) is not int:
            raise ArgumentError("the opening of a transfer does not have its form", parameter="header")
        if not 0 <= offset <= size <= limits.MAX_BLOB_BYTES:
            raise ArgumentError(f"a transfer has 0 to {limits.MAX_BLOB_BYTES} bytes", parameter="size")
        return cls(blob_hash(header["hash"]), size, offset)

    def to_plain(self) -> dict[str, Any]:
        """Return it as it goes over the link."""
        return {"hash": self.hash, "size": self.size, "offset": self.offset}


class Receiving:
    """The receiving end of one transfer.

    Args:
        header: What was agreed.
        digest: A SHA-256 that has seen the first ``offset`` bytes.
    """

    def __init__(self, header: Header, digest: Any = None) -> None:
        if digest is None and header.offset:
            raise ArgumentError("what is there already must be hashed first", parameter="offset")
        self.header = header
        self.position = header.offset  # bytes that have arrived
        self._digest = hashlib.sha256() if digest is None else digest

    @property
    def is_whole(self) -> bool:
        """Whether every byte has arrived."""
        return self.position == self.header.size

    def take(self, data: bytes) -> None:
        """Account for the next bytes; write them at ``position`` as it was before.

        Raises:
            TooLargeError: That is more than was said; nothing of ``data`` is to be written.
        """
        if self.position + len(data) > self.header.size:
            raise TooLargeError(f"more arrived than the {self.header.size} bytes that were said")
        self._digest.update(data)
        self.position += len(data)

    def finish(self) -> None:
        """The sender has sent all of it; return if it is what it should be.

        Raises:
            ProtocolError: Bytes are missing; what is there is good for going on later.
            TrustError: ``wrong_digest``: it is something else, and to be thrown away.
        """
        if not self.is_whole:
            raise ProtocolError(f"only {self.position} of {self.header.size} bytes arrived")
        if PREFIX + self._digest.hexdigest() != self.header.hash:
            raise TrustError("what arrived does not have the hash that was said", reason="wrong_digest")


class Sending:
    """The sending end of one transfer: read what :meth:`wanted` says, feed it, and send what is :attr:`pending`."""

    def __init__(self, header: Header) -> None:
        self.header = header
        self.pending = memoryview(b"")  # was read and is not sent
        self._read = header.offset  # bytes that were read

    @property
    def is_done(self) -> bool:
        """Whether everything was sent, so that the stream is to be finished."""
        return not self.pending and self._read == self.header.size

    def wanted(self) -> tuple[int, int]:
        """Return at which place how many bytes are to be read next; none while some wait to be sent."""
        left = 0 if self.pending else min(PIECE_BYTES, self.header.size - self._read)
        return self._read, left

    def feed(self, data: bytes) -> None:
        """Take what was read.

        Raises:
            ConflictError: The file has become shorter.
        """
        _, most = self.wanted()
        if not 0 < len(data) <= most:
            raise ConflictError("the file has changed while it was sent")
        self._read += len(data)
        self.pending = memoryview(data)

    def sent(self, size: int) -> None:
        """Account for ``size`` bytes of what is pending."""
        self.pending = self.pending[size:]
