"""``outrider script transfer``: an owner's signed statement that others own a script from now on."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import click

from cli.invocation import Invocation, pass_invocation
from cli.leaf import ServerCommand, key_option
from cli.values import ask_whom, sure
from protocol.ownership import Transfer
from protocol.signing import sign


@key_option
@click.command("transfer", cls=ServerCommand)
@click.argument("name")
@click.option("--to", "to", multiple=True, required=True, metavar="NAME", help="As the roster has it; may be repeated.")
@click.option("--reason", default="", metavar="TEXT", help="Why; it is on the record.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_invocation
def noun(invocation: Invocation, name: str, to: tuple[str, ...], reason: str, yes: bool) -> None:
    """Hand script NAME over. Its owners alone publish further versions; name yourself too to stay one of them.

    The roster must already let the new owners publish there: a transfer gives nobody a namespace.

    \b
    Example:
      outrider script transfer checks/queue --to tom --to mia --reason "tom takes over mail"
    """
    ask_whom(invocation, yes)
    sure(invocation, f"Let {', '.join(to)} own {name}?", yes)
    told = Transfer(name, to, reason, datetime.now(UTC))
    envelope = json.loads(sign("transfer", told.body(), invocation.signing_key()).to_json())
    answer = invocation.api.post("scripts/transfer", {"envelope": envelope})
    if invocation.as_json:
        invocation.output.data(answer)
    else:
        invocation.output.say(f"{name} belongs to {', '.join(answer.get('owners') or to)}")
