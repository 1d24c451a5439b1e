"""``outrider review comment``: say something about a version, for people."""

from __future__ import annotations

import click

from cli.identities import REVIEW
from cli.invocation import Invocation, pass_invocation
from cli.leaf import ServerCommand
from cli.values import segment


@click.command("comment", cls=ServerCommand)
@click.argument("review", type=REVIEW)
@click.argument("text")
@click.option("--at", "place", metavar="FILE:LINE", help="What it is about  [default: the whole version]")
@pass_invocation
def noun(invocation: Invocation, review: str, text: str, place: str | None) -> None:
    """Comment on a review; everybody who may read it sees it, and it decides nothing.

    \b
    Example:
      outrider review comment 6f1d0a9b2c3e "why all of /etc?" --at main.lua:4
    """
    answer = invocation.api.post(f"reviews/{segment(review)}/comments", {"text": text, "place": place})
    if invocation.as_json:
        invocation.output.data(answer)
    else:
        invocation.output.say(f"commented on {review}")
