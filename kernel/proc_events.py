"""What the kernel says about processes that fork, begin a program and end: its process connector, linux/cn_proc.h.

One socket hears of the whole host. A filter in the kernel drops what concerns threads only and what nobody here wants,
so that a host that starts many threads costs nothing. Needs CAP_NET_ADMIN and the host's first pid and user namespace.
Every function raises ``OSError`` with the kernel's own number.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from contextlib import suppress
from typing import Final, NamedTuple

FORK: Final = 0x00000001  # PROC_EVENT_*, linux/cn_proc.h
EXEC: Final = 0x00000002
EXIT: Final = 0x80000000
_NONE: Final = 0x00000000  # the answer to a request
_CONNECTOR: Final = 11  # NETLINK_CONNECTOR, linux/netlink.h
_GROUP: Final = 1  # CN_IDX_PROC, linux/connector.h; CN_VAL_PROC is 1 as well
_LISTEN: Final = 1  # PROC_CN_MCAST_LISTEN
_DONE: Final = 3  # NLMSG_DONE
_SO_ATTACH_FILTER: Final = 26  # asm-generic/socket.h
_SO_RCVBUFFORCE: Final = 33  # beyond net.core.rmem_max, which is 208 KB on most hosts: 300 events
_BUFFER_BYTES: Final = 1 << 20
_READ_BYTES: Final = 4096  # one message has some hundred
_MAX_ANSWERS: Final = 1000  # messages that are looked at for the answer to the request

_HEAD: Final = struct.Struct("=IHHII")  # struct nlmsghdr
_CN: Final = struct.Struct("=IIIIHH")  # struct cn_msg, without data
_EVENT: Final = struct.Struct("=IIQ")  # struct proc_event, without its union
_AT: Final = _HEAD.size + _CN.size
_NUMBERS: Final = struct.Struct("=IIII")  # fork: parent's and child's thread and process; exit: thread, process, status


class Event(NamedTuple):
    """One event."""

    what: int  # FORK, EXEC or EXIT
    pid: int  # the process; the child of a fork
    parent: int  # of a fork, else 0
    status: int  # of an exit as wait(2) has it, else 0


def _filter() -> bytes:
    """Return a program for the socket (linux/filter.h): forks and exits of processes, not of threads, and programs.

    Words are loaded big-endian, so what they are compared to is turned round.
    """
    load, tax, same, same_x, give = 0x20, 0x07, 0x15, 0x1D, 0x06  # BPF_LD|W|ABS, BPF_MISC|TAX, BPF_JMP|JEQ|K, |X, RET
    union = _AT + _EVENT.size
    program = [  # a jump's two numbers say how many instructions are left out if it is so, and if it is not
        (load, 0, 0, _AT),
        (same, 4, 0, socket.htonl(FORK)),
        (same, 12, 0, socket.htonl(EXEC)),
        (same, 6, 0, socket.htonl(EXIT)),
        (same, 10, 0, _NONE),
        (give, 0, 0, 0),
        (load, 0, 0, union + 8),  # of a fork: the child's thread
        (tax, 0, 0, 0),
        (load, 0, 0, union + 12),  # and process
        (same_x, 5, 4, 0),
        (load, 0, 0, union),  # of an exit: the thread
        (tax, 0, 0, 0),
        (load, 0, 0, union + 4),  # and process
        (same_x, 1, 0, 0),
        (give, 0, 0, 0),  # not wanted
        (give, 0, 0, 0xFFFFFFFF),  # wanted, all of it
    ]
    return b"".join(struct.pack("=HBBI", *each) for each in program)


def listen() -> socket.socket:
    """Return a socket that hears of all processes of the host; it does not block.

    Raises:
        OSError: EPERM, this process may not; EOPNOTSUPP, the kernel does not answer here, as in a pid namespace.
    """
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, _CONNECTOR)
    try:
        code = _filter()
        kept = ctypes.create_string_buffer(code, len(code))
        made.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(code) // 8, ctypes.addressof(kept))
        )
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        with suppress(PermissionError):  # a kernel that lets others than root listen
            made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        made.bind((0, _GROUP))
        asked = _CN.pack(_GROUP, 1, 0, 0, 4, 0) + struct.pack("=I", _LISTEN)
        made.send(_HEAD.pack(_HEAD.size + len(asked), _DONE, 0, 0, os.getpid()) + asked)
        for _ in range(_MAX_ANSWERS):  # the kernel answers before it returns
            data, (sender, _groups) = made.recvfrom(_READ_BYTES)
            if sender == 0 and _EVENT.unpack_from(data, _AT)[0] == _NONE:
                refused = struct.unpack_from("=I", data, _AT + _EVENT.size)[0]
                if refused:
                    raise OSError(refused, os.strerror(refused))
                return made
        raise OSError(errno.EOPNOTSUPP, "the kernel does not answer")
    except BlockingIOError:
        made.close()
        raise OSError(errno.EOPNOTSUPP, "the kernel tells of no processes here") from None
    except OSError:
        made.close()
        raise


def read(listening: socket.socket, most: int) -> list[Event]:
    """Return events that wait, at most ``most``.

    Raises:
        OSError: ENOBUFS, some were lost because nobody read them; what comes later is still told.
    """
    found: list[Event] = []
    for _ in range(most):
        try:
            data, (sender, _groups) = listening.recvfrom(_READ_BYTES)
        except BlockingIOError:
            break
        if sender == 0:  # else it is not the kernel that speaks
            event = _event(data)
            if event is not None:
                found.append(event)
    return found


def _event(data: bytes) -> Event | None:
    if len(data) < _AT + _EVENT.size + _NUMBERS.size:
        return None
    what, _cpu, _ns = _EVENT.unpack_from(data, _AT)
    first, second, third, fourth = _NUMBERS.unpack_from(data, _AT + _EVENT.size)
    if what == FORK and third == fourth:
        return Event(FORK, fourth, second, 0)
    if what == EXEC:
        return Event(EXEC, second, 0, 0)
    if what == EXIT and first == second:
        return Event(EXIT, second, 0, third)
    return None
