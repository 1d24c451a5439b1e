"""The binding of the process connector: what the kernel tells of processes, and only of those."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import threading

import pytest

from kernel import proc_events
from kernel.proc_events import EXEC, EXIT, FORK, Event


def why_not() -> str | None:
    try:
        proc_events.listen().close()
    except OSError as error:
        return f"the kernel tells of no processes here: {error}"
    return None


WHY_NOT = why_not()
needs_events = pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or "")


def told(listening: socket.socket) -> list[Event]:
    found: list[Event] = []
    while events := proc_events.read(listening, 100):
        found += events
    return found


@needs_events
def test_a_fork_a_program_and_its_end() -> None:
    with proc_events.listen() as listening:
        child = subprocess.Popen([sys.executable, "-S", "-c", "raise SystemExit(3)"])
        child.wait()
        mine = [event for event in told(listening) if event.pid == child.pid]
    assert [(event.what, event.status) for event in mine] == [(FORK, 0), (EXEC, 0), (EXIT, 3 << 8)]
    assert mine[0].parent == os.getpid()


@needs_events
def test_threads_are_not_told_of() -> None:
    with proc_events.listen() as listening:
        before = threading.Thread(target=lambda: None)
        before.start()
        number = before.native_id
        before.join()
        assert not [event for event in told(listening) if event.pid in (number, os.getpid())]


@needs_events
def test_what_nobody_read_in_time_is_an_error_and_then_it_goes_on() -> None:
    with proc_events.listen() as listening:
        room = listening.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)  # the least that the kernel gives
        subprocess.run(["/bin/sh", "-c", "for each in 1 2 3 4 5 6 7 8 9; do /bin/true; done"], check=True)
        with pytest.raises(OSError, match="buffer space") as caught:
            told(listening)
        assert caught.value.errno == errno.ENOBUFS
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        told(listening)
        child = subprocess.Popen(["/bin/true"])
        child.wait()
        assert [event.what for event in told(listening) if event.pid == child.pid] == [FORK, EXEC, EXIT]


@needs_events
@pytest.mark.skipif(os.getuid() != 0, reason="only root has more than the host's bound for everybody")
def test_some_thousand_may_wait_whatever_the_host_gives_others() -> None:
    """The usual bound holds three hundred: a host that forks much fills it in milliseconds."""
    with proc_events.listen() as listening:
        assert listening.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 2 << 20, "the kernel doubles it"


@pytest.mark.parametrize("data", [b"", b"x" * 20, bytes(52), bytes(200)])
def test_what_is_no_event_is_none(data: bytes) -> None:
    assert proc_events._event(data) is None
