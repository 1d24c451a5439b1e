"""The kernel, through ctypes: numbers for x86_64 and aarch64, and calls of which each is checked.

Every function raises ``OSError`` with the kernel's own number when the kernel refuses; none returns a status that a
caller could forget to look at. Numbers come from the kernel's ``include/uapi`` headers; they are part of its stable
interface. Nothing here decides anything.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

# linux/sched.h
CLONE_PIDFD: Final = 0x00001000
CLONE_PARENT: Final = 0x00008000
CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000
CLONE_INTO_CGROUP: Final = 0x200000000  # Linux 5.7

# linux/prctl.h
PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_CAPBSET_DROP: Final = 24
PR_SET_CHILD_SUBREAPER: Final = 36
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
PR_SET_MDWE: Final = 65
PR_MDWE_REFUSE_EXEC_GAIN: Final = 1

# linux/mount.h
MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_REMOUNT: Final = 32
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18
MNT_DETACH: Final = 2

_CAPABILITY_VERSION_3: Final = 0x20080522  # linux/capability.h


@dataclass(frozen=True, slots=True)
class Architecture:
    """What differs between processors."""

    audit: int  # AUDIT_ARCH_*, linux/audit.h
    calls: dict[str, int]  # system call numbers, asm/unistd.h
    has_second_table: bool  # x86_64: numbers from 0x40000000 on are the x32 table, which no list of ours covers


_X86_64: Final = Architecture(
    audit=0xC000003E,
    calls={
        "read": 0, "write": 1, "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12, "rt_sigreturn": 15, "mremap": 25,
        "recvfrom": 45,
        "madvise": 28, "futex": 202, "clock_gettime": 228, "exit_group": 231, "getrandom": 318,
        "close": 3, "rt_sigaction": 13, "setsid": 112, "prctl": 157, "dup3": 292, "prlimit64": 302, "close_range": 436,
        "capset": 126, "pivot_root": 155, "seccomp": 317,
        "clone3": 435, "landlock_create_ruleset": 444, "landlock_restrict_self": 446, "wait4": 61,
        "getppid": 110, "sendmsg": 46, "signalfd4": 289,
    },
    has_second_table=True,
)  # fmt: skip
_AARCH64: Final = Architecture(
    audit=0xC00000B7,
    calls={
        "read": 63, "write": 64, "mmap": 222, "mprotect": 226, "munmap": 215, "brk": 214, "rt_sigreturn": 139,
        "recvfrom": 207,
        "mremap": 216, "madvise": 233, "futex": 98, "clock_gettime": 113, "exit_group": 94, "getrandom": 278,
        "close": 57, "rt_sigaction": 134, "setsid": 157, "prctl": 167, "dup3": 24, "prlimit64": 261, "close_range": 436,
        "capset": 91, "pivot_root": 41, "seccomp": 277,
        "clone3": 435, "landlock_create_ruleset": 444, "landlock_restrict_self": 446, "wait4": 260,
        "getppid": 173, "sendmsg": 211, "signalfd4": 74,
    },
    has_second_table=False,
)  # fmt: skip
ARCHITECTURES: Final[dict[str, Architecture]] = {"x86_64": _X86_64, "aarch64": _AARCH64}

_MACHINE: Final = os.uname().machine

# The types are declared once: converting each argument by hand would touch a score of pages in every worker.
_libc: Final = ctypes.CDLL(None, use_errno=True)
_syscall: Final = ctypes.PyDLL(None, use_errno=True).syscall  # keeps the interpreter's lock: none of these calls waits
_syscall.argtypes = [ctypes.c_long] * 6
_syscall.restype = ctypes.c_long
#: The same without types: numbers, bytes (their address) and what ``byref`` gave are passed as they are. An argument
#: with a type is made into an object first, in pages that a zygote and its worker both copy. Of a number 32 bits are
#: passed, so nothing may come here that :func:`_plain` does not let through.
_plain_syscall: Final = ctypes.PyDLL(None, use_errno=True).syscall
_plain_syscall.restype = ctypes.c_long
_libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
_libc.unshare.argtypes = [ctypes.c_int]
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]
_libc.umount2.argtypes = [ctypes.c_char_p, ctypes.c_int]


def architecture(machine: str | None = None) -> Architecture:
    """Return the numbers of ``machine`` (default: this one).

    Raises:
        OSError: ENOSYS, a processor for which nobody has checked the numbers.
    """
    name = _MACHINE if machine is None else machine
    if name not in ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"no system call numbers for {name} (known: {', '.join(ARCHITECTURES)})")
    return ARCHITECTURES[name]


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def syscall(name: str, first: int = 0, second: int = 0, third: int = 0, fourth: int = 0) -> int:
    """Make system call ``name`` (a key of ``Architecture.calls``); an address is passed as the number it is."""
    return _checked(_syscall(architecture().calls[name], first, second, third, fourth, 0), name)


def prctl(option: int, first: int = 0, second: int = 0, what: str = "prctl") -> int:
    """Make a ``prctl`` call; the last two arguments are 0, as the options that are used here demand."""
    return _checked(_libc.prctl(option, first, second, 0, 0), what)


_LIBC_SIGNALS: Final = (32, 33)  # of glibc's threads; its own calls refuse to speak of them
_SIGACTION_BYTES: Final = 32  # handler, flags, restorer, mask of 64 signals: asm/signal.h, the same on both processors


def hear_libc_signals() -> None:
    """Let the C library's own signals do what they do by default: ignored ones stay ignored over an exec."""
    default = ctypes.create_string_buffer(_SIGACTION_BYTES)
    for number in _LIBC_SIGNALS:
        syscall("rt_sigaction", number, ctypes.addressof(default), 0, 8)


class Call(NamedTuple):
    """A system call that is ready to be made: nothing is looked up or allocated for it any more.

    A worker's first steps are made of these. Each page of Python that it does not touch is one less to be copied.
    """

    what: str  # for the error
    number: int
    first: int | bytes = 0
    second: int | bytes = 0
    third: int | bytes = 0
    fourth: int | bytes = 0
    holds: Any = None  # the memory that an argument points into


def ready(name: str, *arguments: int | bytes, what: str | None = None, holds: Any = None) -> Call:
    """Return call ``name`` (a key of ``Architecture.calls``) with up to four arguments, not yet made.

    Args:
        name: Of the call.
        arguments: Numbers of up to 32 bits; or bytes, of which the kernel gets the address and only reads.
        what: It is, in an error; the name by default.
        holds: What else must live until the call is made, as the bytes point to it.
    """
    first, second, third, fourth = (*arguments, 0, 0, 0, 0)[:4]
    return Call(what or name, architecture().calls[name], first, second, third, fourth, holds)


def make(calls: Iterable[Call]) -> None:
    """Make these calls in order.

    Raises:
        OSError: The kernel refused one; the rest was not made.
    """
    make_batch(batch(calls))


class Batch(NamedTuple):
    """Calls whose arguments lie together, as they were all made at once."""

    rows: tuple[tuple[int | bytes, ...], ...]  # the arguments of each call
    calls: tuple[Call, ...]  # the same ones: for the error, and to hold what arguments point to


def _plain(value: int | bytes) -> int | bytes:
    """Return an argument as it may be passed without a type."""
    if isinstance(value, bytes):
        return value
    if -(2**31) <= value < 2**32:
        return int(value)  # and no member of an enumeration
    raise OSError(errno.EINVAL, f"{value!r} is no argument of a call that is made ready")


def batch(calls: Iterable[Call]) -> Batch:
    """Return these calls, ready to be made one after the other by :func:`make_batch`.

    Raises:
        OSError: EINVAL, an argument is no number of up to 32 bits.
    """
    kept = tuple(calls)
    rows = [(call.number, call.first, call.second, call.third, call.fourth, 0) for call in kept]
    return Batch(tuple([tuple([_plain(value) for value in row]) for row in rows]), kept)


def make_batch(packed: Batch) -> None:
    """Make the calls of a batch in order; raises as :func:`make`."""
    rows, calls = packed
    made = 0
    for row in rows:
        if _plain_syscall(*row) < 0:
            refused = ctypes.get_errno()
            raise OSError(refused, f"{calls[made].what}: {os.strerror(refused)}")
        made += 1  # noqa: SIM113 - enumerate makes a tuple for each call, of which a worker copies pages


def tell(file: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` to a file of the kernel's with one plain write.

    user_namespaces(7) and control groups demand it: opening with O_CREAT is refused, and each write is one command.
    """
    descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def unshare(flags: int) -> None:
    """Move this process into fresh namespaces; CLONE_NEWPID is for its next child."""
    _checked(_libc.unshare(flags), "unshare")


def mount(kind: bytes | None, target: bytes, flags: int, options: bytes | None = None) -> None:
    """Mount a filesystem of type ``kind`` at ``target``, or change a mount if ``kind`` is None."""
    _checked(_libc.mount(b"none", target, kind, flags, options), "mount")


def detach(target: bytes) -> None:
    """Take away the mount at ``target``, at once for everybody."""
    _checked(_libc.umount2(target, MNT_DETACH), "umount")


def pivot_root(new_root: bytes, put_old: bytes) -> None:
    """Make ``new_root`` the root; the old one is put at ``put_old``."""
    new, old = ctypes.create_string_buffer(new_root), ctypes.create_string_buffer(put_old)
    syscall("pivot_root", ctypes.addressof(new), ctypes.addressof(old))


class _CapabilityHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


def capset_none() -> None:
    """Give up every permitted, effective and inheritable capability."""
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable, in two halves of 32 bits
    syscall("capset", ctypes.addressof(header), ctypes.addressof(nothing))


class _CloneArguments(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in (
        "flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack", "stack_size", "tls", "set_tid",
        "set_tid_size", "cgroup",
    )]  # fmt: skip


_pidfd: Final = ctypes.c_int(0)
_clone_arguments: Final = _CloneArguments(pidfd=ctypes.addressof(_pidfd))
_CLONE_ADDRESS: Final = ctypes.addressof(_clone_arguments)
_CLONE_SIZE: Final = 64  # CLONE_ARGS_SIZE_VER0, linux/sched.h: what every kernel that has clone3(2) takes
_CLONE_SIZE_WITH_GROUP: Final = ctypes.sizeof(_CloneArguments)  # CLONE_ARGS_SIZE_VER2, Linux 5.7
_CLONE3: Final = 435  # the same on all processors
_CHILD: Final = (0, 0)


def fork_child(group: int | None = None) -> tuple[int, int]:
    """Fork a child; return its pid and pidfd here, and two zeros there.

    Args:
        group: A descriptor of the control group (version 2) that the child is born into; None for the own one.

    Only for a process with one thread that holds no lock: neither the C library nor Python hears of it. What both do
    after a fork is to repair locks and to forget other threads, of which there are none; in a worker that work is 160
    copied pages, more than all else it does until its script runs.

    Raises:
        OSError: The kernel, or a filter around it, has no clone3(2); or it can start no process now.
    """
    if group is None:
        return _clone(CLONE_PIDFD, signal.SIGCHLD)
    _clone_arguments.cgroup = group
    return _clone(CLONE_PIDFD | CLONE_INTO_CGROUP, signal.SIGCHLD, _CLONE_SIZE_WITH_GROUP)


def fork(group: int | None = None) -> tuple[int, int]:
    """Fork as :func:`fork_child`, with the C library's own fork where there is no clone3(2).

    Raises:
        OSError: The kernel can start no process now, or not in ``group``.
    """
    if group is not None:
        return fork_child(group)
    _clone_arguments.flags, _clone_arguments.exit_signal = CLONE_PIDFD, signal.SIGCHLD
    # Here and not in ``fork_child``: the child then has one frame to leave, not three.
    pid = _syscall(_CLONE3, _CLONE_ADDRESS, _CLONE_SIZE, 0, 0, 0)
    if pid >= 0:
        return (pid, _pidfd.value) if pid else _CHILD
    refused = ctypes.get_errno()
    if refused not in (errno.ENOSYS, errno.EPERM):  # no clone3 here, or a filter around us that refuses it
        raise OSError(refused, f"clone3: {os.strerror(refused)}")
    pid = os.fork()
    return pid, os.pidfd_open(pid) if pid else 0


_WAITED: Final = struct.Struct("i4xqqqqq")  # the status, then the start of struct rusage: two times, a size in KiB
_waited: Final = ctypes.create_string_buffer(8 + 144)  # sizeof(struct rusage) is 144 on both processors
_WAITED_STATUS: Final = ctypes.byref(_waited)
_WAITED_USAGE: Final = ctypes.byref(_waited, 8)
_WAIT4: Final = ARCHITECTURES.get(_MACHINE, _AARCH64).calls["wait4"]  # those of aarch64 are those of most others
_WNOHANG: Final = int(os.WNOHANG)
_take_waited: Final = _WAITED.unpack_from


def reap() -> tuple[int, int, int, int] | None:
    """Reap one child that has ended; None if there is none now.

    Returns:
        Its pid; its status as waitpid(2) gives it; microseconds of user and system time together; bytes of its largest
        resident set. No object with names for them: making one takes as long as the call.

    ``os.wait4`` looks up a module and builds an object of 16 fields each time, of which a zygote copies pages.
    """
    pid: int = _plain_syscall(_WAIT4, -1, _WAITED_STATUS, _WNOHANG, _WAITED_USAGE)
    if pid <= 0:
        return None
    status, user_s, user_us, system_s, system_us, peak_kib = _take_waited(_waited)
    return pid, status, (user_s + system_s) * 1_000_000 + user_us + system_us, peak_kib * 1024


_PIDFD_GET_INFO: Final = 0xC040FF0B  # _IOWR(0xFF, 11, struct pidfd_info of 64 bytes), linux/pidfd.h; Linux 6.13
_PID_AT: Final = struct.Struct("16xi")


def pid_of(pidfd: int) -> int:
    """Return the process behind ``pidfd`` as numbered here.

    Raises:
        ProcessLookupError: There is none any more.
        OSError: It is no pidfd.
    """
    if pidfd < 0:
        raise ProcessLookupError(errno.ESRCH, "it has not begun, or has ended")
    told = bytearray(64)
    told[0] = 1  # PIDFD_INFO_PID
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, told)
    except OSError as error:
        if error.errno not in (errno.ENOTTY, errno.EINVAL):  # an older kernel
            raise
        return _pid_in_words(pidfd)
    return int(_PID_AT.unpack_from(told)[0])


def _pid_in_words(pidfd: int) -> int:
    with open(f"/proc/self/fdinfo/{pidfd}", encoding="ascii") as lines:
        pid = next((int(line.split()[1]) for line in lines if line.startswith("Pid:")), None)
    if pid is None:
        raise OSError(errno.EBADF, "it is no pidfd")
    if pid <= 0:
        raise ProcessLookupError(errno.ESRCH, "it has ended")
    return pid


def fork_sibling() -> tuple[int, int]:
    """Fork as :func:`fork_child`, but a child of this process's parent."""
    return _clone(CLONE_PIDFD | CLONE_PARENT, 0)  # such a child tells its end with its parent's own signal


def _clone(flags: int, exit_signal: int, size: int = _CLONE_SIZE) -> tuple[int, int]:
    _clone_arguments.flags, _clone_arguments.exit_signal = flags, exit_signal
    pid = _syscall(_CLONE3, _CLONE_ADDRESS, size, 0, 0, 0)
    return (_checked(pid, "clone3"), _pidfd.value) if pid else (0, 0)
