"""What every module that scripts can import is made of: a frozen name space of chosen functions, classes and numbers.

- No real module object is behind it, so nothing leads to a loader, to builtins or to another module.
- It has no state; what its functions keep (compiled patterns) is out of reach and changes no answer.
- Functions that hand their arguments to code of the standard library take plain values only, so that no method of a
  script's class runs in there, and no object that holds an address is turned into text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, TypeVar

MAX_ITEMS = 1_000_000  # of one list that a function here makes, and steps of an endless iterator; chosen by judgement

Item = TypeVar("Item")

_PLAIN = (type(None), bool, int, float, str, bytes)


class Module:
    """Base of what ``import`` gives: no state, no dict, nothing to change. Each module is a class of its own."""

    __slots__ = ()


def words(text: str) -> list[str]:
    """Return the words of ``text``; a long list of names is easier to read and to check as one."""
    return text.split()


def module(name: str, members: Mapping[str, Any]) -> Module:
    """Return a frozen name space that holds ``members``."""
    held = {word: member if isinstance(member, type) else staticmethod(member) for word, member in members.items()}
    frozen: Module = type(name, (Module,), {"__slots__": (), **held})()
    return frozen


def plain_only(function: Callable[..., Any], max_characters: int | None = None) -> Callable[..., Any]:
    """Return ``function`` for plain arguments: None, bool, int, float, str and bytes, and lists and tuples of them.

    Args:
        function: What is called.
        max_characters: Of each str and bytes; None for no bound but the memory of the run.
    """

    def checked(*args: Any, **named: Any) -> Any:
        for value in (*args, *named.values()):
            _check_plain(value, max_characters)
        return function(*args, **named)

    return checked


def _check_plain(value: Any, max_characters: int | None) -> None:
    kind = type(value)
    if kind is list or kind is tuple:
        for item in value:
            _check_one(item, max_characters)
    else:
        _check_one(value, max_characters)


def _check_one(value: Any, max_characters: int | None) -> None:
    kind = type(value)
    if kind not in _PLAIN:
        raise TypeError(f"a value of type {kind.__name__} cannot be used here")
    if max_characters is not None and kind in (str, bytes) and len(value) > max_characters:
        raise ValueError(f"a text of more than {max_characters} characters cannot be used here")


def text_of(value: Any, what: str) -> str:
    """Return ``value`` if it is exactly a str; ``what`` names it in the refusal."""
    if type(value) is not str:
        raise TypeError(f"{what} must be str, not {type(value).__name__}")
    return value


def integer_of(value: Any, what: str, lowest: int, highest: int) -> int:
    """Return ``value`` if it is an int from ``lowest`` to ``highest``; ``what`` names it in the refusal."""
    if type(value) is not int:
        raise TypeError(f"{what} must be int, not {type(value).__name__}")
    if not lowest <= value <= highest:
        raise ValueError(f"{what} must be from {lowest} to {highest}")
    return value


def listed(values: Iterable[Item], what: str) -> list[Item]:
    """Return a list of ``values``; ``what`` names the function in the refusal of more than ``MAX_ITEMS``."""
    taken = list(islice(values, MAX_ITEMS + 1))
    if len(taken) > MAX_ITEMS:
        raise ValueError(f"{what} would have more than {MAX_ITEMS} items")
    return taken
