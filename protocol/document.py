"""YAML that people write, read strictly, with the place of every value.

Refused: duplicate keys, anchors and aliases, tags, keys that are not text, NaN and infinities, more than one document,
and anything over the bounds. An error names file, line and dotted path, such as ``manifest.yaml:7: limits.wall``.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from protocol import limits
from protocol.errors import DocumentError
from protocol.units import parse_duration, parse_size

Path = tuple[str | int, ...]
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SCALARS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null")}
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
        node = _compose(text, filename)
        lines: dict[Path, int] = {}
        value = _plain(node, (), filename, lines) if node is not None else {}
    except yaml.YAMLError as error:
        raise _syntax(error, filename) from None
    except RecursionError:
        raise DocumentError("the document is nested too deeply", where=filename) from None
    except UnicodeEncodeError:
        raise DocumentError("the document holds a lone surrogate, which is no text", where=filename) from None
    return Document(filename, value, lines)


def _compose(text: str, filename: str) -> Any:
    loader = _Loader(text)
    try:
        depth = 0
        while loader.check_event():
            event = loader.get_event()
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
                raise _at("anchors and aliases are not allowed", filename, event.start_mark)
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > limits.MAX_DOCUMENT_DEPTH:
                raise _at(f"nested deeper than {limits.MAX_DOCUMENT_DEPTH} levels", filename, event.start_mark)
    finally:
        loader.dispose()
    return yaml.compose(text, Loader=_Loader)


def _plain(node: Any, path: Path, filename: str, lines: dict[Path, int]) -> Any:
    lines[path] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        if node.tag != "tag:yaml.org,2002:map":
            raise _at(f"the tag {node.tag} is not allowed", filename, node.start_mark, path)
        return _mapping(node, path, filename, lines)
    if isinstance(node, yaml.SequenceNode):
        if node.tag != "tag:yaml.org,2002:seq":
            raise _at(f"the tag {node.tag} is not allowed", filename, node.start_mark, path)
        return [_plain(item, (*path, index), filename, lines) for index, item in enumerate(node.value)]
    if node.tag == "tag:yaml.org,2002:timestamp":
        return node.value  # a date is text here; who wants a time parses it
    if node.tag not in _SCALARS:
        raise _at(f"the tag {node.tag} is not allowed", filename, node.start_mark, path)
    return _scalar(node, path, filename)


def _mapping(node: Any, path: Path, filename: str, lines: dict[Path, int]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = key_node.value
        if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == "tag:yaml.org,2002:merge":
            raise _at("a key must be plain text", filename, key_node.start_mark, path)
        if key in result:
            raise _at(f"the key {key!r} stands twice", filename, key_node.start_mark, path)
        result[key] = _plain(value_node, (*path, key), filename, lines)
        lines[(*path, key)] = key_node.start_mark.line + 1
    return result


def _scalar(node: Any, path: Path, filename: str) -> Any:
    constructor = yaml.SafeLoader("")
    try:
        value = constructor.construct_object(node)
    except (ValueError, OverflowError, LookupError, yaml.YAMLError):  # LookupError: !!int "", !!bool maybe
        raise _at(f"{node.value[:60]!r} cannot be read", filename, node.start_mark, path) from None
    if isinstance(value, float) and not math.isfinite(value):
        raise _at("a number must be finite", filename, node.start_mark, path)
    if isinstance(value, int) and abs(value) > 1 << 63:
        raise _at("a number is out of range", filename, node.start_mark, path)
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
                close = difflib.get_close_matches(key, known, 1)
                hint = f"did you mean {close[0]!r}? " if close else ""
                raise self.fail(key, f"unknown key {key!r} ({hint}known: {', '.join(known)})")
