"""YAML that people write, read strictly, with the place of every value.

Refused: duplicate keys, anchors and aliases, tags, keys that are not text, NaN and infinities, more than one document,
and anything over the bounds. An error names file, line and dotted path, such as ``manifest.yaml:7: limits.wall``.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from protocol import limits
from protocol.errors import DocumentError
from protocol.units import parse_duration, parse_size

Path = tuple[str | int, ...]
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SCALARS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null")}
_TEXT, _TIME, _MERGE, _MAPPING, _SEQUENCE = (
    f"tag:yaml.org,2002:{name}" for name in ("str", "timestamp", "merge", "map", "seq")
)
_REQUIRED: Any = object()


@dataclass(frozen=True, slots=True)
class Document:
    """A document's plain value and where each part of it stands."""

    filename: str
    value: Any
    lines: dict[Path, int] = field(repr=False)  # path -> line, from 1

    def where(self, path: Path) -> str:
        """Return the place of ``path``, such as ``manifest.yaml:7: limits.wall``."""
        known = path
        while known and known not in self.lines:
            known = known[:-1]
        place = f"{self.filename}:{self.lines.get(known, 1)}"
        return f"{place}: {dotted(path)}" if path else place


def dotted(path: Path) -> str:
    """Return ``path`` as people write it: ``tests[0].calls``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else (f".{step}" if text else step)
    return text


def load(text: str, filename: str, *, max_bytes: int = limits.MAX_DOCUMENT_BYTES) -> Document:
    """Return the one document in ``text``; JSON is read as well, being YAML.

    Raises:
        DocumentError: Not one strict document; names the place.
    """
    if len(text.encode("utf-8", "surrogatepass")) > max_bytes:
        raise DocumentError(f"the file is over {max_bytes} bytes", where=filename)
    try:
        lines: dict[Path, int] = {}
        value = _Composer(text, filename, lines).document()
    except yaml.YAMLError as error:
        raise _syntax(error, filename) from None
    except RecursionError:
        raise DocumentError("the document is nested too deeply", where=filename) from None
    except UnicodeEncodeError:
        raise DocumentError("the document holds a lone surrogate, which is no text", where=filename) from None
    return Document(filename, value, lines)


class _Composer:
    """Makes values of the parser's events, in one pass: what is refused is refused before anything is built on it."""

    def __init__(self, text: str, filename: str, lines: dict[Path, int]) -> None:
        self._loader = _Loader(text)
        self._filename = filename
        self._lines = lines
        self._depth = 0

    def document(self) -> Any:
        """Return the value of the one document; an empty mapping if there is none."""
        try:
            self._next()  # the beginning of the stream
            event, value = self._next(), {}
            if isinstance(event, yaml.DocumentStartEvent):
                value = self._value(self._next(), ())
                self._next()  # the end of the document
                event = self._next()
            if not isinstance(event, yaml.StreamEndEvent):
                raise _at("but found another document", self._filename, event.start_mark)
            return value
        finally:
            self._loader.dispose()

    def _next(self) -> Any:
        event = self._loader.get_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise _at("anchors and aliases are not allowed", self._filename, event.start_mark)
        return event

    def _value(self, event: Any, path: Path) -> Any:
        self._lines[path] = event.start_mark.line + 1
        if isinstance(event, yaml.ScalarEvent):
            return _scalar(event, self._tag(yaml.ScalarNode, event), path, self._filename)
        self._depth += 1
        if self._depth > limits.MAX_DOCUMENT_DEPTH:
            raise _at(f"nested deeper than {limits.MAX_DOCUMENT_DEPTH} levels", self._filename, event.start_mark)
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        tag = self._tag(yaml.MappingNode if is_mapping else yaml.SequenceNode, event)
        if tag != (_MAPPING if is_mapping else _SEQUENCE):
            raise _at(f"the tag {tag} is not allowed", self._filename, event.start_mark, path)
        found = self._mapping(path) if is_mapping else self._sequence(path)
        self._depth -= 1
        return found

    def _mapping(self, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            mark: Any = event.start_mark
            if not isinstance(event, yaml.ScalarEvent) or self._tag(yaml.ScalarNode, event) == _MERGE:
                raise _at("a key must be plain text", self._filename, mark, path)
            key = event.value
            if key in result:
                raise _at(f"the key {key!r} stands twice", self._filename, mark, path)
            inner = (*path, key)
            result[key] = self._value(self._next(), inner)
            self._lines[inner] = mark.line + 1
        return result

    def _sequence(self, path: Path) -> list[Any]:
        result: list[Any] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            result.append(self._value(event, (*path, len(result))))
        return result

    def _tag(self, kind: type, event: Any) -> str:
        """Return what a value is, as YAML's own composer finds it."""
        if event.tag is not None and event.tag != "!":
            return str(event.tag)
        return str(self._loader.resolve(kind, getattr(event, "value", None), event.implicit))


def _scalar(event: Any, tag: str, path: Path, filename: str) -> Any:
    if tag in (_TEXT, _TIME):  # most are text; a date is text here too, and who wants a time parses it
        return event.value
    if tag not in _SCALARS:
        raise _at(f"the tag {tag} is not allowed", filename, event.start_mark, path)
    try:
        value = yaml.SafeLoader("").construct_object(yaml.ScalarNode(tag, event.value))
    except (ValueError, OverflowError, LookupError, yaml.YAMLError):  # LookupError: !!int "", !!bool maybe
        raise _at(f"{event.value[:60]!r} cannot be read", filename, event.start_mark, path) from None
    if isinstance(value, float) and not math.isfinite(value):
        raise _at("a number must be finite", filename, event.start_mark, path)
    if isinstance(value, int) and abs(value) > 1 << 63:
        raise _at("a number is out of range", filename, event.start_mark, path)
    return value


def _at(message: str, filename: str, mark: Any, path: Path = ()) -> DocumentError:
    place = f"{filename}:{mark.line + 1}"
    return DocumentError(message, where=f"{place}: {dotted(path)}" if path else place)


def _syntax(error: yaml.YAMLError, filename: str) -> DocumentError:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not YAML"
    return _at(str(problem), filename, mark) if mark else DocumentError(str(problem), where=filename)


class Reader:
    """Reads one mapping of a document field by field; :meth:`finish` refuses the keys that nobody asked for."""

    def __init__(self, document: Document, path: Path = (), value: Any = _REQUIRED) -> None:
        self.document = document
        self.path = path
        self._value = document.value if value is _REQUIRED else value
        self._asked: list[str] = []
        if not isinstance(self._value, dict):
            raise DocumentError("must be a mapping of keys to values", where=document.where(path))

    def where(self, key: str) -> str:
        """Return the place of ``key``."""
        return self.document.where((*self.path, key))

    def fail(self, key: str, message: str) -> DocumentError:
        """Return the error that says ``message`` at ``key``."""
        return DocumentError(message, where=self.where(key), parameter=dotted((*self.path, key)))

    def document_error(self, message: str) -> DocumentError:
        """Return the error that says ``message`` about this mapping as a whole."""
        return DocumentError(message, where=self.document.where(self.path))

    def require_said(self, keys: Collection[str] | None = None, *, empty: Collection[str] = ()) -> None:
        """Return if each of ``keys`` that is there says something; all keys if none are given.

        For keys that bind: what is left out binds nothing, and one without a value, or with an empty list, would do so
        too, which nobody reads it to mean.

        Args:
            keys: Of this mapping.
            empty: Those that may be empty lists, as they mean something then.

        Raises:
            DocumentError: One says nothing.
        """
        for key, value in self._value.items():
            is_silent = value is None or (value == [] and key not in empty)
            if is_silent and (keys is None or key in keys):
                raise self.fail(key, "says nothing: name something, or leave the key out, which binds nothing")

    def plain(self) -> dict[str, Any]:
        """Return the whole mapping as plain data; every key counts as asked for."""
        self._asked += self._value
        return dict(self._value)

    def has(self, key: str) -> bool:
        """Tell whether ``key`` is there and not empty."""
        self._asked.append(key)
        return self._value.get(key) is not None

    def raw(self, key: str, default: Any = _REQUIRED) -> Any:
        """Return the plain value of ``key``."""
        if self.has(key):
            return self._value[key]
        if default is _REQUIRED:
            raise self.fail(key, f"{key!r} is missing")
        return default

    def _typed(self, key: str, default: Any, kinds: tuple[type, ...], word: str) -> Any:
        if not self.has(key) and default is not _REQUIRED:
            return default
        value = self.raw(key)
        if type(value) not in kinds:
            raise self.fail(key, f"must be {word}, not {value!r:.60}")
        return value

    def text(self, key: str, default: Any = _REQUIRED) -> Any:
        """Return the text at ``key``; a number without quotes is refused, because YAML changes some of them."""
        return self._typed(key, default, (str,), "text")

    def integer(self, key: str, default: Any = _REQUIRED, *, low: int = 0, high: int = 1 << 53) -> Any:
        """Return the whole number at ``key``, within ``low`` to ``high``."""
        value = self._typed(key, default, (int,), "a whole number")
        if type(value) is int and not low <= value <= high:
            raise self.fail(key, f"must be {low} to {high}, not {value}")
        return value

    def number(self, key: str, default: Any = _REQUIRED) -> Any:
        """Return the number at ``key``."""
        return self._typed(key, default, (int, float), "a number")

    def boolean(self, key: str, default: Any = _REQUIRED) -> Any:
        """Return true or false."""
        return self._typed(key, default, (bool,), "true or false")

    def choice(self, key: str, choices: Sequence[str], default: Any = _REQUIRED) -> Any:
        """Return one of ``choices``."""
        value = self.text(key, default)
        if value is not default and value not in choices:
            raise self.fail(key, f"{value!r} is not one of {', '.join(choices)}")
        return value

    def sequence(self, key: str, default: Any = _REQUIRED) -> Any:
        """Return a list of scalars."""
        value = self._typed(key, default, (list,), "a list")
        if value is not default and any(isinstance(item, dict | list) for item in value):
            raise self.fail(key, "must be a list of plain values")
        return value

    def strings(self, key: str, default: Any = _REQUIRED) -> Any:
        """Return a list of texts."""
        value = self._typed(key, default, (list,), "a list of texts")
        if value is not default and not all(type(item) is str for item in value):
            raise self.fail(key, "must be a list of texts")
        return value

    def duration(self, key: str, default: Any = _REQUIRED) -> Any:
        """Return a duration in seconds."""
        if not self.has(key) and default is not _REQUIRED:
            return default
        return parse_duration(self.raw(key), where=self.where(key))

    def size(self, key: str, default: Any = _REQUIRED) -> Any:
        """Return a size in bytes."""
        if not self.has(key) and default is not _REQUIRED:
            return default
        return parse_size(self.raw(key), where=self.where(key))

    def section(self, key: str) -> Reader:
        """Return a reader of the mapping at ``key``; an empty one if it is absent."""
        value = self._value[key] if self.has(key) else {}
        return Reader(self.document, (*self.path, key), value)

    def is_section(self, key: str) -> bool:
        """Tell whether there is a mapping at ``key``."""
        return isinstance(self._value.get(key), dict)

    def mapping(self, key: str) -> dict[str, Reader]:
        """Return a reader for each entry of the mapping of mappings at ``key``."""
        names = list(self.section(key)._value)
        inner = self._value.get(key) or {}
        return {name: Reader(self.document, (*self.path, key, name), inner[name] or {}) for name in names}

    def items(self, key: str) -> list[Reader]:
        """Return a reader for each mapping of the list at ``key``; none if it is absent."""
        value = self._typed(key, [], (list,), "a list")
        return [Reader(self.document, (*self.path, key, index), item) for index, item in enumerate(value)]

    def finish(self) -> None:
        """Refuse every key that was not asked for.

        Raises:
            DocumentError: Names the first unknown key, what was probably meant, and the known ones.
        """
        known = sorted(set(self._asked))
        for key in self._value:
            if key not in known:
                import difflib  # only for a document that is wrong

                close = difflib.get_close_matches(key, known, 1)
                hint = f"did you mean {close[0]!r}? " if close else ""
                raise self.fail(key, f"unknown key {key!r} ({hint}known: {', '.join(known)})")
