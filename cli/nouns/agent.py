"""``outrider agent``: the hosts of the fleet."""

from __future__ import annotations

from typing import Any

import click

from cli.ages import day, since
from cli.invocation import Invocation, pass_invocation
from cli.lazy import Group
from cli.leaf import ServerCommand
from cli.output import Column, field
from cli.values import labels, segment, sure
from protocol.errors import OutriderError, TrustError
from protocol.units import parse_duration


def state(agent: dict[str, Any]) -> str:
    """Return one word for how an agent is."""
    if agent.get("frozen"):
        return "frozen"
    if (agent.get("facts") or {}).get("owner_freeze"):
        return "frozen by its owner"
    return "connected" if agent.get("connected") else "away"


def told_of_freeze(agent: dict[str, Any]) -> str:
    """Return what a host does now that the server's freeze was put on it or lifted."""
    if agent.get("frozen"):
        return "is frozen"
    if state(agent) == "frozen by its owner":
        return "stays frozen: its owner has frozen it as well, and lifts that there (outrider-agent unfreeze)"
    return "runs again"


COLUMNS = (
    field("name", "name"),
    Column("state", state),
    Column("seen", lambda agent: since(agent.get("last_seen"))),
    field("version", "facts", "version"),
    field("os", "facts", "os"),
    field("labels", "labels"),
    field("id", "id"),
)


@click.group(cls=Group)
def noun() -> None:
    """Hosts: list, show, invite, label, freeze, remove."""


@noun.command("ls", cls=ServerCommand)
@click.option("-l", "--label", metavar="K=V", help="Only hosts with this label.")
@click.option("--name", metavar="GLOB", help="Only hosts with such a name.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=200, show_default=True)
@pass_invocation
def ls(invocation: Invocation, label: str | None, name: str | None, limit: int) -> None:
    """List the hosts.

    \b
    Examples:
      outrider agent ls
      outrider agent ls --label role=mail --json
    """
    found = invocation.api.items("agents", limit=limit, label=label, name=name)
    invocation.output.table(found, COLUMNS, empty="no agents (invite one with: outrider agent invite)")


@noun.command("show", cls=ServerCommand)
@click.argument("agent")
@pass_invocation
def show(invocation: Invocation, agent: str) -> None:
    """Show one host: its facts, and which walls of the sandbox stand there.

    \b
    Example:
      outrider agent show web-1
    """
    found = invocation.api.get(f"agents/{segment(agent)}")
    if invocation.as_json:
        invocation.output.data(found)
        return
    facts = dict(found.get("facts") or {})
    walls = facts.pop("walls", [])
    told = {key: value for key, value in found.items() if key not in {"facts", "connected", "frozen"}}
    if not found.get("frozen"):
        told.pop("freeze_reason", None)  # the reason of a time that is over
    told["last_seen"] = f"{found.get('last_seen') or 'never'}  ({since(found.get('last_seen'))})"
    told["sealing_key"] = _sealing_key(found.get("sealing_key"))
    ours = {"name": found.get("name"), "state": state(found), **told}
    # What the host says of itself takes the place of nothing that the server says of it.
    invocation.output.facts({**ours, **{key: value for key, value in facts.items() if key not in ours}})
    if walls:
        invocation.output.line()
        invocation.output.table(walls, (field("wall", "name"), field("state", "state"), field("detail", "detail")))


def _sealing_key(attestation: Any) -> str | None:
    """Return the key that secrets are sealed to for a host, in the words of its attestation; None without one."""
    from protocol.signing import Envelope, peek  # loads the cryptography library; a list does without

    if attestation is None:
        return None
    try:
        return str(peek(Envelope.from_json(attestation)).get("key"))
    except OutriderError as error:
        return f"cannot be read: {error.message}"


@noun.command("invite", cls=ServerCommand)
@click.option("--name", metavar="NAME", help="The name that the host will have.")
@click.option(
    "-l", "--label", "given", metavar="K=V", multiple=True, help="A label that it will have; may be repeated."
)
@click.option("--ttl", default="1h", show_default=True, metavar="DURATION", help="How long the token can be used.")
@pass_invocation
def invite(invocation: Invocation, name: str | None, given: tuple[str, ...], ttl: str) -> None:
    """Make a one-time join token for a new host.

    \b
    On the host:
      outrider-agent enroll --server URL --token-file token --dir /var/lib/outrider-agent

    \b
    Example:
      outrider agent invite --name web-1 --label role=web --ttl 15m
    """
    body: dict[str, Any] = {"ttl_s": parse_duration(ttl, where="--ttl")}
    body.update({"name": name} if name else {}, **({"labels": labels(given)} if given else {}))
    made = invocation.api.post("invites", body)
    _check_server(invocation, str(made["token"]))
    if invocation.as_json:
        invocation.output.data(made)
        return
    invocation.output.line(str(made["token"]))
    invocation.output.say(f"usable once, until {day(made.get('expires'))}; it pins this server's identity")
    arguments = f"--server {invocation.context.server} --token-file FILE --dir /var/lib/outrider-agent"
    invocation.output.say(f"on the host: outrider-agent enroll {arguments}")


def _check_server(invocation: Invocation, token: str) -> None:
    """Return if the server that a token pins is the one that is known here."""
    from cli.known_servers import KnownServers, servers_path  # loads the cryptography library
    from protocol.enrolment import parse_token

    known = KnownServers(servers_path()).find(invocation.context.server)
    pinned = parse_token(token).server_key_id
    if known is not None and not invocation.context.is_demo and known.key_id != pinned:
        raise TrustError(
            f"the token would have the host believe a server with the key {pinned}; {invocation.context.server} has"
            f" {known.key_id}",
            reason="another_key",
        )


@noun.command("label", cls=ServerCommand)
@click.argument("agent")
@click.argument("changes", nargs=-1, required=True, metavar="K=V|K-...")
@pass_invocation
def label(invocation: Invocation, agent: str, changes: tuple[str, ...]) -> None:
    """Set labels (role=mail) and take them away (role-).

    \b
    Example:
      outrider agent label web-1 role=mail canary-
    """
    path = f"agents/{segment(agent)}"
    have = dict(invocation.api.get(path).get("labels") or {})
    for change in changes:
        if change.endswith("-") and "=" not in change:
            have.pop(change[:-1], None)
        else:
            have.update(labels([change], where="K=V"))
    invocation.output.facts(invocation.api.patch(path, {"labels": have}), ["name", "labels"])


@noun.command("rm", cls=ServerCommand)
@click.argument("agent")
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_invocation
def rm(invocation: Invocation, agent: str, yes: bool) -> None:
    """Remove a host: its key is no longer accepted. Its records stay.

    \b
    Example:
      outrider agent rm web-1
    """
    sure(invocation, f"Remove {agent}? Its key will no longer be accepted.", yes)
    invocation.api.delete(f"agents/{segment(agent)}")
    if invocation.as_json:
        invocation.output.data({"removed": agent})
    else:
        invocation.output.say(f"removed {agent}")


@noun.command("freeze", cls=ServerCommand)
@click.argument("agent")
@click.option("--reason", required=True, metavar="TEXT", help="Why; it is on the record.")
@click.option("--undo", is_flag=True, help="Let it run again.")
@pass_invocation
def freeze(invocation: Invocation, agent: str, reason: str, undo: bool) -> None:
    """Let a host run nothing until it is unfrozen.

    \b
    Examples:
      outrider agent freeze web-1 --reason "under investigation"
      outrider agent freeze web-1 --undo --reason "it is clean"
    """
    answer = invocation.api.post(f"agents/{segment(agent)}/freeze", {"frozen": not undo, "reason": reason})
    if invocation.as_json:
        invocation.output.data(answer)
    else:
        invocation.output.say(f"{agent} {told_of_freeze(answer)}")
