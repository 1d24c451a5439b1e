"""Global names in Lua chunks, with real scopes."""

from __future__ import annotations

import random
import string

import lupa.lua54
import pytest

from sandbox.lua_lexer import LexError
from sandbox.lua_names import names


def used(source: str) -> list[tuple[str, tuple[str, ...]]]:
    return sorted((use.name, use.path) for use in names(source).uses)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("return a.b.c", [("a", ("b", "c"))]),
        ("a.b['c'].d(e)", [("a", ("b", "c", "d")), ("e", ())]),
        ("a.b[c].d()", [("a", ("b",)), ("c", ())]),
        ("a:b(c)", [("a", ("b",)), ("c", ())]),
        ("a.b:c{d}", [("a", ("b", "c")), ("d", ())]),
        ("a 'x'.b()", [("a", ())]),
        ("(a).b()", [("a", ())]),
        ("local a = a", [("a", ())]),
        ("local a a.b()", []),
        ("local function a() return a end", []),
        ("function a.b() end", [("a", ("b",))]),
        ("for i = a, b, c do d(i) end", [("a", ()), ("b", ()), ("c", ()), ("d", ())]),
        ("for k, v in a() do k(v) end k()", [("a", ()), ("k", ())]),
        ("while a do local b end b()", [("a", ()), ("b", ())]),
        ("repeat local a until a", []),
        ("if a then elseif b then else c() end", [("a", ()), ("b", ()), ("c", ())]),
        ("return {a = b, [c] = d; e}", [("b", ()), ("c", ()), ("d", ()), ("e", ())]),
        ("return function(...) return ... end", []),
        ("a.b, c[d] = 1", [("a", ("b",)), ("c", ()), ("d", ())]),
        ("local t <const> = a", [("a", ())]),
        ("return not -#~a", [("a", ())]),
        ("goto x ::x:: ; ;", []),
        ("local o = {} function o:m() return self end return self", [("self", ())]),
    ],
)
def test_uses(source: str, expected: list[tuple[str, tuple[str, ...]]]) -> None:
    """Local names are not reported; everything else is, with the constant fields taken from it."""
    assert used(source) == sorted(expected)


def test_assigned_globals_are_told_apart() -> None:
    """They are what the script itself defines."""
    found = names("a, b.c = 1, 2 function d() end function e.f() end local g g = 1")
    assert [use.name for use in found.assigned] == ["a", "d"]


def test_deep_nesting_is_refused_not_crashed() -> None:
    """Lua stops at 200 levels; whatever reaches us beyond that must be an error."""
    with pytest.raises(LexError, match="nested too deeply"):
        names("return " + "(" * 100_000)


def test_what_lua_accepts_up_to_its_own_nesting_is_understood() -> None:
    """Otherwise an honest script could not be published."""
    for opening, inside, closing in (("(", "1", ")"), ("{", "", "}"), ("function() return ", "1", " end ")):
        source = "return " + opening * 90 + inside + closing * 90
        lupa.lua54.LuaRuntime().compile(source)
        names(source)


FRAGMENTS = r"""
fs.read('/')
x = fs['read']
local a <const> = 1
for i = 1, 3 do end
for k, v in pairs({}) do k = v end
if a then b() elseif c then d() else e() end
while false do break end
repeat local q = 1 until q
function f(a, b, ...) return a, ... end
local function g() return g end
a.b.c[1]['x']:m(1){2}'s'
return
goto l1
::l1::
x, y.z = {1, a = 2, [3] = 4; 5}, function() end
(f or g)(1)
a = -b ^ #c .. not d // ~e
local s = [==[ x ]] ]==] .. 'q\z  w' .. "\x41\u{48}\065"
--[[ c ]] a = 1
a = 0x1p4 + 3. + .5e1
;
""".strip().splitlines()

TEMPLATES = """
local {0} = {1}
{0} = {1}
{0}({1})
do local {0} = {1} {2}() end
for {0} = 1, 2 do {1}() end
local function {0}({1}) {2}({1}) end {0}()
repeat local {0} = {1} until {0}
if {0} then {1}() end
""".strip().splitlines()


def test_everything_that_lua_accepts_is_understood() -> None:
    """Random programs from fragments of the grammar; Lua itself is the oracle.

    A parser that refuses more is a nuisance, one that accepts by skipping would be a hole.
    """
    lua = lupa.lua54.LuaRuntime()
    randomly = random.Random(7)
    accepted = 0
    for _ in range(3000):
        source = " ".join(randomly.choice(FRAGMENTS) for _ in range(randomly.randint(1, 6)))
        try:
            lua.compile(source)
        except lupa.lua54.LuaError:
            continue
        accepted += 1
        names(source)
    assert accepted > 300


def test_every_global_that_runs_is_in_the_uses() -> None:
    """An environment that notes what is read is the oracle: nothing it sees may be missing."""
    lua = lupa.lua54.LuaRuntime(max_memory=1_000_000)  # some programs recurse until it is full
    run = lua.execute(
        """return function(source)
          local seen = {}
          local function note(t, k) seen[#seen + 1] = tostring(k) return function() return {} end end
          local env = setmetatable({}, {__index = note})
          local chunk = load(source, '=x', 't', env)
          if chunk then pcall(chunk) end
          return table.concat(seen, ' ')
        end"""
    )
    randomly = random.Random(11)
    letters = string.ascii_lowercase[:6]
    for _ in range(2000):
        picked = (randomly.choice(TEMPLATES) for _ in range(5))
        source = " ".join(part.format(*(randomly.choice(letters) for _ in range(3))) for part in picked)
        seen = set(run(source).split())
        assert seen <= {use.name for use in names(source).uses}, source
