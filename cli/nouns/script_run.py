"""``outrider script run``: any bare .lua or .py file or bundle folder, here, in the real sandbox."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from cli import exits
from cli.invocation import Invocation, pass_invocation
from cli.leaf import LocalCommand
from cli.local import report
from cli.local.folder import Script, read_script
from cli.local.policies import file_policy, tier_policy
from cli.values import pairs
from policies.model import Policy
from protocol.tiers import Tier

TIERS = click.Choice([tier.label for tier in Tier])


@click.command("run", cls=LocalCommand)
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--tier", type=TIERS, help="Tier to run at [default: the manifest's; observe for a bare file].")
@click.option(
    "--policy", "policy_file", metavar="FILE", type=click.Path(path_type=Path), help="In place of the tier's."
)
@click.option("--arg", "arguments", metavar="K=V", multiple=True, help="A parameter; may be given again.")
@click.option("--verbose", is_flag=True, help="Show every call and every wall.")
@pass_invocation
def noun(
    invocation: Invocation,
    path: Path,
    tier: str | None,
    policy_file: Path | None,
    arguments: tuple[str, ...],
    verbose: bool,
) -> None:
    """Run the script at PATH (a bundle folder, a bare .lua or .py file) here, in the real sandbox, without a server.

    What it prints and returns goes to stdout, how it went to stderr. Exit status: 0 ok, 1 error, 3 denied, 5 killed by
    a limit, 2 usage. A bare file takes any --arg, as text.

    \b
    Examples:
      outrider script run .
      outrider script run peek.lua --tier inspect --arg path=/etc/hostname --json
    """
    from cli.local.running import parameters_of  # loads the sandbox; --help does without

    asked = Tier.parse(tier) if tier else None
    script = read_script(path, asked)
    policy = file_policy(policy_file) if policy_file else tier_policy(asked or script.manifest.tier)
    parameters = parameters_of(script, pairs(arguments, where="--arg"))
    ran = asyncio.run(_run(invocation, script, policy, parameters, verbose))
    report.show(invocation.output, ran, verbose=verbose)
    invocation.exit(exits.of_run(ran.status))


async def _run(
    invocation: Invocation, script: Script, policy: Policy, parameters: dict[str, object], verbose: bool
) -> report.Ran:
    from cli.local import running
    from sandbox.launch import Sandbox
    from stdlib.catalogue import load

    catalogue = load()
    sandbox = await Sandbox.start(bindings=catalogue.bindings())
    try:
        if verbose:
            for wall in sandbox.walls:
                invocation.output.say(f"wall  {wall.name:<10}  {wall.state}  {wall.detail}")
        return await running.run(sandbox, script, policy, catalogue, parameters)
    finally:
        await sandbox.close()
