"""Wall ``seccomp``: 14 system calls, everything else kills the process.

The list is what Lua 5.4 and CPython need once all they import is there (measured; a test runs both on exactly this
set). ``mmap`` and ``mprotect`` that ask for code give EACCES, since interpreters ask and live with the answer. The
default is to kill and not to fail: an error would invite probing, and SIGSYS in the wait status is a clean event for
the record. ``futex`` waits and wakes, and nothing else of what it can do.
Calls of another architecture, and of the x32 table, kill: their numbers mean other calls.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Sequence
from typing import Final

import kernel

#: The whole list.
ALLOWED: Final = (
    "read", "write", "recvfrom", "futex", "clock_gettime", "mmap", "munmap", "mremap", "mprotect", "brk", "madvise",
    "getrandom", "rt_sigreturn", "exit_group",
)  # fmt: skip
NO_CODE: Final = frozenset({"mmap", "mprotect"})  # of these, allowed only without PROT_EXEC
DONT_WAIT: Final = "recvfrom"  # allowed with exactly MSG_DONTWAIT: it then does what a read would, and never sleeps
PLAIN: Final = "futex"  # allowed as what locks of the C library do; see below

KILL_PROCESS: Final = 0x80000000  # linux/seccomp.h
ALLOW: Final = 0x7FFF0000
REFUSE: Final = 0x00050000 | errno.EACCES

_SET_MODE_FILTER: Final = 1
_X32_BIT: Final = 0x40000000
_PROT_EXEC: Final = 4
_MSG_DONTWAIT: Final = 0x40  # linux/socket.h
# linux/futex.h: to wait and to wake, by bits as well. What priority is inherited by, and what is moved from one to
# another, no lock of an interpreter needs; the kernel's code for that has been a way to become root, more than once.
_WAITING: Final = (0, 1, 9, 10)
_FUTEX_COMMAND: Final = 0xFFFFFFFF & ~(128 | 256)  # without FUTEX_PRIVATE_FLAG and FUTEX_CLOCK_REALTIME
# struct seccomp_data, both processors are little-endian
_NUMBER_AT, _ARCHITECTURE_AT, _SECOND_ARGUMENT_AT, _THIRD_ARGUMENT_AT, _FOURTH_ARGUMENT_AT = 0, 4, 24, 32, 40

# linux/bpf_common.h
_LOAD, _AND, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_BITS, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06


_Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand
_AT_ONCE: Final = 4  # numbers that are compared one after the other; measured, with 1 to 7


class _Program(ctypes.Structure):
    _fields_ = [
        ("length", ctypes.c_ushort),
        ("instructions", ctypes.c_char_p),
    ]


def instructions(architecture: kernel.Architecture) -> list[_Instruction]:
    """Return the filter. Pure.

    The number is searched for by halves: when the filter is put in, which each worker waits for, the kernel tries it on
    every number there is, to know those that it need not ask about again. That is a quarter of the whole call.
    Each allowed call is a pair or a small block that ends in a return.
    """
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_JUMP_EQUAL, 1, 0, architecture.audit),
        (_RETURN, 0, 0, KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    if architecture.has_second_table:
        program += [(_JUMP_AT_LEAST, 0, 1, _X32_BIT), (_RETURN, 0, 0, KILL_PROCESS)]
    return program + _search(sorted(ALLOWED, key=architecture.calls.__getitem__), architecture)


def _search(names: Sequence[str], architecture: kernel.Architecture) -> list[_Instruction]:
    """Return what finds the number that is loaded among ``names``, which are in the order of their numbers."""
    if len(names) <= _AT_ONCE:
        blocks = [instruction for name in names for instruction in _block(name, architecture.calls[name])]
        return [*blocks, (_RETURN, 0, 0, KILL_PROCESS)]
    middle = len(names) // 2
    below, from_there = _search(names[:middle], architecture), _search(names[middle:], architecture)
    return [(_JUMP_AT_LEAST, len(below), 0, architecture.calls[names[middle]]), *below, *from_there]


def _block(name: str, number: int) -> list[_Instruction]:
    if name in NO_CODE:
        return [
            (_JUMP_EQUAL, 0, 4, number),
            (_LOAD, 0, 0, _THIRD_ARGUMENT_AT),
            (_JUMP_BITS, 0, 1, _PROT_EXEC),
            (_RETURN, 0, 0, REFUSE),
            (_RETURN, 0, 0, ALLOW),
        ]
    if name == DONT_WAIT:
        return [
            (_JUMP_EQUAL, 0, 4, number),
            (_LOAD, 0, 0, _FOURTH_ARGUMENT_AT),
            (_JUMP_EQUAL, 1, 0, _MSG_DONTWAIT),
            (_RETURN, 0, 0, KILL_PROCESS),
            (_RETURN, 0, 0, ALLOW),
        ]
    if name == PLAIN:
        kinds = [(_JUMP_EQUAL, len(_WAITING) - place, 0, kind) for place, kind in enumerate(_WAITING)]
        return [
            (_JUMP_EQUAL, 0, 4 + len(kinds), number),
            (_LOAD, 0, 0, _SECOND_ARGUMENT_AT),
            (_AND, 0, 0, _FUTEX_COMMAND),
            *kinds,
            (_RETURN, 0, 0, KILL_PROCESS),
            (_RETURN, 0, 0, ALLOW),
        ]
    return [(_JUMP_EQUAL, 0, 1, number), (_RETURN, 0, 0, ALLOW)]


def assemble(architecture: kernel.Architecture) -> bytes:
    """Return the filter as the kernel reads it. Pure; done once, before the first fork."""
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions(architecture))


def calls(program: bytes) -> list[kernel.Call]:
    """Return the call that puts a process under ``program`` (from :func:`assemble`) for good.

    The kernel refuses it mostly because no_new_privs is not set.
    """
    packed = bytes(_Program(len(program) // 8, program))
    return [kernel.ready("seccomp", _SET_MODE_FILTER, 0, packed, holds=program)]
