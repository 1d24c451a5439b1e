"""Compiled code of Python programs that run again and again: which texts are worth it, and what is kept. Pure, bounded.

Compiling is most of what a short Python script costs. What is kept here may only depend on the text that it stands for,
or one run could leave something behind for the next one. So it never comes from a worker that runs a program: it is
made apart (``sandbox.compiling``), by a worker that gets the text, no parameters, and no answer to any call. And it is
found by the very text, compared byte by byte: no script can have another script's code.

It is as hostile as its text, which may break the compiler: it is only ever read inside a worker that has that text.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, NamedTuple

from sandbox.channel import MAX_CODE_BYTES, MAX_CODES_BYTES
from sandbox.runtimes import Codes

MAX_TEXTS: Final = 128  # a host has some dozens of checks
MAX_BYTES: Final = 4 * 1024 * 1024  # of texts and code together
MAX_SEEN: Final = 1024
MAX_PARTS: Final = 32  # of one program; each is compiled by a worker of its own
WORTH_FROM: Final = 2  # runs: what runs once is not compiled twice


class Text(NamedTuple):
    """What is compiled. The name is in the code, for tracebacks."""

    main: str
    source: bytes


class Part(NamedTuple):
    """One file of a program, as its worker looks for it."""

    unit: str  # of ``modules.Module``
    path: str
    text: Text


class Compiled:
    """What is kept. For one kind of interpreter: a sandbox has its own."""

    def __init__(self) -> None:
        self._codes: OrderedDict[Text, bytes] = OrderedDict()  # what was used last is at the end
        self._size_bytes = 0  # of all of it
        self._seen: OrderedDict[int, int] = OrderedDict()  # hash of a text -> runs; one that collides is compiled early

    def find(self, text: Text) -> bytes | None:
        """Return the code of ``text``."""
        code = self._codes.get(text)
        if code is not None:
            self._codes.move_to_end(text)
        return code

    def has(self, text: Text) -> bool:
        """Whether the code of ``text`` is kept."""
        return text in self._codes

    def codes(self, parts: Iterable[Part]) -> Codes:
        """Return what is kept of ``parts``, by unit and path, as much as one program may bring."""
        found: dict[str, dict[str, bytes]] = {}
        left = MAX_CODES_BYTES
        for unit, path, text in parts:
            code = self.find(text)
            if code is not None and len(code) <= left:
                left -= len(code)
                found.setdefault(unit, {})[path] = code
        return found

    def is_due(self, text: Text) -> bool:
        """Note a run of ``text``; return whether it is to be compiled apart now. True at most once for each text."""
        seen = hash(text)
        runs = self._seen[seen] = self._seen.pop(seen, 0) + 1
        if len(self._seen) > MAX_SEEN:
            self._seen.popitem(last=False)
        return runs == WORTH_FROM and text not in self._codes

    def forget(self, text: Text) -> None:
        """Keep the code of ``text`` no longer: it is compiled by each of its workers from now on. Idempotent."""
        code = self._codes.pop(text, None)
        if code is not None:
            self._size_bytes -= len(text.source) + len(code)

    def keep(self, text: Text, code: bytes) -> None:
        """Keep the code of ``text`` in place of what was not used for longest."""
        size_bytes = len(text.source) + len(code)
        if len(code) > MAX_CODE_BYTES or size_bytes > MAX_BYTES or text in self._codes:
            return
        self._codes[text] = code
        self._size_bytes += size_bytes
        while len(self._codes) > MAX_TEXTS or self._size_bytes > MAX_BYTES:
            dropped, old = self._codes.popitem(last=False)
            self._size_bytes -= len(dropped.source) + len(old)
