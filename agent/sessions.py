"""Runs from the wish to the end: each gives ``run.start`` and ``run.end``, or one ``refusal``, and nothing else.

- ``run.start``, the open run, the mark of its fire time and the use of its order are one commit, durable before
  anything is done for the script that leaves anything behind (:mod:`agent.early_calls`). ``run.end`` and the closing of
  the run are one commit too. So after any crash the disk says which runs began, and those without an end get one that
  says ``lost`` at the next start.
- A wish is decided about once: the same run id asked for again is answered as the first time and starts nothing.
- At most ``concurrent`` workers run, of one script's schedules only so many (:mod:`agent.places`); what waits for a
  place is asked again whether it may before it begins.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from agent import limits, rows
from agent.admission import Admission, Admitted
from agent.clock import Clock
from agent.live import lost_record
from agent.logs import LOG
from agent.nonces import Nonces
from agent.places import Places, claim_of
from agent.recorder import Recorder
from agent.results import About, Ending, end_data
from agent.rows import FireState, Statement
from agent.runs import RunRequest
from agent.spool import Spool
from agent.spool_checks import changed
from agent.work import Worker
from protocol.errors import (
    DeniedError,
    InternalError,
    NotFoundError,
    OutriderError,
    ProtocolError,
    RateError,
    TrustError,
    UnavailableError,
)
from protocol.frames import decode, encode

_MAX_TOLD_CHARS: Final = 2000


@dataclass(slots=True, eq=False)
class Active:
    """One wish that has not ended."""

    request: RunRequest
    accepted: asyncio.Future[None]  # done when the run has begun durably, or the wish was refused
    task: asyncio.Task[None] | None = None  # from the wish to the end
    work: asyncio.Task[Ending] | None = None  # the run itself; there once it has begun
    stopped: str | None = field(default=None)  # why it was stopped from outside


class Sessions:
    """All runs of one agent.

    Args:
        admission: Decides.
        worker: Runs what was admitted.
        recorder: For every step.
        spool: Knows which runs there were.
        clock: The host's clocks.
        concurrent: Workers at the same time.
    """

    def __init__(
        self,
        admission: Admission,
        worker: Worker,
        recorder: Recorder,
        spool: Spool,
        clock: Clock,
        *,
        concurrent: int = limits.MAX_CONCURRENT_RUNS,
    ) -> None:
        self._admission = admission
        self._worker = worker
        self._recorder = recorder
        self._spool = spool
        self._clock = clock
        self._places = Places(concurrent)
        self._most = concurrent + limits.MAX_WAITING_RUNS
        self._active: dict[str, Active] = {}
        self._is_closing = False

    @property
    def running(self) -> int:
        """How many wishes are under way."""
        return len(self._active)

    def end_lost(self) -> int:
        """Give every run and session that an earlier process left open its end; returns how many there were."""
        lost = self._spool.open_runs()
        for run in lost:
            try:
                plain = decode(run.about)
                if "session" in plain:
                    record = lost_record(run.run, plain)
                else:
                    record = _end_record(run.run, About(**plain), Ending("lost", "the agent ended while it ran"))
            except (ProtocolError, TypeError, KeyError, AttributeError, ValueError) as error:
                raise changed(f"what run {run.run!r:.60} was makes no sense ({error!r:.200})") from None
            self._recorder.append([record], [rows.close_run(run.run, self._now_us())])
        return len(lost)

    def start(self, request: RunRequest) -> asyncio.Task[None]:
        """Start a run. The task ends when it has ended or was refused; raises what could not be recorded."""
        active = self._take(request)
        if active.task is None:
            raise InternalError("a run has no task")
        return active.task

    def accept(self, request: RunRequest) -> asyncio.Future[None]:
        """Take a run up, so that whatever is asked next finds it; what is returned is done when it has begun durably.

        The future's OutriderError means that it was refused; the refusal is on record. To cancel it stops nothing.
        """
        if self._spool.knows_run(request.run_id):  # asked again after a lost link
            known = asyncio.get_running_loop().create_future()
            known.set_result(None)
            return known
        active = self._active.get(request.run_id)
        return asyncio.shield((active if active is not None else self._take(request)).accepted)

    def knows(self, run_id: str) -> bool:
        """Has a run of this id been taken up here? If so its records tell, or will tell, what became of it."""
        return run_id in self._active or self._spool.knows_run(run_id)

    def cancel(self, run_id: str, reason: str = "cancelled") -> None:
        """Stop a run; its end is recorded as ``killed``.

        Raises:
            NotFoundError: No such run is under way.
        """
        active = self._active.get(run_id)
        if active is None:
            raise NotFoundError(f"no run {run_id} is under way on this host")
        self._stop(active, reason)

    def stop_all(self, reason: str) -> None:
        """Stop every run that is under way."""
        for active in list(self._active.values()):
            self._stop(active, reason)

    async def close(self, grace_s: float = limits.STOP_GRACE_S) -> None:
        """Take nothing more, give runs their time to end, then stop them; returns when all have ended."""
        self._is_closing = True
        for active in list(self._active.values()):
            if active.work is None and active.task is not None:  # nothing of it is on disk: a fire time is met again
                active.task.cancel()
        tasks = [active.task for active in self._active.values() if active.task is not None]
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=grace_s)
        if late:
            self.stop_all("the agent was stopped")
            await asyncio.wait(late)

    # one run -------------------------------------------------------------------------------------------------------

    def _take(self, request: RunRequest) -> Active:
        active = Active(request, asyncio.get_running_loop().create_future())
        self._active[request.run_id] = active
        active.task = asyncio.create_task(self._serve(active))
        active.task.add_done_callback(lambda _: self._forget(active))
        for future in (active.accepted, active.task):  # whoever asked may be gone; the records tell it all the same
            future.add_done_callback(lambda future: future.cancelled() or future.exception())
        return active

    def _forget(self, active: Active) -> None:
        self._active.pop(active.request.run_id, None)
        if active.work is None and not active.accepted.done():  # else its beginning, when it is durable, answers
            active.accepted.set_exception(UnavailableError(active.stopped or "the agent is stopping"))

    async def _serve(self, active: Active) -> None:
        request, admitted = active.request, None
        try:
            if self._is_closing:
                raise UnavailableError("the agent is stopping")
            if len(self._active) > self._most:
                raise RateError(f"{self._most} runs are under way on this host already")
            admitted = await self._admission.admit(request)
            if active.stopped is not None:
                raise DeniedError(f"stopped before it began: {active.stopped}", rule="run.cancel")
            self._places.check_may_wait(claim_of(request, admitted.proved))
        except OutriderError as error:
            self._refuse(active, error, admitted)
            return
        except Exception as error:  # noqa: BLE001 - a fault of ours must be on record as well, in full only in our log
            LOG.exception("run %s could not be decided about", request.run_id)
            self._refuse(active, InternalError("the agent failed; its log says why", detail=repr(error)), admitted)
            return
        about = _about(request, admitted)
        self._end(active, about, await self._run(active, self._begin(active, admitted, about)))

    def _refuse(self, active: Active, error: OutriderError, admitted: Admitted | None) -> None:
        """Record a refusal, and with it that its fire time will not run, and that its order was spent if it was.

        Raises what could not be recorded.
        """
        request = active.request
        changes = [*_settled(request, FireState.SKIPPED), *Nonces.used(None if admitted is None else admitted.nonce)]
        LOG.warning("run %s refused: %s", request.run_id, error)
        record = {
            "kind": "refusal",
            "run": request.run_id,
            "principal": request.principal,
            "arguments": dict(request.parameters),
            "verdict": "deny",
            "rule": getattr(error, "rule", ""),
            "outcome": error.code,
            "data": {
                "reason": getattr(error, "reason", error.code),
                "message": str(error)[:_MAX_TOLD_CHARS],
                "digest": request.digest,
                "schedule": request.fire.schedule if request.fire is not None else None,
                "fire_us": request.fire.fire_us if request.fire is not None else None,
            },
        }
        try:
            self._recorder.append([record], changes, is_urgent=True)
        except OutriderError as unrecorded:
            _fail(active, unrecorded)
            raise
        _fail(active, error)

    def _begin(self, active: Active, admitted: Admitted, about: About) -> asyncio.Task[Ending]:
        """Give the beginning its place in the chain and return the run; raises if it could not be given one."""
        request, now_us = active.request, self._now_us()
        record = {
            "kind": "run.start",
            "session": request.run_id,
            "run": request.run_id,
            "principal": request.principal,
            "arguments": admitted.parameters,
            "data": about.to_plain()
            | {"reason": request.reason[:_MAX_TOLD_CHARS], "ordered": request.order is not None}
            | ({"dry_run": True} if request.dry_run else {})
            | ({"trial": True} if admitted.is_trial else {}),
        }
        statements = [rows.open_run(request.run_id, encode(asdict(about)), now_us)]
        statements += _settled(request, FireState.STARTED)
        statements += Nonces.used(admitted.nonce)
        try:
            durable = self._recorder.begin([record], statements)
        except OutriderError as error:  # nothing is on its way to the disk: as if never asked
            self._admission.give_back(admitted)
            _fail(active, error)
            raise
        durable.add_done_callback(lambda done: _begun(active, done))  # here: the task may be cancelled before its start
        active.work = asyncio.create_task(self._when_durable(active, admitted, durable))
        return active.work

    async def _when_durable(self, active: Active, admitted: Admitted, durable: asyncio.Future[None]) -> Ending:
        """Run it; a worker is made while the beginning goes to the disk, and gets the script once it is there."""
        places, claim = self._places, claim_of(active.request, admitted.proved)
        had_to_wait = not places.has_one_for(claim)
        try:
            await places.take(claim)
            try:
                if had_to_wait:
                    await asyncio.shield(durable)
                    admitted = self._admission.check_still(active.request, admitted)
                # Shielded: a run that is stopped must not take the answer to whoever asked with it.
                return await self._worker.run(active.request, admitted, asyncio.shield(durable))
            finally:
                places.give_back(claim)
        except OutriderError:
            problem = _problem(durable)
            if problem is None:
                raise
            # The beginning reaches the disk later, so it needs an end.
            return Ending("killed", f"its beginning could not be recorded: {problem}")

    async def _run(self, active: Active, work: asyncio.Task[Ending]) -> Ending:
        try:
            await asyncio.wait([work])
        finally:
            work.cancel()  # of no effect unless this task is cancelled itself
        if work.cancelled():
            return Ending("killed", active.stopped or "stopped")
        error = work.exception()
        if error is None:
            return work.result()
        if isinstance(error, (TrustError, DeniedError)):
            return Ending("denied", str(error))
        if isinstance(error, OutriderError):
            return Ending("error", str(error))
        LOG.error("run %s failed", active.request.run_id, exc_info=error)
        return Ending("error", "the agent failed; its log says why")

    def _end(self, active: Active, about: About, ending: Ending) -> None:
        run_id = active.request.run_id
        closing = [rows.close_run(run_id, self._now_us())]
        try:
            self._recorder.append([_end_record(run_id, about, ending)], closing, is_urgent=True)
        except OutriderError as error:  # still open on disk: the next start tells its end
            LOG.error("the end of run %s could not be recorded: %s", run_id, error)

    def _stop(self, active: Active, reason: str) -> None:
        if active.stopped is None:
            active.stopped = reason
        if active.work is not None:
            active.work.cancel()

    def _now_us(self) -> int:
        return self._clock.time_us()


def _about(request: RunRequest, admitted: Admitted) -> About:
    proved, fire = admitted.proved, request.fire
    return About(
        proved.name, proved.version, proved.digest, proved.tier.label, request.principal,
        fire.schedule if fire is not None else None, fire.fire_us if fire is not None else None,
    )  # fmt: skip


def _end_record(run_id: str, about: About, ending: Ending) -> dict[str, Any]:
    return {
        "kind": "run.end",
        "session": run_id,
        "run": run_id,
        "principal": about.principal,
        "outcome": ending.status,
        "duration_us": round(ending.usage["wall_ms"] * 1000),
        "data": end_data(about, ending),
    }


def _settled(request: RunRequest, state: FireState) -> list[Statement]:
    """Return what becomes of the fire time that the run is for."""
    fire = request.fire
    if fire is None:
        return []
    if fire.was_queued:
        return [rows.settle_fire(fire.schedule, fire.fire_us, state)]
    marked = rows.mark_fire(fire.schedule, fire.fire_us, state)
    return [marked, rows.advance_schedule(fire.schedule, fire.fire_us)]


def _problem(durable: asyncio.Future[None]) -> BaseException | None:
    """Return why the beginning could not be recorded; None if it was, or is not known yet."""
    return durable.exception() if durable.done() and not durable.cancelled() else None


def _begun(active: Active, durable: asyncio.Future[None]) -> None:
    problem = _problem(durable)
    if isinstance(problem, OutriderError):
        _fail(active, problem)
    elif problem is None and not durable.cancelled() and not active.accepted.done():
        active.accepted.set_result(None)


def _fail(active: Active, error: OutriderError) -> None:
    if not active.accepted.done():
        active.accepted.set_exception(error)
