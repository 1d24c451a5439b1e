"""``proc.signal`` and ``proc.renice``: the process that was meant, or none."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import Kept, gate, perform

from protocol.errors import ArgumentError, ConflictError, DeniedError, NotFoundError
from protocol.tiers import Tier
from stdlib.host import Host
from stdlib.proc_control import Victim, _check_same, send


@pytest.fixture
def grandchild() -> Iterator[int]:
    """A process that is not the agent's own child: those are spared."""
    parent = subprocess.Popen(["/bin/sh", "-c", "sleep 300 & echo $!; wait"], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    comm = Path(f"/proc/{pid}/comm")
    while comm.read_text() != "sleep\n":  # the shell tells its number before it has become the program
        os.sched_yield()
    yield pid
    for each in (pid, parent.pid):
        try:
            os.kill(each, signal.SIGKILL)
        except ProcessLookupError:
            continue
    parent.stdout.close()
    parent.wait()


async def test_a_signal_reaches_the_process_that_was_seen(grandchild: int) -> None:
    held = os.pidfd_open(grandchild)
    row = await perform("proc.get", grandchild)
    told = await perform("proc.signal", grandchild, "TERM", row["started"])
    assert told == {"pid": grandchild, "name": "sleep"}
    import select

    poller = select.poll()
    poller.register(held, select.POLLIN)
    assert poller.poll(10_000), "it has ended"
    os.close(held)


async def test_another_one_with_the_same_number_is_spared(grandchild: int) -> None:
    """What was seen has ended, and its number was given again: its start tells."""
    row = await perform("proc.get", grandchild)
    for started in (row["started"] - 100, row["started"] + 0.01, 0):
        with pytest.raises(ConflictError, match="given again"):
            await perform("proc.signal", grandchild, "KILL", started)
        with pytest.raises(ConflictError, match="given again"):
            await perform("proc.renice", grandchild, 19, started)
    assert await perform("proc.get", grandchild) is not None


async def test_one_that_changed_between_decision_and_act_is_spared(grandchild: int) -> None:
    """The decision was on another process: its number alone means nothing."""
    victim = Victim(grandchild, 1, "sleep", 1)
    with pytest.raises(NotFoundError, match="has ended"):
        _check_same(Host(), victim)
    with pytest.raises(NotFoundError, match="has ended"):
        send(Host(), victim, "KILL")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="not decided"):
        send(Host(), grandchild, "KILL")
    assert await perform("proc.get", grandchild) is not None


async def test_the_first_process_and_the_agent_are_spared() -> None:
    own = subprocess.Popen(["sleep", "300"])
    try:
        for pid in (1, os.getpid(), own.pid):
            with pytest.raises(DeniedError, match="first, the agent"):
                await perform("proc.signal", pid, "KILL")
        assert own.poll() is None
    finally:
        own.kill()
        own.wait()


async def test_renice(grandchild: int) -> None:
    before = os.getpriority(os.PRIO_PROCESS, grandchild)
    told = await perform("proc.renice", grandchild, before + 1)
    assert told == {"pid": grandchild, "name": "sleep", "before": before}
    assert os.getpriority(os.PRIO_PROCESS, grandchild) == before + 1


@pytest.mark.parametrize("sig", ["SEGV", "15", 15, "term", "", None])
async def test_only_signals_of_the_list_exist(grandchild: int, sig: object) -> None:
    with pytest.raises(ArgumentError, match="sig"):
        await perform("proc.signal", grandchild, sig)


async def test_it_is_decided_and_recorded(grandchild: int) -> None:
    kept = Kept()
    reply = await gate(Tier.OPERATE, kept).call("proc.signal", [grandchild, "CONT"], {})
    assert reply.ok
    assert [record["kind"] for record in kept.records] == ["intent", "call"]
    assert kept.records[-1]["arguments"] == {"pid": grandchild, "sig": "CONT", "started": None}


@pytest.mark.parametrize(("name", "argument"), [("proc.renice", 19), ("proc.signal", "CONT")])
async def test_a_thread_is_no_process(name: str, argument: int | str) -> None:
    """The kernel slows one down by its number, which is none that the agent is known by."""
    is_told, may_end, numbers = threading.Event(), threading.Event(), []

    def live() -> None:
        numbers.append(threading.get_native_id())
        is_told.set()
        may_end.wait(60)

    thread = threading.Thread(target=live)
    thread.start()
    try:
        assert is_told.wait(60)
        with pytest.raises(NotFoundError, match="there is no process"):
            await perform(name, numbers[0], argument)
        assert os.getpriority(os.PRIO_PROCESS, numbers[0]) == os.getpriority(os.PRIO_PROCESS, 0)
    finally:
        may_end.set()
        thread.join()
