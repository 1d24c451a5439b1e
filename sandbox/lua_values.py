"""Plain values between Lua and Python, without letting either see an object of the other.

- Towards Lua everything becomes a scalar, a byte string or a fresh table. Never a ``str`` (lupa would hand over the
  live Python object when it has no encoding), never a list or dict.
- From Lua, strings become ``str`` where they are valid UTF-8 and ``bytes`` where not. A table whose keys are 1..n
  becomes a list, an empty one an empty list, one with only string keys a dict; every other table is refused.
- Tables are read with ``items()``, which lupa builds on the raw ``next``: no metamethod runs.
"""

from __future__ import annotations

from typing import Any

from sandbox.values import INT_MAX, INT_MIN, Budget, ValueRefused

_BYTES = frozenset({bytes})
_SCALARS = frozenset({type(None), bool, int, float, bytes})
_AS_IT_IS = frozenset({type(None), bool, float, bytes})


def to_lua(state: Any, value: Any) -> Any:
    """Return ``value`` (already plain) in the form in which it may be handed to the Lua state ``state``.

    None inside a list leaves a hole and inside a dict leaves the key out, as everywhere in Lua.
    """
    kind = type(value)
    if kind is str:
        return value.encode("utf-8", "surrogateescape")
    if value is None or kind is bool or kind is float or kind is bytes:
        return value
    if kind is int:
        return value if INT_MIN <= value <= INT_MAX else _as_float(value)
    if kind is list:
        return state.table_from([to_lua(state, item) for item in value])
    if kind is dict and _BYTES.issuperset(map(type, value)) and _SCALARS.issuperset(map(type, value.values())):
        try:
            return state.table_from(value)
        except OverflowError:  # an integer that Lua cannot hold
            pass
    if kind is dict:  # long results are lists of small ones, so that a call for each text would be most of the work
        return state.table_from({
            key if type(key) is bytes else key.encode("utf-8", "surrogateescape"):
                item if type(item) in _AS_IT_IS or (type(item) is int and INT_MIN <= item <= INT_MAX)
                else to_lua(state, item)
            for key, item in value.items()
        })  # fmt: skip
    raise TypeError(f"{kind.__name__} is not a plain value")


def _as_float(value: int) -> float:
    """Return an integer that Lua cannot hold the way Lua itself reads such a numeral."""
    try:
        return float(value)
    except OverflowError:
        raise ValueRefused("the answer holds a number that is too large") from None


def from_lua(value: Any, table_type: type, budget: Budget, depth: int = 0) -> Any:
    """Return the Lua value ``value``, as lupa delivered it, as a fresh plain value.

    Args:
        value: What lupa made of it.
        table_type: The class that lupa uses for tables of this flavour.
        budget: Counts what crosses.
        depth: Nesting so far.

    Raises:
        ValueRefused: Not plain, or over a cap.
    """
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is int:
        return budget.integer(value)
    if kind is float:
        return budget.number(value)
    if kind is bytes:
        return _string(value, budget)
    if kind is table_type:
        return _table(value, table_type, budget, depth + 1)
    raise budget.other("function, coroutine or other live object")


def _string(value: bytes, budget: Budget) -> str | bytes:
    budget.string(len(value))
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value


def _table(table: Any, table_type: type, budget: Budget, depth: int) -> list[Any] | dict[str, Any]:
    budget.enter(depth)
    indexed: dict[int, Any] = {}
    named: dict[str, Any] = {}
    for key, item in table.items():
        budget.count(1)
        plain = from_lua(item, table_type, budget, depth)
        if type(key) is int:
            indexed[key] = plain
        elif type(key) is bytes:
            named[_name(key, budget)] = plain
        else:
            raise budget.other(f"table with a key of type {type(key).__name__}")
    if named:
        if indexed:
            raise budget.other("table with both string and integer keys")
        return named
    return _sequence(indexed, budget)


def _sequence(indexed: dict[int, Any], budget: Budget) -> list[Any]:
    try:
        return [indexed[position] for position in range(1, len(indexed) + 1)]
    except KeyError:
        raise budget.other("table whose integer keys are not 1..n") from None


def _name(key: bytes, budget: Budget) -> str:
    name = _string(key, budget)
    if type(name) is not str:
        raise budget.other("table with a key that is not valid UTF-8")
    return name
