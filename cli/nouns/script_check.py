"""``outrider script check``: manifest, syntax, calls, inferred tier, and the manifest's tests in the real sandbox."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from cli.invocation import Invocation, pass_invocation
from cli.leaf import LocalCommand
from cli.local.folder import Script, read_script
from cli.output import field

TESTS = (field("test", "name"), field("result", "result"), field("difference", "differences"))


@click.command("check", cls=LocalCommand)
@click.argument("path", type=click.Path(path_type=Path), default=Path())
@pass_invocation
def noun(invocation: Invocation, path: Path) -> None:
    """Check the script at PATH and run the tests of its manifest."""
    script = read_script(path)
    problems, found = _read(script)
    tests = asyncio.run(_tests(script)) if not problems else []
    ok = not problems and all(not test["differences"] for test in tests)
    told = {"ok": ok, "name": script.manifest.name, **found, "problems": problems, "tests": tests}
    output = invocation.output
    if invocation.as_json:
        output.data(told)
    else:
        for problem in problems:
            output.line(problem)
        if tests:
            output.table(tests, TESTS)
        word = "ok" if ok else "not ok"
        stated = script.manifest.tier.label
        output.say(
            f"{word}  {script.manifest.name}  tier {stated}, inferred {found['inferred_tier']}  {len(tests)} tests"
        )
    invocation.exit(0 if ok else 1)


def _read(script: Script) -> tuple[list[str], dict[str, Any]]:
    from sandbox.analysis import analyse  # loads the runtimes; --help does without
    from stdlib.catalogue import load

    manifest = script.manifest
    analysis = analyse(manifest.language, script.files, manifest.main, load().tiers())
    problems = [f"{place}: {message}" for place, message in analysis.syntax_errors]
    for name, places in sorted(analysis.unknown.items()):
        problems.append(f"{places[0]}: there is no call named {name}")
    problems += [f"{place} (so its calls cannot be known)" for place in analysis.dynamic]
    if analysis.is_complete and analysis.tier > manifest.tier:
        problems.append(f"the calls need tier {analysis.tier.label}, the manifest states {manifest.tier.label}")
    return problems, {
        "tier": manifest.tier.label, "inferred_tier": analysis.tier.label, "calls": sorted(analysis.calls),
    }  # fmt: skip


async def _tests(script: Script) -> list[dict[str, Any]]:
    from cli.local import running
    from cli.local.expectations import differences
    from cli.local.fixtures import FixtureTable
    from cli.local.policies import tier_policy
    from sandbox.launch import Sandbox
    from stdlib.catalogue import load

    if not script.manifest.tests:
        return []
    catalogue = load()
    sandbox = await Sandbox.start(bindings=catalogue.bindings())
    results = []
    try:
        for test in script.manifest.tests:
            parameters = script.manifest.check_parameters(test.parameters)
            table = FixtureTable(catalogue, test.calls)
            ran = await running.run(sandbox, script, tier_policy(script.manifest.tier), table, parameters)
            found = differences(test.expect, ran)
            results.append({"name": test.name, "result": "failed" if found else "ok", "differences": found})
    finally:
        await sandbox.close()
    return results
