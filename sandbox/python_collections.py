"""``collections`` for scripts: the library's own types where they are plain data, own ones where they make code.

``namedtuple`` of the library builds source text and runs it, so ours builds the class itself. ``OrderedDict`` is a
plain dict that can reorder: the one written in C has crashed on hostile comparisons. ``defaultdict`` is a plain dict
with a factory: deep nests of the one written in C crash when they are freed. All of them are changed through item
assignment and their methods; attributes of instances cannot be set (``python_guards.guarded_write``).
"""

from __future__ import annotations

import keyword
from collections import Counter, deque
from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any

from sandbox.python_proxies import MAX_ITEMS, integer_of, listed, text_of

MAX_FIELDS = 100  # of a named tuple


class OrderedDict(dict[Any, Any]):
    """A dict whose order can be changed, and counts when two of them are compared."""

    __slots__ = ()
    __hash__ = None  # as that of dict

    def move_to_end(self, key: Any, last: bool = True) -> None:
        """Move ``key`` to the end, or to the start."""
        value = self.pop(key)
        after = [] if last else list(self.items())
        if not last:
            self.clear()
        self[key] = value
        self.update(after)

    def popitem(self, last: bool = True) -> tuple[Any, Any]:
        """Remove and return the last pair, or the first."""
        if last or not self:
            return super().popitem()
        key = next(iter(self))
        return key, self.pop(key)

    def copy(self) -> OrderedDict:
        """Return one with the same pairs."""
        return OrderedDict(self)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, OrderedDict):
            return dict.__eq__(self, other) and list(self) == list(other)
        return dict.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __or__(self, other: Any) -> Any:
        return self._merged(self, other) if isinstance(other, dict) else NotImplemented

    def __ror__(self, other: Any) -> Any:
        return self._merged(other, self) if isinstance(other, dict) else NotImplemented

    @staticmethod
    def _merged(one: Any, other: Any) -> OrderedDict:
        made = OrderedDict(one)
        made.update(other)
        return made


class DefaultDict(dict[Any, Any]):
    """A dict that makes the values of missing keys. Scripts know it as ``defaultdict``."""

    __slots__ = ("default_factory",)
    __hash__ = None

    def __init__(self, default_factory: Callable[[], Any] | None = None, /, *args: Any, **named: Any) -> None:
        if default_factory is not None and not callable(default_factory):
            raise TypeError("first argument must be callable or None")
        self.default_factory = default_factory
        super().__init__(*args, **named)

    def __missing__(self, key: Any) -> Any:
        if self.default_factory is None:
            raise KeyError(key)
        made = self[key] = self.default_factory()
        return made

    def copy(self) -> DefaultDict:
        """Return one with the same factory and pairs."""
        return DefaultDict(self.default_factory, self)

    def __or__(self, other: Any) -> Any:
        return self._merged(self, other) if isinstance(other, dict) else NotImplemented

    def __ror__(self, other: Any) -> Any:
        return self._merged(other, self) if isinstance(other, dict) else NotImplemented

    def _merged(self, one: Any, other: Any) -> DefaultDict:
        made = DefaultDict(self.default_factory, one)
        made.update(other)
        return made


class RecordType(type):
    """The type of every class that ``namedtuple`` made, by which the guards know its instances."""

    _fields: tuple[str, ...]  # in order; no field has a name that starts with an underscore


def namedtuple(typename: str, field_names: Any, *, defaults: Iterable[Any] | None = None) -> RecordType:
    """Return a class of tuples whose items have names.

    Args:
        typename: An identifier without a leading underscore.
        field_names: Identifiers in a list, or in a text that separates them by spaces or commas.
        defaults: Of the last fields.

    Raises:
        ValueError: A name is none, is taken twice, or there are more than ``MAX_FIELDS``.
    """
    _check_name(typename)
    if type(field_names) is str:
        field_names = field_names.replace(",", " ").split()
    fields = tuple(listed(field_names, "the fields"))
    for name in fields:
        _check_name(name)
    if len(set(fields)) != len(fields) or len(fields) > MAX_FIELDS:
        raise ValueError(f"a named tuple has at most {MAX_FIELDS} fields, each with a name of its own")
    last = tuple(listed([] if defaults is None else defaults, "the defaults"))
    if len(last) > len(fields):
        raise TypeError("there are more defaults than fields")
    return _record_type(typename, fields, dict(zip(fields[len(fields) - len(last) :], last, strict=True)))


def _check_name(name: Any) -> None:
    text_of(name, "a name")
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_") or len(name) > 100:
        raise ValueError("names of types and fields must be identifiers that do not start with an underscore")


def _record_type(typename: str, fields: tuple[str, ...], defaults: dict[str, Any]) -> RecordType:
    def make(cls: type, /, *args: Any, **named: Any) -> Any:
        if len(args) > len(fields):
            raise TypeError(f"{typename} takes {len(fields)} values, not {len(args)}")
        given = dict(zip(fields, args, strict=False))
        for name, value in named.items():
            if name in given or name not in fields:
                raise TypeError(f"{typename} cannot take {name!r}" + (" twice" if name in given else ""))
            given[name] = value
        missing = [name for name in fields if name not in given and name not in defaults]
        if missing:
            raise TypeError(f"{typename} needs {', '.join(missing)}")
        return tuple.__new__(cls, [given[name] if name in given else defaults[name] for name in fields])

    body: dict[str, Any] = {"__slots__": (), "__new__": make, "_fields": fields}
    body |= {name: property(itemgetter(place)) for place, name in enumerate(fields)}
    return RecordType(typename, (tuple,), body)


# Methods of Counter that are lazy, or import what they need when they are called


def elements(counter: Counter[Any]) -> list[Any]:
    """Return each item as often as it was counted."""
    integer_of(sum(count for count in counter.values() if count > 0), "the number of elements", 0, MAX_ITEMS)
    return list(counter.elements())


def most_common(counter: Counter[Any], n: int | None = None) -> list[tuple[Any, int]]:
    """Return items and counts, the most common first."""
    pairs = sorted(counter.items(), key=itemgetter(1), reverse=True)
    return pairs if n is None else pairs[: max(n, 0)]


def simpler(value: Any) -> Any:
    """Return the plain list or dict that ``value`` is in all but its type, or ``value`` itself; for what crosses."""
    kind = type(value)
    if kind in (Counter, OrderedDict, DefaultDict):
        return dict(value)
    return list(value) if kind is deque or type(kind) is RecordType else value


COLLECTIONS: dict[str, Any] = {
    "Counter": Counter,
    "OrderedDict": OrderedDict,
    "defaultdict": DefaultDict,
    "deque": deque,
    "namedtuple": namedtuple,
}
