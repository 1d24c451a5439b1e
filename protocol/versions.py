"""Semantic versions: their order, and which step a change needs. Source: semver.org 2.0.0, without build metadata."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from protocol.errors import ArgumentError

_NUMBER: Final = r"(?:0|[1-9][0-9]{0,8})"
FORM: Final = re.compile(
    rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})(?:-((?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
    rf"(?:\.(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*))?"
)
MAX_CHARACTERS: Final = 64


@dataclass(frozen=True, slots=True)
class Version:
    """One version."""

    text: str
    core: tuple[int, int, int]
    pre: tuple[str, ...] = ()  # the identifiers of a pre-release; none for a release

    @classmethod
    def parse(cls, text: str) -> Version:
        """Return the version in ``text``.

        Raises:
            ArgumentError: It is none.
        """
        match = FORM.fullmatch(text) if len(text) <= MAX_CHARACTERS else None
        if match is None:
            raise ArgumentError(f"{text!r:.80} is not a version such as 1.2.0", parameter="version")
        return cls(text, (int(match[1]), int(match[2]), int(match[3])), tuple(match[4].split(".")) if match[4] else ())

    @property
    def rank(self) -> str:
        """A text by which versions sort: pre-releases before all releases, then by precedence (semver section 11).

        So the largest is what is meant where no version is named: nobody gets a pre-release unasked.
        """
        return f"{0 if self.pre else 1} {self.precedence}"

    @property
    def precedence(self) -> str:
        """A text that sorts by precedence: numbers by value and before words, a pre-release before its release."""
        core = ".".join(f"{number:09d}" for number in self.core)
        if not self.pre:
            return f"{core}~"
        return core + "-" + " ".join(f"0{item:0>9}" if item.isdecimal() else f"1{item}" for item in self.pre)

    def is_before(self, other: Version) -> bool:
        """Tell whether this version comes before another one."""
        return self.precedence < other.precedence


def may_break(before: Version, now: Version) -> bool:
    """Tell whether the step from one version to the next announces that users may have to change something.

    A new first number does; below 1.0.0 a new second one (semver section 4 allows any, users expect this); and so does
    every step from or to a pre-release, which promises nothing (section 9).
    """
    if before.pre or now.pre:
        return True
    return now.core[0] != before.core[0] or (now.core[0] == 0 and now.core[1] != before.core[1])


def next_breaking(before: Version) -> str:
    """Return the version that a breaking change after ``before`` would have."""
    major, minor, _ = before.core
    return f"0.{minor + 1}.0" if major == 0 else f"{major + 1}.0.0"
