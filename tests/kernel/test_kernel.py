"""Checked system calls."""

from __future__ import annotations

import errno
import os

import pytest

import kernel


def test_a_refused_call_raises_the_kernel_s_own_number() -> None:
    """No status that somebody could forget to look at."""
    with pytest.raises(OSError, match="pivot_root") as caught:
        kernel.pivot_root(b"/nowhere", b"/nowhere")
    assert caught.value.errno in (errno.ENOENT, errno.EPERM)
    with pytest.raises(OSError, match="prctl"):
        kernel.prctl(0x7FFFFFFF)


def test_an_unknown_processor_is_refused() -> None:
    """Numbers that nobody checked would be other calls."""
    with pytest.raises(OSError, match="riscv64"):
        kernel.architecture("riscv64")


def test_both_processors_know_the_same_calls() -> None:
    """A name without a number would be a filter with a hole, or none."""
    x86_64, aarch64 = (kernel.ARCHITECTURES[name] for name in ("x86_64", "aarch64"))
    assert set(x86_64.calls) == set(aarch64.calls)


def test_a_sibling_belongs_to_the_parent_s_parent() -> None:
    """So the process between can end, and its memory with it."""
    reading, writing = os.pipe()
    between = os.fork()
    if between == 0:
        pid, pidfd = kernel.fork_sibling()
        if pid == 0:
            os.write(writing, str(os.getppid()).encode())
            os._exit(5)
        os._exit(0 if pidfd > 2 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(between, 0)[1]) == 0
    os.close(writing)
    assert int(os.read(reading, 100)) == os.getpid()
    os.close(reading)
    assert os.waitstatus_to_exitcode(os.waitpid(-1, 0)[1]) == 5


def test_a_child_is_born_into_a_group_or_not_at_all() -> None:
    """A descriptor that is no group is refused; the child does not begin elsewhere."""
    descriptor = os.open("/", os.O_RDONLY | os.O_CLOEXEC)
    with pytest.raises(OSError, match="clone3"):
        kernel.fork_child(descriptor)
    os.close(descriptor)
    pid, pidfd = kernel.fork_child()
    if pid == 0:
        os._exit(3)
    os.close(pidfd)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
