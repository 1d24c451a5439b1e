"""Wall ``rlimits`` alone: each limit is met, and without the wall it is not there."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Callable

import pytest
from arena import LIMITS, attack, errno_behind, only

import kernel
from sandbox.jail import privileges, rlimits
from sandbox.jail.builder import DEFAULT_ID
from sandbox.jail.rlimits import WorkerLimits
from sandbox.jail.trial import in_child
from sandbox.jail.walls import PRIVILEGES, RLIMITS

GIB = 1024**3


async def test_memory_is_bounded() -> None:
    """RLIMIT_AS stands above what a script may have."""
    assert await errno_behind((RLIMITS,), "allocate", GIB) == errno.ENOMEM
    assert await errno_behind((), "allocate", GIB) == 0


async def test_what_a_script_may_have_can_be_had() -> None:
    """The limit is above the interpreter's own needs."""
    assert await errno_behind((RLIMITS,), "allocate", LIMITS.memory_bytes) == 0


async def test_no_descriptor_can_be_opened() -> None:
    """Three standard ones and the channel, and not one more."""
    assert await errno_behind((RLIMITS,), "open_descriptors", 1) == errno.EMFILE
    assert await errno_behind((), "open_descriptors", 100) == 0


async def test_nothing_can_be_written_to_a_file(public_file: str) -> None:
    """RLIMIT_FSIZE is zero."""
    assert await errno_behind((RLIMITS,), "write_file", public_file) == errno.EFBIG
    assert await errno_behind((), "write_file", public_file) == 0


@pytest.mark.needs_root
async def test_no_process_can_be_started() -> None:
    """RLIMIT_NPROC holds for every user but root, so the worker has to be somebody else for it."""
    assert await errno_behind((RLIMITS, PRIVILEGES), "fork") == errno.EAGAIN
    assert await errno_behind((PRIVILEGES,), "fork") == 0


def test_the_kernel_kills_at_the_cpu_limit() -> None:
    """The second line behind the launcher, which looks more often."""

    def spin(_say: object) -> None:
        kernel.make(rlimits.calls(WorkerLimits(64 * 2**20, 0.1, GIB)))
        while True:
            pass

    assert in_child(spin).status == -signal.SIGKILL


async def test_limits_cannot_be_raised_again() -> None:
    """Soft and hard are the same, all of them."""
    told = (await attack(only(RLIMITS), "limits")).result["value"]
    for kind in (
        "RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_CORE", "RLIMIT_NPROC", "RLIMIT_MEMLOCK",
        "RLIMIT_STACK",
    ):  # fmt: skip
        soft, hard = told[kind]
        assert soft == hard != resource.RLIM_INFINITY, kind
    assert told["RLIMIT_CORE"] == [0, 0]
    assert told["RLIMIT_NOFILE"] == [4, 4]


def test_seconds_are_rounded_up() -> None:
    """The kernel counts whole seconds; the launcher is exact."""
    assert rlimits.to_kernel(WorkerLimits(0, 0.2))[resource.RLIMIT_CPU] == 1
    assert rlimits.to_kernel(WorkerLimits(0, 2.5))[resource.RLIMIT_CPU] == 3


@pytest.mark.parametrize("memory_bytes", [2**64, -(2**62)])
def test_what_is_no_limit_is_refused(memory_bytes: int) -> None:
    """A number that wraps around would be another limit, or none."""
    with pytest.raises(OSError, match="cannot be"):
        rlimits.calls(WorkerLimits(memory_bytes, 1, 0))


def test_a_lower_limit_of_the_host_is_kept() -> None:
    """An ordinary user cannot raise a hard limit, and need not."""

    def lower(say: Callable[[str], None]) -> None:
        resource.setrlimit(resource.RLIMIT_STACK, (2**20, 2**20))
        if os.geteuid() == 0:
            privileges.leave_root(DEFAULT_ID, DEFAULT_ID)
        kernel.make(rlimits.calls(WorkerLimits(64 * 2**20, 60, GIB)))
        say(str(resource.getrlimit(resource.RLIMIT_STACK)))

    assert in_child(lower).told == [str((2**20, 2**20))]
