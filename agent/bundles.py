"""Where a run gets its bundle from: the cache, else the server, asked once however many wait.

What the server sends is checked before it is kept; whether it may run is decided elsewhere, on every run.
Approvals that are given later are added to what is here as they come, and to what is on its way when it has come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final

from agent import limits
from agent.cache import Cache, Entry, make_entry
from agent.link import Fetched
from agent.logs import LOG
from protocol.errors import ArgumentError, NotConnectedError, OutriderError, ProtocolError
from protocol.signing import Envelope, payload_type, peek
from protocol.statements import Approval

_APPROVAL: Final = payload_type("approval")

Fetch = Callable[[str], Awaitable[Fetched]]
Adding = Callable[[Entry, Sequence[Envelope]], Entry]


class Bundles:
    """Gives entries by digest.

    Args:
        cache: On disk.
        adding: Returns an entry with those of some approvals that count and are not in it; itself if there are none.
    """

    def __init__(self, cache: Cache, adding: Adding) -> None:
        self._cache = cache
        self._adding = adding
        self._under_way: dict[str, asyncio.Task[Entry]] = {}
        self._told: dict[str, list[Envelope]] = {}  # by digest, of what is under way: approvals that came meanwhile
        self._required: dict[str, tuple[str, ...]] = {}  # by digest, of what must stay: what it requires
        self._is_bringing = self._is_asked = False  # what schedules need comes; somebody asked for it since it began
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
            task.add_done_callback(lambda _: self._over(digest))
        return await asyncio.shield(task)

    def _over(self, digest: str) -> None:
        self._under_way.pop(digest, None)
        self._told.pop(digest, None)

    def learn(self, envelopes: Sequence[Envelope]) -> list[str]:
        """Take approvals that the server tells of; durable when it returns. What is not here needs none yet.

        Returns:
            Digests of the bundles that have others now.

        Raises:
            ArgumentError, TrustError: One of them is no approval; nothing has changed.
            TooLargeError: The statements about a bundle are larger than their bound.
            UnavailableError: The disk refuses.
        """
        by_digest: dict[str, list[Envelope]] = {}
        for envelope in envelopes:
            by_digest.setdefault(_about(envelope), []).append(envelope)
        return [digest for digest, given in by_digest.items() if self._learn(digest, given[::-1])]  # newest first

    def _learn(self, digest: str, given: list[Envelope]) -> bool:
        if digest in self._under_way:  # asked for before the server had these, perhaps
            self._told[digest] = [*given, *self._told.get(digest, ())][: limits.MAX_APPROVALS]
        entry = self._cache.get(digest)
        if entry is None:
            return False
        following = self._adding(entry, given)
        if following is entry:
            return False
        self._cache.put(digest, following, self._kept())
        return True

    async def bring_needed(self) -> None:
        """Fetch what schedules need and is not here in good order, so that they run when the server is away.

        Who asks while somebody else does so does not wait: that one begins anew, with what is needed by then. A server
        that sets schedules again and again and sends no bundle has one of these going on here, not one for each time.
        """
        self._is_asked = True
        if self._is_bringing:
            return
        self._is_bringing = True
        try:
            while self._is_asked:
                self._is_asked = False
                await self._bring_all()
        finally:
            self._is_bringing = False

    async def _bring_all(self) -> None:
        waiting, seen = sorted(self.needed()), set[str]()
        while waiting and not self._is_asked:
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
        try:
            entry = _checked(digest, fetched)
        except OutriderError as error:
            if not fetched.is_resumed:
                raise
            LOG.warning("the parts of %s do not make it: %s; fetching all of it", digest, error)
            entry = _checked(digest, await fetch(digest))
        before = self._cache.get(digest)
        entry = self._adding(entry, [*self._told.get(digest, ()), *(() if before is None else before.approvals)])
        self._noted(digest, entry)
        try:
            self._cache.put(digest, entry, self._kept())
        except OutriderError as error:  # it can run now all the same
            LOG.warning("the bundle %s could not be kept: %s", digest, error)
        return entry

    def _noted(self, digest: str, entry: Entry) -> Entry:
        required = tuple(item.digest for item in entry.bundle.manifest.requires)
        if required and self._required.get(digest) != required and digest in self._kept():
            self._required[digest] = required
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
        # Anybody can make bundles that require much, and a server can have them fetched without end.
        self._required = {digest: required for digest, required in self._required.items() if digest in kept}
        return kept


def _about(envelope: Envelope) -> str:
    """Return the digest that an approval is about, which is proved by nobody yet.

    Raises:
        ArgumentError: It is none.
    """
    if envelope.payload_type != _APPROVAL:
        raise ArgumentError("what is said to be an approval is something else", parameter="envelopes")
    return Approval.parse(peek(envelope)).digest


def _checked(digest: str, fetched: Fetched) -> Entry:
    approvals: Any = fetched.approvals
    if not isinstance(approvals, list) or len(approvals) > limits.MAX_APPROVALS:
        raise ProtocolError(f"the server sent no list of approvals for {digest}")
    return make_entry(digest, fetched.packed, fetched.publication, approvals)
