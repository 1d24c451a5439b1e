"""The zygote: the small warm process that forks a worker for each run. Started fresh by the agent, never a fork of it.

Its life, in order: take the control socket from standard input; import and preload everything; raise the walls of the
plan's first stage; fork once, so that the child is the first process of the fresh process namespace; raise the rest;
report; then fork workers until the control socket closes, which ends the zygote and every worker.

It has one thread, no event loop and no open file but the control socket and null. Nothing of any script is ever in its
memory. The first process puts the zygote proper beside itself, as a child of the agent, and ends; the kernel kills the
zygote when the agent dies, and all workers, as members of its process namespace, when the zygote dies.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Any, Final, NoReturn

import kernel
from kernel import offspring
from protocol.errors import OutriderError, ProtocolError, UnavailableError
from sandbox.channel import Channel
from sandbox.control import (
    MAX_PACKET_BYTES,
    Born,
    Ended,
    Failed,
    Fork,
    Forked,
    Message,
    NotForked,
    Ready,
    Setup,
    pack,
    unpack,
)
from sandbox.heap import fill_holes
from sandbox.jail import descriptors, privileges
from sandbox.jail.builder import Builder, Identity, Locking
from sandbox.jail.rlimits import WorkerLimits
from sandbox.jail.walls import PRIVILEGES

EXIT_NOT_LOCKED: Final = 71  # as sandbox.worker: a wall did not stand, nothing was received


def main() -> NoReturn:
    """Be a zygote on standard input until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a person's Ctrl-C is for the agent, who ends us in order
    control, null = offspring.adopt()
    try:
        setup = _receive_setup(control)
        sys.path.extend(setup.import_path)
        entry = importlib.import_module(setup.entry)
        entry.preload()
        prepare = getattr(entry, "prepare", None)  # a test's own worker has none
        if prepare is not None:
            prepare(setup.bindings)
        builder = Builder(setup.walls_off, Identity(setup.uid, setup.gid))
        has_namespace = builder.outer()
    except (OutriderError, OSError, ImportError) as error:
        traceback.print_exc()
        control.send(pack(Failed(f"{type(error).__name__}: {error}"[:4096])))
        os._exit(1)
    if has_namespace:
        _continue_in_child(control)
    builder.zygote()
    kernel.make(privileges.die_with_parent())
    if PRIVILEGES not in setup.walls_off:
        kernel.make(privileges.close_memory())  # a worker that broke out must not reach into the next ones through here
    quieten = getattr(entry, "quieten", None)
    if quieten is not None:
        quieten()
    gc.collect()
    fill_holes()
    gc.freeze()  # what exists now is shared by all workers; a collection that touched it would copy it into each
    gc.disable()
    try:
        control.send(pack(Ready([[wall.name, wall.state.value, wall.detail] for wall in builder.walls()])))
    except BrokenPipeError:  # the agent went away while it started us
        os._exit(0)
    try:
        Zygote(control, null, builder, entry.main, setup.bindings).serve()
    except BaseException:  # noqa: BLE001 - the interpreter was told to be quiet, so this is said here, on the agent's stderr
        traceback.print_exc()
        os._exit(1)


def _receive_setup(control: socket.socket) -> Setup:
    packet = control.recv(MAX_PACKET_BYTES)
    if not packet:
        os._exit(0)  # the agent went away while it started us
    message = unpack(packet)
    if not isinstance(message, Setup):
        raise ProtocolError("the first packet is no setup")
    return message


def _continue_in_child(control: socket.socket) -> None:
    """Fork; the child returns. This process ends if the child is the agent's, which saves its memory; else it waits."""
    try:
        child, pidfd = kernel.fork_sibling()
    except OSError:
        child, pidfd = os.fork(), 0
    if child == 0:
        return
    if pidfd:
        socket.send_fds(control, [pack(Born())], [pidfd])
        os._exit(0)
    kernel.make(privileges.die_with_parent())
    control.close()  # the zygote's end must close when the zygote ends
    os.waitpid(child, 0)
    os._exit(0)


class Zygote:
    """Forks and reaps workers.

    Args:
        control: The socket to the agent.
        null: A descriptor of null.
        builder: With the zygote's own walls raised.
        work: What a worker does, ``sandbox.worker.main``.
        bindings: Passed to it.
    """

    def __init__(
        self,
        control: socket.socket,
        null: int,
        builder: Builder,
        work: Callable[..., NoReturn],
        bindings: list[dict[str, Any]],
    ) -> None:
        self._control = control
        self._null = null
        self._builder = builder
        self._work = work
        self._bindings = bindings
        self._pid = os.getpid()
        self._closes_range = descriptors.has_close_range()
        self._runs: dict[int, tuple[int, int]] = {}  # pid -> run and pidfd
        self._poller = select.poll()

    def serve(self) -> NoReturn:
        """Serve until the control socket closes, then end every worker and this process."""
        control = self._control.fileno()
        self._poller.register(control, select.POLLIN)
        is_open = True
        while is_open:
            ready = {descriptor for descriptor, _ in self._poller.poll()}
            if ready - {control}:
                self._reap()
            if control in ready:
                is_open = self._take_request()
        for _, pidfd in self._runs.values():
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os._exit(0)

    def _take_request(self) -> bool:
        """Serve one packet; return whether the agent is still there."""
        try:
            packet, received, _, _ = socket.recv_fds(self._control, MAX_PACKET_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:  # the agent closed it and has not read all that we said
            return False
        if not packet:
            return False
        message = unpack(packet)
        if not isinstance(message, Fork) or len(received) != 1:
            raise ProtocolError("a packet is no request for a fork")
        try:
            self._fork(message, received[0])
        finally:
            os.close(received[0])
        return True

    def _fork(self, request: Fork, channel: int) -> None:
        try:
            limits = WorkerLimits(request.memory_bytes, request.cpu_s)
            locking = self._builder.locking(limits, channel, self._null)
            pid, pidfd = kernel.fork()
        except OSError as error:
            self._say(NotForked(request.run, f"the host cannot start a process: {error.strerror or error}"))
            return
        if pid == 0:
            self._be_worker(request, locking)
        self._runs[pid] = (request.run, pidfd)
        self._poller.register(pidfd, select.POLLIN)
        self._say(Forked(request.run), pidfd)

    def _be_worker(self, request: Fork, locking: Locking) -> NoReturn:
        try:
            _or_tell(locking.first)
            if not self._closes_range:
                descriptors.close_others()
            if os.getppid() != self._pid:  # the zygote ended before the signal was asked for
                os._exit(EXIT_NOT_LOCKED)
            gc.enable()
            self._work(
                Channel(descriptors.CHANNEL, ahead=request.ahead),
                language=request.language,
                bindings=self._bindings,
                memory_bytes=request.memory_bytes,
                lock=lambda: _or_tell(locking.last),
            )
        finally:
            os._exit(EXIT_NOT_LOCKED)  # whatever happened: a worker never goes on as a zygote

    def _reap(self) -> None:
        """Reap every child that has ended; those that are no workers were orphans of one."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid not in self._runs:
                continue
            run, pidfd = self._runs.pop(pid)
            self._poller.unregister(pidfd)
            os.close(pidfd)
            cpu_us = round((usage.ru_utime + usage.ru_stime) * 1_000_000)
            self._say(Ended(run, status, cpu_us, usage.ru_maxrss * 1024))

    def _say(self, message: Message, *descriptors_sent: int) -> None:
        try:
            socket.send_fds(self._control, [pack(message)], descriptors_sent)
        except (BrokenPipeError, ConnectionResetError):
            return  # the agent is gone; the next look at the control socket says so and ends everything


def _or_tell(calls: tuple[kernel.Call, ...]) -> None:
    """Raise walls; if one does not stand, tell the gate why, and raise the error again, which ends the worker."""
    try:
        kernel.make(calls)
    except OSError as error:
        message = f"the worker could not be locked in, so it received nothing: {error}"
        told = {"message": message, "where": None, "code": UnavailableError.code}
        Channel(descriptors.CHANNEL).finish({"status": "error", "result": None, "error": told, "output_bytes": 0})
        raise


if __name__ == "__main__":
    main()
