"""The libraries that a script pins in ``requires``, each proved as a script is: digest, author, approvals, withdrawals.

- A library brings no permission. It runs inside the script that requires it, under that script's policy; the digest
  that pins it is part of what the script's reviewers approved.
- Its name must be the one that its author was proved to hold, or a manifest could call anything ``lib/rates``.
- What is pinned and written in another language is no library here; it can only be called (``script.call``).
- How many there are, with all that they require themselves, and how large they are together is bounded.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from agent.cache import Entry
from protocol.errors import TooLargeError, TrustError
from protocol.limits import MAX_BUNDLE_BYTES
from protocol.manifest import Manifest
from protocol.trust import Authorised
from sandbox.modules import Libraries, Library

MAX_LIBRARIES: Final = 32  # of one script, all together; chosen without measurement

Prove = Callable[[str], Awaitable[tuple[Entry, Authorised]]]


@dataclass(frozen=True, slots=True)
class Gathered:
    """What a script requires, proved."""

    libraries: Libraries = field(default_factory=Libraries)
    entries: dict[str, Entry] = field(default_factory=dict)  # by digest: libraries, and scripts that it may call


async def gather(entry: Entry, prove: Prove) -> Gathered:
    """Return everything that the script in ``entry`` requires, directly or not.

    Args:
        entry: Of the script, proved.
        prove: Returns the entry of a digest and what is proved about it.

    Raises:
        TrustError: One of them is not proved, or ``mix_and_match``: it has another name than the manifest says.
        TooLargeError: Too many, or too large together.
        OutriderError: What ``prove`` raises, such as NotConnectedError.
    """
    manifest = entry.bundle.manifest
    if not manifest.requires:
        return Gathered()
    held: dict[str, Library] = {}
    entries: dict[str, Entry] = {}
    size_bytes = _size(entry)
    waiting = list(manifest.requires)
    while waiting:
        wanted = waiting.pop()
        if wanted.digest not in entries:
            if len(entries) >= MAX_LIBRARIES:
                raise TooLargeError(f"{manifest.name} requires more than {MAX_LIBRARIES} bundles")
            found, _ = await prove(wanted.digest)
            entries[wanted.digest] = found
            inner = found.bundle.manifest
            if family(inner.language) == family(manifest.language):
                size_bytes += _size(found)
                if size_bytes > MAX_BUNDLE_BYTES:
                    raise TooLargeError(f"{manifest.name} and its libraries have over {MAX_BUNDLE_BYTES} bytes")
                held[wanted.digest] = Library(inner.name, inner.main, found.bundle.files, pins(inner))
                waiting += inner.requires
        told = entries[wanted.digest].bundle.manifest.name
        if told != wanted.name:
            raise TrustError(
                f"{manifest.name} requires {wanted.name} with the digest of {told}", reason="mix_and_match"
            )
    return Gathered(Libraries(pins(manifest), held), entries)


def pins(manifest: Manifest) -> dict[str, str]:
    """Return what a manifest requires, name to digest."""
    return {item.name: item.digest for item in manifest.requires}


def family(language: str) -> str:
    """Return what a library must share with its script: ``lua`` and ``luajit`` run the same source."""
    return "lua" if language == "luajit" else language


def _size(entry: Entry) -> int:
    return sum(len(content) for content in entry.bundle.files.values())
