"""Parameters of a script: a subset of JSON Schema in which every value is bounded and every check takes little time.

type                     string, integer, number, boolean, or an array of one of them (``items``)
choices (or enum)        the only values that there are
minimum, maximum         of a number, both included
pattern                  that the whole of a text must match; plain ones only
min_length, max_length   of a text, in characters
min_items, max_items     of an array
required, default        whether it must be given, and what it is otherwise
locked                   the author has set it: it is its default, and nobody who runs the script can change it
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from protocol import limits
from protocol.character_classes import class_problem
from protocol.document import Reader
from protocol.errors import ArgumentError

SCALARS: Final = ("string", "integer", "number", "boolean")
TYPES: Final = (*SCALARS, "array")
_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,),
}  # fmt: skip
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_ONLY_FOR: Final = {
    "pattern": ("string",), "min_length": ("string",), "max_length": ("string",),
    "minimum": ("integer", "number"), "maximum": ("integer", "number"),
    "items": ("array",), "min_items": ("array",), "max_items": ("array",), "choices": SCALARS,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Parameter:
    """One declared parameter of a script."""

    name: str
    type: str  # one of TYPES
    required: bool = False
    default: Any = None
    pattern: str | None = None  # the whole of a string must match
    choices: tuple[Any, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    description: str = ""
    min_length: int | None = None  # characters
    max_length: int | None = None  # characters
    items: Parameter | None = None  # of an array: what each item must be
    min_items: int | None = None
    max_items: int | None = None
    is_locked: bool = False  # it is its default, whoever runs the script

    def check(self, value: Any) -> Any:
        """Return ``value`` if it is allowed.

        Raises:
            ArgumentError: It is not; names the parameter.
        """
        if self.is_locked and not _same(value, self.default):
            raise self._refuse("is set by the author of the script and cannot be changed")
        if self.type == "array":
            return self._check_items(value)
        if type(value) not in _KINDS[self.type]:
            raise self._refuse(f"must be {_article(self.type)}, not {value!r:.60}")
        if type(value) in (int, float) and not -(2**63) <= value < 2**63:  # NaN is in no range
            raise self._refuse("is not a number in range")
        if self.choices and not any(_same(value, choice) for choice in self.choices):
            raise self._refuse(f"must be one of {', '.join(map(str, self.choices))}")
        if type(value) is str:
            self._check_text(value)
        elif type(value) is not bool:
            self._check_range(value)
        return value

    def _check_items(self, value: Any) -> list[Any]:
        most = limits.MAX_PARAMETER_ITEMS if self.max_items is None else self.max_items
        if type(value) is not list or self.items is None:
            raise self._refuse(f"must be an array, not {value!r:.60}")
        if not (self.min_items or 0) <= len(value) <= most:
            raise self._refuse(f"must have {self.min_items or 0} to {most} items, not {len(value)}")
        return [replace(self.items, name=f"{self.name}[{at}]").check(item) for at, item in enumerate(value)]

    def _check_text(self, value: str) -> None:
        most = limits.MAX_TEXT_CHARACTERS if self.pattern is None else limits.MAX_PATTERN_TEXT_CHARACTERS
        if len(value) > most or "\0" in value:
            raise self._refuse(f"is longer than {most} characters or holds a NUL")
        least, most = self.min_length or 0, most if self.max_length is None else self.max_length
        if not least <= len(value) <= most:
            raise self._refuse(f"must have {least} to {most} characters, not {len(value)}")
        if self.pattern is not None and not re.fullmatch(self.pattern, value):
            raise self._refuse(f"does not match {self.pattern}")

    def _check_range(self, value: float) -> None:
        if (self.minimum is not None and value < self.minimum) or (self.maximum is not None and value > self.maximum):
            raise self._refuse(f"must be {self._range()}")

    def _range(self) -> str:
        if self.minimum is None or self.maximum is None:
            return f"at least {self.minimum}" if self.maximum is None else f"at most {self.maximum}"
        return f"{self.minimum} to {self.maximum}"

    def _refuse(self, message: str) -> ArgumentError:
        return ArgumentError(f"the parameter {self.name!r} {message}", parameter=self.name)

    def convert(self, text: str) -> Any:
        """Return the value that ``text``, as typed on a command line, stands for; an array is JSON or a,b,c."""
        try:
            return self.check(self._read(text))
        except (ValueError, KeyError, RecursionError):
            raise self._refuse(f"must be {_article(self.type)}, not {text!r:.60}") from None

    def _read(self, text: str) -> Any:
        match self.type:
            case "integer":
                return int(text)
            case "number":
                return float(text)
            case "boolean":
                return {"true": True, "false": False}[text.lower()]
            case "array" if text.lstrip().startswith("["):
                return json.loads(text)
            case "array" if self.items is not None:
                return [self.items._read(part.strip()) for part in text.split(",")] if text else []
            case _:
                return text


def _same(one: Any, other: Any) -> bool:
    """Tell whether two plain values are the same; in Python ``1 == True``, here it is not."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)


def _article(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


# reading -------------------------------------------------------------------------------------------------------------


def parse_parameter(name: str, reader: Reader) -> Parameter:
    """Return the parameter that a manifest declares under ``name``.

    Raises:
        DocumentError: It is wrong at a named place.
    """
    if not _WORD.fullmatch(name):
        raise reader.document_error(f"{name!r:.60} is not a name for a parameter")
    made = _parse(name, reader, TYPES)
    made = replace(
        made, required=reader.boolean("required", False), default=reader.raw("default", None),
        description=reader.text("description", ""),
    )  # fmt: skip
    is_locked = reader.boolean("locked", False)
    reader.finish()
    if is_locked and (made.default is None or made.required):
        raise reader.fail("locked", "what is locked needs a default and cannot be required")
    if made.default is not None:
        try:
            made.check(made.default)
        except ArgumentError as error:
            raise reader.fail("default", error.message) from None
    return replace(made, is_locked=is_locked)


def _parse(name: str, reader: Reader, types: tuple[str, ...]) -> Parameter:
    """Return what both a parameter and the items of one can say."""
    kind = reader.choice("type", types)
    for key, allowed in _ONLY_FOR.items():
        if reader.has(key) and kind not in allowed:
            raise reader.fail(key, f"{key} is not for {_article(kind)}")
    pattern = reader.text("pattern", None)
    if pattern is not None:
        _check_pattern(reader, pattern)
    made = Parameter(
        name=name, type=kind, pattern=pattern, choices=_choices(reader, name, kind),
        minimum=reader.number("minimum", None), maximum=reader.number("maximum", None),
        min_length=reader.integer("min_length", None, high=limits.MAX_TEXT_CHARACTERS),
        max_length=reader.integer("max_length", None, high=limits.MAX_TEXT_CHARACTERS),
        items=_items(name, reader) if kind == "array" else None,
        min_items=reader.integer("min_items", None, high=limits.MAX_PARAMETER_ITEMS),
        max_items=reader.integer("max_items", None, high=limits.MAX_PARAMETER_ITEMS),
    )  # fmt: skip
    for low, high in (("minimum", "maximum"), ("min_length", "max_length"), ("min_items", "max_items")):
        least, most = getattr(made, low), getattr(made, high)
        if least is not None and most is not None and least > most:
            raise reader.fail(low, f"{least} is over the {high}, {most}: nothing would be allowed")
    return made


def _items(name: str, reader: Reader) -> Parameter:
    if not reader.has("items"):
        raise reader.fail("items", "an array says what its items are, such as items: {type: string}")
    if not reader.is_section("items"):
        raise reader.fail("items", "must be a mapping, such as items: {type: string}")
    inner = reader.section("items")
    made = _parse(name, inner, SCALARS)
    inner.finish()
    return made


def _choices(reader: Reader, name: str, kind: str) -> tuple[Any, ...]:
    key = "enum" if reader.has("enum") else "choices"  # enum is JSON Schema's word for it
    if key == "enum" and reader.has("choices"):
        raise reader.fail("enum", "choices and enum are the same; only one can stand there")
    if key == "enum" and kind == "array":
        raise reader.fail("enum", "enum is not for an array")
    found = tuple(reader.sequence(key, []))
    for choice in found:
        if type(choice) not in _KINDS.get(kind, ()):
            raise reader.fail(key, f"{choice!r:.60} is not {_article(kind)}, which the parameter {name!r} is")
    return found


def _check_pattern(reader: Reader, pattern: str) -> None:
    # The pattern runs in the agent over text that an operator chose: nested repetition could take for ever.
    bare = re.sub(r"\\[^1-9]", "x", pattern)  # without escaped characters
    bare = re.sub(r"\[\^?\]?[^\]]*\]", "x", bare)  # a class is one letter
    repeats = len(re.findall(r"[*+?{]", bare))
    if len(pattern) > 256 or repeats > limits.MAX_PATTERN_REPEATS or re.search(r"[)}*+?][*+?{]|\\[1-9]|\(\?", bare):
        most = limits.MAX_PATTERN_REPEATS
        raise reader.fail(
            "pattern",
            f"only plain patterns: at most {most} repeats, none of a group, no references or look-around",
        )
    problem = class_problem(pattern)
    if problem is not None:
        raise reader.fail("pattern", problem)
    try:
        re.compile(pattern)
    except re.error as error:
        raise reader.fail("pattern", f"is not a pattern: {error}") from None
