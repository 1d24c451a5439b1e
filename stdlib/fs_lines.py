"""``fs.lines``: text files line by line, from either end."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from protocol.regex import Regex, of_parameter
from protocol.tiers import Tier
from stdlib.call_specs import Permit
from stdlib.declaring import call
from stdlib.fs_content import decoded, opened_file, read_at
from stdlib.parameters import Bounds, Length
from stdlib.paths import Target

MAX_LINE_BYTES = 64 << 10  # of one line that is given; the rest of a longer one is cut off
BLOCK_BYTES = 128 << 10  # read at once; with what is left of a line before, well within a frame
LINES = 512  # given at once

Line = str | bytes


@dataclass(slots=True)
class Told:
    """What became of the lines of a file."""

    lines: int = 0  # given
    cut: int = 0  # of those that were read
    truncated: bool = False
    is_partly: bool = False  # only the start of the file was read
    is_more: bool = True  # something is left behind the lines that were given last


@call(
    "fs.lines",
    tier=Tier.INSPECT,
    lua='for line in fs.lines("/etc/passwd", {match = "^root:"}) do print(line) end',
    python='for line in fs.lines("/etc/passwd", match="^root:"):\n    print(line)',
)
def lines(
    permit: Permit,
    path: Target,
    from_end: bool = False,
    limit: Annotated[int, Bounds(1, 1 << 53)] | None = None,
    match: Annotated[str, Length(2000)] | None = None,
) -> Generator[list[str | bytes], None, dict[str, Any]]:
    """Give the lines of a regular file without their ends (line feed, or carriage return and line feed).

    A line is text, or bytes if it is not UTF-8. With ``from_end`` the last one comes first, and only so much is read as
    is asked for. ``match`` is a pattern as of ``regex``; only lines in which it is found are given. A line of more than
    64 KiB is cut there.

    The summary is ``lines`` (given), ``cut`` (how many of those), ``truncated`` (``limit`` ended it
    before the file did).
    """
    regex = None if match is None else of_parameter(match, "match")
    return _lines(permit, path, from_end, None if limit is None else int(limit), regex)


def _lines(
    permit: Permit, path: Target, from_end: bool, limit: int | None, regex: Regex | None
) -> Generator[list[Line], None, dict[str, Any]]:
    told, is_enough = Told(), False
    with opened_file(path) as fd:
        blocks = backward(fd, path.asked, told) if from_end else forward(fd, path.asked, told)
        for block in blocks:
            if permit.is_over:
                break
            found = block if regex is None else [line for line in block if regex.search(line)]
            if limit is not None and told.lines + len(found) >= limit:  # nothing is read to see whether there is more
                told.truncated = told.is_more or told.lines + len(found) > limit
                found, is_enough = found[: limit - told.lines], True
            for first in range(0, len(found), LINES):
                yield found[first : first + LINES]
            told.lines += len(found)
            if is_enough:
                break
            if not found:
                yield []
    return {"lines": told.lines, "cut": told.cut, "truncated": told.truncated}


def forward(fd: int, shown: str, told: Told, *, most_bytes: int | None = None) -> Iterator[list[Line]]:
    """Give the lines of a file from its start, a block at a time; of all of it, or about the first ``most_bytes``."""
    offset, rest, is_skipping = 0, b"", False
    while data := read_at(fd, BLOCK_BYTES, offset, shown):
        if most_bytes is not None and offset >= most_bytes:
            told.is_partly = True
            return
        offset += len(data)
        if is_skipping:  # of a line that is cut
            end = data.find(b"\n")
            if end < 0:
                yield []
                continue
            data, is_skipping = data[end + 1 :], False
        whole = (rest + data).split(b"\n")
        rest = whole.pop()
        if len(rest) > MAX_LINE_BYTES:
            whole.append(rest)
            rest, is_skipping = b"", True
        told.is_more = bool(rest) or offset < os.fstat(fd).st_size
        yield _shown(whole, told)
    told.is_more = False
    if rest:
        yield _shown([rest], told)


def backward(fd: int, shown: str, told: Told) -> Iterator[list[Line]]:
    """Give the lines of a file from its end, a block at a time."""
    position, rest, is_last = os.fstat(fd).st_size, b"", True
    while position > 0:
        size = min(BLOCK_BYTES, position)
        position -= size
        data = read_at(fd, size, position, shown)
        if is_last and data.endswith(b"\n"):
            data = data[:-1]
        is_last = False
        first, *whole = (data + rest).split(b"\n")
        rest = first[: MAX_LINE_BYTES + 1]  # what is cut off a longer line is its end
        yield _shown(whole[::-1], told)
    told.is_more = False
    if not is_last:
        yield _shown([rest], told)


def _shown(whole: list[bytes], told: Told) -> list[Line]:
    for place, line in enumerate(whole):
        if len(line) > MAX_LINE_BYTES:
            told.cut += 1
            whole[place] = cut(line)
    if not whole:
        return []
    try:
        texts = b"\n".join(whole).decode("utf-8").split("\n")
    except UnicodeDecodeError:
        return [whole_line(line) for line in whole]
    return [text[:-1] if text.endswith("\r") else text for text in texts]


def cut(line: bytes) -> bytes:
    """Return the start of a line that is too long, not ended within a character."""
    end = MAX_LINE_BYTES
    while end > MAX_LINE_BYTES - 4 and line[end] & 0xC0 == 0x80:  # it goes on with a byte of the same character
        end -= 1
    return line[:end]


def whole_line(line: bytes) -> Line:
    """Return a line as scripts get it, from its bytes without the line feed."""
    return decoded(line[:-1] if line.endswith(b"\r") else line, "auto")
