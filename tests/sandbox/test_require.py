"""``require`` in both languages: what a module is, that it runs once, and that a library keeps to itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from languages import BINDINGS, MEMORY_BYTES, SEED, RecordingChannel

from sandbox import lua_runtime, python_runtime
from sandbox.modules import NONE, Libraries, Library
from sandbox.runtimes import Binding, Result, RuntimeLimits

ALL = (*BINDINGS, Binding("require", ("name",), is_local=True))
FLAVOURS = ["lua", "luajit"]


def lua(
    source: str, files: Mapping[str, str] | None = None, libraries: Libraries = NONE, *, flavour: str = "lua",
    bindings: tuple[Binding, ...] = ALL, answers: Mapping[str, Any] | None = None,
) -> Result:  # fmt: skip
    runtime = lua_runtime.create(
        bindings, RecordingChannel(answers or {}), RuntimeLimits(MEMORY_BYTES), randomness=SEED, flavour=flavour
    )
    held = {"main.lua": source.encode(), **{name: text.encode("latin-1") for name, text in (files or {}).items()}}
    return runtime.execute("main.lua", held, {"p": 5}, libraries)


def python(source: str, files: Mapping[str, str] | None = None, libraries: Libraries = NONE) -> Result:
    runtime = python_runtime.create(ALL, RecordingChannel({}), RuntimeLimits(MEMORY_BYTES))
    held = {"main.py": source.encode(), **{name: text.encode() for name, text in (files or {}).items()}}
    return runtime.execute("main.py", held, {"p": 5}, libraries)


def library(files: Mapping[str, str], main: str, name: str = "lib/rates", **requires: str) -> Library:
    return Library(name, main, {path: text.encode() for path, text in files.items()}, requires)


# Lua -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_lua_a_module_is_what_its_file_returns(flavour: str) -> None:
    files = {"util.lua": "return {twice = function(n) return n * 2 end}", "none.lua": "x = 1"}
    result = lua('return {require("util").twice(21), require("none")}', files, flavour=flavour)
    assert (result.ok, result.value) == (True, [42, True])


def test_lua_it_runs_once() -> None:
    files = {"count.lua": "n = (n or 0) + 1 return {n = n}"}
    result = lua('local a, b = require("count"), require("count.lua") return {a.n, b.n, a == b, n}', files)
    assert result.value == [1, 1, True, 1]


def test_lua_a_library_has_globals_and_modules_of_its_own() -> None:
    rates = library(
        {
            "init.lua": 'own = 7 leaked = secret return {own = own, saw = secret, util = require("util"), '
            'main = pcall(require, "main"), load = load("return own")(), g = _G.own}',
            "util.lua": 'return "util of rates"',
        },
        "init.lua",
    )
    source = (
        'secret = "of the program" local r = require("lib/rates") '
        'return {r, own == nil, leaked == nil, require("util"), load("return secret")()}'
    )
    result = lua(source, {"util.lua": 'return "own util"'}, Libraries({"lib/rates": "d"}, {"d": rates}))
    assert result.ok, result.error_message
    told, *rest = result.value
    assert told == {"own": 7, "util": "util of rates", "main": False, "load": 7, "g": 7}
    assert rest == [True, True, "own util", "of the program"]


def test_lua_two_versions_of_one_library_live_side_by_side() -> None:
    held = {
        "new": library({"i.lua": "return 2"}, "i.lua", "lib/base"),
        "old": library({"i.lua": "return 1"}, "i.lua", "lib/base"),
        "rates": library({"i.lua": 'return require("lib/base")'}, "i.lua", **{"lib/base": "old"}),
    }
    libraries = Libraries({"lib/base": "new", "lib/rates": "rates"}, held)
    assert lua('return {require("lib/base"), require("lib/rates")}', None, libraries).value == [2, 1]


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ('require("nothing")', "not_found"),
        ("require(5)", "invalid_argument"),
        ("require()", "invalid_argument"),
        ("require({})", "invalid_argument"),
        ('require("../main")', "not_found"),
        ('require("a", "b", "c")', "not_found"),
    ],
)
def test_lua_what_cannot_be_found_is_an_error_that_can_be_caught(source: str, code: str) -> None:
    result = lua(source)
    assert (result.ok, result.error_code) == (False, code), result.error_message
    assert lua(f"local ok, e = pcall(function() {source} end) return {{ok, e.code}}").value == [False, code]


def test_lua_a_circle_is_said() -> None:
    files = {"a.lua": 'return require("b")', "b.lua": 'return require("a")'}
    result = lua('return require("a")', files)
    assert (result.error_code, result.error_message) == ("conflict", "a.lua requires itself")


def test_lua_an_error_in_a_module_has_its_place() -> None:
    files = {"bad.lua": "local x = 1\nerror('oh no')", "syntax.lua": "local = 1", "call.lua": "\nfs.space('/')"}
    result = lua('require("bad")', files)
    assert (result.error_where, result.error_message) == ("bad.lua:2", "oh no")
    result = lua('require("syntax")', files)
    assert result.error_where == "syntax.lua:1"
    result = lua('require("call")', files)
    assert (result.error_code, result.error_where) == ("denied", "call.lua:2")
    assert lua('return {pcall(require, "bad"), pcall(require, "bad")}', files).value[0] is False


def test_lua_bytecode_is_refused() -> None:
    assert lua('require("b")', {"b.lua": "\x1bLua"}).error_code == "invalid_argument"


def test_lua_the_name_that_finds_modules_is_no_call() -> None:
    """A script must not reach what ``require`` asks the host; names of calls are words."""
    for source in ('return fs["=find"]', "return _G['=find']"):
        assert lua(source).value is None


def test_lua_without_the_call_there_is_no_require() -> None:
    assert lua("return require == nil", bindings=BINDINGS).value is True


# Python --------------------------------------------------------------------------------------------------------------


def test_python_a_module_has_the_public_names_of_its_file() -> None:
    text = "import math\nLIMIT = 5\ndef twice(n):\n    return n * 2\nclass Box:\n    size = 3\n"
    source = "u = require('util')\nresult = [u.twice(21), u.LIMIT, u.Box.size, hasattr(u, 'no'), u.math.floor(2.5)]"
    result = python(source, {"util.py": text})
    assert result.ok, result.error_message
    assert result.value == [42, 5, 3, False, 2]


def test_python_it_runs_once_and_nobody_changes_it() -> None:
    files = {"count.py": "print('once')\nn = 1\n"}
    source = "a = require('count')\nb = require('count.py')\nsame = a is b\nresult = same"
    assert python(source, files).value is True
    result = python("a = require('count')\na.n = 2", files)
    assert not result.ok


def test_python_a_module_does_not_see_the_program() -> None:
    files = {"peek.py": "def look():\n    return outside\n"}
    result = python("outside = 1\nresult = require('peek').look()", files)
    assert not result.ok
    assert "outside" in str(result.error_message)
    assert result.error_where == "peek.py:2"


def test_python_a_library_has_modules_of_its_own() -> None:
    rates = library({"init.py": "own = require('util').name\n", "util.py": "name = 'util of rates'\n"}, "init.py")
    source = "result = [require('lib/rates').own, require('util').name]"
    result = python(source, {"util.py": "name = 'own util'\n"}, Libraries({"lib/rates": "d"}, {"d": rates}))
    assert result.value == ["util of rates", "own util"]


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("require('nothing')", "not_found"),
        ("require(5)", "invalid_argument"),
        ("require()", "invalid_argument"),
        ("require('a', 'b')", "invalid_argument"),
        ("require(other='a')", "invalid_argument"),
    ],
)
def test_python_what_cannot_be_found_is_an_error_that_can_be_caught(source: str, code: str) -> None:
    result = python(source)
    assert (result.ok, result.error_code) == (False, code), result.error_message
    caught = f"try:\n    {source}\nexcept HostError as e:\n    result = e.code"
    assert python(caught).value == code


def test_python_a_circle_is_said() -> None:
    files = {"a.py": "require('b')\n", "b.py": "require('a')\n"}
    result = python("require('a')", files)
    assert (result.error_code, result.error_message) == ("conflict", "a.py requires itself")


def test_python_an_error_in_a_module_has_its_place() -> None:
    files = {"bad.py": "x = 1\nx / 0\n", "syntax.py": "x = = 1\n", "refused.py": "import os\n"}
    result = python("require('bad')", files)
    assert (result.error_where, str(result.error_message)[:17]) == ("bad.py:2", "ZeroDivisionError")
    result = python("require('syntax')", files)
    assert (result.error_code, str(result.error_message)[:11]) == ("invalid_argument", "syntax.py:1")
    result = python("require('refused')", files)
    assert (result.error_code, str(result.error_message)[:12]) == ("invalid_argument", "refused.py:1")


def test_python_a_module_is_as_restricted_as_the_program() -> None:
    for text in ("().__class__", "__import__('os')", "open('/etc/passwd')", "_print_", "getattr(1, '__class__')"):
        assert not python("require('evil')", {"evil.py": f"x = {text}\n"}).ok, text
    result = python("result = require('evil').__class__", {"evil.py": "x = 1\n"})
    assert not result.ok
