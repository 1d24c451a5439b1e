"""``yaml.*``: one document of YAML 1.2 with its core schema, read from libyaml's events by a constructor of our own.

So there is no tag, no class and no resolver of PyYAML's in it: ``yes``, ``no`` and ``on`` are texts, a date is a text,
and ``1:30`` is no number. Keys are text. Anchors are followed; every alias is a copy that counts against the bounds, so
a few lines that would multiply to billions are refused. A merge key (``<<``) is taken as everyone uses it.

Source:
    YAML 1.2.2, section 10.3.2: the tags of plain scalars in the core schema. ``.inf`` and ``.nan`` are refused: no
    number here is not finite.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from sandbox.pure.declared import MAX_BYTES, MAX_DEPTH, Refused, anything, bounded, pure, shown, text, whole

MAX_CHARACTERS = 1 << 20
MAX_NODES = 100_000  # with those that aliases stand for

_Parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEAN = {word: word[0] in "tT" for word in ("true", "True", "TRUE", "false", "False", "FALSE")}
_INTEGER = re.compile(r"[-+]?[0-9]+", re.ASCII)
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", re.ASCII)


@pure("yaml.decode", text=text)
def decode(text: str) -> Any:
    """Return the value of the one document; nothing for an empty one."""
    try:
        parser = _Parser(bounded("text", text, MAX_CHARACTERS))
        try:
            return _Reader(parser).document()
        finally:
            parser.dispose()
    except yaml.YAMLError as error:
        raise _syntax(error) from None


def _syntax(error: yaml.YAMLError) -> Refused:
    mark = getattr(error, "problem_mark", None)
    problem = str(getattr(error, "problem", None) or getattr(error, "reason", None) or "is not YAML")
    return _at(mark, problem) if mark else Refused("text", problem)


def _at(mark: Any, problem: str) -> Refused:
    return Refused("text", f"line {mark.line + 1} column {mark.column + 1}: {problem}")


@dataclass(frozen=True, slots=True)
class _Node:
    """A value with what it weighs, for its aliases."""

    value: Any
    nodes: int
    characters: int


class _Reader:
    """Builds one document from events."""

    def __init__(self, parser: Any) -> None:
        self._parser = parser
        self._anchors: dict[str, _Node | None] = {}  # None while what it names is still being read
        self._nodes = 0
        self._characters = 0

    def document(self) -> Any:
        """Return the value of the only document."""
        self._next(yaml.StreamStartEvent)
        if isinstance(self._parser.peek_event(), yaml.StreamEndEvent):
            return None
        self._next(yaml.DocumentStartEvent)
        value = self._node(0)
        self._next(yaml.DocumentEndEvent)
        after = self._parser.get_event()
        if not isinstance(after, yaml.StreamEndEvent):
            raise _at(after.start_mark, "a second document begins; only one is read")
        return value

    def _next(self, kind: type) -> None:
        event = self._parser.get_event()
        if not isinstance(event, kind):  # libyaml keeps the order; this is for whoever changes the parser
            raise _at(event.start_mark, "is not what must stand here")

    def _node(self, depth: int) -> Any:
        event = self._parser.get_event()
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, depth)
        if event.tag is not None and event.tag != "!":
            raise _at(event.start_mark, f"the tag {shown(event.tag)} is not read")
        before = (self._nodes, self._characters)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._count(event, 1, len(event.value) if isinstance(event, yaml.ScalarEvent) else 0)
        value = self._value(event, depth)
        if event.anchor is not None:
            weight = (self._nodes - before[0], self._characters - before[1])
            self._anchors[event.anchor] = _Node(value, *weight)
        return value

    def _count(self, event: Any, nodes: int, characters: int) -> None:
        self._nodes += nodes
        self._characters += characters
        if self._nodes > MAX_NODES or self._characters > MAX_BYTES:
            told = f"has more than {MAX_NODES} values or {MAX_BYTES >> 20} Mi characters, with those of its aliases"
            raise Refused("text", f"line {event.start_mark.line + 1}: {told}", "too_large")

    def _value(self, event: Any, depth: int) -> Any:
        if isinstance(event, yaml.ScalarEvent):
            is_plain = event.implicit[0] and event.style in (None, "")
            return _scalar(event) if is_plain and event.tag is None else event.value
        if depth >= MAX_DEPTH:
            raise _at(event.start_mark, f"is nested more than {MAX_DEPTH} deep")
        return self._list(depth) if isinstance(event, yaml.SequenceStartEvent) else self._map(depth)

    def _list(self, depth: int) -> list[Any]:
        items = []
        while not isinstance(self._parser.peek_event(), yaml.SequenceEndEvent):
            items.append(self._node(depth + 1))
        self._parser.get_event()
        return items

    def _map(self, depth: int) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: list[dict[str, Any]] = []
        while not isinstance(self._parser.peek_event(), yaml.MappingEndEvent):
            start = self._parser.peek_event()
            is_merge = isinstance(start, yaml.ScalarEvent) and start.value == "<<" and start.style in (None, "")
            key = self._key(start)
            value = self._node(depth + 1)
            if is_merge:
                merged += _maps(start, value)
            elif key in own:
                raise _at(start.start_mark, f"the key {shown(key)} stands twice")
            else:
                own[key] = value
        self._parser.get_event()
        made: dict[str, Any] = {}
        for other in reversed(merged):  # the first of several counts, and what is written here counts most
            made |= other
        return made | own

    def _key(self, event: Any) -> str:
        """Return a key as it is written; 1 and true are the texts that they look like."""
        if isinstance(event, yaml.AliasEvent):
            key = self._node(0)
            if type(key) is str:
                return key
        if not isinstance(event, yaml.ScalarEvent):
            raise _at(event.start_mark, "a key must be text")
        self._node(0)
        return str(event.value)

    def _alias(self, event: Any, depth: int) -> Any:
        node = self._anchors.get(event.anchor)
        if node is None:
            known = event.anchor in self._anchors
            problem = "stands within what it is an alias of" if known else "has no anchor before it"
            raise _at(event.start_mark, f"the alias {shown(event.anchor)} {problem}")
        self._count(event, node.nodes, node.characters)
        return _copied(node.value, depth, event)


def _copied(value: Any, depth: int, event: Any) -> Any:
    kind = type(value)
    if kind is not list and kind is not dict:
        return value
    if depth >= MAX_DEPTH:
        raise _at(event.start_mark, f"is nested more than {MAX_DEPTH} deep")
    if kind is list:
        return [_copied(item, depth + 1, event) for item in value]
    return {key: _copied(item, depth + 1, event) for key, item in value.items()}


def _maps(event: Any, value: Any) -> list[dict[str, Any]]:
    maps = value if type(value) is list else [value]
    if not all(type(item) is dict for item in maps):
        raise _at(event.start_mark, "a merge key (<<) must have a map or a list of maps")
    return maps


def _scalar(event: Any) -> Any:
    written = str(event.value)
    if written in _NULL:
        return None
    if written in _BOOLEAN:
        return _BOOLEAN[written]
    try:
        return _number(written)
    except Refused as refused:
        raise _at(event.start_mark, refused.problem) from None


def _number(written: str) -> Any:
    if _INTEGER.fullmatch(written):
        if len(written) > 30:
            raise Refused("text", "holds an integer of more than 64 bits")
        return whole("text", int(written))
    if _BASED.fullmatch(written):
        return whole("text", int(written[2:], 8 if written[1] == "o" else 16))
    if _NOT_FINITE.fullmatch(written):
        raise Refused("text", "a number must be finite")
    if not _FLOAT.fullmatch(written):
        return written
    made = float(written)
    if made in (float("inf"), float("-inf")):
        raise Refused("text", "a number must be finite")
    return made


# Writing --------------------------------------------------------------------------------------------------------------

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@+-]*(?: [A-Za-z0-9_./@+-]+)*", re.ASCII)
#: Plain words that some reader of YAML 1.1 or 1.2 takes for something else than text.
_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_UNSAFE = re.compile('["\\\\\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]')


@pure("yaml.encode", value=anything)
def encode(value: Any) -> str:
    """Return the document of ``value`` in block style, keys sorted; a text that could be read otherwise is quoted."""
    lines: list[str] = []
    _write(value, 0, "", lines)
    return "\n".join(lines) + "\n"


def _write(value: Any, depth: int, lead: str, lines: list[str]) -> None:
    """Append the lines of ``value``; ``lead`` is what stands before it in its first line."""
    kind = type(value)
    if kind is dict and value:
        for key in sorted(value):
            _write_item(value[key], depth, f"{lead}{_quoted(key)}:", lines)
            lead = "  " * depth
    elif kind is list and value:
        for item in value:
            _write_item(item, depth, f"{lead}-", lines)
            lead = "  " * depth
    else:
        lines.append(f"{lead}{_flow(value)}")


def _write_item(item: Any, depth: int, start: str, lines: list[str]) -> None:
    if (type(item) is dict or type(item) is list) and item:
        if start.endswith("-"):  # the first line of an item stands beside its dash
            _write(item, depth + 1, f"{start} ", lines)
            return
        lines.append(start)
        _write(item, depth + 1, "  " * (depth + 1), lines)
    else:
        lines.append(f"{start} {_flow(item)}")


def _flow(value: Any) -> str:
    kind = type(value)
    if value is None:
        return "null"
    if kind is bool:
        return "true" if value else "false"
    if kind is str:
        return _quoted(value)
    if kind is int:
        return str(value)
    if kind is float:
        return _written_float(value)
    if kind is bytes:
        raise Refused("value", "holds bytes that are not valid UTF-8; YAML has only text")
    return "[]" if kind is list else "{}"


def _written_float(value: float) -> str:
    """Return it with a point, without which YAML 1.1 takes an exponent for text."""
    made = repr(value)
    return made.replace("e", ".0e", 1) if "e" in made and "." not in made else made


def _quoted(written: str) -> str:
    if _PLAIN.fullmatch(written) and written.lower() not in _WORDS:
        return written
    return '"' + _UNSAFE.sub(lambda found: _ESCAPES.get(found[0]) or f"\\u{ord(found[0]):04x}", written) + '"'
