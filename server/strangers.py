"""Connections on which nobody has shown yet who they are: bounded for each address and in all, and the oldest goes.

Who connects can hold a descriptor and the beginning of a request without a token, a thousand times over. One more than
there may be ends the oldest of its address, or of all: who has something to ask asks at once, so honest callers stay
while somebody floods. On which of them somebody is known is only looked at then. Who is known is bounded by what each
person holds. No I/O.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
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


class OfPeople(ABC):
    """Connections of people who are known, of each so much at once; the oldest of somebody who has more goes.

    The last one of a person stays, however much it is.
    """

    def __init__(self) -> None:
        self._of: dict[Hashable, dict[Connection, int]] = {}  # by person, oldest first: how much each counts for
        self._whose: dict[Connection, Hashable] = {}
        self._total: dict[Hashable, int] = {}  # by person

    def __len__(self) -> int:
        return len(self._whose)

    @property
    @abstractmethod
    def most(self) -> int:
        """How much all of one person may count for together."""

    def add(self, connection: Connection, whose: Hashable, size: int = 1) -> None:
        """One is to be counted from now on, for ``size``; as the newest, if it was already."""
        self.forget(connection)
        theirs = self._of.setdefault(whose, {})
        theirs[connection] = size
        self._whose[connection] = whose
        self._total[whose] = self._total.get(whose, 0) + size
        while len(theirs) > 1 and self._total[whose] > self.most:
            oldest = next(iter(theirs))
            self.forget(oldest)
            oldest.end()

    def forget(self, connection: Connection) -> None:
        """It is over, or counts for nothing now."""
        whose = self._whose.pop(connection, None)
        if whose is not None:
            theirs = self._of[whose]
            self._total[whose] -= theirs.pop(connection)
            if not theirs:
                del self._of[whose], self._total[whose]


class Resting(OfPeople):
    """Those on which nothing is asked now: what was asked is answered."""

    @property
    def most(self) -> int:
        """Connections."""
        return limits.MAX_RESTING_OF_ONE


class Unread(OfPeople):
    """Those whose answer is not read: bytes that wait.

    An answer is in memory until it is read, and may have megabytes: a bundle, a page of records.
    """

    @property
    def most(self) -> int:
        """Bytes."""
        return limits.MAX_UNREAD_BYTES_OF_ONE


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
