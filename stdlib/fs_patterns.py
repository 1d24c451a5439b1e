"""Patterns on names and relative paths, as shells have them, matched in linear time whatever a script writes.

``*``, ``?`` and ``[...]`` stay within one name; ``**`` between slashes stands for any number of directories, none
included. A pattern without a slash is one name.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass

from protocol.errors import ArgumentError

MAX_PATTERN_CHARACTERS = 1024
MAX_SEGMENTS = 64  # of one pattern


@dataclass(frozen=True, slots=True)
class Glob:
    """One compiled pattern on relative paths. Its states are the places in the pattern that a path may have reached."""

    segments: tuple[re.Pattern[str] | None, ...]  # None stands for **

    @classmethod
    def parse(cls, text: str, parameter: str) -> Glob:
        """Return the pattern ``text``.

        Raises:
            ArgumentError: It is too long, or has an empty, ``.`` or ``..`` part; names ``parameter``.
        """
        if len(text) > MAX_PATTERN_CHARACTERS:
            raise ArgumentError(f"{parameter}: is longer than {MAX_PATTERN_CHARACTERS}", parameter=parameter)
        parts = text.removeprefix("/").split("/")
        if len(parts) > MAX_SEGMENTS:
            raise ArgumentError(f"{parameter}: has more than {MAX_SEGMENTS} parts", parameter=parameter)
        if any(part in ("", ".", "..") for part in parts):
            raise ArgumentError(f"{parameter}: {text!r:.80} has an empty, . or .. part", parameter=parameter)
        # fnmatch makes atomic groups of what stands between stars, so that no match ever goes back.
        return cls(tuple(None if part == "**" else re.compile(fnmatch.translate(part)) for part in parts))

    @property
    def start(self) -> frozenset[int]:
        """The states before any name."""
        return self._closed({0})

    def after(self, states: frozenset[int], name: str) -> frozenset[int]:
        """Return the states once one more name of a path is read; none if nothing below can fit."""
        reached = set()
        for state in states:
            if state == len(self.segments):
                continue
            segment = self.segments[state]
            if segment is None:
                reached.add(state)
            elif segment.match(name):
                reached.add(state + 1)
        return self._closed(reached)

    def is_fit(self, states: frozenset[int]) -> bool:
        """Tell whether the path that was read fits as a whole."""
        return len(self.segments) in states

    def goes_on(self, states: frozenset[int]) -> bool:
        """Tell whether something below the path that was read may fit."""
        return any(state < len(self.segments) for state in states)

    def fits(self, path: str) -> bool:
        """Tell whether a relative path fits."""
        states = self.start
        for name in path.split("/"):
            states = self.after(states, name)
        return self.is_fit(states)

    def _closed(self, states: set[int]) -> frozenset[int]:
        for state in sorted(states):
            while state < len(self.segments) and self.segments[state] is None:
                state += 1
                states.add(state)
        return frozenset(states)
