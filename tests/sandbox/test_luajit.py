"""LuaJIT as the manifest's choice: the guards of Lua 5.4, no compiler, and its own weaknesses held by the worker."""

from __future__ import annotations

from typing import Any

import pytest
from arena import LIMITS, gate
from languages import lua

from sandbox import lua_syntax
from sandbox.analysis import analyse
from sandbox.launch import Program, Sandbox


async def run(sandbox: Sandbox, source: str) -> Any:
    program = Program("luajit", "main.lua", {"main.lua": source.encode()})
    return await sandbox.run(program, gate(), LIMITS)


def jit(source: str | bytes, **answers: Any) -> Any:
    return lua(source, answers.get("answers"), flavour="luajit")


async def test_it_runs_behind_every_wall(sandbox: Sandbox) -> None:
    """The compiler would need executable memory, and the process would end: so this proves that it is off."""
    outcome = await run(sandbox, "local sum = 0 for i = 1, 5e6 do sum = (sum + i) % 1000003 end return sum")
    assert (outcome.status, outcome.result) == ("ok", sum(range(1, 5_000_001)) % 1000003)
    assert [wall.name for wall in outcome.walls if wall.state != "up"] == []


async def test_calls_and_errors_are_as_in_lua(sandbox: Sandbox) -> None:
    """A script that keeps to what both have runs in both."""
    assert (await run(sandbox, "return t.add(1, 2)")).result == 3
    outcome = await run(sandbox, "local x = 1\nerror({})")
    assert outcome.status == "error"
    assert outcome.where == "main.lua:2"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("return jit", None),
        ("return ffi", None),
        ("return debug", None),
        ("return python", None),
        ("return require", None),
        ("return loadstring", None),
        ("return setfenv", None),
        ("return newproxy", None),
        ("return string.dump", None),
        ("return getmetatable('')", None),
        ("return load(string.char(27) .. 'LJ')", None),
        ("return {bit.band(12, 10), unpack({7})}", [8, 7]),
        ("return tostring(print)", "function"),
    ],
)
def test_what_is_out_of_reach(source: str, expected: Any) -> None:
    """ffi alone would be the whole process."""
    assert jit(source).value == expected


def test_bytecode_is_refused_by_its_first_byte() -> None:
    """LuaJIT loads it whatever the mode says."""
    ran = jit(b"\x1bLJ\x02")
    assert "bytecode is refused" in ran.error


@pytest.mark.parametrize(
    "source",
    [
        "pcall(fill) return 'survived'",
        "xpcall(fill, print) return 'survived'",
        "coroutine.resume(coroutine.create(fill)) return 'survived'",
    ],
    ids=["pcall", "xpcall", "resume"],
)
async def test_running_out_of_memory_cannot_be_caught(sandbox: Sandbox, source: str) -> None:
    """The state does not recover from it, so nothing may go on in it."""
    fill = "local function fill() local t = {} while true do t[#t + 1] = ('x'):rep(1e6) .. #t end end\n"
    outcome = await run(sandbox, fill + source)
    assert outcome.status == "killed"
    assert ": memory: not enough" in (outcome.reason or "")


async def test_recursion_through_callbacks_ends_the_run_and_no_more(sandbox: Sandbox) -> None:
    """It overflows the C stack of this LuaJIT; the worker may die of it, the next run does not notice."""
    outcome = await run(sandbox, "local function f(s) return (s:gsub('.', f)) end return f('x')")
    assert outcome.status in ("error", "killed")
    assert (await run(sandbox, "return 1")).result == 1


async def test_a_loop_ends_at_its_limit(sandbox: Sandbox) -> None:
    """No hook is needed for that."""
    from dataclasses import replace

    limits = replace(LIMITS, wall_s=0.3)
    program = Program("luajit", "main.lua", {"main.lua": b"while true do end"})
    outcome = await sandbox.run(program, gate(limits=limits), limits)
    assert (outcome.reason or "").startswith("wall:")


def test_a_check_reads_it_with_its_own_grammar() -> None:
    """What LuaJIT does not know is a syntax error with its line, and its own names are known."""
    found = analyse("luajit", {"main.lua": b"local a = 7 // 2"}, "main.lua", {})
    assert found.syntax_errors[0][0] == "main.lua:1"
    known = analyse("luajit", {"main.lua": b"return bit.band(1, 2), utf8"}, "main.lua", {})
    assert known.syntax_errors == ()
    assert list(known.unknown) == ["utf8"]
    assert list(analyse("lua", {"main.lua": b"return bit, utf8"}, "main.lua", {}).unknown) == ["bit"]
    assert lua_syntax.problem(b"return 1", "main.lua", "luajit") is None
