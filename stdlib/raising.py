"""Which errors a call can raise: read from its implementation, and from everything of ours that it uses.

A function raises what its own text raises and what the functions raise that it names. Of an object it uses attributes:
those are looked for in the classes of ours that the annotations of the function, and of what gave it the object, name.
What a docstring lists under ``Raises:`` counts too: of a protocol there is nothing else, as what is behind it lies in
other packages.

What is found may be more than a call really raises with the arguments that it passes on; it is not less.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from protocol import errors
from stdlib.call_specs import CallSpec

Function = Callable[..., Any]

#: Modules whose names in a declaration say what a call is, and are no helpers of it.
_DECLARING = frozenset({"stdlib.call_specs", "stdlib.declaring", "stdlib.parameters", "stdlib.handles"})
#: What every call may raise, or the gate for it; the reference says so once.
_OF_ALL = frozenset({"invalid_argument", "denied", "internal"})
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RAISES = re.compile(r"^\s+Raises:\n(.*?)(?:\n\s*\n|\Z)", re.MULTILINE | re.DOTALL)


def errors_of(spec: CallSpec) -> list[str]:
    """Return the codes of the errors that a call raises itself, without those that every call may raise."""
    if spec.implementation is None:
        return []
    found = {"unavailable"} if any(item.is_path for item in spec.parameters) else set()
    found |= {"not_found", "unavailable"} if spec.has_target else set()  # what ``stdlib.network`` raises
    waiting: list[Function] = [spec.implementation]
    seen: set[Function] = set()
    while waiting:
        function = waiting.pop()
        if function not in seen:
            seen.add(function)
            text = _Text.of(function)
            found |= text.codes()
            waiting += text.functions()
    return sorted(found - _OF_ALL)


@dataclass(frozen=True, slots=True)
class _Text:
    """What stands in one function."""

    function: Function
    known: dict[str, Any]  # the globals of its module
    names: set[str] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, function: Function) -> _Text:
        """Read a function's source."""
        function = inspect.unwrap(function)
        text = cls(function, function.__globals__)
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
            if isinstance(node, ast.Name):
                text.names.add(node.id)
            elif isinstance(node, ast.Attribute):
                text.attributes.add(node.attr)
        return text

    def codes(self) -> set[str]:
        """Return the codes of the errors that it names, or lists in its docstring."""
        told = _RAISES.findall(self.function.__doc__ or "")
        words = self.names | {word for section in told for word in _WORD.findall(section) if word.endswith("Error")}
        found = (getattr(errors, word, None) for word in words)
        return {item.code for item in found if isinstance(item, type) and issubclass(item, errors.OutriderError)}

    def functions(self) -> Iterator[Function]:
        """Give what it uses of ours."""
        for item in self._named():
            yield from _functions_of(item)
        waiting = [*_classes(self.function, self.known), *self._given()]
        seen: set[type] = set()
        while waiting:
            made = waiting.pop()
            if made in seen:
                continue
            seen.add(made)
            waiting += filter(_is_ours, made.__bases__)
            around = vars(sys.modules[made.__module__])
            for name, annotation in inspect.get_annotations(made).items():
                if name in self.attributes:
                    waiting += _named_classes(annotation, around)
            for name in self.attributes:
                method = _method(made, name)
                if method is not None:
                    yield method
                    waiting += _named_classes(method.__annotations__.get("return"), around)

    def _named(self) -> Iterator[Any]:
        for name in self.names:
            item = self.known.get(name)
            if inspect.ismodule(item) and item.__name__.startswith("stdlib."):
                yield from (getattr(item, attribute, None) for attribute in self.attributes)
            elif item is not None:
                yield item

    def _given(self) -> Iterator[type]:
        """Give the classes of what the functions give that it calls."""
        for item in self._named():
            if inspect.isfunction(item) and item.__module__.startswith("stdlib."):
                function = inspect.unwrap(item)
                yield from _named_classes(function.__annotations__.get("return"), function.__globals__)


def _functions_of(item: Any) -> list[Function]:
    """Return the functions of ours that a name stands for; a class stands for its methods."""
    module = getattr(item, "__module__", None)
    if not isinstance(module, str) or not module.startswith("stdlib.") or module in _DECLARING:
        return []
    item = inspect.unwrap(item)
    if inspect.isfunction(item):
        return [item]
    if _is_ours(item) and item.__module__ != "stdlib.host":  # of the host a call uses what it names
        return [method for name in vars(item) if (method := _method(item, name)) is not None]
    return []


def _classes(function: Function, known: dict[str, Any]) -> Iterator[type]:
    for annotation in function.__annotations__.values():
        yield from _named_classes(annotation, known)


def _named_classes(annotation: Any, known: dict[str, Any]) -> Iterator[type]:
    """Give the classes of ours in an annotation, which is text as every module here postpones them."""
    for word in _WORD.findall(str(annotation)):
        item = known.get(word)
        if _is_ours(item):
            yield item


def _is_ours(item: Any) -> TypeGuard[type]:
    return (
        inspect.isclass(item)
        and item.__module__.startswith("stdlib.")
        and item.__module__ not in _DECLARING
        and not issubclass(item, errors.OutriderError)
    )


def _method(made: type, name: str) -> Function | None:
    """Return what is written in a class under a name, a property's getter for the property; None if nothing is."""
    item = made.__dict__.get(name)
    item = getattr(item, "fget", None) or getattr(item, "__func__", None) or item
    item = inspect.unwrap(item) if callable(item) else item
    if not inspect.isfunction(item):
        return None
    return item if item.__code__.co_filename == sys.modules[made.__module__].__file__ else None
