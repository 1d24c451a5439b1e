"""``tty.*``: programs in terminals, from the gate and from scripts of both languages."""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path
from typing import Any

import pytest
from running import Kept, gate, run

from protocol.errors import ArgumentError, ConflictError
from protocol.tiers import Tier
from sandbox.gate import Gate
from sandbox.held import Held
from sandbox.launch import Sandbox
from stdlib.secrets import Secret
from stdlib.tty_terminal import MAX_KEPT_BYTES, MAX_UNSHOWN_BYTES, Terminal

ASK = "stty -echo; printf 'Password: '; read p; stty echo; echo; echo \"it has ${#p}\""


class Known(Secret):
    """A secret whose value a test knows."""

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        return self._value


async def opened(door: Gate, *argv: str, **more: Any) -> dict[str, Any]:
    reply = await door.call("tty.open", [list(argv)], more)
    assert reply.ok, reply.error
    return {"$handle": max(door.holder._held)}


def terminal(door: Gate, handle: dict[str, Any]) -> Terminal:
    thing: Any = door.holder._held[handle["$handle"]].thing
    return thing


async def ask(door: Gate, name: str, *args: Any, **named: Any) -> Any:
    reply = await door.call(f"tty.{name}", list(args), named)
    if reply.error is not None:
        raise reply.error
    return reply.value


async def test_a_program_has_a_terminal_of_its_own() -> None:
    door = gate(Tier.ADMIN)
    script = "tty; stty size; echo $TERM; ps -o tpgid=,pid= -p $$ | awk '{print ($1 == $2)}'; cat < /dev/tty"
    t = await opened(door, "/bin/sh", "-c", script, cols=100, rows=30)
    found = await ask(door, "expect", t, ["(?s)^(/dev/pts/[0-9]+)\r\n30 100\r\nxterm-256color\r\n1\r\n"])
    assert found is not None, await ask(door, "read", t)
    assert found["groups"][0].startswith("/dev/pts/")
    await ask(door, "write", t, "to the terminal\n")
    assert (await ask(door, "expect", t, ["to the terminal\r\nto the terminal"]))["before"] == ""
    await door.close()


async def test_expect_takes_what_matched_and_leaves_the_rest() -> None:
    door = gate(Tier.ADMIN)
    t = await opened(door, "/bin/sh", "-c", "printf 'one two three four'")
    found = await ask(door, "expect", t, ["three", "t(w)o"])
    assert found == {"pattern": "t(w)o", "match": "two", "groups": ["w"], "before": "one "}
    assert await ask(door, "expect", t, ["never"], timeout=5) == {
        "pattern": None, "match": None, "groups": [], "before": " three four"
    }, "the output ended"  # fmt: skip
    assert await ask(door, "read", t) == b""
    await door.close()


async def test_expect_that_waits_in_vain_loses_nothing() -> None:
    door = gate(Tier.ADMIN)
    t = await opened(door, "/bin/sh", "-c", "echo ready; read x; echo $x; cat")
    await ask(door, "expect", t, ["ready\r\n"])
    assert await ask(door, "expect", t, ["never"], timeout=0.05) is None
    await ask(door, "write", t, "abc\n")
    assert await ask(door, "expect", t, ["never"], timeout=0.3) is None
    assert (await ask(door, "expect", t, ["abc\r\n"]))["match"] == "abc\r\n"
    for wrong in ([], ["("], ["x"] * 21, [r"(a)\1"]):
        with pytest.raises(ArgumentError, match=r"^patterns: (?!pattern)"):
            await ask(door, "expect", t, wrong)
    await door.close()


async def test_the_screen_is_rendered() -> None:
    door = gate(Tier.ADMIN)
    script = "printf 'main\\n'; read x; printf '\\033[?1049h\\033[2;5Hediting'; read x; printf '\\033[?1049l'; cat"
    t = await opened(door, "/bin/sh", "-c", f"stty -echo; {script}", cols=40, rows=5)
    await ask(door, "expect", t, ["main"])
    shown = await ask(door, "screen", t)
    assert (shown["lines"][0], shown["alternate"], shown["exact"]) == ("main", False, True)
    assert (shown["cols"], shown["rows"]) == (40, 5)
    await ask(door, "write", t, "\n")
    await ask(door, "expect", t, ["editing"])
    shown = await ask(door, "screen", t)
    assert (shown["lines"][1], shown["alternate"]) == ("    editing", True)
    assert shown["cursor"] == {"row": 1, "col": 11, "hidden": False}
    await ask(door, "write", t, "\n")
    await ask(door, "expect", t, ["1049l"])
    assert (await ask(door, "screen", t))["lines"][0] == "main"
    await ask(door, "resize", t, 60, 10)
    shown = await ask(door, "screen", t)
    assert (shown["cols"], shown["rows"], len(shown["lines"])) == (60, 10, 10)
    await door.close()


@pytest.mark.skipif(shutil.which("less") is None, reason="less is not installed")
async def test_a_pager_is_driven_and_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("".join(f"line {number}\n" for number in range(1000)))
    door = gate(Tier.ADMIN)
    t = await opened(door, "less", str(tmp_path / "file"), rows=10, env={"LESS": "", "LESSHISTFILE": "-"})
    await ask(door, "expect", t, ["line 8"])
    shown = await ask(door, "screen", t, settle=0.3, timeout=10)
    assert shown["lines"][:9] == [f"line {number}" for number in range(9)]
    await ask(door, "write", t, "G")
    await ask(door, "expect", t, ["line 999"])
    shown = await ask(door, "screen", t, settle=0.3, timeout=10)
    assert "line 999" in shown["lines"]
    await ask(door, "write", t, "q")
    assert (await ask(door, "wait", t, timeout=20))["code"] == 0
    await door.close()


async def test_a_flood_costs_no_memory_and_keeps_the_newest() -> None:
    """Nobody reads, so it waits; who looks drops the oldest."""
    door = gate(Tier.ADMIN)
    t = await opened(door, "/bin/sh", "-c", "yes flood | head -n 1000000; echo the end; cat")
    held = terminal(door, t)
    assert await ask(door, "expect", t, ["the end\r\n"], timeout=60) is not None
    assert len(held._kept) <= MAX_KEPT_BYTES + (64 << 10)
    assert held._unshown_bytes <= MAX_UNSHOWN_BYTES
    shown = await ask(door, "screen", t, timeout=30)
    assert shown["exact"] is False
    assert "the end" in shown["lines"]
    await door.close()


async def test_a_secret_is_typed_unseen_and_is_in_no_record() -> None:
    kept = Kept()
    door = gate(Tier.ADMIN, kept)
    t = await opened(door, "/bin/sh", "-c", ASK)
    secret = Known(b"hunter2-S3cr3t")
    targets = next(iter(door.holder._held.values())).targets.__class__()
    held = Held("secret", secret, targets, (), 0)
    door.holder.add(held)
    await ask(door, "expect", t, ["Password: "])
    await ask(door, "send_secret", t, {"$handle": held.number})
    found = await ask(door, "expect", t, ["it has ([0-9]+)"])
    assert found["groups"] == ["14"]
    assert "hunter2" not in found["before"]
    assert "hunter2" not in repr(kept.records)
    await door.close()


@pytest.mark.parametrize(("script", "value", "error"), [("cat", b"x", ConflictError), (ASK, b"a\nb", ArgumentError)])
async def test_a_secret_that_would_be_shown_is_not_typed(script: str, value: bytes, error: type[Exception]) -> None:
    """A terminal that echoes prints it; a line end in it types more than a password."""
    door = gate(Tier.ADMIN)
    t = await opened(door, "/bin/sh", "-c", script)
    held = Held("secret", Known(value), next(iter(door.holder._held.values())).targets.__class__(), (), 0)
    door.holder.add(held)
    with pytest.raises(error):
        await ask(door, "send_secret", t, {"$handle": held.number}, timeout=0.1)
    await door.close()


async def test_signals_reach_the_foreground() -> None:
    door = gate(Tier.ADMIN)
    t = await opened(door, "/bin/sh", "-c", "trap 'echo interrupted' INT; trap 'echo asked; exit 3' TERM; echo up; "
                     "while :; do sleep 0.05; done")  # fmt: skip
    await ask(door, "expect", t, ["up"])
    assert await ask(door, "signal", t, "INT") is True
    await ask(door, "expect", t, ["interrupted"])
    assert await ask(door, "signal", t, "TERM") is True
    await ask(door, "expect", t, ["asked"])
    assert (await ask(door, "wait", t))["code"] == 3
    assert await ask(door, "signal", t, "INT") is False
    with pytest.raises(ConflictError, match="has ended"):
        await ask(door, "write", t, "x")
    await door.close()


async def test_all_of_it_ends_with_the_run(descriptors_kept: None) -> None:
    kept = Kept()
    door = gate(Tier.ADMIN, kept)
    t = await opened(door, "/bin/sh", "-c", "setsid sleep 300 & echo $!; trap '' HUP; sleep 300")
    found = await ask(door, "expect", t, ["([0-9]+)\r\n"])
    pids = [int(found["groups"][0]), terminal(door, t).started.pid]
    await door.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert [record["kind"] for record in kept.records] == ["intent", "call", "call", "call.end"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can run programs as another user")
async def test_another_user_owns_the_terminal() -> None:
    nobody = pwd.getpwnam("nobody")
    door = gate(Tier.ADMIN)
    t = await opened(door, "/bin/sh", "-c", "id -u; stat -c %u $(tty); cat < $(tty)", user="nobody")
    found = await ask(door, "expect", t, ["([0-9]+)\r\n([0-9]+)\r\n"])
    assert found["groups"] == [str(nobody.pw_uid)] * 2
    await ask(door, "write", t, "x\n")
    await ask(door, "expect", t, ["x\r\nx"])
    await door.close()


async def test_what_cannot_be_opened_leaks_nothing(descriptors_kept: None) -> None:
    door = gate(Tier.ADMIN)
    for argv, more in ((["/nowhere/it"], {}), (["sh"], {"user": "no-such-user"}), (["sh"], {"cwd": "/nowhere"})):
        reply = await door.call("tty.open", [argv], more)
        assert reply.error is not None
        assert reply.error.code == "not_found"
    for tier in (Tier.COMPUTE, Tier.OBSERVE, Tier.INSPECT, Tier.OPERATE):
        reply = await gate(tier).call("tty.open", [["sh"]], {})
        assert reply.error is not None
        assert reply.error.code == "denied"
    await door.close()


LUA = """
local t = tty.open({"/bin/sh", "-c", "printf 'name: '; read n; echo hello $n"}, {cols = 60})
local found = t:expect({"name: $"})
t:write("mia\\n")
found = t:expect({"hello (%w+)", "hello ([a-z]+)"})
t:wait()
return found.groups[1] .. " " .. t:screen().lines[2]
"""
PYTHON = """
t = tty.open(["/bin/sh", "-c", "printf 'name: '; read n; echo hello $n"], cols=60)
found = t.expect(["name: $"])
t.write("mia\\n")
found = t.expect(["nothing", "hello ([a-z]+)"])
t.wait()
result = found["groups"][0] + " " + t.screen()["lines"][1]
"""


@pytest.mark.parametrize(("language", "source"), [("lua", LUA), ("python", PYTHON)])
async def test_a_script_answers_a_question(sandbox: Sandbox, language: str, source: str) -> None:
    outcome = await run(sandbox, language, source, Tier.ADMIN)
    assert outcome.result == "mia hello mia", outcome.reason
