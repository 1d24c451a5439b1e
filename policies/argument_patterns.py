"""Patterns of arguments: regular expressions that an argument must match as a whole, in linear time, by RE2.

The argument comes from a script, and the agent decides on it beside everything else that it does: a matcher that
backtracks would stand still for as long as the script's author likes. So these patterns are of the kind that scripts
use as ``regex.*`` (``protocol.regex``).

They were Python's ``re`` (with its flag for ASCII) before, so a pattern is one that both read, and read alike: what a
policy said goes on meaning that, an agent of before reads it as one of today, and whatever else is written is refused
when the policy is loaded. ``\\s`` and ``\\S`` are those of Python, with the vertical tab.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from protocol.character_classes import class_problem
from protocol.errors import ArgumentError

if TYPE_CHECKING:
    from protocol.regex import Regex

MAX_CHARACTERS: Final = 256  # of one pattern
MAX_SIZE: Final = 3_000  # instructions of one: "." up to 255 times has 2,300
MEMORY_BYTES: Final = 256 << 10  # of one and its tables
_TOKEN = re.compile(r"(?s)\\[0-9]+|\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?[A-Za-z-]+|\{[0-9]*,?[0-9]*\}|.")
_CLASS_TOKEN = re.compile(r"(?s)\\.|.")
_OCTAL = re.compile(r"\\(?:0[0-7]{0,2}|[1-3][0-7]{2})[0-9]*")  # a character to both; all else is a reference
_COUNTS = re.compile(r"\{(?:0|[1-9][0-9]*)(?:,(?:[1-9][0-9]*|0)?)?\}|\{\}")  # RE2 takes others for plain text


@dataclass(frozen=True, slots=True)
class ArgumentPattern:
    """One compiled pattern."""

    text: str
    _compiled: Regex = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str, *, lines: bool = False) -> ArgumentPattern:
        """Return the pattern ``text``, of at most MAX_CHARACTERS characters.

        With ``lines`` its dots stand for line breaks as well, unless it says ``(?-s:...)``: for what denies, which an
        argument of several lines must not go around.

        Raises:
            ArgumentError: It is no pattern, has what cannot be matched in linear time, or means one thing to RE2 and
                another to Python; the message says which.
        """
        from protocol.regex import Regex  # 3 MB, and few policies name arguments

        if len(text) > MAX_CHARACTERS:
            raise ArgumentError(f"a pattern is longer than {MAX_CHARACTERS} characters")
        problem = class_problem(text)
        if problem is not None:
            raise ArgumentError(problem)
        try:
            re.compile(text, re.ASCII)
        except (re.error, OverflowError, RecursionError) as error:
            raise ArgumentError(f"{text!r:.60} is not a regular expression: {error}") from None
        made = f"(?s:{_translated(text)})" if lines else _translated(text)
        try:
            compiled = Regex(made, MEMORY_BYTES)
        except ArgumentError as error:
            told = error.message.removeprefix("pattern: ")
            raise ArgumentError(f"{text!r:.60} cannot be matched in linear time: {told}") from None
        if compiled.size > MAX_SIZE:
            raise ArgumentError(f"{text!r:.60} is too large: it stands for {compiled.size} steps, at most {MAX_SIZE}")
        return cls(text, compiled)

    def fits(self, argument: str) -> bool:
        """Tell whether the pattern matches all of ``argument``. One that cannot be written as UTF-8 fits nothing."""
        try:
            return self._compiled.is_whole(argument)
        except UnicodeEncodeError:
            return False


def is_readable(argument: str) -> bool:
    """Tell whether a pattern can be held against an argument: it can be written as UTF-8."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


def _translated(text: str) -> str:
    """Return what means to RE2 what ``text`` means to Python; ArgumentError if that is not sure."""
    return "".join(_token(found[0], text) for found in _TOKEN.finditer(text))


def _token(token: str, text: str) -> str:
    if token in (r"\s", r"\S"):
        return f"[{_space(token)}]"
    if token[0] == "[" and len(token) > 1:
        return "".join(_space(found[0]) for found in _CLASS_TOKEN.finditer(token))
    if token.startswith("(?") and "i" in token.partition("-")[0] and "P" not in token:
        raise ArgumentError(f"{text!r:.60}: the flag i is not the same everywhere; write [aA] for a in either case")
    if token[0] == "{" and len(token) > 1 and not _COUNTS.fullmatch(token):
        raise ArgumentError(f"{text!r:.60}: {token} is not plain; write {{0,3}} for at most three")
    if token[0] == "\\" and token[1].isdigit() and not _OCTAL.fullmatch(token):
        raise ArgumentError(f"{text!r:.60} cannot be matched in linear time: {token} refers to a group")
    return token


def _space(token: str) -> str:
    return {r"\s": "[:space:]", r"\S": "[:^space:]"}.get(token, token)
