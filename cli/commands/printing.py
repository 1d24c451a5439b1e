"""What commands print, as it goes on here: as it is of one host, line by line with its name of several, or as JSON."""

from __future__ import annotations

import base64
import os
import threading
from typing import Any, Final

from cli.files.download import Descriptor
from cli.output import Output
from protocol.plain_text import safe

MAX_LINE_BYTES: Final = 64 << 10  # a longer one is told in parts
_FD: Final = {"stdout": 1, "stderr": 2}


class Plain:
    """One host: its bytes, each on the stream on which they came."""

    def __init__(self) -> None:
        self._sinks = {name: Descriptor(fd, name) for name, fd in _FD.items()}

    def printed(self, name: str, data: bytes) -> None:
        """So much came; a reader that went away is a BrokenPipeError."""
        self._sinks[name].write(data)

    def ended(self) -> None:
        """Nothing more comes."""


class Prefixed:
    """One of several hosts: whole lines, its name before each. Safe from any thread.

    Args:
        host: Its name.
        width: Of the longest name, so that lines stand below each other.
        lock: Of all hosts: a line is written as one.
    """

    def __init__(self, host: str, width: int, lock: threading.Lock) -> None:
        self._prefix = f"{host + ':':<{width + 1}} ".encode()
        self._lock = lock
        self._rest = dict.fromkeys(_FD, b"")

    def printed(self, name: str, data: bytes) -> None:
        """So much came."""
        *lines, rest = (self._rest[name] + data).split(b"\n")
        if len(rest) > MAX_LINE_BYTES:
            lines, rest = [*lines, rest], b""
        self._rest[name] = rest
        self._write(name, lines)

    def ended(self) -> None:
        """Nothing more comes."""
        for name, rest in self._rest.items():
            self._write(name, [rest] if rest else [])
            self._rest[name] = b""

    def _write(self, name: str, lines: list[bytes]) -> None:
        if not lines:
            return
        if os.isatty(_FD[name]):
            lines = [_shown(line) for line in lines]
        data = b"".join(self._prefix + line + b"\n" for line in lines)
        with self._lock:
            while data:
                data = data[os.write(_FD[name], data) :]


def _shown(line: bytes) -> bytes:
    """Return a line as a terminal may have it that others write to as well: what it obeys would write over theirs."""
    return safe(line.removesuffix(b"\r").decode("utf-8", "replace")).encode()


class Rows:
    """Lines of JSON, of one host or several. Safe from any thread.

    Args:
        host: Its name.
        output: Where they go.
        lock: Of all hosts.
    """

    def __init__(self, host: str, output: Output, lock: threading.Lock) -> None:
        self._host = host
        self._output = output
        self._lock = lock

    def printed(self, name: str, data: bytes) -> None:
        """So much came."""
        try:
            told: dict[str, Any] = {"data": data.decode("utf-8")}
        except UnicodeDecodeError:
            told = {"base64": base64.b64encode(data).decode()}
        self.row({"stream": name, **told})

    def row(self, told: dict[str, Any]) -> None:
        """Write one line about the host."""
        with self._lock:
            self._output.row({"host": self._host, **told})

    def ended(self) -> None:
        """Nothing more comes."""
