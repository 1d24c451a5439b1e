"""What the parts of a running server share."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any

import structlog

from protocol.errors import ConflictError
from protocol.proofs import Proofs
from protocol.roster import Roster, TrustedRoster
from protocol.signing import PrivateKey
from server import limits
from server.blobs import BlobFiles
from server.config import Config
from server.endpoint.links import Links
from server.fair import Fair
from server.handing import Handing
from server.ledger import OwnLedger
from server.metrics import Metrics
from server.paced import Paced
from server.probe import Probe
from server.questions import Pending
from server.refused import Refused
from server.repository import Repository
from server.services.editing import Editing
from server.services.open_pipes import OpenPipes
from server.signals import Bell, Endings
from server.store.database import READING_FOR, Database
from server.under_way import HeldBytes, UnderWay
from server.views import Views
from server.waiting import Waiting

LOG = structlog.get_logger()


@dataclass
class Core:
    """One server."""

    config: Config
    key: PrivateKey
    database: Database
    repository: Repository
    ledger: OwnLedger
    metrics: Metrics
    links: Links = field(default_factory=Links)
    records_arrived: Bell = field(default_factory=Bell)
    endings: Endings = field(default_factory=Endings)
    trusted: TrustedRoster | None = None  # None until the first roster
    roster_changed: Bell = field(default_factory=Bell)
    roster_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    proving: asyncio.Lock = field(default_factory=asyncio.Lock)  # of all records, which takes a reader for long
    publishing: asyncio.Lock = field(default_factory=asyncio.Lock)  # held from looking for a place until it is taken
    access_changed: Bell = field(default_factory=Bell)
    consents: Pending = field(default_factory=Pending)  # what the owners of hosts are asked
    bodies: HeldBytes = field(default_factory=HeldBytes)  # of requests that are coming in
    noted: Paced = field(default_factory=Paced)  # looks that are on record
    looks: Fair = field(default_factory=lambda: Fair(lambda: limits.MAX_LOOKS_OF_ONE))  # through all records or runs
    comparing: Fair = field(default_factory=lambda: Fair(lambda: 1))  # code of two versions
    refused: Refused = field(default_factory=Refused)
    under_way: UnderWay = field(default_factory=lambda: UnderWay("requests", lambda: limits.MAX_REQUESTS_OF_ONE))
    followed: UnderWay = field(
        default_factory=lambda: UnderWay("streams of records", lambda: limits.MAX_FOLLOWED_OF_ONE)
    )
    unproved: Waiting = field(default_factory=Waiting)  # connections of agents that have not proved a key yet
    coming: Waiting = field(default_factory=Waiting)  # of people to terminals, who have not said as what
    repeats: dict[str, Any] = field(default_factory=dict)  # requests with an Idempotency-Key that are under way
    proofs: Proofs = field(default_factory=Proofs)
    unanswered: dict[str, list[str]] = field(default_factory=dict)  # runs that an earlier server left, by agent
    probe: Probe = field(default_factory=Probe)
    handing: Handing = field(default_factory=Handing)  # bundles to hosts
    editing: Editing = field(default_factory=Editing)
    open_pipes: OpenPipes = field(default_factory=OpenPipes)
    terminals: dict[str, Any] = field(default_factory=dict)  # that are open, by session; server.sessions.hall's
    held: set[str] = field(default_factory=set)  # sessions whose askers wait, or are being let go; services.askers
    forwards: set[str] = field(default_factory=set)  # sessions whose one WebSocket is open, or being closed
    is_clock_behind: bool = False  # the host's clock, behind what is believed, at the last look
    is_ending: asyncio.Event = field(default_factory=asyncio.Event)
    blobs: BlobFiles = field(init=False)
    blobs_reserved: dict[tuple[str, str], int] = field(default_factory=dict)  # source and hash -> bytes on their way
    blobs_moving: asyncio.Lock = field(default_factory=asyncio.Lock)  # between a place on the disk and its row
    views: Views = field(init=False)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.blobs = BlobFiles(self.config.blobs)
        self.views = Views(self.config.directory, self.repository)

    def background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do ``work`` even if nobody waits for it; its failure is logged. It ends with the server."""
        context = copy_context()
        context.run(READING_FOR.set, None)  # whoever began it does not wait for it, and it not for them
        task = asyncio.create_task(work, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    async def stop_background(self) -> None:
        """End all work that nobody waits for."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            LOG.error("work in the background failed", exc_info=task.exception())

    @property
    def roster(self) -> Roster:
        """The newest roster.

        Raises:
            ConflictError: There is none yet, so no signature can be judged.
        """
        if self.trusted is None or self.trusted.current is None:
            raise ConflictError("the server has no roster yet (outrider roster sign, then outrider roster push)")
        return self.trusted.current
