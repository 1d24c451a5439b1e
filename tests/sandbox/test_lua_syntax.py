"""Lua's own opinion of a source."""

from __future__ import annotations

import pytest

from sandbox.lua_syntax import problem


def test_valid_source_has_no_problem() -> None:
    """And is not run."""
    assert problem(b"while true do end", "main.lua") is None


@pytest.mark.parametrize(
    ("source", "place"),
    [
        (b"x =", "main.lua:1"),
        (b"\n\nend", "main.lua:3"),
        (b"\x1bLuaS", "main.lua:1"),
        (b"goto nowhere", "main.lua:1"),
        (b"local x <const> = 1\nx = 2", "main.lua:2"),
        (b"x = '\xff", "main.lua:1"),
        (b"error('a:7: b", "main.lua:1"),
    ],
)
def test_a_problem_names_file_and_line(source: bytes, place: str) -> None:
    """The chunk name cannot be confused with text of the script."""
    told = problem(source, "main.lua")
    assert told is not None
    assert told[0] == place
