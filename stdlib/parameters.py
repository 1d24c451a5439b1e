"""Parameters of calls: their kinds, from the annotations of the implementation, and the strict check of arguments.

An argument has exactly the type that is declared: a bool is no number, a number with a fraction is no whole number, NaN
is nothing. Texts hold no NUL. What is wrong is said with the parameter's name, before anything happens.
"""

from __future__ import annotations

import math
import re
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from policies.targets import read_host
from protocol.errors import ArgumentError
from protocol.limits import MAX_PATH_BYTES
from stdlib.handles import Handle, Private
from stdlib.network.urls import Url as Place

MAX_TEXT_CHARACTERS = 64 << 10  # of one argument, unless the declaration says less
MAX_LIST_ITEMS = 1000
LIST_OF_PATHS = "list of paths"  # the kind of such a parameter
MAX_DATA_BYTES = 768 << 10  # of one argument; what fits into one frame with all around it
REQUIRED: Any = object()
HANDLE_KEY = "$handle"  # sandbox.runtimes.HANDLE_KEY: how a handle crosses as an argument


class HostPath:
    """Annotation: an absolute path on the host; the implementation gets a ``stdlib.paths.Target``, already open."""


class HostPlace:
    """Annotation: an absolute path on the host; the implementation gets a ``stdlib.places.Place``, already held."""


if TYPE_CHECKING:  # what the implementation gets
    Data = bytes
    FileMode = int
else:

    class Data:
        """Annotation: text or bytes from the script; the implementation gets bytes."""

    class FileMode:
        """Annotation: permission bits as octal text, such as ``0644``; the implementation gets the number."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Annotation of a number: its range, both ends included, and its unit. Of a list: how many items it has."""

    low: float
    high: float
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Length:
    """Annotation of a text: at most this many characters."""

    most: int


@dataclass(frozen=True, slots=True)
class Form:
    """Annotation of a text, of each in a list, or of each name in a map: the form without which the call refuses it.

    It is checked with the kind, so also in a dry run, and by who reads a script and runs nothing.
    """

    pattern: str  # of ``re``, for the whole text; what has it not is refused, also in static analysis
    told: str  # what is said of a text without it, such as ``cannot be the name of a user``
    holds: Callable[[str], bool] | None = None  # what no pattern can say, of a text that matches; not static
    is_shown: bool = True  # whether the text itself may stand in the refusal; not where it may hold a password
    finds: Callable[[str], str | None] | None = None  # in place of ``holds``: says what is wrong, better than ``told``

    def problem(self, value: str) -> str | None:
        """Return what is wrong with a text, or None."""
        if self.finds is not None:
            return self.finds(value)
        has_form = re.fullmatch(self.pattern, value) is not None and (self.holds is None or self.holds(value))
        if has_form:
            return None
        return f"{value!r:.80} {self.told}" if self.is_shown else self.told

    def require(self, value: str, parameter: str) -> str:
        """Return ``value`` if it has the form, else raise the ArgumentError that names ``parameter``."""
        problem = self.problem(value)
        if problem:
            raise ArgumentError(f"{parameter}: {problem}", parameter=parameter)
        return value


ABSOLUTE = Form(r"(?s:/.*)", "must be an absolute path")
SAID = Form(r"(?s:.*\S.*)", "is empty", is_shown=False)


@dataclass(frozen=True, slots=True)
class Hostname:
    """Annotation of a text: the name or address of a host; what it leads to is decided before anything is sent."""


@dataclass(frozen=True, slots=True)
class Url:
    """Annotation of a text: an ``http`` or ``https`` URL; where it leads is decided before anything is sent."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One declared parameter."""

    name: str
    kind: str  # as the reference shows it, such as ``path`` or ``integer 0..15``
    check: Callable[[Any], str | None]  # returns what is wrong, or None
    default: Any = REQUIRED
    is_path: bool = False  # or a list of paths
    is_place: bool = False  # a path whose directory is held
    read: Callable[[Any], Any] | None = None  # makes what the implementation gets
    is_map: bool = False  # a map in last place is its value, and no table of options
    handle: str | None = None  # the kind of the handle that it takes
    bounds: Bounds | None = None  # of a number, or of how many items a list has
    choices: tuple[str, ...] = ()  # of a text that is one of a few
    form: Form | None = None  # of a text, of each in a list, or of each name in a map
    is_private: bool = False  # the implementation gets a ``Private``, or a map of them

    @property
    def is_target(self) -> bool:
        """Whether it leads into the network."""
        return self.kind in ("host", "url")

    @property
    def is_required(self) -> bool:
        """Whether a call without it is refused."""
        return self.default is REQUIRED

    def accept(self, value: Any) -> Any:
        """Return ``value``, or raise the ArgumentError that names this parameter."""
        if value is None and not self.is_required and self.default is None:
            return None
        problem = self.check(value)
        if problem:
            raise ArgumentError(f"{self.name}: {problem}", parameter=self.name)
        return value if self.read is None else self.read(value)


def parameter(name: str, annotation: Any, default: Any) -> Parameter:
    """Return the parameter that an annotation declares.

    Raises:
        TypeError: The annotation is of no kind that a call can have; a mistake in our own declaration.
    """
    annotation = _without_none(annotation)
    if annotation is HostPath:
        return Parameter(name, "path", _path, default, is_path=True)
    if annotation is HostPlace:
        return Parameter(name, "path", _path, default, is_path=True, is_place=True)
    if annotation is FileMode:
        return Parameter(name, "octal mode", _mode, default, read=lambda value: int(value, 8))
    if annotation == list[HostPath]:
        return Parameter(name, LIST_OF_PATHS, _paths, default, is_path=True)
    if isinstance(annotation, type) and issubclass(annotation, Handle):
        return Parameter(name, f"handle {annotation.kind}", _handle, default, is_map=True, handle=annotation.kind)
    extra: tuple[Any, ...] = ()
    if get_origin(annotation) is Annotated:
        annotation, *rest = get_args(annotation)
        extra = tuple(rest)
    if get_origin(annotation) is Literal:
        choices = get_args(annotation)
        return Parameter(name, " | ".join(map(repr, choices)), _one_of(choices), default)
    kind, check = _plain(annotation, extra)
    is_private = annotation in (Private, dict[str, Private])
    is_map = annotation in (dict[str, Private], dict[str, str], dict[str, Any], Any)  # a secret alone is seen as one
    read = _as_bytes if annotation is Data else None
    return Parameter(name, kind, check, default, is_map=is_map, read=read, is_private=is_private)


def limits_of(annotation: Any) -> tuple[Bounds | None, tuple[str, ...], Form | None]:
    """Return bounds, choices and form that an annotation declares, for whoever checks arguments by a table."""
    annotation = _without_none(annotation)
    if get_origin(annotation) is Literal:
        return None, tuple(map(str, get_args(annotation))), None
    extra = get_args(annotation) if get_origin(annotation) is Annotated else ()
    return next((item for item in extra if isinstance(item, Bounds)), None), (), _form_in(extra)


def _form_in(extra: tuple[Any, ...]) -> Form | None:
    return next((item for item in extra if isinstance(item, Form)), None)


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, types.UnionType):
        kept = [item for item in get_args(annotation) if item is not types.NoneType]
        if len(kept) == 1:
            return kept[0]
    return annotation


def _plain(annotation: Any, extra: tuple[Any, ...]) -> tuple[str, Callable[[Any], str | None]]:
    bounds = next((item for item in extra if isinstance(item, Bounds)), None)
    length = next((item for item in extra if isinstance(item, Length)), Length(MAX_TEXT_CHARACTERS))
    if annotation is str and Hostname() in extra:
        return "host", _host
    if annotation is str and Url() in extra:
        return "url", _url
    if annotation is str:
        return "text", _text(length.most, _form_in(extra))
    if annotation is bool:
        return "boolean", lambda value: None if type(value) is bool else _not("true or false", value)
    if annotation is int and bounds is not None:
        return f"integer {bounds.low:.0f}..{bounds.high:.0f} {bounds.unit}".strip(), _integer(bounds)
    if annotation is float and bounds is not None:
        return f"number {bounds.low:g}..{bounds.high:g} {bounds.unit}".strip(), _number(bounds)
    if annotation is Data:
        most = next((item.most for item in extra if isinstance(item, Length)), MAX_DATA_BYTES)
        return f"data up to {most} bytes", _data(most)
    if annotation is Private:
        most = next((item.most for item in extra if isinstance(item, Length)), MAX_DATA_BYTES)
        return f"data up to {most} bytes, or a secret", _private(most)
    if annotation == dict[str, Private]:
        return "map of texts or secrets", _private_map(length.most, _form_in(extra))
    if annotation == dict[str, str]:
        return "map of texts", _map_of_texts(length.most)
    if annotation == dict[str, Any]:
        return "map", lambda value: _plain_value(value) if type(value) is dict or value == [] else _not("a map", value)
    if annotation is Any:
        return "plain value", _plain_value
    if annotation == list[str]:
        return "list of texts", _texts(length.most, _form_in(extra), bounds or Bounds(0, MAX_LIST_ITEMS))
    if annotation is object:
        return "value", _value
    raise TypeError(f"no kind of parameter: {annotation!r}")


#: Kinds of values as both languages would say them.
_WORDS = {
    bool: "a boolean", int: "a number", str: "text", bytes: "bytes", list: "a list", dict: "a map",
    type(None): "nothing",
}  # fmt: skip


def _not(wanted: str, value: Any) -> str:
    told = repr(value) if type(value) is float else _WORDS.get(type(value), type(value).__name__)
    return f"must be {wanted}, not {told}"


def _path(value: Any) -> str | None:
    if type(value) is not str:
        return _not("an absolute path", value)
    if not value.startswith("/"):
        return "must be an absolute path"
    return text_problem(value, MAX_PATH_BYTES - 1)


def _paths(value: Any) -> str | None:
    if type(value) is not list or not 0 < len(value) <= MAX_LIST_ITEMS:
        return f"must be a list of 1 to {MAX_LIST_ITEMS} absolute paths"
    for item in value:
        problem = _path(item)
        if problem:
            return f"an item {problem}"
    return None


def _handle(value: Any) -> str | None:
    if type(value) is dict and len(value) == 1 and type(value.get(HANDLE_KEY)) is int:
        return None
    return _not("a handle that a call gave", value)


def _as_bytes(value: str | bytes) -> bytes:
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value


def _mode(value: Any) -> str | None:
    if type(value) is not str or not re.fullmatch(r"0?[0-7]{3}|[01][0-7]{3}", value):
        return "must be octal text such as '0644', of the bits 1777 (setuid and setgid are given to nobody)"
    return None


def _data(most: int) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        if type(value) is not str and type(value) is not bytes:
            return _not("text or bytes", value)
        if type(value) is str and not _is_octets(value):
            return "is not UTF-8 and not bytes that stand for themselves"
        size = len(value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value)
        return f"is longer than {most} bytes" if size > most else None

    return check


def _private(most: int) -> Callable[[Any], str | None]:
    of_data = _data(most)
    return lambda value: None if type(value) is dict and _handle(value) is None else of_data(value)


def _private_map(most: int, form: Form | None) -> Callable[[Any], str | None]:
    of_item = _private(most)

    def check(value: Any) -> str | None:
        if value == []:  # Lua cannot tell an empty map from an empty list
            return None
        if type(value) is not dict or len(value) > MAX_LIST_ITEMS:
            return f"must be a map of at most {MAX_LIST_ITEMS} texts or secrets"
        for name, item in value.items():
            if form is not None and not text_problem(name, most) and form.problem(name):
                return f"item {name!r:.60} {form.told}"
            problem = text_problem(name, most) or (text_problem(item, most) if type(item) is str else of_item(item))
            if problem:
                return f"item {name!r:.60} {problem}"
        return None

    return check


def _map_of_texts(most: int) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        if value == []:  # Lua cannot tell an empty map from an empty list
            return None
        if type(value) is not dict or len(value) > MAX_LIST_ITEMS:
            return f"must be a map of at most {MAX_LIST_ITEMS} texts"
        for name, item in value.items():
            problem = text_problem(name, most) or (
                text_problem(item, most) if type(item) is str else _not("text", item)
            )
            if problem:
                return f"item {name!r:.60} {problem}"
        return None

    return check


def text_problem(value: str, most: int) -> str | None:
    """Return what is wrong with a text that goes to the host, or None."""
    if "\0" in value:
        return "must not hold a NUL"
    try:
        size = len(value) if value.isascii() else len(value.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        return "is not UTF-8 and not bytes that stand for themselves"
    return f"is longer than {most} bytes" if size > most else None


def _host(value: Any) -> str | None:
    if type(value) is not str:
        return _not("the name or address of a host", value)
    try:
        read_host(value)
    except ArgumentError as error:
        return error.message
    return None


def _url(value: Any) -> str | None:
    if type(value) is not str:
        return _not("an http or https URL", value)
    try:
        Place.parse(value)
    except ArgumentError as error:
        return error.message
    return None


def _text(most: int, form: Form | None) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        if type(value) is not str:
            return _not("text", value)
        return text_problem(value, most) or (form.problem(value) if form is not None else None)

    return check


def _integer(bounds: Bounds) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        if type(value) is float and value.is_integer() and abs(value) < 1 << 53:
            value = int(value)  # Lua has one type of number where a script divides
        if type(value) is not int:
            return _not("a whole number", value)
        return None if bounds.low <= value <= bounds.high else f"must be {bounds.low:.0f} to {bounds.high:.0f}"

    return check


def _number(bounds: Bounds) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        if type(value) not in (int, float):
            return _not("a number", value)
        if not math.isfinite(value):
            return "must be finite"
        return None if bounds.low <= value <= bounds.high else f"must be {bounds.low:g} to {bounds.high:g}"

    return check


def _one_of(choices: tuple[Any, ...]) -> Callable[[Any], str | None]:
    told = ", ".join(map(str, choices))
    return lambda value: None if type(value) is str and value in choices else f"must be one of {told}"


def _texts(most: int, form: Form | None, count: Bounds) -> Callable[[Any], str | None]:
    of_item = _text(most, form)
    least = f"{count.low:.0f} to" if count.low else "at most"

    def check(value: Any) -> str | None:
        if value == {}:  # Lua cannot tell an empty list from an empty map
            value = []
        if type(value) is not list or not count.low <= len(value) <= count.high:
            return f"must be a list of {least} {count.high:.0f} texts"
        for item in value:
            problem = of_item(item)
            if problem:
                return f"an item {problem}"
        return None

    return check


def _plain_value(value: Any) -> str | None:
    """Return what keeps a value from being a plain one; the frame that it came in has bounded its size and depth."""
    kind = type(value)
    if value is None or kind in (bool, bytes):
        return None
    if kind is str:
        return None if _is_utf8(value) else "holds a text that is not UTF-8"
    if kind is float:
        return None if math.isfinite(value) else "holds a number that is not finite"
    if kind is int:
        return None if -(1 << 63) <= value < 1 << 64 else "holds a number of over 64 bits"
    if kind is list:
        return next((problem for problem in map(_plain_value, value) if problem), None)
    if kind is dict:
        keys = next((_not("texts as keys", key) for key in value if type(key) is not str), None)
        return keys or next((problem for problem in map(_plain_value, value.values()) if problem), None)
    return _not("a plain value", value)


def _is_octets(text: str) -> bool:
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _value(value: Any) -> str | None:
    if type(value) is float and not math.isfinite(value):
        return "must be finite"
    if type(value) is str:
        return text_problem(value, MAX_TEXT_CHARACTERS)
    return None if type(value) in (bool, int, float) else _not("text, a number or a boolean", value)
