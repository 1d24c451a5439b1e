"""What is under way for each person, counted: requests that are answered, bodies that come, records that are followed.

Each holds a descriptor and some hundred kilobytes for as long as who asked likes, and whoever follows is looked for
with every record that comes. So a token that opens no more than looking could use up what the server may have open,
and then no host and nobody else comes in, or have it do nothing but look. No I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

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


@dataclass(frozen=True, slots=True)
class Stranger:
    """Whoever sends without a token, from one place in the network (:func:`server.strangers.place_of`)."""

    place: Hashable


Sender = str | Stranger
"""Whose a body is: a principal, or a stranger."""
_STRANGERS: Final = Stranger(None)  # all of them


class HeldBytes:
    """Bytes of bodies that are held in memory until they are whole: of each sender, of all strangers, of all people.

    However much the others hold, a person's first ``MAX_BODY_BYTES`` come in: many tokens of some keep nobody out.
    """

    def __init__(self) -> None:
        self._of: dict[Sender, int] = {}
        self._of_people = 0

    def __len__(self) -> int:
        return len(self._of)

    def held(self, sender: Sender) -> int:
        """Return how many bytes are held of somebody's."""
        return self._of.get(sender, 0)

    def take(self, sender: Sender, size: int) -> None:
        """So many bytes more of somebody's came.

        Raises:
            RateError: It is more than may be held of theirs, of all strangers' or of all people's; nothing is counted
                then.
        """
        if isinstance(sender, Stranger):
            mine = self._room(sender, size, limits.MAX_BODY_BYTES_OF_STRANGER, "strangers at your address")
            every = self._room(_STRANGERS, size, limits.MAX_BODY_BYTES_OF_STRANGERS, "strangers")
            self._of[sender], self._of[_STRANGERS] = mine, every
        else:
            mine, every = self._room(sender, size, limits.MAX_BODY_BYTES_OF_ONE, sender), self._of_people + size
            if every > limits.MAX_BODY_BYTES_OF_PEOPLE and mine > limits.MAX_BODY_BYTES:
                raise _over("all people", limits.MAX_BODY_BYTES_OF_PEOPLE)
            self._of[sender], self._of_people = mine, every

    def _room(self, sender: Sender, size: int, most: int, whose: str) -> int:
        held = self._of.get(sender, 0) + size
        if held > most:
            raise _over(whose, most)
        return held

    def give_back(self, sender: Sender, size: int) -> None:
        """A request of theirs is over, of which so many bytes were counted."""
        self._less(sender, size)
        if isinstance(sender, Stranger):
            self._less(_STRANGERS, size)
        else:
            self._of_people -= size

    def _less(self, sender: Sender, size: int) -> None:
        left = self._of.get(sender, 0) - size
        if left > 0:
            self._of[sender] = left
        else:
            self._of.pop(sender, None)


def _over(whose: str, most: int) -> RateError:
    return RateError(f"the requests of {whose} that are coming in are over {most} bytes")
