"""Two links and the wire between them, for tests: frames as bytes of a stream that can be cut anywhere."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from protocol.frames import LengthPrefixed, prefixed
from protocol.link import Event, Link, Role


@dataclass
class End:
    """One link, what it has told its owner, and the bytes on their way to it."""

    link: Link
    events: list[Event] = field(default_factory=list)
    incoming: deque[int] = field(default_factory=deque)
    splitter: LengthPrefixed = field(default_factory=lambda: LengthPrefixed(2 << 20))

    def arrive(self, size: int) -> list[Event]:
        """Let up to ``size`` bytes arrive; returns the events that they complete."""
        data = bytes(self.incoming.popleft() for _ in range(min(size, len(self.incoming))))
        found: list[Event] = []
        for frame in self.splitter.feed(data):
            found += self.link.receive(frame)
        self.events += found
        return found


class Wire:
    """A connection between an agent's link and a server's.

    Args:
        next_record: Where the records go on.
    """

    def __init__(self, next_record: int = 1) -> None:
        self.agent = End(Link(Role.AGENT, next_record=next_record))
        self.server = End(Link(Role.SERVER, next_record=next_record))

    def ends(self) -> Iterable[tuple[End, End]]:
        return ((self.agent, self.server), (self.server, self.agent))

    def flush(self) -> None:
        """Put everything that both ends have to say on the wire."""
        for sender, receiver in self.ends():
            for frame in sender.link.take():
                receiver.incoming.extend(prefixed(frame))

    def settle(self) -> list[Event]:
        """Exchange frames until both are silent; returns all events of both ends in their order."""
        found: list[Event] = []
        while True:
            self.flush()
            if not self.agent.incoming and not self.server.incoming:
                return found
            for end in (self.agent, self.server):
                found += end.arrive(len(end.incoming))

    def lose(self) -> tuple[list[Event], list[Event]]:
        """Cut the connection; what is on the wire is gone."""
        return self.agent.link.lost(), self.server.link.lost()
