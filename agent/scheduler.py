"""Running schedules by the host's own clock, with or without a server.

What becomes of a fire time is decided in :mod:`agent.planning`; this file asks it, makes the decision durable and
starts the run. The mark of a fire time, its record and the open run are one commit *before* anything runs, so whatever
is killed whenever, no fire time runs twice. While the spool cannot be written nothing is decided: the fire times are
met again when it can, and the catch-up rule has its say.

A fire time that was queued and not started when the agent ended is caught up or skipped at the next start, by the same
rule. All times are microseconds since 1970 in UTC.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from agent import limits, rows
from agent.clock import Clock, to_datetime, to_us
from agent.logs import LOG
from agent.planning import Action, CatchUp, Missed, Overlap, Situation, plan
from agent.recorder import Recorder
from agent.rows import FireState, Statement
from agent.runs import Fire, RunRequest
from agent.spool import KeptSchedule, Spool
from agent.spool_checks import counted
from protocol.errors import ArgumentError, OutriderError
from protocol.firetimes import next_fires
from protocol.frames import decode, encode
from protocol.limits import MAX_LINK_FRAME_BYTES
from protocol.schedules import ScheduleSpec

_VERSION_KEY = "schedules_version"


class Starter(Protocol):
    """What starts runs; ``agent.sessions`` in life."""

    def start(self, request: RunRequest) -> asyncio.Task[None]:
        """Start a run. The task ends when the run has ended or was refused; raises what could not be recorded."""


@dataclass(slots=True)
class Entry:
    """One schedule at work."""

    spec: ScheduleSpec
    order: Any  # the operator's signed order as it arrived, or None
    decided_us: int
    queue: deque[int] = field(default_factory=deque)  # fire times marked as queued, oldest first
    running: asyncio.Task[None] | None = None
    deciding: set[int] = field(default_factory=set)  # decided, perhaps not on disk yet

    @property
    def is_running(self) -> bool:
        """Is a run of this schedule under way?"""
        return self.running is not None and not self.running.done()


class Scheduler:
    """Owns the schedules of this host.

    Args:
        agent_id: The splay of each schedule is derived from it.
        spool: Keeps schedules and marks.
        recorder: For what is skipped.
        starter: Starts runs.
        clock: The host's clocks.
    """

    def __init__(self, agent_id: str, spool: Spool, recorder: Recorder, starter: Starter, clock: Clock) -> None:
        self._agent_id = agent_id
        self._spool = spool
        self._recorder = recorder
        self._starter = starter
        self._clock = clock
        self._changed = asyncio.Event()
        self._entries: dict[str, Entry] = {}
        self.version = counted(spool.meta(_VERSION_KEY), "the version of the schedules")
        self._on_disk: set[str] = set()  # schedules that may be there, also those that could not be used or heard of
        for kept in spool.schedules():
            self._on_disk.add(kept.id)
            self._load(kept)
        self._settle_queued()

    @property
    def digests(self) -> set[str]:
        """Digests of the bundles that the enabled schedules need."""
        return {entry.spec.digest for entry in self._entries.values() if entry.spec.enabled}

    async def set(self, version: int, schedules: Sequence[Mapping[str, Any]]) -> None:
        """Replace all schedules by the wanted ones; durable when it returns. An older version changes nothing.

        Args:
            version: Of the wanted state, growing.
            schedules: Each a schedule's wire form, with ``order``.

        Raises:
            ArgumentError: One of them is wrong (names which and what); nothing has changed.
            UnavailableError: It could not be kept; nothing has changed.
        """
        if version < self.version:
            return
        if len(schedules) > limits.MAX_SCHEDULES:
            raise ArgumentError(
                f"{len(schedules)} schedules are more than {limits.MAX_SCHEDULES}", parameter="schedules"
            )
        wanted: dict[str, tuple[Entry, bytes]] = {}
        for body in schedules:
            entry = self._parse(body, self._clock.time_us())
            if entry.spec.id in wanted:
                raise ArgumentError("stands twice in the list", parameter="id", where=f"schedule {entry.spec.id!r}")
            wanted[entry.spec.id] = (entry, encode(dict(body), max_bytes=MAX_LINK_FRAME_BYTES))
        durable = self._recorder.begin([], self._difference(version, wanted))
        self._on_disk |= wanted.keys()  # from here on, whether or not this hears of it
        await durable
        self._on_disk = set(wanted)
        self._adopt(version, {schedule: entry for schedule, (entry, _) in wanted.items()})

    async def run(self) -> None:
        """Decide about fire times as they come, for ever."""
        while True:
            next_us = self._round()
            self._changed.clear()
            nap_s = limits.LONGEST_NAP_S
            if next_us is not None:
                nap_s = min(nap_s, max(0.0, (next_us - self._clock.time_us()) / 1_000_000))
            await self._clock.wait(self._changed, nap_s)

    # keeping -------------------------------------------------------------------------------------------------------

    def _parse(self, body: Mapping[str, Any], decided_us: int) -> Entry:
        plain = dict(body) if isinstance(body, Mapping) else {}
        order = plain.pop("order", None)
        try:
            spec = ScheduleSpec.from_wire(plain)
            next_fires(spec, to_datetime(decided_us), 1, agent_id=self._agent_id)  # a bad cron line or zone is told now
        except ArgumentError as error:
            where = f"schedule {plain.get('id', '?')!r:.60}"
            raise ArgumentError(error.message, parameter=error.parameter, where=where) from None
        return Entry(spec, order, decided_us)

    def _load(self, kept: KeptSchedule) -> None:
        try:
            entry = self._parse(decode(kept.body, max_bytes=MAX_LINK_FRAME_BYTES), kept.decided_us)
        except OutriderError as error:  # kept by another version of the agent; the server will send it again
            LOG.error("the kept schedule %s cannot be used: %s", kept.id, error)
            return
        if entry.spec.id != kept.id:  # two of one id would take each fire time twice, which ends the agent
            LOG.error("the kept schedule %s cannot be used: it is %s", kept.id, entry.spec.id)
            return
        self._entries[kept.id] = entry

    def _difference(self, version: int, wanted: Mapping[str, tuple[Entry, bytes]]) -> list[Statement]:
        gone = [rows.drop_schedule(schedule) for schedule in self._on_disk - wanted.keys()]
        kept = [rows.put_schedule(schedule, body, entry.decided_us) for schedule, (entry, body) in wanted.items()]
        resumed = [
            rows.advance_schedule(schedule, entry.decided_us)
            for schedule, (entry, _) in wanted.items()
            if self._is_resumed(entry)
        ]
        return [*gone, *kept, *resumed, rows.set_meta(_VERSION_KEY, str(version).encode())]

    def _is_resumed(self, wanted: Entry) -> bool:
        """Was it switched off until now? Its fire times meanwhile were not missed: nobody wanted them."""
        known = self._entries.get(wanted.spec.id)
        return known is not None and wanted.spec.enabled and not known.spec.enabled

    def _adopt(self, version: int, wanted: dict[str, Entry]) -> None:
        for schedule, entry in wanted.items():
            known = self._entries.get(schedule)
            if known is not None:
                if self._is_resumed(entry):
                    known.decided_us = entry.decided_us
                known.spec, known.order = entry.spec, entry.order
                wanted[schedule] = known
                if not known.spec.enabled:
                    self._skip_queue(known, "disabled")
        dropped = [entry for schedule, entry in self._entries.items() if schedule not in wanted]
        self._entries, self.version = wanted, version
        for entry in dropped:
            self._skip_queue(entry, "removed")
        self._changed.set()

    def _settle_queued(self) -> None:
        """Decide about what was queued when the agent ended last time."""
        for schedule, fire_us in self._spool.queued_fires():
            entry = self._entries.get(schedule)
            if entry is None:
                self._skip(schedule, [(fire_us, True)], "removed")
            else:
                entry.queue.append(fire_us)
        for entry in self._entries.values():
            match CatchUp(entry.spec.catch_up):
                case CatchUp.NONE:
                    self._skip_queue(entry, "missed")
                case CatchUp.LAST:
                    self._skip_queue(entry, "missed", keep=1)
                case CatchUp.ALL:
                    continue

    # deciding ------------------------------------------------------------------------------------------------------

    def _round(self) -> int | None:
        """Decide about everything that is due; returns the next fire time of all schedules."""
        if self._recorder.problem is not None:
            return None
        upcoming = [self._decide(entry) for entry in self._entries.values() if entry.spec.enabled]
        return min((next_us for next_us in upcoming if next_us is not None), default=None)

    def _decide(self, entry: Entry) -> int | None:
        entry.deciding = {fire_us for fire_us in entry.deciding if not self._spool.is_decided(entry.spec.id, fire_us)}
        if entry.queue and not entry.is_running:
            self._start(entry, entry.queue.popleft(), was_queued=True)
        spec = entry.spec

        def upcoming(after_us: int, count: int) -> list[int]:
            fires = next_fires(spec, to_datetime(after_us), count, agent_id=self._agent_id)
            return [to_us(fire) for fire in fires]

        situation = Situation(self._clock.time_us(), entry.decided_us, entry.is_running, len(entry.queue))
        made = plan(CatchUp(spec.catch_up), Overlap(spec.overlap), upcoming, situation, self._is_decided(entry))
        if made.missed is not None:
            self._miss(entry, made.missed)
        entry.decided_us = made.decided_us
        for decision in made.decisions:
            match decision.action:
                case Action.RUN:
                    self._start(entry, decision.fire_us, was_queued=False)
                case Action.QUEUE:
                    self._queue(entry, decision.fire_us)
                case Action.SKIP:
                    self._skip(spec.id, [(decision.fire_us, False)], decision.reason, entry)
        return made.next_us

    def _is_decided(self, entry: Entry) -> Callable[[int], bool]:
        return lambda fire_us: fire_us in entry.deciding or self._spool.is_decided(entry.spec.id, fire_us)

    def _start(self, entry: Entry, fire_us: int, *, was_queued: bool) -> None:
        spec = entry.spec
        request = RunRequest(
            run_id=f"run_{secrets.token_hex(12)}",
            digest=spec.digest,
            parameters=spec.parameters,
            principal=f"schedule:{spec.id}",
            reason=f"schedule {spec.name}",
            timeout_s=spec.timeout_s,
            order=entry.order,
            fire=Fire(spec.id, fire_us, was_queued, spec.to_wire()),
        )
        entry.deciding.add(fire_us)
        entry.running = self._starter.start(request)
        entry.running.add_done_callback(lambda task: self._ended(entry, fire_us, task, was_queued=was_queued))

    def _ended(self, entry: Entry, fire_us: int, task: asyncio.Task[None], *, was_queued: bool) -> None:
        error = None if task.cancelled() else task.exception()
        if error is None:
            self._changed.set()
            return
        # Not even the refusal could be recorded: the fire time is met again, after a nap, for the disk is behind.
        LOG.error("a run of schedule %s could not be started: %s", entry.spec.id, error)
        entry.deciding.discard(fire_us)
        if was_queued:
            entry.queue.appendleft(fire_us)
        elif not self._spool.is_decided(entry.spec.id, fire_us):
            entry.decided_us = min(entry.decided_us, fire_us - 1)

    def _queue(self, entry: Entry, fire_us: int) -> None:
        entry.queue.append(fire_us)
        mark = rows.mark_fire(entry.spec.id, fire_us, FireState.QUEUED)
        self._append([], [mark, rows.advance_schedule(entry.spec.id, fire_us)], entry, [fire_us])

    def _skip_queue(self, entry: Entry, reason: str, *, keep: int = 0) -> None:
        skipped = [entry.queue.popleft() for _ in range(max(0, len(entry.queue) - keep))]
        if skipped:
            self._skip(entry.spec.id, [(fire_us, True) for fire_us in skipped], reason, entry)

    def _skip(self, schedule: str, fires: list[tuple[int, bool]], reason: str, entry: Entry | None = None) -> None:
        """Record that fire times will not run; each is (time, was it queued before)."""
        records, statements = [], []
        for fire_us, was_queued in fires:
            LOG.info("schedule %s skips a fire time: %s", schedule, reason)
            data = {"schedule": schedule, "fire_us": fire_us, "reason": reason}
            records.append({"kind": "schedule.skip", "outcome": reason, "data": data})
            if was_queued:
                statements.append(rows.settle_fire(schedule, fire_us, FireState.SKIPPED))
            else:
                statements.append(rows.mark_fire(schedule, fire_us, FireState.SKIPPED))
                statements.append(rows.advance_schedule(schedule, fire_us))
        self._append(records, statements, entry, [fire_us for fire_us, _ in fires])

    def _miss(self, entry: Entry, missed: Missed) -> None:
        LOG.warning("schedule %s missed fire times", entry.spec.id)
        data = {
            "schedule": entry.spec.id, "reason": "missed",
            "first_us": missed.first_us, "last_us": missed.last_us, "count": missed.count,
        }  # fmt: skip
        record = {"kind": "schedule.skip", "outcome": "missed", "data": data}
        self._append([record], [rows.advance_schedule(entry.spec.id, missed.last_us)], entry, [])

    def _append(
        self, records: list[dict[str, Any]], statements: list[Statement], entry: Entry | None, fires: list[int]
    ) -> None:
        """Keep a decision. If too much waits for the disk it may be lost with the agent: nothing ran because of it."""
        try:
            self._recorder.append(records, statements)
        except OutriderError as error:
            LOG.error("a decision about a schedule could not be kept: %s", error)
        if entry is not None:
            entry.deciding.update(fires)
