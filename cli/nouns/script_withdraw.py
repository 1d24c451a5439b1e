"""``outrider script withdraw``: a signed statement after which no agent runs that version."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import click

from cli import proving
from cli.ages import rfc3339
from cli.invocation import Invocation, pass_invocation
from cli.leaf import ServerCommand, key_option
from cli.values import ask_whom, sure
from protocol.signing import sign


@key_option
@click.command("withdraw", cls=ServerCommand)
@click.argument("name")
@click.argument("version")
@click.option("--reason", required=True, metavar="TEXT", help="Why; it is on the record.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_invocation
def noun(invocation: Invocation, name: str, version: str, reason: str, yes: bool) -> None:
    """Withdraw one version of a script, as its author or a reviewer. It cannot be undone.

    \b
    Example:
      outrider script withdraw checks/queue 1.2.0 --reason "CHG-131: reads more than it says"
    """
    ask_whom(invocation, yes)
    bundle = proving.of_script(invocation.api, name, version)
    sure(invocation, f"Withdraw {name} {version}? No host will run it any more.", yes)
    body = {
        "type": "withdrawal", "name": name, "version": version, "digest": bundle.digest, "reason": reason,
        "issued": rfc3339(datetime.now(UTC)),
    }  # fmt: skip
    envelope = json.loads(sign("withdrawal", body, invocation.signing_key()).to_json())
    answer = invocation.api.post("scripts/withdraw", {"envelope": envelope})
    if invocation.as_json:
        invocation.output.data(answer)
    else:
        invocation.output.say(f"withdrew {name} {version}")
