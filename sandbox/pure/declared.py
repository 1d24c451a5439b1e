"""How a call that needs no host is declared: its name, what each parameter takes, and the function that does it.

    @pure("base64.encode", data=data, url=boolean)
    def encode(data: bytes, url: bool = False) -> str: ...

Arguments are checked before the function runs. Whatever is wrong is a ``CallError`` that names the call and the
parameter; nothing else leaves a call, but for MemoryError, which ends the run. What comes back is bounded like what
goes in, so that neither language is handed more than it can hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from sandbox.runtimes import CallError
from sandbox.values import INT_MAX, INT_MIN

PureCall = Callable[[Mapping[str, Any], list[Any], dict[str, Any]], Any]
Kind = Callable[[Any], Any]  # returns the value that the function gets, or raises _Unfit
Function = TypeVar("Function", bound=Callable[..., Any])

MAX_DEPTH = 60  # of a value that a call returns; a bit less than may go into one, so that it can go into the next
MAX_ITEMS = 200_000  # of it, in all lists and maps together
MAX_BYTES = 8 * 1024 * 1024  # of a text or of bytes that a call makes, and of all of them in a list or map
MAX_LIST = 100_000  # items of a list that is an argument of its own
MAX_SHOWN = 60  # characters of what others wrote, in an error

PURE: dict[str, PureCall] = {}
SIGNATURES: dict[str, dict[str, Any]] = {}  # call -> parameter -> its default, or REQUIRED
REQUIRED: Any = object()


class Refused(Exception):
    """What a call was given cannot be taken. Raised by the functions; becomes the ``CallError`` that scripts see.

    Args:
        parameter: The one that is to blame.
        problem: What is wrong with it, with the place in the text if it has one.
        code: ``invalid_argument``, or ``too_large`` if it is only too much.
    """

    def __init__(self, parameter: str, problem: str, code: str = "invalid_argument") -> None:
        self.parameter = parameter
        self.problem = problem
        self.code = code
        super().__init__(f"{parameter}: {problem}")


class _Unfit(Exception):
    """A kind does not take a value; the text says what it takes."""


def pure(call: str, **kinds: Kind) -> Callable[[Function], Function]:
    """Declare the decorated function as the call of that name. Its parameters are ``kinds``, in this order."""

    def declare(function: Function) -> Function:
        defaults = function.__defaults__ or ()
        required = len(kinds) - len(defaults)
        optional = dict(zip(list(kinds)[required:], defaults, strict=True))
        SIGNATURES[call] = {kind: optional.get(kind, REQUIRED) for kind in kinds}
        PURE[call] = _performer(call, function, kinds, optional)
        return function

    return declare


def _performer(
    call: str, function: Callable[..., Any], kinds: Mapping[str, Kind], optional: Mapping[str, Any]
) -> PureCall:
    names = list(kinds)

    def perform(parameters: Mapping[str, Any], args: list[Any], named: dict[str, Any]) -> Any:
        del parameters
        try:
            value = function(*_bound(names, kinds, optional, args, named))
            kind = type(value)
            if kind is list or kind is dict:
                _bound_value(value)
            elif (kind is str or kind is bytes) and len(value) > MAX_BYTES:
                raise _too_large()
            return value
        except Refused as error:
            problem, code, parameter = str(error), error.code, error.parameter
        except RecursionError:
            problem, code, parameter = f"{names[0]}: is nested too deeply", "invalid_argument", names[0]
        raise CallError(code, f"{call}: {problem}", {"parameter": parameter})

    return perform


def _bound(
    names: list[str], kinds: Mapping[str, Kind], optional: Mapping[str, Any], args: list[Any], named: dict[str, Any]
) -> list[Any]:
    """Return all arguments in order.

    A map in the place of an optional parameter gives the optional ones by name, which is how Lua names them; no
    optional parameter takes a map itself.
    """
    if len(args) > len(names):
        raise Refused(_last(names), f"is the last of {len(names)} parameters, but {len(args)} were given")
    given = dict(zip(names, args, strict=False))
    if args and type(args[-1]) is dict and names[len(args) - 1] in optional:
        named = given.pop(names[len(args) - 1]) | named
    for name, value in named.items():
        if name not in kinds:
            raise Refused(name[:MAX_SHOWN], f"there is no parameter of this name (known: {', '.join(names)})")
        if name in given:
            raise Refused(name, "given twice")
        given[name] = value
    return [_fitted(name, kinds[name], given, optional) for name in names]


def _last(names: list[str]) -> str:
    return names[-1] if names else "arguments"


def _fitted(name: str, kind: Kind, given: Mapping[str, Any], optional: Mapping[str, Any]) -> Any:
    if name not in given or (given[name] is None and name in optional):
        if name not in optional:
            raise Refused(name, "is missing")
        return optional[name]
    try:
        return kind(given[name])
    except _Unfit as unfit:
        raise Refused(name, str(unfit)) from None


def _bound_value(value: Any) -> None:
    """Refuse a value that is more than a script can be given, level by level."""
    level, depth, items, size = [value], 0, 0, 0
    while level:
        below: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is str or kind is bytes:
                size += len(item)
            elif kind is list:
                below += item
            elif kind is dict:
                below += item.values()
                size += sum(map(len, item))
        items += len(below)
        depth += 1
        if depth > MAX_DEPTH + 1:
            raise Refused("result", f"would be nested more than {MAX_DEPTH} deep", "too_large")
        if items > MAX_ITEMS or size > MAX_BYTES:
            raise _too_large()
        level = below


def _too_large() -> Refused:
    return Refused("result", f"would have more than {MAX_ITEMS} elements or {MAX_BYTES >> 20} MiB of text", "too_large")


# What parameters take -------------------------------------------------------------------------------------------------


def text(value: Any) -> str:
    """Text; bytes that are not valid UTF-8, as which odd strings of Lua arrive, are none."""
    if type(value) is str:
        return value
    raise _Unfit("must be text in UTF-8" if type(value) is bytes else _not("text", value))


def data(value: Any) -> bytes:
    """Bytes; text gives those of its UTF-8."""
    if type(value) is bytes:
        return value
    if type(value) is str:
        return value.encode("utf-8")
    raise _Unfit(_not("bytes or text", value))


def either(value: Any) -> str | bytes:
    """Text or bytes, as it is."""
    if type(value) is str or type(value) is bytes:
        return value
    raise _Unfit(_not("text or bytes", value))


def anything(value: Any) -> Any:
    """Any plain value; the runtimes have bounded it."""
    return value


def boolean(value: Any) -> bool:
    """True or false, and no number."""
    if type(value) is bool:
        return value
    raise _Unfit(_not("true or false", value))


def integer(low: int, high: int) -> Kind:
    """A whole number in a range, both ends included."""

    def fit(value: Any) -> int:
        if type(value) is float and value.is_integer() and abs(value) < 1 << 53:
            value = int(value)  # Lua has one type of number where a script divides
        if type(value) is not int:
            raise _Unfit(_not("a whole number", value))
        if not low <= value <= high:
            raise _Unfit(f"must be {low} to {high}")
        return value

    return fit


def one_of(*choices: str) -> Kind:
    """One of these words."""

    def fit(value: Any) -> str:
        if type(value) is str and value in choices:
            return value
        raise _Unfit(f"must be one of {', '.join(choices)}")

    return fit


def listing(value: Any) -> list[Any]:
    """A list; Lua cannot tell an empty one from an empty map."""
    if type(value) is dict and not value:
        return []
    if type(value) is not list:
        raise _Unfit(_not("a list", value))
    if len(value) > MAX_LIST:
        raise _Unfit(f"has more than {MAX_LIST} items")
    return value


def texts(value: Any) -> list[str]:
    """A list of texts."""
    found = listing(value)
    for number, item in enumerate(found, 1):
        if type(item) is not str:
            raise _Unfit(f"item {number} {_not('text in UTF-8', item)}")
    return found


def mapping(value: Any) -> dict[str, Any]:
    """A map; an empty list is an empty one."""
    if type(value) is list and not value:
        return {}
    if type(value) is not dict:
        raise _Unfit(_not("a map", value))
    return value


def _not(wanted: str, value: Any) -> str:
    return f"must be {wanted}, not {type(value).__name__}"


# What several of them share -------------------------------------------------------------------------------------------


def shown(given: str) -> str:
    """Return what others wrote in a form that fits into one line of an error."""
    return ascii(given if len(given) <= MAX_SHOWN else given[:MAX_SHOWN] + "...")


def bounded(parameter: str, given: str, most: int) -> str:
    """Return a text of at most ``most`` characters, or refuse it."""
    if len(given) > most:
        raise Refused(parameter, f"has more than {most} characters", "too_large")
    return given


def whole(parameter: str, value: int) -> int:
    """Return an integer of 64 bits, or refuse it."""
    if INT_MIN <= value <= INT_MAX:
        return value
    raise Refused(parameter, "holds an integer of more than 64 bits")
