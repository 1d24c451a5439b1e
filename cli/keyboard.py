"""This machine's own terminal while another one is shown in it: raw mode, its size, what is typed."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

READ_BYTES: Final = 16 << 10
#: What programs set and take back at their end, which is not seen by who leaves before: reports of the mouse and of
#: focus, marks around what is pasted, other keys, the keypad, colours, and that the cursor is hidden.
AS_FOUND: Final = b"\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1004l\x1b[?2004l\x1b[?1l\x1b>\x1b[0m\x1b[?25h"
LEAVE_SCREEN: Final = b"\x1b[?1049l"
_kept: list[Any] = []  # how the terminal was before it was made raw


def is_terminal() -> bool:
    """Tell whether somebody sits at a keyboard here."""
    try:
        return os.isatty(0) and os.isatty(1)
    except OSError:
        return False


def size() -> tuple[int, int]:
    """Return columns and rows; 80 x 24 where there is no terminal."""
    for descriptor in (1, 0, 2):
        try:
            found = os.get_terminal_size(descriptor)
        except OSError:
            continue
        if found.columns and found.lines:
            return found.columns, found.lines
    return 80, 24


@contextmanager
def raw(is_wanted: bool) -> Iterator[None]:
    """Let every key through as it is, for as long as the context lasts."""
    if not is_wanted:
        yield
        return
    before = termios.tcgetattr(0)
    _kept.append(before)
    try:
        tty.setraw(0)
        yield
    finally:
        _kept.pop()
        termios.tcsetattr(0, termios.TCSADRAIN, before)


@contextmanager
def as_it_was() -> Iterator[None]:
    """Within :func:`raw`: let another program have the terminal as it was before."""
    if not _kept:
        yield
        return
    termios.tcsetattr(0, termios.TCSADRAIN, _kept[-1])
    try:
        yield
    finally:
        tty.setraw(0)


class Keys:
    """What is typed, piece by piece, no faster than it is taken.

    Args:
        take: Called with each piece; ``b""`` is the end.
    """

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._take = take
        self._is_reading = False
        self._is_polled = True
        self._may_read = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Read, until :meth:`stop`."""
        if self._is_reading:
            return
        self._is_reading = True
        if self._is_polled:
            try:
                blocks = os.get_blocking(0)
                self._loop.add_reader(0, self._ready)
                # uvloop sets it not to block. That is a setting of the terminal, for stdout and stderr too, and for the
                # shell and all it starts after us: writes to a full terminal would fail, and what was said be lost.
                os.set_blocking(0, blocks)
                return
            except (PermissionError, OSError, ValueError):  # a file, which cannot be waited for
                self._is_polled = False
        self._may_read.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._read, daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Read no more for now."""
        if self._is_reading and self._is_polled:
            self._loop.remove_reader(0)
        self._may_read.clear()
        self._is_reading = False

    def _ready(self) -> None:
        try:
            data = os.read(0, READ_BYTES)
        except OSError:
            data = b""
        if not data:
            self.stop()
        self._take(data)

    def _read(self) -> None:
        while True:
            self._may_read.wait()
            data = _read()
            try:
                self._loop.call_soon_threadsafe(self._take, data)
            except RuntimeError:  # nobody is there any more
                return
            if not data:
                return


def _read() -> bytes:
    try:
        return os.read(0, READ_BYTES)
    except OSError:
        return b""


def write(data: bytes | memoryview) -> None:
    """Write to stdout as it is; it waits while the terminal does."""
    rest: Any = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(1, rest) :]
        except BlockingIOError:  # somebody else's setting of the same terminal
            import select

            select.select([], [1], [])


def say(text: str) -> None:
    """Write a line of talk, also in raw mode."""
    sys.stderr.write(f"\r\n{text}\r\n")
    sys.stderr.flush()
