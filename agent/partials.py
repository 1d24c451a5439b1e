"""What arrived of bundles whose transfer broke off, so that the next attempt goes on there. In memory, bounded.

None of it is believed: a bundle is held against its digest when all of it is there. If what a server sent first and
what it sent later do not make the bundle together, the beginning is let go and all of it fetched once more, so a server
that lies costs one transfer and not more.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

MAX_PARTIALS: Final = 4  # bundles; a host fetches one or two at a time. Chosen without measurement.
MAX_BYTES: Final = 16 << 20  # of all of them: two of the largest bundles


class Partials:
    """The beginnings of bundles, by digest; the newest are kept."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, bytes] = OrderedDict()

    def keep(self, digest: str, beginning: bytes) -> None:
        """Keep what arrived of a bundle; nothing is not worth keeping."""
        if not beginning:
            return
        self._held[digest] = beginning
        self._held.move_to_end(digest)
        while len(self._held) > MAX_PARTIALS or sum(map(len, self._held.values())) > MAX_BYTES:
            self._held.popitem(last=False)

    def take(self, digest: str) -> bytes:
        """Return what is kept of a bundle and let it go; empty if nothing is."""
        return self._held.pop(digest, b"")
