"""``outrider schedule``: run scripts by the clock; agents keep to it with the server away."""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import Any, Final

import click

from cli import proving
from cli.ages import parse_time, since
from cli.identities import SCHEDULE
from cli.invocation import Invocation, pass_invocation
from cli.lazy import Group
from cli.leaf import ServerCommand, key_option
from cli.nouns.run import parameters
from cli.output import Column, counted, field
from cli.values import bounded, segment, sure
from protocol import limits
from protocol.errors import DeniedError, NotFoundError
from protocol.schedules import ScheduleSpec
from protocol.units import format_duration

TIMES: Final = ("every_s", "cron", "zone", "splay_s", "overlap", "timeout_s", "catch_up")  # of a schedule, as signed
EXPIRES: Final = "90d"  # a signed order ends by itself, as an approval does
MIN_EXPIRES_S: Final = 60.0
MAX_EXPIRES_S: Final = 366 * 86_400.0


def when(schedule: dict[str, Any]) -> str:
    """Return when a schedule fires, in words."""
    if schedule.get("cron"):
        return f"{schedule['cron']} {schedule.get('zone') or 'UTC'}"
    every = schedule.get("every_s") or schedule.get("every")
    text = f"every {format_duration(every)}" if isinstance(every, (int, float)) else f"every {every}"
    splay = schedule.get("splay_s") or schedule.get("splay")
    return f"{text} +{format_duration(splay)}" if isinstance(splay, (int, float)) and splay else text


COLUMNS = (
    field("id", "id"),
    field("script", "script"),
    field("version", "version"),
    Column("when", when),
    field("on", "on"),
    Column("state", lambda schedule: "on" if schedule.get("enabled", True) else "paused"),
)


@click.group(cls=Group)
def noun() -> None:
    """Run scripts by the clock."""


@key_option
@noun.command("add", cls=ServerCommand)
@click.argument("script")
@click.option("--on", "target", required=True, metavar="TARGET", help="Name, glob, '*', or labels (role=mail).")
@click.option("--every", metavar="DURATION", help="An interval, such as 30s, 5m, 1h.")
@click.option("--cron", metavar="LINE", help="Five fields: minute hour day month weekday.")
@click.option("--zone", metavar="ZONE", default="UTC", show_default=True, help="Time zone of --cron.")
@click.option("--splay", metavar="DURATION", default="0s", show_default=True, help="Spread hosts over this long.")
@click.option("--overlap", type=click.Choice(["skip", "queue"]), default="skip", show_default=True)
@click.option("--catch-up", type=click.Choice(["none", "last", "all"]), default="last", show_default=True)
@click.option("--timeout", metavar="DURATION", help="Kill a run after this long.")
@click.option("--version", metavar="VERSION", help="Another than the newest approved one.")
@click.option("--arg", "given", multiple=True, metavar="K=V", help="A parameter of the script; may be repeated.")
@click.option("--dry-run", is_flag=True, help="Make nothing: show hosts and times, and dry runs on two of them.")
@click.option("--sign", is_flag=True, help="Sign the order with your key, for hosts that want it.")
@click.option("--expires", metavar="DURATION", help=f"With --sign: how long the order counts [default: {EXPIRES}].")
@pass_invocation
def add(
    invocation: Invocation, script: str, target: str, every: str | None, cron: str | None, zone: str, splay: str,
    overlap: str, catch_up: str, timeout: str | None, version: str | None, given: tuple[str, ...],
    dry_run: bool, sign: bool, expires: str | None,
) -> None:  # fmt: skip
    """Run SCRIPT by the clock.

    A signed order counts on the hosts that TARGET means when it is signed, and until it expires.

    \b
    Examples:
      outrider schedule add checks/memory --on '*' --every 30s --splay 10s
      outrider schedule add checks/disk --on 'role=db' --cron '*/5 * * * *' --zone Europe/Berlin --arg device=sda
      outrider schedule add checks/queue --on 'role=mail' --every 1m --splay 10s --dry-run
      outrider schedule add checks/queue --on 'role=mail' --every 1m --sign --expires 30d --key oli
    """
    if (every is None) == (cron is None):
        raise click.UsageError("Give either --every or --cron.")
    if expires is not None and not sign:
        raise click.UsageError("--expires is about the order that --sign signs.")
    if sign and dry_run:
        raise click.UsageError("With --dry-run nothing is made, and so nothing is signed.")
    lasts_s = bounded(expires or EXPIRES, MIN_EXPIRES_S, MAX_EXPIRES_S, where="--expires")
    body: dict[str, Any] = {
        "script": script, "on": target, "zone": zone, "overlap": overlap, "catch_up": catch_up,
        "splay_s": bounded(splay, 0.0, limits.MAX_SPLAY_S, where="--splay"),
        "parameters": parameters(invocation, script, version, given),
    }  # fmt: skip
    if every is not None:
        body["every_s"] = bounded(every, limits.MIN_EVERY_S, limits.MAX_EVERY_S, where="--every")
    else:
        body["cron"] = cron
    if timeout is not None:
        body["timeout_s"] = bounded(timeout, limits.MIN_TIMEOUT_S, limits.MAX_TIMEOUT_S, where="--timeout")
    body.update({"version": version} if version else {})
    if dry_run:
        from cli.trying import show_trial  # cron lines cost an import that no other command pays

        invocation.exit(show_trial(invocation, body))
    if sign:
        body["order"] = _signed(invocation, body, lasts_s)
    made = invocation.api.post("schedules", body)
    for warning in made.get("warnings") or []:
        invocation.output.say(f"warning: {warning}")
    if invocation.as_json:
        invocation.output.data(made)
        return
    invocation.output.line(f"{made.get('id')}  {made.get('script')}  {when(made)}  on {made.get('on')}")
    fires = invocation.api.get(f"schedules/{made['id']}/next", count=3)
    invocation.output.say(f"next: {', '.join(_local(fire) for fire in _fires(fires))}")
    hosts = sum(1 for _ in invocation.api.items("agents", target=target))
    if sign:
        invocation.output.say(
            f"signed for {counted(hosts, 'host')}, for {format_duration(lasts_s)};"
            " sign another for those that come later"
        )
    if not hosts:
        invocation.output.say(f"no host matches {target} now; it will fire on those that come to match")


def _signed(invocation: Invocation, body: dict[str, Any], lasts_s: float) -> dict[str, Any]:
    """Return the signed order for a schedule; the version that it is for is the one that is asked for then."""
    from cli.orders import schedule_order  # signing loads the cryptography library

    bundle = proving.of_script(invocation.api, body["script"], body.get("version"))
    body["version"] = bundle.manifest.version
    agents = [str(agent["id"]) for agent in invocation.api.items("agents", target=body["on"])]
    if not agents:
        raise NotFoundError(f"no host matches {body['on']} now, and an order is signed for hosts that are there")
    whole: dict[str, Any] = {
        "id": secrets.token_hex(8), "name": bundle.manifest.name, "script": bundle.manifest.name,
        "digest": bundle.digest, "parameters": bundle.manifest.check_parameters(body["parameters"]), "on": body["on"],
    }  # fmt: skip
    whole.update((name, body[name]) for name in TIMES if name in body)
    return schedule_order(invocation.signing_key(), agents, ScheduleSpec.from_wire(whole), lasts_s)


def _fires(answer: Any) -> list[str]:
    listed = (answer.get("items") or answer.get("fires") or []) if isinstance(answer, dict) else answer or []
    return [str(item.get("time")) if isinstance(item, dict) else str(item) for item in listed]


def _local(text: str) -> str:
    moment = parse_time(text)
    return text if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


@noun.command("ls", cls=ServerCommand)
@click.option("--limit", type=click.IntRange(1, 10_000), default=200, show_default=True)
@pass_invocation
def ls(invocation: Invocation, limit: int) -> None:
    """List schedules.

    \b
    Example:
      outrider schedule ls
    """
    invocation.output.table(invocation.api.items("schedules", limit=limit), COLUMNS, empty="no schedules")


@noun.command("show", cls=ServerCommand)
@click.argument("schedule", type=SCHEDULE)
@pass_invocation
def show(invocation: Invocation, schedule: str) -> None:
    """Show one schedule in full, and to people how it went last: a host that refuses it runs nothing, and records why.

    \b
    Example:
      outrider schedule show b99c0faf
    """
    shown = dict(invocation.api.get(f"schedules/{segment(schedule)}"))
    if not invocation.as_json:
        shown |= _lately(invocation, str(shown["id"]))
    invocation.output.facts(shown)


def _lately(invocation: Invocation, identity: str) -> dict[str, str | None]:
    """Return the last run of a schedule, and the last that a host refused, as far as one may read that."""
    told: dict[str, str | None] = {"last_run": None}
    for run in invocation.api.items("runs", limit=1, schedule=identity):
        told["last_run"] = f"{run['status']} on {run['agent']}, {since(run['created'])}"
    with suppress(DeniedError):
        for record in invocation.api.items("records", limit=1, principal=f"schedule:{identity}", kind="refusal"):
            why = (record.get("data") or {}).get("message") or record.get("outcome")
            told["last_refused"] = f"by {record['agent']}, {since(record['time'])}: {why}"
    return told


@noun.command("next", cls=ServerCommand)
@click.argument("schedule", type=SCHEDULE)
@click.option("--count", type=click.IntRange(1, 100), default=5, show_default=True)
@pass_invocation
def following(invocation: Invocation, schedule: str, count: int) -> None:
    """Show the next fire times.

    \b
    Example:
      outrider schedule next b99c0faf --count 5
    """
    answer = invocation.api.get(f"schedules/{segment(schedule)}/next", count=count)
    if invocation.as_json:
        invocation.output.data(answer)
        return
    for fire in _fires(answer):
        invocation.output.line(_local(fire))


@noun.command("pause", cls=ServerCommand)
@click.argument("schedule", type=SCHEDULE)
@click.option("--undo", is_flag=True, help="Let it fire again.")
@pass_invocation
def pause(invocation: Invocation, schedule: str, undo: bool) -> None:
    """Let a schedule fire no more, until --undo.

    \b
    Examples:
      outrider schedule pause b99c0faf
      outrider schedule pause b99c0faf --undo
    """
    answer = invocation.api.patch(f"schedules/{segment(schedule)}", {"enabled": undo})
    if invocation.as_json:
        invocation.output.data(answer)
    else:
        invocation.output.say(f"{schedule} {'fires again' if undo else 'is paused'}")


@noun.command("rm", cls=ServerCommand)
@click.argument("schedule", type=SCHEDULE)
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_invocation
def rm(invocation: Invocation, schedule: str, yes: bool) -> None:
    """Remove a schedule. What it did stays on the record.

    \b
    Example:
      outrider schedule rm b99c0faf
    """
    sure(invocation, f"Remove schedule {schedule}?", yes)
    invocation.api.delete(f"schedules/{segment(schedule)}")
    if invocation.as_json:
        invocation.output.data({"removed": schedule})
    else:
        invocation.output.say(f"removed {schedule}")
