"""Takes secrets out of what leaves a run: every occurrence of every form in which they are known to come back. Pure.

A script never holds the value of a secret, so it cannot print one. But a program that gets one may echo it, a server
may quote it in an error, a terminal may show it. So what comes back from a call passes here before the script sees it,
and what the run leaves behind (output, result, errors, records, metrics, logs) passes here once more at its end.

Found are: the bytes as they are; without spaces at both ends; each longer line of several; in base64, plain and
URL-safe, also inside of a longer text that was encoded as a whole; in hexadecimal; percent-encoded; as in a JSON text;
and with the line ends of a terminal. Not found is what somebody transformed in any other way, reversed it, say, or
split it over two answers.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote_from_bytes

MIN_FORM_BYTES: Final = 4  # a shorter piece stands in every text
MIN_LINE_BYTES: Final = 8  # of a line of a secret that has several
_MAX_LINES: Final = 256  # of one secret; the longest has 8 KiB
_MAX_LEVELS: Final = 64  # of a value; more than any that can cross


class Redactor:
    """Of one run. It holds what it looks for until :meth:`clear`."""

    __slots__ = ("_forms", "_texts")

    def __init__(self) -> None:
        self._forms: list[tuple[bytes, bytes]] = []  # what to find and what to put there, longest first
        self._texts: list[tuple[str, str]] = []  # the same for texts

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to look for."""
        return not self._forms

    def add(self, name: str, secret: bytes) -> None:
        """Look for ``secret`` from now on, and put ``[secret NAME]`` in its place."""
        known = {form for form, _ in self._forms}
        mark = f"[secret {name}]".encode()
        found = {form: mark for form in forms(secret) if form not in known}
        if not found:
            return
        self._forms = sorted([*self._forms, *found.items()], key=lambda item: -len(item[0]))
        self._texts = [(_text(form), _text(put)) for form, put in self._forms]

    def clear(self) -> None:
        """Forget everything; nothing is found any more."""
        self._forms, self._texts = [], []

    def octets(self, data: bytes) -> bytes:
        """Return ``data`` without secrets."""
        for form, mark in self._forms:
            if form in data:
                data = data.replace(form, mark)
        return data

    def begun(self, data: bytes) -> int:
        """Return how many bytes at the end of ``data`` may be the beginning of a secret whose rest is still to come."""
        most = 0
        for form, _ in self._forms:
            start = max(0, len(data) - len(form) + 1)
            at = data.find(form[:1], start)
            while at >= 0 and len(data) - at > most:
                if form.startswith(data[at:]):
                    most = len(data) - at
                at = data.find(form[:1], at + 1)
        return most

    def text(self, text: str) -> str:
        """Return ``text`` without secrets."""
        for form, mark in self._texts:
            if form in text:
                text = text.replace(form, mark)
        return text

    def plain(self, value: Any, _levels: int = _MAX_LEVELS) -> Any:
        """Return a plain value without secrets: in texts, bytes, keys, and numbers that are one. What holds none is
        returned as it is.
        """
        if not self._forms:
            return value
        kind = type(value)
        if kind is str:
            return self.text(value)
        if kind is bytes:
            return self.octets(value)
        if kind in (bool, type(None)):
            return value
        if kind in (int, float):
            return self._number(value)
        if not _levels:  # nothing of ours is so deep; what cannot be looked at does not pass
            return "[too deep]"
        if isinstance(value, dict):
            return {
                self.text(key) if type(key) is str else key: self.plain(item, _levels - 1)
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self.plain(item, _levels - 1) for item in value]
        return value

    def _number(self, value: float) -> Any:
        told = str(value)
        for form, mark in self._texts:
            if told == form:
                return mark
        return value


def forms(secret: bytes) -> frozenset[bytes]:
    """Return the forms in which ``secret`` is looked for, none shorter than ``MIN_FORM_BYTES``."""
    found: set[bytes] = set()
    for piece in _pieces(secret):
        found.update(_encoded(piece))
    return frozenset(form for form in found if len(form) >= MIN_FORM_BYTES)


def _pieces(secret: bytes) -> Iterator[bytes]:
    yield secret
    yield secret.strip()
    if b"\n" in secret:
        unix = secret.replace(b"\r\n", b"\n")
        yield unix
        yield unix.replace(b"\n", b"\r\n")  # as a terminal shows it
        lines = [line.strip() for line in secret.splitlines()]
        yield from [line for line in lines if len(line) >= MIN_LINE_BYTES][:_MAX_LINES]


def _encoded(piece: bytes) -> Iterator[bytes]:
    if len(piece) < MIN_FORM_BYTES:
        return
    yield piece
    yield piece.hex().encode()
    yield piece.hex().upper().encode()
    for text in _base64(piece):
        yield text
        yield text.translate(_URL_SAFE)
    percent = quote_from_bytes(piece, safe="")
    yield percent.encode()
    yield _lower_escapes(percent).encode()
    yield quote_from_bytes(piece, safe="/").encode()
    yield percent.replace("%20", "+").encode()
    yield "".join(f"%{byte:02X}" for byte in piece).encode()
    yield "".join(f"%{byte:02x}" for byte in piece).encode()
    told = piece.decode("utf-8", "surrogateescape")
    if told.isprintable() and told.isascii() and not _ESCAPED_IN_JSON.intersection(told):
        return
    for is_ascii in (True, False):
        inside = json.dumps(told, ensure_ascii=is_ascii)[1:-1]
        # As some write it who have HTML in mind: PHP escapes slashes, Go what could be a tag.
        for written in (inside, inside.replace("/", "\\/"), inside.translate(_FOR_HTML)):
            yield written.encode("utf-8", "surrogateescape")


_ESCAPED_IN_JSON: Final = frozenset('"\\/<>&')
_FOR_HTML: Final = {ord(mark): f"\\u{ord(mark):04x}" for mark in "<>&"}
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")


def _base64(piece: bytes) -> Iterator[bytes]:
    """Yield base64 of ``piece``, and the part of it that does not depend on what stands around it, for each place that
    it can have in a text: three bytes are four characters, so there are three of them.
    """
    yield base64.b64encode(piece)
    yield base64.b64encode(piece).rstrip(b"=")
    for before in range(3):
        whole = base64.b64encode(bytes(before) + piece)
        first = -(-before * 8 // 6)  # the first character of which every bit is ours
        end = (before + len(piece)) * 8 // 6
        yield whole[first:end]


def _lower_escapes(percent: str) -> str:
    head, *rest = percent.split("%")
    return head + "".join(f"%{part[:2].lower()}{part[2:]}" for part in rest)


def _text(form: bytes) -> str:
    return form.decode("utf-8", "surrogateescape")
