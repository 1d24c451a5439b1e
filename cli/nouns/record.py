"""``outrider record``: every call and event, and the proof that none is missing or changed."""

from __future__ import annotations

from typing import Any

import click

from cli import exits
from cli.ages import clock, day, moment
from cli.identities import RUN
from cli.invocation import Invocation, pass_invocation
from cli.lazy import Group
from cli.leaf import ServerCommand
from cli.output import Column, counted, field, plain
from cli.values import segment
from protocol.errors import ArgumentError, LedgerError, TrustError

TOLD = ("script", "version", "schedule", "reason", "status")  # of what a kind adds to a record, in this order


def what(record: dict[str, Any]) -> str:
    """Return what a record is of, such as ``fs.read``, ``run.end`` or ``start`` of the agent itself."""
    event = (record.get("data") or {}).get("event")
    return str(record.get("call") or (f"{record.get('kind')} {event}" if event else record.get("kind")))


def about(record: dict[str, Any]) -> Any:
    """Return the arguments of a call; of other kinds what they add that a person looks for."""
    data = record.get("data") or {}
    return record.get("arguments") or {name: data[name] for name in TOLD if data.get(name)}


COLUMNS = (
    Column("time", lambda record: clock(record.get("time"))),
    field("host", "agent"),
    field("seq", "sequence", is_number=True),
    field("by", "principal"),
    Column("what", what),
    field("verdict", "verdict"),
    field("rule", "rule"),
    field("outcome", "outcome"),
    Column("arguments", about),
)


def _known_kind(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Refuse a mistyped kind: that no record has it would read as if nothing had happened."""
    from protocol.ledger import KINDS  # loads the cryptography library

    if value is not None and value not in KINDS:
        raise click.BadParameter(f"there is no kind {value!r} (known: {', '.join(sorted(KINDS))})")
    return value


@click.group(cls=Group)
def noun() -> None:
    """Who did what on which host, and proof that it is complete."""


@noun.command("ls", cls=ServerCommand)
@click.option("--host", metavar="AGENT", help="Only this host; `server` is the server's own ledger.")
@click.option("--since", metavar="TIME", help="Not before (2h, 13:00, 2026-11-01, or RFC 3339).")
@click.option("--until", metavar="TIME", help="Not after.")
@click.option(
    "--kind", metavar="KIND", callback=_known_kind, help="call, intent, run.start, run.end, refusal, event, ..."
)
@click.option("--by", metavar="WHO", help="Only what was done for this principal, such as tom.")
@click.option("--call", metavar="NAME", help="Only this call, such as fs.read, or 'fs.*'.")
@click.option("--run", "run_id", type=RUN, metavar="RUN", help="Only this run.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True)
@click.option("--oldest-first", is_flag=True, help="From the beginning, in the order in which they came.")
@pass_invocation
def ls(
    invocation: Invocation, host: str | None, since: str | None, until: str | None, kind: str | None, by: str | None,
    call: str | None, run_id: str | None, limit: int, oldest_first: bool,
) -> None:  # fmt: skip
    """List records, the newest first.

    \b
    Examples:
      outrider record ls --host web-1 --since 1h --by tom
      outrider record ls --call 'fs.*' --kind refusal --json
    """
    found = list(invocation.api.items(
        "records", limit=limit + 1, order="oldest" if oldest_first else "newest",
        agent=host, kind=kind, call=call, run=run_id, principal=by,
        since=moment(since, where="--since") if since else None,
        until=moment(until, where="--until") if until else None,
    ))  # fmt: skip
    invocation.output.table(found[:limit], COLUMNS, empty="no record matches")
    if len(found) > limit:
        first = "the record" if limit == 1 else f"the {limit:,} records"
        which = (
            f"{first} that came first"
            if oldest_first
            else f"the newest {'record' if limit == 1 else f'{limit:,} records'}"
        )
        invocation.output.say(f"{which}; there are more: --since, --limit")


@noun.command("tail", cls=ServerCommand)
@click.option("-f", "--follow", is_flag=True, help="Go on as records come (as without --count).")
@click.option("--host", metavar="AGENT", help="Only this host.")
@click.option("--count", type=click.IntRange(1), help="End after so many.")
@pass_invocation
def tail(invocation: Invocation, follow: bool, host: str | None, count: int | None) -> None:
    """Show records as they arrive, until Ctrl-C; with --json one JSON object a line.

    \b
    Example:
      outrider record tail --follow --host web-1
    """
    if follow and count is not None:
        raise click.UsageError("--follow and --count contradict each other.")
    seen = 0
    for record in invocation.api.events("records/tail", agent=host):
        if host is not None and record.get("agent") not in {host, None} and record.get("agent_id") != host:
            continue
        if invocation.as_json:
            invocation.output.row(record)
        else:
            invocation.output.line(line(record))
        seen += 1
        if seen == count:
            return


def line(record: dict[str, Any]) -> str:
    """Return a record as one line."""
    verdict = " ".join(plain(record[name]) for name in ("verdict", "rule", "outcome") if record.get(name))
    arguments = plain(about(record)) if about(record) else ""
    host = plain(record.get("agent"))
    return f"{clock(record.get('time'))}  {host:<12}  {plain(what(record)):<16}  {verdict}  {arguments}".rstrip()


@noun.command("show", cls=ServerCommand)
@click.argument("host")
@click.argument("sequence", type=click.IntRange(1))
@pass_invocation
def show(invocation: Invocation, host: str, sequence: int) -> None:
    """Show one record in full, by host and sequence number.

    \b
    Example:
      outrider record show web-1 1042
    """
    invocation.output.facts(invocation.api.get(f"records/{segment(host)}/{sequence}"))


@noun.command("verify", cls=ServerCommand)
@click.option("--host", metavar="AGENT", help="Only this host; `server` is the server's own ledger.")
@click.option("--since", metavar="TIME", help="Only what is not older (2h, 13:00, 2026-11-01, or RFC 3339).")
@pass_invocation
def verify(invocation: Invocation, host: str | None, since: str | None) -> None:
    """Check every chain of records again, from its stored bytes, and the tree over all of them.

    With --since a chain is checked from the first record that is not older to its end, on from the last signed
    checkpoint before it; the tree over all is checked as a whole.

    The tree's head is compared with the last one that was seen here: the server proves that what was recorded by then
    is still there, unchanged. What was seen is kept in $XDG_STATE_HOME/outrider/tree-heads.json.

    \b
    Examples:
      outrider record verify
      outrider record verify --host web-3 --since 2026-11-01
      outrider record verify --host web-1 --json
    """
    start = None if since is None else moment(since, where="--since")
    found = invocation.api.get("records/verify", agent=host, since=start)
    agents = found.get("agents")
    if not isinstance(agents, list):
        raise ArgumentError("the server's answer names no agents")
    found["head"] = seen = _compared(invocation)
    found["ok"] = bool(found.get("ok")) and seen["error"] is None
    if invocation.as_json:
        invocation.output.data(found)
    else:
        for agent in agents:
            invocation.output.line(verified(agent, start))
        tree = found.get("tree") or {}
        if tree.get("error"):
            invocation.output.line(f"error tree: {tree['error']}")
        invocation.output.line(compared(seen))
    invocation.exit(exits.OK if found.get("ok") else exits.LEDGER_BROKEN)


def _compared(invocation: Invocation) -> dict[str, Any]:
    """Return the size of the tree and of the one it was compared with, None for the first; or why it does not fit."""
    from cli import tree_heads  # loads the cryptography library

    told: dict[str, Any] = {"size": None, "compared_with": None, "error": None}
    try:
        head, before = tree_heads.check(invocation, invocation.context.server, tree_heads.heads_path())
    except (LedgerError, TrustError) as error:
        return told | {"error": error.message}
    return told | {"size": head.size, "compared_with": before}


def compared(head: dict[str, Any]) -> str:
    """Return how the tree's head fits to the last one that was seen, as one line."""
    if head["error"]:
        return f"error tree head: {head['error']}"
    if head["compared_with"] is None:
        return f"ok tree head {head['size']}: the first one seen from here"
    return f"ok tree head {head['size']} consistent with {head['compared_with']}"


def verified(agent: dict[str, Any], start: str | None = None) -> str:
    """Return what is known of one chain as one line; ``start`` is what was not to be older, RFC 3339."""
    name = agent.get("agent")
    if agent.get("error"):
        return f"error {name}: {agent['error']}"
    records = counted(agent.get("records") or 0, "record")
    records += "" if start is None else f" since {day(start)}"
    return f"ok {name}: {records}, chain whole, {counted(agent.get('checkpoints') or 0, 'signed checkpoint')}"
