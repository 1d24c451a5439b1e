"""``outrider script check``: manifest, syntax, calls, inferred tier, and the manifest's tests in the real sandbox."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from cli import exits
from cli.invocation import Invocation, pass_invocation
from cli.leaf import LocalCommand
from cli.local.folder import read_script
from cli.local.shelf import Shelf
from cli.local.testing import run_tests
from cli.output import counted, field, plain

MAX_SHOWN_CHARACTERS = 120  # of the arguments of one call in the table for people; --json has them all
CALLS = (field("call", "call"), field("tier", "tier"), field("where", "where"), field("with", "with"))
TESTS = (field("test", "name"), field("result", "result"), field("difference", "differences"))


@click.command("check", cls=LocalCommand)
@click.argument("path", type=click.Path(path_type=Path), default=Path())
@click.option(
    "--library",
    "folders",
    metavar="DIR",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A bundle that it requires; may be given again.",
)
@pass_invocation
def noun(invocation: Invocation, path: Path, folders: tuple[Path, ...]) -> None:
    """Check the script at PATH and run the tests of its manifest in the real sandbox.

    In a test only the calls that it names have results, and everything else of the host is an error. A list of
    results is used one after the other, so a call that returns a list gets a list around it. Of a stream it is the
    list of its items, or {items: [...], summary: {...}}. A result
    that the call can never give, by its declared type, is a problem.

    \b
    Examples:
      outrider script check .
      outrider script check checks/queue --json
    """
    from cli.local.checking import read  # loads the languages; --help does without
    from stdlib.catalogue import load

    script, shelf = read_script(path), Shelf.read(folders)
    findings = read(script, load().tables(), shelf)
    tests = [] if findings.problems else asyncio.run(run_tests(script, shelf))
    is_ok = not findings.problems and all(test["result"] == "ok" for test in tests)
    manifest = script.manifest
    told = {
        "ok": is_ok, "name": manifest.name, "version": manifest.version, "language": manifest.language,
        "tier": manifest.tier.label, **findings.to_plain(), "tests": tests,
    }  # fmt: skip
    _show(invocation, told)
    invocation.exit(exits.OK if is_ok else exits.FAILURE)


def _show(invocation: Invocation, told: dict[str, Any]) -> None:
    output = invocation.output
    if output.as_json:
        output.data(told)
        return
    for kind in ("problems", "remarks"):
        for finding in told[kind]:
            output.line(f"{finding['where']}: {finding['message']}{'' if kind == 'problems' else '  (remark)'}")
    output.rows([_row(called) for called in told["calls"]], CALLS)
    for need in told["inferred_needs"]:
        output.line(f"needs {_need(need)}")
    if told["tests"]:
        output.table(told["tests"], TESTS)
    word = "ok    " if told["ok"] else "failed"
    inferred = told["inferred_tier"] or "unknown"
    tests = counted(len(told["tests"]), "test")
    output.say(f"{word}  {told['name']}  tier {told['tier']}, inferred {inferred}  {tests}")


def _row(called: dict[str, Any]) -> list[str]:
    """Return what a person reads of one call: where it is made, and the arguments that are known."""
    uses = [] if called["tier"] == "compute" else called["uses"]
    known = dict.fromkeys(filter(None, (_arguments(use["arguments"]) for use in uses)))
    text = plain("; ".join(known))
    shown = text if len(text) <= MAX_SHOWN_CHARACTERS else text[: MAX_SHOWN_CHARACTERS - 3] + "..."
    return [called["call"], called["tier"], plain(called["places"]), shown]


def _arguments(arguments: dict[str, Any]) -> str:
    known = {name: about["values"] for name, about in arguments.items() if about["kind"] != "unknown"}
    return ", ".join(f"{name}={' or '.join(map(plain, values))}" for name, values in known.items())


def _need(need: dict[str, Any]) -> str:
    held = [f"{key}: {', '.join(need[key])}" for key in ("paths", "commands", "targets") if need.get(key)]
    return plain("  ".join([need["call"], *held, *([] if need["bounded"] else ["and others"])]))
