"""What the tests of local calls share."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.pure import PURE
from sandbox.runtimes import CallError


def call(name: str, /, *args: Any, **named: Any) -> Any:
    return PURE[name]({"device": "sda"}, list(args), named)


def refusal(name: str, /, *args: Any, **named: Any) -> CallError:
    """The error of a call that must not succeed; it names the call and the parameter."""
    with pytest.raises(CallError) as caught:
        call(name, *args, **named)
    error = caught.value
    assert error.message.startswith(f"{name}: {error.fields['parameter']}: "), error.message
    assert error.message.isprintable(), error.message
    return error


def refused(name: str, *args: Any, words: str, parameter: str = "text", code: str = "invalid_argument") -> None:
    """The call is refused for the reason that is expected."""
    error = refusal(name, *args)
    assert words in error.message, error.message
    assert (error.code, error.fields) == (code, {"parameter": parameter}), error.message


def tried(name: str, /, *args: Any) -> Any:
    """The value of a call, or the error that it refuses with; anything else fails the test."""
    try:
        return call(name, *args)
    except CallError as error:
        return error
