"""What a command prints: data on stdout, talk on stderr.

The rules: on a terminal a table is drawn with rich; in a pipe the same rows are plain padded text without colour;
with ``--json`` the data is JSON and nothing else is on stdout. Colour only on a terminal, and not with NO_COLOR,
TERM=dumb or ``--no-color``. Text that came from a script or a host is stripped of control characters before it
reaches a terminal.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from protocol.plain_text import one_line, safe, safe_json
from protocol.units import format_duration

STYLES: Mapping[str, str] = {
    "ok": "green", "up": "green", "approved": "green", "connected": "green",
    "error": "red", "denied": "red", "killed": "red", "refused": "red", "lost": "red", "missing": "red",
    "running": "yellow", "queued": "yellow", "waiting": "yellow", "off": "yellow",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: its title, and how to get its text from an item."""

    title: str
    read: Callable[[Any], Any]
    is_number: bool = False  # numbers stand to the right


def field(title: str, *path: str, is_number: bool = False) -> Column:
    """Return a column that reads a (nested) key of a mapping."""

    def read(item: Any) -> Any:
        for key in path:
            item = item.get(key) if isinstance(item, Mapping) else None
        return item

    return Column(title, read, is_number)


def plain(value: Any) -> str:
    """Return ``value`` as one safe line for people."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Mapping):
        return one_line(", ".join(f"{key}={_inner(item)}" for key, item in sorted(value.items()))) or "-"
    if isinstance(value, (list, tuple)):
        return one_line(", ".join(_inner(item) for item in value)) or "-"
    return one_line(str(value))


def _number(value: float) -> str:
    """Return a float as people write it: three decimals do, and a power of ten only where there is no other way."""
    if value == 0 or not 0.001 <= abs(value) < 1e15:  # false for NaN, too
        return f"{value:.6g}"
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _fact(name: str, value: Any) -> tuple[str, str]:
    """Return a field's name and its value for people: seconds as a duration."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if name.endswith("_s") and (value is None or (is_number and value >= 0)):
        return name.removesuffix("_s").replace("_", " "), plain(None if value is None else format_duration(value))
    return name.replace("_", " "), plain(value)


def _inner(value: Any) -> str:
    """Return what stands inside a mapping or list: text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(encodable(value), ensure_ascii=False)


def counted(count: int, thing: str) -> str:
    """Return a number and what is counted, such as ``1 test`` or ``4,320 records``."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def encodable(value: Any) -> Any:
    """Return ``value`` with what JSON cannot hold made text: bytes with escapes, keys as strings."""
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "backslashreplace")
    if isinstance(value, Mapping):
        return {str(key): encodable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [encodable(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


class Output:
    """The two streams of one invocation and how to write to them.

    Args:
        as_json: Data goes out as JSON.
        no_color: The flag ``--no-color``.
        stdout: Where data goes.
        stderr: Where talk goes.
    """

    def __init__(
        self,
        *,
        as_json: bool = False,
        no_color: bool = False,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
    ) -> None:
        self.as_json = as_json
        self._stdout = stdout or sys.stdout
        self._stderr = stderr or sys.stderr
        dumb = os.environ.get("TERM") == "dumb"
        self._may_color = not (no_color or dumb or os.environ.get("NO_COLOR"))

    @property
    def on_terminal(self) -> bool:
        """Whether a person looks at stdout."""
        return self._stdout.isatty()

    def data(self, value: Any) -> None:
        """Write one JSON document."""
        text = json.dumps(encodable(value), indent=2, ensure_ascii=False, allow_nan=False)
        self._stdout.write(_printable(text) + "\n")

    def row(self, value: Any) -> None:
        """Write one line of NDJSON and send it off."""
        self._stdout.write(_printable(json.dumps(encodable(value), ensure_ascii=False, allow_nan=False)) + "\n")
        self._stdout.flush()

    def line(self, text: str = "") -> None:
        """Write one line of data for people."""
        self._stdout.write(self._mark(safe(text), self._stdout) + "\n")
        self._stdout.flush()

    def raw(self, text: str) -> None:
        """Write text as it is, such as what a script printed; made safe only where a terminal would obey it."""
        self._stdout.write(safe(text) if self.on_terminal else text)
        self._stdout.flush()

    def read(self, text: str) -> None:
        """Write text for somebody to judge, such as code: made safe in a pipe too, as that may end in a pager."""
        self._stdout.write(safe(text))
        self._stdout.flush()

    def say(self, text: str) -> None:
        """Write one line of talk."""
        self._stderr.write(self._mark(safe(text), self._stderr) + "\n")
        self._stderr.flush()

    def table(self, items: Iterable[Any], columns: Sequence[Column], *, empty: str = "nothing found") -> None:
        """Write items as JSON array, rich table or padded text; an empty table says so on stderr."""
        listed = list(items)
        if self.as_json:
            self.data(listed)
        elif not listed:
            self.say(empty)
        else:
            self.rows([[plain(column.read(item)) for column in columns] for item in listed], columns)

    def rows(self, rows: Sequence[Sequence[str]], columns: Sequence[Column]) -> None:
        """Write rows of text under the titles of ``columns``."""
        if self.on_terminal and os.environ.get("TERM") != "dumb":
            from cli.drawing import draw  # rich costs tens of milliseconds; only a terminal pays them

            draw(self._stdout, rows, columns, may_color=self._may_color, styles=dict(STYLES))
        else:
            for text in padded(rows, columns):
                self._stdout.write(text + "\n")

    def facts(self, item: Mapping[str, Any], names: Sequence[str] | None = None) -> None:
        """Write one thing: JSON, or its fields one a line."""
        if self.as_json:
            self.data(item)
            return
        shown = [_fact(name, item[name]) for name in (names or list(item)) if name in item]
        width = max((len(name) for name, _ in shown), default=0)
        for name, text in shown:
            self.line(f"{name:<{width}}  {text}")

    def _mark(self, text: str, stream: TextIO) -> str:
        """Colour the first word of a line if it is a known status."""
        if not (self._may_color and stream.isatty()):
            return text
        word, gap, rest = text.partition(" ")
        code = {"green": 32, "red": 31, "yellow": 33}.get(STYLES.get(word, ""))
        return text if code is None else f"\x1b[{code}m{word}\x1b[0m{gap}{rest}"


def _printable(text: str) -> str:
    """Return JSON text with what cannot be encoded as UTF-8 (lone surrogates), or a terminal would obey, escaped."""
    return safe_json(text.encode("utf-8", "backslashreplace").decode("utf-8"))


def padded(rows: Sequence[Sequence[str]], columns: Sequence[Column]) -> list[str]:
    """Return rows as lines of padded text, titles first, without trailing blanks."""
    lines = [[column.title.upper() for column in columns], *rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    return [
        "  ".join(
            cell.rjust(width) if column.is_number else cell.ljust(width)
            for cell, width, column in zip(line, widths, columns, strict=True)
        ).rstrip()
        for line in lines
    ]
