"""Lua source as tokens, for analysis. Nothing is executed; section 3.1 of the Lua 5.4 manual, and what LuaJIT adds.

Source is taken as bytes that stand for themselves (latin-1), as Lua takes it. Numerals and names are cut as greedily as
Lua's own lexer cuts them, so that on a source that Lua accepts the tokens are Lua's. Everything else is refused: an
analysis that guesses would miss calls. Time is linear in the length of the source.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

KEYWORDS = frozenset(
    {
        "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in", "local", "nil",
        "not", "or", "repeat", "return", "then", "true", "until", "while",
    }
)  # fmt: skip
MAX_CODE_POINT = (1 << 31) - 1  # of an escape \u{...}; manual, section 3.1


class Kind(Enum):
    """What a token is."""

    NAME = "name"
    KEYWORD = "keyword"
    STRING = "string"
    NUMBER = "number"
    SYMBOL = "symbol"
    END = "end of file"


class Token(NamedTuple):
    """One token. ``text`` is the content of a string, escapes decoded, and the spelling of everything else."""

    kind: Kind
    text: str
    line: int  # of its first character, from 1


class LuaSyntaxError(Exception):
    """The source holds something that is not Lua, or is more than is followed. ``line`` counts from 1."""

    def __init__(self, message: str, line: int) -> None:
        self.message = message
        self.line = line
        super().__init__(f"line {line}: {message}")


_LINE_BREAK = re.compile(r"\r\n|\n\r|\r")
_SPACE = re.compile(r"[ \t\n\v\f]+")
_LONG_OPEN = re.compile(r"\[(=*)\[")
_SPECIAL = {quote: re.compile(rf"[{quote}\\\n]") for quote in "\"'"}
_DECIMAL = re.compile(r"[0-9]{1,3}")
_UNICODE = re.compile(r"u\{([0-9a-fA-F]+)\}")
_ESCAPES = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"', "'": "'",
    "\n": "\n",
}  # fmt: skip


def _main_pattern(more: str) -> re.Pattern[str]:
    """Return the pattern of one token; ``more`` are the characters that names may hold besides those of Lua 5.4."""
    name = rf"[A-Za-z_{more}][A-Za-z0-9_{more}]*"
    number = r"0[xX](?:[pP][+-]|[0-9A-Za-z_.])*|(?:[0-9]|\.[0-9])(?:[eE][+-]|[0-9A-Za-z_.])*"
    symbol = r"\.\.\.|\.\.|==|~=|<=|>=|<<|>>|//|::|--|[-+*/%^#&~|<>=(){};:,.\]]|\[(?!=*\[)"
    kinds = rf"(?P<NAME>{name})|(?P<NUMBER>{number})|(?P<SYMBOL>{symbol})|(?P<QUOTE>[\"'])|(?P<LONG>\[=*\[)"
    return re.compile(rf"[ \t]*(?:{kinds}|(?P<SPACE>[\n\v\f][ \t\n\v\f]*))")


_NAME, _KEYWORD, _NUMBER, _SYMBOL = Kind.NAME, Kind.KEYWORD, Kind.NUMBER, Kind.SYMBOL
_LUA = _main_pattern("")
_LUAJIT = _main_pattern("\x80-\xff")  # lj_char.c: every byte above ASCII belongs to a name
_MARK = "\xef\xbb\xbf"


def tokens(source: str, flavour: str = "lua") -> list[Token]:
    """Return the tokens of ``source``, an END last.

    Args:
        source: Bytes decoded as latin-1.
        flavour: ``lua`` or ``luajit``.

    Raises:
        LuaSyntaxError: Something in it is not a token.
    """
    source = _LINE_BREAK.sub("\n", source)  # a lone CR ends a comment too; missing that would hide what follows it
    start = _header(source) if flavour == "luajit" else 0
    return _Lexer(source, _LUAJIT if flavour == "luajit" else _LUA).read(start)


def _header(source: str) -> int:
    """Return where LuaJIT begins to read: behind a byte order mark and a first line that starts with # (lj_lex.c)."""
    start = len(_MARK) if source.startswith(_MARK) else 0
    if not source.startswith("#", start):
        return start
    stop = source.find("\n", start)
    return len(source) if stop < 0 else stop


class _Lexer:
    def __init__(self, source: str, pattern: re.Pattern[str]) -> None:
        self._source = source
        self._match: Callable[[str, int], re.Match[str] | None] = pattern.match
        self._line = 1  # of the character to be read
        self._found: list[Token] = []

    def read(self, position: int) -> list[Token]:
        """Return the tokens from ``position`` on."""
        source, found, size, matched = self._source, self._found, len(self._source), self._match
        while position < size:
            match = matched(source, position)
            if match is None:
                if not source[position:].strip(" \t"):
                    break
                raise LuaSyntaxError("unexpected character", self._line)
            kind = match.lastgroup or ""
            text, position = match[kind], match.end()
            if kind == "SPACE":
                self._line += text.count("\n")
            elif kind == "NAME":
                found.append(Token(_KEYWORD if text in KEYWORDS else _NAME, text, self._line))
            elif text == "--":
                position = self._comment(position)
            elif kind == "SYMBOL":
                found.append(Token(_SYMBOL, text, self._line))
            elif kind == "NUMBER":
                found.append(Token(_NUMBER, text, self._line))
            else:
                position = self._quoted(text, position) if kind == "QUOTE" else self._long_string(text, position)
        found.append(Token(Kind.END, "<end of file>", self._line))
        return found

    def _comment(self, position: int) -> int:
        opening = _LONG_OPEN.match(self._source, position)
        if opening:
            stop = self._long_end(opening[0], opening.end())
            self._line += self._source.count("\n", position, stop)
            return stop
        stop = self._source.find("\n", position)
        return len(self._source) if stop < 0 else stop

    def _long_end(self, opening: str, position: int) -> int:
        closing = opening.replace("[", "]")
        stop = self._source.find(closing, position)
        if stop < 0:
            raise LuaSyntaxError("unfinished long string or comment", self._line)
        return stop + len(closing)

    def _long_string(self, opening: str, position: int) -> int:
        stop = self._long_end(opening, position)
        content = self._source[position : stop - len(opening)]
        self._found.append(Token(Kind.STRING, content.removeprefix("\n"), self._line))
        self._line += content.count("\n")
        return stop

    def _quoted(self, quote: str, position: int) -> int:
        """Read what stands behind the opening quote."""
        source, line, parts, special = self._source, self._line, [], _SPECIAL[quote]
        while True:
            match = special.search(source, position)
            if match is None or match[0] == "\n":
                raise LuaSyntaxError("unfinished string", line)
            parts.append(source[position : match.start()])
            position = match.end()
            if match[0] == quote:
                self._found.append(Token(Kind.STRING, "".join(parts), line))
                return position
            text, position = self._escape(position)
            parts.append(text)

    def _escape(self, position: int) -> tuple[str, int]:
        """Return what the escape behind a backslash stands for, and where it ends."""
        source = self._source
        letter = source[position : position + 1]
        if letter == "\n":
            self._line += 1
        if letter in _ESCAPES:
            return _ESCAPES[letter], position + 1
        if letter == "z":
            space = _SPACE.match(source, position + 1)
            self._line += space[0].count("\n") if space else 0
            return "", space.end() if space else position + 1
        digits = _DECIMAL.match(source, position)
        if digits and int(digits[0]) < 256:
            return chr(int(digits[0])), digits.end()
        pair = source[position + 1 : position + 3]
        if letter == "x" and re.fullmatch("[0-9a-fA-F]{2}", pair):
            return chr(int(pair, 16)), position + 3
        unicode = _UNICODE.match(source, position)
        if unicode and len(unicode[1].lstrip("0")) <= 8 and int(unicode[1], 16) <= MAX_CODE_POINT:
            return _utf8(int(unicode[1], 16)), unicode.end()
        raise LuaSyntaxError("invalid escape sequence", self._line)


def _utf8(code: int) -> str:
    """Return the bytes of a code point, as Lua writes them: by the rule of UTF-8, up to six of them, surrogates too."""
    if code < 0x80:
        return chr(code)
    tail: list[int] = []
    room = 0x3F
    while code > room:
        tail.append(0x80 | code & 0x3F)
        code >>= 6
        room >>= 1
    first = (~room << 1) & 0xFF | code
    return "".join(map(chr, (first, *reversed(tail))))
