"""A fork that is laid out before it is made, and children whose ends are heard at one descriptor.

After a fork every page is shared, so what a process writes while its child lives it writes into copies. That makes the
steps after a fork dear for a process that forks often, whatever they are. So here there is one system call, and its
arguments are there already.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
from typing import Final

from kernel import _CLONE3, _CLONE_SIZE, _CloneArguments, _plain_syscall, offspring, syscall

_SIGNAL_SET_BYTES: Final = 8  # of the kernel's sigset_t: 64 signals
_CLOSES_AND_NEVER_WAITS: Final = 0o2000000 | 0o4000  # SFD_CLOEXEC | SFD_NONBLOCK, linux/signalfd.h
_HEARD_BYTES: Final = 128  # struct signalfd_siginfo
_CLONE: Final = (_CLONE3, bytes(_CloneArguments(exit_signal=signal.SIGCHLD)), _CLONE_SIZE)  # for _plain_syscall


def fork() -> int:
    """Fork; return 0 in the child and here its pid.

    Only for a process with one thread that holds no lock, as :func:`kernel.fork`.

    Raises:
        OSError: The kernel can start no process now.
    """
    pid: int = _plain_syscall(*_CLONE)
    if pid >= 0:
        return pid
    refused = ctypes.get_errno()
    if refused not in (errno.ENOSYS, errno.EPERM):  # no clone3 here, or a filter around us that refuses it
        raise OSError(refused, f"clone3: {os.strerror(refused)}")
    return os.fork()


def hear_children() -> int:
    """Return a descriptor that can be read when a child has ended. It closes on exec and never waits.

    SIGCHLD is blocked from then on, in this process and in those that come from it: it is heard here instead.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    wanted = ctypes.c_uint64(1 << (signal.SIGCHLD - 1))
    made = syscall("signalfd4", -1, ctypes.addressof(wanted), _SIGNAL_SET_BYTES, _CLOSES_AND_NEVER_WAITS)
    return offspring.kept(made)


def heard(descriptor: int) -> None:
    """Take what is to be read from a descriptor of :func:`hear_children`, so that the next end is heard anew."""
    try:  # noqa: SIM105 - not ``suppress``, for whose objects a zygote copies pages
        os.read(descriptor, _HEARD_BYTES)
    except BlockingIOError:
        pass  # somebody who reaped meanwhile has taken it
