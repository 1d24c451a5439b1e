"""A minder: runs one command at a time and answers for everything that comes of it.

It has one thread and waits for: its control socket, the end of the spawner, a child's end, and a time. It ends the tree
when the program has ended, when it is told to, when the tree has too many processes, when the control socket closes
(the agent is gone or gives it up), and when the spawner is gone. The program itself is reaped last: while it is a
zombie its number, which is that of its process group, belongs to nobody else.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from contextlib import suppress
from typing import Final, NoReturn

import kernel
from protocol.errors import ProtocolError
from protocol.packets import MAX_PACKET_BYTES
from stdlib.processes import child, tree
from stdlib.processes.leaf import Leaf
from stdlib.processes.messages import Ended, Kill, Message, NotStarted, Run, Signal, Started, pack, unpack

LOOK_S: Final = 0.1  # between the first two counts of the tree; doubles
LONGEST_LOOK_S: Final = 0.8
FIRST_PASS_S: Final = 0.002  # between two passes of SIGKILL; doubles
LONGEST_PASS_S: Final = 0.1
PATIENCE_S: Final = 10.0  # for what was killed to be gone, before the owner is told that something is left

AGENT_GONE: Final = "the agent is gone"
SPAWNER_GONE: Final = "the spawner is gone"
TOO_MANY: Final = "too many processes"


def _tasks() -> int:
    """Return how many tasks the system has; proc(5), loadavg."""
    with open("/proc/loadavg", "rb") as file:
        return int(file.read().split()[3].partition(b"/")[2])


class Minder:
    """One minder.

    Args:
        control: The socket to the agent.
        spawner: A pidfd of the spawner.
        leaf: The control group that commands are born into, if there is one.
    """

    def __init__(self, control: socket.socket, spawner: int, leaf: Leaf | None) -> None:
        self._control = control
        self._spawner = spawner
        self._leaf = leaf
        self._waker, wake = socket.socketpair()
        self._waker.setblocking(False)
        wake.setblocking(False)
        self._wake = wake  # kept open
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        self._poller = select.poll()
        for descriptor in (control.fileno(), spawner, self._waker.fileno()):
            self._poller.register(descriptor, select.POLLIN)

    def serve(self) -> NoReturn:
        """Run commands until the agent or the spawner is gone."""
        while True:
            ready = self._wait(None)
            if self._spawner in ready:
                os._exit(0)
            if self._control.fileno() in ready:
                self._take_command()

    def _take_command(self) -> None:
        try:
            packet, received, _, _ = socket.recv_fds(self._control, MAX_PACKET_BYTES, 3, socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:  # closed, with something of ours unread
            packet, received = b"", []
        if not packet:
            os._exit(0)
        message = unpack(packet)
        if isinstance(message, (Signal, Kill)):  # for a command that has just ended
            return
        if not isinstance(message, Run) or len(received) != 3:
            raise ProtocolError("a packet is no command")
        started = self._start(message, received)
        if started is None:
            return
        ended = Command(self, message, *started).attend()
        self.say(ended)
        if ended.why in (AGENT_GONE, SPAWNER_GONE) or ended.left:
            os._exit(1 if ended.left else 0)  # what is left is the spawner's to kill, or init's

    def _start(self, run: Run, standard: list[int]) -> tuple[int, int] | None:
        """Start the program and return its pid and pidfd; or tell why not."""
        hear, tell = os.pipe()
        try:
            steps = child.plan(run, standard, tell, _tasks())
            pid, pidfd = self._fork(run)
            if pid == 0:
                child.become(steps, tell)
        except OSError as error:
            os.close(hear)
            self.say(NotStarted(error.errno or 0, "fork"))
            return None
        finally:
            for descriptor in (*standard, tell):
                os.close(descriptor)
        with open(hear, "rb", buffering=0) as pipe:
            if not self._can_tell(hear):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            failure = pipe.read(child.FAILURE.size)
        if not failure:
            self.say(Started(pid), pidfd)
            return pid, pidfd
        number, step = child.FAILURE.unpack(failure)
        os.close(pidfd)
        os.waitpid(pid, 0)
        self.say(NotStarted(number, steps[step].name))
        return None

    def _can_tell(self, hear: int) -> bool:
        """Wait until the child tells; return whether somebody still wants to know. A directory may answer never."""
        poller = select.poll()
        poller.register(hear, select.POLLIN)
        poller.register(self._spawner, select.POLLIN)
        poller.register(self._control.fileno(), select.POLLRDHUP)  # only its end: what is said may wait
        return any(descriptor == hear for descriptor, _ in poller.poll())

    def _fork(self, run: Run) -> tuple[int, int]:
        if self._leaf is not None:
            try:
                self._leaf.renew()
                self._leaf.limit(run.processes)
                return kernel.fork(self._leaf.descriptor)
            except OSError:  # this kernel, or the owner of the tree of groups, lets no child be born there
                self._leaf = None
        return kernel.fork()

    def hear(self, timeout_s: float | None) -> tuple[list[Message], str]:
        """Wait for anything to happen; return what the agent said, and who is gone."""
        ready = self._wait(timeout_s)
        if self._spawner in ready:
            return [], SPAWNER_GONE
        if self._control.fileno() not in ready:
            return [], ""
        try:
            packet = self._control.recv(MAX_PACKET_BYTES)
        except ConnectionResetError:  # closed, with something of ours unread
            packet = b""
        return ([unpack(packet)], "") if packet else ([], AGENT_GONE)

    def stop_hearing(self) -> None:
        """Whoever could say something is gone."""
        for descriptor in (self._control.fileno(), self._spawner):
            with suppress(KeyError):
                self._poller.unregister(descriptor)

    def _wait(self, timeout_s: float | None) -> set[int]:
        timeout_ms = None if timeout_s is None else max(0.0, timeout_s * 1000)
        ready = {descriptor for descriptor, _ in self._poller.poll(timeout_ms)}
        if self._waker.fileno() in ready:
            with suppress(BlockingIOError):
                self._waker.recv(4096)
        return ready

    def kill_group(self) -> None:
        """Kill what is in the control group, if there is one."""
        if self._leaf is not None:
            self._leaf.kill()

    def say(self, message: Message, *descriptors: int) -> None:
        """Tell the agent, if it is still there."""
        with suppress(BrokenPipeError, ConnectionResetError):
            socket.send_fds(self._control, [pack(message)], descriptors)


class Command:
    """One command that runs, and its tree."""

    def __init__(self, minder: Minder, run: Run, pid: int, pidfd: int) -> None:
        self._minder = minder
        self._run = run
        self._pid = pid
        self._pidfd = pidfd
        self._has_ended = False  # the program itself, which stays a zombie until the tree looks gone
        self._status: int | None = None  # of the program, once it is reaped
        self._stragglers: set[int] = set()
        self._cpu_s = 0.0
        self._peak_bytes = 0
        self._why = ""
        self._kill_at: float | None = None  # monotonic: when SIGKILL begins; None while nobody is to be ended
        self._first_kill: float | None = None
        self._pass_s = FIRST_PASS_S
        self._look_s = LOOK_S
        self._look_at = time.monotonic() + LOOK_S

    def attend(self) -> Ended:
        """Return when the tree is gone, or cannot be ended."""
        while True:
            others = self._reap()
            if self._has_ended and not others and self._is_alone():
                return self._ended(0)
            now = time.monotonic()
            if self._first_kill is not None and now - self._first_kill > PATIENCE_S:
                return self._ended(len(others) + (not self._has_ended))
            if self._has_ended and self._kill_at is None:
                self._end(self._run.grace_ms / 1000)
            self._count(now)
            if self._kill_at is not None and now >= self._kill_at:
                self._kill(now)
            messages, gone = self._minder.hear(self._pause(time.monotonic()))
            for message in messages:
                self._obey(message)
            if gone:
                self._why = gone
                self._minder.stop_hearing()
                self._end(0.0)

    def _pause(self, now: float) -> float:
        return max(0.0, (self._look_at if self._kill_at is None else min(self._kill_at, now + LONGEST_PASS_S)) - now)

    def _obey(self, message: Message) -> None:
        if isinstance(message, Kill):
            self._end(message.grace_ms / 1000)
        elif isinstance(message, Signal) and not self._has_ended:
            with suppress(ProcessLookupError, PermissionError):
                (os.killpg if message.to_group else os.kill)(self._pid, message.number)
        elif not isinstance(message, Signal):
            raise ProtocolError("a packet in the middle of a command")

    def _count(self, now: float) -> None:
        """Look whether the tree is too large."""
        if self._kill_at is not None or now < self._look_at:
            return
        self._look_at = now + self._look_s
        self._look_s = min(self._look_s * 2, LONGEST_LOOK_S)
        size = 0
        for size, _ in enumerate(tree.descendants(), 1):
            if size > self._run.processes:
                self._why = TOO_MANY
                self._end(0.0)
                return

    def _end(self, grace_s: float) -> None:
        """Begin to end the tree; a shorter grace than the one that was given before counts."""
        kill_at = time.monotonic() + grace_s
        if self._kill_at is None and grace_s > 0:
            self._note(tree.send_to_all(signal.SIGTERM))
            tree.send_to_all(signal.SIGCONT)  # one that is stopped hears it too
        self._kill_at = kill_at if self._kill_at is None else min(self._kill_at, kill_at)

    def _kill(self, now: float) -> None:
        """Make one pass. By the group first where many may be left: it forks no faster than that."""
        if self._first_kill is not None or self._why == TOO_MANY:
            self._minder.kill_group()
        self._first_kill = self._first_kill or now
        if self._status is None:  # as long as it is not reaped, its number is nobody else's
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)
        self._note(tree.send_to_all(signal.SIGKILL))
        self._kill_at = time.monotonic() + self._pass_s
        self._pass_s = min(self._pass_s * 2, LONGEST_PASS_S)

    def _note(self, told: set[int]) -> None:
        self._stragglers |= told - {self._pid}

    def _reap(self) -> list[int]:
        """Reap whoever has ended but the program itself; return the children that are left but the program."""
        if not self._has_ended:  # before the look at who is left: what a program leaves comes here as it ends
            ended = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            self._has_ended = ended is not None
        left = []
        for pid in tree.own_children():
            if pid == self._pid and self._status is None:
                continue
            try:
                reaped, _, usage = os.wait4(pid, os.WNOHANG)
            except ChildProcessError:
                continue
            if reaped:
                self._add(usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
            else:
                left.append(pid)
        return left

    def _is_alone(self) -> bool:
        """Reap the program and return whether the kernel knows of no child any more; a list of them may miss one."""
        if self._status is None:
            _, self._status, usage = os.wait4(self._pid, 0)
            self._add(usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return True
        return False

    def _add(self, cpu_s: float, peak_kib: int) -> None:
        self._cpu_s += cpu_s
        self._peak_bytes = max(self._peak_bytes, peak_kib * 1024)

    def _ended(self, left: int) -> Ended:
        if self._has_ended and self._status is None:
            _, self._status, usage = os.wait4(self._pid, 0)
            self._add(usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
        status = signal.SIGKILL.value if self._status is None else self._status
        os.close(self._pidfd)
        cpu_us = round(self._cpu_s * 1_000_000)
        return Ended(status, cpu_us, self._peak_bytes, len(self._stragglers), left, self._why)
