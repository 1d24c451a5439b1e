"""What a terminal printed, as lines of plain text: for people who read and for search. Pure.

What moves within a line (carriage return, backspace, the few sequences that line editors use) is followed; everything
else that a terminal would obey is left out. What a program draws on the alternate screen is no line of anything: it is
left out too, or kept piece by piece for search.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

MAX_LINE: Final = 4_000  # characters; a longer one is told in parts
MAX_SEQUENCE: Final = 4_096  # characters of a sequence that has not ended; then it was none
_SEQUENCE: Final = re.compile(
    r"\x1b(?:\[(?P<arguments>[0-?]*)[ -/]*(?P<final>[@-~])"  # CSI
    r"|\][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC
    r"|[PX^_][^\x1b]*\x1b\\"  # DCS, SOS, PM, APC
    r"|[ -/]*[0-OQ-WYZ`-~\\])"  # two-character sequences, those above left out
)
_PLAIN: Final = re.compile(r"[^\x00-\x1f\x7f\x1b]+")
_SCREENS: Final = frozenset({"?47", "?1047", "?1049"})


class Transcript:
    """Takes output, gives lines.

    Args:
        keeps_screens: Whether what is drawn on the alternate screen is kept, piece by piece.
    """

    def __init__(self, *, keeps_screens: bool = False) -> None:
        self._keeps_screens = keeps_screens
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending = ""  # a sequence that has not ended
        self._line: list[str] = []
        self._at = 0
        self._on_screen = False

    def feed(self, data: bytes) -> list[str]:
        """Return the lines that ``data`` completes."""
        text = self._pending + self._decoder.decode(data)
        self._pending = ""
        lines: list[str] = []
        position = 0
        while position < len(text):
            plain = _PLAIN.match(text, position)
            if plain is not None:
                self._put(plain.group(), lines)
                position = plain.end()
            elif text[position] != "\x1b":
                self._control(text[position], lines)
                position += 1
            else:
                found = _SEQUENCE.match(text, position)
                if found is None and len(text) - position < MAX_SEQUENCE:
                    self._pending = text[position:]
                    break
                if found is not None:
                    self._obey(found["final"] or "", found["arguments"] or "", lines)
                position = found.end() if found is not None else position + 1
        return lines

    def end(self) -> list[str]:
        """Return the line that was begun, if there is one."""
        lines: list[str] = []
        if self._line:
            self._break(lines)
        return lines

    def _put(self, text: str, lines: list[str]) -> None:
        if self._on_screen and not self._keeps_screens:
            return
        self._line[self._at : self._at + len(text)] = text
        self._at += len(text)
        while len(self._line) > MAX_LINE:
            lines.append("".join(self._line[:MAX_LINE]))
            del self._line[:MAX_LINE]
            self._at = max(0, self._at - MAX_LINE)

    def _control(self, character: str, lines: list[str]) -> None:
        if character == "\n":
            if not self._on_screen or self._keeps_screens:
                self._break(lines)
        elif character == "\r":
            self._at = 0
        elif character == "\b":
            self._at = max(0, self._at - 1)
        elif character == "\t":
            self._put(" " * (8 - self._at % 8), lines)

    def _break(self, lines: list[str]) -> None:
        lines.append("".join(self._line).rstrip())
        self._line.clear()
        self._at = 0

    def _obey(self, final: str, arguments: str, lines: list[str]) -> None:
        number = int(arguments) if arguments.isdigit() and len(arguments) < 5 else 0
        count = max(1, number)
        if final in "hl" and final and _SCREENS & set(arguments.replace(";", ";?").split(";")):
            if self._line:
                self._break(lines)
            self._on_screen = final == "h"
        elif final == "C":
            self._put("".join(self._line[self._at : self._at + count]).ljust(min(count, MAX_LINE)), lines)
        elif final == "D":
            self._at = max(0, self._at - count)
        elif final == "K":
            if number == 0:
                del self._line[self._at :]
            elif number == 2:
                self._line.clear()
        elif final == "P":
            del self._line[self._at : self._at + count]
        elif final == "@":
            self._line[self._at : self._at] = " " * min(count, MAX_LINE)
        elif final in ("H", "f", "d", "A", "B", "J", "E", "F") and self._line:
            self._break(lines)  # somewhere else on the screen
