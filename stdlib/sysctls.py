"""Keys of the kernel's settings as sysctl(8) writes them, and the files below /proc/sys that they stand for.

``net.ipv4.ip_forward`` is the file ``net/ipv4/ip_forward``; a dot that is part of a name is written as a slash, as in
``net.ipv4.conf.eth0/100.forwarding``. A key never leads out of /proc/sys.
"""

from __future__ import annotations

from stdlib.parameters import Form

MAX_KEY_CHARACTERS = 256
_PART = r"(?=/*[A-Za-z0-9_@:-])[A-Za-z0-9_@:/-]{1,64}"  # slashes alone would be the directories . and ..
KEY = Form(
    rf"(?=.{{1,{MAX_KEY_CHARACTERS}}}\Z){_PART}(?:\.{_PART})*", "is no key of the kernel's settings"
)  # fmt: skip
VALUE = Form(
    r"[^\x00-\x08\x0a-\x1f\x7f]*", "must be one line of printable text",
    lambda text: all(mark.isprintable() or mark == "\t" for mark in text), is_shown=False,
)  # fmt: skip


def relative_path(key: str) -> str:
    """Return the path of a key below /proc/sys.

    Raises:
        ArgumentError: It is no key.
    """
    return "/".join(part.replace("/", ".") for part in KEY.require(key, "key").split("."))


def key_of(path: str) -> str:
    """Return the key of a path below /proc/sys."""
    return ".".join(part.replace(".", "/") for part in path.split("/"))
