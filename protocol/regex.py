"""The one language of regular expressions that runs over what others wrote: matched in linear time, by RE2.

Scripts use it as ``regex.*``, and calls that search files use it too, so that one page tells what a pattern may hold.
There is no backtracking: the time of one search is bounded by the length of the text times that of the pattern,
whatever either holds. For that there are no back-references, no look-around and no possessive or atomic groups.

Text is matched as UTF-8. Bytes that are not UTF-8 are matched by nothing but ``\\C``, and hinder no match beside them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import re2

from protocol.errors import ArgumentError

MAX_PATTERN_CHARACTERS = 2_000
MEMORY_BYTES = 1 << 20  # of one compiled pattern and its tables; RE2 works on, more slowly, where the tables are full
_REJECTED = "pattern too large"  # how RE2 says that a program is over its memory


def _options_of(memory_bytes: int) -> re2.Options:
    made = re2.Options()
    made.max_mem = memory_bytes
    made.log_errors = False  # they are raised; standard error belongs to nobody here
    return made


_options = _options_of(MEMORY_BYTES)


class Found(Protocol):
    """One match. What it gives is text or bytes, as what was searched; None for a group that took no part."""

    def group(self, group: int = 0) -> Any:
        """Return a group; 0 is the whole match."""

    def groups(self) -> tuple[Any, ...]:
        """Return all groups but the whole match."""

    def groupdict(self) -> dict[str, Any]:
        """Return the groups that have a name."""

    def start(self) -> int:
        """Return where the match begins, in characters or bytes from 0."""

    def end(self) -> int:
        """Return where it ends."""


class Regex:
    """A compiled pattern.

    Args:
        pattern: In the syntax of RE2; ``(?i)``, ``(?m)`` and ``(?s)`` at its start or in a group set flags.
        memory_bytes: At most this for it and its tables, up to ``MEMORY_BYTES``.

    Raises:
        ArgumentError: It is no pattern, or a too large one; says why and names ``pattern``.
    """

    __slots__ = ("_compiled", "pattern")

    def __init__(self, pattern: str, memory_bytes: int = MEMORY_BYTES) -> None:
        if len(pattern) > MAX_PATTERN_CHARACTERS:
            raise _refused(f"has more than {MAX_PATTERN_CHARACTERS} characters")
        try:
            options = _options if memory_bytes == MEMORY_BYTES else _options_of(memory_bytes)
            self._compiled = re2.compile(pattern, options)
        except re2.error as error:
            raise _refused(_told(error, memory_bytes)) from None
        except UnicodeEncodeError:
            raise _refused("is not valid Unicode") from None
        finally:
            re2.purge()  # the library keeps what it compiled; who compiles hostile patterns must not
        self.pattern = pattern

    @property
    def groups(self) -> int:
        """How many groups capture."""
        return int(self._compiled.groups)

    @property
    def size(self) -> int:
        """Of its program, in instructions: each byte of a text may have to pass them all."""
        return int(self._compiled.programsize)

    @property
    def names(self) -> Mapping[str, int]:
        """Name of a group -> its number."""
        return dict(self._compiled.groupindex)

    def search(self, text: str | bytes) -> Found | None:
        """Return the leftmost match, or None."""
        found: Found | None = self._compiled.search(text)
        return found

    def is_whole(self, text: str | bytes) -> bool:
        """Tell whether all of the text is one match; UnicodeEncodeError if it holds half of a pair of surrogates."""
        return self._compiled.fullmatch(text) is not None

    def finds(self, text: str | bytes) -> Iterator[Found]:
        """Return all matches that do not overlap, from left to right, each searched for when it is asked for."""
        found: Iterator[Found] = self._compiled.finditer(text)
        return found


def of_parameter(pattern: str, parameter: str) -> Regex:
    """Return the compiled pattern that was given as ``parameter``; ``ArgumentError`` names that if it is none."""
    try:
        return Regex(pattern)
    except ArgumentError as error:
        problem = error.message.removeprefix("pattern: ")
        raise ArgumentError(f"{parameter}: {problem}", parameter=parameter) from None


def _refused(problem: str) -> ArgumentError:
    return ArgumentError(f"pattern: {problem}", parameter="pattern")


def _told(error: Exception, memory_bytes: int) -> str:
    """Return RE2's own words, which quote the piece that it does not take."""
    words: Any = error.args[0] if error.args else "cannot be read"
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)
    if text.startswith(_REJECTED):
        return f"needs more than {memory_bytes >> 10} KiB of memory"
    return f"cannot be read: {text}"
