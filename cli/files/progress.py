"""How far a copy is, in one line on a terminal; silent elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Final, TextIO

from protocol.plain_text import safe

EVERY_S: Final = 0.1
WIDTH: Final = 40  # of the name
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size_text(size: float) -> str:
    """Return a number of bytes as people read it, such as ``1.4 MiB``."""
    unit = 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.0f} {_UNITS[unit]}" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"


class Progress:
    """One line that is drawn again and again.

    Args:
        stream: A terminal, or something on which nothing is drawn.
    """

    def __init__(self, stream: TextIO | None = None, *, is_shown: bool = True) -> None:
        self._stream = stream or sys.stderr
        self._is_shown = is_shown and self._stream.isatty()
        self._name = ""
        self._total: int | None = None
        self._done = 0
        self._began_s = self._drawn_s = time.monotonic()

    def begin(self, name: str, total: int | None, done: int = 0) -> None:
        """A file begins: ``total`` bytes, if that is known, ``done`` of them are there already."""
        self._name, self._total, self._done = name, total, done
        self._began_s, self._base = time.monotonic(), done
        self._draw()

    def add(self, size: int) -> None:
        """So many bytes more."""
        self._done += size
        if self._is_shown and time.monotonic() - self._drawn_s >= EVERY_S:
            self._draw()

    def back_to(self, done: int) -> None:
        """After a break it goes on from here."""
        self._done = done

    def clear(self) -> None:
        """Take the line away, so that others can be written."""
        if self._is_shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _draw(self) -> None:
        if not self._is_shown:
            return
        self._drawn_s = now_s = time.monotonic()
        elapsed_s = max(now_s - self._began_s, 1e-3)
        share = f"{100 * self._done / self._total:3.0f} %  " if self._total else ""
        rate = size_text((self._done - self._base) / elapsed_s)
        name = safe(self._name)
        name = name if len(name) <= WIDTH else f"...{name[3 - WIDTH :]}"
        self._stream.write(f"\r\x1b[K{name}  {share}{size_text(self._done)}  {rate}/s")
        self._stream.flush()
