"""The sandbox of an agent: started once, again after a failure, ended with the agent, its walls held to the owner's."""

from __future__ import annotations

import asyncio
import errno
from functools import partial
from typing import Any

import pytest
from premises import until

from agent.confinement import Confinement, check_walls, start_sandbox
from protocol.errors import UnavailableError
from sandbox.jail.walls import LANDLOCK, SECCOMP, WALLS, State, Wall
from stdlib.catalogue import load as load_catalogue


class Starter:
    """Starts what stands for a sandbox, when the test lets it."""

    def __init__(self) -> None:
        self.may_start = asyncio.Event()
        self.may_start.set()
        self.started = 0
        self.closed = 0
        self.problem: Exception | None = None

    async def __call__(self, bindings: Any) -> Any:
        self.started += 1
        await self.may_start.wait()
        if self.problem is not None:
            raise self.problem
        return self

    walls: tuple[Wall, ...] = ()
    zygote_pid = 7

    async def close(self) -> None:
        self.closed += 1


async def test_a_real_one_stands_and_ends(descriptors_kept: None) -> None:
    """No process and no descriptor is left."""
    confinement = Confinement(load_catalogue().bindings())
    assert (confinement.walls, confinement.zygote_pid) == ((), None)
    await confinement.warm()
    assert [wall.name for wall in confinement.walls] == list(WALLS)
    assert confinement.zygote_pid is not None
    await confinement.close()


async def test_how_long_a_start_may_take_is_the_owners_to_say() -> None:
    """The setting reaches the sandbox itself; none is ready in a microsecond."""
    confinement = Confinement([], partial(start_sandbox, timeout_s=1e-6))
    with pytest.raises(UnavailableError, match="did not start within 1e-06 s"):
        await confinement.ready()
    await confinement.close()


async def test_it_is_started_once_however_many_wait() -> None:
    starter = Starter()
    confinement = Confinement([], starter)
    assert len({id(each) for each in await asyncio.gather(*(confinement.ready() for _ in range(5)))}) == 1
    assert starter.started == 1


async def test_a_host_that_cannot_have_one_says_why_and_tries_again() -> None:
    """The owner may switch on what is missing without restarting anything."""
    starter = Starter()
    starter.problem = UnavailableError("user namespaces are switched off")
    confinement = Confinement([], starter)
    await confinement.warm()
    assert confinement.problem == "user namespaces are switched off"
    with pytest.raises(UnavailableError, match="switched off"):
        await confinement.ready()
    starter.problem = None
    await confinement.ready()
    assert confinement.problem is None


@pytest.mark.parametrize(
    "problem",
    [OSError(errno.ENFILE, "Too many open files in system"), RuntimeError("can't start new thread"), MemoryError()],
)
async def test_a_host_that_has_nothing_left_says_so_and_tries_again(problem: Exception) -> None:
    """The server hears of it with the status, and what schedules need is fetched all the same."""
    starter = Starter()
    starter.problem = problem
    confinement = Confinement([], starter)
    await confinement.warm()
    assert confinement.problem == f"the sandbox cannot be started: {problem or 'MemoryError'}"
    starter.problem = None
    await confinement.ready()
    starter.problem = problem
    closing = Confinement([], starter)
    starter.may_start.clear()
    waiting = asyncio.create_task(closing.warm())
    await until(lambda: starter.started == 3)
    waiting.cancel()
    await asyncio.wait([waiting])
    starter.may_start.set()
    await closing.close()


async def test_who_gives_up_waiting_does_not_stop_the_start() -> None:
    """A process that is half started and forgotten would be left behind."""
    starter = Starter()
    starter.may_start.clear()
    confinement = Confinement([], starter)
    waiting = asyncio.create_task(confinement.ready())
    await until(lambda: starter.started)
    waiting.cancel()
    await asyncio.wait([waiting])
    starter.may_start.set()
    await confinement.ready()
    assert starter.started == 1


async def test_an_agent_that_stops_while_it_starts_leaves_nothing(descriptors_kept: None) -> None:
    """The service manager asks the moment after it started us."""
    confinement = Confinement(load_catalogue().bindings())
    warming = asyncio.create_task(confinement.warm())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    warming.cancel()
    await asyncio.wait([warming])
    await confinement.close()
    with pytest.raises(UnavailableError, match="stopping"):
        await confinement.ready()


async def test_a_start_that_fails_while_the_agent_stops_is_no_error() -> None:
    starter = Starter()
    starter.may_start.clear()
    starter.problem = UnavailableError("no")
    confinement = Confinement([], starter)
    waiting = asyncio.create_task(confinement.warm())
    await until(lambda: starter.started)
    waiting.cancel()
    await asyncio.wait([waiting])
    closing = asyncio.create_task(confinement.close())
    starter.may_start.set()
    await closing
    assert starter.closed == 0


def wall(name: str, state: State = State.UP) -> Wall:
    return Wall(name, state, "why")


def test_walls_that_stand_satisfy_their_owner() -> None:
    check_walls([wall(SECCOMP), wall(LANDLOCK, State.MISSING)], {SECCOMP})


@pytest.mark.parametrize("state", [State.MISSING, State.OFF])
def test_a_required_wall_that_does_not_stand_is_named_with_its_reason(state: State) -> None:
    with pytest.raises(UnavailableError, match=r"landlock \(why\)"):
        check_walls([wall(SECCOMP), wall(LANDLOCK, state)], {SECCOMP, LANDLOCK})


def test_a_wall_that_is_not_reported_does_not_stand() -> None:
    """A sandbox that was lost reports none."""
    with pytest.raises(UnavailableError, match="landlock"):
        check_walls([], {LANDLOCK})
    with pytest.raises(UnavailableError, match="landlock"):
        check_walls([wall(SECCOMP, State.MISSING)], {SECCOMP, LANDLOCK})
