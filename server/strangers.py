"""Connections on which nobody has shown yet who they are: bounded for each address and in all, and the oldest goes.

Who connects can hold a descriptor and the beginning of a request without a token, a thousand times over. One more than
there may be ends the oldest of its address, or of all: who has something to ask asks at once, so honest callers stay
while somebody floods. On which of them somebody is known is only looked at then. No I/O.
"""

from __future__ import annotations

from collections.abc import Hashable
from ipaddress import IPv6Address, ip_address
from typing import Protocol

from server import limits

_HOST_BITS = 64  # of an IPv6 address: whoever has one has as many as these can say


class Connection(Protocol):
    """One connection."""

    @property
    def is_known(self) -> bool:
        """Whether the caller has proved who they are."""

    def end(self) -> None:
        """Let it go."""


class Resting:
    """Connections of people who are known, on which nothing is asked now: so many of each, and the oldest goes."""

    def __init__(self) -> None:
        self._of: dict[Hashable, dict[Connection, None]] = {}  # by person, oldest first
        self._whose: dict[Connection, Hashable] = {}

    def __len__(self) -> int:
        return len(self._whose)

    def add(self, connection: Connection, whose: Hashable) -> None:
        """What was asked on one is answered."""
        self.forget(connection)
        theirs = self._of.setdefault(whose, {})
        theirs[connection] = None
        self._whose[connection] = whose
        if len(theirs) > limits.MAX_RESTING_OF_ONE:
            oldest = next(iter(theirs))
            self.forget(oldest)
            oldest.end()

    def forget(self, connection: Connection) -> None:
        """Something is asked on one, or it is over."""
        whose = self._whose.pop(connection, None)
        if whose is not None:
            theirs = self._of[whose]
            del theirs[connection]
            if not theirs:
                del self._of[whose]


class Unread:
    """Answers that people who are known do not read: so many bytes of each person, and who has waited longest goes.

    An answer is in memory until it is read, and may have megabytes: a bundle, a page of records.
    """

    def __init__(self) -> None:
        self._of: dict[Hashable, dict[Connection, int]] = {}  # by person, the longest unread first: bytes
        self._whose: dict[Connection, Hashable] = {}

    def __len__(self) -> int:
        return len(self._whose)

    def add(self, connection: Connection, whose: Hashable, size: int) -> None:
        """What was sent on one waits to be read, ``size`` bytes of it."""
        self.forget(connection)
        theirs = self._of.setdefault(whose, {})
        theirs[connection] = size
        self._whose[connection] = whose
        while len(theirs) > 1 and sum(theirs.values()) > limits.MAX_UNREAD_BYTES_OF_ONE:
            oldest = next(iter(theirs))
            self.forget(oldest)
            oldest.end()

    def forget(self, connection: Connection) -> None:
        """It was read, or the connection is over."""
        whose = self._whose.pop(connection, None)
        if whose is not None:
            theirs = self._of[whose]
            del theirs[connection]
            if not theirs:
                del self._of[whose]


class Strangers:
    """Those of one server."""

    def __init__(self) -> None:
        self.unread = Unread()  # of who is no stranger any more
        self.resting = Resting()  # who is no stranger any more
        self._all: dict[Connection, Hashable] = {}  # oldest first, each with where it is from
        self._of: dict[Hashable, dict[Connection, None]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def came(self, connection: Connection, address: str) -> None:
        """A connection was opened.

        Args:
            connection: Not known yet.
            address: The peer's, as the kernel tells it; whatever is none counts as one of its own.
        """
        place = place_of(address)
        self._all[connection] = place
        here = self._of.setdefault(place, {})
        here[connection] = None
        self._bound(here, limits.MAX_STRANGERS_OF_ONE)
        self._bound(self._all, limits.MAX_STRANGERS)

    def forget(self, connection: Connection) -> None:
        """It is over, or bounded by others from now on."""
        place = self._all.pop(connection, None)
        if place is not None:
            here = self._of[place]
            del here[connection]
            if not here:
                del self._of[place]

    def _bound(self, listed: dict[Connection, object] | dict[Connection, None], most: int) -> None:
        while len(listed) > most:
            oldest = next(iter(listed))
            is_known = oldest.is_known
            self.forget(oldest)
            if not is_known:
                oldest.end()


def place_of(address: str) -> Hashable:
    """Return what stands for all addresses that somebody with this one has: of IPv6, those of its network."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, IPv6Address) and found.ipv4_mapped is None:
        return int(found) >> _HOST_BITS
    return str(found)
