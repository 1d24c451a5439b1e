"""Who watches one terminal: how many may, how often they may come or speak, and what each is still to be told.

- Whoever does not read what they are told, or comes and speaks more than the others can be told of, is sent away or
  refused: one person must not make this server keep, or everybody hear, without end.
- What of the output each has is ``protocol.terminal.Audience``'s; who of them types is ``people.Party``'s.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from protocol.errors import OutriderError, RateError
from protocol.frames import encode
from server.allowance import Allowance
from server.sessions.people import Person

MAX_TEXTS: Final = 512  # messages that wait for one viewer; who is further behind is sent away
MAX_VIEWERS: Final = 64  # connections to one terminal: each is told of every other
MAX_VIEWERS_OF_ONE: Final = 8  # of one person among these
ACTS_OF_ONE: Final = 30  # of one person that all are told of, at once: coming, saying, marking, asking for the keyboard
ACTS_OF_ONE_PER_S: Final = 2.0  # and in the long run; who says more would drive out whoever reads slower than they talk
_TAKEN_STEP_BYTES: Final = 4096  # of what somebody typed, between two times that they are told how much was taken


@dataclass(eq=False)
class Viewer:
    """One connection that watches, and may type."""

    person: Person
    size: list[int] | None = None  # of their window, once they have told it
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    texts: deque[dict[str, Any]] = field(default_factory=deque)  # to be sent
    is_over: bool = False  # nothing more will come
    typed: int = 0  # bytes of theirs that went on to the agent, or were refused
    skipped: int = 0  # bytes that they were told they were not sent
    problem: OutriderError | None = None  # why they are sent away
    name: bytes = field(init=False)  # as it stands beside what they type
    sends: Callable[[], bool] | None = None  # sends at once what may go; returns whether nothing is left to send

    def __post_init__(self) -> None:
        self.name = encode(self.person.principal)

    def stir(self) -> None:
        """There is something for them: send it at once, or have it sent."""
        if self.sends is None or not self.sends():
            self.wake.set()

    def tell(self, message: dict[str, Any]) -> None:
        """Have a message sent."""
        if len(self.texts) >= MAX_TEXTS:
            self.problem = RateError("you do not read what you are told")
            self.is_over = True
        else:
            self.texts.append(message)
        self.stir()

    def taken(self, size: int) -> None:
        """Count bytes that they typed and nothing here holds any more; they are told now and then.

        That was refused counts as well: else who types while it is paused would have no room left when it goes on.
        """
        self.typed += size
        if self.typed // _TAKEN_STEP_BYTES != (self.typed - size) // _TAKEN_STEP_BYTES:
            self.tell({"type": "taken", "bytes": self.typed})


class Viewers:
    """All who watch one terminal."""

    def __init__(self) -> None:
        self.there: dict[str, Viewer] = {}  # by the id of their connection
        self._acts: dict[str, Allowance] = {}  # by person, as whoever comes again and again is still one

    def act(self, principal: str) -> None:
        """Count something that a person does of which all are told.

        Raises:
            RateError: They do too much of it.
        """
        if not self._acts.setdefault(principal, Allowance(ACTS_OF_ONE_PER_S, ACTS_OF_ONE)).take():
            raise RateError(f"{principal} does more here than the others can be told of")

    def admit(self, principal: str) -> None:
        """Return if one more connection of a person may come.

        Raises:
            RateError: They have too many, or come too often, or too many are here.
        """
        if sum(each.person.principal == principal for each in self.there.values()) >= MAX_VIEWERS_OF_ONE:
            raise RateError(f"{principal} is here {MAX_VIEWERS_OF_ONE} times already")
        if len(self.there) >= MAX_VIEWERS:
            raise RateError(f"{MAX_VIEWERS} watch this terminal already")
        self.act(principal)

    def tell(self, message: dict[str, Any]) -> None:
        """Have a message sent to everybody."""
        for viewer in self.there.values():
            viewer.tell(message)

    def dismiss(self) -> None:
        """Nothing more will come for anybody: send them away, once they have what there is."""
        for viewer in self.there.values():
            viewer.is_over = True
            viewer.wake.set()
