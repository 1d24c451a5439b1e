"""Path patterns of policies, on absolute resolved paths, in linear time.

``*`` and ``?`` and ``[...]`` stay within one segment; ``**`` is a whole segment and stands for any number of them, none
included: ``/etc/**`` covers ``/etc`` itself and all below it. There is no other syntax; braces and backslashes, which
mean something elsewhere and would be plain characters here, are refused: ``?`` stands for one that a name has.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from protocol.errors import ArgumentError

MAX_PATTERN_CHARACTERS = 1024
MAX_WILDCARDS = 16  # of one pattern
_WILDCARD = re.compile(r"/\*\*|[*?[]")  # with the slash, as ** may stand for nothing
_ELSEWHERE = "{}\\"  # of shells: a choice, and what makes a wildcard plain
_NOT_PLAIN = frozenset("*?[" + _ELSEWHERE)
_NOT_LITERAL = re.compile(r"\*|\?|\[.[^]]*\]")  # within a segment


@dataclass(frozen=True, slots=True)
class PathPattern:
    """One compiled pattern."""

    text: str
    _segments: tuple[re.Pattern[str] | None, ...] = field(repr=False, compare=False)  # None stands for **
    _start: str = field(repr=False, compare=False)  # what every path begins with that fits; most paths do not
    _inside: str = field(repr=False, compare=False)  # what is somewhere in every path that fits; seldom in others

    @classmethod
    def parse(cls, text: str, *, where: str | None = None) -> PathPattern:
        """Return the pattern ``text``.

        Raises:
            ArgumentError: Not an absolute, normal pattern.
        """
        if not text.startswith("/") or "\0" in text or len(text) > MAX_PATTERN_CHARACTERS:
            raise ArgumentError(f"{text!r:.80} is not an absolute path pattern", where=where)
        parts = [part for part in text.split("/")[1:] if part or text != "/"]
        if any(part in ("", ".", "..") for part in parts):
            raise ArgumentError(f"{text!r:.80} has an empty, . or .. part", where=where)
        odd = next((mark for mark in _ELSEWHERE if mark in text), None)
        if odd is not None:
            raise ArgumentError(
                f"{text!r:.80}: {odd} has no meaning here; name each path, or write ? for a character of a name",
                where=where,
            )
        if any("**" in part and part != "**" for part in parts):
            raise ArgumentError(f"{text!r:.80}: ** must stand alone between slashes", where=where)
        if sum(text.count(mark) for mark in "*?[") > MAX_WILDCARDS:
            raise ArgumentError(f"{text!r:.80} has more than {MAX_WILDCARDS} wildcards", where=where)
        segments = tuple(None if part == "**" else _segment(part, text, where) for part in parts)
        return cls(text, segments, _WILDCARD.split(text, maxsplit=1)[0], _inside(parts))

    def matches(self, path: str) -> bool:
        """Tell whether the absolute, resolved ``path`` fits. Anything that is not such a path does not."""
        return path.startswith(self._start) and self._inside in path and len(self._segments) in self._after(path)

    def below(self, directory: str) -> bool | None:
        """Tell whether everything (True) or nothing (False) below a real directory fits; None if it depends."""
        inside = f"{directory.rstrip('/')}/"
        if not (inside.startswith(self._start) or self._start.startswith(inside)):  # as of most patterns
            return False
        last = len(self._segments)
        states = self._after(directory)
        if last - 1 in states and self._segments[-1] is None:
            return True
        return None if states - {last} else False

    def _after(self, path: str) -> set[int]:
        """Return the states of a small automaton: which segments may come next once ``path`` is read; none if never."""
        if not path.startswith("/") or "\0" in path:
            return set()
        parts = path.split("/")[1:] if path != "/" else []
        if any(part in ("", ".", "..") for part in parts):
            return set()
        states = self._closure({0})
        for part in parts:
            states = self._closure(self._step(states, part))
            if not states:
                break
        return states

    def _step(self, states: set[int], part: str) -> set[int]:
        following: set[int] = set()
        for state in states:
            if state == len(self._segments):
                continue
            segment = self._segments[state]
            if segment is None:
                following.add(state)
            elif segment.fullmatch(part):
                following.add(state + 1)
        return following

    def _closure(self, states: set[int]) -> set[int]:
        for state in sorted(states):
            while state < len(self._segments) and self._segments[state] is None:
                state += 1
                states.add(state)
        return states


def literal(path: str) -> str:
    """Return a pattern that fits this path; also others of its form, where it has what a pattern cannot say plainly."""
    return "".join("?" if each in _NOT_PLAIN else each for each in path)


def _inside(parts: list[str]) -> str:
    """Return the longest text behind the first wildcard that every path has which fits; empty if there is none."""
    found = ""
    is_behind = False
    for part in parts:
        pieces = [] if part == "**" else _NOT_LITERAL.split(part)
        is_wild = len(pieces) != 1
        if is_behind and not is_wild:
            pieces = [f"/{part}"]
        is_behind = is_behind or is_wild
        if is_behind:
            found = max([found, *pieces], key=len)
    return found


def _segment(part: str, text: str, where: str | None) -> re.Pattern[str]:
    """Return what a name must be as a whole.

    What stands between two stars is looked for once, from the left, and never given up again (an atomic group): if the
    rest does not follow its first place, it follows no later one. Backtracking would take n ** stars steps, and the
    whole program with it, for a pattern of a script's author.
    """
    fixed = [""]  # what stands before, between and behind the stars
    position = 0
    while position < len(part):
        mark = part[position]
        position += 1
        if mark == "*":
            fixed.append("")
        elif mark == "?":
            fixed[-1] += "."
        elif mark == "[":
            end = part.find("]", position + 1)
            inside = part[position:end] if end > 0 else ""
            if not re.fullmatch(r"!?[A-Za-z0-9_.-]+", inside):
                raise ArgumentError(f"{text!r:.80} has a [ that is not a plain set", where=where)
            fixed[-1] += "[^" + _set(inside[1:]) + "]" if inside[0] == "!" else "[" + _set(inside) + "]"
            position = end + 1
        else:
            fixed[-1] += re.escape(mark)
    first, *middle = fixed
    last = f".*{middle.pop()}" if middle else ""
    made = first + "".join(f"(?>.*?{piece})" for piece in middle if piece) + last
    try:
        return re.compile(made, re.DOTALL)
    except re.error:
        raise ArgumentError(f"{text!r:.80} has a [ that is not a plain set", where=where) from None


def _set(inside: str) -> str:
    return inside.replace("\\", "").replace(".", r"\.")
