"""``state.*``, ``rate`` and ``dedup``: what a script remembers on a host from one run to the next.

It lies under the script's name, which the agent has proved, so all versions of a script share it and no other script
reaches it. Each call is one transaction: a run that is killed leaves nothing half-done. Bounds: ``stdlib/store.py``.
"""

from __future__ import annotations

from typing import Annotated, Any

from protocol.errors import ArgumentError, UnavailableError
from protocol.tiers import Tier
from stdlib.declaring import call
from stdlib.host import RunContext
from stdlib.parameters import HANDLE_KEY, Bounds, Length
from stdlib.store import MAX_KEY_BYTES, KeyValue

Key = Annotated[str, Length(MAX_KEY_BYTES)]
_MOST = 1e20  # of a counter; those of 64 bits end at 1.8e19
_LONGEST_TTL_S = 366 * 86_400.0


def _store(run: RunContext) -> KeyValue:
    if run.store is None:
        raise UnavailableError("nothing is kept for this run")
    return run.store


def _keepable(run: RunContext, value: Any) -> Any:
    """Return ``value`` without secrets.

    Raises:
        ArgumentError: It holds a handle, which means nothing in another run.
    """
    if _holds_handle(value):
        raise ArgumentError("value: a handle cannot be kept", parameter="value")
    return run.redactor.plain(value)


def _holds_handle(value: Any) -> bool:
    if isinstance(value, dict):
        return HANDLE_KEY in value or any(map(_holds_handle, value.values()))
    return isinstance(value, list) and any(map(_holds_handle, value))


@call("state.get", tier=Tier.COMPUTE, lua='local cursor = state.get("cursor")', python='cursor = state.get("cursor")')
def get(run: RunContext, key: Key) -> Any:
    """Return what this script keeps under ``key`` on this host; nothing if there is nothing."""
    return _store(run).get(key)


@call("state.set", tier=Tier.COMPUTE, lua='state.set("cursor", 12)')
def put(run: RunContext, key: Key, value: Any) -> None:
    """Keep a plain value of at most 16 KiB and 8 levels under ``key``; durable when it returns."""
    _store(run).set(key, _keepable(run, value))


@call("state.incr", tier=Tier.COMPUTE, lua='local runs = state.incr("runs")', python='runs = state.incr("runs")')
def increment(run: RunContext, key: Key, by: Annotated[float, Bounds(-(2**53), 2**53)] = 1) -> float:
    """Add ``by`` to the number under ``key``, which begins at 0, in one step; return the sum.

    A ``conflict`` error if something else than a number is there.
    """
    return _store(run).increment(key, by)


@call(
    "state.cas",
    tier=Tier.COMPUTE,
    lua='local is_mine = state.cas("owner", nil, "me")',
    python='is_mine = state.cas("owner", None, "me")',
)
def compare_and_set(run: RunContext, key: Key, expected: Any, value: Any) -> bool:
    """Put ``value`` under ``key`` if ``expected`` is there now, in one step; return whether it was.

    Nothing as ``expected`` means that the key must be absent, nothing as ``value`` takes it away. An empty list and an
    empty map are the same here, as Lua has one empty table.
    """
    return _store(run).compare_and_set(key, expected, _keepable(run, value))


@call("state.delete", tier=Tier.COMPUTE, lua='state.delete("cursor")')
def delete(run: RunContext, key: Key) -> bool:
    """Take away what is under ``key``; return whether there was anything."""
    return _store(run).delete(key)


@call("state.keys", tier=Tier.COMPUTE, lua='local names = state.keys("disk/")', python='names = state.keys("disk/")')
def keys(run: RunContext, prefix: Key = "") -> list[str]:
    """Return the keys that begin with ``prefix``, sorted; at most 1,000."""
    return _store(run).keys(prefix)


@call("rate", tier=Tier.COMPUTE, lua='local rx = rate("rx", 4711)', python='rx = rate("rx", 4711)')
def rate(run: RunContext, key: Key, value: Annotated[float, Bounds(0, _MOST)]) -> dict[str, Any]:
    """Return how fast the counter ``key`` grew since the last call with this key, over restarts of the agent too.

    ``{per_second, delta, seconds, reason}``. The first two are nothing where there is no honest answer, and ``reason``
    says why: ``first`` (nothing to compare with), ``reboot``, ``reset`` (it went down), ``wrapped`` (it went down as a
    counter of 32 or 64 bits does that runs over), ``clock`` (the wall clock went back, and the host has no other),
    ``too_soon``. A rate is never negative. ``seconds`` is the time between the two calls where it is known.
    """
    return _store(run).rate(key, value)


@call(
    "dedup",
    tier=Tier.COMPUTE,
    lua='if dedup("disk full", 3600) then print("the disk is full") end',
    python='if dedup("disk full", 3600):\n    print("the disk is full")',
)
def dedup(run: RunContext, key: Key, ttl: Annotated[float, Bounds(0.001, _LONGEST_TTL_S, "seconds")]) -> bool:
    """Return true the first time that ``key`` is asked about, and false for the ``ttl`` seconds after that."""
    return _store(run).is_first(key, ttl)
