"""What a local run has beside its script: state that stays or goes, secrets, libraries and other scripts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cli.local.folder import Script
from cli.local.policies import tier_policy
from cli.local.report import Ran
from cli.local.running import Beside, run
from cli.local.shelf import Shelf
from protocol.bundle import Bundle
from sandbox.launch import Sandbox
from stdlib.catalogue import load


def bundle(name: str, source: str, *, tier: str = "observe", more: str = "") -> Bundle:
    manifest = f"name: {name}\nversion: 1.0.0\nlanguage: lua\nmain: main.lua\ntier: {tier}\ndescription: d\n{more}"
    return Bundle.from_files({"manifest.yaml": manifest.encode(), "main.lua": source.encode()})


def pinning(*wanted: Bundle, limits: str = "{}") -> str:
    pins = ", ".join(f"{{name: {item.manifest.name}, digest: '{item.digest}'}}" for item in wanted)
    return f"requires: [{pins}]\nneeds: [{{call: script.call, names: ['**']}}, {{call: secret}}]\nlimits: {limits}\n"


def ran(script: Bundle, beside: Beside, parameters: Mapping[str, Any] | None = None) -> Ran:
    async def work() -> Ran:
        sandbox = await Sandbox.start(bindings=load().bindings())
        try:
            known = Script(script.manifest, dict(script.files), is_bare=False)
            return await run(sandbox, known, tier_policy(script.manifest.tier), load(), parameters or {}, beside)
        finally:
            await sandbox.close()

    return asyncio.run(work())


COUNT = bundle("checks/count", 'return state.incr("n")\n')


def test_state_goes_with_the_run_or_stays(tmp_path: Path) -> None:
    assert [ran(COUNT, Beside()).result for _ in range(2)] == [1, 1]
    kept = Beside(state=tmp_path / "state.sqlite")
    assert [ran(COUNT, kept).result for _ in range(2)] == [1, 2]


def test_a_secret_is_given_and_not_shown() -> None:
    script = bundle("checks/s", 'print(secret("db").name) return pcall(secret, "none")\n', tier="inspect")
    told = ran(script, Beside(secrets={"db": b"hunter2!"}))
    assert (told.status, told.output, told.result) == ("ok", "db\n", False)


def test_libraries_and_scripts_come_from_the_shelf() -> None:
    library = bundle("lib/twice", "return function(n) return n * 2 end\n")
    inner = bundle("checks/inner", 'return {param("n"), fs.read("/etc/hostname") ~= nil}\n', tier="inspect",
                   more="parameters: {n: {type: integer}}\n")  # fmt: skip
    source = (
        'return {require("lib/twice")(21), script.call("checks/inner", {n = 5}), pcall(fs.read, "/etc/hostname")}\n'
    )
    outer = bundle("checks/outer", source, more=pinning(library, inner))
    told = ran(outer, Beside(shelf=Shelf([library, inner])))
    assert told.status == "ok", told.reason
    assert told.result[:3] == [42, [5, True], False]


@pytest.mark.parametrize(
    ("source", "code"),
    [("error('x')\n", "unavailable"), ("while true do end\n", "budget"), ('fs.read("/etc/shadow")\n', "denied")],
)
def test_how_it_ended_can_be_caught(source: str, code: str) -> None:
    wall = "300ms" if code == "budget" else "10s"  # the others end by themselves, however slowly
    inner = bundle("checks/inner", source, more=f"limits: {{wall: {wall}}}\n")
    outer = bundle(
        "checks/outer", 'local ok, e = pcall(script.call, "checks/inner") return e.code\n', more=pinning(inner)
    )
    assert ran(outer, Beside(shelf=Shelf([inner]))).result == code


def test_a_circle_of_calls_cannot_be_written_and_a_chain_ends() -> None:
    chain = [bundle("checks/d0", "return 1\n")]
    for number in range(1, 5):
        source = f'local ok, e = pcall(script.call, "checks/d{number - 1}") return ok and {{e}} or e.code\n'
        chain.append(bundle(f"checks/d{number}", source, more=pinning(chain[-1])))
    shelf = Beside(shelf=Shelf(chain))
    assert ran(chain[3], shelf).result == [[[1]]]
    assert ran(chain[4], shelf).result == [[["budget"]]]


def test_time_is_the_callers() -> None:
    inner = bundle("checks/inner", "while true do end\n")
    outer = bundle("checks/outer", 'return script.call("checks/inner")\n', more=pinning(inner, limits="{wall: 300ms}"))
    assert ran(outer, Beside(shelf=Shelf([inner]))).status == "killed"
