"""Whole small files in memory, to be compared, shown and edited."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Callable
from typing import Any, Final

from cli.files.download import Downloads
from cli.files.patience import Patience
from cli.files.progress import Progress
from cli.sessions import RemoteSession
from protocol.errors import TooLargeError

MAX_BYTES: Final = 16 << 20  # of a file that is edited or compared
NO_NEWLINE: Final = "\\ No newline at end of file\n"
_LINES: Final = re.compile(r"[^\n]*\n|[^\n]+")


class Buffer:
    """A sink in memory.

    Args:
        told: The file's name for people.
    """

    def __init__(self, told: str) -> None:
        self.size = 0
        self._told = told
        self._data = bytearray()

    def write(self, data: bytes | memoryview) -> None:
        """Append; TooLargeError over ``MAX_BYTES``."""
        self.size += len(data)
        if self.size > MAX_BYTES:
            raise TooLargeError(f"{self._told} is larger than {MAX_BYTES >> 20} MiB")
        self._data += data

    @property
    def data(self) -> bytes:
        """What came."""
        return bytes(self._data)


def read(session: RemoteSession, path: str, told: str, say: Callable[[str], None]) -> tuple[dict[str, Any], bytes]:
    """Return what stands about a file of a host, and its content; raises as ``Downloads.receive``."""
    buffer = Buffer(told)
    downloads = Downloads(session, Patience(session, 0, say), Progress(is_shown=False), say)
    about, _ = downloads.receive(path, buffer, told)
    return about, buffer.data


def text_of(data: bytes) -> str | None:
    """Return content as text; None if it is none that a diff could show."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def unified(old: bytes, new: bytes, old_name: str, new_name: str) -> str:
    """Return how two contents differ, as a unified diff, or in a word if they are no text; empty if they do not."""
    if old == new:
        return ""
    before, after = text_of(old), text_of(new)
    if before is None or after is None:
        return f"{old_name} and {new_name} differ: {len(old)} and {len(new)} bytes that are no text\n"
    lines = difflib.unified_diff(_LINES.findall(before), _LINES.findall(after), old_name, new_name)
    return "".join(line if line.endswith("\n") else f"{line}\n{NO_NEWLINE}" for line in lines)


def sha256(data: bytes) -> str:
    """Return the hash in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
