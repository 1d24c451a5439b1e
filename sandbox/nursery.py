"""The agent's side of one zygote process: starts it, asks it for workers, hears how they ended, ends it.

If the zygote goes away, every worker of it is reported as lost, once. Each worker is held by a pidfd, so a signal never
reaches a stranger who got the same number. The zygote is asked for it when it is wanted, and tells it over a socket of
its own: most workers end before anybody wants their process. The zygote's stderr is the agent's; its environment is
nearly empty.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import struct
import subprocess
from contextlib import ExitStack, suppress
from typing import Final

import kernel
from kernel import offspring
from protocol.errors import OutriderError, ProtocolError, UnavailableError
from sandbox.control import (
    FORKED_BYTES,
    MAX_PACKET_BYTES,
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
    unpack,
)
from sandbox.jail import cgroup
from sandbox.jail.walls import State, Wall
from sandbox.outcome import Ended as WorkerEnded
from sandbox.outcome import has_crashed
from sandbox.processes import Worker

START_TIMEOUT_S: Final = 30.0  # a cold start from a slow disk; 0.3 s when warm
TELL_TIMEOUT_S: Final = 5.0  # from the question which process a worker is to the answer; mostly 0.1 ms
STOP_TIMEOUT_S: Final = 2.0  # for an orderly end before it is killed; it takes milliseconds

_DESCRIPTOR: Final = struct.Struct("i")
_BESIDE_BYTES: Final = socket.CMSG_LEN(_DESCRIPTOR.size)
_RIGHTS: Final = (int(socket.SOL_SOCKET), int(socket.SCM_RIGHTS))
_CLOSED_ON_EXEC: Final = int(socket.MSG_CMSG_CLOEXEC)  # a plain number: the enumeration's is looked into at each use
_BIRTH_BYTES: Final = FORKED_BYTES + 1  # one more, so that a packet that is too long is seen to be
#: Of that many workers of one zygote: the next zygote is started, and this one takes runs until that is there.
WEARING_CRASHES: Final = 8
#: Of that many it takes no run any more. Who has to guess 28 bits, a byte at a time, finds them so in one of 70,000
#: zygotes, and each of these crashes is on record; docs/decisions/0045-crashes-are-counted.md.
MAX_CRASHES: Final = 16
_log = logging.getLogger("outrider.sandbox.zygote")


def _descriptors(beside: list[tuple[int, int, bytes]]) -> list[int]:
    """Return what came beside a packet, for whose descriptors there was room for one, and for nothing else.

    As ``socket.recv_fds``, which takes twice the time.
    """
    return [number for _, _, data in beside for (number,) in _DESCRIPTOR.iter_unpack(data)]


def _close_all(received: list[int]) -> None:
    for descriptor in received:
        os.close(descriptor)


class Zygote:
    """One zygote process. Made by :meth:`start` only."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        process: subprocess.Popen[bytes],
        control: socket.socket,
        births: socket.socket,
    ) -> None:
        self.walls: tuple[Wall, ...] = ()  # how they stand in every worker; known when started
        self.runs = 0  # workers asked for so far
        self.is_alive = True
        self.crashes = 0  # workers that ended as deep nests make them, and as probes of the address layout do
        self.is_suspect = False  # so many that somebody may be about to find that layout
        self._loop = loop
        self._process = process
        self._control = control
        self._births = births
        self._is_listening = False  # to births; somebody waits for one
        self._told_s = 0.0  # by the loop's clock: when that began, or when one was last told
        self._silence: asyncio.TimerHandle | None = None  # until somebody looks whether any was told
        self._asked = 0  # how many workers had been asked for when the zygote was last asked to tell
        self._workers: dict[int, Worker] = {}
        self._ready: asyncio.Future[None] = loop.create_future()
        self._reaped: asyncio.Future[None] = loop.create_future()  # done when no process of ours is left
        self._stopping: asyncio.Task[None] | None = None  # if it was given up; held here, as nobody waits for it
        self._held: list[int] = []  # pidfds of children that are not reaped: the started process, the zygote proper
        self._is_killed = False
        loop.add_reader(control.fileno(), self._on_packet)
        self._hold(os.pidfd_open(process.pid))

    @classmethod
    async def start(cls, setup: Setup, python: str, timeout_s: float = START_TIMEOUT_S) -> Zygote:
        """Start one and wait until it is ready, for at most ``timeout_s`` seconds.

        Raises:
            UnavailableError: It cannot work here; says why.
        """
        with ExitStack() as unused:
            try:
                births, told = map(unused.enter_context, socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
                process, ours = offspring.start(python, "sandbox.seed")
            except OSError as error:
                raise UnavailableError(f"the sandbox cannot be started: {error}") from None
            unused.pop_all()
        births.setblocking(False)
        zygote = cls(asyncio.get_running_loop(), process, ours, births)
        try:
            with told:
                socket.send_fds(ours, [pack(setup)], [told.fileno()])
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(zygote._ready)
        except BaseException as error:
            await zygote.stop()
            if isinstance(error, (OSError, TimeoutError)):
                raise UnavailableError(f"the sandbox did not start within {timeout_s:g} s") from None
            raise
        return zygote

    @property
    def pid(self) -> int:
        """The zygote; where the kernel cannot put it beside the process that was started, that one."""
        return kernel.pid_of(self._held[-1]) if self._held else self._process.pid

    @property
    def active(self) -> int:
        """Workers that have not ended."""
        return len(self._workers)

    def fork(self, language: str, memory_bytes: int, cpu_s: float, channel: socket.socket, ahead: bool) -> Worker:
        """Ask for a worker that has ``channel`` as its end; ``ahead`` if nobody waits for it yet.

        Raises:
            UnavailableError: The zygote is gone, or so far behind that it takes no more requests.
        """
        run = self.runs = self.runs + 1
        request = pack(Fork(run, language, memory_bytes, float(cpu_s), ahead))
        try:
            self._control.sendmsg([request], [(*_RIGHTS, _DESCRIPTOR.pack(channel.fileno()))])
        except OSError as error:
            self._hear()  # perhaps that it is gone: a caller that tries again at once would keep the loop from it
            raise UnavailableError(f"the sandbox takes no run now: {error.strerror}") from None
        worker = self._workers[run] = Worker(self._loop, self._hear_births, self._ask_for_births)
        return worker

    def give_up(self) -> None:
        """Begin to :meth:`stop` it, as it does not do its part: all its workers are lost."""
        self._stopping = self._loop.create_task(self.stop())

    async def stop(self) -> None:
        """End it and all its workers. Idempotent.

        Cancellation:
            Safe, but the process may be left to end by itself, which it does as its control socket is closed.
        """
        if self._ready.done():
            self._close_control()
        else:  # it may be about to name the zygote proper, which nobody could reap if that were not heard
            with suppress(OSError):  # it has just ended by itself
                self._control.shutdown(socket.SHUT_WR)
        # Not by asyncio.timeout: in Python 3.11 a start that was cancelled never hears of it (python/cpython#102780).
        await asyncio.wait([self._reaped], timeout=STOP_TIMEOUT_S)
        if not self._reaped.done():
            self._kill()
            await asyncio.wait([self._reaped])

    def _on_packet(self) -> bool:
        """Take one packet; return whether there may be another one."""
        try:
            packet, beside, _, _ = self._control.recvmsg(MAX_PACKET_BYTES, _BESIDE_BYTES, _CLOSED_ON_EXEC)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            packet, beside = b"", []
        if not packet:
            self._lose("the sandbox ended")
            return False
        received = _descriptors(beside)
        try:
            self._take(packet, received)
        except OutriderError as error:
            _close_all(received)
            self._refuse(error)
        return self.is_alive

    def _refuse(self, error: OutriderError) -> None:
        _log.error("the zygote speaks nonsense: %s", error)
        self._lose("the sandbox broke its own rules")

    def _hear_births(self) -> None:
        """Take what has been said of births so far."""
        try:
            while (birth := self._next_birth()) is not None:
                self._take_birth(*birth)
        except ProtocolError as error:
            self._refuse(error)

    def _skip_birth(self, run: int) -> None:
        """Hear up to the birth of a run whose worker has ended, and take those before it.

        Raises:
            ProtocolError: It was not told.
        """
        while (birth := self._next_birth()) is not None:
            if birth[0] == run:
                os.close(birth[1])
                return
            self._take_birth(*birth)
        raise ProtocolError("a worker has ended that was never born")

    def _next_birth(self) -> tuple[int, int] | None:
        """Return a run and the pidfd of its worker, which is the caller's; None if no more is said now.

        Raises:
            ProtocolError: Something else is said.
        """
        try:
            packet, beside, _, _ = self._births.recvmsg(_BIRTH_BYTES, _BESIDE_BYTES, _CLOSED_ON_EXEC)
        except OSError:  # nothing now; or it was reset, and then the control socket tells the end
            return None
        received = _descriptors(beside)
        if not packet and not received:  # the same
            self._listen_no_more()
            return None
        try:
            message = unpack(packet)
            if not isinstance(message, Forked) or len(received) != 1:
                raise ProtocolError("something else is told where births are")
        except ProtocolError:
            _close_all(received)
            raise
        return message.run, received[0]

    def _take_birth(self, run: int, pidfd: int) -> None:
        try:
            self._worker(run).born(pidfd)
        except ProtocolError:
            os.close(pidfd)
            raise

    def _ask_for_births(self) -> None:
        """Have the zygote tell of all workers there are, and hear of them as they are told."""
        if not self.is_alive:
            return
        if not self._is_listening:
            self._is_listening = True
            self._loop.add_reader(self._births.fileno(), self._on_birth)
            self._told_s = self._loop.time()
            if self._silence is None:
                self._silence = self._loop.call_later(TELL_TIMEOUT_S, self._look_for_silence)
        if self._asked < self.runs:
            with suppress(OSError):  # so far behind, or gone: then there is silence
                self._control.send(TELL)
                self._asked = self.runs

    def _look_for_silence(self) -> None:
        """Give it up if it tells nothing that somebody waits for: who is to be killed must not live on."""
        self._silence = None
        if not self._is_listening:
            return
        silent_s = self._loop.time() - self._told_s
        if silent_s < TELL_TIMEOUT_S:
            self._silence = self._loop.call_later(TELL_TIMEOUT_S - silent_s, self._look_for_silence)
            return
        _log.error("the zygote does not say which processes its workers are")
        self.give_up()

    def _listen_no_more(self) -> None:
        if self._is_listening:
            self._is_listening = False
            self._loop.remove_reader(self._births.fileno())

    def _on_birth(self) -> None:
        self._told_s = self._loop.time()
        self._hear_births()
        self._listen_if_awaited()

    def _listen_if_awaited(self) -> None:
        """Listen no more where nobody waits for a birth: then silence is as it must be."""
        if self._is_listening and not any(worker.is_awaited for worker in self._workers.values()):
            self._listen_no_more()

    def _hear(self) -> None:
        """Take all that it has said so far."""
        while self.is_alive and self._on_packet():
            continue

    def _take(self, packet: bytes, received: list[int]) -> None:
        message = unpack(packet)
        if len(received) != isinstance(message, Born):
            raise ProtocolError("a control packet came with the wrong number of descriptors")
        match message:  # what is said of each worker first
            case Ended():
                worker = self._worker(message.run)
                _check_end(message.status)
                if message.is_told and not worker.is_born:
                    self._skip_birth(message.run)
                elif worker.is_born and not message.is_told:
                    raise ProtocolError("a worker is said not to have been told that was")
                del self._workers[message.run]
                ended = WorkerEnded(message.status, message.cpu_us, message.peak_bytes)
                if has_crashed(ended):
                    self._note_crash(ended)
                worker.gone(ended)
                self._listen_if_awaited()  # its birth may be what is waited for, and is not told any more
            case Born():
                self._check_starts()
                if len(self._held) != 1 or not _is_child(received[0]):
                    raise ProtocolError("the zygote proper is said to be a process that it cannot be")
                self._hold(received[0])
            case Ready():
                self._check_starts()
                self.walls = _walls(message)
                self._ready.set_result(None)
            case Failed():
                self._check_starts()
                self._fail(f"the sandbox cannot work here: {message.reason}")
            case NotForked():
                worker = self._worker(message.run)
                worker.not_started = message.reason
                del self._workers[message.run]
                worker.gone(None)
                self._listen_if_awaited()
            case _:
                raise ProtocolError("a control packet of the wrong direction")

    def _note_crash(self, ended: WorkerEnded) -> None:
        """Count it, and have it in the log: of a spare, or of what compiles, no run's record tells."""
        self.crashes += 1
        self.is_suspect = self.crashes >= MAX_CRASHES
        name = signal.Signals(os.WTERMSIG(ended.status)).name
        _log.warning("a worker of the sandbox was killed by %s, the %d. of its zygote", name, self.crashes)

    def _check_starts(self) -> None:
        """Return if the zygote has not said yet whether it can work: after that it speaks of workers only."""
        if self._ready.done():
            raise ProtocolError("the zygote says once more how it starts")

    def _worker(self, run: int) -> Worker:
        if run not in self._workers:
            raise ProtocolError(f"there is no worker for run {run}")
        return self._workers[run]

    def _hold(self, pidfd: int) -> None:
        self._held.append(pidfd)
        self._loop.add_reader(pidfd, self._on_exit, pidfd)
        if self._is_killed:  # the zygote proper was put there just before that, and is heard of only now
            self._kill()

    def _kill(self) -> None:
        self._is_killed = True
        for pidfd in self._held:
            with suppress(ProcessLookupError):  # it has just ended by itself
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)

    def _lose(self, reason: str) -> None:
        """The control socket is closed: there is no zygote any more, whatever its process still does."""
        self._close_control()
        self._kill()
        self._fail(f"the sandbox cannot work here: {reason}")

    def _fail(self, reason: str) -> None:
        """Tell whoever waits for the start why there is none. Perhaps nobody does any more."""
        if not self._ready.done():
            self._ready.set_exception(UnavailableError(reason))
            self._ready.exception()  # seen

    def _close_control(self) -> None:
        if not self.is_alive:
            return
        self.is_alive = False
        self._hear_births()  # so that who is there is killed at once, and not only with the zygote
        self._listen_no_more()
        if self._silence is not None:
            self._silence.cancel()
        self._births.close()
        self._loop.remove_reader(self._control.fileno())
        self._control.close()
        for worker in self._workers.values():
            worker.kill()
            worker.gone(None)
        self._workers.clear()

    def _on_exit(self, pidfd: int) -> None:
        self._hear()  # its last words, which may say why, or name the zygote proper
        self._loop.remove_reader(pidfd)
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        os.close(pidfd)
        self._held.remove(pidfd)
        if self._held:
            return
        self._process.poll()  # it is reaped; let it know
        cgroup.remove_stale()
        self._reaped.set_result(None)
        self._close_control()
        self._fail("the sandbox ended while it started")


def _is_child(pidfd: int) -> bool:
    """Tell whether it is the pidfd of a child of ours, which alone we can reap."""
    try:
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except OSError:  # EBADF or EINVAL: no pidfd; ECHILD
        return False
    return True


def _check_end(status: int) -> None:
    """Return if this is the status of an end.

    Raises:
        ProtocolError: It is not.
    """
    try:
        os.waitstatus_to_exitcode(status)
    except ValueError:
        raise ProtocolError(f"a worker is said to have ended with the status {status}") from None


def _walls(message: Ready) -> tuple[Wall, ...]:
    try:
        return tuple(Wall(name, State(state), detail) for name, state, detail in message.walls)
    except ValueError as error:
        raise ProtocolError(f"the walls are not told as agreed: {error}") from None
