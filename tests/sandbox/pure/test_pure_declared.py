"""How local calls take their arguments, and how much may come out of them."""

from __future__ import annotations

from typing import Any

import pytest
from pure_calls import call, refusal, refused

from sandbox.pure import PURE
from sandbox.pure.declared import MAX_BYTES, MAX_DEPTH, MAX_ITEMS, Refused, anything, pure
from sandbox.runtimes import CallError


def test_param() -> None:
    """Missing ones are None: the manifest says which are required."""
    assert call("param", "device") == "sda"
    assert PURE["param"]({"device": "sda"}, [], {"name": "device"}) == "sda"
    assert call("param", "none") is None


@pytest.mark.parametrize(
    ("args", "named", "words"),
    [
        ([], {}, "param: name: is missing"),
        ([None], {}, "name: must be text, not NoneType"),
        (["a", "b"], {}, "name: is the last of 1 parameters, but 2 were given"),
        (["a"], {"name": "b"}, "name: given twice"),
        ([], {"nam": "a"}, "nam: there is no parameter of this name (known: name)"),
        ([5], {}, "name: must be text, not int"),
        ([b"\xff"], {}, "name: must be text in UTF-8"),
    ],
)
def test_wrong_arguments_are_refused(args: list[Any], named: dict[str, Any], words: str) -> None:
    """With the same code as a call at the gate."""
    error = refusal("param", *args, **named)
    assert words in error.message
    assert error.code == "invalid_argument"


def test_a_map_in_the_place_of_options_gives_them_by_name() -> None:
    """Which is how Lua names them; a map that is the value stays one."""
    assert call("base64.encode", b"\xfb\xff", {"url": True, "padding": False}) == "-_8"
    assert call("base64.encode", b"\xfb\xff", True, {"padding": False}) == "-_8"
    assert call("json.encode", {"indent": 1}) == '{"indent":1}'
    assert call("yaml.encode", {"value": 1}) == "value: 1\n"
    refused("base64.encode", "x", {"nosuch": 1}, words="there is no parameter", parameter="nosuch")
    refused("base64.encode", "x", True, {"url": False}, words="given twice", parameter="url")
    refused("base64.encode", "x", 1, words="must be true or false, not int", parameter="url")


def test_nothing_in_the_place_of_an_option_is_its_default() -> None:
    assert call("base64.encode", "x", None) == "eA=="


def test_whole_numbers_may_come_as_floats_of_lua() -> None:
    assert call("digest.blake2b", "x", 4.0) == call("digest.blake2b", "x", 4)
    for wrong in (1.5, True, "4", 0, 65, float("inf"), 1 << 70):
        assert refusal("digest.blake2b", "x", wrong).fields == {"parameter": "size"}


def _nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def test_what_comes_out_is_bounded() -> None:
    """Neither language can be handed more: Lua's memory limit does not hold while the bridge works."""
    assert call("json.encode", call("json.decode", _nested(MAX_DEPTH))) == _nested(MAX_DEPTH)
    refused("json.decode", _nested(MAX_DEPTH + 2), words="nested more than", parameter="result", code="too_large")
    refused("json.decode", "[" + "0," * MAX_ITEMS + "0]", words="elements", parameter="result", code="too_large")
    refused("hex.encode", b"x" * (MAX_BYTES // 2 + 1), words="8 MiB", parameter="result", code="too_large")
    pieces = "x," * 10 + "y" * (MAX_BYTES // 2)
    assert call("regex.split", ",", pieces)[-1] == "y" * (MAX_BYTES // 2)


def test_only_call_errors_leave() -> None:
    """A fault of ours that is not a refusal is not dressed up as one."""

    @pure("test.deep", value=anything)
    def deep(value: Any) -> Any:
        return deep(value)

    @pure("test.refused", value=anything)
    def refuse(value: Any) -> Any:
        raise Refused("value", str(value))

    try:
        assert "nested too deeply" in refusal("test.deep", 1).message
        with pytest.raises(CallError, match=r"test\.refused: value: 1"):
            call("test.refused", 1)
    finally:
        del PURE["test.deep"], PURE["test.refused"]
