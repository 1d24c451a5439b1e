"""``outrider secret``: values for scripts, sealed here for each host; the server never sees one.

A value comes from a file, from standard input or from a prompt, and never from the command line, where other users of
this machine and the shell's history would have it.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import click

from cli.ages import day
from cli.invocation import Invocation, pass_invocation
from cli.lazy import Group
from cli.leaf import ServerCommand
from cli.output import Column, field
from cli.values import segment, sure
from protocol.errors import ArgumentError, NotFoundError
from protocol.sealing import MAX_PLAIN_BYTES, Context, SealingKey, attested, check_name, check_scripts, seal
from protocol.signing import Envelope, PublicKey

AT_ONCE = 500  # hosts in one request; server.limits.MAX_SEALED_AT_ONCE

COLUMNS = (
    field("name", "name"),
    field("host", "host"),
    field("version", "version"),
    Column("for", lambda told: " ".join(told["scripts"])),
    field("by", "principal"),
    Column("since", lambda secret: day(secret.get("created"))),
)


@click.group(cls=Group)
def noun() -> None:
    """Values for scripts, sealed for each host."""


@noun.command("set", cls=ServerCommand)
@click.argument("name")
@click.option("--on", "target", required=True, metavar="TARGET", help="Name, glob, '*', or labels (role=mail).")
@click.option(
    "--for",
    "scripts",
    required=True,
    multiple=True,
    metavar="SCRIPT",
    help="Who may use it: a script or a namespace (checks/**); may be given again.",
)
@click.option("--from-file", "source", metavar="FILE", help="Where the value is; - reads standard input.")
@click.option("--exact", is_flag=True, help="Keep a line end at the end of the value.")
@pass_invocation
def put(
    invocation: Invocation, name: str, target: str, scripts: tuple[str, ...], source: str | None, exact: bool
) -> None:
    """Seal a value for every host that TARGET means, in place of older ones there.

    The value is read from FILE, from standard input, or asked for. One line end at its end is left out.

    \b
    Examples:
      outrider secret set db-password --on 'role=db' --for 'checks/postgres/**'
      outrider secret set api-key --on '*' --for checks/api --from-file ./key
      pass show api | outrider secret set api-key --on web-1 --for checks/api --from-file -
    """
    check_name(name)
    patterns = check_scripts(list(scripts))
    hosts = list(invocation.api.items("agents", target=target))
    if not hosts:
        raise NotFoundError(f"no host matches {target}")
    # A file first: where it cannot be read, no key of a host is taken for known. Whoever types sees the keys before.
    read = None if source is None else _value(invocation, name, source, exact)
    keys = _sealing_keys(invocation, hosts)
    value = _value(invocation, name, source, exact) if read is None else read
    version = int(invocation.api.get(f"secrets/{segment(name)}/next")["version"])
    sealed = {
        agent: base64.b64encode(seal(value, key, Context(agent, name, version, patterns))).decode()
        for agent, key in keys.items()
    }
    answer: Any = None
    for part in _parts(sealed):
        body = {"name": name, "version": version, "scripts": list(patterns), "sealed": part}
        answer = invocation.api.post("secrets", body)
    if invocation.as_json:
        invocation.output.data(answer)
    else:
        count = f"{len(sealed)} host{'' if len(sealed) == 1 else 's'}"
        invocation.output.say(f"{name} version {version} is sealed for {count}, for {', '.join(patterns)}")


def _sealing_keys(invocation: Invocation, hosts: list[dict[str, Any]]) -> dict[str, SealingKey]:
    """Return the sealing key of each host, attested by the key that the host has always had."""
    from cli.pins import SHORT, Pins, pins_path

    pins, keys, without = Pins(pins_path(), invocation.context.server), {}, []
    for host in hosts:
        if host.get("sealing_key") is None:
            without.append(str(host["name"]))
            continue
        identity = PublicKey.from_text(host["key"], where=str(host["name"]))
        keys[str(host["id"])] = attested(Envelope.from_json(host["sealing_key"]), str(host["id"]), identity)
        if pins.check(str(host["id"]), str(host["name"]), identity.key_id):
            invocation.output.say(f"{host['name']}: seen for the first time, its key is {identity.key_id[:SHORT]}")
    if without:
        raise ArgumentError(
            f"{', '.join(without[:10])} never told a sealing key: a host must have been connected once", where="--on"
        )
    pins.keep()
    return keys


def _parts(sealed: Mapping[str, str]) -> Iterator[dict[str, str]]:
    left = iter(sealed.items())
    while part := dict(islice(left, AT_ONCE)):
        yield part


def _value(invocation: Invocation, name: str, source: str | None, exact: bool) -> bytes:
    if source is None and invocation.may_ask:
        text: str = click.prompt(f"Value of {name}", hide_input=True, confirmation_prompt=True, err=True)
        return text.encode("utf-8", "surrogateescape")
    value = sys.stdin.buffer.read(MAX_PLAIN_BYTES + 3) if source in (None, "-") else read_value(Path(str(source)))
    return value if exact else without_line_end(value)


def read_value(path: Path) -> bytes:
    """Return what a file holds, a little more than a secret may have at most.

    Raises:
        ArgumentError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_PLAIN_BYTES + 3)  # so that one that is too long is refused and not cut
    except OSError as error:
        raise ArgumentError(f"cannot be read: {error.strerror}", where=str(path)) from None


def without_line_end(value: bytes) -> bytes:
    """Return ``value`` without one line end at its end, which editors and ``echo`` put there."""
    return value.removesuffix(b"\n").removesuffix(b"\r") if value.endswith(b"\n") else value


@noun.command("ls", cls=ServerCommand)
@click.option("--limit", type=click.IntRange(1, 10_000), default=200, show_default=True)
@pass_invocation
def ls(invocation: Invocation, limit: int) -> None:
    """List secrets: on which host, which version, for which scripts. Values cannot be had back.

    \b
    Example:
      outrider secret ls
    """
    found = invocation.api.items("secrets", limit=limit)
    if invocation.as_json:
        invocation.output.table(found, COLUMNS, empty="no secrets")
        return
    rows = ({"name": secret["name"], **host} for secret in found for host in secret["hosts"])
    invocation.output.table(rows, COLUMNS, empty="no secrets")


@noun.command("rm", cls=ServerCommand)
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_invocation
def rm(invocation: Invocation, name: str, yes: bool) -> None:
    """Take a secret away from every host. One that is not connected loses it when it comes back.

    \b
    Example:
      outrider secret rm backup-token
    """
    sure(invocation, f"Remove the secret {name}?", yes)
    invocation.api.delete(f"secrets/{segment(name)}")
    if invocation.as_json:
        invocation.output.data({"removed": name})
    else:
        invocation.output.say(f"removed {name}")
