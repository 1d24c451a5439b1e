"""Where a run gets its bundle from: the cache, else the server, asked once however many wait.

What the server sends is checked before it is kept; whether it may run is decided elsewhere, on every run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from agent import limits
from agent.cache import Cache, Entry, make_entry
from agent.link import Fetched
from agent.logs import LOG
from protocol.errors import NotConnectedError, OutriderError, ProtocolError

Fetch = Callable[[str], Awaitable[Fetched]]


class Bundles:
    """Gives entries by digest.

    Args:
        cache: On disk.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._under_way: dict[str, asyncio.Task[Entry]] = {}
        self._required: dict[str, tuple[str, ...]] = {}  # by digest, of what was seen: what it requires
        self.fetch: Fetch | None = None  # set while there is a link
        self.needed: Callable[[], Collection[str]] = tuple  # digests that must stay in the cache

    async def get(self, digest: str) -> Entry:
        """Return the entry of ``digest``, from the server if it is not here.

        Raises:
            NotConnectedError: It is not here and there is no link.
            OutriderError: The server does not have it, or what it sent is not it.
        """
        entry = self._cache.get(digest)
        return self._noted(digest, entry) if entry is not None else await self.refresh(digest)

    async def refresh(self, digest: str) -> Entry:
        """Return the entry as the server has it now, with approvals that are newer than ours.

        Raises:
            NotConnectedError: There is no link.
            OutriderError: As :meth:`get`.
        """
        if self.fetch is None:
            raise NotConnectedError(f"{digest} is not on this host, and there is no link to the server")
        task = self._under_way.get(digest)
        if task is None:
            task = asyncio.create_task(self._bring(self.fetch, digest))
            self._under_way[digest] = task
            task.add_done_callback(lambda _: self._under_way.pop(digest, None))
        return await asyncio.shield(task)

    async def bring_needed(self) -> None:
        """Fetch what schedules need and is not here in good order, so that they run when the server is away."""
        waiting, seen = sorted(self.needed()), set[str]()
        while waiting:
            digest = waiting.pop(0)
            if digest in seen:
                continue
            seen.add(digest)
            await asyncio.sleep(0)  # a thousand of them are a second of hashing; others want to go on
            try:
                await self.get(digest)
                waiting += self._required.get(digest, ())
            except OutriderError as error:  # the fire time tries again, and its refusal is recorded
                LOG.warning("the bundle %s of a schedule could not be fetched: %s", digest, error)

    async def _bring(self, fetch: Fetch, digest: str) -> Entry:
        fetched = await fetch(digest)
        approvals: Any = fetched.approvals
        if not isinstance(approvals, list) or len(approvals) > limits.MAX_APPROVALS:
            raise ProtocolError(f"the server sent no list of approvals for {digest}")
        entry = make_entry(digest, fetched.packed, fetched.publication, approvals)
        self._noted(digest, entry)
        try:
            self._cache.put(digest, entry, self._kept())
        except OutriderError as error:  # it can run now all the same
            LOG.warning("the bundle %s could not be kept: %s", digest, error)
        return entry

    def _noted(self, digest: str, entry: Entry) -> Entry:
        requires = entry.bundle.manifest.requires
        if requires:
            self._required[digest] = tuple(item.digest for item in requires)
        return entry

    def _kept(self) -> set[str]:
        """Return what must stay in the cache: what schedules need, and what that requires."""
        kept: set[str] = set()
        waiting = list(self.needed())
        while waiting:
            digest = waiting.pop()
            if digest not in kept:
                kept.add(digest)
                waiting += self._required.get(digest, ())
        return kept
