"""A fork that is told at once, and children whose ends are heard at one descriptor.

After a fork every page is shared, so what a process writes while its child lives it writes into copies. That makes the
steps after a fork dear for a process that forks often, whatever they are. So here the packet that tells of a child is
laid out before the fork, the kernel itself writes the child's pidfd into it, and what is left is one system call.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
from typing import Final

from kernel import _CLONE3, _CLONE_SIZE, CLONE_PIDFD, _CloneArguments, _plain_syscall, architecture, offspring, syscall

_SIGNAL_SET_BYTES: Final = 8  # of the kernel's sigset_t: 64 signals
_CLOSES_AND_NEVER_WAITS: Final = 0o2000000 | 0o4000  # SFD_CLOEXEC | SFD_NONBLOCK, linux/signalfd.h
_HEARD_BYTES: Final = 128  # struct signalfd_siginfo
_GONE: Final = frozenset({errno.EPIPE, errno.ECONNRESET})
_SOL_SOCKET: Final = 1  # linux/socket.h
_SCM_RIGHTS: Final = 1
_MSG_NOSIGNAL: Final = 0x4000


class _Piece(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]  # struct iovec


class _Beside(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_size_t), ("level", ctypes.c_int), ("kind", ctypes.c_int),
        ("pidfd", ctypes.c_int), ("_rest", ctypes.c_int),
    ]  # fmt: skip  # struct cmsghdr and one descriptor


class _Message(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p), ("name_size", ctypes.c_uint), ("pieces", ctypes.c_void_p),
        ("count", ctypes.c_size_t), ("beside", ctypes.c_void_p), ("beside_size", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]  # fmt: skip  # struct msghdr


class Herald:
    """Forks children of this process and sends, for each, one packet with its pidfd beside it.

    Only for a process with one thread that holds no lock, as :func:`kernel.fork`.

    Args:
        size: Of the packet, in bytes.
    """

    __slots__ = ("_beside", "_clone", "_close", "_piece", "_send", "packet")

    def __init__(self, size: int) -> None:
        self.packet = (ctypes.c_char * size)()  # what is sent; to be filled before each fork
        self._piece = _Piece(ctypes.addressof(self.packet), size)
        unused = _Beside.pidfd.offset + ctypes.sizeof(ctypes.c_int)
        self._beside = _Beside(unused, _SOL_SOCKET, _SCM_RIGHTS)
        message = _Message(
            None, 0, ctypes.addressof(self._piece), 1, ctypes.addressof(self._beside), ctypes.sizeof(self._beside)
        )
        pidfd = ctypes.addressof(self._beside) + _Beside.pidfd.offset
        arguments = _CloneArguments(flags=CLONE_PIDFD, pidfd=pidfd, exit_signal=signal.SIGCHLD)
        calls = architecture().calls
        self._clone = (_CLONE3, bytes(arguments), _CLONE_SIZE)  # bytes: as for ``kernel._plain_syscall``
        self._send = (calls["sendmsg"], bytes(message), _MSG_NOSIGNAL)
        self._close = calls["close"]

    def fork(self, through: int) -> int:
        """Fork; return 0 in the child and here its pid, after the packet was sent.

        Args:
            through: A socket that carries descriptors. If nobody is at its other end any more, nobody is told.

        Raises:
            OSError: The kernel can start no process now; or the packet could not be sent, and there is a child.
        """
        pid: int = _plain_syscall(*self._clone)
        if pid == 0:
            return 0
        if pid < 0:
            pid = self._forked_otherwise(ctypes.get_errno())
            if pid == 0:
                return 0
        number, message, flags = self._send
        if _plain_syscall(number, through, message, flags) < 0:
            refused = ctypes.get_errno()
            if refused not in _GONE:
                raise OSError(refused, f"sendmsg: {os.strerror(refused)}")
        _plain_syscall(self._close, self._beside.pidfd)
        return pid

    def _forked_otherwise(self, refused: int) -> int:
        """Fork where there is no clone3(2), or a filter around us refuses it."""
        if refused not in (errno.ENOSYS, errno.EPERM):
            raise OSError(refused, f"clone3: {os.strerror(refused)}")
        pid = os.fork()
        if pid:
            self._beside.pidfd = os.pidfd_open(pid)
        return pid


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
