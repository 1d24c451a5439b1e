"""DNS messages, pure: a question to bytes, bytes to records (RFC 1035, 3596, 2782, 6891, 8659).

An answer is hostile: every length is checked, a name may only point backwards, and there are bounds on everything.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

TYPES: Final = {
    "A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "CAA": 257,
}  # fmt: skip
_NAMES: Final = {number: name for name, number in TYPES.items()}
CODES: Final = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
MAX_RECORDS: Final = 256  # of one answer
MAX_POINTERS: Final = 32  # of one name
UDP_BYTES: Final = 1232  # that we take by UDP; fits into every path, DNS flag day 2020
_HEADER: Final = struct.Struct("!6H")
_FIXED: Final = struct.Struct("!HHIH")  # of a record, after its name


class AnswerError(ValueError):
    """Bytes that are no answer to the question; the text says what is wrong."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record of an answer."""

    name: str
    type: str
    ttl: int  # seconds
    value: str  # as zone files write it, names without the last dot


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer."""

    code: str  # of CODES
    truncated: bool
    records: tuple[Record, ...]  # of the types that we know, in their order


def question(identity: int, name: str, kind: str) -> bytes:
    """Return the question for records of ``kind`` (of TYPES) of an ASCII ``name``; recursion is desired."""
    labels = [label.encode("ascii") for label in name.split(".")]
    asked = b"".join(bytes([len(label)]) + label for label in labels) + b"\0" + struct.pack("!HH", TYPES[kind], 1)
    options = b"\0" + _FIXED.pack(41, UDP_BYTES, 0, 0)  # RFC 6891: how much we take by UDP
    return _HEADER.pack(identity, 0x0100, 1, 0, 0, 1) + asked + options


def read(data: bytes, asked: bytes) -> Answer:
    """Return the answer in ``data`` to the question ``asked``.

    Raises:
        AnswerError: It is no answer, or one to another question.
    """
    if len(data) < _HEADER.size:
        raise AnswerError("too short")
    identity, flags, questions, answers, _, _ = _HEADER.unpack_from(data)
    if identity != int.from_bytes(asked[:2], "big") or not flags & 0x8000 or flags & 0x7800:
        raise AnswerError("no answer to this question")
    code = CODES.get(flags & 15, str(flags & 15))
    if questions == 0 and code != "NOERROR":
        return Answer(code, bool(flags & 0x0200), ())
    reader = _Reader(data, _HEADER.size)
    mine = _Reader(asked, _HEADER.size)
    if questions != 1 or (reader.name().lower(), reader.take(4)) != (mine.name().lower(), mine.take(4)):
        raise AnswerError("an answer to another question")
    if answers > MAX_RECORDS:
        raise AnswerError(f"more than {MAX_RECORDS} records")
    truncated = bool(flags & 0x0200)
    records = [] if truncated else [record for _ in range(answers) if (record := reader.record()) is not None]
    return Answer(code, truncated, tuple(records))


class _Reader:
    """Reads one message from a position on."""

    def __init__(self, data: bytes, position: int) -> None:
        self.data = data
        self.position = position

    def take(self, count: int) -> bytes:
        part = self.data[self.position : self.position + count]
        if len(part) != count:
            raise AnswerError("cut off")
        self.position += count
        return part

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "big")

    def name(self) -> str:
        """Return a name, escaped as zone files do, without its last dot; the root is a dot."""
        labels, size, pointers, back = [], 0, 0, None
        while length := self.number(1):
            if length >= 0xC0:
                target = (length & 0x3F) << 8 | self.number(1)
                pointers += 1
                if target >= self.position - 2 or pointers > MAX_POINTERS:
                    raise AnswerError("a name that points to itself")
                back = self.position if back is None else back
                self.position = target
                continue
            if length > 63:
                raise AnswerError("a label of unknown kind")
            size += length + 1
            if size > 254:
                raise AnswerError("a name that is too long")
            labels.append(_escaped(self.take(length), b'.\\"'))
        if back is not None:
            self.position = back
        return ".".join(labels) or "."

    def record(self) -> Record | None:
        name = self.name()
        kind, cls, ttl, length = _FIXED.unpack(self.take(_FIXED.size))
        end = self.position + length
        if end > len(self.data):
            raise AnswerError("cut off")
        if cls != 1 or kind not in _NAMES:
            self.position = end
            return None
        value = _VALUES[_NAMES[kind]](self, end)
        if self.position != end:
            raise AnswerError(f"a record of type {_NAMES[kind]} of the wrong length")
        return Record(name, _NAMES[kind], ttl if ttl < 1 << 31 else 0, value)

    def text(self) -> str:
        return f'"{_escaped(self.take(self.number(1)), bytes((0x5C, 0x22)))}"'

    def texts(self, end: int) -> str:
        found = []
        while self.position < end:
            found.append(self.text())
        return " ".join(found)


def _escaped(data: bytes, special: bytes) -> str:
    return "".join(
        f"\\{chr(byte)}" if byte in special else chr(byte) if 32 <= byte < 127 else f"\\{byte:03d}" for byte in data
    )


def _caa(reader: _Reader, end: int) -> str:
    flags, tag = reader.number(1), _escaped(reader.take(reader.number(1)), b'\\"')
    if end < reader.position:
        raise AnswerError("cut off")
    return f'{flags} {tag} "{_escaped(reader.take(end - reader.position), bytes((0x5C, 0x22)))}"'


_VALUES: Final[dict[str, Callable[[_Reader, int], str]]] = {
    "A": lambda reader, end: str(ipaddress.IPv4Address(reader.take(4))),
    "AAAA": lambda reader, end: str(ipaddress.IPv6Address(reader.take(16))),
    "NS": lambda reader, end: reader.name(),
    "CNAME": lambda reader, end: reader.name(),
    "PTR": lambda reader, end: reader.name(),
    "MX": lambda reader, end: f"{reader.number(2)} {reader.name()}",
    "TXT": lambda reader, end: reader.texts(end),
    "SRV": lambda reader, end: f"{reader.number(2)} {reader.number(2)} {reader.number(2)} {reader.name()}",
    "SOA": lambda reader, end: " ".join([reader.name(), reader.name(), *(str(reader.number(4)) for _ in range(5))]),
    "CAA": _caa,
}
