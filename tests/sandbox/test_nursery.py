"""The agent's side of a zygote, against one that lies: whatever it says, the agent goes on, and keeps nothing of it.

The zygote is a double here; the socket, the descriptors and the processes are real.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import struct
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from protocol.errors import UnavailableError
from sandbox import nursery
from sandbox.control import (
    MAX_FORK_BYTES,
    TELL,
    Born,
    Ended,
    Failed,
    Fork,
    Forked,
    NotForked,
    Ready,
    Setup,
    pack,
)
from sandbox.nursery import Zygote
from sandbox.processes import Worker

DEADLINE_S = 60.0
READY = pack(Ready([]))


class Liar:
    """A zygote's end of the socket, and the process that passes for it."""

    def __init__(self) -> None:
        ours, self.control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        theirs, self.births = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        self.process = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self.zygote = Zygote(asyncio.get_running_loop(), self.process, ours, theirs)

    def say(self, packet: bytes, *descriptors: int) -> None:
        socket.send_fds(self.control, [packet], list(descriptors))

    def bear(self, packet: bytes, *descriptors: int) -> None:
        """Say it where births are told."""
        socket.send_fds(self.births, [packet], list(descriptors))

    def fork(self) -> Worker:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            return self.zygote.fork("lua", 1 << 20, 1.0, theirs, False)

    async def lost(self) -> None:
        """Return once the agent has given the zygote up and reaped it, which it must."""
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.shield(self.zygote._reaped)
        assert not self.zygote.is_alive
        assert self.zygote.active == 0

    async def heard(self) -> None:
        """Return once the agent has taken what was said."""
        async with asyncio.timeout(DEADLINE_S):
            while self.zygote.is_alive and _waits(self.zygote._control):
                await asyncio.sleep(0)

    async def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()  # upon which it ends
        self.control.close()
        self.births.close()
        await self.zygote.stop()


async def born(worker: Worker) -> None:
    """Return once the agent knows which process it is."""
    async with asyncio.timeout(DEADLINE_S):
        while not worker.is_born:
            await asyncio.sleep(0)


def _waits(sock: socket.socket) -> bool:
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


@pytest.fixture
async def liar(descriptors_kept: None) -> AsyncIterator[Liar]:
    made = Liar()
    yield made
    await made.close()


@contextmanager
def child() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A process that goes on until its input ends, and its pidfd."""
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        pidfd = os.pidfd_open(process.pid)
        try:
            yield process, pidfd
        finally:
            os.close(pidfd)
            process.kill()


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _pidfds() -> int:
    gc.collect()  # what earlier tests left to be closed some time
    with os.scandir("/proc/self/fd") as listed:
        return sum(os.path.lexists(one.path) and "pidfd" in os.readlink(one.path) for one in listed)


@pytest.mark.parametrize(
    "packets",
    [
        [pack(Forked(7))], [pack(Ended(7, 0, 1, 1, False))], [pack(NotForked(7, "x"))],
        [READY, READY], [READY, pack(Failed("x"))], [pack(Failed("x")), READY], [READY, pack(Born())],
        [pack(Setup([], [], "x", [], 1, 1))], [pack(Fork(1, "lua", 1, 1.0, False))],
        [pack(Ready([["x", "y", "z"]]))], [pack(Ready([["x"]]))],
        [b"\xc1"], [TELL], [b"\xc1\x04"], [b"\xc1\x06" + bytes(100)], [b"\x00" * 50_000], [os.urandom(100)],
    ],
)  # fmt: skip
async def test_what_makes_no_sense_ends_it(liar: Liar, packets: list[bytes]) -> None:
    for packet in packets:
        liar.say(packet)
    await liar.lost()
    with pytest.raises(UnavailableError):
        liar.fork()


@pytest.mark.parametrize(
    "packet",
    [
        b"", b"\xc1", b"\xc1\x04", READY, TELL, pack(Forked(1)) + b"\0", pack(Forked(7)), pack(Forked(-1)),
        pack(Born()), pack(Ended(1, 0, 1, 1, True)), pack(NotForked(1, "x")), b"\x00" * 50_000, os.urandom(100),
    ],
)  # fmt: skip
async def test_what_makes_no_sense_where_births_are_told_ends_it(liar: Liar, packet: bytes) -> None:
    """Whoever looks first hears it; and what came beside it is not kept."""
    liar.say(READY)
    worker = liar.fork()
    with child() as (process, pidfd):
        before = _descriptors()
        liar.bear(packet, pidfd)
        assert worker.cpu_s() is None
        assert not liar.zygote.is_alive
        assert _descriptors() < before  # without both sockets
        assert process.poll() is None, "it was nobody's to kill"
    await liar.lost()


async def test_no_more_is_heard_of_births_than_there_are_workers(liar: Liar) -> None:
    """A zygote that speaks on and on there keeps nobody busy, also not at the end."""
    liar.say(READY)
    worker = liar.fork()
    with child() as (_, pidfd):
        for _ in range(100):
            liar.bear(pack(Forked(7)), pidfd)
        worker.kill()
    await liar.lost()


@pytest.mark.parametrize("status", [0x7F, 0x137F, 0xFFFF, -1, 1 << 20, -(1 << 31)])
@pytest.mark.parametrize("is_told", [True, False])
async def test_an_end_with_an_impossible_status_leaves_nobody_waiting(liar: Liar, status: int, is_told: bool) -> None:
    """Whoever waits for the end of the worker waits for as long as the run may take, and then for ever."""
    liar.say(READY)
    worker = liar.fork()
    with child() as (_, pidfd):
        if is_told:
            liar.bear(pack(Forked(1)), pidfd)
        liar.say(pack(Ended(1, status, 1, 1, is_told)))
        async with asyncio.timeout(DEADLINE_S):
            ended = await worker.ended
    if ended is None:
        await liar.lost()
    else:
        os.waitstatus_to_exitcode(ended.status)  # which a run will do


@pytest.mark.parametrize("twice", [Ended(1, 0, 1, 1, True), NotForked(1, "no")])
async def test_what_is_said_twice_of_a_worker_ends_it(liar: Liar, twice: Ended | NotForked) -> None:
    """Also if it was born before."""
    liar.say(READY)
    worker = liar.fork()
    with child() as (_, pidfd):
        liar.bear(pack(Forked(1)), pidfd)
        for _ in range(20):
            with suppress_lost():
                liar.say(pack(twice))
        await liar.lost()
        async with asyncio.timeout(DEADLINE_S):
            await worker.ended


async def test_who_is_born_twice_costs_no_descriptor(liar: Liar) -> None:
    """Each time would take one that nobody closes, and the agent has some thousand."""
    liar.say(READY)
    worker = liar.fork()
    before = _descriptors()
    with child() as (process, pidfd):
        for _ in range(20):
            liar.bear(pack(Forked(1)), pidfd)
        assert worker.cpu_s() is None  # lost
        await liar.lost()
        assert process.wait(DEADLINE_S) == -signal.SIGKILL, "what was its worker is killed with it"
    assert _descriptors() < before


@pytest.mark.parametrize("is_told", [True, False])
async def test_whether_a_birth_was_told_must_be_true(liar: Liar, is_told: bool) -> None:
    """Or a pidfd would be left for later that nobody wants."""
    liar.say(READY)
    worker = liar.fork()
    with child() as (_, pidfd):
        if not is_told:
            liar.bear(pack(Forked(1)), pidfd)
            assert worker.cpu_s() is not None
        liar.say(pack(Ended(1, 0, 1, 1, is_told)))
        await liar.lost()
    assert worker.ended.result() is None


async def test_a_birth_that_is_told_after_its_end_is_nonsense(liar: Liar) -> None:
    """There is no such worker any more."""
    liar.say(READY)
    liar.fork()
    second = liar.fork()
    liar.say(pack(Ended(1, 0, 1, 1, False)))
    await liar.heard()
    with child() as (_, pidfd):
        liar.bear(pack(Forked(1)), pidfd)
        assert second.cpu_s() is None
    await liar.lost()


async def test_births_that_were_told_are_heard_up_to_what_is_wanted(liar: Liar) -> None:
    """Of one that has ended nothing is kept; who came before it is there."""
    liar.say(READY)
    first, second, third = (liar.fork() for _ in range(3))
    with child() as (one, pidfd), child() as (_, other), child() as (_, another):
        before = _pidfds()
        for number, born in enumerate([pidfd, other, another], 1):
            liar.bear(pack(Forked(number)), born)
        liar.say(pack(Ended(2, 0, 7, 8, True)))
        await liar.heard()
        assert second.ended.result() is not None
        assert (first.is_born, third.is_born) == (True, False)
        assert third.cpu_s() is not None
        assert (first.is_born, third.is_born) == (True, True)
        first.kill()
        assert one.wait(DEADLINE_S) == -signal.SIGKILL
        assert _pidfds() == before + 2
        assert first.cpu_s() is None  # it is reaped


async def test_who_is_to_be_killed_is_asked_for_and_dies_of_being_told(liar: Liar) -> None:
    """Once for all that there are; and what is told is heard until nobody waits for more."""
    liar.say(READY)
    first, second = liar.fork(), liar.fork()
    assert [len(liar.control.recv(100)) for _ in range(2)] == [MAX_FORK_BYTES] * 2
    with child() as (one, pidfd), child() as (_, other):
        first.kill()
        first.kill()
        assert second.cpu_s() is None
        assert liar.control.recv(100) == TELL
        assert not _waits(liar.control)
        liar.bear(pack(Forked(1)), pidfd)
        await born(first)
        assert one.wait(DEADLINE_S) == -signal.SIGKILL
        assert liar.zygote._is_listening
        liar.bear(pack(Forked(2)), other)
        await born(second)
        assert not liar.zygote._is_listening
        third = liar.fork()
        assert third.cpu_s() is None
        assert liar.control.recv(100) != TELL
        assert liar.control.recv(100) == TELL
        assert third.is_awaited


async def test_a_zygote_that_does_not_tell_is_given_up(liar: Liar, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was to be killed would live on, also if nobody waits for its end any more."""
    monkeypatch.setattr(nursery, "TELL_TIMEOUT_S", 0.01)
    monkeypatch.setattr(nursery, "STOP_TIMEOUT_S", 0.01)
    liar.say(READY)
    worker = liar.fork()
    worker.kill()
    await liar.lost()
    assert worker.ended.result() is None


async def test_a_zygote_that_tells_is_waited_for(liar: Liar, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, as it can; who has told something since then is looked at again later."""
    liar.say(READY)
    first, second = liar.fork(), liar.fork()
    with child() as (_, pidfd):
        assert (first.cpu_s(), second.cpu_s()) == (None, None)
        liar.zygote._told_s -= nursery.TELL_TIMEOUT_S  # so long ago
        liar.bear(pack(Forked(1)), pidfd)
        await born(first)
    liar.zygote._look_for_silence()
    assert liar.zygote._stopping is None
    assert second.is_awaited
    monkeypatch.setattr(nursery, "TELL_TIMEOUT_S", 0.0)
    liar.zygote._look_for_silence()
    await liar.lost()


async def test_nobody_minds_silence_when_all_is_told(liar: Liar, monkeypatch: pytest.MonkeyPatch) -> None:
    """A zygote that nobody asks is silent."""
    liar.say(READY)
    worker = liar.fork()
    with child() as (_, pidfd):
        assert worker.cpu_s() is None
        liar.bear(pack(Forked(1)), pidfd)
        async with asyncio.timeout(DEADLINE_S):
            while liar.zygote._is_listening:
                await asyncio.sleep(0)
        monkeypatch.setattr(nursery, "TELL_TIMEOUT_S", 0.0)
        liar.zygote._look_for_silence()
        assert liar.zygote._stopping is None


async def test_nobody_waits_for_a_process_that_has_ended(liar: Liar) -> None:
    """Its end is told first, as it came before the question."""
    liar.say(READY)
    worker = liar.fork()
    worker.kill()
    assert worker.is_awaited
    liar.say(pack(Ended(1, 0, 1, 1, False)))
    await liar.heard()
    assert not worker.is_awaited
    assert liar.zygote.is_alive
    worker.kill()
    assert worker.cpu_s() is None


@pytest.mark.parametrize("end", [Ended(1, 0, 1, 1, False), NotForked(1, "no")])
async def test_silence_about_who_has_ended_is_no_reason_to_give_a_zygote_up(
    liar: Liar, monkeypatch: pytest.MonkeyPatch, end: Ended | NotForked
) -> None:
    """It had nothing to tell; and whoever is asked for later is waited for from then on."""
    liar.say(READY)
    liar.fork().kill()
    liar.say(pack(end))
    await liar.heard()
    liar.zygote._told_s -= nursery.TELL_TIMEOUT_S
    liar.zygote._look_for_silence()
    assert liar.zygote._stopping is None
    second = liar.fork()
    second.kill()
    liar.zygote._look_for_silence()
    assert liar.zygote._stopping is None
    assert second.is_awaited
    monkeypatch.setattr(nursery, "TELL_TIMEOUT_S", 0.0)
    liar.zygote._look_for_silence()
    await liar.lost()


@contextmanager
def suppress_lost() -> Iterator[None]:
    """The agent may have given it up before it has said all of it."""
    with suppress(BrokenPipeError, ConnectionResetError):
        yield


OPENED: dict[str, Callable[[], int]] = {
    "memory": lambda: os.memfd_create("x"),
    "file": lambda: os.open("/dev/null", os.O_RDONLY),
    "own pidfd": lambda: os.pidfd_open(os.getpid()),
}


@pytest.mark.parametrize("thing", OPENED)
@pytest.mark.parametrize("is_born", [False, True])
async def test_descriptors_that_are_no_pidfd_of_a_worker_are_not_taken(liar: Liar, is_born: bool, thing: str) -> None:
    """Of what is no pidfd nobody ever hears the end; and by ours, which a socket gives, the agent would end itself."""
    if is_born:
        liar.say(READY)
        liar.fork().kill()  # it is to be killed as soon as there is a process
    descriptor = OPENED[thing]()
    try:
        (liar.bear if is_born else liar.say)(pack(Forked(1) if is_born else Born()), descriptor)
    finally:
        os.close(descriptor)
    await liar.lost()


@pytest.mark.parametrize("is_born", [False, True])
async def test_packets_without_their_descriptor_end_it(liar: Liar, is_born: bool) -> None:
    if is_born:
        liar.say(READY)
        liar.fork().kill()
    (liar.bear if is_born else liar.say)(pack(Forked(1) if is_born else Born()))
    await liar.lost()


async def test_descriptors_that_nobody_asked_for_are_closed(liar: Liar) -> None:
    """More than one beside a packet, and one beside a packet that has none."""
    before = _descriptors()
    with open("/dev/null", "rb") as null:
        liar.say(READY, null.fileno(), null.fileno(), null.fileno())
        await liar.lost()
    assert _descriptors() <= before


async def test_a_second_zygote_proper_is_refused(liar: Liar) -> None:
    """Each would be waited for at the end, and there could be thousands."""
    with child() as (one, first), child() as (other, second):
        liar.say(pack(Born()), first)
        await liar.heard()
        assert liar.zygote.is_alive
        liar.say(pack(Born()), second)
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.shield(liar.zygote._reaped)
        assert other.poll() is None, "it was nobody's to kill"
        one.returncode = -signal.SIGKILL  # reaped by the agent, as a zygote proper is


async def test_a_zygote_proper_that_is_heard_of_after_the_kill_is_killed_too(
    liar: Liar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was put beside the started process just before that died; nobody would end it, and its end is waited for."""
    monkeypatch.setattr(nursery, "STOP_TIMEOUT_S", 0.01)
    liar.process.send_signal(signal.SIGSTOP)
    with child() as (proper, pidfd):
        kill = liar.zygote._kill

        def late() -> None:
            liar.say(pack(Born()), pidfd)
            kill()

        monkeypatch.setattr(liar.zygote, "_kill", late)
        async with asyncio.timeout(DEADLINE_S):
            await liar.zygote.stop()
        proper.returncode = -signal.SIGKILL  # reaped by the agent, as a zygote proper is


async def test_a_flood_of_packets_ends_with_what_they_may_say(liar: Liar) -> None:
    """The loop takes all that was said when a request fails, so what may be said must come to an end."""
    liar.say(READY)
    with suppress_lost():
        while True:
            try:
                liar.say(READY)
            except BlockingIOError:
                break
    liar.zygote._hear()
    assert not liar.zygote.is_alive
    await liar.lost()


async def test_a_zygote_that_takes_no_request_is_no_reason_to_wait(liar: Liar) -> None:
    """It stops reading: requests are refused at once, and those before them are lost with it."""
    liar.say(READY)
    workers: list[Worker] = []
    while len(workers) < 100_000:
        try:
            workers.append(liar.fork())
        except UnavailableError:
            break
    assert 0 < len(workers) < 100_000
    await liar.close()
    assert all(worker.ended.done() for worker in workers)


def test_layouts_are_what_the_tests_take_them_for() -> None:
    assert len(pack(Ended(1, 0, 1, 1, True))) == struct.calcsize("<2sqiqqB")
