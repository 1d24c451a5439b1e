"""``re`` for scripts: the interpreter's own matcher, behind bounds and a look at each pattern.

The matcher backtracks. A pattern that can need exponential time is refused when it is compiled (``python_ambiguity``),
patterns and texts are bounded, and the limits of the run end what still takes too long. Flags are plain ints, so that
no enumeration class is in reach. ``LOCALE`` and ``DEBUG`` are refused: they read the locale, and print past the cap.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from sandbox import python_ambiguity
from sandbox.python_ambiguity import Ambiguous
from sandbox.python_proxies import integer_of, listed, text_of, words

MAX_PATTERN_CHARACTERS = 2_000
MAX_SUBJECT_CHARACTERS = 1024 * 1024  # with a pattern of quadratic time, the run's limits come long before
MAX_KEPT = 100  # compiled patterns; the 101st starts afresh

_FLAGS = {name: int(getattr(re, name)) for name in words("NOFLAG A ASCII I IGNORECASE M MULTILINE S DOTALL X VERBOSE")}
_ALLOWED_FLAGS = int(re.ASCII | re.IGNORECASE | re.MULTILINE | re.DOTALL | re.VERBOSE | re.UNICODE)
_kept: dict[tuple[str, int], Pattern] = {}

Replacement = str | Callable[[Any], str]


class Pattern:
    """A compiled pattern. Whoever makes one goes through the bounds, so scripts may as well know the class."""

    __slots__ = ("_compiled",)

    def __init__(self, pattern: str, flags: int = 0) -> None:
        if len(text_of(pattern, "a pattern")) > MAX_PATTERN_CHARACTERS:
            raise re.error(f"a pattern may have at most {MAX_PATTERN_CHARACTERS} characters")
        wanted = integer_of(flags, "flags", 0, 1 << 16)
        if wanted & ~_ALLOWED_FLAGS:
            raise ValueError("these flags are not available here")
        try:
            python_ambiguity.check(pattern, wanted)
            compiled = re.compile(pattern, wanted)
        except Ambiguous as error:
            problem = str(error)
        except RecursionError:
            problem = "this pattern is nested too deeply"
        else:
            self._compiled = compiled
            return
        raise re.error(problem, pattern)

    @property
    def pattern(self) -> str:
        """The text it was made of."""
        return self._compiled.pattern

    @property
    def flags(self) -> int:
        """With those that the pattern itself sets."""
        return int(self._compiled.flags)

    @property
    def groups(self) -> int:
        """How many there are."""
        return self._compiled.groups

    @property
    def groupindex(self) -> dict[str, int]:
        """Name of a group -> its number."""
        return dict(self._compiled.groupindex)

    def search(self, string: str, *bounds: int) -> Any:
        """Return the first match anywhere, or None; ``bounds`` are pos and endpos."""
        return self._compiled.search(_subject(string), *bounds)

    def match(self, string: str, *bounds: int) -> Any:
        """Return the match at the start, or None."""
        return self._compiled.match(_subject(string), *bounds)

    def fullmatch(self, string: str, *bounds: int) -> Any:
        """Return the match of the whole text, or None."""
        return self._compiled.fullmatch(_subject(string), *bounds)

    def findall(self, string: str, *bounds: int) -> list[Any]:
        """Return the texts, or tuples of groups, of all matches."""
        return self._compiled.findall(_subject(string), *bounds)

    def finditer(self, string: str, *bounds: int) -> list[Any]:
        """Return all matches, as a list."""
        return listed(self._compiled.finditer(_subject(string), *bounds), "finditer")

    def split(self, string: str, maxsplit: int = 0) -> list[Any]:
        """Return the texts between the matches."""
        return self._compiled.split(_subject(string), maxsplit)

    def sub(self, repl: Replacement, string: str, count: int = 0) -> str:
        """Return the text with matches replaced by a template or by what a function makes of each."""
        return self._compiled.sub(repl, _subject(string), count)

    def subn(self, repl: Replacement, string: str, count: int = 0) -> tuple[str, int]:
        """Return the same with the number of replacements."""
        return self._compiled.subn(repl, _subject(string), count)


def _subject(text: str) -> str:
    if len(text_of(text, "the text to search in")) > MAX_SUBJECT_CHARACTERS:
        raise ValueError(f"the text to search in may have at most {MAX_SUBJECT_CHARACTERS} characters")
    return text


def expand(match: Any, template: str) -> str:
    """Return ``template`` filled with the groups of ``match``. The method imports, which a script's frame cannot."""
    made: str = match.expand(text_of(template, "a template"))
    return made


def compile_pattern(pattern: Any, flags: int = 0) -> Pattern:
    """Return a compiled pattern; one that is compiled is returned as it is."""
    if type(pattern) is Pattern:
        if flags:
            raise ValueError("a compiled pattern takes no flags")
        return pattern
    key = (text_of(pattern, "a pattern"), integer_of(flags, "flags", 0, 1 << 16))
    if key not in _kept:
        made = Pattern(pattern, flags)
        if len(_kept) >= MAX_KEPT:
            _kept.clear()
        _kept[key] = made
    return _kept[key]


def _search(pattern: Any, string: str, flags: int = 0) -> Any:
    return compile_pattern(pattern, flags).search(string)


def _match(pattern: Any, string: str, flags: int = 0) -> Any:
    return compile_pattern(pattern, flags).match(string)


def _fullmatch(pattern: Any, string: str, flags: int = 0) -> Any:
    return compile_pattern(pattern, flags).fullmatch(string)


def _findall(pattern: Any, string: str, flags: int = 0) -> list[Any]:
    return compile_pattern(pattern, flags).findall(string)


def _finditer(pattern: Any, string: str, flags: int = 0) -> list[Any]:
    return compile_pattern(pattern, flags).finditer(string)


def _split(pattern: Any, string: str, maxsplit: int = 0, flags: int = 0) -> list[Any]:
    return compile_pattern(pattern, flags).split(string, maxsplit)


def _sub(pattern: Any, repl: Replacement, string: str, count: int = 0, flags: int = 0) -> str:
    return compile_pattern(pattern, flags).sub(repl, string, count)


def _subn(pattern: Any, repl: Replacement, string: str, count: int = 0, flags: int = 0) -> tuple[str, int]:
    return compile_pattern(pattern, flags).subn(repl, string, count)


def _escape(pattern: str) -> str:
    return re.escape(text_of(pattern, "what is escaped"))


RE: dict[str, Any] = _FLAGS | {
    "Match": re.Match,
    "Pattern": Pattern,
    "PatternError": re.error,
    "compile": compile_pattern,
    "error": re.error,
    "escape": _escape,
    "findall": _findall,
    "finditer": _finditer,
    "fullmatch": _fullmatch,
    "match": _match,
    "search": _search,
    "split": _split,
    "sub": _sub,
    "subn": _subn,
}
