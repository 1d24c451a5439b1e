"""Nothing that a script can call at run time may be missing from what analysis infers."""

from __future__ import annotations

import pytest

from protocol.errors import ArgumentError
from protocol.tiers import Tier
from sandbox.analysis import Analysis, analyse
from sandbox.runtimes import MAX_SOURCE_BYTES

KNOWN = {
    "fs.space": Tier.OBSERVE,
    "fs.list": Tier.OBSERVE,
    "fs.read": Tier.INSPECT,
    "proc.list": Tier.OBSERVE,
    "proc.exec": Tier.ADMIN,
    "net.counters": Tier.OBSERVE,
    "log.info": Tier.COMPUTE,
    "json.encode": Tier.COMPUTE,
    "param": Tier.COMPUTE,
}


def lua(source: str | bytes) -> Analysis:
    return analyse("lua", {"main.lua": source.encode() if isinstance(source, str) else source}, "main.lua", KNOWN)


def python(source: str) -> Analysis:
    return analyse("python", {"main.py": source.encode()}, "main.py", KNOWN)


def places(found: Analysis) -> dict[str, tuple[str, ...]]:
    return {name: called.places for name, called in found.calls.items()}


def whole(what: str) -> Tier:
    """Return what the family that is reported needs as a whole."""
    return {"fs": Tier.INSPECT, "computed": Tier.INSPECT, "param": Tier.COMPUTE}.get(what.split(" ")[0], Tier.ADMIN)


@pytest.mark.parametrize(
    ("source", "calls", "tier"),
    [
        ("return 1", {}, Tier.COMPUTE),
        ("return fs.space('/')", {"fs.space": ("main.lua:1",)}, Tier.OBSERVE),
        ("\nlocal s = fs.space\nreturn s('/')", {"fs.space": ("main.lua:2", "main.lua:3")}, Tier.OBSERVE),
        ("return fs['space']('/')", {"fs.space": ("main.lua:1",)}, Tier.OBSERVE),
        ("return fs[ [[read]] ]('/')", {"fs.read": ("main.lua:1",)}, Tier.INSPECT),
        ("return fs:read('/')", {"fs.read": ("main.lua:1",)}, Tier.INSPECT),
        ("return fs.read'/'", {"fs.read": ("main.lua:1",)}, Tier.INSPECT),
        ("return _G.fs.read('/')", {"fs.read": ("main.lua:1",)}, Tier.INSPECT),
        ("return _ENV['fs'].read('/')", {"fs.read": ("main.lua:1",)}, Tier.INSPECT),
        ("return _G._G._ENV.proc.exec({})", {"proc.exec": ("main.lua:1",)}, Tier.ADMIN),
        ("return _G.param('x')", {"param": ("main.lua:1",)}, Tier.COMPUTE),
        ("if false then proc.exec({}) end", {"proc.exec": ("main.lua:1",)}, Tier.ADMIN),
        ("-- fs.read\nreturn '--fs.read' .. [==[ fs.read ]==]", {}, Tier.COMPUTE),
        ("-- comment\rproc.exec({})", {"proc.exec": ("main.lua:2",)}, Tier.ADMIN),
        ("--[[ x ]] proc.exec({})", {"proc.exec": ("main.lua:1",)}, Tier.ADMIN),
        ("--[==[ ]] ]==] proc.exec({})", {"proc.exec": ("main.lua:1",)}, Tier.ADMIN),
        ("local s = 'a\\'b' proc.exec({}) s = '", None, None),
        ("local s = 'a\\\\' proc.exec({})", {"proc.exec": ("main.lua:1",)}, Tier.ADMIN),
        ("local s = 'a\\z   \n  b' proc.exec({})", {"proc.exec": ("main.lua:2",)}, Tier.ADMIN),
        ("local s = 'a\\\nb' proc.exec({})", {"proc.exec": ("main.lua:2",)}, Tier.ADMIN),
        ("local t = {fs = 1, ['proc'] = 2} return t.fs", {}, Tier.COMPUTE),
        ("local t = {a = fs.read}", {"fs.read": ("main.lua:1",)}, Tier.INSPECT),
        (
            "for _, net in ipairs(net.counters()) do print(net.name) end",
            {"net.counters": ("main.lua:1",)},
            Tier.OBSERVE,
        ),
        ("local proc = proc.list() return #proc", {"proc.list": ("main.lua:1",)}, Tier.OBSERVE),
        ("local function fs() end return fs()", {}, Tier.COMPUTE),
        ("local function f(fs) return fs.read end", {}, Tier.COMPUTE),
        ("do local fs = {} end return fs.read", {"fs.read": ("main.lua:1",)}, Tier.INSPECT),
        ("repeat local fs = {} until fs.read", {}, Tier.COMPUTE),
        ("local fs = fs.read", {"fs.read": ("main.lua:1",)}, Tier.INSPECT),
        ("local a <const>, b <close> = fs.read, nil", {"fs.read": ("main.lua:1",)}, Tier.INSPECT),
        ("goto e\n::e::\nfs.read()", {"fs.read": ("main.lua:3",)}, Tier.INSPECT),
        ("return 1 // 2 << 3 .. #fs.read() ~ 4", {"fs.read": ("main.lua:1",)}, Tier.INSPECT),
        ("function helper() return fs.read() end\nhelper()", {"fs.read": ("main.lua:1",)}, Tier.INSPECT),
        ("local o = {} function o.a:b() return self, fs.read end", {"fs.read": ("main.lua:1",)}, Tier.INSPECT),
        ("local f = fs", {}, Tier.COMPUTE),
        ("local f = fs\nreturn f.read('/')", {"fs.read": ("main.lua:2",)}, Tier.INSPECT),
        ("local f = (fs).read", {"fs.read": ("main.lua:1",)}, Tier.INSPECT),
        ("local fs = fs\nreturn fs.read", {"fs.read": ("main.lua:2",)}, Tier.INSPECT),
        ("local n = 'read' return fs[n]", {"fs.read": ("main.lua:1",)}, Tier.INSPECT),
        ("local n if x then n = 'read' end return fs[n]", {"fs.read": ("main.lua:1",)}, Tier.INSPECT),
        ("return fs['re' .. 'ad']", {"fs.read": ("main.lua:1",)}, Tier.INSPECT),
        ("return fs['\\114ead']", {"fs.read": ("main.lua:1",)}, Tier.INSPECT),
        ("return fs['\\x72\\u{65}\\z  \n  ad']", {"fs.read": ("main.lua:1",)}, Tier.INSPECT),
        ("local a, b = fs, proc local c = b return c.exec", {"proc.exec": ("main.lua:1",)}, Tier.ADMIN),
        ("local f; local function g() return f.read('/') end\nf = fs", {"fs.read": ("main.lua:1",)}, Tier.INSPECT),
        (
            "local f = fs\nf = proc\nreturn f.list()",
            {"fs.list": ("main.lua:3",), "proc.list": ("main.lua:3",)},
            Tier.OBSERVE,
        ),
        ("a = fs return a.read", {"fs.read": ("main.lua:1",)}, Tier.INSPECT),
        ("_G.a = fs return _ENV.a.read", {"fs.read": ("main.lua:1",)}, Tier.INSPECT),
        ("local g = _G return g.fs.read", {"fs.read": ("main.lua:1",)}, Tier.INSPECT),
        ("local f = fs or proc\nf.list()", {"fs.list": ("main.lua:2",), "proc.list": ("main.lua:2",)}, Tier.OBSERVE),
        (
            "for _, f in ipairs({fs, proc}) do f.list() end",
            {"fs.list": ("main.lua:1",), "proc.list": ("main.lua:1",)},
            Tier.OBSERVE,
        ),
        ("return pcall(fs.read, '/')", {"fs.read": ("main.lua:1",)}, Tier.INSPECT),
        ("local p = pcall return p(p, fs.read, '/')", {"fs.read": ("main.lua:1",)}, Tier.INSPECT),
        (
            "return xpcall(fs.read, proc.exec, '/')",
            {"fs.read": ("main.lua:1",), "proc.exec": ("main.lua:1",)},
            Tier.ADMIN,
        ),
        ("return coroutine.wrap(fs.read)", {"fs.read": ("main.lua:1",)}, Tier.INSPECT),
        ("if fs then return 1 end", {}, Tier.COMPUTE),
    ],
)
def test_lua_calls_are_found_where_their_name_is_taken(
    source: str, calls: dict[str, tuple[str, ...]] | None, tier: Tier | None
) -> None:
    """With real scopes: a local of the same name is not the family."""
    found = lua(source)
    if calls is None:
        assert found.syntax_errors
        return
    assert (places(found), found.tier, found.dynamic) == (calls, tier, ())
    assert found.is_complete


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("return fs[param('n')]", "computed name"),
        ("for n in pairs({read = 1}) do fs[n]() end", "computed name"),
        ("local f = fs return f[param('n')]", "computed name"),
        ("return {fs}", "fs is used as a value"),
        ("local t = {} t.x = fs", "fs is used as a value"),
        ("local function f(x) return x.read end return f(fs)", "fs is used as a value"),
        ("local function f() return fs end", "fs is used as a value"),
        ("return setmetatable({}, {__index = fs})", "fs is used as a value"),
        ("return fs == param", "fs is used as a value"),
        ("return select(1, fs)", "fs is used as a value"),
        ("coroutine.yield(fs)", "fs is used as a value"),
        ("local x <close> = fs", "fs is used as a value"),
        ("local f = fs for k in pairs(f) do end", "fs is used as a value"),
        ("_G[param('x')] = 1", "a global is replaced under a computed name"),
        ("print(fs)", "fs is used as a value"),
        ("return rawget(fs, 'read')", "fs is used as a value"),
        ("for k in pairs(fs) do end", "fs is used as a value"),
        ("return _G", "_G is used as a value"),
        ("for k, v in pairs(_G) do v() end", "_G is used as a value"),
        ("return _G[param('n')]", "_G is used as a value"),
        ("return rawget(_G, 'fs')", "_G is used as a value"),
        ("return _ENV", "_ENV is used as a value"),
        ("local _ENV = {}", "_ENV is replaced"),
        ("local function f(_ENV) return read() end", "_ENV is replaced"),
        ("for _ENV in pairs({}) do read() end", "_ENV is replaced"),
        ("_ENV = {}", "_ENV is replaced"),
        ("return load('return fs.read')", "load runs text"),
        ("local l = load", "load runs text"),
        ("return _G.load('x')", "load runs text"),
        ("fs = {} return fs.read", "fs is replaced"),
        ("param = print", "param is replaced"),
        ("function fs() end fs:read()", "fs is replaced"),
        ("_G = nil", "_G is replaced"),
    ],
)
def test_what_reading_cannot_tell_is_dynamic_in_lua(source: str, what: str) -> None:
    """And then the tier is what the whole family needs, or all of them."""
    found = lua("\n" + source)
    assert any(place.startswith("main.lua:2: ") and what in place for place in found.dynamic), found
    assert found.tier is whole(what)
    assert not found.is_complete


@pytest.mark.parametrize(
    ("source", "calls", "tier"),
    [
        ("result = 1", {}, Tier.COMPUTE),
        ("result = fs.space('/')", {"fs.space": ("main.py:1",)}, Tier.OBSERVE),
        ("\nread = fs.read\n", {"fs.read": ("main.py:2",)}, Tier.INSPECT),
        ("result = getattr(fs, 'read')('/')", {"fs.read": ("main.py:1",)}, Tier.INSPECT),
        ("result = getattr(fs, 'read', None)", {"fs.read": ("main.py:1",)}, Tier.INSPECT),
        ("result = fs.space('/')['total']", {"fs.space": ("main.py:1",)}, Tier.OBSERVE),
        (
            "result = [fs.read(p) for p in fs.list('/')]",
            {"fs.list": ("main.py:1",), "fs.read": ("main.py:1",)},
            Tier.INSPECT,
        ),
        ("result = param('x')", {"param": ("main.py:1",)}, Tier.COMPUTE),
        ("def f(x=fs.read):\n    pass", {"fs.read": ("main.py:1",)}, Tier.INSPECT),
        ("def f(x: fs.read):\n    pass", {}, Tier.COMPUTE),
        ("@fs.read\ndef f():\n    pass", {"fs.read": ("main.py:1",)}, Tier.INSPECT),
        ("class A:\n    x = fs.read", {"fs.read": ("main.py:2",)}, Tier.INSPECT),
        ("f = lambda: fs.read", {"fs.read": ("main.py:1",)}, Tier.INSPECT),
        ("result = f'{fs.read(1)}'", {"fs.read": ("main.py:1",)}, Tier.INSPECT),
        ("try:\n    pass\nexcept ValueError:\n    fs.read()", {"fs.read": ("main.py:4",)}, Tier.INSPECT),
        (
            "def f():\n    for proc in proc_list():\n        proc.exec\ndef proc_list():\n    return []",
            {},
            Tier.COMPUTE,
        ),
        ("def f(fs):\n    return fs.read", {}, Tier.COMPUTE),
        ("def f():\n    fs = {}\n    def g():\n        return fs\n    return g", {}, Tier.COMPUTE),
        ("def f():\n    return [fs for fs in fs.list('/')]", {"fs.list": ("main.py:2",)}, Tier.OBSERVE),
        ("def f():\n    try:\n        pass\n    except ValueError as log:\n        return log", {}, Tier.COMPUTE),
        ("result = {'fs': 1}['fs']", {}, Tier.COMPUTE),
        ("f = fs\nf.read('/')", {"fs.read": ("main.py:2",)}, Tier.INSPECT),
        ("getattr(fs, 're' + 'ad')", {"fs.read": ("main.py:1",)}, Tier.INSPECT),
        ("g = getattr\ng(fs, 'read')", {"fs.read": ("main.py:2",)}, Tier.INSPECT),
        ("[x.read for x in [fs]]", {"fs.read": ("main.py:1",)}, Tier.INSPECT),
        ("for f in (fs, proc):\n    f.list()", {"fs.list": ("main.py:2",), "proc.list": ("main.py:2",)}, Tier.OBSERVE),
        (
            "def f():\n    [(g := fs.read) for x in [1]]\n    g('/')",
            {"fs.read": ("main.py:2", "main.py:3")},
            Tier.INSPECT,
        ),
        ("def f():\n    return [(fs := 1) for x in []], fs", {}, Tier.COMPUTE),
        ("def f():\n    import re as fs\n    return fs", {}, Tier.COMPUTE),
        ("def f():\n    global g\n    g = fs\ndef h():\n    g.read('/')", {"fs.read": ("main.py:5",)}, Tier.INSPECT),
        (
            "a, (b, c) = 1, (fs, proc)\nb.read, c.exec",
            {"fs.read": ("main.py:2",), "proc.exec": ("main.py:2",)},
            Tier.ADMIN,
        ),
        ("if (f := fs):\n    f.read('/')", {"fs.read": ("main.py:2",)}, Tier.INSPECT),
        ("result = hasattr(fs, 'read')", {}, Tier.COMPUTE),
        ("result = (fs if 1 else proc).list()", {"fs.list": ("main.py:1",), "proc.list": ("main.py:1",)}, Tier.OBSERVE),
        ("import json\nx = json", {}, Tier.COMPUTE),
        ("from json import encode\nencode(1)", {"json.encode": ("main.py:1", "main.py:2")}, Tier.COMPUTE),
    ],
)
def test_python_calls_are_found_where_their_name_is_taken(
    source: str, calls: dict[str, tuple[str, ...]], tier: Tier
) -> None:
    """With real scopes: a local of the same name is not the family."""
    found = python(source)
    assert (places(found), found.tier, found.dynamic) == (calls, tier, ())
    assert found.is_complete


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("x = [fs]", "fs is used as a value"),
        ("getattr(fs, param('n'))", "fs is used as a value"),
        ("getattr(*[fs, 'read'])", "fs is used as a value"),
        ("def f(x=fs):\n    pass", "fs is used as a value"),
        ("class A:\n    fs = fs", "fs is used as a value"),
        ("(lambda x: x.read)(fs)", "fs is used as a value"),
        ("fs = 1\nfs.read", "fs is replaced"),
        ("for fs in [1]:\n    pass", "fs is replaced"),
        ("def fs():\n    pass\nfs.read('/')", "fs is replaced"),
        ("def f():\n    global fs\n    fs = 1", "fs is replaced"),
        ("(fs := 1)", "fs is replaced"),
        ("def f():\n    fs = 1\n    class A:\n        x = fs\n        fs = 2\n", "fs is used as a value"),
    ],
)
def test_what_reading_cannot_tell_is_dynamic_in_python(source: str, what: str) -> None:
    """And then the tier is what the whole family needs."""
    found = python(source)
    assert any(what in place for place in found.dynamic), found
    assert found.tier is whole(what)
    assert not found.is_complete


def test_unknown_names_are_told_with_their_places() -> None:
    """A typing error in the name of a call is found before the script is published."""
    assert dict(lua("fs.spcae('/')\nnosuch()\ntty.open()").unknown) == {
        "fs.spcae": ("main.lua:1",),
        "nosuch": ("main.lua:2",),
        "tty.open": ("main.lua:3",),
    }
    assert dict(python("fs.spcae('/')\ntty.open()").unknown) == {"fs.spcae": ("main.py:1",), "tty.open": ("main.py:2",)}


@pytest.mark.parametrize(
    ("source", "unknown"),
    [
        ("import math\nmath.sqrt(2)", {}),
        ("import math\nmath.nosuch(2)", {("math", "nosuch"): ("main.py:2",)}),
        ("import math, re as r\nr.nosuch\nr.match", {("re", "nosuch"): ("main.py:2",)}),
        ("def f():\n    import math\n    return math.nosuch", {("math", "nosuch"): ("main.py:3",)}),
        ("import math\nm = math\nm.anything", {("math", "anything"): ("main.py:3",)}),
        ("import math\nmath = 5\nmath.real", {}),
        ("from math import sqrt as s\ns(2)", {}),
        ("from datetime import datetime\ndatetime.now()", {}),
        ("def f(math):\n    import math\n    return math.x", {}),
        ("import json\njson.dumps(json.encode(1))", {}),
        ("import json\njson.nosuch", {"json.nosuch": ("main.py:2",)}),
        ("math.sqrt(2)", {"math.sqrt": ("main.py:1",)}),
    ],
)
def test_names_of_imported_modules_are_known(source: str, unknown: dict[str, tuple[str, ...]]) -> None:
    """Under the name of the module, whatever the script calls it; and importing one makes nothing dynamic."""
    found = python(source)
    assert dict(found.unknown) | dict(found.absent) == unknown
    assert (found.dynamic, found.tier) == ((), Tier.COMPUTE)


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import math as fs\nfs.read", "fs is replaced"),
        ("from json import dumps as proc", "proc is replaced"),
        ("import json\ngetattr(json, param('n'))", "json is used as a value"),
    ],
)
def test_imports_that_hide_a_family_are_dynamic(source: str, what: str) -> None:
    """A reviewer must not read one thing where another happens."""
    found = python(source)
    assert any(what in place for place in found.dynamic), found
    assert not found.is_complete


def test_calls_of_an_imported_family_are_found() -> None:
    """Before the import the name is the family, after it the module has the same calls."""
    assert places(python("import json\njson.encode(1)")) == {"json.encode": ("main.py:2",)}
    assert places(python("def f():\n    import json\n    json.encode(1)")) == {"json.encode": ("main.py:3",)}
    assert places(python("import json\nfs.read('/')")) == {"fs.read": ("main.py:2",)}


def test_names_that_the_script_defines_are_not_unknown() -> None:
    """Global functions of its own, in any order."""
    assert not lua("a()\nfunction a() end\nb = 1\nc, d = b, c").unknown
    assert not python("def main():\n    return a(b)\ndef a(x):\n    return x\nb = 1").unknown


@pytest.mark.parametrize(
    ("source", "place", "words"),
    [
        ("x =", "main.lua:1", "unexpected symbol"),
        ("\n\nfor", "main.lua:3", "<name> expected"),
        ("\x1bLua", "main.lua:1", "bytecode"),
        ("return " + "(" * 1000, "main.lua", "C stack overflow"),
        ("#!/bin/lua\nreturn 1", "main.lua:1", "unexpected symbol"),
    ],
)
def test_lua_syntax_errors_name_file_and_line(source: str, place: str, words: str) -> None:
    """In Lua's own words."""
    (told,) = lua(source).syntax_errors
    assert told[0] == place
    assert words in told[1]


@pytest.mark.parametrize(
    ("source", "place", "words"),
    [
        ("x = (", "main.py:1", "never closed"),
        ("\nimport os", "main.py:2", "import is not available for os; what can be imported: base64, collections, csv"),
        ("\nimport math.x", "main.py:2", "import is not available for math.x"),
        ("\nfrom textwrap import x", "main.py:2", "import is not available for x of textwrap; it has dedent, fill"),
        ("\nfrom math import *", "main.py:2", "import is not available for * of math"),
        ("\n__import__('math')", "main.py:2", "__import__ is not available; what can be imported"),
        ("x = 1\nx.__class__", "main.py:2", "invalid attribute name"),
        ("(" * 1000, "main.py", "too"),
        ("x = 1\x00", "main.py", "null"),
    ],
)
def test_python_syntax_errors_name_file_and_line(source: str, place: str, words: str) -> None:
    """What does not compile as restricted Python is a syntax error here."""
    (told,) = python(source).syntax_errors
    assert told[0].startswith(place)
    assert words in told[1]


def test_a_script_with_syntax_errors_gets_no_low_tier() -> None:
    """Nothing was read of it."""
    assert lua("x =").tier is Tier.ADMIN


def test_all_files_of_the_language_are_read() -> None:
    """Each could be what runs one day; other files are data."""
    files = {"main.lua": b"return 1", "lib/a.lua": b"\nfs.read()", "b.py": b"fs.exec(", "c.txt": b"fs.read"}
    found = analyse("lua", files, "main.lua", KNOWN)
    assert places(found) == {"fs.read": ("lib/a.lua:2",)}


def test_main_is_read_whatever_its_suffix() -> None:
    """Otherwise a name without a suffix would hide a script."""
    assert "fs.read" in analyse("lua", {"check": b"fs.read()"}, "check", KNOWN).calls


def test_a_missing_main_and_a_file_that_is_too_large_are_told() -> None:
    """Both make the script unable to run."""
    assert analyse("lua", {}, "main.lua", KNOWN).syntax_errors == (("main.lua", "the bundle has no such file"),)
    (told,) = lua(b" " * (MAX_SOURCE_BYTES + 1)).syntax_errors
    assert "larger than" in told[1]


def test_an_unknown_language_is_refused() -> None:
    """Rather than read as something else."""
    with pytest.raises(ArgumentError, match="'perl' is not a language"):
        analyse("perl", {}, "main.pl", KNOWN)
