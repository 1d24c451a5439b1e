"""``outrider script run``: any bare .lua or .py file or bundle folder, here, in the real sandbox."""

from __future__ import annotations

import asyncio
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import exits
from cli.invocation import Invocation, pass_invocation
from cli.leaf import LocalCommand
from cli.local import report
from cli.local.folder import Script, read_script
from cli.local.policies import file_policy, tier_policy
from cli.values import pairs
from policies.model import Policy
from protocol.errors import ArgumentError
from protocol.sealing import MAX_PLAIN_BYTES, MIN_PLAIN_BYTES, check_name
from protocol.tiers import Tier

if TYPE_CHECKING:
    from cli.local.running import Beside, Judge

TIERS = click.Choice([tier.label for tier in Tier])


@click.command("run", cls=LocalCommand)
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--tier", type=TIERS, help="Tier to run at [default: the manifest's; observe for a bare file].")
@click.option(
    "--policy", "policy_file", metavar="FILE", type=click.Path(path_type=Path), help="In place of the tier's."
)
@click.option("--arg", "arguments", metavar="K=V", multiple=True, help="A parameter; may be given again.")
@click.option(
    "--secret", "secrets", metavar="NAME=@FILE", multiple=True, help="A secret that it may use; may be given again."
)
@click.option(
    "--state",
    "state_folder",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep what scripts remember there [default: forget it].",
)
@click.option(
    "--library",
    "folders",
    metavar="DIR",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A bundle that it requires; may be given again.",
)
@click.option("--dry-run", is_flag=True, help="Decide what would change anything, and do not do it.")
@click.option("--verbose", is_flag=True, help="Show every call and every wall.")
@pass_invocation
def noun(
    invocation: Invocation,
    path: Path,
    tier: str | None,
    policy_file: Path | None,
    arguments: tuple[str, ...],
    secrets: tuple[str, ...],
    state_folder: Path | None,
    folders: tuple[Path, ...],
    dry_run: bool,
    verbose: bool,
) -> None:
    """Run the script at PATH (a bundle folder, a bare .lua or .py file) here, in the real sandbox, without a server.

    What it prints and returns goes to stdout, how it went to stderr. Exit status: 0 ok, 1 error, 3 denied, 5 killed by
    a limit, 2 usage. A bare file takes any --arg, as text.

    \b
    Examples:
      outrider script run .
      outrider script run peek.lua --tier inspect --arg path=/etc/hostname --json
      outrider script run . --dry-run --verbose
      outrider script run . --library ../rates --state ./kept --secret api-token=@token
    """
    from cli.local.running import parameters_of  # loads the sandbox; --help does without

    asked = Tier.parse(tier) if tier else None
    script = read_script(path, asked)
    policy = file_policy(policy_file) if policy_file else tier_policy(script.manifest.tier if asked is None else asked)
    parameters = parameters_of(script, pairs(arguments, where="--arg"))
    beside = replace(beside_of(secrets, state_folder, folders), is_dry=dry_run)
    ran = asyncio.run(_run(invocation, script, policy, parameters, beside, verbose))
    report.show(invocation.output, ran, verbose=verbose)
    if ran.status == "denied" and not invocation.as_json:
        write = "" if script.is_bare else " --write-needs"
        invocation.output.say(f"what it needs: outrider script trace {shlex.quote(str(path))}{write}")
    invocation.exit(exits.of_run(ran.status))


def beside_of(
    secrets: tuple[str, ...], state_folder: Path | None, folders: tuple[Path, ...], judge: Judge | None = None
) -> Beside:
    """Return what a local run has beside its script, from the words of the command line."""
    from cli.local.running import Beside
    from cli.local.shelf import Shelf

    state = None if state_folder is None else _state_file(state_folder)
    return Beside(state, _secrets(secrets), Shelf.read(folders), judge)


def _secrets(given: tuple[str, ...]) -> dict[str, bytes]:
    """Return the values of secrets from ``NAME=@FILE``. A value on the command line would be seen by other users."""
    from cli.nouns.secret import read_value, without_line_end

    found = {}
    for name, source in pairs(given, where="--secret").items():
        if not source.startswith("@") or len(source) == 1:
            raise ArgumentError(f"{name}: a value stands in a file, as NAME=@FILE", where="--secret")
        value = without_line_end(read_value(Path(source[1:])))
        if not MIN_PLAIN_BYTES <= len(value) <= MAX_PLAIN_BYTES:
            raise ArgumentError(f"{name}: a secret has {MIN_PLAIN_BYTES} to {MAX_PLAIN_BYTES} bytes", where="--secret")
        found[check_name(name)] = value
    return found


def _state_file(folder: Path) -> Path:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentError(f"cannot be made: {error.strerror}", where=str(folder)) from None
    return folder / "state.sqlite"


async def _run(
    invocation: Invocation,
    script: Script,
    policy: Policy,
    parameters: dict[str, object],
    beside: Beside,
    verbose: bool,
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
        return await running.run(sandbox, script, policy, catalogue, parameters, beside)
    finally:
        await sandbox.close()
