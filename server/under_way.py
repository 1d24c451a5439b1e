"""What is under way for each person, counted: requests that are answered, bodies that come, records that are followed.

Each holds a descriptor and some hundred kilobytes for as long as who asked likes, and whoever follows is looked for
with every record that comes. So a token that opens no more than looking could use up what the server may have open,
and then no host and nobody else comes in, or have it do nothing but look. No I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from protocol.errors import RateError
from server import limits


class UnderWay:
    """One kind of it, on one server.

    Args:
        what: In the plural.
        most: Tells how many of one person there may be at once, 1 or more.
    """

    def __init__(self, what: str, most: Callable[[], int]) -> None:
        self._what = what
        self._most = most
        self._of: dict[str, int] = {}  # by principal

    def require_room(self, principal: str) -> None:
        """Return if one more of a person's may begin.

        Raises:
            RateError: They have as many as they may.
        """
        count = self._of.get(principal, 0)
        if count >= self._most():
            raise RateError(f"{count} {self._what} of {principal} are under way; end some of them, such as record tail")

    def enter(self, principal: str) -> None:
        """One more of a person's begins; raises as :meth:`require_room`, and nothing is counted then."""
        self.require_room(principal)
        self._of[principal] = self._of.get(principal, 0) + 1

    def leave(self, principal: str) -> None:
        """One of theirs is over."""
        count = self._of.pop(principal) - 1
        if count:
            self._of[principal] = count

    @contextmanager
    def held(self, principal: str) -> Iterator[None]:
        """Count one while what is inside goes on; raises as :meth:`require_room`."""
        self.enter(principal)
        try:
            yield
        finally:
            self.leave(principal)


class HeldBytes:
    """Bytes of bodies that are held in memory until they are whole, counted for each person."""

    def __init__(self) -> None:
        self._of: dict[str, int] = {}  # by principal

    def __len__(self) -> int:
        return len(self._of)

    def held(self, principal: str) -> int:
        """Return how many bytes are held of a person's."""
        return self._of.get(principal, 0)

    def take(self, principal: str, size: int) -> None:
        """So many bytes more of a person's came.

        Raises:
            RateError: It is more than may be held of theirs; nothing is counted then.
        """
        held = self._of.get(principal, 0) + size
        if held > limits.MAX_BODY_BYTES_OF_ONE:
            raise RateError(
                f"the requests of {principal} that are coming in are over {limits.MAX_BODY_BYTES_OF_ONE} bytes"
            )
        self._of[principal] = held

    def give_back(self, principal: str, size: int) -> None:
        """A request of theirs is over, of which so many bytes were counted."""
        left = self._of.get(principal, 0) - size
        if left > 0:
            self._of[principal] = left
        else:
            self._of.pop(principal, None)
