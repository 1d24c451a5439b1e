"""Wall ``landlock``: every right that this kernel knows is handled and none is granted.

Source: landlock(7). Rights above the version of the kernel must not be named, or it refuses the whole ruleset; what an
older kernel leaves open (see ``describe``) is held by seccomp and the namespaces.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Final

import kernel

NEWEST_KNOWN: Final = 7  # versions 7 and up add no right that this file knows

_VERSION_FLAG: Final = 1  # LANDLOCK_CREATE_RULESET_VERSION
_FS_RIGHTS: Final = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # version -> number of file rights; the last one stays
_NET_RIGHTS: Final = 0b11  # bind and connect of TCP, from version 4
_SCOPES: Final = 0b11  # abstract Unix sockets and signals, from version 6


class _Attributes(ctypes.Structure):
    _fields_ = [
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    ]


@dataclass(frozen=True, slots=True)
class Rights:
    """What a ruleset handles, that is: forbids."""

    files: int
    net: int
    scopes: int
    size_bytes: int  # of the structure that this version of the kernel knows


def rights(version: int) -> Rights:
    """Return all rights that landlock ``version`` (at least 1) can take away. Pure."""
    files = (1 << _FS_RIGHTS[min(version, max(_FS_RIGHTS))]) - 1
    size_bytes = 24 if version >= 6 else 16 if version >= 4 else 8
    return Rights(files, _NET_RIGHTS if version >= 4 else 0, _SCOPES if version >= 6 else 0, size_bytes)


def version() -> int:
    """Return the version that this kernel offers.

    Raises:
        OSError: None: not built in, or not enabled at boot.
    """
    return kernel.syscall("landlock_create_ruleset", 0, 0, _VERSION_FLAG)


def forbid_all() -> int:
    """Return the descriptor of a ruleset that takes all rights away. Made once, in the zygote.

    Raises:
        OSError: The kernel has no landlock, or refuses.
    """
    wanted = rights(version())
    attributes = _Attributes(wanted.files, wanted.net, wanted.scopes)
    return kernel.syscall("landlock_create_ruleset", ctypes.addressof(attributes), wanted.size_bytes, 0)


def calls(ruleset: int) -> list[kernel.Call]:
    """Return the calls that restrict a process, and all that come from it, by ``ruleset``, and close that."""
    return [kernel.ready("landlock_restrict_self", ruleset, 0), kernel.ready("close", ruleset)]


def describe(found: int) -> str:
    """Return what version ``found`` holds, in words."""
    parts = ["files"]
    if found >= 4:
        parts.append("TCP")
    if found >= 6:
        parts.append("signals and abstract sockets")
    return f"version {found}: {', '.join(parts)}"
