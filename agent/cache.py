"""Bundles on disk, by digest, each with the statements about it: what lets schedules run without a server.

- Nothing from the disk is believed: its digest is computed from the files on every use, and whether it may run is
  decided on every run from its signatures (:mod:`agent.trusting`). A damaged entry counts as absent.
- Entries are written whole or not at all. There are at most ``max_bundles`` of ``max_bytes`` together; the least
  recently used go first, but never one that a schedule needs, nor what that requires.
- A few parsed bundles are kept in memory, because parsing a manifest costs more than all the hashes.
"""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agent import limits
from agent.files import read_bounded, write_durably
from agent.logs import LOG
from protocol.bundle import Bundle
from protocol.errors import ArgumentError, NotFoundError, OutriderError, TooLargeError, UnavailableError
from protocol.frames import decode, encode
from protocol.limits import MAX_BUNDLE_BYTES
from protocol.signing import Envelope

_DIGEST: Final = re.compile(r"sha256:([0-9a-f]{64})")
_MAX_ENTRY_BYTES: Final = 2 * MAX_BUNDLE_BYTES + limits.MAX_STATEMENTS_BYTES


@dataclass(frozen=True, slots=True)
class Entry:
    """A bundle that has its digest, and what people signed about it, which is not proved yet."""

    bundle: Bundle
    publication: Envelope
    approvals: tuple[Envelope, ...]


def make_entry(digest: str, packed: bytes, publication: Any, approvals: Sequence[Any]) -> Entry:
    """Return the entry that the server's bytes make, if the bundle has ``digest``.

    Raises:
        TrustError: ``wrong_digest``, or a statement is malformed.
        ArgumentError: The bundle or its manifest is wrong.
        ProtocolError: Not a packed bundle.
        TooLargeError: More than the bounds allow.
    """
    if len(approvals) > limits.MAX_APPROVALS:
        raise TooLargeError(f"{digest} came with more than {limits.MAX_APPROVALS} approvals")
    bundle = Bundle.unpack(packed)
    bundle.verify(digest)
    return Entry(bundle, _envelope(publication), tuple(_envelope(approval) for approval in approvals))


class Cache:
    """The bundles of one agent.

    Args:
        directory: Exists, and only the agent's user writes in it.
        max_bundles: On disk.
        max_bytes: On disk, all of them; what must stay stays beyond it.
    """

    def __init__(
        self,
        directory: Path,
        *,
        max_bundles: int = limits.CACHE_MAX_BUNDLES,
        max_bytes: int = limits.DEFAULT_CACHE_MAX_BYTES,
    ) -> None:
        self._directory = directory
        self._max_bundles = max_bundles
        self._max_bytes = max_bytes
        self._parsed: OrderedDict[str, Entry] = OrderedDict()  # least recently used first

    def get(self, digest: str) -> Entry | None:
        """Return the entry of ``digest`` after checking that its files have it; None if there is no good one."""
        known = self._parsed.get(digest)
        if known is not None:
            # A new object, so that the digest is computed from what will run and not remembered.
            if Bundle(known.bundle.files, known.bundle.manifest).digest == digest:
                self._parsed.move_to_end(digest)
                return known
            LOG.error("the bundle %s has changed in memory", digest)
            del self._parsed[digest]
        path = self._path(digest)
        try:
            entry = _read(digest, read_bounded(path, _MAX_ENTRY_BYTES))
            os.utime(path)  # used now: not the next to go
        except NotFoundError:
            return None
        except (OutriderError, OSError) as error:
            LOG.error("the cached bundle %s cannot be used: %s", digest, error)
            return None
        self._remember(digest, entry)
        return entry

    def put(self, digest: str, entry: Entry, keep: Collection[str] = ()) -> None:
        """Keep an entry, in the place of an older one of the same digest.

        Args:
            digest: Of the bundle, checked.
            entry: From :func:`make_entry`.
            keep: Digests that must stay, whatever their age.

        Raises:
            TooLargeError: The statements are larger than their bound.
            UnavailableError: The disk refuses.
        """
        statements = [entry.publication.to_plain(), [item.to_plain() for item in entry.approvals]]
        if len(encode(statements)) > limits.MAX_STATEMENTS_BYTES:
            raise TooLargeError(f"the statements about {digest} are over {limits.MAX_STATEMENTS_BYTES} bytes")
        content = encode([entry.bundle.pack(), *statements], max_bytes=_MAX_ENTRY_BYTES)
        write_durably(self._path(digest), content)
        self._remember(digest, entry)
        self._make_room({digest, *keep})

    def _remember(self, digest: str, entry: Entry) -> None:
        self._parsed[digest] = entry
        self._parsed.move_to_end(digest)
        while len(self._parsed) > limits.CACHED_BUNDLES_IN_MEMORY:
            self._parsed.popitem(last=False)

    def _make_room(self, keep: Collection[str]) -> None:
        try:
            with os.scandir(self._directory) as found:
                held = {item.name: item.stat(follow_symlinks=False) for item in found}
            kept = {self._path(digest).name for digest in keep}
            count, size_bytes = len(held), sum(status.st_size for status in held.values())
            for name in sorted(held.keys() - kept, key=lambda name: held[name].st_mtime_ns):
                if count <= self._max_bundles and size_bytes <= self._max_bytes:
                    break
                (self._directory / name).unlink()
                self._parsed.pop(f"sha256:{name.removesuffix('.bundle')}", None)
                count, size_bytes = count - 1, size_bytes - held[name].st_size
        except OSError as error:  # too many bundles are no reason to run none
            LOG.warning("the cache could not be tidied: %s", error)

    def _path(self, digest: str) -> Path:
        match = _DIGEST.fullmatch(digest)
        if match is None:
            raise ArgumentError("not a digest (sha256: and 64 hexadecimal digits)", parameter="digest")
        return self._directory / f"{match[1]}.bundle"


def _read(digest: str, content: bytes) -> Entry:
    value = decode(content, max_bytes=_MAX_ENTRY_BYTES)
    if type(value) is not list or len(value) != 3 or type(value[0]) is not bytes or type(value[2]) is not list:
        raise UnavailableError("the entry is damaged")
    return make_entry(digest, value[0], value[1], value[2])


def _envelope(value: Any) -> Envelope:
    if not isinstance(value, Mapping):
        raise ArgumentError("a statement about a bundle must be an envelope", parameter="publication")
    return Envelope.from_json(value)
