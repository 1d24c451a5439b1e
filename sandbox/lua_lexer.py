"""Lua source as tokens, for analysis. Nothing is executed; the lexer follows section 3.1 of the Lua 5.4 manual.

It is only ever given source that Lua itself has accepted, and still refuses what it does not understand: an analysis
that guesses would miss calls. Escapes in strings are not decoded; ``Token.is_exact`` says whether there were any.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

KEYWORDS = frozenset(
    {
        "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in", "local", "nil",
        "not", "or", "repeat", "return", "then", "true", "until", "while",
    }
)  # fmt: skip


class Kind(Enum):
    """What a token is."""

    NAME = "name"
    KEYWORD = "keyword"
    STRING = "string"
    NUMBER = "number"
    SYMBOL = "symbol"
    END = "end of file"


@dataclass(frozen=True, slots=True)
class Token:
    """One token. ``text`` is the content of a string, the spelling of everything else."""

    kind: Kind
    text: str
    line: int  # of its first character, from 1
    is_exact: bool = True  # False: a string with escapes, whose content was not decoded


class LexError(Exception):
    """The source holds something that is not Lua 5.4, or not understood."""

    def __init__(self, message: str, line: int) -> None:
        self.message = message
        self.line = line
        super().__init__(f"line {line}: {message}")


_LINE_BREAK = re.compile(r"\r\n|\n\r|\r")
_LONG_OPEN = re.compile(r"\[(=*)\[")
_SPACE = re.compile(r"[ \t\n\v\f]+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER = re.compile(
    r"(?:0[xX](?:[0-9a-fA-F]*\.?[0-9a-fA-F]*)(?:[pP][+-]?[0-9]+)?"
    r"|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)[A-Za-z]{0,3}"  # LuaJIT: 1ULL, 2i
)
_SYMBOL = re.compile(r"\.\.\.|\.\.|==|~=|<=|>=|<<|>>|//|::|[-+*/%^#&~|<>=(){}\[\];:,.]")


def tokens(source: str) -> Iterator[Token]:
    """Yield the tokens of ``source``, an END last.

    Raises:
        LexError: Something in it is not a token.
    """
    source = _LINE_BREAK.sub("\n", source)  # a lone CR ends a comment too; missing that would hide what follows it
    position, line = 0, 1
    while True:
        position, line = _skip(source, position, line)
        if position >= len(source):
            yield Token(Kind.END, "<end of file>", line)
            return
        token, stop = _next(source, position, line)
        yield token
        line += source.count("\n", position, stop)
        position = stop


def _skip(source: str, position: int, line: int) -> tuple[int, int]:
    """Return where the next token starts, behind white space and comments."""
    start = position
    while True:
        space = _SPACE.match(source, position)
        if space:
            position = space.end()
        elif source.startswith("--", position):
            position = _comment_end(source, position + 2, line + source.count("\n", start, position))
        else:
            return position, line + source.count("\n", start, position)


def _comment_end(source: str, position: int, line: int) -> int:
    opening = _LONG_OPEN.match(source, position)
    if opening:
        return _long_end(source, opening, line)
    stop = source.find("\n", position)
    return len(source) if stop < 0 else stop


def _long_end(source: str, opening: re.Match[str], line: int) -> int:
    closing = f"]{opening[1]}]"
    stop = source.find(closing, opening.end())
    if stop < 0:
        raise LexError("unfinished long string or comment", line)
    return stop + len(closing)


def _next(source: str, position: int, line: int) -> tuple[Token, int]:
    name = _NAME.match(source, position)
    if name:
        kind = Kind.KEYWORD if name[0] in KEYWORDS else Kind.NAME
        return Token(kind, name[0], line), name.end()
    if source[position] in "\"'":
        return _short_string(source, position, line)
    opening = _LONG_OPEN.match(source, position)
    if opening:
        stop = _long_end(source, opening, line)
        content = source[opening.end() : stop - len(opening[0])]
        return Token(Kind.STRING, content.removeprefix("\n"), line), stop
    if source[position].isdecimal() or (source[position] == "." and source[position + 1 : position + 2].isdecimal()):
        number = _NUMBER.match(source, position)
        if number:
            return Token(Kind.NUMBER, number[0], line), number.end()
    symbol = _SYMBOL.match(source, position)
    if symbol:
        return Token(Kind.SYMBOL, symbol[0], line), symbol.end()
    raise LexError(f"unexpected character {source[position]!r}", line)


def _short_string(source: str, position: int, line: int) -> tuple[Token, int]:
    """Return a quoted string. A backslash protects the character behind it, and a whole run of white space behind z."""
    quote, at, is_exact = source[position], position + 1, True
    while at < len(source):
        character = source[at]
        if character == quote:
            return Token(Kind.STRING, source[position + 1 : at], line, is_exact), at + 1
        if character == "\\":
            is_exact = False
            at += 2
            if source[at - 1 : at] == "z":
                space = _SPACE.match(source, at)
                at = space.end() if space else at
        elif character == "\n":
            break
        else:
            at += 1
    raise LexError("unfinished string", line)
