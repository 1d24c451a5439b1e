"""The hooks that restricted code calls for everything it does to a value.

The rules are those of an allow-list: an attribute is there because ``python_surface`` names it for the exact type, an
object can be changed because it is an exact list or dict or an instance of a class of the script. RestrictedPython's
own ``safer_getattr_raise`` still has the last word, so two mistakes are needed.
"""

from __future__ import annotations

import builtins
import datetime
import ipaddress
import operator
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from RestrictedPython.Guards import safer_getattr_raise

from sandbox import python_methods, python_text
from sandbox.python_collections import DefaultDict, OrderedDict, RecordType
from sandbox.python_proxies import Module
from sandbox.python_surface import ATTRIBUTES, CLASS_ATTRIBUTES, EXCEPTION, EXCEPTIONS, HOST_ERROR
from sandbox.runtimes import PLACES, CallError
from sandbox.values import ValueRefused

_MISSING = object()
_MISSING_FOR_HASATTR = object()
_SEAL = object()
_UNDECLARED = re.compile(r"^[a-z][A-Za-z0-9_]{0,63}$")  # what may reach the gate as the name of a call


class HostError(Exception):
    """A call was refused or failed. Scripts catch it by this name; ``code`` is stable, ``message`` is for people.

    Only the runtime makes one: a forged ``denied`` would end a run as denied although nothing was.
    """

    def __init__(
        self, seal: object, code: str = "", message: str = "", places: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        if seal is not _SEAL:
            raise TypeError("scripts cannot make a HostError; raise an exception of your own")
        self.code = code
        self.message = message
        self.parameter, self.path, self.target = map(places.get, PLACES)  # None where it is about none
        super().__init__(f"{code}: {message}")


def host_error(code: str, message: str, places: Mapping[str, str] = MappingProxyType({})) -> HostError:
    """Return a fresh error with text only."""
    return HostError(_SEAL, code, message, places)


def as_call(perform: Callable[[tuple[Any, ...], dict[str, Any]], Any]) -> Callable[..., Any]:
    """Return ``perform`` as a function of scripts: what it refuses is a fresh ``HostError``."""

    def call(*args: Any, **named: Any) -> Any:
        places: dict[str, str] = {}
        try:
            return perform(args, named)
        except CallError as error:
            problem = (error.code, error.message)
            places = {name: str(error.fields[name]) for name in PLACES if name in error.fields}
        except ValueRefused as error:
            problem = ("invalid_argument", str(error))
            places = {} if error.parameter is None else {"parameter": error.parameter}
        raise host_error(*problem, places)  # outside the handlers: without context, text only

    return call


class Api:
    """Base of the objects that scripts know as ``fs``, ``sys`` and so on: no state, no dict, nothing to change."""

    __slots__ = ()

    @staticmethod
    def _undeclared_(name: str) -> Callable[..., Any]:
        """Return a call that the gate will refuse: asking for what is not declared stands on the record too."""
        raise AttributeError(name)


class ScriptClass(type):
    """The type of every class that a script defines, by which the guards know its instances."""


class _TextType(type):
    """Makes ``str`` of scripts hide addresses when called, and be ``str`` in every other respect."""

    def __call__(cls, *args: Any, **named: Any) -> str:
        if len(args) == 1 and not named:
            return python_text.text(args[0])
        return str(*args, **named)

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, str)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, str)


class Text(str, metaclass=_TextType):
    """``str`` as scripts see it."""

    __slots__ = ()


_BASES: frozenset[type] = frozenset({list, dict, str, *(getattr(builtins, name) for name in EXCEPTIONS)})


def make_class(name: str, bases: tuple[Any, ...], namespace: dict[str, Any]) -> type:
    """Return a new class of the script; the ``__metaclass__`` hook.

    Raises:
        TypeError: A base is not a class of the script, list, dict, str or a listed exception.
    """
    own = tuple(str if base is Text else base for base in bases)
    for base in own:
        if type(base) is not ScriptClass and not (isinstance(base, type) and base in _BASES):
            raise TypeError(f"{python_text.shown(base)} cannot be a base class")
    return ScriptClass(name, own, namespace)


# Attributes


def guarded_getattr(target: Any, name: Any, default: Any = _MISSING) -> Any:
    """Return attribute ``name`` of ``target`` if scripts may see it: the ``_getattr_`` hook and ``getattr``.

    Raises:
        AttributeError: There is none that a script may see, and no default was given.
    """
    if type(name) is not str:
        raise TypeError("attribute name must be a string")
    if is_visible(target, name):
        own = python_methods.own(target, name)
        if own is not None:
            return own
        given = () if default is _MISSING else (default,)
        value = safer_getattr_raise(target, name, *given)  # type: ignore[no-untyped-call] # published without types
        return _without_addresses(value) if name == "args" and isinstance(target, BaseException) else value
    if default is not _MISSING:
        return default
    if issubclass(type(target), Api) and _UNDECLARED.match(name):
        return type(target)._undeclared_(name)
    what = target if isinstance(target, (type, Module)) else type(target)
    raise AttributeError(f"{python_text.shown(what)} has no attribute {name!r} here")


def guarded_hasattr(target: Any, name: Any) -> bool:
    """Return whether scripts see attribute ``name``; the builtin would also answer for private names."""
    return guarded_getattr(target, name, _MISSING_FOR_HASATTR) is not _MISSING_FOR_HASATTR


def is_visible(target: Any, name: str) -> bool:
    """Return whether the surface lists ``name`` for ``target``. The attribute need not exist."""
    if name.startswith("_"):
        return False
    kind = type(target)
    listed = ATTRIBUTES.get(kind)
    if listed is not None:
        return name in listed
    if issubclass(kind, (Api, Module)):
        return name in vars(kind) or name in getattr(target, "_fields", ()) or (name == "close" and hasattr(kind, name))
    if kind is RecordType:
        return False
    if type(kind) is RecordType:
        return name in kind._fields or name in ATTRIBUTES[tuple]
    if issubclass(kind, type):
        return _visible_on_class(str if target is Text else target, name)
    if kind is HostError:
        return name in HOST_ERROR or name in EXCEPTION
    if type(kind) is ScriptClass and (name in target.__dict__ or _visible_on_class(kind, name)):
        return True
    return issubclass(kind, BaseException) and name in EXCEPTION


def _visible_on_class(kind: type, name: str) -> bool:
    if kind in CLASS_ATTRIBUTES:
        return name in CLASS_ATTRIBUTES[kind]
    for base in kind.__mro__:
        if type(base) is ScriptClass:
            if name in vars(base):
                return True
        elif name in ATTRIBUTES.get(base, ()):
            return True
    return False


def _without_addresses(args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(python_text.without_addresses(item) if type(item) is str else item for item in args)


# Changing things


class _ItemsOnly:
    """Stands in for a value of which items may be set and deleted; those types would let attributes be set as well."""

    __slots__ = ("_target",)

    def __init__(self, target: Any) -> None:
        self._target = target

    def __setitem__(self, key: Any, value: Any) -> None:
        self._target[key] = value

    def __delitem__(self, key: Any) -> None:
        del self._target[key]


_ITEM_TYPES = frozenset({Counter, OrderedDict, DefaultDict, deque})


def guarded_write(target: Any) -> Any:
    """Return ``target``, or what stands in for it, if a script may change it; the ``_write_`` hook."""
    kind = type(target)
    if kind in _ITEM_TYPES:
        return _ItemsOnly(target)
    if kind is list or kind is dict or type(kind) is ScriptClass:
        return target
    raise TypeError(f"a value of type {kind.__name__} cannot be changed")


_IN_PLACE: dict[str, Callable[[Any, Any], Any]] = {
    "+=": operator.iadd, "-=": operator.isub, "*=": operator.imul, "/=": operator.itruediv, "%=": python_text.modulo,
    "**=": operator.ipow, "<<=": operator.ilshift, ">>=": operator.irshift, "|=": operator.ior, "^=": operator.ixor,
    "&=": operator.iand, "//=": operator.ifloordiv, "@=": operator.imatmul,
}  # fmt: skip
_IN_PLACE_TYPES = _ITEM_TYPES | {
    bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset,
    datetime.date, datetime.datetime, datetime.timedelta, ipaddress.IPv4Address, ipaddress.IPv6Address,
}  # fmt: skip


def in_place(sign: str, left: Any, right: Any) -> Any:
    """Return what ``left`` becomes; exact types only, since such an operator changes its left side."""
    if type(left) not in _IN_PLACE_TYPES:
        raise TypeError(f"{sign} is not available for a value of type {type(left).__name__}")
    return _IN_PLACE[sign](left, right)


def in_place_item(sign: str, target: Any, key: Any, right: Any) -> None:
    """Do ``target[key] += right``, through the guards for both the reading and the writing."""
    guarded_write(target)[key] = in_place(sign, guarded_getitem(target, key), right)


def in_place_attribute(sign: str, target: Any, name: str, right: Any) -> None:
    """Do ``target.name += right``, through the guards for both the reading and the writing."""
    setattr(guarded_write(target), name, in_place(sign, guarded_getattr(target, name), right))


# Items, iteration, calls. Identity is safe here: no live host container is ever reachable from a script.


def guarded_getitem(target: Any, key: Any) -> Any:
    """Return ``target[key]``; a class in brackets would give an object that forwards attributes past the guards."""
    if isinstance(target, type):
        raise TypeError("a class has no items")
    return target[key]


def guarded_iter(target: Any) -> Any:
    """Return what is iterated, as it is."""
    return target


def apply(function: Callable[..., Any], /, *args: Any, **named: Any) -> Any:
    """Call ``function`` with starred arguments."""
    return function(*args, **named)


# Builtins of our own


def guarded_hash(value: Any) -> int:
    """Return ``hash(value)`` of plain values; of anything else it is made from the address."""
    kind = type(value)
    if kind in (tuple, frozenset):
        return hash(kind(guarded_hash(item) for item in value))
    if kind in python_text.PLAIN:
        return hash(value)
    raise TypeError(f"a value of type {kind.__name__} has no hash here")


def eager_map(function: Callable[..., Any], *iterables: Iterable[Any]) -> list[Any]:
    """``map`` as a list."""
    return list(map(function, *iterables))


def eager_filter(function: Callable[[Any], Any] | None, iterable: Iterable[Any]) -> list[Any]:
    """``filter`` as a list."""
    return list(filter(function, iterable))


def eager_zip(*iterables: Iterable[Any], strict: bool = False) -> list[Any]:
    """``zip`` as a list."""
    return list(zip(*iterables, strict=strict))


def eager_enumerate(iterable: Iterable[Any], start: int = 0) -> list[tuple[int, Any]]:
    """``enumerate`` as a list."""
    return list(enumerate(iterable, start))


def eager_reversed(sequence: Any) -> list[Any]:
    """``reversed`` as a list."""
    return list(reversed(sequence))


def guarded_repr(value: Any) -> str:
    """``repr`` without addresses."""
    return python_text.shown(value)
