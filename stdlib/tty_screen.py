"""What a terminal would show: bytes in, lines of text out. Runs on a thread; slow beside the bytes (half a MB/s).

The emulator is pyte (LGPL), imported when a screen is first wanted. It has no alternate screen, so that is kept here:
private modes 47, 1047 and 1049 of xterm (ctlseqs, "Private Modes"). Whatever a program prints, the parser holds no more
than MAX_SEQUENCE_CHARACTERS of a title that does not end. What the emulator does not know it is not given
(:mod:`stdlib.tty_sequences`); what it fails to carry out is ignored, as a terminal does, and the rest goes on.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final, NamedTuple

from protocol.errors import UnavailableError
from stdlib.tty_sequences import Sequences

MAX_SEQUENCE_CHARACTERS: Final = 16 << 10  # a title, a colour or a key of a terminal is far below
MAX_TITLE_CHARACTERS: Final = 256
_SLICE: Final = 4 << 10
_PRIVATE: Final = 5  # pyte shifts private modes by this
_ALTERNATE: Final = frozenset(mode << _PRIVATE for mode in (47, 1047, 1049))
_SAVES_CURSOR: Final = 1049 << _PRIVATE


class Size(NamedTuple):
    """A change of size, at its place among the bytes."""

    cols: int
    rows: int


class Display:
    """One rendered terminal."""

    def __init__(self, size: Size) -> None:
        try:
            import pyte
        except ImportError:
            raise UnavailableError("pyte is not installed, so no screen can be rendered") from None
        self._screen = _screen_class(pyte)(size.cols, size.rows)
        listener: Any = _Lenient(self._screen)
        self._stream = pyte.Stream(listener)
        self._width: Any = pyte.screens.wcwidth  # as the emulator itself measures
        self._sequences = Sequences()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending = 0  # characters of a control sequence that has not ended

    def feed(self, items: Iterable[bytes | Size]) -> None:
        """Take what the program printed, and changes of size, in their order."""
        for item in items:
            if isinstance(item, Size):
                self._screen.resize(item.rows, item.cols)
                continue
            text = self._decoder.decode(item)
            for begin in range(0, len(text), _SLICE):
                self._feed(self._sequences.known(text[begin : begin + _SLICE]))

    def _feed(self, text: str) -> None:
        try:
            self._stream.feed(text)
        except Exception:  # noqa: BLE001 - whatever a program printed, it is not our error; its generator has ended
            self._begin_anew()
            return
        self._pending = 0 if self._stream._taking_plain_text else self._pending + len(text)
        if self._pending > MAX_SEQUENCE_CHARACTERS:
            self._begin_anew()

    def _begin_anew(self) -> None:
        self._stream._initialize_parser()
        self._pending = 0

    def shown(self) -> dict[str, Any]:
        """Return the lines and the cursor, from 0."""
        screen = self._screen
        return {
            "cols": screen.columns, "rows": screen.lines, "lines": [self._line(row) for row in range(screen.lines)],
            "cursor": {"row": screen.cursor.y, "col": min(screen.cursor.x, screen.columns - 1),
                       "hidden": bool(screen.cursor.hidden)},
            "title": screen.title[:MAX_TITLE_CHARACTERS], "alternate": screen.is_alternate,
        }  # fmt: skip

    def _line(self, row: int) -> str:
        """Return one line. The emulator's own fails where half of a wide character was written over."""
        cells, shown, is_second_half = self._screen.buffer[row], [], False
        for column in range(self._screen.columns):
            if not is_second_half:
                text = cells[column].data or " "  # an orphaned second half
                shown.append(text)
                is_second_half = self._width(text[0]) == 2
            else:
                is_second_half = False
        return "".join(shown).rstrip()


class _Lenient:
    """A screen of which a sequence that it cannot carry out (one with too many numbers, say) leaves nothing."""

    def __init__(self, screen: Any) -> None:
        self._screen = screen

    def __getattr__(self, name: str) -> Any:
        act = getattr(self._screen, name)
        if not callable(act):
            return act

        def carry_out(*args: Any, **how: Any) -> None:
            with suppress(Exception):  # whatever a program printed, it is no error of ours
                act(*args, **how)

        return carry_out


def _screen_class(pyte: Any) -> Any:
    """Return pyte's screen with an alternate one beside it."""

    class Screen(pyte.Screen):  # type: ignore[misc]  # the library is not typed
        """The screen of a terminal with two buffers."""

        def reset(self) -> None:
            """Begin with the main buffer."""
            self._main: Any = None  # the main buffer while the alternate one is shown
            super().reset()

        @property
        def is_alternate(self) -> bool:
            """Whether the alternate buffer is shown."""
            return self._main is not None

        def set_mode(self, *modes: int, **how: Any) -> None:
            """Show the alternate buffer, if that is asked."""
            super().set_mode(*modes, **how)
            wanted = {mode << _PRIVATE for mode in modes} & _ALTERNATE if how.get("private") else set()
            if wanted and self._main is None:
                if _SAVES_CURSOR in wanted:
                    self.save_cursor()
                self._main = dict(self.buffer)
                self.buffer.clear()
                self.dirty.update(range(self.lines))

        def reset_mode(self, *modes: int, **how: Any) -> None:
            """Show the main buffer again, if that is asked."""
            super().reset_mode(*modes, **how)
            wanted = {mode << _PRIVATE for mode in modes} & _ALTERNATE if how.get("private") else set()
            if wanted and self._main is not None:
                self.buffer.clear()
                self.buffer.update(self._main)
                self._main = None
                if _SAVES_CURSOR in wanted:
                    self.restore_cursor()
                self.dirty.update(range(self.lines))

    return Screen
