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
import struct
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from gc import enable as enable_gc
from os import getppid
from types import ModuleType
from typing import Any, Final, NoReturn

import kernel
from kernel import make_batch, offspring, reap
from kernel.births import fork, hear_children, heard
from protocol.errors import OutriderError, ProtocolError, UnavailableError
from sandbox import heap, immortal, stack
from sandbox.channel import Channel
from sandbox.control import (
    MAX_FORK_BYTES,
    MAX_PACKET_BYTES,
    TELL,
    Born,
    Failed,
    Forked,
    NotForked,
    Ready,
    Setup,
    ended_packet,
    fork_request,
    pack,
    run_and_kind,
    unpack,
)
from sandbox.jail import descriptors, privileges
from sandbox.jail.builder import Builder, Identity
from sandbox.jail.rlimits import WorkerLimits
from sandbox.jail.walls import PRIVILEGES

EXIT_NOT_LOCKED: Final = 71  # as sandbox.worker: a wall did not stand, nothing was received
_WARM_UPS: Final = 24  # as ``worker.REHEARSALS``
_MAX_MAKINGS: Final = 64  # different kinds of workers; more than that are made ready anew
_DESCRIPTOR: Final = struct.Struct("i")
_BESIDE_BYTES: Final = socket.CMSG_SPACE(_DESCRIPTOR.size)
_CLOSED_ON_EXEC: Final = int(socket.MSG_CMSG_CLOEXEC)
_REQUEST_BYTES: Final = MAX_FORK_BYTES + 1  # one more, so that a packet that is too long is seen to be


def main() -> NoReturn:
    """Be a zygote on standard input until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a person's Ctrl-C is for the agent, who ends us in order
    control, null = offspring.adopt()
    try:
        stack.reserve()
        setup, births = _receive_setup(control)
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
        _continue_in_child(control, births)
    builder.zygote()
    kernel.make(privileges.die_with_parent())
    if PRIVILEGES not in setup.walls_off:
        kernel.make(privileges.close_memory())  # a worker that broke out must not reach into the next ones through here
    quieten = getattr(entry, "quieten", None)
    if quieten is not None:
        quieten()
    zygote = Zygote(control, births, null, builder, entry, setup.bindings)
    _warm_up()
    gc.collect()
    immortal.immortalise()
    heap.fill_pools()
    heap.part_arenas()
    heap.fill_holes()
    heap.join_pages()
    gc.freeze()  # what exists now is shared by all workers; a collection that touched it would copy it into each
    gc.disable()
    try:
        control.send(pack(Ready([[wall.name, wall.state.value, wall.detail] for wall in builder.walls()])))
    except BrokenPipeError:  # the agent went away while it started us
        os._exit(0)
    try:
        zygote.serve()
    except BaseException:  # noqa: BLE001 - the interpreter was told to be quiet, so this is said here, on the agent's stderr
        traceback.print_exc()
        os._exit(1)


def _warm_up() -> None:
    """Run the code that otherwise only a worker runs, so that CPython adapts it here, once, and not in each of them."""
    nothing = kernel.batch([kernel.ready("getppid")] * _WARM_UPS)
    for _ in range(_WARM_UPS):
        _or_tell(nothing)


def _receive_setup(control: socket.socket) -> tuple[Setup, socket.socket]:
    """Return it, and the socket for births."""
    packet, received, _, _ = socket.recv_fds(control, MAX_PACKET_BYTES, 1, _CLOSED_ON_EXEC)
    if not packet:
        os._exit(0)  # the agent went away while it started us
    message = unpack(packet)
    if not isinstance(message, Setup) or len(received) != 1:
        raise ProtocolError("the first packet is no setup with a socket")
    return message, socket.socket(fileno=offspring.kept(received[0]))


def _continue_in_child(control: socket.socket, births: socket.socket) -> None:
    """Fork; the child returns. This process ends if the child is the agent's, which saves its memory; else it waits.

    The child goes on only when the agent was told of it: who hears that it is ready must know by then whom to reap.
    """
    gate, opener = os.pipe()
    try:
        child, pidfd = kernel.fork_sibling()
    except OSError:
        child, pidfd = os.fork(), 0
    if child == 0:
        os.close(opener)
        if not os.read(gate, 1):
            os._exit(0)
        os.close(gate)
        return
    with suppress(BrokenPipeError, ConnectionResetError):  # the agent went away; the child sees that, too
        if pidfd:
            socket.send_fds(control, [pack(Born())], [pidfd])
    with suppress(BrokenPipeError):  # the child was killed
        os.write(opener, b"\0")
    if pidfd:
        os._exit(0)
    kernel.make(privileges.die_with_parent())
    control.close()  # the zygote's ends must close when the zygote ends
    births.close()
    os.waitpid(child, 0)
    os._exit(0)


#: All that workers of one kind are made of, ready before the fork: what a worker makes, it makes in fresh pages. To be
#: called in the child.
_Making = Callable[[], NoReturn]


class Zygote:
    """Forks and reaps workers.

    Args:
        control: The socket to the agent.
        births: The one over which the agent is told of births.
        null: A descriptor of null.
        builder: With the zygote's own walls raised.
        entry: The module that says what a worker does, ``sandbox.worker``.
        bindings: Passed to it.
    """

    def __init__(
        self,
        control: socket.socket,
        births: socket.socket,
        null: int,
        builder: Builder,
        entry: ModuleType,
        bindings: list[dict[str, Any]],
    ) -> None:
        self._control = control
        self._births = births
        self._null = null
        self._builder = builder
        self._ready = getattr(entry, "ready", None) or partial(partial, entry.main)  # a test's own worker has a main
        self._bindings = bindings
        self._pid = os.getpid()
        self._closes_range = descriptors.has_close_range()
        self._take = _receiver() if len(os.sched_getaffinity(0)) > 1 else None
        self._makings: dict[tuple[bytes, int], _Making] = {}  # most workers are alike
        self._runs: dict[int, int] = {}  # pid -> run
        self._untold: dict[int, int] = {}  # those of whose births the agent was not told, as it did not ask
        self._ends = hear_children()
        self._poller = select.poll()
        self._poller.register(self._ends, select.POLLIN)

    def serve(self) -> NoReturn:
        """Serve until the control socket closes, then end every worker and this process."""
        control = self._control.fileno()
        self._poller.register(control, select.POLLIN)
        is_open = True
        while is_open:
            is_asked = has_ended = False
            for descriptor, _ in self._poller.poll():
                if descriptor == control:
                    is_asked = True
                else:
                    has_ended = True
            if has_ended:
                self._hear()
            if is_asked:
                is_open = self._take_request()
        for pid in self._runs:  # not reaped, so the numbers are theirs
            os.kill(pid, signal.SIGKILL)
        os._exit(0)

    def _take_request(self) -> bool:
        """Serve one packet; return whether the agent is still there."""
        try:
            packet, beside, _, _ = self._control.recvmsg(_REQUEST_BYTES, _BESIDE_BYTES, _CLOSED_ON_EXEC)
        except ConnectionResetError:  # the agent closed it and has not read all that we said
            return False
        if not packet:
            return False
        if packet == TELL:
            self._tell_births()
            return True
        run, kind = run_and_kind(packet)
        if len(beside) != 1 or len(beside[0][2]) != _DESCRIPTOR.size:
            raise ProtocolError("a request for a fork comes with one descriptor")
        (channel,) = _DESCRIPTOR.unpack(beside[0][2])
        try:
            making = self._makings.get((kind, channel)) or self._make(packet, kind, channel)
            pid = fork()
        except OSError as error:
            self._say(pack(NotForked(run, f"the host cannot start a process: {error.strerror or error}")))
        else:
            if pid == 0:
                making()
            self._runs[pid] = self._untold[pid] = run
        finally:
            os.close(channel)
        return True

    def _make(self, packet: bytes, kind: bytes, channel: int) -> _Making:
        """Return what a worker for this request is made of.

        Raises:
            OSError: A limit is no number, or a descriptor is in the way.
            ProtocolError: It is no request.
        """
        _, language, memory_bytes, cpu_s, ahead = fork_request(packet)
        if len(self._makings) >= _MAX_MAKINGS:
            self._makings.clear()
        locking = self._builder.locking(WorkerLimits(memory_bytes, cpu_s), channel, self._null)
        own = Channel(descriptors.CHANNEL, ahead=ahead, take=self._take)
        work = self._ready(
            own,
            language=language,
            bindings=self._bindings,
            memory_bytes=memory_bytes,
            lock=partial(_or_tell, locking.last),
        )
        making = self._makings[(kind, channel)] = partial(
            _be_worker, locking.first, self._closes_range, self._pid, work
        )
        return making

    def _hear(self) -> None:
        """Reap every child that has ended; those that are no workers were orphans of one.

        Heard first: what ends after the last look is then told anew.
        """
        heard(self._ends)
        while (reaped := reap()) is not None:
            pid, status, cpu_us, peak_bytes = reaped
            run = self._runs.pop(pid, None)
            if run is not None:
                is_told = self._untold.pop(pid, None) is None
                try:
                    self._control.send(ended_packet(run, status, cpu_us, peak_bytes, is_told))
                except (BrokenPipeError, ConnectionResetError):
                    return  # the agent is gone; the next look at the control socket says so and ends everything

    def _tell_births(self) -> None:
        """Tell of every worker of which that was not done yet."""
        for pid, run in self._untold.items():
            pidfd = os.pidfd_open(pid)  # not reaped, so the number is its own
            try:
                socket.send_fds(self._births, [pack(Forked(run))], [pidfd])
            except (BrokenPipeError, ConnectionResetError):
                return  # as below
            finally:
                os.close(pidfd)
        self._untold.clear()

    def _say(self, packet: bytes) -> None:
        try:
            self._control.send(packet)
        except (BrokenPipeError, ConnectionResetError):
            return  # the agent is gone; the next look at the control socket says so and ends everything


def _be_worker(first: kernel.Batch, closes_range: bool, zygote: int, work: Callable[[], NoReturn]) -> NoReturn:
    """Live as a worker; a function and not a method, as that would be looked up in each of them."""
    try:
        _or_tell(first)
        if not closes_range:
            descriptors.close_others()
        if getppid() != zygote:  # it ended before the signal was asked for
            os._exit(EXIT_NOT_LOCKED)
        enable_gc()
        work()
    finally:
        os._exit(EXIT_NOT_LOCKED)  # whatever happened: a worker never goes on as a zygote


def _receiver() -> Callable[[int, int], bytes]:
    """Return what receives from the channel of whichever worker calls it; made here, as making it is dear.

    Python wants a socket to be there when its object is made. So it is made of another one, with the worker's number.
    """
    first, second = socket.socketpair()
    with second:
        given = first.detach()
        if given != descriptors.CHANNEL:
            os.dup2(given, descriptors.CHANNEL, inheritable=False)
            os.close(given)
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, descriptors.CHANNEL)
        os.close(descriptors.CHANNEL)  # and never by the object, which lives as long as its method
    return receiver.recv


def _or_tell(calls: kernel.Batch) -> None:
    """Raise walls; if one does not stand, tell the gate why, and raise the error again, which ends the worker."""
    try:
        make_batch(calls)
    except OSError as error:
        message = f"the worker could not be locked in, so it received nothing: {error}"
        Channel(descriptors.CHANNEL).finish(None, [message, None, UnavailableError.code])
        raise
