"""``outrider consent``: what the owners of hosts are asked, and answers of approvers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from cli.ages import since
from cli.identities import QUESTION
from cli.invocation import Invocation, pass_invocation
from cli.lazy import Group
from cli.leaf import ServerCommand
from cli.output import Column, field
from cli.values import segment


def may(question: Mapping[str, Any]) -> str:
    """Return what whoever asks may do with a question."""
    if question.get("may_answer") is False:
        return "-"
    return "grant or deny" if question.get("may_grant") else "deny"


COLUMNS = (
    field("id", "id"),
    field("host", "agent"),
    field("by", "principal"),
    Column("asked", lambda question: since(question.get("asked"))),
    Column("you may", may),
    field("what", "text"),
)


@click.group(cls=Group)
def noun() -> None:
    """What the owners of hosts are asked: see it, and answer where they let you."""


@noun.command("ls", cls=ServerCommand)
@pass_invocation
def ls(invocation: Invocation) -> None:
    """List what waits for an answer. On the host itself: outrider-agent consent ls.

    \b
    Example:
      outrider consent ls
    """
    invocation.output.table(invocation.api.items("consents"), COLUMNS, empty="nothing waits for an answer")


@noun.command("grant", cls=ServerCommand)
@click.argument("question", type=QUESTION)
@click.option("--reason", default="", metavar="TEXT", help="Why; it is on the record.")
@pass_invocation
def grant(invocation: Invocation, question: str, reason: str) -> None:
    """Say yes. Counts only where the host's ceiling has `accept_server_word: [consent]`; never for yourself.

    \b
    Example:
      outrider consent grant q_41c0a7
    """
    _answer(invocation, question, True, reason)


@noun.command("deny", cls=ServerCommand)
@click.argument("question", type=QUESTION)
@click.option("--reason", default="", metavar="TEXT", help="Why; it is on the record.")
@pass_invocation
def deny(invocation: Invocation, question: str, reason: str) -> None:
    """Say no.

    \b
    Example:
      outrider consent deny q_41c0a7 --reason "not during the day"
    """
    _answer(invocation, question, False, reason)


def _answer(invocation: Invocation, question: str, granted: bool, reason: str) -> None:
    body: dict[str, Any] = {"granted": granted, "reason": reason}
    answer = invocation.api.post(f"consents/{segment(question)}", body)
    if invocation.as_json:
        invocation.output.data(answer)
    else:
        invocation.output.say(f"{'granted' if granted else 'denied'}  {answer['agent']}: {answer['text']}")
