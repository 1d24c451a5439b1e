"""Unified diffs of one file, applied exactly: each hunk where it says, or moved by lines that were added or removed.

Pure. Nothing is guessed: context must be there word for word, and at one place only if it is not where the hunk says.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from protocol.errors import ArgumentError, ConflictError
from stdlib.parameters import Form

MAX_HUNKS: Final = 1000
MAX_MOVED: Final = 500  # lines that a hunk may be away from where it says; bounds the work
_HEAD = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@.*")
_NO_NEWLINE = "\\ No newline at end of file"


@dataclass(slots=True)
class _Hunk:
    at: int  # line of the old text, from 0
    line: int  # of the diff, for errors
    old: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)  # of its lines: a space, - or +


@dataclass(frozen=True, slots=True)
class Applied:
    """What a diff came to."""

    text: str
    hunks: str  # the same diff without its headers, where it really came to lie


def apply(text: str, diff: str) -> str:
    """Return ``text`` with the unified ``diff`` applied; raises as :func:`applied`."""
    return applied(text, diff).text


def applied(text: str, diff: str) -> Applied:
    """Return ``text`` with the unified ``diff`` applied, and where.

    What it came to is not looked for in the two texts: those of a stranger can be such that this takes hours.

    Raises:
        ArgumentError: It is no unified diff of one file; names the line of it.
        ConflictError: A hunk does not fit; names the line of it.
    """
    lines = _lines(text)
    result: list[str] = []
    told: list[str] = []
    position = 0
    moved = 0
    for hunk in _hunks(diff):
        at = _found(lines, hunk, position, hunk.at + moved)
        result += lines[position:at]
        told += _told(hunk, at, len(result))
        result += hunk.new
        position = at + len(hunk.old)
        moved = at - hunk.at
    return Applied("".join(result + lines[position:]), "".join(told))


def headed(hunks: str, name: str) -> str:
    """Return hunks with the headers of the file ``name``."""
    return f"--- a{name}\n+++ b{name}\n{hunks}"


def _told(hunk: _Hunk, old_at: int, new_at: int) -> Iterator[str]:
    """Give the lines of a hunk whose old ones are at one line, and its new ones at another."""
    yield f"@@ -{_range(old_at, len(hunk.old))} +{_range(new_at, len(hunk.new))} @@\n"
    old, new = iter(hunk.old), iter(hunk.new)
    for mark in hunk.marks:
        before, after = next(old) if mark != "+" else None, next(new) if mark != "-" else None
        if before == after:
            yield _line(" ", before)
            continue
        yield _line("-", before)
        yield _line("+", after)


def _range(at: int, count: int) -> str:
    """Return a range of lines as the head of a hunk writes it."""
    first = at + 1 if count else at
    return f"{first}" if count == 1 else f"{first},{count}"


def _line(mark: str, content: str | None) -> str:
    if content is None:
        return ""
    return f"{mark}{content}" if content.endswith("\n") else f"{mark}{content}\n{_NO_NEWLINE}\n"


def make(old: str, new: str, name: str) -> str:
    """Return the unified diff from ``old`` to ``new``. Not for texts of strangers: some take hours."""
    made = []
    for line in difflib.unified_diff(_lines(old), _lines(new), f"a{name}", f"b{name}"):
        made.append(line if line.endswith("\n") else f"{line}\n{_NO_NEWLINE}\n")
    return "".join(made)


def problem(diff: str) -> str | None:
    """Return what keeps a text from being a unified diff of one file, with the line of it; None if it is one."""
    try:
        _hunks(diff)
    except ArgumentError as error:
        return error.message.removeprefix("diff: ")
    return None


#: What reading alone tells: headers, then hunks of lines that begin as they must. ``problem`` counts them as well.
DIFF: Final = Form(
    r"(?:(?:--- |\+\+\+ |diff |index )[^\n]*+\n)*+"
    rf"(?:{_HEAD.pattern}(?:\n|\Z)(?:(?:[ +-][^\n]*+|{re.escape(_NO_NEWLINE)})(?:\n|\Z)|\n)*+)++",
    "is no unified diff of one file", finds=problem,
)  # fmt: skip


def _lines(text: str) -> list[str]:
    """Return the lines of a file: only a line feed ends one, whatever else Python takes for the end of a line."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _hunks(diff: str) -> list[_Hunk]:
    hunks: list[_Hunk] = []
    left_old = left_new = 0
    last = ""
    for number, line in enumerate(_lines(diff), 1):
        bare = line.removesuffix("\n")
        if left_old or left_new:
            last = line[:1]
            taken_old, taken_new = _body(hunks[-1], line, number)
            left_old, left_new = left_old - taken_old, left_new - taken_new
            if left_old < 0 or left_new < 0:
                raise _wrong(number, "the hunk has more lines than its head says")
        elif bare == _NO_NEWLINE and hunks:
            _unterminated(hunks[-1], last)
        elif told := _HEAD.fullmatch(bare):
            old_count, new_count = int(told[2] or 1), int(told[4] or 1)
            hunks.append(_Hunk(int(told[1]) - (old_count > 0), number))
            left_old, left_new = old_count, new_count
        elif hunks or not bare.startswith(("--- ", "+++ ", "diff ", "index ")):
            raise _wrong(number, "is neither the head nor the body of a hunk (one file at a time)")
        if len(hunks) > MAX_HUNKS:
            raise _wrong(number, f"more than {MAX_HUNKS} hunks")
    if left_old or left_new:
        raise _wrong(hunks[-1].line, "the hunk ends before its head says")
    if not hunks:
        raise ArgumentError("diff: holds no hunk", parameter="diff")
    return hunks


def _body(hunk: _Hunk, line: str, number: int) -> tuple[int, int]:
    """Take one line of a hunk; return how many old and new lines it stands for."""
    mark, rest = line[:1], line[1:]
    if line.removesuffix("\n") == _NO_NEWLINE:
        _unterminated(hunk, "-")  # in the middle: it is about the old side, whose last line came just before
        return 0, 0
    if mark not in (" ", "-", "+", "\n"):
        raise _wrong(number, "a line of a hunk begins with a space, - or +")
    content = "\n" if mark == "\n" else rest if rest.endswith("\n") else f"{rest}\n"
    hunk.marks.append(" " if mark == "\n" else mark)
    if mark != "+":
        hunk.old.append(content)
    if mark != "-":
        hunk.new.append(content)
    return int(mark != "+"), int(mark != "-")


def _unterminated(hunk: _Hunk, mark: str) -> None:
    if mark != "+" and hunk.old:
        hunk.old[-1] = hunk.old[-1].removesuffix("\n")
    if mark != "-" and hunk.new:
        hunk.new[-1] = hunk.new[-1].removesuffix("\n")


def _found(lines: list[str], hunk: _Hunk, first: int, at: int) -> int:
    size = len(hunk.old)
    if at >= first and lines[at : at + size] == hunk.old and at <= len(lines):
        return at
    if size:
        near = range(max(first, at - MAX_MOVED), min(len(lines) - size, at + MAX_MOVED) + 1)
        fits = [start for start in near if lines[start : start + size] == hunk.old]
        if len(fits) == 1:
            return fits[0]
        if fits:
            raise ConflictError(f"diff: line {hunk.line}: the hunk fits at {len(fits)} places and not where it says")
    raise ConflictError(f"diff: line {hunk.line}: the hunk does not fit")


def _wrong(number: int, why: str) -> ArgumentError:
    return ArgumentError(f"diff: line {number}: {why}", parameter="diff")
