"""What of a program's output the screen can take: text, and the control sequences that the emulator knows.

A terminal ignores what it does not know, as a whole: a sequence has a form (ECMA-48, 5.4 and 5.6) by which its end is
seen. pyte knows the common ones; of others it would draw the end as text, or stop in the middle of the output.
Incremental: what is not complete yet is kept, at most ``MAX_HELD_CHARACTERS`` of it; strings are dropped as they come.
"""

from __future__ import annotations

import re
from typing import Final

MAX_HELD_CHARACTERS: Final = 256  # of a control sequence that has not ended; honest ones have under 50

_STARTS: Final = re.compile("[\x1b\x90\x98\x9b\x9e\x9f]")
#: What ends a device control, privacy message, application command or start of string; or breaks it off.
_STRING_ENDS: Final = re.compile("[\x1b\x9c\x18\x1a]")
_STRINGS: Final = frozenset("PX^_\x90\x98\x9e\x9f")
_CSI: Final = re.compile("(?:\x1b\\[|\x9b)(?P<parameters>[0-?]*)(?P<between>[ -/]*)(?P<final>[@-~])")
_BEGUN_CSI: Final = re.compile("(?:\x1b\\[|\x9b)[0-?]*[ -/]*\\Z")
_PLAIN: Final = re.compile("[0-9;]*")
_MARKED: Final = re.compile("\\?[0-9;]*")  # private ones of DEC
_MARKED_FINALS: Final = frozenset("hlJK")  # of those, what pyte knows: modes and selective erasing


class Sequences:
    """Of one terminal."""

    def __init__(self) -> None:
        self._held = ""  # the beginning of a sequence
        self._is_in_string = False

    def known(self, text: str) -> str:
        """Return what the emulator is to be fed of ``text``, which goes on from what came before."""
        text, self._held = self._held + text, ""
        taken: list[str] = []
        at = 0
        while at < len(text):
            at = self._pass_string(text, at) if self._is_in_string else self._take(text, at, taken)
        return "".join(taken)

    def _pass_string(self, text: str, at: int) -> int:
        """Return where the string ends, or the end of the text."""
        end = _STRING_ENDS.search(text, at)
        if end is None:
            return len(text)
        at = end.start()
        if end[0] != "\x1b":
            self._is_in_string = False
            return at + 1
        if at + 1 == len(text):
            self._held = "\x1b"
            return len(text)
        self._is_in_string = False
        return at + 2 if text[at + 1] == "\\" else at  # else another sequence begins, and breaks it off

    def _take(self, text: str, at: int, taken: list[str]) -> int:
        """Take the text up to the next sequence, and that; return what comes after it."""
        start = _STARTS.search(text, at)
        if start is None:
            taken.append(text[at:])
            return len(text)
        taken.append(text[at : start.start()])
        at = start.start()
        if start[0] == "\x1b" and at + 1 == len(text):
            self._held = "\x1b"
            return len(text)
        kind = text[at + 1] if start[0] == "\x1b" else start[0]
        if kind in _STRINGS:
            self._is_in_string = True
            return at + (2 if start[0] == "\x1b" else 1)
        if kind not in "[\x9b":  # two or three characters, or a title up to its end: pyte knows their forms
            taken.append(text[at : at + 2])
            return at + 2
        whole = _CSI.match(text, at)
        if whole is not None:
            if _is_known(whole["parameters"], whole["between"], whole["final"]):
                taken.append(whole[0])
            return whole.end()
        if _BEGUN_CSI.match(text, at):
            self._held = text[at:] if len(text) - at <= MAX_HELD_CHARACTERS else ""
            return len(text)
        taken.append(text[at : at + 1])  # with a control character inside, which pyte carries out in its place
        return at + 1


def _is_known(parameters: str, between: str, final: str) -> bool:
    if between:
        return False
    if _PLAIN.fullmatch(parameters):
        return True
    return _MARKED.fullmatch(parameters) is not None and final in _MARKED_FINALS
