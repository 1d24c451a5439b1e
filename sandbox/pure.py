"""The calls that need no host: computed inside the worker, never seen by the gate.

They are pure functions of the run's parameters and their arguments; whatever they do wrong, they do inside the jail.
Each takes ``(parameters of the run, positional arguments, named arguments)`` and raises only ``CallError``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from sandbox.runtimes import CallError

PureCall = Callable[[Mapping[str, Any], list[Any], dict[str, Any]], Any]

_REQUIRED = object()


def _bind(call: str, names: dict[str, Any], args: list[Any], named: dict[str, Any]) -> list[Any]:
    """Return the values of ``names`` (name to default, or _REQUIRED) in order."""
    if len(args) > len(names):
        raise _invalid(call, f"takes at most {len(names)} arguments, not {len(args)}")
    given = dict(zip(names, args, strict=False))
    for name, value in named.items():
        if name not in names:
            raise _invalid(call, f"has no parameter {name!r}")
        if name in given:
            raise _invalid(call, f"got {name!r} twice")
        given[name] = value
    for name, default in names.items():
        if name not in given:
            if default is _REQUIRED:
                raise _invalid(call, f"needs {name!r}")
            given[name] = default
    return [given[name] for name in names]


def _invalid(call: str, problem: str) -> CallError:
    return CallError("invalid_argument", f"{call} {problem}")


def json_encode(_parameters: Mapping[str, Any], args: list[Any], named: dict[str, Any]) -> str:
    """Return the JSON text of ``value``; keys sorted, so that equal values give equal texts."""
    (value,) = _bind("json.encode", {"value": _REQUIRED}, args, named)
    try:
        return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    except TypeError:
        raise _invalid("json.encode", "cannot write bytes that are not valid UTF-8") from None
    except (ValueError, RecursionError):
        raise _invalid("json.encode", "cannot write this value") from None


def json_decode(_parameters: Mapping[str, Any], args: list[Any], named: dict[str, Any]) -> Any:
    """Return the value of a JSON text; NaN and Infinity are not JSON."""
    (text,) = _bind("json.decode", {"text": _REQUIRED}, args, named)
    if type(text) is not str:
        raise _invalid("json.decode", "needs text in UTF-8")
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise _invalid("json.decode", f"line {error.lineno} column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise _invalid("json.decode", "text is nested too deeply") from None
    except ValueError:
        raise _invalid("json.decode", "text holds a number that cannot be held") from None


def _refuse_constant(word: str) -> Any:
    raise _invalid("json.decode", f"{word} is not JSON")


def param(parameters: Mapping[str, Any], args: list[Any], named: dict[str, Any]) -> Any:
    """Return the run's parameter ``name``; None if the run has none of that name."""
    (name,) = _bind("param", {"name": _REQUIRED}, args, named)
    if type(name) is not str:
        raise _invalid("param", "needs the name of a parameter")
    return parameters.get(name)


PURE: Mapping[str, PureCall] = {"json.encode": json_encode, "json.decode": json_decode, "param": param}
