"""The spawner: a small warm process that forks minders. Started fresh by the agent, never a fork of it; holds nothing.

It is the second line behind its minders: what a minder that was killed leaves behind comes to the spawner, which kills
it. It ends when its control socket closes, once all minders have ended what they minded.

A program of the same user can stop all of us (SIGSTOP). So the kernel has the spawner go on (SIGCONT) when the agent
ends, and a minder when the spawner ends; and a minder that does not answer is killed here.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

import kernel
from kernel import offspring
from protocol.errors import ProtocolError
from protocol.packets import MAX_PACKET_BYTES
from stdlib.processes import child, leaf, tree
from stdlib.processes.limits import OOM_SCORE
from stdlib.processes.messages import Drop, Mind, NotStarted, pack, unpack
from stdlib.processes.minder import PATIENCE_S, Minder

STRAYS_S: Final = 0.02  # between two passes over what a minder left behind
CLOSE_PATIENCE_S: Final = 2 * PATIENCE_S  # for minders to end by themselves, and then for what was killed to be gone


def main() -> NoReturn:
    """Be a spawner on standard input until it closes."""
    control, null = offspring.adopt()
    try:
        _catch_what_is_ignored()
        os.dup2(null, child.TELL, inheritable=False)  # keeps the number taken, here and in every minder
        _be_ended_first()
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGCONT, what="to go on when the agent ends")
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1, what="subreaper")
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0, what="dumpable off")  # what a command is given is nobody else's
        gc.collect()
        gc.freeze()
        gc.disable()
        Spawner(control).serve()
    except BaseException:  # noqa: BLE001 - whatever it was is said on the agent's stderr, and nothing runs unminded
        traceback.print_exc()
        os._exit(1)


def _catch_what_is_ignored() -> None:
    """Make signals as programs expect them: what is caught here goes back to default by an exec; ignored would stay.

    SIGINT is among them: a person's Ctrl-C is for the agent, who ends us in order. SIGCHLD wakes the loops.
    """
    for number in signal.valid_signals():
        if signal.getsignal(number) is signal.SIG_IGN or number in (signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
    kernel.hear_libc_signals()
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _be_ended_first() -> None:
    """Let the kernel, when memory runs out, choose a program that was started here, before the agent."""
    with open("/proc/self/oom_score_adj", "r+b", buffering=0) as file:  # to raise it needs no right
        if int(file.read()) < OOM_SCORE:
            file.write(str(OOM_SCORE).encode())


class Spawner:
    """Forks and reaps minders."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._own = os.pidfd_open(os.getpid())  # by which minders see our end
        self._base = leaf.make_base()
        self._minders: dict[int, tuple[int, Path | None]] = {}  # pid -> what the agent calls it, and its group
        self._made = 0
        self._has_strays = False
        self._waker, self._wake = socket.socketpair()
        self._waker.setblocking(False)
        self._wake.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        self._poller = select.poll()
        for descriptor in (control.fileno(), self._waker.fileno()):
            self._poller.register(descriptor, select.POLLIN)

    def serve(self) -> NoReturn:
        """Serve until the control socket closes, then until nobody is left."""
        is_open, ends, was_hard = True, 0.0, False
        while is_open or self._minders or self._has_strays:
            busy = self._has_strays or not is_open
            ready = {descriptor for descriptor, _ in self._poller.poll(STRAYS_S * 1000 if busy else None)}
            if self._waker.fileno() in ready:
                with suppress(BlockingIOError):
                    self._waker.recv(4096)
            self._reap()
            self._end_strays()
            if is_open and self._control.fileno() in ready and not self._take_request():
                is_open, ends = False, time.monotonic() + CLOSE_PATIENCE_S
                self._poller.unregister(self._control.fileno())
                self._send_to_minders(signal.SIGCONT)  # one that is stopped sees the end of its socket, too
            if not is_open and time.monotonic() > ends:
                if was_hard:
                    break
                was_hard, ends = True, time.monotonic() + CLOSE_PATIENCE_S
                self._send_to_minders(signal.SIGKILL)  # each is reaped, and what it minded is ended, as always
        tree.send_to_all(signal.SIGKILL)
        self._reap()
        if self._base is not None:
            leaf.remove_all(self._base)
        os._exit(0)

    def _take_request(self) -> bool:
        """Serve one packet; return whether the agent is still there."""
        try:
            packet, received, _, _ = socket.recv_fds(self._control, MAX_PACKET_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            return False
        if not packet:
            return False
        asked = unpack(packet)
        if len(received) != isinstance(asked, Mind):
            raise ProtocolError("a packet came with the wrong number of descriptors")
        if isinstance(asked, Mind):
            with socket.socket(fileno=received[0]) as line:
                self._mind(line, asked.number)
        elif isinstance(asked, Drop):
            self._send_to_minders(signal.SIGKILL, asked.number)
        else:
            raise ProtocolError("a packet asks for no minder")
        return True

    def _send_to_minders(self, what: int, number: int | None = None) -> None:
        """Send a signal to all minders, or to one, if it is not gone. They are our children, so their pids are theirs.

        What one leaves behind that is killed is ended when it is reaped.
        """
        for pid, (known, _) in self._minders.items():
            if number in (None, known):
                os.kill(pid, what)

    def _mind(self, line: socket.socket, number: int) -> None:
        self._made += 1
        group = leaf.make(self._base, self._made) if self._base is not None else None
        try:
            pid, pidfd = kernel.fork()
        except OSError as error:
            with suppress(OSError):
                line.send(pack(NotStarted(error.errno or 0, "fork")))
            return
        if pid == 0:
            self._be_minder(line, group)
        os.close(pidfd)
        self._minders[pid] = number, group

    def _be_minder(self, line: socket.socket, group: Path | None) -> NoReturn:
        try:
            signal.set_wakeup_fd(-1)
            for descriptor in (self._control, self._waker, self._wake):
                descriptor.close()
            kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1, what="subreaper")
            kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGCONT, what="to go on when the spawner ends")
            Minder(line, self._own, leaf.Leaf(group) if group is not None else None).serve()
        except BaseException:  # noqa: BLE001 - as in main; its tree goes to the spawner, which kills it
            traceback.print_exc()
        finally:
            os._exit(1)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self._minders:
                _, group = self._minders.pop(pid)
                if status:
                    self._has_strays = True
                    if group is not None:
                        leaf.kill(group)
                if group is not None:
                    leaf.remove(group)

    def _end_strays(self) -> None:
        if self._has_strays:
            self._has_strays = bool(tree.send_to_all(signal.SIGKILL, frozenset(self._minders)))


if __name__ == "__main__":
    main()
