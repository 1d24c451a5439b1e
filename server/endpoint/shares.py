"""What of an agent's link people may use for what they ask of it: the rest is the server's own.

A link has room for so many requests that are not answered yet, and for so many streams. A call of a session is answered
when it is done, which may be hours later. So whoever has a session on a host could have as many under way as there is
room for, and then no freeze, no withdrawal and no end of a session would reach it. No I/O.
"""

from __future__ import annotations

from weakref import WeakSet

from protocol.errors import RateError, UnavailableError
from protocol.pipes import Pipe
from server import limits


class Shares:
    """Those of one link."""

    def __init__(self) -> None:
        self._asked: dict[int, str] = {}  # requests that are not answered: for whom
        self._pipes: dict[str, WeakSet[Pipe]] = {}  # by person

    def __len__(self) -> int:
        return len(self._asked)

    def require_room(self, whose: str) -> None:
        """Return if one more request may be made for a person.

        Raises:
            RateError: As many of theirs are not answered as may be.
            UnavailableError: As many of all people's.
        """
        of_one = sum(each == whose for each in self._asked.values())
        if of_one >= limits.MAX_ASKED_OF_ONE:
            raise RateError(f"{of_one} requests of {whose} wait for the answer of this host")
        if len(self._asked) >= limits.MAX_ASKED_OF_PEOPLE:
            raise UnavailableError(f"{len(self._asked)} requests of people wait for the answer of this host")

    def asked(self, number: int, whose: str) -> None:
        """A request was made for a person; it counts until it is answered, however long anybody waits for that."""
        self._asked[number] = whose

    def answered(self, number: int) -> None:
        """A request was answered; of no effect for the server's own."""
        self._asked.pop(number, None)

    def require_pipe(self, whose: str) -> None:
        """Return if one more pipe may be opened for a person; RateError if they have as many as they may."""
        self._pipes = {each: pipes for each, pipes in self._pipes.items() if any(pipe.is_open for pipe in pipes)}
        open_now = sum(pipe.is_open for pipe in self._pipes.get(whose, ()))
        if open_now >= limits.MAX_PIPES_OF_ONE:
            raise RateError(f"{open_now} streams of {whose} are open to this host")

    def opened(self, pipe: Pipe, whose: str) -> None:
        """A pipe was opened for a person; it counts as long as it is open."""
        self._pipes.setdefault(whose, WeakSet()).add(pipe)
