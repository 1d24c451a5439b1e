"""The calls that need no host."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.pure import PURE
from sandbox.runtimes import CallError


def call(name: str, *args: Any, **named: Any) -> Any:
    return PURE[name]({"device": "sda"}, list(args), named)


def test_the_table_is_complete() -> None:
    """The catalogue declares exactly these as local."""
    assert set(PURE) == {"json.encode", "json.decode", "param"}


def test_json_is_compact_sorted_and_reversible() -> None:
    """Equal values give equal texts, which makes them comparable."""
    value = {"b": [1, 2.5, None, True], "a": {"é": "\n"}}
    text = call("json.encode", value)
    assert text == '{"a":{"é":"\\n"},"b":[1,2.5,null,true]}'
    assert call("json.decode", text) == value


@pytest.mark.parametrize("value", [b"\xff", [float("nan")], {"a": float("inf")}])
def test_what_json_cannot_hold_is_refused(value: Any) -> None:
    """Rather than written as something else."""
    with pytest.raises(CallError) as caught:
        call("json.encode", value)
    assert caught.value.code == "invalid_argument"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "line 1 column 2"),
        ("[1,\n2 3]", "line 2 column 3"),
        ("", "line 1 column 1"),
        ("NaN", "NaN is not JSON"),
        ("[-Infinity]", "-Infinity is not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("9" * 5000, "cannot be held"),
        (b"\xff", "needs text"),
        (5, "needs text"),
    ],
)
def test_bad_json_is_refused_with_its_place(text: Any, words: str) -> None:
    """Only ``CallError`` leaves."""
    with pytest.raises(CallError, match=words):
        call("json.decode", text)


def test_param() -> None:
    """Missing ones are None: the manifest says which are required."""
    assert call("param", "device") == "sda"
    assert PURE["param"]({"device": "sda"}, [], {"name": "device"}) == "sda"
    assert call("param", "none") is None


@pytest.mark.parametrize(
    ("args", "named", "words"),
    [
        ([], {}, "needs 'name'"),
        (["a", "b"], {}, "at most 1"),
        (["a"], {"name": "b"}, "twice"),
        ([], {"nam": "a"}, "no parameter 'nam'"),
        ([5], {}, "needs the name"),
    ],
)
def test_wrong_arguments_are_refused(args: list[Any], named: dict[str, Any], words: str) -> None:
    """With the same code as a call at the gate."""
    with pytest.raises(CallError, match=words) as caught:
        PURE["param"]({}, args, named)
    assert caught.value.code == "invalid_argument"
