"""Forks that are told at once, and ends that are heard at one descriptor."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

import kernel
from kernel import births

SIZE = 8


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


def forked(herald: births.Herald, through: socket.socket, packet: bytes, status: int) -> int:
    """Fork a child that ends with ``status``."""
    herald.packet[:] = packet
    pid = herald.fork(through.fileno())
    if pid == 0:
        os._exit(status)
    return pid


def test_each_fork_is_told_with_the_child_s_pidfd(ends: tuple[socket.socket, socket.socket]) -> None:
    """With the packet of that fork and not of the one before; this side keeps no descriptor of it."""
    far, near = ends
    herald = births.Herald(SIZE)
    before = set(os.listdir("/proc/self/fd"))
    for status, packet in ((3, b"packet 1"), (4, b"packet 2")):
        pid = forked(herald, near, packet, status)
        told, pidfds, _, _ = socket.recv_fds(far, 100, 4)
        assert told == packet
        assert len(pidfds) == 1
        assert kernel.pid_of(pidfds[0]) == pid
        ended = os.waitid(os.P_PIDFD, pidfds[0], os.WEXITED)
        assert ended is not None
        assert ended.si_status == status
        os.close(pidfds[0])
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_fork_whose_hearer_is_gone_is_none_the_less_one(ends: tuple[socket.socket, socket.socket]) -> None:
    """The next look at the socket says that nobody is there; the child must be known until then."""
    far, near = ends
    far.close()
    pid = forked(births.Herald(SIZE), near, bytes(SIZE), 5)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5


def end_if_child(pid: int) -> None:
    if pid == 0:
        os._exit(0)


def test_a_packet_that_cannot_be_sent_is_an_error() -> None:
    """Nobody would ever hear of the child."""
    reading, writing = os.pipe()
    herald = births.Herald(SIZE)
    try:
        with pytest.raises(OSError, match="sendmsg"):
            end_if_child(herald.fork(writing))
    finally:
        os.close(reading)
        os.close(writing)
        os.waitpid(-1, 0)


class WithoutClone(births.Herald):
    """One whose kernel has no clone3(2): the number of a call that there is nowhere."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(SIZE)
        self._clone = (0x7FFFFFF, 0, 0, 0, 0, 0)


def test_it_is_told_where_there_is_no_clone3_as_well(ends: tuple[socket.socket, socket.socket]) -> None:
    """The C library forks then, and the pidfd is opened afterwards."""
    far, near = ends
    pid = forked(WithoutClone(), near, b"packet 3", 6)
    told, pidfds, _, _ = socket.recv_fds(far, 100, 4)
    assert (told, kernel.pid_of(pidfds[0])) == (b"packet 3", pid)
    os.close(pidfds[0])
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 6


HEARING = """
import os, select
from kernel import births
ends = births.hear_children()
poll = select.poll()
poll.register(ends, select.POLLIN)
before = poll.poll(0)
pids = []
for _ in range(3):
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    pids.append(pid)
for pid in pids:
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
after = bool(poll.poll(0))
births.heard(ends)
births.heard(ends)
again = bool(poll.poll(0))
for pid in pids:
    os.waitpid(pid, 0)
print(before, after, again, ends >= 10, os.get_inheritable(ends), os.get_blocking(ends))
"""


def test_ends_are_heard_at_one_descriptor() -> None:
    """Several at once are one; taking what is not there is no error; it is not handed on to programs."""
    done = subprocess.run([sys.executable, "-c", HEARING], capture_output=True, check=True, text=True)
    assert done.stdout.split() == ["[]", "True", "False", "True", "False", "False"]
