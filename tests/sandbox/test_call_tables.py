"""What is said about arguments, and what is resolved of them, in both languages."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.tiers import Tier
from sandbox.analysis import Analysis, Need, analyse, from_plain
from stdlib.catalogue import load


def row(name: str, tier: str, *parameters: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "tier": tier, "parameters": list(parameters), **more}


def item(name: str, kind: str, *, required: bool = True, **more: Any) -> dict[str, Any]:
    return {"name": name, "kind": kind, "required": required, **more}


TABLES = from_plain(
    [
        row("fs.read", "inspect", item("path", "path", role="path"),
            item("length", "integer 0..1000 bytes", required=False, low=0, high=1000)),
        row("fs.stat", "observe", item("path", "path", role="path")),
        row("fs.grep", "inspect", item("paths", "list of paths", role="path", below="recursive"),
            item("pattern", "text"), item("recursive", "boolean", required=False)),
        row("fs.walk", "observe", item("root", "path", role="path", below=True), gives="stream"),
        row("fs.disk_usage", "observe", item("path", "path", role="path", below=True)),
        row("fs.write", "operate", item("path", "path", role="path"), item("data", "data up to 9 bytes"),
            item("atomic", "boolean", required=False)),
        row("proc.command", "inspect", item("name", "text", role="command"),
            item("args", "list of texts", required=False),
            item("timeout", "number 0.1..60 seconds", required=False, low=0.1, high=60)),
        row("net.ping", "inspect", item("target", "host", role="target")),
        row("fs.chmod", "operate", item("path", "path", role="path"), item("mode", "octal mode")),
        row("net.http", "inspect", item("url", "url", role="target"),
            item("method", "'GET' | 'HEAD'", required=False, choices=["GET", "HEAD"]),
            item("headers", "map of texts or secrets", required=False, map=True)),
        row("sys.cron_set", "operate", item("name", "text", form="[a-z]{1,9}", told="is no name of a job"),
            item("args", "list of texts", required=False, form="[^\n]*", told="holds control characters")),
        row("sys.package_install", "admin", item("names", "list of texts", low=1, high=2)),
        row("proc.exec", "admin", item("argv", "list of texts"), item("stdin", "data up to 9 bytes", required=False),
            item("env", "map of texts or secrets", required=False, map=True, form="[^=]+", told="is no name")),
        row("check.state", "compute", item("state", "'up' | 'down'", choices=["up", "down"])),
        row("state.put", "compute", item("key", "text"), item("value", "map", map=True)),
        row("tty.open", "admin", item("argv", "list of texts"), gives="handle", handle="tty"),
        row("tty.write", "admin", item("tty", "handle tty", map=True), item("data", "data up to 9 bytes")),
        row("tty.close", "admin", item("tty", "handle tty", map=True)),
        row("json.encode", "compute", item("value", "plain value"), local=True),
        row("param", "compute", item("name", "text"), local=True),
    ]
)  # fmt: skip


def lua(source: str) -> Analysis:
    return analyse("lua", {"main.lua": source.encode()}, "main.lua", TABLES)


def python(source: str) -> Analysis:
    return analyse("python", {"main.py": source.encode()}, "main.py", TABLES)


def wrong(found: Analysis) -> list[str]:
    assert not found.syntax_errors
    assert not found.dynamic
    return [message for _, message in found.wrong]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("fs.stat()", ["fs.stat: path is missing"]),
        ("fs.stat('/', 1)", ["fs.stat takes at most 1 arguments, not 2"]),
        ("fs.stat('etc')", ["fs.stat: path must be an absolute path, not 'etc'"]),
        ("fs.stat(5)", ["fs.stat: path must be an absolute path, not a whole number"]),
        ("fs.stat('/a\\0b')", ["fs.stat: path must not hold a NUL"]),
        ("fs.read('/', {lenght = 5})", ["fs.read has no parameter 'lenght' (did you mean 'length'?)"]),
        ("fs.read('/', {x = 5})", ["fs.read has no parameter 'x' (known: path, length)"]),
        ("fs.read('/', 5, {length = 5})", ["fs.read: length is given twice"]),
        ("fs.read('/', {length = 1001})", ["fs.read: length must be 0 to 1000, not 1001"]),
        ("fs.read('/', {length = 1 << 20})", ["fs.read: length must be 0 to 1000, not 1048576"]),
        ("fs.read('/', {length = -1})", ["fs.read: length must be 0 to 1000, not -1"]),
        ("fs.read('/', {length = 1.5})", ["fs.read: length must be a whole number"]),
        ("fs.read('/', {length = '5'})", ["fs.read: length must be a whole number, not text"]),
        ("fs.read('/', {length = true})", ["fs.read: length must be a whole number, not true or false"]),
        ("proc.command('df', '-P')", ["proc.command: args must be a list, not text"]),
        ("proc.command('df', {1})", ["proc.command: args has an item that must be text, not a whole number"]),
        ("proc.command('df', {}, 0.01)", ["proc.command: timeout must be 0.1 to 60, not 0.01"]),
        ("fs.grep({'etc'}, 'x')", ["fs.grep: paths has an item that must be an absolute path, not 'etc'"]),
        ("check.state('sideways')", ["check.state: state must be one of up, down"]),
        ("fs.chmod('/x', 420)", ["fs.chmod: mode must be octal text such as '0644'"]),
        ("fs.chmod('/x', '0999')", ["fs.chmod: mode must be octal text such as '0644'"]),
        ("fs.chmod('/x', '4755')", ["fs.chmod: mode must be octal text such as '0644'"]),
        ("fs.chmod('/x', '0644')", []),
        ("fs.chmod('/x', param('mode'))", []),
        ("net.http(5)", ["net.http: url must be text, not a whole number"]),
        ("net.ping({})", ["net.ping: target must be text, not a table"]),
        ("net.http('http://a/', {headers = 'x'})", ["net.http: headers must be a map, not text"]),
        ("net.http('http://a/', {headers = {accept = 'x'}})", []),
        ("sys.cron_set('x y')", ["sys.cron_set: name is no name of a job"]),
        ("sys.cron_set('x\\n')", ["sys.cron_set: name is no name of a job"]),
        ("sys.cron_set(5)", ["sys.cron_set: name must be text, not a whole number"]),
        ("sys.cron_set('x', {'a', 'b\\n'})", ["sys.cron_set: args has an item that holds control characters"]),
        ("sys.cron_set('x', {'a b', param('p')})", []),
        ("sys.cron_set(param('p') .. ' ')", []),
        ("local n = 'x y' if param('p') then n = 'x' end sys.cron_set(n)", []),
        ("sys.package_install({})", ["sys.package_install: names must have 1 to 2 items, not 0"]),
        ("sys.package_install({'a', 'b', 'c'})", ["sys.package_install: names must have 1 to 2 items, not 3"]),
        ("sys.package_install({'a', 'b', nil})", []),
        ("sys.package_install({'a', 'b', param('p')})", []),
        ("local t = {} t[1] = 'a' sys.package_install(t)", []),
        ("sys.package_install({f()})", []),
        ("proc.exec({'ls'}, {env = {['A=B'] = 'x'}})", ["proc.exec: env has an item 'A=B' that is no name"]),
        ("proc.exec({'ls'}, {env = {[''] = 'x'}})", ["proc.exec: env has an item '' that is no name"]),
        ("proc.exec({'ls'}, {env = {A = 'x'}})", []),
        ("proc.exec({'ls'}, {env = {[param('n')] = 'x'}})", []),
        ("proc.exec({'ls'}, {env = {}})", []),
        ("proc.exec({'ls'}, {env = 'A=B'})", ["proc.exec: env must be a map, not text"]),
        ("fs.write('/x', 5)", ["fs.write: data must be text or bytes, not a whole number"]),
        ("fs.write('/x', 'd', {atomic = 1})", ["fs.write: atomic must be true or false, not a whole number"]),
        ("local p = 'etc' fs.stat(p)", ["fs.stat: path must be an absolute path, not 'etc'"]),
        ("pcall(fs.stat)", ["fs.stat: path is missing"]),
        ("local t = tty.open({'sh'}) t:write(5)", ["tty.write: data must be text or bytes, not a whole number"]),
        ("local t = tty.open({'sh'}) t:write()", ["tty.write: data is missing"]),
        ("fs:stat('/')", ["fs:stat(...) passes fs itself; write fs.stat(...)"]),
        ("fs.stat('log/' .. param('x'))", ["fs.stat: path must be an absolute path, not 'log/'"]),
    ],
)
def test_wrong_arguments_in_lua(source: str, expected: list[str]) -> None:
    assert wrong(lua(source)) == expected


@pytest.mark.parametrize(
    "source",
    [
        "fs.read('/x', {length = 5})", "fs.read('/x', 5)", "fs.read('/x', 5.0)", "fs.read(param('x'), param('n'))",
        "fs.read(...)", "fs.stat(f())", "local o = {length = 5} fs.read('/x', o)", "fs.stat({path = '/x'})",
        "local p if x then p = '/x' end fs.stat(p)", "fs.stat('/' .. x)", "proc.command('df', {}, 5)",
        "proc.command('df', {'-P', x}, {timeout = 5})", "json.encode({a = 1})", "state.put('k', {a = 1})",
        "fs.grep({'/etc', x}, 'x')", "check.state(param('s'))", "pcall(fs.stat, '/x')", "fs.read('/x', nil)",
        "local t = tty.open({'sh'}) t:write('x') tty.write(t, 'x') t:close()", "for x in fs.walk('/') do end",
        "local n = 5 n = n + 1 fs.read('/x', n)", "local s = fs.stat return s",
        "net.ping(tty.open({'sh'})) fs.stat(tty.open({'sh'}))",
    ],
)  # fmt: skip
def test_what_may_be_right_is_not_called_wrong_in_lua(source: str) -> None:
    assert wrong(lua(f"local x, f = print(), print {source}")) == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("fs.stat()", ["fs.stat: path is missing"]),
        ("fs.stat(path='etc')", ["fs.stat: path must be an absolute path, not 'etc'"]),
        ("fs.stat('/', '/')", ["fs.stat takes at most 1 arguments, not 2"]),
        ("fs.stat('/', path='/')", ["fs.stat: path is given twice"]),
        ("fs.read('/', lenght=5)", ["fs.read has no parameter 'lenght' (did you mean 'length'?)"]),
        ("fs.read('/', length=512 * 1024)", ["fs.read: length must be 0 to 1000, not 524288"]),
        ("fs.stat({})", ["fs.stat: path must be an absolute path, not a table"]),
        ("proc.command('df', ['-P', 5])", ["proc.command: args has an item that must be text, not a whole number"]),
        ("proc.command('df', None)", []),
        ("fs.stat(b'/x')", []),
        ("sys.package_install([])", ["sys.package_install: names must have 1 to 2 items, not 0"]),
        ("sys.package_install([x, 'b', 'c'])", ["sys.package_install: names must have 1 to 2 items, not 3"]),
        ("sys.package_install(['a', *x])", []),
        ("proc.exec(['ls'], env={'A=B': 'x'})", ["proc.exec: env has an item 'A=B' that is no name"]),
        ("proc.exec(['ls'], env={'A': 'x', **x})", []),
        ("fs.stat(*['/x'])", []),
        ("fs.stat(**{'path': '/x'})", []),
        ("t = tty.open(['sh'])\nt.write(5)", ["tty.write: data must be text or bytes, not a whole number"]),
        ("with tty.open(['sh']) as t:\n    t.write()", ["tty.write: data is missing"]),
        ("t = tty.open(['sh'])\ntty.write(t, 'x')\nt.write(data='x')", []),
        ("fs.write('/x', 5 if param('a') else 'x')", []),
    ],
)
def test_wrong_arguments_in_python(source: str, expected: list[str]) -> None:
    assert wrong(python(source)) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('sys.sysctl_set("vm swappiness", "1")', "sys.sysctl_set: key is no key of the kernel's settings"),
        ('sys.sysctl_set("net.ipv4.conf.eth0/100.forwarding", "1")', None),
        ('sys.sysctl("vm..swappiness")', "sys.sysctl: key is no key of the kernel's settings"),
        ('sys.sysctl_set("vm.swappiness", "1\\n2")', "sys.sysctl_set: value must be one line of printable text"),
        ('sys.sysctl_set("kernel.printk", "4\\t4\\t1\\t7")', None),
        ("sys.package_install({})", "sys.package_install: names must have 1 to 50 items, not 0"),
        ('sys.package_install({"htop"})', None),
        (
            'proc.exec({"ls"}, {env = {["A=B"] = "x"}})',
            "proc.exec: env has an item 'A=B' that is no name of a variable",
        ),
        ('proc.spawn({"ls"}, {[""] = "x"})', "proc.spawn: env has an item '' that is no name of a variable"),
        ('tty.open({"ls"}, {env = {LANG = "C"}})', None),
        ('fs.patch("/etc/motd", "hello")', "fs.patch: diff is no unified diff of one file"),
        ('fs.patch("/etc/motd", "@@ -1 +1 @@\\n-a\\n+b\\n")', None),
    ],
)
def test_forms_that_the_calls_themselves_declare(source: str, expected: str | None) -> None:
    """One declaration for the call, for dry runs, and for who reads a script."""
    found = analyse("lua", {"main.lua": source.encode()}, "main.lua", from_plain(load().tables()))
    assert wrong(found) == ([expected] if expected else [])


def argument(found: Analysis, call: str, name: str) -> dict[str, Any]:
    (use,) = found.calls[call].uses
    return dict(use.arguments[name])


@pytest.mark.parametrize(
    ("source", "kind", "values"),
    [
        ("'/etc'", "constant", ["/etc"]),
        ("'/etc' .. '/' .. 5", "constant", ["/etc/5"]),
        ("P", "constant", ["/p"]),
        ("Q", "constant", ["/q", "/r"]),
        ("param('x')", "parameter", ["{x}"]),
        ("'/var/log/' .. param('x') .. '.log'", "parameter", ["/var/log/{x}.log"]),
        ("S", "parameter", ["/srv/{x}"]),
        ("'/' .. print", "unknown", None),
        ("C", "unknown", None),
    ],
)
def test_arguments_are_resolved_as_far_as_they_are_constant(source: str, kind: str, values: list[str] | None) -> None:
    """A variable is what it ever holds; what grows in a loop is not known."""
    head = """
    local P <const> = "/p"
    local Q = "/q"
    if print then Q = "/r" end
    local S = "/srv/" .. param("x")
    local C = "/"
    while print do C = C .. "x" end
    """
    found = argument(lua(f"{head} return fs.stat({source})"), "fs.stat", "path")
    assert (found["kind"], found.get("values")) == (kind, values)


@pytest.mark.parametrize(
    ("source", "kind", "values"),
    [
        ("'/etc' + '/x'", "constant", ["/etc/x"]),
        ("f'/srv/{param(\"x\")}/{5}'", "parameter", ["/srv/{x}/5"]),
        ("f'/srv/{1.5:.3f}'", "unknown", None),
        ("'/a' if print else '/b'", "constant", ["/a", "/b"]),
        ("p", "constant", ["/l", "/m"]),
        ("'/%s' % 'x'", "unknown", None),
    ],
)
def test_arguments_are_resolved_in_python_too(source: str, kind: str, values: list[str] | None) -> None:
    found = argument(python(f"for p in ['/l', '/m']:\n    fs.stat({source})"), "fs.stat", "path")
    assert (found["kind"], found.get("values")) == (kind, values)


@pytest.mark.parametrize(
    ("source", "needs"),
    [
        ("fs.stat('/a') fs.stat('/b')", [Need("fs.stat", ("/a", "/b"))]),
        ("fs.stat('/a') fs.stat(x)", [Need("fs.stat", ("/a",), is_bounded=False)]),
        ("local s = fs.stat s('/a')", [Need("fs.stat", ("/a",))]),
        ("local s = {fs.stat} fs.stat('/a')", [Need("fs.stat", ("/a",), is_bounded=False)]),
        ("fs.stat('/a/' .. param('x'))", [Need("fs.stat", ("/a/{x}",), is_bounded=False)]),
        ("fs.grep({'/a', '/b'}, 'x')", [Need("fs.grep", ("/a", "/b"))]),
        ("fs.walk('/a') fs.walk('/b/')", [Need("fs.walk", ("/a/**", "/b/**"))]),
        ("fs.disk_usage('/')", [Need("fs.disk_usage", ("/**",))]),
        ("fs.walk('/a/' .. param('x'))", [Need("fs.walk", ("/a/{x}/**",), is_bounded=False)]),
        ("fs.grep({'/a'}, 'x', {recursive = true}) fs.grep({'/b'}, 'x')", [Need("fs.grep", ("/a/**", "/b"))]),
        ("fs.grep({'/a'}, 'x', {recursive = false})", [Need("fs.grep", ("/a",))]),
        ("fs.grep({'/a'}, 'x', {recursive = param('x')})", [Need("fs.grep", ("/a/**",))]),
        ("fs.grep({'/a'}, 'x', x)", [Need("fs.grep", ("/a/**",))]),
        ("fs.grep({'/a'}, x)", [Need("fs.grep", ("/a/**",))]),
        ("for _, p in ipairs({'/a', '/b'}) do fs.stat(p) end", [Need("fs.stat", ("/a", "/b"))]),
        ("proc.command('df', {'-P'})", [Need("proc.command", (), ("df",))]),
        ("net.ping('example.org')", [Need("net.ping", (), (), ("example.org",))]),
        ("json.encode({})", []),
    ],
)
def test_needs_are_inferred_from_arguments(source: str, needs: list[Need]) -> None:
    """They are bounded if every place where the call is made says what it is made on."""
    assert list(lua(f"local x = print {source}").needs) == needs


# Handles -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "calls"),
    [
        ("local t = tty.open({'sh'}) t:write('x')", {"tty.open", "tty.write"}),
        ("local t = tty.open({'sh'}) local w = t.write w(t, 'x')", {"tty.open", "tty.write"}),
        ("local ok, t = pcall(tty.open, {'sh'}) t:write('x')", {"tty.open", "tty.write"}),
        ("local t = tty.open({'sh'}) print(t.pid)", {"tty.open"}),
        ("local t = {tty.open({'sh'})} t[1]:write('x')", {"tty.open", "tty.write"}),
        ("local function f(t) t:close() end f(tty.open({'sh'}))", {"tty.open", "tty.close"}),
        ("local function f(t) t:close() end local o = tty.open f(o({'sh'}))", {"tty.open", "tty.close"}),
        ("local function f(o) local t = o({'sh'}) t:write('x') end f(tty.open)", {"tty.open", "tty.write"}),
        ("local o = {} o:write('x') tty.open({'sh'})", {"tty.open"}),
        ("local o = {} o:write('x')", set()),
    ],
)
def test_methods_of_handles_are_calls(source: str, calls: set[str]) -> None:
    """On what certainly is a handle; and on anything unknown once a handle got out of sight."""
    found = lua(source)
    assert (set(found.calls), found.dynamic) == (calls, ())


@pytest.mark.parametrize(
    "source",
    [
        "local t = tty.open({'sh'}) local n = param('n') t[n](t, 'x')",
        "local t = {tty.open({'sh'})} local h = t[1] h[param('n')](h, 'x')",
    ],
)
def test_methods_by_computed_name_are_dynamic(source: str) -> None:
    assert lua(source).dynamic
    assert lua(source).tier is Tier.ADMIN


def test_an_index_that_is_a_number_is_no_method() -> None:
    found = lua("local list = {tty.open({'sh'})} for i = 1, #list do list[i]:close() end")
    assert (set(found.calls), found.dynamic) == ({"tty.open", "tty.close"}, ())


# Families of the worker's own ----------------------------------------------------------------------------------------


def test_words_behind_which_the_gate_has_nothing_to_decide_may_be_used() -> None:
    """``json`` here; ``path`` or ``url`` in a script's own hands must not make it look dangerous."""
    for source in ("json = {} return json.x", "return {json}", "local t = setmetatable({}, {__index = json})"):
        assert lua(source).dynamic == ()
    assert not lua("json = {} return json.encode(1)").calls, "it is the script's own from the first statement on"
    assert lua("local t = json json = {} return json.encode(1)").calls.keys() == {"json.encode"}


# The real tables -----------------------------------------------------------------------------------------------------


def test_every_example_of_every_call_is_right() -> None:
    """The examples run in the tests of the calls, so whatever is said against one is a mistake of ours."""
    tables = from_plain(load().tables())
    for spec in load():
        for language, source in spec.examples.items():
            if not source:
                continue
            main = f"main.{'py' if language == 'python' else 'lua'}"
            found = analyse(language, {main: source.encode()}, main, tables)
            assert not found.syntax_errors
            assert spec.name in found.calls, (spec.name, source)
            assert (found.wrong, found.unknown, found.dynamic) == ((), {}, ()), (spec.name, source)
