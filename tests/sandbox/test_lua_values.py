"""Values between Lua and Python: no live object of either side may cross."""

from __future__ import annotations

from typing import Any

import lupa.lua54
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.lua_values import from_lua, to_lua
from sandbox.values import CALL_CAPS, ValueRefused

STATE = lupa.lua54.LuaRuntime(encoding=None, unpack_returned_tuples=True)
TABLE = type(STATE.table())
TYPES = STATE.execute(
    b"""local function walk(v, seen) seen[type(v)] = true
          if type(v) == 'table' then for k, x in next, v do walk(k, seen) walk(x, seen) end end return seen end
        return function(v) local t = {} for k in pairs(walk(v, {})) do t[#t + 1] = k end
          table.sort(t) return table.concat(t, ' ') end"""
)

words = st.text(max_size=8)
full = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | words
trees = st.recursive(
    full,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, min_size=1, max_size=4),
    max_leaves=12,
)


def back(value: Any) -> Any:
    return from_lua(value, TABLE, CALL_CAPS.budget("it"))


@settings(max_examples=200, deadline=None)
@given(trees)
def test_what_goes_in_comes_out(value: Any) -> None:
    """Except that an empty dict is an empty table, which is an empty list."""
    crossed = to_lua(STATE, value)
    again = back(STATE.execute(b"return ...", crossed))
    assert again == value


@settings(max_examples=200, deadline=None)
@given(trees | st.none() | st.binary())
def test_lua_never_sees_a_host_object(value: Any) -> None:
    """A userdata would be a live Python object."""
    assert b"userdata" not in TYPES(to_lua(STATE, value))


def test_text_that_is_not_utf8_comes_as_bytes() -> None:
    """Nothing is lost or replaced on the way."""
    assert back(b"\xff") == b"\xff"
    assert back("é".encode()) == "é"


@pytest.mark.parametrize("code", [b"return print", b"return coroutine.create(print)", b"return {{print}}"])
def test_live_objects_are_refused(code: bytes) -> None:
    """Functions and coroutines stay where they are."""
    with pytest.raises(ValueRefused, match="only plain values"):
        back(STATE.execute(code))


def test_anything_that_is_not_plain_is_a_mistake_of_ours_towards_lua() -> None:
    """It is refused rather than handed over alive."""
    with pytest.raises(TypeError):
        to_lua(STATE, {1})
    with pytest.raises(TypeError):
        to_lua(STATE, [object()])


def test_integers_that_lua_cannot_hold_become_floats_or_are_refused() -> None:
    """As Lua reads such a numeral itself."""
    assert to_lua(STATE, 2**64) == 2.0**64
    with pytest.raises(ValueRefused, match="too large"):
        to_lua(STATE, 10**400)
