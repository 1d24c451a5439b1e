"""``proc.spawn`` and its handle: from scripts of both languages, and from the gate."""

from __future__ import annotations

import os
import select
from typing import Any

import pytest
from running import Kept, gate, run

from protocol.errors import UnavailableError
from protocol.tiers import Tier
from sandbox.gate import Gate
from sandbox.launch import Sandbox
from stdlib.host import Host
from stdlib.processes.start import Processes

LUA = """
local child = proc.spawn({"/bin/sh", "-c", "while read line; do echo got $line; done; echo end >&2; exit 4"})
assert(child.pid > 1 and child.program:sub(1, 1) == "/")
assert(child:write("one\\ntwo\\n") == 8)
child:close_stdin()
local seen = {}
for line in child:lines() do seen[#seen + 1] = line end
assert(child:read("stderr") == "end\\n")
assert(#child:read("stderr") == 0)
local ended = child:wait()
return table.concat(seen, ",") .. " " .. ended.code .. " " .. ended.stragglers
"""
PYTHON = """
child = proc.spawn(["/bin/sh", "-c", "while read line; do echo got $line; done; echo end >&2; exit 4"])
assert child.pid > 1 and child.program[0] == "/"
assert child.write("one\\ntwo\\n") == 8
child.close_stdin()
seen = [line for line in child.lines()]
assert child.read("stderr") == b"end\\n"
assert child.read("stderr") == b""
ended = child.wait()
result = ",".join(seen) + " " + str(ended["code"]) + " " + str(ended["stragglers"])
"""


@pytest.mark.parametrize(("language", "source"), [("lua", LUA), ("python", PYTHON)])
async def test_a_script_speaks_with_a_program(sandbox: Sandbox, language: str, source: str) -> None:
    outcome = await run(sandbox, language, source, Tier.ADMIN)
    assert (outcome.status, outcome.reason) == ("ok", None) or outcome.status == "ok", outcome.reason
    assert outcome.result == "got one,got two 4 0"


NOT_WAITING = {
    "lua": """
local child, told = proc.spawn({"/bin/cat"}), {}
for i = 1, 10 do told[#told + 1] = child:wait({timeout = 0}) or child:read({timeout = 0}) or "none" end
child:kill()
return table.concat(told, " ")
""",
    "python": """
child = proc.spawn(["/bin/cat"])
result = " ".join(child.wait(timeout=0) or child.read(timeout=0) or "none" for _ in range(10))
child.kill()
""",
}


@pytest.mark.parametrize("language", sorted(NOT_WAITING))
async def test_a_script_looks_without_waiting(sandbox: Sandbox, language: str) -> None:
    outcome = await run(sandbox, language, NOT_WAITING[language], Tier.ADMIN)
    assert (outcome.status, outcome.result) == ("ok", " ".join(["none"] * 10)), outcome.reason


async def spawn(door: Gate, *argv: str, **more: Any) -> tuple[dict[str, Any], int]:
    """Start a program; returns its handle as a script gives it back, and its pid."""
    reply = await door.call("proc.spawn", [list(argv)], more)
    assert reply.ok, reply.error
    number = max(door.holder._held)
    thing: Any = door.holder._held[number].thing
    return {"$handle": number}, thing.fields()["pid"]


async def ask(door: Gate, name: str, *args: Any, **named: Any) -> Any:
    reply = await door.call(f"process.{name}", list(args), named)
    if reply.error is not None:
        raise reply.error
    return reply.value


async def test_what_runs_ends_with_the_run() -> None:
    """Whatever way the run ends: the handle is closed, and the tree with it."""
    kept = Kept()
    door = gate(Tier.ADMIN, kept)
    handle, pid = await spawn(door, "/bin/sh", "-c", "setsid sleep 300 & echo $!; wait")
    other = int(await ask(door, "read", handle))
    await door.close()
    for each in (pid, other):
        with pytest.raises(ProcessLookupError):
            os.kill(each, 0)
    assert [record["kind"] for record in kept.records] == ["intent", "call", "call", "call.end"]


async def test_an_end_that_got_no_answer_is_told_to_the_script_and_in_the_record() -> None:
    """A program of the agent's own user can stop what looks after it. A script gets no answer to a close."""
    kept = Kept()
    async with Processes(patience_s=0.2) as processes:
        door = gate(Tier.ADMIN, kept, Host(processes=processes))
        handle, pid = await spawn(door, "/bin/sh", "-c", "read go; kill -STOP $PPID; echo stopped; sleep 300")
        await ask(door, "write", handle, "go\n")  # not before its start was told
        assert await ask(door, "read", handle) == b"stopped\n"
        program = os.pidfd_open(pid)
        await ask(door, "kill", handle)
        with pytest.raises(UnavailableError, match="did not answer and was killed"):
            await ask(door, "wait", handle)
        await door.release(handle["$handle"])
        assert select.select([program], [], [], 20)[0], "it has ended"
        os.close(program)
        await door.close()
    assert [(record["kind"], record["outcome"]) for record in kept.records][-1] == ("call.end", "unavailable")


async def test_a_program_that_is_slow_costs_a_time_and_nothing_else() -> None:
    door = gate(Tier.ADMIN)
    handle, _ = await spawn(door, "/bin/sleep", "300")
    assert await ask(door, "read", handle, timeout=0.05) is None
    assert await ask(door, "wait", handle, timeout=0.05) is None
    assert 0 < await ask(door, "write", handle, b"x" * (500 << 10), timeout=0.05) < 500 << 10, "the pipe is full"
    assert await ask(door, "signal", handle, "TERM") is True
    assert (await ask(door, "wait", handle))["signal"] == 15
    assert await ask(door, "signal", handle, "TERM") is False
    await door.close()


async def test_kill_gives_a_grace_if_it_is_asked_to() -> None:
    door = gate(Tier.ADMIN)
    handle, _ = await spawn(door, "/bin/sh", "-c", "trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done")
    assert await ask(door, "read", handle) == b"up\n"
    await ask(door, "kill", handle, 20)
    assert (await ask(door, "wait", handle))["code"] == 7
    await door.close()


async def test_merged_errors_come_where_output_comes() -> None:
    door = gate(Tier.ADMIN)
    handle, _ = await spawn(door, "/bin/sh", "-c", "echo a >&2; echo b", merge=True)
    await ask(door, "wait", handle)
    assert await ask(door, "read", handle) == b"a\nb\n"
    with pytest.raises(Exception, match="goes where stdout goes"):
        await ask(door, "read", handle, "stderr")
    await door.close()


async def test_more_programs_than_the_budget_are_refused() -> None:
    """A handle holds its place until it is closed; its methods take none."""
    door = gate(Tier.ADMIN)
    door.budget.limits = type(door.budget.limits)(processes=2)
    first, _ = await spawn(door, "/bin/sleep", "300")
    await spawn(door, "/bin/sleep", "300")
    assert await ask(door, "read", first, timeout=0) is None
    reply = await door.call("proc.spawn", [["/bin/sleep", "300"]], {})
    assert reply.error is not None
    assert reply.error.code == "budget"
    await door.release(first["$handle"])
    await spawn(door, "/bin/sleep", "300")
    await door.close()


async def test_a_stream_that_is_left_lets_others_read() -> None:
    door = gate(Tier.ADMIN)
    handle, _ = await spawn(door, "/bin/sh", "-c", "printf 'one\\ntwo\\n'; read x; echo three")
    reply = await door.call("process.lines", [handle], {})
    assert reply.ok
    stream = max(door.holder._held)
    bodies: list[bytes] = []
    await door.pull(stream, bodies.append)
    with pytest.raises(Exception, match="is read by a stream"):
        await ask(door, "read", handle)
    await door.release(stream)
    await ask(door, "write", handle, "\n")
    assert await ask(door, "read", handle) == b"three\n"
    await door.close()


async def test_long_lines_come_in_parts(sandbox: Sandbox) -> None:
    source = """
child = proc.spawn(["/bin/sh", "-c", "head -c 200000 /dev/zero; echo; echo end"])
sizes = [len(line) for line in child.lines()]
result = [sum(sizes), sizes[-1], max(sizes) <= 200000]
"""
    outcome = await run(sandbox, "python", source, Tier.ADMIN)
    assert outcome.result == [200003, 3, True], outcome.reason
