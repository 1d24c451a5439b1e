"""``outrider forward``: ports of this machine that lead to what a host reaches, and ports of a host that lead here."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import click

from cli.invocation import Invocation, pass_invocation
from cli.leaf import ServerCommand, key_option
from cli.output import counted
from cli.sessions import ask_reason, opened
from policies.targets import TargetPattern
from protocol.errors import ArgumentError, OutriderError
from protocol.tiers import Tier
from protocol.units import parse_duration, parse_size


@key_option
@click.command("forward", cls=ServerCommand)
@click.argument("host")
@click.argument("specs", nargs=-1, metavar="[[BIND:]PORT:HOST:PORT|L:HOST:PORT]...")
@click.option(
    "-R",
    "--remote",
    "remotes",
    multiple=True,
    metavar="[BIND:]PORT:HOST:PORT",
    help="Listen on the host, connect from here; may be repeated.",
)
@click.option(
    "-D",
    "--dynamic",
    "dynamics",
    multiple=True,
    metavar="[BIND:]PORT",
    help="Listen here for SOCKS5, which says where to; may be repeated.",
)
@click.option(
    "--allow",
    "allowed",
    multiple=True,
    metavar="TARGET",
    help="SOCKS5 may lead to these and nowhere else, such as localhost:8080; may be repeated.",
)
@click.option("--ttl", metavar="DURATION", help="End it after this, such as 2h.")
@click.option("--max-bytes", metavar="SIZE", help="End connections when this much has gone, such as 1GiB.")
@click.option("--tier", default="admin", show_default=True, metavar="TIER")
@click.option("--reason", default="", metavar="TEXT", help="Why, such as a ticket; it is on the record.")
@pass_invocation
def noun(
    invocation: Invocation, host: str, specs: tuple[str, ...], remotes: tuple[str, ...], dynamics: tuple[str, ...],
    allowed: tuple[str, ...], ttl: str | None, max_bytes: str | None, tier: str, reason: str,
) -> int:  # fmt: skip
    """Forward TCP connections through a host, until Ctrl-C. Listens on loopback unless told otherwise.

    \b
    Examples:
      outrider forward web-3 5432:db.internal:5432 --reason T-2291
      outrider forward web-3 5432:localhost:5432        (needs a grant that names localhost:5432)
      outrider forward web-3 L:db.internal:5432 L:cache.internal:6379 --ttl 2h
      outrider forward web-3 -D 1080                    (curl --socks5-hostname 127.0.0.1:1080 ...)
      outrider forward web-3 -R 8080:localhost:3000     (port 8080 of web-3 leads to port 3000 here)

    Each connection, where it led and how much went is on the record. See docs/forwards.md.
    """
    from cli.forwarding.specs import parse, parse_listen

    local = [parse(text, where="HOST:PORT") for text in specs]
    dynamic = [parse_listen(text, where="-D") for text in dynamics]
    remote = [parse(text, where="-R") for text in remotes]
    if any(spec.may_move or spec.listen.port == 0 for spec in remote):
        raise ArgumentError("the port of the host must be said, such as 8080:localhost:3000", where="-R")
    if not (local or dynamic or remote):
        raise click.UsageError("Say what to forward, such as 5432:db.internal:5432, -D 1080 or -R 8080:localhost:3000.")
    wanted = Wanted(
        local, dynamic, remote, allowed, None if ttl is None else parse_duration(ttl, where="--ttl"),
        None if max_bytes is None else parse_size(max_bytes, where="--max-bytes"),
    )  # fmt: skip
    at = Tier.parse(tier, where="--tier")
    with opened(
        invocation, host, "forward", at, ask_reason(invocation, at, reason), wanted.grant(), longest_s=wanted.ttl_s
    ) as session:
        return _run(invocation, session.about, wanted)


class Wanted:
    """What one command forwards."""

    def __init__(
        self, local: Sequence[Any], dynamic: Sequence[Any], remote: Sequence[Any], allowed: Sequence[str],
        ttl_s: float | None, max_bytes: int | None,
    ) -> None:  # fmt: skip
        self.local = local
        self.dynamic = dynamic
        self.remote = remote
        self.allowed = [TargetPattern.parse(text, where="--allow").text for text in allowed]
        self.ttl_s = ttl_s
        self.max_bytes = max_bytes

    def grant(self) -> dict[str, Any]:
        """Return what the session narrows itself to: exactly these places."""
        targets = (self.allowed or ["*"]) if self.dynamic else []
        targets += [str(spec.target) for spec in self.local]
        allow: list[dict[str, Any]] = []
        if targets:
            allow.append({"call": "net.forward", "targets": list(dict.fromkeys(targets))})
        if self.remote:
            allow.append({"call": "net.listen", "targets": list(dict.fromkeys(str(s.listen) for s in self.remote))})
            allow.append({"call": "listener.accept"})
        return {"allow": allow}


def _run(invocation: Invocation, session: dict[str, Any], wanted: Wanted) -> int:
    from cli import loop

    return loop.run(_forward(invocation, session, wanted))


async def _forward(invocation: Invocation, session: dict[str, Any], wanted: Wanted) -> int:
    from cli.forwarding.carrying import Carrier
    from cli.forwarding.wire import Wire

    wire = await Wire.open(invocation.context, session["id"])
    serving = asyncio.ensure_future(wire.run())
    carrier = Carrier(wire, invocation.output.say, wanted.max_bytes, wanted.ttl_s)
    stop = asyncio.Event()
    try:
        told = [("local", carrier.listen(spec), spec.target) for spec in wanted.local]
        told += [("dynamic", carrier.listen(spec), None) for spec in wanted.dynamic]
        told += [("remote", await carrier.remote(spec), spec.target) for spec in wanted.remote]
        _say(invocation, session, told)
        with _interrupted(stop):
            ending = asyncio.ensure_future(stop.wait())
            await asyncio.wait([serving, ending], return_when=asyncio.FIRST_COMPLETED, timeout=wanted.ttl_s)
            ending.cancel()
        if serving.done():
            serving.result()
        why = "stopped" if stop.is_set() else "its time is over"
        invocation.output.say(f"{why}; {counted(carrier.connections, 'connection')}")
        return 0
    finally:
        await carrier.close()
        serving.cancel()
        with suppress(asyncio.CancelledError, OutriderError):
            await serving
        await wire.close()


def _say(invocation: Invocation, session: dict[str, Any], told: Sequence[tuple[str, Any, Any]]) -> None:
    """Tell where it listens, once everything does."""
    host = session["agent"]
    if invocation.as_json:
        listening = [
            {"kind": kind, "address": place.host, "port": place.port, "target": str(target) if target else None}
            for kind, place, target in told
        ]
        invocation.output.row({"session": session["id"], "host": host, "listening": listening})
        return
    for kind, place, target in told:
        if kind == "remote":
            invocation.output.say(f"{place} of {host} -> here -> {target}")
        else:
            invocation.output.say(f"{place} -> {host} -> {target or 'wherever SOCKS5 says'}")


@contextmanager
def _interrupted(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
