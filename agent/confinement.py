"""The sandbox of this agent: started when it can be, started again when it is lost, never a reason to stop the agent.

A host whose kernel refuses a wall that its owner requires runs nothing and says so in its status; its link, its
schedules and its records go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from agent.limits import SANDBOX_START_TIMEOUT_S
from agent.logs import LOG
from protocol.errors import OutriderError, UnavailableError
from sandbox.jail.walls import Wall, missing
from sandbox.launch import Options, Sandbox

Start = Callable[[Sequence[Mapping[str, Any]]], Awaitable[Sandbox]]


async def start_sandbox(bindings: Sequence[Mapping[str, Any]], timeout_s: float = SANDBOX_START_TIMEOUT_S) -> Sandbox:
    """Start a sandbox with every wall that this host can have; give up after ``timeout_s`` seconds."""
    return await Sandbox.start(bindings=bindings, options=Options(start_timeout_s=timeout_s))


class Confinement:
    """Holds the sandbox.

    Args:
        bindings: The calls that scripts see.
        start: Starts a sandbox; another one in tests.
    """

    def __init__(self, bindings: Sequence[Mapping[str, Any]], start: Start = start_sandbox) -> None:
        self._bindings = bindings
        self._start = start
        self._lock = asyncio.Lock()
        self._sandbox: Sandbox | None = None
        self._starting: asyncio.Task[Sandbox] | None = None  # never cancelled: a process half started would be left
        self._is_closed = False
        self.problem: str | None = None  # why there is none; None while all is well

    @property
    def walls(self) -> tuple[Wall, ...]:
        """How the walls stand; empty while there is no sandbox."""
        return self._sandbox.walls if self._sandbox is not None else ()

    @property
    def zygote_pid(self) -> int | None:
        """The zygote's process; None while there is none."""
        return self._sandbox.zygote_pid if self._sandbox is not None else None

    async def warm(self) -> None:
        """Start it ahead of the first run, if it can be; why it can not is kept in :attr:`problem`."""
        try:
            await self.ready()
        except OutriderError as error:
            LOG.error("no sandbox: %s", error)

    async def ready(self) -> Sandbox:
        """Return the sandbox.

        Raises:
            UnavailableError: It cannot be started here; says why.
        """
        async with self._lock:
            if self._is_closed:
                raise UnavailableError("the agent is stopping")
            return self._sandbox if self._sandbox is not None else await self._started()

    async def _started(self) -> Sandbox:
        if self._starting is None:
            self._starting = asyncio.ensure_future(self._start(self._bindings))
        try:
            self._sandbox = await asyncio.shield(self._starting)
        except OutriderError as error:
            self.problem = str(error)
            raise
        except (OSError, RuntimeError, MemoryError) as error:  # no descriptor, thread or memory to be had just now
            self.problem = f"the sandbox cannot be started: {error or type(error).__name__}"
            raise UnavailableError(self.problem) from error
        finally:
            if self._starting.done():
                self._starting = None
        self.problem = None
        return self._sandbox

    async def close(self) -> None:
        """End it and every run in it, also if it is just being started."""
        async with self._lock:
            self._is_closed = True
            if self._starting is not None:
                with suppress(OutriderError):
                    await self._started()
            if self._sandbox is not None:
                await self._sandbox.close()


def check_walls(walls: Iterable[Wall], required: Iterable[str]) -> None:
    """Return if every wall that the owner requires stands.

    Raises:
        UnavailableError: Names those that do not, and why.
    """
    standing = tuple(walls)
    lacking = {wall.name: wall.detail for wall in standing if wall.name in missing(standing)}
    lacking |= dict.fromkeys(set(required) - {wall.name for wall in standing}, "not reported")
    told = "; ".join(f"{name} ({lacking[name]})" for name in sorted(set(required) & set(lacking)))
    if told:
        raise UnavailableError(f"walls that this host's owner requires do not stand: {told}")
