"""``outrider webhook``: tell other systems what happens to scripts."""

from __future__ import annotations

import click

from cli.identities import MESSAGE, WEBHOOK
from cli.invocation import Invocation, pass_invocation
from cli.lazy import Group
from cli.leaf import ServerCommand
from cli.output import field
from cli.values import segment

COLUMNS = (field("id", "id"), field("url", "url"), field("events", "events"), field("by", "by"))
DELIVERIES = (
    field("message", "message"), field("event", "event"), field("created", "created"), field("state", "state"),
    field("attempts", "attempts", is_number=True), field("status", "status", is_number=True), field("error", "error"),
    field("next", "next"),
)  # fmt: skip


@click.group(cls=Group)
def noun() -> None:
    """Who is told what happens to scripts (Standard Webhooks)."""


@noun.command("ls", cls=ServerCommand)
@pass_invocation
def ls(invocation: Invocation) -> None:
    """List webhooks.

    \b
    Example:
      outrider webhook ls
    """
    invocation.output.table(invocation.api.items("webhooks"), COLUMNS, empty="no webhooks")


@noun.command("create", cls=ServerCommand)
@click.argument("url")
@click.option("--event", "events", multiple=True, metavar="EVENT", help="May be given again [default: all of them].")
@pass_invocation
def create(invocation: Invocation, url: str, events: tuple[str, ...]) -> None:
    """Tell URL what happens to scripts. The secret that signs the messages is shown once.

    \b
    Example:
      outrider webhook create https://chat.example.org/hooks/7 --event script.published --event script.withdrawn
    """
    _told(invocation, dict(invocation.api.post("webhooks", {"url": url, "events": list(events)})))


@noun.command("rotate", cls=ServerCommand)
@click.argument("identity", metavar="ID", type=WEBHOOK)
@pass_invocation
def rotate(invocation: Invocation, identity: str) -> None:
    """Give a webhook another secret; the one before signs, too, for a day.

    \b
    Example:
      outrider webhook rotate 9f2c41d0
    """
    _told(invocation, dict(invocation.api.post(f"webhooks/{segment(identity)}/rotate", {})))


def _told(invocation: Invocation, made: dict[str, object]) -> None:
    if invocation.as_json:
        invocation.output.data(made)
        return
    invocation.output.line(str(made.get("secret")))
    invocation.output.say(f"webhook {made.get('id')}  {made.get('url')}  (the secret is not shown again)")


@noun.command("rm", cls=ServerCommand)
@click.argument("identity", metavar="ID", type=WEBHOOK)
@pass_invocation
def rm(invocation: Invocation, identity: str) -> None:
    """Remove a webhook and its messages.

    \b
    Example:
      outrider webhook rm 9f2c41d0
    """
    invocation.api.delete(f"webhooks/{segment(identity)}")
    invocation.output.say(f"removed webhook {identity}")


@noun.command("log", cls=ServerCommand)
@click.argument("identity", metavar="ID", type=WEBHOOK)
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@pass_invocation
def log(invocation: Invocation, identity: str, limit: int) -> None:
    """List the messages to a webhook, newest first, and what became of each.

    \b
    Example:
      outrider webhook log 9f2c41d0
    """
    found = invocation.api.items(f"webhooks/{segment(identity)}/deliveries", limit=limit)
    invocation.output.table(found, DELIVERIES, empty="no messages")


@noun.command("replay", cls=ServerCommand)
@click.argument("identity", metavar="ID", type=WEBHOOK)
@click.argument("message", type=MESSAGE)
@pass_invocation
def replay(invocation: Invocation, identity: str, message: str) -> None:
    """Send a message once more, under the id that it had.

    \b
    Example:
      outrider webhook replay 9f2c41d0 msg_5d1f0c
    """
    invocation.api.post(f"webhooks/{segment(identity)}/deliveries/{segment(message)}/replay", {})
    invocation.output.say(f"sending {message} again")
