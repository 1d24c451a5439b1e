"""A variable of the script's own with the name of a family is not the family, and no real replacement is lost."""

from __future__ import annotations

import pytest

from protocol.tiers import Tier
from sandbox.analysis import Analysis, analyse
from sandbox.own_names import free_in

KNOWN = {"state.get": Tier.ADMIN, "state.set": Tier.ADMIN, "script.call": Tier.ADMIN, "param": Tier.COMPUTE}
REPLACED = "state is replaced"


def read(language: str, source: str, **others: str) -> Analysis:
    suffix = {"lua": ".lua", "python": ".py"}[language]
    files = {f"main{suffix}": source.encode(), **{f"{name}{suffix}": text.encode() for name, text in others.items()}}
    return analyse(language, files, f"main{suffix}", KNOWN)


@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("lua", 'state = "ok" print(state) return state'),
        ("lua", "state = {} state.count = 1 return {state.count, state[param('x')]}"),
        ("lua", "script, state = 1, 2 return script + state"),
        ("lua", "state = 1 local function f() state = state + 1 return state end return f()"),
        ("lua", "function state() return 1 end return state()"),
        ("lua", "if param('x') then return end state = 1 for _ in pairs(state) do end"),
        ("lua", "state = nil return state"),
        ("python", "state = 'ok'\nprint(state)\nresult = state"),
        ("python", "state = {}\nstate['count'] = 1\nresult = [state['count'], state.keys(), state[param('x')]]"),
        ("python", "state: int = 1\ndef f():\n    global state\n    state += 1\n    return state\nresult = f()"),
        ("python", "def state():\n    return 1\nresult = state()"),
        ("python", "script = state = 1\nresult = [script, state]"),
    ],
)
def test_a_variable_of_the_scripts_own_is_not_the_family(language: str, source: str) -> None:
    """Words such as state and script are what people call their things; a warning that is always there is not read."""
    found = read(language, source)
    assert (found.dynamic, set(found.calls) - {"param"}, found.tier) == ((), set(), Tier.COMPUTE)
    assert found.is_complete


@pytest.mark.parametrize(
    ("language", "source"),
    [
        # What reads like a call of the family and is none.
        ("lua", "state = {} state.get('x')"),
        ("lua", "state = {} function state.set(x) end"),
        ("lua", "state = {} return state['g' .. 'et']"),
        ("lua", "state = {} state:get()"),
        ("python", "state = object\nstate.get('x')"),
        ("python", "state = {}\nresult = state.get('x')"),
        ("python", "def state():\n    pass\nstate.set = 1"),
        # The family can be reached by its name before, or all the same.
        ("lua", "local s = state state = 1 return s.set('x', 1)"),
        ("lua", "local function f() return state end state = 1 return f"),
        ("lua", "state = state or {}"),
        ("lua", "local s s, state = state, 1"),
        ("lua", "if param('x') then state = 1 end return state"),
        ("lua", "do state = 1 end"),
        ("lua", "while param('x') do state = 1 end return state"),
        ("lua", "goto on state = 1 ::on:: return state"),
        ("lua", "local function f() state = 1 end f()"),
        ("lua", "_G.state = 1"),
        ("lua", "_G[param('x') and 'state' or 'other'] = 1"),
        ("python", "s = state\nstate = 1\ns.set('x', 1)"),
        ("python", "def f():\n    return state\nstate = 1"),
        ("python", "state, s = 1, state\ns.set('x', 1)"),
        ("python", "state = state"),
        ("python", "state = 1\ndel state\ns = state"),
        ("python", "state = 1\ntry:\n    x = 1 // 0\nexcept ValueError as state:\n    pass\ns = state"),
        ("python", "if param('x'):\n    state = 1"),
        ("python", "param('x') and (state := 1)"),
        ("python", "for state in [1]:\n    pass"),
        ("python", "import math as state"),
        ("python", "state += 1"),
    ],
)
def test_a_replacement_is_still_told(language: str, source: str) -> None:
    """A reviewer must not read one thing where another happens, nor lose a call that is reached in a roundabout way."""
    found = read(language, source)
    assert any("is replaced" in place for place in found.dynamic), found
    assert found.tier is Tier.ADMIN


@pytest.mark.parametrize(("language", "using"), [("lua", "state.get('x')"), ("python", "state.get('x')")])
def test_a_name_that_another_file_has_is_replaced(language: str, using: str) -> None:
    """In Lua the files share their globals; and a reviewer reads all files as one script."""
    assert any(REPLACED in place for place in read(language, "state = 1", other=using).dynamic)
    assert read(language, "state = 1", other="script = 1").dynamic == ()
    assert any(REPLACED in place for place in read(language, "state = 1", other="x = _G").dynamic) or language != "lua"


def test_what_no_other_file_names() -> None:
    sources = {"a.lua": b"state = 1 script = 1", "b.lua": b"-- 'script'", "c.lua": b"statement()"}
    free = free_in(["state", "script"], sources)
    assert free == {"a.lua": {"state"}, "b.lua": frozenset(), "c.lua": frozenset()}
    assert free_in(["state"], {**sources, "d.lua": b"return _G"})["a.lua"] == frozenset()
    assert free_in(["state"], {"a.lua": b"state = 1 return _G"})["a.lua"] == {"state"}
