"""``outrider session``: sessions of people on hosts, live and recorded."""

from __future__ import annotations

from typing import Any, Final

import click

from cli import exits
from cli.ages import since
from cli.identities import SESSION
from cli.invocation import Invocation, pass_invocation
from cli.lazy import Group
from cli.leaf import ServerCommand
from cli.output import Column, counted, field
from cli.values import segment
from protocol.errors import NotFoundError
from protocol.units import format_duration, parse_duration

MIN_SEARCHED, MAX_SEARCHED = 2, 200  # characters; server.api.recordings
COLUMNS = (
    field("session", "id"),
    field("host", "agent"),
    field("kind", "kind"),
    field("who", "principal"),
    field("status", "status"),
    Column("opened", lambda item: since(item["opened"] or item["created"])),
    field("reason", "purpose"),
)


class Times(click.FloatRange):
    """A number that may be written as how many times: ``2x``."""

    name = "times"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number; click.BadParameter if it is none, or out of range."""
        number: Any = value.removesuffix("x") if isinstance(value, str) else value  # click's types have only the latter
        return super().convert(number, param, ctx)


@click.group(cls=Group)
def noun() -> None:
    """Sessions of people on hosts: watch them, join them, end them, play them back."""


@noun.command(cls=ServerCommand)
@click.option("--host", metavar="HOST", help="Of one host.")
@click.option("--status", metavar="STATUS", help="Such as open, ended, killed, lost, refused.")
@click.option("--kind", metavar="KIND", help="terminal, command, files or forward.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many.")
@pass_invocation
def ls(invocation: Invocation, host: str | None, status: str | None, kind: str | None, limit: int) -> None:
    """List sessions, newest first.

    \b
    Examples:
      outrider session ls --status open
      outrider session ls --host web-3 --kind terminal --json
    """
    found = invocation.api.items("sessions", limit=limit, agent=host, status=status, kind=kind)
    invocation.output.table(found, COLUMNS, empty="no sessions")


@noun.command(cls=ServerCommand)
@click.argument("session", metavar="SESSION", type=SESSION)
@click.option(
    "--verify", is_flag=True, help="Hold the recording against what the host has signed; exits 7 if it differs."
)
@pass_invocation
def show(invocation: Invocation, session: str, verify: bool) -> None:
    """Show a session: who, where, why, until when, who is in it, and its recording.

    \b
    Examples:
      outrider session show s_5f3c
      outrider session show s_5f3c --verify
    """
    shown: dict[str, Any] = invocation.api.get(f"sessions/{segment(session)}")
    try:
        recording = invocation.api.get(f"recordings/{segment(session)}", **({"verify": "true"} if verify else {}))
    except NotFoundError:
        recording = None
    if invocation.output.as_json:
        invocation.output.data({**shown, "recording": recording})
    else:
        invocation.output.facts(shown)
        if recording is not None:
            invocation.output.facts(_recording_facts(recording))
        elif verify:
            invocation.output.say("there is no recording")
    if recording is not None and recording["proof"] is not None and recording["proof"]["wrong"]:
        invocation.exit(exits.LEDGER_BROKEN)


def _recording_facts(recording: dict[str, Any]) -> dict[str, Any]:
    told = {
        "recording": f"{format_duration(round(recording['duration_s'], 1))}, {recording['bytes']:,} bytes of output, "
        f"{recording['stored_bytes']:,} on disk{', goes on' if recording['live'] else ''}",
    }
    if recording["people"]:
        told["here"] = ", ".join(f"{each['who']} ({each['role']})" for each in recording["people"])
    proof = recording["proof"]
    if proof is not None:
        whole = f"{proof['covered_bytes']:,} bytes are what the host printed, by {counted(proof['digests'], 'digest')}"
        told["proof"] = "; ".join(proof["wrong"]) or whole
    return told


@noun.command(cls=ServerCommand)
@click.argument("session", metavar="SESSION", type=SESSION)
@pass_invocation
def watch(invocation: Invocation, session: str) -> None:
    """Watch a terminal that is open; what you type does not reach it. Leave with ~. at the beginning of a line.

    \b
    Example:
      outrider session watch s_5f3c
    """
    _attach(invocation, session, "observer")


TYPING: Final = frozenset({"operator", "support", "admin"})  # roles by which somebody types in a session of others


@noun.command(cls=ServerCommand)
@click.argument("session", metavar="SESSION", type=SESSION)
@click.option(
    "--as", "role", type=click.Choice(["owner", "peer", "moderator", "observer"]),
    help="[default: owner of your own session; in that of somebody else peer, or moderator if you may be that alone]",
)  # fmt: skip
@pass_invocation
def join(invocation: Invocation, session: str, role: str | None) -> None:
    """Join a terminal that is open: your own again, from here too, or that of somebody else.

    A peer asks for the keyboard with ~k. A moderator pauses everybody with ~z, takes the keyboard if they may type
    there, and ends the session with outrider session end.

    \b
    Examples:
      outrider session join s_5f3c
      outrider session join s_5f3c --as moderator
    """
    if role is None:
        shown, me = invocation.api.get(f"sessions/{segment(session)}"), invocation.api.get("me")
        moderates = "moderator" in me["roles"] and not TYPING.intersection(me["roles"])
        role = "owner" if shown["principal"] == me["principal"] else "moderator" if moderates else "peer"
    _attach(invocation, session, role)


def _attach(invocation: Invocation, session: str, role: str) -> None:
    from cli.attached import Wanted  # the WebSocket library
    from cli.terminals import banner, show

    shown = invocation.api.get(f"sessions/{segment(session)}")
    top = f"{shown['principal']}@{shown['agent']}  {role}" if role != "owner" else ""
    wanted = Wanted(str(shown["id"]), role, None, banner(top), role != "observer", invocation.asked.key)
    invocation.exit(show(invocation, wanted))


@noun.command(cls=ServerCommand)
@click.argument("session", metavar="SESSION", type=SESSION)
@click.option("--reason", default="", metavar="TEXT", help="Why; everybody in it is told.")
@pass_invocation
def end(invocation: Invocation, session: str, reason: str) -> None:
    """End a session and all that it holds.

    \b
    Example:
      outrider session end s_5f3c --reason "wrong host"
    """
    closed: dict[str, Any] = invocation.api.post(f"sessions/{segment(session)}/close", {"reason": reason})
    if invocation.output.as_json:
        invocation.output.data(closed)
    else:
        is_over = closed["status"] not in ("opening", "asking", "open")
        told = closed["status"] if is_over else "the host was told to end it"  # its record of the end is on the way
        invocation.output.say(f"{closed['id']} on {closed['agent']}: {told}")


@noun.command(cls=ServerCommand)
@click.argument("session", metavar="SESSION", type=SESSION)
@click.option("--speed", type=Times(0.05, 1000), default="1x", show_default=True, help="Times as fast: 2, 2x, 0.5x.")
@click.option("--skip-idle", is_flag=True, help="Cut pauses to 2 s.")
@click.option("--from", "begin", metavar="DURATION", help="Begin there; what was before is shown at once.")
@click.option(
    "--format", "form", type=click.Choice(["terminal", "text", "json"]), default="terminal", show_default=True,
    help="As it was seen; as lines with times and what happened between; as events, one a line.",
)  # fmt: skip
@pass_invocation
def play(invocation: Invocation, session: str, speed: float, skip_idle: bool, begin: str | None, form: str) -> None:
    """Play a recording back. Space pauses, f goes 10 s on, q ends.

    As text, the calls of the session are among the rest, and those of the sessions that were opened from it, such as by
    outrider-edit. A session without a terminal has calls alone.

    \b
    Examples:
      outrider session play s_5f3c --skip-idle --speed 2x
      outrider session play s_5f3c --from 20m
      outrider session play s_5f3c --format text | less
    """
    from cli import playing

    output, api = invocation.output, invocation.api
    from_s = parse_duration(begin, where="--from") if begin is not None else 0.0
    shown = api.get(f"sessions/{segment(session)}")
    has_terminal = shown["kind"] == "terminal"
    if form == "terminal" and not output.as_json and has_terminal:
        playing.Player(output, speed, skip_idle, from_s).play(playing.events(api, session, from_s))
        return
    if has_terminal:
        opened_us = int(api.get(f"recordings/{segment(session)}")["opened_us"])
        events = playing.events(api, session, from_s)
    else:
        opened_us, events = playing.opened_us(shown), iter(())
    made = playing.calls(api, shown, opened_us)
    if not made.is_all:
        output.say(f"the first {playing.CALLS:,} calls on this host then were looked at (outrider record ls has all)")
    found = playing.merged(events, made.calls, str(shown["id"]))
    wanted = (item for item in found if item["time_s"] >= from_s)
    if output.as_json or form == "json":
        for item in wanted:
            output.row(item)
    else:
        for line in playing.text(wanted, made.begun_us):
            output.line(line)


@noun.command(cls=ServerCommand)
@click.argument("session", metavar="SESSION", type=SESSION)
@click.option("-o", "--output", "path", type=click.Path(dir_okay=False, allow_dash=True), default="-", metavar="FILE")
@click.option("--v3", is_flag=True, help="As asciicast v3 instead of v2.")
@click.option("--input", "with_input", is_flag=True, help="With what was typed, where that was recorded.")
@pass_invocation
def export(invocation: Invocation, session: str, path: str, v3: bool, with_input: bool) -> None:
    """Write a recording as asciicast, for asciinema and other players.

    \b
    Examples:
      outrider session export s_5f3c -o web-3.cast && asciinema play web-3.cast
      outrider session export s_5f3c --v3 > web-3.cast
    """
    from cli import playing

    about = invocation.api.get(f"recordings/{segment(session)}")
    found = playing.events(invocation.api, session)
    with click.open_file(path, "w", encoding="utf-8") as file:
        for line in playing.cast(about, found, 3 if v3 else 2, with_input=with_input):
            file.write(line + "\n")


FOUND = (
    field("session", "session"),
    field("host", "host"),
    field("who", "principal"),
    Column("when", lambda item: since(item["opened"])),
    Column("at", lambda item: format_duration(round(item["time_s"]))),
    field("line", "line"),
)


@noun.command(cls=ServerCommand)
@click.argument("text", metavar="TEXT")
@click.option("--host", metavar="HOST", help="Of one host.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="At most so many lines.")
@pass_invocation
def search(invocation: Invocation, text: str, host: str | None, limit: int) -> None:
    """Find a text in what terminals showed, newest session first; small and capital letters are the same.

    \b
    Example:
      outrider session search "permission denied" --host web-3
    """
    if not MIN_SEARCHED <= len(text) <= MAX_SEARCHED:
        raise click.BadParameter(f"has {MIN_SEARCHED} to {MAX_SEARCHED} characters", param_hint="'TEXT'")
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while len(found) < limit:
        page = invocation.api.get("recordings/search", text=text, agent=host, limit=limit - len(found), cursor=cursor)
        found += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    invocation.output.table(found, FOUND, empty="nothing found")
