"""Patterns of names, for scripts and secrets: ``checks/disk``, ``checks/**`` (what lies below) or ``**`` (all)."""

from __future__ import annotations

import re
from typing import Final

from protocol import limits
from protocol.errors import ArgumentError

ALL: Final = "**"
_PATTERN: Final = re.compile(r"\*\*|[a-z0-9][a-z0-9_.-]*(/[a-z0-9][a-z0-9_.-]*)*(/\*\*)?")


def check_pattern(pattern: object, *, parameter: str) -> str:
    """Return ``pattern`` if it is one.

    Raises:
        ArgumentError: It is not; names ``parameter``.
    """
    if type(pattern) is not str or len(pattern) > limits.MAX_NAME_CHARACTERS or not _PATTERN.fullmatch(pattern):
        raise ArgumentError(
            f"{str(pattern)[:60]!r} is neither a name nor a namespace such as checks/**", parameter=parameter
        )
    return pattern


def fits(pattern: str, name: str) -> bool:
    """Tell whether ``name`` is what ``pattern`` names, or lies below it."""
    if pattern == ALL:
        return True
    if pattern.endswith("/**"):
        return name.startswith(pattern[:-2])
    return name == pattern
