"""Runs programs: keeps one zygote warm and replaces it when it is worn, suspect or dead.

Every fork of one zygote shares its address layout and hash seeds. So a zygote serves a few hundred runs only, and fewer
after workers crashed as those do that try to find out that layout: after a few such crashes the next zygote is started,
beside the runs, for which the programs that crashed here wait; and after some more no run begins until it is there.
Runs that have begun end in peace on the old one.
A wall that is required and missing means that no zygote starts, so nothing runs.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final

from kernel.visits import begun_apart
from protocol.errors import UnavailableError
from sandbox.compiled import MAX_PARTS, Compiled, Part, Text
from sandbox.compiling import compiled_apart
from sandbox.control import Setup
from sandbox.gate import Gate
from sandbox.jail.builder import NOBODY, Identity
from sandbox.jail.identity import unshared
from sandbox.jail.walls import Wall, missing
from sandbox.modules import modules
from sandbox.nursery import START_TIMEOUT_S, WEARING_CRASHES, Zygote
from sandbox.outcome import Outcome, Usage
from sandbox.runs import Program, Run
from sandbox.spares import Kind, Spares, start

if TYPE_CHECKING:
    from policies.model import Limits

__all__ = ["Options", "Outcome", "Program", "Sandbox", "Usage"]

RUNS_PER_ZYGOTE: Final = 500  # a replacement costs 0.3 s of CPU beside the runs; chosen without measurement
SPARES: Final = 2  # workers that wait locked in, each of another kind: mostly one for each language; 2 MB each
REFILL_AFTER_S: Final = 0.01  # after a run, until the next spare is made: then its result is with whoever waits for it
DEFAULT_ENTRY: Final = "sandbox.worker"

_log = logging.getLogger("outrider.sandbox")


@dataclass(frozen=True, slots=True)
class Options:
    """How zygotes are started."""

    python: str = sys.executable
    required: frozenset[str] = frozenset()  # names of walls without which nothing runs
    identity: Identity | None = None  # who workers are if the agent is root; None: a user that nobody else is
    runs_per_zygote: int = RUNS_PER_ZYGOTE
    spares: int = SPARES
    start_timeout_s: float = START_TIMEOUT_S  # for a zygote to be ready, above 0; then there is no sandbox for now
    walls_off: frozenset[str] = frozenset()  # for tests: walls not to be raised; reported in each outcome
    entry: str = DEFAULT_ENTRY  # for tests: another module in the place of ``sandbox.worker``
    import_path: tuple[str, ...] = ()  # for tests: where that module is


class Sandbox:
    """Where programs run. Made by :meth:`start` only; used from one event loop."""

    def __init__(self, bindings: Sequence[Mapping[str, Any]], options: Options) -> None:
        self._options = options
        identity = options.identity or NOBODY
        self._setup = Setup(
            bindings=[dict(row) for row in bindings],
            walls_off=sorted(options.walls_off),
            entry=options.entry,
            import_path=list(options.import_path),
            uid=identity.uid,
            gid=identity.gid,
        )
        self._zygote: Zygote | None = None  # the one that takes runs; may have died
        self._spares: Spares | None = None  # its own
        self._compiled = Compiled()  # by its workers, so by its interpreter
        self._crashed: set[bytes] = set()  # what programs its workers crashed of, by their marks; one for each crash
        self._starting: asyncio.Task[Zygote] | None = None  # the next one
        self._retired: set[Zygote] = set()  # those whose last runs have not ended
        self._stopping: set[asyncio.Task[None]] = set()
        self._compiling: set[asyncio.Task[None]] = set()
        self._is_closed = False

    @classmethod
    async def start(
        cls,
        *,
        bindings: Sequence[Mapping[str, Any]],
        python: str = sys.executable,
        walls_off: Collection[str] = frozenset(),
        required: Collection[str] = frozenset(),
        options: Options | None = None,
    ) -> Sandbox:
        """Start a sandbox and its first zygote.

        Args:
            bindings: The calls that scripts see, as plain data from the catalogue.
            python: The interpreter, which has this package installed.
            walls_off: For tests: walls not to be raised.
            required: Walls without which nothing may run.
            options: Everything else; ``python``, ``walls_off`` and ``required`` are then taken from it.

        Raises:
            UnavailableError: A required wall is missing, or the sandbox cannot work here; says why.
        """
        if options is None:
            options = Options(python=python, walls_off=frozenset(walls_off), required=frozenset(required))
        if options.identity is None and os.geteuid() == 0:
            options = replace(options, identity=await begun_apart(unshared))
        sandbox = cls(bindings, options)
        sandbox._use(await sandbox._fresh_zygote())  # not through a task: whoever starts it hears why not
        return sandbox

    @property
    def walls(self) -> tuple[Wall, ...]:
        """How the walls stand, or stood in the last zygote."""
        return self._zygote.walls if self._zygote is not None else ()

    @property
    def zygote_pid(self) -> int | None:
        """The zygote's outer process; None while there is none."""
        return self._zygote.pid if self._zygote is not None and self._zygote.is_alive else None

    async def run(
        self,
        program: Program,
        gate: Gate | Callable[[], Gate],
        limits: Limits,
        before_calls: Awaitable[None] | None = None,
        early: Collection[str] = (),
    ) -> Outcome:
        """Run one program in a worker of its own, which is gone when its outcome is told.

        Args:
            program: What to run.
            gate: For this run alone, or a function that makes it.
            limits: What it may use; the same as the gate's budget has.
            before_calls: Waited for before anything that the program asks for is done, and before its end is told; till
                then it only computes, and makes ``early`` calls.
            early: Names of calls that leave nothing behind.

        Raises:
            UnavailableError: No zygote can be started, or it takes no run; nothing ran.
            OutriderError: What ``before_calls`` raised; nothing but early calls was done for the program.
            TooLargeError: The program is larger than a bundle may be; nothing ran.

        Cancellation:
            Kills the worker.
        """
        zygote, spares = self._zygote, self._spares
        if zygote is None or spares is None or self._is_closed or zygote.is_suspect or not zygote.is_alive:
            zygote, spares = await self._ready_zygote()
        elif zygote.crashes >= WEARING_CRASHES and _mark_of(program) in self._crashed:
            await asyncio.shield(self._replacement())  # else one program alone could have all others wait for that
            zygote, spares = await self._ready_zygote()
        compiled, parts = self._compiled, _parts_of(program)
        codes = compiled.codes(parts)
        run = Run(zygote, spares, program, (lambda: gate) if isinstance(gate, Gate) else gate, limits, codes)
        try:
            return await run.complete(before_calls, early)
        finally:
            if run.worker is not None and not run.worker.ended.done():  # cancelled
                run.worker.ended.add_done_callback(lambda _: self._look_after(zygote))
            self._look_after(zygote)
            if run.has_crashed:
                self._note_crash(zygote, program)
                for part in parts:  # its code may be what broke it
                    compiled.forget(part.text)
            # Later: a fork and a lock take as much processor time as all that a run's end has yet to go through.
            loop = asyncio.get_running_loop()
            if self._options.spares:
                loop.call_later(REFILL_AFTER_S, self._refill, zygote, spares, run.kind)
            due = [part.text for part in parts if not compiled.has(part.text) and compiled.is_due(part.text)]
            if due:
                loop.call_later(REFILL_AFTER_S, self._begin_compiling, zygote, compiled, run.kind, due)

    async def close(self) -> None:
        """End the zygotes and every run. Idempotent."""
        self._is_closed = True
        if self._spares is not None:
            self._spares.drop_all()
        for task in self._compiling:
            task.cancel()
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        zygotes = [*self._retired, *([self._zygote] if self._zygote is not None else [])]
        await asyncio.gather(*(zygote.stop() for zygote in zygotes), *self._stopping)
        if self._compiling:
            await asyncio.wait(self._compiling)
        self._retired.clear()

    async def _ready_zygote(self) -> tuple[Zygote, Spares]:
        if self._is_closed:
            raise UnavailableError("the sandbox is closed")
        if self._zygote is None or not self._zygote.is_alive or self._zygote.is_suspect:
            await asyncio.shield(self._replacement())
        if self._zygote is None or self._spares is None:
            raise UnavailableError("the sandbox is closed")
        return self._zygote, self._spares

    def _use(self, zygote: Zygote) -> None:
        self._zygote, self._spares = zygote, Spares(zygote, self._options.spares)
        self._compiled = Compiled()
        self._crashed = set()

    def _note_crash(self, zygote: Zygote, program: Program) -> None:
        if zygote is self._zygote:
            self._crashed.add(_mark_of(program))

    def _replacement(self) -> asyncio.Task[Zygote]:
        """Return the task that starts the next zygote, which takes over when it is ready."""
        if self._starting is None:
            self._starting = asyncio.get_running_loop().create_task(self._fresh_zygote())
            self._starting.add_done_callback(self._adopt)
        return self._starting

    async def _fresh_zygote(self) -> Zygote:
        zygote = await Zygote.start(self._setup, self._options.python, self._options.start_timeout_s)
        gaps = {wall.name: wall.detail for wall in zygote.walls if wall.name in missing(zygote.walls)}
        lacking = sorted(self._options.required & set(gaps))
        if lacking:
            await zygote.stop()
            told = "; ".join(f"{name} ({gaps[name]})" for name in lacking)
            raise UnavailableError(f"walls that are required here do not stand: {told}")
        return zygote

    def _adopt(self, started: asyncio.Task[Zygote]) -> None:
        self._starting = None
        if started.cancelled():
            return
        if started.exception() is not None:  # whoever waits for it gets it as well; otherwise the next run tries again
            _log.error("the sandbox could not be started again: %s", started.exception())
            return
        if self._zygote is not None and self._spares is not None:
            self._retire(self._zygote, self._spares)
        self._use(started.result())

    def _retire(self, zygote: Zygote, spares: Spares) -> None:
        self._retired.add(zygote)
        for worker in spares.drop_all():
            worker.ended.add_done_callback(lambda _: self._look_after(zygote))
        self._look_after(zygote)

    def _refill(self, zygote: Zygote, spares: Spares, kind: Kind) -> None:
        if zygote is self._zygote and zygote.is_alive and not (self._is_closed or zygote.is_suspect):
            spares.refill(kind)

    def _begin_compiling(self, zygote: Zygote, compiled: Compiled, kind: Kind, due: list[Text]) -> None:
        if zygote is self._zygote and zygote.is_alive and not (self._is_closed or zygote.is_suspect):
            task = asyncio.get_running_loop().create_task(self._compile(zygote, compiled, kind, due))
            self._compiling.add(task)
            task.add_done_callback(self._compiling.discard)

    async def _compile(self, zygote: Zygote, compiled: Compiled, kind: Kind, due: list[Text]) -> None:
        for text in due:  # one after the other, each by a worker that has seen no other text
            try:
                started = start(zygote, kind, ahead=False)
            except UnavailableError as error:  # the next run says it as well
                _log.warning("nothing is compiled ahead: %s", error)
                return
            started.worker.ended.add_done_callback(lambda _: self._look_after(zygote))
            code = await compiled_apart(started, text)
            if code is not None:
                compiled.keep(text, code)

    def _look_after(self, zygote: Zygote) -> None:
        """After a run: see whether its zygote is still good for more."""
        if self._is_closed:
            return
        if zygote in self._retired:
            if zygote.active == 0:
                self._retired.discard(zygote)
                stopping = asyncio.get_running_loop().create_task(zygote.stop())
                self._stopping.add(stopping)
                stopping.add_done_callback(self._stopping.discard)
        elif not zygote.is_alive or zygote.is_suspect or self._is_worn(zygote):
            self._replacement()

    def _is_worn(self, zygote: Zygote) -> bool:
        return zygote.runs >= self._options.runs_per_zygote or zygote.crashes >= WEARING_CRASHES


def _mark_of(program: Program) -> bytes:
    """Return what a program is known by, whatever its parameters are."""
    digest = hashlib.sha256()
    names = (program.language, program.main, *sorted(program.files))
    for data in chain((name.encode() for name in names), (program.files[name] for name in sorted(program.files))):
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.digest()


def _parts_of(program: Program) -> list[Part]:
    """Return what is worth to be compiled apart; nothing for Lua, which compiles as quickly as it would load."""
    if program.language != "python":
        return []
    found = modules(program.language, program.main, program.files, program.libraries)
    return [Part(each.unit, each.path, Text(each.shown, each.source)) for each in islice(found, MAX_PARTS)]
