"""Lua source as tokens, for analysis. Nothing is executed; section 3.1 of the Lua 5.4 manual, and what LuaJIT adds.

Source is taken as bytes that stand for themselves (latin-1), as Lua takes it. Numerals and names are cut as greedily as
Lua's own lexer cuts them, so that on a source that Lua accepts the tokens are Lua's. Everything else is refused: an
analysis that guesses would miss calls. Time is linear in the length of the source.
"""

from __future__ import annotations

import re
from typing import NamedTuple

KEYWORDS = frozenset(
    {
        "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in", "local", "nil",
        "not", "or", "repeat", "return", "then", "true", "until", "while",
    }
)  # fmt: skip
MAX_CODE_POINT = (1 << 31) - 1  # of an escape \u{...}; manual, section 3.1


#: Marks of what has no fixed spelling. No keyword and no symbol is spelled like one of them.
NAME, STRING, NUMBER, END = "<name>", "<string>", "<number>", "<end>"


class Tokens(NamedTuple):
    """All tokens of a source, column by column: an object for each of them would cost more than finding it.

    A mark says what a token is: a keyword or a symbol by its spelling, everything else by one of the marks above. So
    one comparison tells a keyword from a string that reads like it.
    """

    marks: list[str]
    texts: list[str]  # content of a string, escapes decoded, and the spelling of everything else
    lines: list[int]  # of its first character, from 1


class LuaSyntaxError(Exception):
    """The source holds something that is not Lua, or is more than is followed. ``line`` counts from 1."""

    def __init__(self, message: str, line: int) -> None:
        self.message = message
        self.line = line
        super().__init__(f"line {line}: {message}")


_LINE_BREAK = re.compile(r"\r\n|\n\r|\r")
_BACKSLASH = re.compile(r"\\")
_SPACE = re.compile(r"[ \t\n\v\f]+")
_DECIMAL = re.compile(r"[0-9]{1,3}")
_HEX = re.compile(r"[0-9a-fA-F]{2}")
_UNICODE = re.compile(r"u\{([0-9a-fA-F]+)\}")
_ESCAPES = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"', "'": "'",
    "\n": "\n",
}  # fmt: skip
_SYMBOLS = frozenset(
    {
        "...", "..", ".", "==", "=", "~=", "~", "<=", "<<", "<", ">=", ">>", ">", "//", "/", "::", ":", "-", "+", "*",
        "%", "^", "#", "&", "|", "(", ")", "{", "}", "[", "]", ";", ",",
    }
)  # fmt: skip
_SPELLED = {spelling: spelling for spelling in KEYWORDS | _SYMBOLS}


def _pattern(more: str) -> re.Pattern[str]:
    """Return what finds all tokens in one go, as (token, what is between its brackets, what is no token).

    ``more`` are the characters that names may hold besides those of Lua 5.4. What is no token takes all the rest with
    it, and nothing that failed is tried in another way (``*+``): time stays linear whatever the source is.
    """
    name = rf"[A-Za-z_{more}][A-Za-z0-9_{more}]*"
    symbol = r"[+*%^#&|(){};,\]]|==?|\.(?:\.\.?|(?![0-9]))|<[=<]?|>[=>]?|~=?|//?|::?|-(?!-)|\[(?!=*\[)"
    number = r"0[xX](?:[pP][+-]|[0-9A-Za-z_.])*|(?:[0-9]|\.[0-9])(?:[eE][+-]|[0-9A-Za-z_.])*"
    text = "|".join(rf"{mark}(?:[^{mark}\\\n]++|\\z[ \t\n\v\f]*+|\\[\s\S])*+{mark}" for mark in "\"'")
    long = r"(?:--)?\[(=*)\[[\s\S]*?\]\2\]"
    token = rf"{name}|{symbol}|{number}|[\n\v\f][ \t\n\v\f]*|{text}|--(?!\[=*\[)[^\n]*|{long}"
    return re.compile(rf"[ \t]*+(?:({token})|\Z|([\s\S]+))")


_LUA = _pattern("")
_LUAJIT = _pattern("\x80-\xff")  # lj_char.c: every byte above ASCII belongs to a name
_MARK = "\xef\xbb\xbf"
#: What a token is that is not one of _SPELLED, by its first character; that of a name is not here.
_FIRST = {**dict.fromkeys("0123456789.", NUMBER), **dict.fromkeys("\"'[", STRING), **dict.fromkeys("\n\v\f-", "")}


def tokens(source: str, flavour: str = "lua") -> Tokens:
    """Return the tokens of ``source``, an END last.

    Args:
        source: Bytes decoded as latin-1.
        flavour: ``lua`` or ``luajit``.

    Raises:
        LuaSyntaxError: Something in it is not a token.
    """
    source = _LINE_BREAK.sub("\n", source)  # a lone CR ends a comment too; missing that would hide what follows it
    start = _header(source) if flavour == "luajit" else 0
    found = Tokens([], [], [])
    add_mark, add_text, add_line = found.marks.append, found.texts.append, found.lines.append
    marks, line = dict(_SPELLED), 1  # and of the names and numerals that were seen
    for text, _, rest in (_LUAJIT if flavour == "luajit" else _LUA).findall(source, start):
        mark = marks.get(text)
        passed = 0  # line breaks within it
        if mark is None:
            if not text:
                if rest:
                    raise LuaSyntaxError(_problem(rest), line)
                continue
            mark = _FIRST.get(text[0], NAME)
            if mark in (NAME, NUMBER):
                marks[text] = mark
            else:
                passed = text.count("\n")
                if not mark:
                    line += passed
                    continue
                text = _quoted(text, line) if text[0] != "[" else _between_brackets(text)
        add_mark(mark)
        add_text(text)
        add_line(line)
        line += passed
    add_mark(END)
    add_text("<end of file>")
    add_line(line)
    return found


def _header(source: str) -> int:
    """Return where LuaJIT begins to read: behind a byte order mark and a first line that starts with # (lj_lex.c)."""
    start = len(_MARK) if source.startswith(_MARK) else 0
    if not source.startswith("#", start):
        return start
    stop = source.find("\n", start)
    return len(source) if stop < 0 else stop


def _problem(rest: str) -> str:
    """Return why ``rest`` does not begin with a token."""
    if rest[0] in "\"'":
        return "unfinished string"
    return "unfinished long string or comment" if rest[0] in "[-" else "unexpected character"


def _between_brackets(text: str) -> str:
    """Return what stands in a long string, without the line break that it may begin with."""
    size = text.index("[", 1) + 1
    return text[size:-size].removeprefix("\n")


def _quoted(text: str, line: int) -> str:
    """Return what a string with its quotes stands for."""
    content = text[1:-1]
    if "\\" not in content:
        return content
    parts, position = [], 0
    while match := _BACKSLASH.search(content, position):
        parts.append(content[position : match.start()])
        meant, position = _escape(content, match.end(), line)
        parts.append(meant)
    return "".join([*parts, content[position:]])


def _escape(source: str, position: int, line: int) -> tuple[str, int]:
    """Return what the escape behind a backslash stands for, and where it ends."""
    letter = source[position : position + 1]
    if letter in _ESCAPES:
        return _ESCAPES[letter], position + 1
    if letter == "z":
        space = _SPACE.match(source, position + 1)
        return "", space.end() if space else position + 1
    digits = _DECIMAL.match(source, position)
    if digits and int(digits[0]) < 256:
        return chr(int(digits[0])), digits.end()
    if letter == "x" and (pair := _HEX.match(source, position + 1)):
        return chr(int(pair[0], 16)), position + 3
    unicode = _UNICODE.match(source, position)
    if unicode and len(unicode[1].lstrip("0")) <= 8 and int(unicode[1], 16) <= MAX_CODE_POINT:
        return _utf8(int(unicode[1], 16)), unicode.end()
    raise LuaSyntaxError("invalid escape sequence", line + source.count("\n", 0, position))


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
