"""The code of a version, or against that of another, file by file, in parts of bounded size. Pure.

The server shows it so, and whoever signs something about a version makes it anew from the bundle that they sign.

Comparing lines costs, at worst, the product of how many there are. What both have at their beginning and end is left
out first; where too much remains, all old lines are told as removed and all new ones as added, which is true as well.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from protocol.bundle import Bundle

MAX_PRODUCT: Final = 1_000_000  # lines of one times lines of the other that are compared; under 3 s at the very worst
MAX_TOGETHER: Final = 8_000_000  # of that, in all files of a version: a bundle holds 256, each at its worst
PART_CHARACTERS: Final = 64 << 10  # of one part
CONTEXT: Final = 3  # lines around a change

Opcode = tuple[str, int, int, int, int]


def texts(bundle: Bundle) -> dict[str, str]:
    """Return the files of a bundle as text; what is not UTF-8 is only described."""
    found: dict[str, str] = {}
    for path, content in sorted(bundle.files.items()):
        try:
            found[path] = content.decode("utf-8")
        except UnicodeDecodeError:
            found[path] = f"({len(content)} bytes that are not text, sha256 {hashlib.sha256(content).hexdigest()})"
    return found


def parts(before: Mapping[str, str] | None, after: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield what differs, in the order of the paths: ``path``, ``change``, ``part`` (from 1) and its ``text``.

    Args:
        before: Text of each file; None if there is nothing to compare with: then all files come whole.
        after: Text of each file.
    """
    left = MAX_TOGETHER
    for path in sorted({*(before or {}), *after}):
        old, new = (before or {}).get(path), after.get(path)
        if old == new:
            continue
        if before is None:
            change, text = "whole", new or ""
        else:
            change = "added" if old is None else "removed" if new is None else "changed"
            text, spent = _unified(old or "", new or "", left)
            left -= spent
        for number, start in enumerate(range(0, len(text) or 1, PART_CHARACTERS), 1):
            yield {"path": path, "change": change, "part": number, "text": text[start : start + PART_CHARACTERS]}


def unified(old: str, new: str) -> str:
    """Return the unified difference of two texts, without a header."""
    return _unified(old, new, MAX_TOGETHER)[0]


def _unified(old: str, new: str, left: int) -> tuple[str, int]:
    """Return the difference, and what was spent of what is ``left`` of ``MAX_TOGETHER``."""
    before, after = _lines(old), _lines(new)
    lines: list[str] = []
    codes, spent = _opcodes(before, after, min(left, MAX_PRODUCT))
    for group in _grouped(codes):
        first, last = group[0], group[-1]
        lines.append(f"@@ -{_range(first[1], last[2])} +{_range(first[3], last[4])} @@")
        for kind, low, high, other_low, other_high in group:
            if kind == "equal":
                lines += [f" {line}" for line in before[low:high]]
            else:
                lines += [f"-{line}" for line in before[low:high]]
                lines += [f"+{line}" for line in after[other_low:other_high]]
    return "".join(f"{line}\n" for line in lines), spent


def _lines(text: str) -> list[str]:
    """Return the lines of a text, as its language counts them: only LF ends one."""
    if not text:
        return []
    lines = text.split("\n")
    if lines[-1]:
        return [*lines[:-1], f"{lines[-1]} (no end of line)"]
    return lines[:-1]


def _opcodes(before: list[str], after: list[str], most: int) -> tuple[list[Opcode], int]:
    start = 0
    shorter = min(len(before), len(after))
    while start < shorter and before[start] == after[start]:
        start += 1
    end = 0
    while end < shorter - start and before[-1 - end] == after[-1 - end]:
        end += 1
    one, other = before[start : len(before) - end], after[start : len(after) - end]
    inner: list[Opcode] = [("replace", 0, len(one), 0, len(other))]
    product = len(one) * len(other)
    if product <= most:
        inner = list(difflib.SequenceMatcher(None, one, other).get_opcodes())
    head: list[Opcode] = [("equal", 0, start, 0, start)]
    tail: list[Opcode] = [("equal", len(before) - end, len(before), len(after) - end, len(after))]
    moved = [(kind, a + start, b + start, c + start, d + start) for kind, a, b, c, d in inner]
    codes = [code for code in (*head, *moved, *tail) if code[1] < code[2] or code[3] < code[4]]
    return codes, product if product <= most else 0


def _grouped(codes: list[Opcode]) -> Iterator[list[Opcode]]:
    """Yield the hunks: what changed, with some equal lines around it."""
    group: list[Opcode] = []
    for place, (kind, a, b, c, d) in enumerate(codes):
        if kind != "equal":
            group.append((kind, a, b, c, d))
            continue
        is_first, is_last = place == 0, place == len(codes) - 1
        if not is_first and not is_last and b - a <= 2 * CONTEXT:
            group.append((kind, a, b, c, d))
            continue
        if not is_first:
            group.append((kind, a, min(b, a + CONTEXT), c, min(d, c + CONTEXT)))
            yield group
        group = [] if is_last else [(kind, max(a, b - CONTEXT), b, max(c, d - CONTEXT), d)]
    if any(code[0] != "equal" for code in group):
        yield group


def _range(low: int, high: int) -> str:
    length = high - low
    if length == 1:
        return str(low + 1)
    return f"{low + 1 if length else low},{length}"
