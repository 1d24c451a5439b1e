"""One agent from start to end: has its parts put together, watches over them, stops them in order.

- What an earlier process left open is told first (runs without an end), before anything new begins.
- The parts that must not stop (scheduler, link, housekeeping) are tasks; one that ends by itself ends the agent,
  loudly: the service manager starts a fresh one, and the disk says what is true.
- At an orderly stop runs get their time, the last records are offered to the server, and the chain is signed.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from datetime import timedelta
from functools import partial
from typing import Any

from agent import limits, rows
from agent.clock import Clock, SystemClock
from agent.config import AgentConfig
from agent.consent import WORD, Question, Settled, Told
from agent.facts import VERSION, host_facts
from agent.link import Connection
from agent.logs import LOG
from agent.memory import give_back
from agent.notify import Notifier
from agent.parts import Ears, assemble
from agent.rows import Write
from agent.statedir import StateDir
from agent.steadiness import Steadiness
from agent.uplink import LinkState
from protocol.errors import InternalError, OutriderError


class Supervisor:
    """One enrolled agent. Make it in the event loop that runs it, with the state directory locked.

    Args:
        state: Where everything is kept.
        config: As enrolled.
        notifier: The service manager.
        end_when_refused: End when the server, or our own ledger, says no, instead of asking again later.
        clock: The host's clocks.
    """

    def __init__(
        self,
        state: StateDir,
        config: AgentConfig,
        notifier: Notifier,
        *,
        end_when_refused: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._failure: OutriderError | None = None  # why it must end, if nobody asked it to
        self._background_tasks: set[asyncio.Task[None]] = set()
        self._end_when_refused = end_when_refused
        self._notifier = notifier
        self._settings = config.settings
        self._clock: Clock = clock or SystemClock()
        ears = Ears(
            self._call_soon, self._background, self._spool_broke, self._owner_changed, self._link_changed,
            self._connected,
        )  # fmt: skip
        parts = assemble(state, config, self._clock, ears)
        ground, place, scripts, people = parts.ground, parts.place, parts.scripts, parts.people
        self._trust, self._spool, self._recorder = ground.trust, ground.spool, ground.recorder
        self._sealing_key = ground.sealing_key
        self._processes, self._script_state = place.processes, place.script_state
        self._consents, self._blobs = place.consents, place.blobs
        self._confinement, self._bundles = scripts.confinement, scripts.bundles
        self._sessions, self._scheduler = scripts.sessions, scripts.scheduler
        self._live, self._desk, self._control = people.live, people.desk, people.control
        self._uplink = parts.uplink
        self._consents.follow(self._tell_server)

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT, then stop in order.

        Raises:
            OutriderError: It had to end by itself; says why.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop.set)
        await self._control.start()
        lost = self._sessions.end_lost()
        self._recorder.record(kind="event", outcome="ok", data={"event": "start", "version": VERSION, "lost": lost})
        parts = [
            asyncio.create_task(part, name=name)
            for name, part in (
                ("scheduler", self._scheduler.run()),
                ("uplink", self._uplink.run()),
                ("housekeeping", self._keep_house()),
                ("sessions", self._live.watch()),
                ("desk", self._desk.keep_looking()),
                ("watchdog", self._keep_alive()),
            )
        ]
        for part in parts:
            part.add_done_callback(self._part_ended)
        self._background(self._confinement.warm())
        self._notifier.ready("started, connecting")
        try:
            await self._stop.wait()
        finally:
            self._notifier.stopping()
            await self._close(parts)
        if self._failure is not None:
            raise self._failure

    # ending --------------------------------------------------------------------------------------------------------

    async def _close(self, parts: list[asyncio.Task[None]]) -> None:
        try:
            await self._close_parts(parts)
        finally:  # whatever goes wrong before: what is to be on disk gets there
            self._spool.close()
            self._script_state.close()  # may wait for a call that is at it

    async def _close_parts(self, parts: list[asyncio.Task[None]]) -> None:
        scheduler, *others = parts
        scheduler.cancel()
        await self._control.close()
        await self._live.shut()
        await self._sessions.close()
        await self._blobs.close()
        await self._say_goodbye()
        self._uplink.stop()
        for task in (*others, *self._background_tasks):
            task.cancel()
        await asyncio.gather(*parts, *self._background_tasks, return_exceptions=True)
        await self._processes.close()
        await self._confinement.close()

    async def _say_goodbye(self) -> None:
        """Sign where the chain stands and let the server have it, if disk and link are there."""
        try:
            await self._recorder.commit([{"kind": "event", "outcome": "ok", "data": {"event": "stop"}}])
            self._recorder.checkpoint()
            await self._recorder.commit([])
        except OutriderError as error:
            LOG.error("the end could not be recorded: %s", error)
        connection = self._uplink.connection
        if connection is not None and not await connection.drain(limits.SHIP_AT_STOP_S):
            LOG.warning("the server does not have the last records yet; they are kept")

    def _fail(self, error: OutriderError) -> None:
        if self._failure is None:
            self._failure = error
        self._stop.set()

    def _part_ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or self._stop.is_set():
            return
        error = task.exception()
        LOG.critical("%s ended", task.get_name(), exc_info=error)
        # Never with the kind that it is: one of a wrong argument, say, has service managers start nothing again.
        self._fail(InternalError(f"the {task.get_name()} ended: {error!r}", detail=repr(error)))

    def _spool_broke(self, error: Exception) -> None:
        """Called in the writer's thread."""
        broken = InternalError(f"the spool must not be used any more: {error}", detail=repr(error))
        self._call_soon(partial(self._fail, broken))

    def _call_soon(self, action: Any) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(action)

    # link ----------------------------------------------------------------------------------------------------------

    def _link_changed(self, state: LinkState) -> None:
        if state.is_connected:
            self._notifier.status("connected")
            return
        self._bundles.fetch = None
        self._live.linked(is_linked=False)
        self._blobs.connected(None)
        self._notifier.status(f"no link to the server: {state.problem}")
        if self._end_when_refused and state.refusal is not None:
            self._fail(state.refusal)

    def _connected(self, connection: Connection) -> None:
        self._bundles.fetch = connection.fetch
        connection.on_pipe = self._live.accept
        self._live.linked(is_linked=True)
        self._blobs.connected(connection)
        self._background(self._greet(connection))

    async def _greet(self, connection: Connection) -> None:
        """Tell the server about this host once its walls are known, then fetch what schedules need."""
        await self._confinement.warm()
        await self._tell_status(connection)
        for question in self._consents.pending:
            await self._tell(connection, question)
        await self._bundles.bring_needed()
        await self._blobs.send_queued()

    async def _tell_status(self, connection: Connection) -> None:
        walls = [wall.to_plain() for wall in self._confinement.walls]
        freeze = self._trust.owner_freeze
        facts = host_facts() | {
            "walls": walls, "sandbox": self._confinement.problem or "ok",
            "owner_freeze": None if freeze is None else freeze.to_plain(),
        }  # fmt: skip
        body = {
            "facts": facts, "schedules_version": self._scheduler.version, "running": self._sessions.running,
            "sealing_key": self._sealing_key,
        }  # fmt: skip
        try:
            await connection.request("status", body)
        except OutriderError as error:  # it is asked again at the next connection
            LOG.warning("the server did not take our status: %s", error)

    def _owner_changed(self) -> None:
        if self._uplink.connection is not None:
            self._background(self._tell_status(self._uplink.connection))

    def _tell_server(self, told: Told) -> None:
        """Let the server know of a question, so that people there see what they wait for, and answer if they may."""
        if self._uplink.connection is not None and isinstance(told, Question | Settled):
            self._background(self._tell(self._uplink.connection, told))

    async def _tell(self, connection: Connection, told: Question | Settled) -> None:
        try:
            if isinstance(told, Question):
                may_server = WORD in self._trust.ceiling().accept_server_word
                await connection.request("consent.ask", told.to_plain() | {"may_server": may_server})
            else:
                about = {"id": told.question.id, "outcome": told.outcome, "by": told.by}
                await connection.request("consent.settled", about)
        except OutriderError as error:  # the owner is asked all the same
            LOG.warning("the server was not told of a question: %s", error)

    # what goes on beside -------------------------------------------------------------------------------------------

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._background_tasks.add(task)
        task.add_done_callback(self._background_ended)

    def _background_ended(self, task: asyncio.Task[None]) -> None:
        self._background_tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            LOG.error("work in the background failed", exc_info=task.exception())

    async def _keep_alive(self) -> None:
        """Tell the service manager that the loop turns, if it wants to know."""
        every_s = self._notifier.watchdog_s
        if every_s is None:
            await self._stop.wait()
            return
        while not await self._clock.wait(self._stop, every_s / 2):
            self._notifier.alive()

    async def _keep_house(self) -> None:
        """Forget what is too old to matter, in pieces so small that no effect waits for them.

        Records that the server has are given up by any clock; fire times, orders and runs only by one that is steady.
        """
        steadiness = Steadiness(self._clock)
        while not await self._clock.wait(self._stop, limits.HOUSEKEEPING_S):
            give_back()
            now_us = self._clock.time_us()
            kept = self._settings.keep_acknowledged_days
            old = [rows.trim_records(self._spool.acknowledged, now_us - _days_us(kept), limits.TRIM_CHUNK_RECORDS)]
            if steadiness.is_steady():
                old += rows.forget(now_us - _days_us(limits.MARK_KEEP_DAYS), now_us - _days_us(limits.RUN_KEEP_DAYS))
            for statement in old:
                try:
                    self._spool.submit(Write((), (statement,)))
                except OutriderError as error:  # the disk refuses; what is old can wait
                    LOG.warning("old records could not be given up: %s", error)
                    break
            self._background(self._blobs.send_queued())  # what the server could not take a moment ago


def _days_us(days: int) -> int:
    return timedelta(days=days) // timedelta(microseconds=1)
