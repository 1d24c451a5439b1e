"""Gives the zygote, and so each worker that it forks, its whole stack at once, as address space.

The kernel makes a stack longer when it is used, and counts what it adds against the limit of address space. A worker
whose script has used up its memory could then not call one function deeper: it would be killed by SIGSEGV, where what
the script did wrong is a plain error, and its zygote would be replaced as if somebody had looked for its addresses. So
the stack is as long as it may ever be from the beginning, which ``Builder`` counts among what a worker starts with. One
page of it is used for that; the rest is memory only once it is needed.
"""

from __future__ import annotations

import errno
import resource

import kernel
from sandbox.jail.rlimits import STACK_BYTES


def reserve() -> int:
    """Make the stack of this process's first thread ``STACK_BYTES`` long and return its length in bytes.

    That is less where a lower hard limit stands, and more where it has grown beyond already. Needs /proc.

    Raises:
        OSError: The kernel does not give that much, or /proc is not there.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    most_bytes = STACK_BYTES if hard == resource.RLIM_INFINITY else min(STACK_BYTES, hard)
    if soft != resource.RLIM_INFINITY and soft < most_bytes:
        resource.setrlimit(resource.RLIMIT_STACK, (most_bytes, hard))
    start, end = _bounds()
    if end - start < most_bytes:
        page = resource.getpagesize()
        try:
            kernel.syscall("getrandom", end - most_bytes // page * page, 1)  # a call gets an error, no signal
        except OSError as error:
            raise OSError(error.errno, f"a stack of {most_bytes} bytes: {error.strerror}") from None
        start, end = _bounds()
    return end - start


def _bounds() -> tuple[int, int]:
    """Return where the stack of the first thread begins and ends, as far as it has grown; proc(5), ``maps``."""
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.endswith(" [stack]\n"):
                first, last = line.split(maxsplit=1)[0].split("-")
                return int(first, 16), int(last, 16)
    raise OSError(errno.ENOENT, "/proc/self/maps names no stack")
