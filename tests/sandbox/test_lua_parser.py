"""Syntax trees of Lua chunks: their shape, their lines, their names, their bounds."""

from __future__ import annotations

from typing import Any

import lupa.lua54
import pytest

from sandbox.lua_lexer import LuaSyntaxError
from sandbox.lua_parser import MAX_SUFFIXES, MAX_TOKENS, parse
from sandbox.lua_syntax import problem
from sandbox.lua_tree import Binary, Block, Constant, Name, Node, Variable


def told(node: Any) -> Any:
    """Return a tree as nested lists of plain data; a local variable by its name and line."""
    if isinstance(node, Name):
        return node.name if node.variable is None else f"{node.name}@{node.variable.line}"
    if isinstance(node, Constant):
        return ["=", node.value]
    if isinstance(node, Variable):
        return f"{node.name}@{node.line}"
    if isinstance(node, Block):
        return [told(statement) for statement in node.statements]
    if isinstance(node, Node):
        fields = [name for name in type(node).__dataclass_fields__ if name != "line"]
        return [type(node).__name__, *(told(getattr(node, name)) for name in fields)]
    if isinstance(node, (list, tuple)):
        return [told(item) for item in node]
    return node


def expression(source: str, flavour: str = "lua") -> Any:
    (statement,) = parse(f"return {source}", flavour).body.statements
    (_, (value,)) = told(statement)
    return value


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a.b", ["Index", "a", ["=", "b"]]),
        ("a[b]", ["Index", "a", "b"]),
        ("a:b'c'", ["Method", "a", "b", [["=", "c"]]]),
        ("a{b}(c).d", ["Index", ["Call", ["Call", "a", [["Table", [[None, "b"]]]]], ["c"]], ["=", "d"]]),
        ("(a)", ["Group", "a"]),
        ("...", ["Vararg"]),
        ("{a, b = c, [d] = e; f}", ["Table", [[None, "a"], [["=", "b"], "c"], ["d", "e"], [None, "f"]]]),
        ("function(a, ...) return a end", ["Function", ["a@1"], True, [["Return", ["a@1"]]]]),
        ("a or b and c", ["Binary", ["a", ["Binary", ["b", "c"], ["and"]]], ["or"]]),
        ("a + b - c * d", ["Binary", ["a", "b", ["Binary", ["c", "d"], ["*"]]], ["+", "-"]]),
        ("a .. b .. c", ["Binary", ["a", "b", "c"], ["..", ".."]]),
        ("-a ^ b", ["Unary", "-", ["Binary", ["a", "b"], ["^"]]]),
        ("a ^ -b ^ c", ["Binary", ["a", ["Unary", "-", ["Binary", ["b", "c"], ["^"]]]], ["^"]]),
        ("not a == b", ["Binary", [["Unary", "not", "a"], "b"], ["=="]]),
        ("#a < b // c << d | e ~ f & g", [
            "Binary", [["Unary", "#", "a"], ["Binary", [["Binary", [["Binary", ["b", "c"], ["//"]], "d"], ["<<"]],
            ["Binary", ["e", ["Binary", ["f", "g"], ["&"]]], ["~"]]], ["|"]]], ["<"]]),
        ("nil", ["=", None]),
        ("0xA", ["=", 10]),
        ("0xffffffffffffffff", ["=", -1]),
        ("9223372036854775808", ["=", 9223372036854775808.0]),
        ("0x.8p1", ["=", 1.0]),
        ("1e2", ["=", 100.0]),
        ("'\\65'", ["=", "A"]),
    ],
)  # fmt: skip
def test_expressions(source: str, expected: Any) -> None:
    assert expression(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("local a <const>, b <close> = 1", [["Local", ["a@1", "b@1"], [["=", 1]], ["const", "close"]]]),
        ("local a = a\nreturn a", [["Local", ["a@1"], ["a"], [None]], ["Return", ["a@1"]]]),
        ("local function a() return a end", [["LocalFunction", "a@1", ["Function", [], False, [["Return", ["a@1"]]]]]]),
        ("function a.b:c(d) return self end",
         [["Assign", [["Index", ["Index", "a", ["=", "b"]], ["=", "c"]]],
           [["Function", ["self@1", "d@1"], False, [["Return", ["self@1"]]]]]]]),
        ("a, b.c = d", [["Assign", ["a", ["Index", "b", ["=", "c"]]], ["d"]]]),
        ("for i = a, b do i() end", [["Count", "i@1", ["a", "b"], [["Evaluate", ["Call", "i@1", []]]]]]),
        ("for k, v in k do v() end", [["ForEach", ["k@1", "v@1"], ["k"], [["Evaluate", ["Call", "v@1", []]]]]]),
        ("repeat local x until x", [["Repeat", [["Local", ["x@1"], [], [None]]], "x@1"]]),
        ("do local x end x()", [["Do", [["Local", ["x@1"], [], [None]]]], ["Evaluate", ["Call", "x", []]]]),
        ("local x\nlocal x\nx()", [["Local", ["x@1"], [], [None]], ["Local", ["x@2"], [], [None]],
                                   ["Evaluate", ["Call", "x@2", []]]]),
        ("local x\ndo local x\nlocal x\nx() end\nx()", [
            ["Local", ["x@1"], [], [None]],
            ["Do", [["Local", ["x@2"], [], [None]], ["Local", ["x@3"], [], [None]], ["Evaluate", ["Call", "x@3", []]]]],
            ["Evaluate", ["Call", "x@1", []]]]),
        ("for i = a, b do\nlocal i = i\ni() end i()", [
            ["Count", "i@1", ["a", "b"], [["Local", ["i@2"], ["i@1"], [None]], ["Evaluate", ["Call", "i@2", []]]]],
            ["Evaluate", ["Call", "i", []]]]),
        ("local function f(a)\nlocal a, f = a, f\na(f) end a(f)", [
            ["LocalFunction", "f@1", ["Function", ["a@1"], False, [
                ["Local", ["a@2", "f@2"], ["a@1", "f@1"], [None, None]], ["Evaluate", ["Call", "a@2", ["f@2"]]]]]],
            ["Evaluate", ["Call", "a", ["f@1"]]]]),
        ("if a then elseif b then c() else d() end",
         [["If", [["a", []], ["b", [["Evaluate", ["Call", "c", []]]]]], [["Evaluate", ["Call", "d", []]]]]]),
        ("while a do break end goto x ::x::;;", [["While", "a", [["Jump", "break"]]], ["Jump", "x"], ["Jump", "x"]]),
        ("return", [["Return", []]]),
        ("return;", [["Return", []]]),
        ("f\n(g)", [["Evaluate", ["Call", "f", ["g"]]]]),
    ],
)  # fmt: skip
def test_statements_and_scopes(source: str, expected: Any) -> None:
    """A name means the local variable that was declared before it, and nothing that is declared later or elsewhere."""
    assert told(parse(source).body) == expected
    assert problem(source.encode(), "main.lua") is None


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("1ULL", ["OddNumber"]),
        ("0x10LL", ["OddNumber"]),
        ("2i", ["OddNumber"]),
        ("0b101", ["OddNumber"]),
        ("a.goto", ["Index", "a", ["=", "goto"]]),
        ("{goto = 1}", ["Table", [[["=", "goto"], ["=", 1]]]]),
        ("\xe9", "\xe9"),
    ],
)
def test_what_only_luajit_has(source: str, expected: Any) -> None:
    """It keeps goto as a name, has numerals of its own, and lets names hold any byte above ASCII."""
    assert problem(f"return {source}".encode("latin-1"), "main.lua", "luajit") is None
    assert expression(source, "luajit") == expected


def test_lines_are_those_of_the_text() -> None:
    (first, second) = parse("local a =\n  fs\n    .read\n\n;(a)\n(b)").body.statements
    assert (first.line, second.line) == (1, 5)


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("\nx =", 2), ("x", 1), ("a.b", 1), ("\n\nif x then", 3), ("for in x do end", 1), ("f() = 1", 1), ("end", 1),
        ("return 1 2", 1), ("x = }", 1), ("x = {1, 2", 1), ("local function a.b() end", 1), ("(a) = 1", 1), ("::a", 1),
        ("local a <", 1), ("a:b", 1), ("x = 'a", 1), ("goto 1", 1), ("return return", 1),
    ],
)  # fmt: skip
def test_errors_name_the_line(source: str, line: int) -> None:
    with pytest.raises(LuaSyntaxError) as caught:
        parse(source)
    assert caught.value.line == line


def test_what_lua_accepts_up_to_its_own_nesting_is_understood() -> None:
    """Otherwise an honest script could not be published."""
    for opening, inside, closing in (("(", "1", ")"), ("{", "", "}"), ("function() return ", "1", " end ")):
        source = "return " + opening * 90 + inside + closing * 90
        lupa.lua54.LuaRuntime().compile(source)
        parse(source)


@pytest.mark.parametrize(
    "source",
    [
        "return " + "(" * 100_000, "return " + "{" * 100_000, "x = " + "-" * 100_000, "x = " + "not " * 50_000,
        "do " * 60_000, "x = " + "function() " * 60_000, "f" + "()" * 60_000, "x = a" + ".b" * 90_000,
        "x = " + "2^" * 60_000 + "1", "a" + "[a" * 60_000, "if a then " * 60_000, "x = " + "1 " * (MAX_TOKENS + 1),
    ],
)  # fmt: skip
def test_what_is_too_deep_or_too_much_is_refused_not_crashed(source: str) -> None:
    """Lua stops at 200 levels; whatever reaches us beyond that must be an error."""
    with pytest.raises(LuaSyntaxError):
        parse(source)


def test_long_chains_are_flat() -> None:
    """A long sum is no deep tree; neither is a list of alternatives."""
    (statement,) = parse("return " + " + ".join("a" * 20_000)).body.statements
    (value,) = statement.values
    assert isinstance(value, Binary)
    assert len(value.operands) == 20_000
    parse("if a then " + "elseif b then " * 20_000 + "end")
    parse("x = " + "a" + ".b" * (MAX_SUFFIXES - 1))
