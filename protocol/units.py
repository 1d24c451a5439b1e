"""Durations and sizes as people write them, and back.

A duration without a unit is refused, because nobody can tell seconds from milliseconds. A size without a unit is bytes.
"""

from __future__ import annotations

import re

from protocol.errors import ArgumentError

_DURATION = re.compile(r"(?P<number>[0-9]{1,12}(?:\.[0-9]{1,6})?)(?P<unit>ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(?P<number>[0-9]{1,15})(?P<unit>|B|KiB|MiB|GiB|TiB)")
_BYTES = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def parse_duration(text: object, *, where: str | None = None) -> float:
    """Return ``text``, such as ``500ms``, ``10s``, ``2m``, ``1h`` or ``90d``, in seconds.

    Raises:
        ArgumentError: Not a duration.
    """
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ArgumentError(f"{text!r:.80} is not a duration (examples: 500ms, 10s, 2m)", where=where)
    return float(match["number"]) * _SECONDS[match["unit"]]


def parse_size(text: object, *, where: str | None = None) -> int:
    """Return ``text``, such as ``64MiB``, ``256KiB``, ``4096`` or a plain number, in bytes.

    Raises:
        ArgumentError: Not a size.
    """
    if isinstance(text, int) and not isinstance(text, bool) and text >= 0:
        return text
    match = _SIZE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ArgumentError(f"{text!r:.80} is not a size (examples: 4096, 256KiB, 64MiB)", where=where)
    return int(match["number"]) * _BYTES[match["unit"]]


def format_duration(seconds: float) -> str:
    """Return ``seconds`` in the largest unit that shows it exactly, else in seconds or milliseconds."""
    for unit in ("d", "h", "m", "s"):
        if seconds >= _SECONDS[unit] and seconds % _SECONDS[unit] == 0:
            return f"{seconds / _SECONDS[unit]:.0f}{unit}"
    return f"{seconds:.6g}s" if seconds >= 1 else f"{seconds * 1000:.6g}ms"


def format_size(size_bytes: int) -> str:
    """Return ``size_bytes`` with a binary unit and at most one decimal."""
    units = ("B", "KiB", "MiB", "GiB", "TiB")
    step = min(max(size_bytes.bit_length() - 1, 0) // 10, len(units) - 1)
    value = size_bytes / (1 << 10 * step)
    return f"{value:.0f}{units[step]}" if value == int(value) else f"{value:.1f}{units[step]}"
