"""Small processes of ours that do for the agent what it must not do itself: how one is started, and how it begins.

The agent holds keys, threads and open files, so it never forks itself for good: such a process is a fresh interpreter
with a nearly empty environment, a session of its own, and one descriptor, the control socket, as its standard input.
It ends when that socket closes.
"""

from __future__ import annotations

import fcntl
import os
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import subprocess

LOWEST_KEPT: Final = 10  # of what such a process keeps open; the numbers below are for the processes that it makes
_BIND_NOW: Final = "LD_BIND_NOW"  # ld.so(8): what is bound later is bound in each process that is forked from this one
_ENVIRONMENT: Final = {"LANG": "C.UTF-8", "PATH": "/usr/bin:/bin", _BIND_NOW: "1"}


def start(python: str, module: str) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start ``module`` and return its process and our end of the control socket, which does not block.

    Raises:
        OSError: It cannot be started.
    """
    import subprocess  # here: the processes that are started load this module too, and start none

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    with theirs:
        try:
            process = subprocess.Popen(  # noqa: S603 - a vfork of 2 ms, rarely; nothing in it is input
                [python, "-I", "-m", module],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env=_ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )
        except OSError:
            ours.close()
            raise
    return process, ours


def adopt() -> tuple[socket.socket, int]:
    """Return, in the process that was started, its control socket and a descriptor of null, both from LOWEST_KEPT on.

    Standard input is null from now on.
    """
    os.environ.pop(_BIND_NOW, None)  # it has done its work
    control = socket.socket(fileno=fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, LOWEST_KEPT))
    null = kept(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
    os.dup2(null, 0, inheritable=False)
    return control, null


def kept(descriptor: int) -> int:
    """Return what stands for ``descriptor`` from LOWEST_KEPT on, and closes on exec; the one given is closed."""
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, LOWEST_KEPT)
    finally:
        os.close(descriptor)
