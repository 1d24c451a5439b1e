"""The sandbox in another program, as its page shows it."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from policies.model import Effect, Facts, Limits, Verdict
from protocol.errors import ArgumentError, NotFoundError, UnavailableError
from sandbox.embedding import Scripts

PAGE = Path(__file__).parents[2] / "docs" / "embedding.md"


def greet(name: str, greeting: str = "hello") -> str:
    return f"{greeting} {name}"


def test_the_page_s_example_runs_as_it_stands(tmp_path: Path) -> None:
    """What people copy must work."""
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len([line for line in block.splitlines() if line.strip()]) <= 10
    script = tmp_path / "example.py"
    script.write_text(block)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok hello mia\n", "")


@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("lua", "return app.greet('mia', {greeting = 'good day'})"),
        ("luajit", "return app.greet('mia', 'good day')"),
        ("python", "result = app.greet('mia', greeting='good day')"),
    ],
)
async def test_each_language_calls_a_function(language: str, source: str) -> None:
    """By position and by name."""
    async with Scripts({"app.greet": greet}) as scripts:
        outcome = await scripts.run(language, source)
    assert (outcome.status, outcome.result) == ("ok", "good day mia")


async def test_a_script_gets_its_parameters() -> None:
    """And the other pure parts; a function of the same name takes the place of one."""
    async with Scripts({"json.encode": lambda _value: "mine"}) as scripts:
        outcome = await scripts.run("lua", "return {param('n'), json.encode(1), json.decode('[2]')[1]}", {"n": 7})
    assert (outcome.status, outcome.result) == ("ok", [7, "mine", 2])


async def test_functions_may_wait_or_block() -> None:
    """A coroutine runs on the loop, everything else on a thread, so that nothing holds up the other runs."""
    loop_thread = threading.get_ident()

    async def on_loop() -> bool:
        await asyncio.sleep(0)
        return threading.get_ident() == loop_thread

    def on_thread() -> bool:
        return threading.get_ident() != loop_thread

    async with Scripts({"app.a": on_loop, "app.b": on_thread}) as scripts:
        assert (await scripts.run("lua", "return {app.a(), app.b()}")).result == [True, True]


async def test_what_a_function_raises() -> None:
    """An error that is meant for the script reaches it; any other stays here."""

    def lacking() -> None:
        raise NotFoundError("there is no such customer")

    def broken() -> None:
        raise RuntimeError("the password is 1234")

    async with Scripts({"app.lacking": lacking, "app.broken": broken}) as scripts:
        told = await scripts.run("lua", "local ok, e = pcall(app.lacking) return {e.code, e.message}")
        assert told.result == ["not_found", "there is no such customer"]
        hidden = await scripts.run("lua", "local ok, e = pcall(app.broken) return {e.code, e.message}")
        assert hidden.result[0] == "internal"
        assert "1234" not in hidden.result[1]


async def test_every_call_is_recorded_and_decided() -> None:
    """Also one with wrong arguments, an unknown one, and a denied one."""
    records: list[Any] = []

    def decide(name: str, _facts: Facts) -> Verdict:
        return Verdict(Effect.DENY, "mine", "not this one") if name == "app.b" else Verdict(Effect.ALLOW, "mine")

    source = "app.a('x') pcall(app.b, 'x') pcall(app.a) pcall(app.c) return 1"
    async with Scripts({"app.a": greet, "app.b": greet}, decide=decide, record=records.append) as scripts:
        assert (await scripts.run("lua", source, principal="mia")).result == 1
    calls = [(each["call"], each["verdict"], each["outcome"]) for each in records if each["kind"] == "call"]
    assert calls == [
        ("app.a", "allow", "ok"),
        ("app.b", "deny", "denied"),
        ("app.a", "deny", "invalid_argument"),
        ("app.c", "deny", "not_found"),
    ]
    assert {each["principal"] for each in records} == {"mia"}


async def test_a_record_that_cannot_be_kept_ends_the_run() -> None:
    """Nothing happens unrecorded."""
    done: list[str] = []

    def record(_fields: Any) -> None:
        raise UnavailableError("the disk is full")

    async with Scripts({"app.act": lambda: done.append("done")}, record=record) as scripts:
        outcome = await scripts.run("lua", "app.act() return 1")
    assert outcome.status == "killed"
    assert done == []


async def test_limits_hold() -> None:
    """As for an agent."""
    async with Scripts({}) as scripts:
        outcome = await scripts.run("python", "while True:\n    pass\n", limits=replace(Limits(), wall_s=0.2))
    assert outcome.status == "killed"


async def test_what_is_wrong_is_said() -> None:
    """Before anything runs."""
    scripts = Scripts({"app.greet": greet})
    with pytest.raises(UnavailableError, match="async with"):
        await scripts.run("lua", "return 1")
    async with scripts:
        with pytest.raises(ArgumentError, match="perl"):
            await scripts.run("perl", "1")
