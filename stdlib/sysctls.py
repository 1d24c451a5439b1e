"""Keys of the kernel's settings as sysctl(8) writes them, and the files below /proc/sys that they stand for.

``net.ipv4.ip_forward`` is the file ``net/ipv4/ip_forward``; a dot that is part of a name is written as a slash, as in
``net.ipv4.conf.eth0/100.forwarding``. A key never leads out of /proc/sys.
"""

from __future__ import annotations

import re

from protocol.errors import ArgumentError

MAX_KEY_CHARACTERS = 256
_PART = re.compile(r"[A-Za-z0-9_@:/-]{1,64}")


def relative_path(key: str) -> str:
    """Return the path of a key below /proc/sys.

    Raises:
        ArgumentError: It is no key.
    """
    parts = key.split(".")
    names = [part.replace("/", ".") for part in parts]
    is_key = len(key) <= MAX_KEY_CHARACTERS and all(_PART.fullmatch(part) for part in parts)
    if not is_key or any(not name.strip(".") for name in names):  # . and .. would be directories
        raise ArgumentError(f"key: {key!r:.80} is no key of the kernel's settings", parameter="key")
    return "/".join(names)


def key_of(path: str) -> str:
    """Return the key of a path below /proc/sys."""
    return ".".join(part.replace(".", "/") for part in path.split("/"))
