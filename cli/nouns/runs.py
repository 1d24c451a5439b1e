"""``outrider runs``: what ran, by hand or by the clock, and what came of it."""

from __future__ import annotations

import time
from typing import Any

import click

from cli import exits
from cli.ages import since
from cli.identities import RUN, SCHEDULE
from cli.invocation import Invocation, pass_invocation
from cli.lazy import Group
from cli.leaf import ServerCommand
from cli.nouns.run import UNDER_WAY, last_line, show_one, summary
from cli.output import Column, field
from cli.values import segment
from protocol.units import parse_duration

POLL_S = 0.25  # the API has no way to be told of one run's end; chosen freely

COLUMNS = (
    field("run", "id"),
    Column("began", lambda run: since(run.get("started") or run.get("created"))),
    field("host", "agent"),
    field("script", "script"),
    field("by", "principal"),
    field("status", "status"),
    Column("result", summary),
)


@click.group(cls=Group)
def noun() -> None:
    """What ran, and what came of it."""


@noun.command("ls", cls=ServerCommand)
@click.option("--host", metavar="AGENT", help="Only on this host.")
@click.option("--script", metavar="NAME", help="Only of this script.")
@click.option("--status", type=click.Choice(list(exits.RUN_STATUS)), help="Only those that stand so.")
@click.option("--schedule", type=SCHEDULE, metavar="ID", help="Only those of this schedule.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@pass_invocation
def ls(
    invocation: Invocation, host: str | None, script: str | None, status: str | None, schedule: str | None, limit: int
) -> None:
    """List runs, the newest first.

    \b
    Examples:
      outrider runs ls --host web-1 --status error
      outrider runs ls --script check/disk --limit 10 --json
    """
    found = invocation.api.items("runs", limit=limit, agent=host, script=script, status=status, schedule=schedule)
    invocation.output.table(found, COLUMNS, empty="no run matches")


@noun.command("show", cls=ServerCommand)
@click.argument("run", type=RUN)
@click.option("--wait", default="0s", show_default=True, metavar="DURATION", help="Wait this long for its end.")
@pass_invocation
def show(invocation: Invocation, run: str, wait: str) -> None:
    """Show one run as `outrider run` does, with the same exit statuses.

    \b
    Examples:
      outrider runs show 5d20c1b7
      outrider runs show 5d20c1b7 --wait 30s
    """
    found = _ended(invocation, run, parse_duration(wait, where="--wait"))
    if invocation.as_json:
        invocation.output.data(found)
    else:
        show_one(invocation.output, found)
    invocation.exit(exits.of_run(str(found.get("status")), found.get("code")))


def _ended(invocation: Invocation, run: str, wait_s: float) -> dict[str, Any]:
    end = time.monotonic() + wait_s
    while True:
        found = dict(invocation.api.get(f"runs/{segment(run)}"))
        if found.get("status") not in UNDER_WAY or time.monotonic() >= end:
            return found
        time.sleep(POLL_S)


@noun.command("cancel", cls=ServerCommand)
@click.argument("run", type=RUN)
@pass_invocation
def cancel(invocation: Invocation, run: str) -> None:
    """End a run that is under way, or waits for its host to be back.

    \b
    Example:
      outrider runs cancel 5d20c1b7
    """
    answer = invocation.api.post(f"runs/{segment(run)}/cancel", {})
    if invocation.as_json:
        invocation.output.data(answer)
    else:
        is_under_way = answer.get("status") in UNDER_WAY
        told = f"told {answer.get('agent')} to end {run}" if is_under_way else last_line(answer)
        invocation.output.say(told)
