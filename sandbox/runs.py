"""One run of one program: from the fork to what is known at its end.

The order at the end is fixed. A worker that has sent its result ends by itself, while this side goes on; if there is no
result it is killed. Then close its socket, wait until it is reaped, for its end tells what it has used, and only then
judge. Nothing that it sent late is acted on, and who stays after its result is killed.

The wall deadline counts from the moment the run was accepted, and is enforced from here, by SIGKILL; nothing in the
worker is trusted to stop. CPU time is looked at when it can first have reached its limit, and again when it can first
have used up the rest.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from protocol.errors import InternalError, OutriderError
from sandbox.channel import Asked, CallMade, Finished, Printed, Pulled, Released, Violated, start_frame
from sandbox.gate import Gate
from sandbox.inline import Suspended, begin
from sandbox.modules import NONE, Libraries
from sandbox.nursery import Zygote
from sandbox.outcome import Ended, Facts, Outcome, Usage, has_crashed, judge
from sandbox.processes import Worker
from sandbox.replies import Reply
from sandbox.runtimes import NO_CODES, Codes
from sandbox.spares import Kind, Spares
from sandbox.wire import Wire

if TYPE_CHECKING:
    from policies.model import Limits

EXIT_GRACE_S: Final = 0.1  # between a worker's result and its end, until that is hastened; mostly 0.3 ms
REAP_TIMEOUT_S: Final = 5.0  # between SIGKILL and the zygote's report; longer means that the zygote is stuck
CPU_LOOK_S: Final = 0.01  # at most this often
DEADLINE_LOOK_S: Final = 0.001

_log = logging.getLogger("outrider.sandbox")


@dataclass(frozen=True, slots=True)
class Program:
    """What a worker runs."""

    language: str  # lua | luajit | python
    main: str  # the file that is run, a key of ``files``
    files: Mapping[str, bytes]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    libraries: Libraries = NONE  # what it can require beside its own files


class Run:
    """One run. ``complete`` is called once.

    Args:
        zygote: Alive.
        spares: Gives the worker.
        program: What to run.
        admit: Returns what takes the calls; it belongs to this run alone. Called once, while the worker begins.
        limits: What the run may use.
        codes: What the program's files were compiled to, as far as that is known.
    """

    def __init__(
        self,
        zygote: Zygote,
        spares: Spares,
        program: Program,
        admit: Callable[[], Gate],
        limits: Limits,
        codes: Codes = NO_CODES,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._zygote = zygote
        self._spares = spares
        self._program = program
        self._admit = admit
        self._gate: Gate  # from the time on when the worker is being made
        self._limits = limits
        self._codes = codes
        self._output = bytearray()
        self._started_s = time.monotonic()
        self._timer: asyncio.TimerHandle
        self._stopped: OutriderError | None = None  # why this side ended the run
        self._is_over = False  # the worker's end was seen while a call was open
        self._before: asyncio.Future[None] | None = None  # what most calls wait for; None once it is done
        self._early: Collection[str] = ()  # the calls that do not
        self.worker: Worker | None = None  # from the same time on
        self._over_s: float  # when the conversation ended
        self._serving: asyncio.Task[Any] | None = None  # to be interrupted if the run has to stop

    @property
    def kind(self) -> Kind:
        """Of the worker that this run needs."""
        return Kind(self._program.language, self._limits.memory_bytes, float(self._limits.cpu_s))

    @property
    def has_crashed(self) -> bool:
        """Whether its worker has ended by a crash, as far as is known."""
        worker = self.worker
        if worker is None or not worker.ended.done():
            return False
        return has_crashed(worker.ended.result())

    async def complete(self, before_calls: Awaitable[None] | None = None, early: Collection[str] = ()) -> Outcome:
        """Run to the end.

        Args:
            before_calls: Waited for while the worker reads its program and begins; until then only ``early`` calls are
                made for it, and its end is told to nobody.
            early: Names of calls that leave nothing behind.

        Raises:
            TooLargeError: The program is larger than a bundle may be; nothing ran.
            UnavailableError: The zygote takes no run; nothing ran.
            OutriderError: What ``before_calls`` raised; only early calls were made, and nothing of it is known.

        Cancellation:
            Kills the worker; the run's calls are recorded as cut short.
        """
        worker, sock, ear = self._spares.take(self.kind)
        self.worker = worker
        wire = self._wire = Wire(self._loop, sock, self._on_call, self._on_trouble, ear)
        try:
            wire.send(self._start_frame())  # first: while it is made, or wakes up and reads, all else is made ready
            self._gate = self._admit()
            before = self._wait_for(before_calls, early)
        except BaseException:
            worker.kill()
            wire.close()
            raise
        wire.listen()
        try:
            outcome = await self._attend(worker, wire)
        except BaseException:
            if before is not None:
                before.cancel()
            raise
        finally:  # in a task of its own: what a run holds is given back however the run ends
            closing = self._gate.begin_closing()
            if closing is not None:
                await asyncio.shield(asyncio.ensure_future(closing))
        if before is not None:
            await before
        return outcome

    def _wait_for(self, before_calls: Awaitable[None] | None, early: Collection[str]) -> asyncio.Future[None] | None:
        """Let calls that are not early wait, and end the run if what they wait for fails; None if it is done."""
        if before_calls is None:
            return None
        before = asyncio.ensure_future(before_calls)
        if before.done():
            before.result()
            return None
        self._before, self._early = before, early
        before.add_done_callback(self._on_before)
        return before

    def _on_before(self, before: asyncio.Future[None]) -> None:
        if before.cancelled():  # the run was
            return
        error = before.exception()
        if error is None:
            self._before = None
        else:
            self._stop(error if isinstance(error, OutriderError) else InternalError("the run may not go on"))

    def _start_frame(self) -> bytes:
        program = self._program
        return start_frame(
            main=program.main,
            files=program.files,
            parameters=program.parameters,
            output_bytes=self._limits.output_bytes,
            libraries=program.libraries,
            codes=self._codes,
        )

    async def _attend(self, worker: Worker, wire: Wire) -> Outcome:
        # The deadline counts from the moment the run was accepted.
        self._look_in(min(self._limits.cpu_s, self._limits.wall_s - (time.monotonic() - self._started_s)))
        finished: Finished | None = None
        try:
            finished = await self._serve_interruptibly(wire)
        finally:
            self._over_s = time.monotonic()
            if finished is None or self._stopped is not None:
                worker.kill()
            wire.close()
            self._timer.cancel()
        return self._outcome(worker, finished, await self._end_of(worker))

    async def _serve_interruptibly(self, wire: Wire) -> Finished | None:
        """Serve until the program has ended or :meth:`_stop` was called."""
        task = self._serving = asyncio.current_task()
        if task is None:
            raise RuntimeError("a run needs a task to be interrupted in")
        cancelling = task.cancelling()
        try:
            finished = await self._serve(wire)
            if self._is_over:  # the call that was interrupted kept that to itself
                task.uncancel()
            return finished
        except OutriderError as error:
            self._stopped = self._stopped or error
            return None
        except asyncio.CancelledError:
            is_ours = self._stopped is not None or self._is_over
            if not is_ours or task.uncancel() > cancelling:  # somebody else wants the whole task to end
                raise
            return None
        finally:
            self._serving = None

    async def _serve(self, wire: Wire) -> Finished | None:
        while not self._is_over:  # a call may have kept to itself that it was interrupted, and nobody looks again
            match await wire.next():
                case CallMade() | Pulled() as asked:
                    await self._reply(asked)
                case Suspended() as suspended:
                    await suspended.resume()
                case Released(handle):
                    await self._gate.release(handle)
                case Printed(data):
                    self._gate.budget.spend_output(len(data))
                    self._output += data
                case Finished() as finished:
                    return finished
                case Violated(error):
                    raise error
                case None:
                    return None
        return None

    def _reply(self, asked: Asked) -> Coroutine[Any, Any, Reply]:
        if self._before is not None and not (isinstance(asked, CallMade) and asked.name in self._early):
            return self._reply_after(self._before, asked)
        return self._reply_now(asked)

    async def _reply_after(self, before: asyncio.Future[None], asked: Asked) -> Reply:
        await asyncio.shield(before)
        return await self._reply_now(asked)

    def _reply_now(self, asked: Asked) -> Coroutine[Any, Any, Reply]:
        if isinstance(asked, Pulled):
            return self._gate.pull(asked.stream, self._wire.answer)
        return self._gate.call(asked.name, asked.args, asked.named, self._wire.answer)

    def _on_call(self, asked: Asked) -> Suspended[Reply] | None:
        if self._serving is None or self._is_over:
            return None
        try:
            begun = begin(self._serving, self._reply(asked))
        except OutriderError as error:
            self._stop(error)
            return None
        except Exception:  # noqa: BLE001 - a fault of ours; we are in a callback of the loop, where nobody would hear it
            _log.exception("a run is ended, as its gate failed unexpectedly")
            self._stop(InternalError("the agent failed; its log says why"))
            return None
        return begun if isinstance(begun, Suspended) else None

    def _on_trouble(self, violated: Violated | None) -> None:
        if violated is None:
            self._interrupt()
        else:
            self._stop(violated.error)

    def _look_in(self, delay_s: float) -> None:
        self._timer = self._loop.call_later(max(0.0, delay_s), self._look)

    def _look(self) -> None:
        """End the run if its time or its CPU time is used up; look again when either can first be."""
        limits, wall_s = self._limits, time.monotonic() - self._started_s
        cpu_s = None if self.worker is None else self.worker.cpu_s()
        error = self._gate.budget.over_wall(wall_s) or self._gate.budget.over_cpu(cpu_s or 0.0)
        if error is not None:
            self._stop(error)
            return
        # A timer may fire a moment early by the clock that is read here, so the deadline is not looked for sooner.
        look_s = CPU_LOOK_S if cpu_s is None else max(CPU_LOOK_S, limits.cpu_s - cpu_s)  # told then, or by its end
        self._look_in(min(look_s, max(DEADLINE_LOOK_S, limits.wall_s - wall_s)))

    def _stop(self, error: OutriderError) -> None:
        if self._stopped is None:
            self._stopped = error
            self._interrupt()

    def _interrupt(self) -> None:
        if self._serving is not None and not self._is_over:
            self._is_over = True
            self._serving.cancel()

    async def _end_of(self, worker: Worker) -> Ended | None:
        """Return the worker's end; kill it if that takes too long, and give up on a zygote that does not report it."""
        if not worker.ended.done():
            late = self._loop.call_later(EXIT_GRACE_S, self._on_late, worker)
            worker.ended.add_done_callback(partial(_cancel, late))
            await asyncio.shield(worker.ended)
        return worker.ended.result()

    def _on_late(self, worker: Worker) -> None:
        worker.kill()
        late = self._loop.call_later(REAP_TIMEOUT_S, self._zygote.give_up)
        worker.ended.add_done_callback(partial(_cancel, late))

    def _outcome(self, worker: Worker, finished: Finished | None, ended: Ended | None) -> Outcome:
        facts = Facts(self._stopped, finished, ended, worker.not_started, self._gate.decisions.denial)
        status, reason = judge(facts, self._limits)
        where = finished.where if finished is not None else None
        output = bytes(self._output)
        return Outcome(
            status=status,
            reason=f"{where}: {reason}" if where and reason else reason,
            result=finished.value if status == "ok" and finished is not None else None,
            output=output,
            output_truncated=finished is not None and finished.output_bytes > len(output),
            usage=self._usage(ended),
            where=where,
            calls=self._gate.records.summaries,
            walls=self._zygote.walls,
        )

    def _usage(self, ended: Ended | None) -> Usage:
        wall_ms = (self._over_s - self._started_s) * 1000
        cpu_ms = ended.cpu_us / 1000 if ended is not None else 0.0
        return Usage(wall_ms, cpu_ms, ended.peak_bytes if ended is not None else 0, self._gate.budget.calls)


def _cancel(timer: asyncio.TimerHandle, _ended: asyncio.Future[Ended | None]) -> None:
    timer.cancel()
