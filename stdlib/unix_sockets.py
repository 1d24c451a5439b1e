"""The kernel's own list of Unix sockets, sock_diag(7), with names as they are. Any user may ask.

The table in /proc/net/unix has each name in a line, as it is: whoever gives a socket a name with an end of line in it
writes lines of their own there, such as one of a database that listens.

Source: sock_diag(7), linux/unix_diag.h, net/tcp_states.h. All numbers are in the host's byte order.
"""

from __future__ import annotations

import errno
import struct
from typing import Any, Final

from protocol.errors import UnavailableError
from stdlib import rtnetlink

_SOCK_DIAG: Final = 4  # NETLINK_SOCK_DIAG, linux/netlink.h
_BY_FAMILY: Final = 20  # SOCK_DIAG_BY_FAMILY
_UNIX: Final = 1  # AF_UNIX
_REQUEST: Final = struct.Struct("=BBHIIIII")  # unix_diag_req: family, protocol, padding, states, inode, show, cookie
_ANSWER: Final = struct.Struct("=BBBxIII")  # unix_diag_msg: family, type, state, inode, cookie
_EVERY_STATE: Final = 0xFFFFFFFF
_NO_COOKIE: Final = 0xFFFFFFFF
_SHOW_NAME: Final = 1  # UDIAG_SHOW_NAME
_NAME: Final = 0  # UNIX_DIAG_NAME
_ERRNO: Final = struct.Struct("=i")
#: What a kernel says that was built without it.
_NOT_THERE: Final = frozenset({errno.ENOENT, errno.EINVAL, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT})
_TYPES: Final = {1: "stream", 2: "datagram", 5: "seqpacket"}
_STATES: Final = {1: "connected", 7: "unconnected", 10: "listen"}


def told() -> list[dict[str, Any]] | None:
    """Return the sockets as ``socket_tables.local`` does; None if this kernel does not tell.

    Raises:
        UnavailableError: It cannot be asked, or there are too many.
    """
    request = _REQUEST.pack(_UNIX, 0, 0, _EVERY_STATE, 0, _SHOW_NAME, _NO_COOKIE, _NO_COOKIE)
    try:
        dumped = rtnetlink.dump(_BY_FAMILY, request, _SOCK_DIAG, "Unix sockets")
    except UnavailableError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in _NOT_THERE:
            return None
        raise
    found: list[dict[str, Any]] = []
    for data in dumped:
        for kind, body in rtnetlink.messages(data):
            if kind == rtnetlink.ERROR:
                number = -_ERRNO.unpack_from(body)[0]
                if number in _NOT_THERE:
                    return None
                raise UnavailableError(f"the kernel does not tell its Unix sockets: {errno.errorcode.get(number)}")
            if kind == _BY_FAMILY and len(body) >= _ANSWER.size:
                found.append(_row(body))
    return found


def _row(body: bytes) -> dict[str, Any]:
    _, kind, state, inode, _, _ = _ANSWER.unpack_from(body)
    name = dict(rtnetlink.attributes(body[_ANSWER.size :])).get(_NAME)
    return {
        "protocol": "unix", "type": _TYPES.get(kind, str(kind)), "state": _STATES.get(state, str(state)),
        "inode": inode, "path": None if not name else _path(name),
    }  # fmt: skip


def _path(name: bytes) -> str:
    """Return a name as /proc/net/unix writes it: an abstract one begins with @, which stands for each NUL in it."""
    if not name.startswith(b"\0"):
        name = name.removesuffix(b"\0")
    return name.replace(b"\0", b"@").decode("utf-8", "surrogateescape")
