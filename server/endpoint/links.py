"""The agents that have a link now."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from protocol.errors import NotConnectedError
from protocol.pipes import Pipe
from server.signals import Bell


class LiveLink(Protocol):
    """One agent's link, as the rest of the server uses it."""

    async def request(
        self, method: str, body: dict[str, Any], timeout_s: float, *, whose: str | None = None
    ) -> dict[str, Any]:
        """Ask the agent, for a person or for the server itself, and return its answer."""

    def open_pipe(self, purpose: str, header: dict[str, Any], *, whose: str | None = None) -> Pipe:
        """Open a pipe to the agent, for a person or for the server itself."""

    async def is_alive(self, timeout_s: float) -> bool:
        """Tell whether the agent answers a ping in time."""

    async def close(self, code: int, reason: str) -> None:
        """End the link."""


@dataclass
class Turn:
    """Whose turn it is to send over one link what is wanted of its agent."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    is_awaited: bool = False  # somebody will send, and has not looked yet at what is wanted
    is_again_planned: bool = False  # something was not taken, and is sent again
    again_s: float = 0.0  # after which that is; 0: all was taken last time


class Links:
    """At most one link for each agent."""

    def __init__(self) -> None:
        self._links: dict[str, LiveLink] = {}
        self._turns: WeakKeyDictionary[LiveLink, Turn] = WeakKeyDictionary()
        self.changed = Bell()  # rings when an agent has a link that it had not
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def lock(self, agent: str) -> asyncio.Lock:
        """Return what makes beginning a link of one agent a single step."""
        return self._locks[agent]

    def turn(self, link: LiveLink) -> Turn:
        """Return what makes sending what is wanted over one link a single step."""
        return self._turns.setdefault(link, Turn())

    def find(self, agent: str) -> LiveLink | None:
        """Return the agent's link, None if it has none."""
        return self._links.get(agent)

    def get(self, agent: str) -> LiveLink:
        """Return the agent's link.

        Raises:
            NotConnectedError: It has none.
        """
        link = self._links.get(agent)
        if link is None:
            raise NotConnectedError("the agent is not connected")
        return link

    def put(self, agent: str, link: LiveLink) -> None:
        """The agent has this link now."""
        self._links[agent] = link
        self.changed.ring()

    def drop(self, agent: str, link: LiveLink) -> None:
        """That link is over; a newer one of the same agent stays."""
        if self._links.get(agent) is link:
            del self._links[agent]

    def __contains__(self, agent: object) -> bool:
        return agent in self._links

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._links))

    def __len__(self) -> int:
        return len(self._links)
