"""Wall ``seccomp``: 14 system calls, everything else kills the process.

The list is what Lua 5.4 and CPython need once all they import is there (measured; a test runs both on exactly this
set). ``mmap`` and ``mprotect`` that ask for code give EACCES, since interpreters ask and live with the answer. The
default is to kill and not to fail: an error would invite probing, and SIGSYS in the wait status is a clean event for
the record.
Calls of another architecture, and of the x32 table, kill: their numbers mean other calls.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from typing import Final

import kernel

#: The whole list; the order is by frequency, as the filter is walked from its start.
ALLOWED: Final = (
    "read", "write", "recvfrom", "futex", "clock_gettime", "mmap", "munmap", "mremap", "mprotect", "brk", "madvise",
    "getrandom", "rt_sigreturn", "exit_group",
)  # fmt: skip
NO_CODE: Final = frozenset({"mmap", "mprotect"})  # of these, allowed only without PROT_EXEC
DONT_WAIT: Final = "recvfrom"  # allowed with exactly MSG_DONTWAIT: it then does what a read would, and never sleeps

KILL_PROCESS: Final = 0x80000000  # linux/seccomp.h
ALLOW: Final = 0x7FFF0000
REFUSE: Final = 0x00050000 | errno.EACCES

_SET_MODE_FILTER: Final = 1
_X32_BIT: Final = 0x40000000
_PROT_EXEC: Final = 4
_MSG_DONTWAIT: Final = 0x40  # linux/socket.h
# struct seccomp_data, both processors are little-endian
_NUMBER_AT, _ARCHITECTURE_AT, _THIRD_ARGUMENT_AT, _FOURTH_ARGUMENT_AT = 0, 4, 32, 40

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # linux/bpf_common.h


class _Program(ctypes.Structure):
    _fields_ = [
        ("length", ctypes.c_ushort),
        ("instructions", ctypes.c_char_p),
    ]


def instructions(architecture: kernel.Architecture) -> list[tuple[int, int, int, int]]:
    """Return the filter as (code, jump if true, jump if false, operand). Pure.

    Each allowed call is a pair or a small block that ends in a return, so that no jump is longer than its block.
    """
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_JUMP_EQUAL, 1, 0, architecture.audit),
        (_RETURN, 0, 0, KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    if architecture.has_second_table:
        program += [(_JUMP_AT_LEAST, 0, 1, _X32_BIT), (_RETURN, 0, 0, KILL_PROCESS)]
    for name in ALLOWED:
        number = architecture.calls[name]
        if name in NO_CODE:
            program += [
                (_JUMP_EQUAL, 0, 4, number),
                (_LOAD, 0, 0, _THIRD_ARGUMENT_AT),
                (_JUMP_BITS, 0, 1, _PROT_EXEC),
                (_RETURN, 0, 0, REFUSE),
                (_RETURN, 0, 0, ALLOW),
            ]
        elif name == DONT_WAIT:
            program += [
                (_JUMP_EQUAL, 0, 4, number),
                (_LOAD, 0, 0, _FOURTH_ARGUMENT_AT),
                (_JUMP_EQUAL, 1, 0, _MSG_DONTWAIT),
                (_RETURN, 0, 0, KILL_PROCESS),
                (_RETURN, 0, 0, ALLOW),
            ]
        else:
            program += [(_JUMP_EQUAL, 0, 1, number), (_RETURN, 0, 0, ALLOW)]
    return [*program, (_RETURN, 0, 0, KILL_PROCESS)]


def assemble(architecture: kernel.Architecture) -> bytes:
    """Return the filter as the kernel reads it. Pure; done once, before the first fork."""
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions(architecture))


def calls(program: bytes) -> list[kernel.Call]:
    """Return the call that puts a process under ``program`` (from :func:`assemble`) for good.

    The kernel refuses it mostly because no_new_privs is not set.
    """
    packed = _Program(len(program) // 8, program)
    return [kernel.ready("seccomp", _SET_MODE_FILTER, 0, ctypes.addressof(packed), holds=packed)]
