"""Forks whose arguments are ready, and ends that are heard at one descriptor."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from kernel import births


def forked(status: int) -> int:
    """Fork a child that ends with ``status``."""
    pid = births.fork()
    if pid == 0:
        os._exit(status)
    return pid


def test_a_fork_is_a_child_that_can_be_waited_for() -> None:
    """And this side keeps no descriptor of it."""
    before = set(os.listdir("/proc/self/fd"))
    for status in (3, 4):
        assert os.waitstatus_to_exitcode(os.waitpid(forked(status), 0)[1]) == status
    assert set(os.listdir("/proc/self/fd")) <= before, "others may have let go of theirs meanwhile"


def test_it_forks_where_there_is_no_clone3_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the C library then. The number is that of a call that there is nowhere."""
    monkeypatch.setattr(births, "_CLONE", (0x7FFFFFF, 0, 0, 0, 0, 0))
    assert os.waitstatus_to_exitcode(os.waitpid(forked(6), 0)[1]) == 6


def test_a_fork_that_the_kernel_refuses_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its number. Here the kernel is given less than it needs to know."""
    monkeypatch.setattr(births, "_CLONE", (*births._CLONE[:2], 1))
    with pytest.raises(OSError, match="clone3") as refused:
        forked(7)
    assert refused.value.errno == errno.EINVAL


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
