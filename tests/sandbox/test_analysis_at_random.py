"""Scripts made at random, of aliases, nesting and tricks, run for real: what they called must have been inferred."""

from __future__ import annotations

import languages
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.tiers import Tier
from sandbox.analysis import Analysis, analyse
from sandbox.lua_parser import parse
from sandbox.lua_syntax import problem

KNOWN = {
    "fs.space": Tier.OBSERVE, "fs.list": Tier.OBSERVE, "fs.read": Tier.INSPECT, "proc.command": Tier.INSPECT,
    "json.encode": Tier.COMPUTE, "json.decode": Tier.COMPUTE, "param": Tier.COMPUTE,
}  # fmt: skip
ANSWERS = {name: {"x": [1, 2]} for name in KNOWN if name.startswith(("fs.", "proc."))}
RELAXED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def missed(found: Analysis, made: set[str]) -> set[str]:
    """Return the calls that were made and neither inferred nor covered by what is reported as dynamic."""
    dynamic = {place.partition(": ")[2].split(" ")[0] for place in found.dynamic}
    if dynamic - {"fs", "proc", "json", "param"}:  # of everything
        return set()
    return {name for name in made - set(found.calls) - set(found.unknown) if name.split(".")[0] not in dynamic}


# Lua -----------------------------------------------------------------------------------------------------------------

VARIABLES = ("a", "b", "c", "d")
MEMBERS = ("read", "list", "space", "command", "nosuch")
ATOMS = (
    "fs", "proc", "_G", "_ENV", "fs.read", "fs.list", "proc.command", "_G.fs", "_ENV.proc.command", "nil", "1",
    "'read'", "'fs'", "pcall", "rawget", "ipairs", "param('p')", "print", "load", "{}", "'li' .. 'st'", "'\\x72ead'",
    "...",    "function(...) return ... end", "function(x, y) return x.read end", "string", "setmetatable",
)  # fmt: skip


TAME_ATOMS = (
    "fs",
    "fs",
    "proc",
    "fs.read",
    "proc.command",
    "_G.fs",
    "_ENV.proc.command",
    "pcall",
    *VARIABLES,
    *VARIABLES,
)


def tame_lua_expressions() -> st.SearchStrategy[str]:
    """What analysis follows without a doubt, so that nothing dynamic hides a mistake."""
    member = st.sampled_from(("read", "list", "command"))

    def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.one_of(
            st.builds("({}).{}".format, inner, member),
            st.builds("({})['{}']".format, inner, member),
            st.builds("({})['li' .. 'st']".format, inner),
            st.builds("({}).read('/x')".format, inner),
            st.builds("({})('/x')".format, inner),
            st.builds("({} or {})".format, inner, inner),
            st.builds("(nil or {})".format, inner),
            st.builds("({} and {})".format, inner, inner),
            st.builds("select(2, pcall(({}).{}, '/x'))".format, inner, member),
            st.builds("(function() local q = {} return q.{}('/x') end)()".format, inner, member),
        )

    return st.recursive(st.sampled_from(TAME_ATOMS), larger, max_leaves=4)


def lua_expressions() -> st.SearchStrategy[str]:
    member = st.sampled_from(MEMBERS)
    atom = st.sampled_from((*ATOMS, *VARIABLES, *VARIABLES))

    def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.one_of(
            st.builds("({}).{}".format, inner, member),
            st.builds("({})['{}']".format, inner, member),
            st.builds("({})[{}]".format, inner, inner),
            st.builds("({})({})".format, inner, inner),
            st.builds("({})({}, '/x')".format, inner, inner),
            st.builds("({}):{}('/x')".format, inner, member),
            st.builds("({} or {})".format, inner, inner),
            st.builds("({} and {})".format, inner, inner),
            st.builds("({{{}, k = {}}})[1]".format, inner, inner),
            st.builds("({{k = {}}}).k".format, inner),
            st.builds("(function(p) return p end)({})".format, inner),
            st.builds("(function(p) local q = p return q.{} end)({})".format, member, inner),
            st.builds("(function() return {} end)()".format, inner),
            st.builds("select(2, 0, {})".format, inner),
            st.builds("select(2, pcall({}, {}))".format, inner, inner),
            st.builds("select(2, xpcall({}, print, {}))".format, inner, inner),
            st.builds("pcall({}, '/x')".format, inner),
            st.builds("pcall(pcall, {}, '/x')".format, inner),
            st.builds("setmetatable({{}}, {{__index = {}}}).{}".format, inner, member),
            st.builds("rawget({}, 'fs')".format, inner),
            st.builds("coroutine.wrap({})('/x')".format, inner),
            st.builds("coroutine.wrap(function() coroutine.yield({}) end)()".format, inner),
        )

    return st.recursive(atom, larger, max_leaves=6)


@st.composite
def lua_scripts(draw: st.DrawFn) -> str:
    expression = lua_expressions() if draw(st.integers(0, 3)) == 0 else tame_lua_expressions()
    variable = st.sampled_from(VARIABLES)

    def statement(depth: int) -> str:
        kind = draw(st.integers(0, 15 if depth else 9))
        name, other, value = draw(variable), draw(variable), draw(expression)
        match kind:
            case 0:
                return f"local {name} = {value}"
            case 1 | 2:
                return f"{name} = {value}"
            case 3:
                return f"local {name}, {other} = {value}, {draw(expression)}"
            case 4:
                return f"local {name}, {other} = pcall({value}, '/x')"
            case 5:
                return f"_G.{name} = {value}"
            case 6 | 7:
                return f"local _ = {name}.{draw(st.sampled_from(MEMBERS))}('/x')"
            case 8:
                return f"local _ = {value}"
            case 9:
                return f"{name}({value})"
            case 10:
                return f"for _, {name} in ipairs({{{value}, {draw(expression)}}}) do {block(depth - 1)} end"
            case 11:
                return f"for {name}, {other} in pairs({value}) do {block(depth - 1)} break end"
            case 12:
                return f"if {value} then {block(depth - 1)} else {block(depth - 1)} end"
            case 13:
                return f"local function {name}({other}) {block(depth - 1)} end"
            case 14:
                return f"repeat {block(depth - 1)} until true"
            case _:
                return f"do {block(depth - 1)} end"

    def block(depth: int) -> str:
        count = draw(st.integers(1, 3))
        return " ".join(guarded(statement(depth)) for _ in range(count))

    def guarded(text: str) -> str:
        """An error ends only the statement, and names that it declares stay in scope."""
        return text if text.startswith("local ") and "function" not in text else f"pcall(function(...) {text} end)"

    body = [draw(st.sampled_from(["local a, b", "local c", "local a, b = fs, fs.read", "c, d = proc, fs"]))]
    body += [statement(2) for _ in range(draw(st.integers(1, 6)))]
    return "\n".join(guarded(text) for text in body)


@pytest.mark.parametrize("flavour", ["lua", "luajit"])
@RELAXED
@given(source=lua_scripts())
def test_no_call_of_a_lua_script_is_missed(flavour: str, source: str) -> None:
    found = analyse(flavour, {"main.lua": source.encode()}, "main.lua", KNOWN)
    if found.syntax_errors:
        assert problem(source.encode(), "main.lua", flavour) == found.syntax_errors[0]
        return
    ran = languages.lua(source, ANSWERS, {"p": "read"}, flavour=flavour)
    made = {name for name, _, _ in ran.channel.calls}
    assert not missed(found, made), (source, found)


@pytest.mark.parametrize("flavour", ["lua", "luajit"])
@settings(RELAXED, max_examples=100)
@given(source=st.text(st.sampled_from("ab1.,=()[]{}'\"\\ \n-+*/~<>:;#&|x") | st.sampled_from(
    [" and ", " or ", " not ", " local ", " function ", " end ", " if ", " then ", " else ", " do ", " while ", " for ",
     " in ", " return ", " goto ", "::", "..", "...", "--[[", "]]", "[=[", "]=]", "0x1p4", "1e3", " nil ", " repeat ",
     " until ", "<const>"]).flatmap(lambda word: st.just(word[0])), max_size=40) | st.lists(st.sampled_from(
    ["a", "b", "1", "'s'", "[[l]]", "=", "(", ")", "{", "}", "[", "]", ",", ";", ":", ".", "..", "...", "+", "-", "#",
     "~", "not", "and", "or", "local", "function", "end", "if", "then", "else", "elseif", "do", "while", "for", "in",
     "return", "break", "goto", "::", "repeat", "until", "nil", "true", "<", "<const>", "//", "==", "~=", "^", "%"]
), max_size=25).map(" ".join))  # fmt: skip
def test_what_lua_accepts_is_parsed(flavour: str, source: str) -> None:
    """The other way round does not matter; nothing but the documented error is ever raised."""
    if problem(source.encode(), "main.lua", flavour) is None:
        parse(source, flavour)


# Python --------------------------------------------------------------------------------------------------------------

PYTHON_ATOMS = (
    "fs", "proc", "fs.read", "fs.list", "proc.command", "None", "1", "'read'", "'li' + 'st'", "getattr", "hasattr",
    "param('p')", "str", "[]", "map", "(lambda x: x)", "(lambda x: x.read)", "json", "HostError", "f'{\"re\"}ad'",
)  # fmt: skip


def tame_python_expressions() -> st.SearchStrategy[str]:
    """What analysis follows without a doubt, so that nothing dynamic hides a mistake."""
    member = st.sampled_from(("read", "list", "command"))

    def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.one_of(
            st.builds("({}).{}".format, inner, member),
            st.builds("getattr({}, '{}')".format, inner, member),
            st.builds("getattr({}, 'li' + 'st')('/x')".format, inner),
            st.builds("({}).read('/x')".format, inner),
            st.builds("({})('/x')".format, inner),
            st.builds("({} or {})".format, inner, inner),
            st.builds("(None or {})".format, inner),
            st.builds("({} if 1 else {})".format, inner, inner),
            st.builds("(c := {}).{}('/x')".format, inner, member),
            st.builds("[q.{}('/x') for q in [{}, {}]]".format, member, inner, inner),
            st.builds("[(d := {}) and 1 for q in [1]]".format, inner),
            st.builds("(lambda: ({}).{}('/x'))()".format, inner, member),
        )

    atoms = ("fs", "fs", "proc", "fs.read", "proc.command", "getattr", *VARIABLES, *VARIABLES)
    return st.recursive(st.sampled_from(atoms), larger, max_leaves=4)


def python_expressions() -> st.SearchStrategy[str]:
    member = st.sampled_from(MEMBERS)
    atom = st.sampled_from((*PYTHON_ATOMS, *VARIABLES, *VARIABLES))

    def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.one_of(
            st.builds("({}).{}".format, inner, member),
            st.builds("getattr({}, '{}')".format, inner, member),
            st.builds("getattr({}, {})".format, inner, inner),
            st.builds("getattr({}, 'read', {})".format, inner, inner),
            st.builds("({})({})".format, inner, inner),
            st.builds("({})('/x')".format, inner),
            st.builds("({})(*[{}, '/x'])".format, inner, inner),
            st.builds("({})(**{{'path': {}}})".format, inner, inner),
            st.builds("({} or {})".format, inner, inner),
            st.builds("({} if {} else {})".format, inner, inner, inner),
            st.builds("[{}, {}][0]".format, inner, inner),
            st.builds("{{'k': {}}}['k']".format, inner),
            st.builds("(lambda p: p)({})".format, inner),
            st.builds("(lambda p={}: p.{})()".format, inner, member),
            st.builds("[q.{} for q in [{}, {}]][0]('/x')".format, member, inner, inner),
            st.builds("[a for a in ({},)][0].{}('/x')".format, inner, member),
            st.builds("[(b := q) for q in ({},)][0]".format, inner),
            st.builds("(c := {})".format, inner),
            st.builds("list(map({}, [{}]))".format, inner, inner),
            st.builds("sorted([{}], key={})[0]".format, inner, inner),
            st.builds("next(iter([{}]))".format, inner),
            st.builds("f'{{{}}}'".format, inner.filter(lambda text: "'" not in text and "{" not in text)),
        )

    return st.recursive(atom, larger, max_leaves=6)


@st.composite
def python_scripts(draw: st.DrawFn) -> str:
    expression = python_expressions() if draw(st.integers(0, 3)) == 0 else tame_python_expressions()
    variable = st.sampled_from(VARIABLES)

    def statement(depth: int) -> list[str]:
        kind = draw(st.integers(0, 17 if depth else 8))
        name, other, value = draw(variable), draw(variable), draw(expression)
        match kind:
            case 0 | 1 | 2:
                return [f"{name} = {value}"]
            case 3:
                return [f"{name}, {other} = {value}, {draw(expression)}"]
            case 4:
                return [f"{name}, {other} = {value}"]
            case 5 | 6:
                return [f"{name}.{draw(st.sampled_from(MEMBERS))}('/x')"]
            case 7:
                return [value]
            case 8:
                return [f"import json as {name}"]
            case 9:
                return [f"for {name} in ({value}, {draw(expression)}):", *block(depth - 1)]
            case 10:
                return [f"if {value}:", *block(depth - 1), "else:", *block(depth - 1)]
            case 11 | 12:
                called = [f"{name}({draw(expression)})"]
                return [f"def {name}({other}={value}):", *block(depth - 1), *guarded(called)]
            case 13:
                return [f"def {name}():", f"    global {other}", *block(depth - 1), *guarded([f"{name}()"])]
            case 14:
                return [f"class {name}:", *block(depth - 1), *guarded([f"{name}.{other}.read('/x')"])]
            case 15:
                return [f"@{value}" if value.isidentifier() else f"@(lambda f: {value})", f"def {name}():", "    pass"]
            case 16:
                return [f"for {name}, {other} in [({value}, 1)]:", *block(depth - 1)]
            case _:
                return [f"{name} = lambda {other}: {value}", *guarded([f"{name}({draw(expression)})"])]

    def guarded(lines: list[str]) -> list[str]:
        return ["try:", *(f"    {line}" for line in lines), "except Exception as e:", "    pass"]

    def block(depth: int) -> list[str]:
        lines: list[str] = []
        for _ in range(draw(st.integers(1, 3))):
            lines += guarded(statement(depth))
        return [f"    {line}" for line in lines]

    body = [draw(st.sampled_from(["a, b = fs, fs.read", "c, d = proc, fs", "a = None", "b = c = fs"]))]
    for _ in range(draw(st.integers(1, 6))):
        body += guarded(statement(2))
    return "\n".join(body)


@RELAXED
@given(source=python_scripts())
def test_no_call_of_a_python_script_is_missed(source: str) -> None:
    found = analyse("python", {"main.py": source.encode()}, "main.py", KNOWN)
    ran = languages.python(source, ANSWERS, {"p": "read"})
    made = {name for name, _, _ in ran.channel.calls}
    assert not made or not found.syntax_errors
    assert not missed(found, made), (source, found)
