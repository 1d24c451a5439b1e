"""Attacks on the Lua guards. Each is a way out that works against a careless set-up; each must end as stated here.

The boundary is the process, so an attack that merely ends the process is contained; those are marked as such and run in
one of their own. Public references: lupa CVE-2026-34444, Redis CVE-2025-46817 and CVE-2025-49844, the Lua bug list.
"""

from __future__ import annotations

import re

import pytest
from languages import alone, lua

ADDRESS = re.compile(r"0x[0-9a-f]{4,}")


ABSENT = """python io debug package require dofile loadfile module getfenv setfenv newproxy warn ffi jit loadstring
    unpack bit os.execute os.getenv os.exit os.remove os.rename os.tmpname os.date os.setlocale string.dump math.pow"""


@pytest.mark.parametrize("name", ABSENT.split())
def test_it_is_not_there(name: str) -> None:
    """Whatever could reach the host or other code."""
    assert lua(f"return {name} == nil").value is True


def test_load_refuses_bytecode() -> None:
    """Bytecode is memory corruption at will."""
    assert lua("local f, e = load('\\27Lua') return {f == nil, e}").value == [True, "load: bytecode is refused"]


def test_load_refuses_bytecode_from_a_reader_in_pieces() -> None:
    """The first byte is checked after the reader is drained, not piece by piece."""
    ran = lua(
        "local parts, i = {'\\27', 'Lua', nil}, 0 "
        "local f, e = load(function() i = i + 1 return parts[i] end) return {f == nil, e}"
    )
    assert ran.value == [True, "load: bytecode is refused"]


def test_load_refuses_another_environment_and_binary_mode() -> None:
    """Its text sees what the script sees."""
    assert "environment is fixed" in lua("load('return 1', 'x', 't', {})").error
    assert "only text" in lua("load('return 1', 'x', 'b')").error
    assert lua("return load('return fs ~= nil and debug == nil')()").value is True


def test_a_main_file_in_bytecode_is_refused() -> None:
    """The launcher hands over bytes; they are looked at here."""
    result = lua(b"\x1bLua\x54\x00").result
    assert (result.error_where, result.error_message) == ("main.lua:1", "bytecode is refused")


def test_a_chunk_name_of_load_cannot_forge_a_place() -> None:
    """Otherwise an error could point at another file."""
    assert lua("load('error(\"x\")', '@secret.lua')()").result.error_where != "secret.lua:1"


@pytest.mark.parametrize(
    "source",
    [
        "return tostring({})",
        "return tostring(print)",
        "return tostring(coroutine.create(print))",
        "return tostring(fs)",
        "return string.format('%s', {})",
        "return ('%10s|%-5s'):format(print, {})",
        "return select(2, pcall(string.format, '%p', {}))",
        "return select(2, pcall(string.format, '%5p', 'x'))",
        "print({}, print, fs) return ''",
        "return table.concat({tostring(setmetatable({}, {__name = 'x'}))})",
        "return select(2, pcall(error, {}))",
        "return tostring(select(2, pcall(fs.read)))",
        "return tostring((math.randomseed()))",
        "return tostring((coroutine.running()))",
        "return select(2, pcall(function() return {} .. 'x' end))",
        "return select(2, pcall(string.rep, {}))",
    ],
)
def test_no_address_shows(source: str) -> None:
    """All workers of one zygote share their layout; an address in one is an address in all."""
    ran = lua(source)
    shown = str(ran.value) + ran.channel.printed.decode()
    assert not ADDRESS.search(shown), shown


def test_percent_p_is_found_behind_other_conversions_and_not_in_text() -> None:
    """The scanner must agree with the C library on what a conversion is."""
    assert lua("return string.format('%% p %%p %d%%', 5)").value == "% p %p 5%"
    assert "not available" in lua("return (string.format('%%%d%%%-8p', 1, {}))").error
    assert lua("return string.format('%s %q %5.1f %x', 'a', 'b', 1.25, 255)").value == 'a "b"   1.2 ff'


def test_metatables_of_calls_and_errors_are_locked() -> None:
    """Neither the proxy nor the error type can be turned into something else."""
    assert "protected metatable" in lua("setmetatable(fs, {})").error
    assert "cannot be changed" in lua("fs.read = print").error
    assert lua("local _, e = pcall(fs.read) return getmetatable(e)").value == "locked"
    assert "protected metatable" in lua("local _, e = pcall(fs.read) setmetatable(e, nil)").error


def test_rawset_on_a_family_only_marks_the_scripts_own_proxy() -> None:
    """The call underneath stays what it is, and the run dies with the proxy."""
    ran = lua("rawset(fs, 'space', function() return 'mine' end) return {fs.space(), (pcall(fs.read))}")
    assert ran.value == ["mine", False]
    assert [name for name, _, _ in ran.channel.calls] == ["fs.read"]


def test_finalisers_are_refused() -> None:
    """A finaliser would run while the state closes, outside every limit."""
    assert "finalisers" in lua("setmetatable({}, {__gc = function() end})").error
    late = "local m = {} local t = setmetatable({}, m) m.__gc = function() print('ran') end t = nil collectgarbage()"
    assert lua(late).channel.printed == b""


def test_the_metatable_of_strings_cannot_be_reached() -> None:
    """It is shared by every string of the state, ours too."""
    assert lua("return getmetatable('') == nil").value is True
    assert "table expected" in lua("setmetatable('', {})").error


def test_a_script_that_breaks_its_own_libraries_does_not_break_the_guards() -> None:
    """The guards hold what they need in locals."""
    ran = lua(
        "for k, v in pairs(_G) do if type(v) == 'table' and k ~= '_G' and k ~= 'fs' then "
        "for n in pairs(v) do rawset(v, n, nil) end end end "
        "type, next, pairs, error, tostring, setmetatable = nil "
        "local ok, e = pcall(fs.read, '/x') print(e) return {ok, e.code}"
    )
    assert ran.value == [False, "denied"]
    assert ran.channel.printed == b"denied: fs.read is not allowed\n"


def test_a_metatable_on_the_environment_changes_nothing_for_the_host() -> None:
    """lupa reads ``debug.traceback`` from the real globals before each call; the script only has its own table."""
    ran = lua(
        "setmetatable(_G, {__index = function(_, k) error('trap ' .. k) end, __newindex = error}) return fs ~= nil"
    )
    assert ran.value is True


def test_error_objects_of_the_bridge_are_tables() -> None:
    """A host exception would arrive in pcall, in a close variable or in a message handler as a live object."""
    source = """
    local seen = {}
    local function note(e) seen[#seen + 1] = type(e) return e end
    xpcall(fs.space, note, '/')
    pcall(function()
      local guard <close> = setmetatable({}, {__close = function(_, e) note(e) end})
      fs.space('/')
    end)
    local co = coroutine.create(function() fs.space('/') end)
    note(select(2, coroutine.resume(co)))
    note(select(2, pcall(coroutine.wrap(function() fs.space('/') end))))
    return seen
    """
    assert lua(source, {"fs.space": RuntimeError("secret")}).value == ["table"] * 4


def test_arguments_are_read_without_metamethods() -> None:
    """Reading a script's table must not run the script inside the bridge."""
    source = """
    local trap = {__index = function() error('index') end, __pairs = function() error('pairs') end,
                  __len = function() error('len') end, __eq = error, __tostring = error}
    return fs.space(setmetatable({1, 2}, trap))
    """
    ran = lua(source, {"fs.space": "done"})
    assert ran.value == "done"
    assert ran.channel.calls == [("fs.space", [[1, 2]], {})]


def test_a_result_is_read_without_metamethods() -> None:
    """The same on the way out."""
    assert lua("return setmetatable({1}, {__index = error, __pairs = error, __len = error})").value == [1]


@pytest.mark.parametrize("option", ["'stop'", "'generational'", "'incremental'", "'step', 100", "'setpause', 1000"])
def test_the_collector_cannot_be_steered(option: str) -> None:
    """Stopping it changes the memory story."""
    assert "only" in lua(f"collectgarbage({option})").error


def test_the_collector_tells_its_count() -> None:
    """Harmless and useful."""
    assert lua("collectgarbage() return collectgarbage('count') > 1").value is True


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("return ('x'):rep(1e10)", "not enough memory|resulting string too large"),
        ("return ('x'):rep(1e8, ('y'):rep(1e6))", "not enough memory|resulting string too large"),
        ("return table.concat(setmetatable({}, {__len = function() return 1e9 end}))", "invalid value"),
        ("return table.unpack({}, 1, 1e8)", "too many results to unpack"),
        ("return select(-1)", "index out of range"),
        ("local function f() return 1 + f() end return f()", "stack overflow|not enough memory"),
        ("local t = setmetatable({}, {}) getmetatable(t).__index = t return t.x", "'__index' chain too long"),
        ("return ('a'):rep(300000):find(('a?'):rep(300000) .. 'b')", "pattern too complex|too complex"),
        ("local s = ('('):rep(100000) return load(s)", "SYNTAX"),
        ("return string.pack('i17', 1)", "out of limits"),
        ("return ('%99999d'):format(1)", "invalid conversion"),
        ("return utf8.char(1 << 40)", "value out of range"),
    ],
)
def test_exhaustion_ends_with_an_error_of_lua(source: str, words: str) -> None:
    """Memory and stacks are bounded inside the runtime, so that honest mistakes get a readable answer."""
    ran = lua(f"local ok, e = pcall(function() {source} end) if ok and load then error('SYNTAX', 0) end error(e, 0)")
    assert re.search(words, ran.error), ran.error


@pytest.mark.parametrize(
    "source",
    [
        # C-stack recursion through callbacks of the library
        "local function f() return (('x'):gsub('x', f)) end return f()",
        "local function f() table.sort({3, 2, 1}, f) end f()",
        "local function f(...) return pcall(f, ...) end return f()",
        "local function f() return coroutine.wrap(f)() end return f()",
        "local t = {} t.__index = function(_, k) return t[k] end setmetatable(t, t) return t.x",
        "local m = {} m.__tostring = function(o) return tostring(o) end return tostring(setmetatable({}, m))",
        "local m = {} m.__concat = function(a, b) return a .. b end return setmetatable({}, m) .. 'x'",
        "local e e = setmetatable({}, {__close = function() local x <close> = e end}) local y <close> = e",
        "return xpcall(error, function(e) error(e) end)",
        # parsers
        "return load(('('):rep(1e6))",
        "return load('return ' .. ('{'):rep(1e6))",
        "return load('return ' .. ('-'):rep(1e6) .. '1')",
        "return load(('a='):rep(1e5) .. '1')",
        "return load('local ' .. ('a,'):rep(300) .. 'b = 1')",
        # memory
        "local t = {} for i = 1, 1e9 do t[i] = coroutine.create(print) end",
        "local s = 'x' while true do s = s .. s end",
        "local t = {} while true do t = {t} end",
        "print(('x'):rep(3e7))",
        "fs.space(('x'):rep(3e7))",
        "return json.encode(('x'):rep(3e7))",
        "return json.decode(('['):rep(1e6))",
        "local t = {} for i = 1, 1e5 do t = {t} end return t",
        "local t = {} for i = 1, 1e5 do t = {t} end fs.space(t)",
        "local t = {} for i = 1, 1e5 do t = {t} end return json.encode(t)",
    ],
)
def test_what_may_end_the_process_stays_contained_and_bounded(source: str) -> None:
    """None of these may hang, crash by signal 11 or answer anything but an error or a plain value."""
    outcome = alone("lua", source)
    assert not outcome.startswith("ended: -11"), outcome
    assert outcome.startswith(("error: ", "ok: ")), outcome


FILL = "local keep = {} pcall(function() while true do keep[#keep + 1] = ('x'):rep(100000) .. #keep end end) "


@pytest.mark.parametrize(
    "source",
    [
        "for i = 1, 100 do local ok, t = pcall(fs.list, '/') keep[#keep + 1] = ok and t or nil end return #keep",
        "for i = 1, 100 do pcall(print, i, 'text', i) end return #keep",
        "for i = 1, 100 do pcall(fs.list, {{{}}}, ('y'):rep(1000)) end return #keep",
        "for i = 1, 100 do pcall(json.decode, '[[1, 2], [3, {\"a\": 4}]]') end return #keep",
        "return keep",
        "error(keep[1])",
    ],
)
def test_a_full_memory_does_not_break_the_bridge(source: str) -> None:
    """An allocation of Lua failing inside the host would jump over its interpreter's frames: a crash at best."""
    outcome = alone("lua", FILL + source)
    assert outcome.startswith(("error: ", "ok: ")), outcome


@pytest.mark.parametrize("memory_bytes", [1, 1000, 5000, 20_000, 100_000])
def test_a_tiny_memory_limit_is_a_clean_error_or_enough(memory_bytes: int) -> None:
    """The environment itself is not counted against the script."""
    result = lua("return 1", memory_bytes=memory_bytes).result
    assert result.ok or result.error_message == "not enough memory"


def test_the_memory_limit_holds_again_after_calls() -> None:
    """It is lifted only while the bridge works, also when a call fails."""
    loop = "while true do keep[#keep + 1] = ('x'):rep(1e6) .. #keep end"
    for before in ("fs.list('/')", "pcall(fs.read)", "print(1)", "pcall(fs.list, print)", "json.encode(1)"):
        ran = lua(f"local keep = {{}} {before} {loop}", {"fs.list": [1]})
        assert ran.error == "not enough memory", before


def test_a_stack_overflow_inside_a_call_does_not_leave_the_memory_unlimited() -> None:
    """The limit is lifted while the bridge works; an error just then must not keep it so. Slow."""
    many = ", ".join(f"a{number}" for number in range(180))
    source = f"""
    local zeros, unlimited = {{}}, 0
    for i = 1, 200 do zeros[i] = 0 end
    local function deep() local {many} pcall(fs.list, '/') return 1 + deep() end
    for k = 0, 200, 3 do
      pcall(function() return (function(...) return 1 + deep() end)(table.unpack(zeros, 1, k)) end)
      if pcall(string.rep, 'x', 4e8) then unlimited = unlimited + 1 end
      pcall(fs.list, '/')
    end
    return unlimited
    """
    assert lua(source, {"fs.list": 1}, memory_bytes=300_000_000).value == 0


def test_too_many_arguments_are_refused_before_the_bridge() -> None:
    """They are copied on the stack, which could overflow while the limit is lifted."""
    ran = lua(
        "local t = {} for i = 1, 600000 do t[i] = i end local n = 0 "
        "for _, count in ipairs({33, 1000, 400000, 500000, 600000}) do "
        "  pcall(fs.list, table.unpack(t, 1, count)) if pcall(string.rep, 'x', 4e8) then n = n + 1 end end "
        "return {n, select(2, pcall(fs.list, table.unpack(t, 1, 33))).code}",
        {"fs.list": 1},
        memory_bytes=300_000_000,
    )
    assert ran.value == [0, "invalid_argument"]
    assert ran.channel.calls == []


def test_an_endless_loop_is_stopped_by_the_limit_outside() -> None:
    """No hook and no signal handler is trusted; the CPU limit of the process ends it."""
    assert alone("lua", "while true do pcall(error) end").startswith("ended: -")
