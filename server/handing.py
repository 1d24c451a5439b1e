"""What a server remembers for handing out bundles, so that a host that fetches costs no look through all schedules.

It holds no rules: what is remembered was looked up by :mod:`server.services.bundles`. For any thread.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final, TypeVar
from weakref import WeakValueDictionary

MAX_HOSTS: Final = 1_024  # whose schedules are remembered; others are looked up anew
MAX_BUNDLES: Final = 16_384  # of which it is remembered what they require, some 200 bytes each
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class _Named:
    """What the schedules of one host name."""

    version: int  # of all schedules
    until_us: int | None  # when time alone may change it; None: never
    digests: frozenset[str]


@dataclass
class Handing:
    """The memory of one server."""

    searching: asyncio.Lock = field(default_factory=asyncio.Lock)  # through what is required, which may read many
    _turns: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)  # by id of the agent
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _named: OrderedDict[str, _Named] = field(default_factory=OrderedDict)  # by id of the agent
    _required: OrderedDict[str, tuple[str, ...]] = field(default_factory=OrderedDict)  # never changes for a digest

    def turn(self, agent: str) -> asyncio.Lock:
        """Return what has one host search once at a time: however much it asks for, others come in between."""
        return self._turns.setdefault(agent, asyncio.Lock())

    def named(self, agent: str, version: int, now_us: int) -> frozenset[str] | None:
        """Return the digests that the schedules of a host name; None if that is not known as of now."""
        with self._lock:
            held = self._named.get(agent)
        if held is None or held.version != version or (held.until_us is not None and held.until_us <= now_us):
            return None
        return held.digests

    def name(self, agent: str, version: int, until_us: int | None, digests: frozenset[str]) -> None:
        """Remember what the schedules of a host name."""
        with self._lock:
            _keep(self._named, agent, _Named(version, until_us, digests), MAX_HOSTS)

    def required(self, digest: str) -> tuple[str, ...] | None:
        """Return what a bundle requires; None if that is not known."""
        with self._lock:
            return self._required.get(digest)

    def require(self, digest: str, required: tuple[str, ...]) -> None:
        """Remember what a bundle requires."""
        with self._lock:
            _keep(self._required, digest, required, MAX_BUNDLES)


def _keep(held: OrderedDict[str, Value], key: str, value: Value, most: int) -> None:
    held[key] = value
    held.move_to_end(key)
    if len(held) > most:
        held.popitem(last=False)
