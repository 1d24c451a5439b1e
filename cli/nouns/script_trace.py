"""``outrider script trace``: run a script here, and say the narrowest needs that let it through."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import exits
from cli.invocation import Invocation, pass_invocation
from cli.leaf import LocalCommand
from cli.local import report
from cli.local.folder import Script, read_script
from cli.local.policies import file_policy, tier_policy
from cli.nouns.script_run import TIERS, beside_of
from cli.output import plain
from cli.values import pairs
from policies.model import Policy
from protocol.bundle import MANIFEST
from protocol.errors import ArgumentError
from protocol.manifest import Need
from protocol.tiers import Tier

if TYPE_CHECKING:
    from cli.local.running import Beside
    from cli.local.tracing import Trace, Traced
    from sandbox.analysis import Analysis

READS = Tier.INSPECT  # a trace may go so far unasked: up to there nothing on the host changes


@click.command("trace", cls=LocalCommand)
@click.argument("path", type=click.Path(path_type=Path), default=Path())
@click.option("--write-needs", is_flag=True, help="Write needs, and the tier if it must be higher, into the manifest.")
@click.option("--merge", is_flag=True, help="Add to what the manifest asks for already, instead of replacing it.")
@click.option(
    "--tier", type=TIERS, help="What the run may do [default: the manifest's tier, but at least inspect: all reading]."
)
@click.option("--policy", "policy_file", metavar="FILE", type=click.Path(path_type=Path), help="In place of a tier's.")
@click.option("--arg", "arguments", metavar="K=V", multiple=True, help="A parameter; may be given again.")
@click.option(
    "--secret", "secrets", metavar="NAME=@FILE", multiple=True, help="A secret that it may use; may be given again."
)
@click.option(
    "--library", "folders", metavar="DIR", multiple=True, type=click.Path(path_type=Path),
    help="A bundle that it requires; may be given again.",
)  # fmt: skip
@pass_invocation
def noun(
    invocation: Invocation,
    path: Path,
    write_needs: bool,
    merge: bool,
    tier: str | None,
    policy_file: Path | None,
    arguments: tuple[str, ...],
    secrets: tuple[str, ...],
    folders: tuple[Path, ...],
) -> None:
    """Run the script at PATH here, in the real sandbox, and say what it needed: calls with paths, commands, targets.

    What its manifest asks for does not bind it meanwhile; the policy of --tier does. A run shows what it came across:
    calls in branches that it did not take are told, and are not among the needs. Paths that a parameter named, numbers
    of processes and the files of a folder that it listed become patterns. Exit status: that of the run.

    \b
    Examples:
      outrider script trace .
      outrider script trace . --arg device=sda --write-needs
      outrider script trace . --arg device=nvme0n1 --write-needs --merge
      outrider script trace . --tier operate            # it changes this machine
    """
    from cli.local.running import parameters_of  # loads the sandbox; --help does without
    from cli.local.tracing import Trace, merged

    script = read_script(path, Tier.parse(tier) if tier else None)
    if write_needs and script.is_bare:
        raise ArgumentError("a bare file has no manifest to write needs into", where=str(path))
    policy = _policy(script, tier, policy_file)
    parameters = parameters_of(script, pairs(arguments, where="--arg"))
    trace = Trace(policy)
    beside = beside_of(secrets, None, folders, trace)
    ran, analysis, found = asyncio.run(_run(script, policy, parameters, beside, trace))
    needs = merged(script.manifest.needs if merge else (), found.needs)
    stated = script.manifest.tier
    # What it may do by its code counts too: a branch that was not taken this time will be another time.
    inferred = max(found.tier, analysis.tier if analysis.is_complete else Tier.COMPUTE)
    may_write = ran.status == "ok"  # after that, what was denied is what the script does without
    if write_needs and may_write:
        _write(path, needs, max(stated, inferred))
    told = {
        "status": ran.status, "reason": ran.reason, "tier": stated.label, "inferred_tier": inferred.label,
        "needs": [plain_need(need) for need in needs], "denied": [denied.to_plain() for denied in found.denied],
        "unreached": list(found.unreached), "written": write_needs and may_write, "usage": ran.to_plain()["usage"],
    }  # fmt: skip
    _show(invocation, told, asked_to_write=write_needs)
    invocation.exit(exits.of_run(ran.status))


def _policy(script: Script, tier: str | None, policy_file: Path | None) -> Policy:
    if policy_file is not None:
        return file_policy(policy_file)
    return tier_policy(Tier.parse(tier) if tier else max(script.manifest.tier, READS))


async def _run(
    script: Script, policy: Policy, parameters: dict[str, object], beside: Beside, trace: Trace
) -> tuple[report.Ran, Analysis, Traced]:
    from cli.local import running
    from cli.local.checking import analysis_of
    from cli.local.tracing import traced
    from sandbox.launch import Sandbox
    from stdlib.catalogue import load

    catalogue = load()
    analysis = analysis_of(script, catalogue.tables(), beside.shelf)
    sandbox = await Sandbox.start(bindings=catalogue.bindings())
    try:
        ran = await running.run(sandbox, script, policy, catalogue, parameters, beside)
    finally:
        await sandbox.close()
    return ran, analysis, traced(trace, analysis, parameters)


def plain_need(need: Need) -> dict[str, Any]:
    """Return a need as JSON data, as a manifest has it."""
    held = {key: list(getattr(need, key)) for key in ("paths", "commands", "targets", "names")}
    return {"call": need.call, **{key: items for key, items in held.items() if items}}


def _write(path: Path, needs: tuple[Need, ...], tier: Tier) -> None:
    """Write the manifest whole or not at all."""
    from cli.local.rewriting import with_needs

    manifest = (path if path.is_dir() else path.parent) / MANIFEST
    text = with_needs(manifest.read_text(encoding="utf-8"), needs, tier)
    try:
        with tempfile.NamedTemporaryFile("w", dir=manifest.parent, prefix=".", encoding="utf-8", delete=False) as file:
            file.write(text)
            Path(file.name).chmod(manifest.stat().st_mode & 0o777)
        os.replace(file.name, manifest)
    except OSError as error:
        raise ArgumentError(f"cannot be written: {error.strerror}", where=str(manifest)) from None


def _show(invocation: Invocation, told: dict[str, Any], *, asked_to_write: bool) -> None:
    output = invocation.output
    if output.as_json:
        output.data(told)
        return
    for need in told["needs"]:
        output.line(f"needs: {_text(need)}")
    if not told["needs"]:
        output.line("needs: nothing")
    stated, inferred = told["tier"], told["inferred_tier"]
    output.line(f"inferred tier: {stated if stated == inferred else f'{stated} -> {inferred}'}")
    for denied in told["denied"]:
        may = f"--tier {denied['tier']} allows it" if denied["tier"] else "no tier allows it"
        output.say(f"denied  {denied['call']} {denied['what']}".rstrip() + f"  ({denied['reason']}; {may})")
    for call in told["unreached"]:
        output.say(f"not reached  {call}  (in the code, but this run did not come to it; see --merge)")
    if told["status"] != "ok":
        output.say(f"{told['status']:<6}  {told['reason'] or ''}".rstrip())
    if told["written"]:
        output.say(f"written to {MANIFEST}")
    elif asked_to_write:
        output.say(f"{MANIFEST} stays as it is: the run did not come to its end")


def _text(need: dict[str, Any]) -> str:
    things = [item for key in ("paths", "commands", "targets", "names") for item in need.get(key, ())]
    return plain(" ".join([need["call"], *things]))
