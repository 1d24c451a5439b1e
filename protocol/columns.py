"""Rows of the same shape, column by column: how a long listing crosses to a worker at a fraction of its cost as maps.

A map for each of 100,000 entries is made, counted, encoded, decoded and copied into a table of the script's language,
one key after the other, in two processes. Most of that says the same again: the keys, the directory, the type. So what
is alike is said once, texts are one run of bytes, and rows are made where they are read, a few hundred at a time.

On the wire a block is ``[count, [[key, kind, value, more], ...]]``; ``more`` is None but where a kind says otherwise.
Pure. Only the gate makes blocks, so whoever takes them trusts them as it does the gate.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

SAME: Final = 0  # each row has ``value``
TEXTS: Final = 1  # ``value``: the texts as bytes, a NUL between two
BELOW: Final = 2  # ``value``: a byte for each row, the place of what stands before the text of another column; ``more``
#                    is the key of that, which comes earlier, and the list of what stands before
WORDS: Final = 3  # ``value``: a byte for each row, the place of its word in the list ``more``
INTEGERS: Final = 4  # ``value``: eight bytes for each row, signed, in the machine's own order
REALS: Final = 5  # the same, of floating point

MAX_PLACES: Final = 256  # that one byte tells apart

_TYPES: Final = {INTEGERS: "q", REALS: "d"}


class Columns:
    """A block of rows on its way. Made once it is full; nothing in it changes afterwards."""

    __slots__ = ("_columns", "count")

    def __init__(self, count: int) -> None:
        self.count = count  # of rows
        self._columns: list[list[Any]] = []

    @property
    def size_bytes(self) -> int:
        """About as many as it takes on the wire."""
        return sum(map(_size, self._columns))

    def same(self, key: str, value: Any) -> None:
        """Add a column of one plain value."""
        self._columns.append([key, SAME, value, None])

    def texts(self, key: str, texts: Iterable[str]) -> None:
        """Add a column of texts, none with a NUL; undecodable bytes as surrogates (PEP 383)."""
        self._columns.append([key, TEXTS, "\0".join(texts).encode("utf-8", "surrogateescape"), None])

    def below(self, key: str, other: str, places: bytes, prefixes: Iterable[str]) -> None:
        """Add a column of the texts of the column ``other``, each below one of at most ``MAX_PLACES`` prefixes."""
        before = [prefix.encode("utf-8", "surrogateescape") for prefix in prefixes]
        self._columns.append([key, BELOW, places, [other, before]])

    def words(self, key: str, places: bytes, words: Sequence[str | int]) -> None:
        """Add a column of few different words, at most ``MAX_PLACES``."""
        self._columns.append([key, WORDS, places, list(words)])

    def integers(self, key: str, numbers: Iterable[int]) -> None:
        """Add a column of integers of 64 bits."""
        self._columns.append([key, INTEGERS, array("q", numbers).tobytes(), None])

    def reals(self, key: str, numbers: Iterable[float]) -> None:
        """Add a column of finite numbers."""
        self._columns.append([key, REALS, array("d", numbers).tobytes(), None])

    def to_wire(self) -> list[Any]:
        """Return it as plain values."""
        return [self.count, self._columns]

    def rows(self) -> list[dict[str, Any]]:
        """Return it as maps."""
        return rows_of(self.to_wire())


def _size(column: list[Any]) -> int:
    _, kind, value, more = column
    size = len(value) if type(value) is bytes else 32
    return size + sum(map(len, more[1])) if kind == BELOW else size


def rows_of(block: list[Any]) -> list[dict[str, Any]]:
    """Return the maps of a block; a text that is not UTF-8 as the bytes that it stands for."""
    count, columns = block
    made: dict[str, Iterable[Any]] = {}
    raw: dict[str, list[bytes]] = {}  # of texts, for those that stand below another one
    for key, kind, value, more in columns:
        if kind == TEXTS:
            raw[key] = value.split(b"\0") if count else []
            made[key] = _texts(raw[key], value)
        elif kind == BELOW:
            before = more[1]
            made[key] = [_text(before[place] + text) for place, text in zip(value, raw[more[0]], strict=True)]
        else:
            made[key] = values_of(count, kind, value, more)
    return [dict(zip(made, row, strict=True)) for row in zip(*made.values(), strict=True)]


def unpacked(block: list[Any]) -> list[Any]:
    """Return a block with its numbers as lists, for who cannot read them as bytes."""
    count, columns = block
    return [
        count,
        [[key, kind, numbers_of(kind, value) if kind in _TYPES else value, more] for key, kind, value, more in columns],
    ]


def values_of(count: int, kind: int, value: Any, more: Any) -> list[Any]:
    """Return what the rows have in a column that is neither ``TEXTS`` nor ``BELOW``."""
    if kind == SAME:
        return [value] * count
    return [more[place] for place in value] if kind == WORDS else numbers_of(kind, value)


def numbers_of(kind: int, value: bytes) -> list[Any]:
    """Return the numbers of a column."""
    numbers = array(_TYPES[kind])
    numbers.frombytes(value)
    return numbers.tolist()


def _texts(pieces: list[bytes], whole: bytes) -> Iterator[str | bytes] | list[str]:
    try:
        return whole.decode("utf-8").split("\0") if pieces else []
    except UnicodeDecodeError:
        return map(_text, pieces)


def _text(data: bytes) -> str | bytes:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data
