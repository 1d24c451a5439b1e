"""Who looks after a program can be stopped by it: what waits for its end is bounded all the same, and nothing is left.

A program that runs as the agent's own user can send SIGSTOP to the process that looks after it, and to the spawner.
What is stopped ends nothing, hears no end of a socket, and says nothing.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from living import Watched, children, everybodys_python, lines, python, shell

from protocol.errors import UnavailableError
from stdlib.proc_run import run
from stdlib.processes import spawning, start
from stdlib.processes.process import Process
from stdlib.processes.start import Processes, Program, Stream

PIPE = Stream.PIPE
BOUND_S = 30.0  # far above the patience below; who waits without bound does not come in under it
STOPS = """
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()
    os.write(1, b"%d\\n" % os.getpid())
    time.sleep(300)
os.write(1, b"%d\\n" % os.getpid())
sys.stdin.readline()
parent = os.getppid()
{also}
os.kill(parent, signal.SIGSTOP)
os.write(1, b"stopped\\n")
time.sleep(300)
"""
THE_SPAWNER = """
spawner = int(open(f"/proc/{parent}/stat").read().rpartition(")")[2].split()[1])
os.kill(spawner, signal.SIGSTOP)
"""


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows when nobody answers follows soon."""
    monkeypatch.setattr(start, "DROP_S", 0.3)
    monkeypatch.setattr(spawning, "STOP_TIMEOUT_S", 0.5)


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.fixture
async def impatient() -> AsyncIterator[Processes]:
    """One whose patience is short."""
    async with Processes(patience_s=0.2) as started:
        yield started


async def attacked(processes: Processes, also: str = "") -> tuple[Process, Watched]:
    process = await processes.start(python(STOPS.format(also=also)), stdin=PIPE, stdout=PIPE)
    pids = [int(each) for each in await lines(process, 2)]
    assert process.stdin is not None
    spawner = processes.spawner_pid
    assert spawner is not None
    watched = Watched([*pids, *children(spawner)])
    await process.stdin.write(b"go\n")
    assert await lines(process, 1) == ["stopped"]
    while not any(map(is_stopped, children(spawner))):  # sent, but perhaps not yet taken
        os.sched_yield()
    return process, watched


async def test_the_close_of_a_program_that_stopped_who_looks_after_it_is_bounded(
    descriptors_kept: None, impatient: Processes
) -> None:
    """Its whole tree has ended by then, and who waits hears why."""
    process, watched = await attacked(impatient)
    async with asyncio.timeout(BOUND_S):
        await process.close()
    assert "did not answer" in process.unheard
    with pytest.raises(UnavailableError, match="did not answer and was killed"):
        await process.wait()
    assert not watched.wait()
    again = await impatient.start(Program("/bin/true", ("true",)))
    assert (await again.wait()).code == 0
    await again.close()
    assert again.unheard == ""


async def test_nor_does_it_help_to_stop_the_spawner_too(descriptors_kept: None, impatient: Processes) -> None:
    """It is killed, so the kernel has the minder go on, who ends all of it."""
    process, watched = await attacked(impatient, THE_SPAWNER)
    async with asyncio.timeout(BOUND_S):
        await process.close()
    assert process.has_ended
    assert not watched.wait()
    again = await impatient.start(Program("/bin/true", ("true",)))
    assert (await again.wait()).code == 0
    await again.close()


async def test_a_time_out_is_one_also_if_who_looks_after_it_is_stopped(impatient: Processes) -> None:
    """As of ``proc.command`` and ``proc.exec``."""
    program = shell("read go; kill -STOP $PPID; sleep 300")

    async def runs() -> None:
        for timeout_s in (1.0, 20.0):  # a slow machine may not have come to the signal by the first
            await run(impatient, program, timeout_s, b"go\n", 100)

    async with asyncio.timeout(BOUND_S):
        with pytest.raises(UnavailableError, match="did not answer and was killed"):
            await runs()


async def test_one_that_is_stopped_while_it_waits_for_a_command_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next command hears that it did not start; none after it does, and what was stopped is gone."""
    monkeypatch.setattr(start, "DROP_S", 30.0)  # the spawner answers, however slowly
    async with Processes(patience_s=0.2) as processes:
        process = await processes.start(Program("/bin/true", ("true",)))
        await process.wait()
        await process.close()
        spawner = processes.spawner_pid
        assert spawner is not None
        (minder,) = children(spawner)
        watched = Watched([minder])
        os.kill(minder, signal.SIGSTOP)
        with monkeypatch.context() as hasty:
            hasty.setattr(processes, "_start_timeout_s", 0.2)
            with pytest.raises(UnavailableError, match="did not start"):
                await processes.start(Program("/bin/true", ("true",)))
        assert not await asyncio.to_thread(watched.wait)  # while the loop goes on
        again = await processes.start(Program("/bin/true", ("true",)))
        assert (await again.wait()).code == 0
        await again.close()
        assert processes.spawner_pid == spawner


async def test_a_spawner_that_is_stopped_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it has forked who would look after a program."""
    async with Processes(patience_s=0.2) as processes:
        process = await processes.start(Program("/bin/sleep", ("sleep", "300")))
        spawner = processes.spawner_pid
        assert spawner is not None
        watched = Watched([process.pid, spawner, *children(spawner)])
        os.kill(spawner, signal.SIGSTOP)
        with monkeypatch.context() as hasty:
            hasty.setattr(processes, "_start_timeout_s", 0.2)
            with pytest.raises(UnavailableError, match="did not start"):
                await processes.start(Program("/bin/true", ("true",)))
        with pytest.raises(UnavailableError):
            await process.wait()
        assert not await asyncio.to_thread(watched.wait)
        await process.close()
        again = await processes.start(Program("/bin/true", ("true",)))
        assert (await again.wait()).code == 0
        await again.close()


@pytest.mark.parametrize("also", ["", THE_SPAWNER])
async def test_the_end_of_the_agent_leaves_nothing_that_was_stopped(also: str) -> None:
    async with Processes() as processes:
        process, watched = await attacked(processes, also)
        assert not process.has_ended
    assert not watched.wait()
    with pytest.raises(UnavailableError):
        await process.wait()
    await process.close()


AGENT = """
import asyncio
from stdlib.processes.start import Processes, Program, Stream
async def main():
    processes = Processes()
    process = await processes.start(
        Program({python!r}, ("python", "-I", "-S", "-c", {source!r})), stdin=Stream.PIPE, stdout=Stream.PIPE)
    kept = b""
    while kept.count(b"\\n") < 2:
        kept += await process.stdout.read()
    print(processes.spawner_pid, kept.decode().replace("\\n", " "), flush=True)
    await process.stdin.write(b"go\\n")
    print(await process.stdout.read(), flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


def test_the_death_of_the_agent_has_what_is_stopped_go_on() -> None:
    """SIGKILL of the agent, with minder and spawner stopped: the kernel has both go on, and they end all of it."""
    source = AGENT.format(source=STOPS.format(also=THE_SPAWNER), python=everybodys_python())
    agent = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)
    assert agent.stdout is not None
    pids = [int(each) for each in agent.stdout.readline().split()]
    watched = Watched([*pids, *children(pids[0])])
    assert "stopped" in agent.stdout.readline()
    while not all(map(is_stopped, [pids[0], *children(pids[0])])):  # sent, but perhaps not yet taken
        os.sched_yield()
    agent.kill()
    agent.wait()
    agent.stdout.close()
    assert not watched.wait()
