"""``outrider review revoke``: take an approval of one's own back, by a signed statement."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import click

from cli import proving
from cli.ages import rfc3339
from cli.identities import REVIEW
from cli.invocation import Invocation, pass_invocation
from cli.leaf import ServerCommand, key_option
from cli.values import ask_whom, segment, sure


@key_option
@click.command("revoke", cls=ServerCommand)
@click.argument("review", type=REVIEW)
@click.option("--reason", required=True, metavar="TEXT", help="Why; it is on the record.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_invocation
def noun(invocation: Invocation, review: str, reason: str, yes: bool) -> None:
    """Take back what you approved of a version up to now: hosts refuse at their next check.

    Approving it again counts again.

    \b
    Example:
      outrider review revoke 6f1d0a9b2c3e --reason "CHG-130: too wide"
    """
    from protocol.signing import sign  # loads the cryptography library

    ask_whom(invocation, yes)
    bundle = proving.of_review(invocation.api, review)
    manifest = bundle.manifest
    name = f"{manifest.name} {manifest.version}"
    sure(invocation, f"Take your approval of {name} back? Hosts stop running it unless others approve it.", yes)
    body = {
        "type": "revocation", "name": manifest.name, "version": manifest.version, "digest": bundle.digest,
        "reason": reason, "issued": rfc3339(datetime.now(UTC)),
    }  # fmt: skip
    envelope = json.loads(sign("revocation", body, invocation.signing_key()).to_json())
    answer = invocation.api.post(f"reviews/{segment(review)}/revoke", {"envelope": envelope})
    if invocation.as_json:
        invocation.output.data(answer)
    else:
        invocation.output.say(f"took the approval of {name} back")
