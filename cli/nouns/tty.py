"""``outrider tty``: a terminal on a host."""

from __future__ import annotations

import click

from cli.invocation import Invocation, pass_invocation
from cli.leaf import ServerCommand, key_option
from cli.sessions import ask_reason
from cli.terminals import show_program
from cli.values import bounded
from protocol import limits
from protocol.tiers import Tier


@key_option
@click.command(cls=ServerCommand, context_settings={"ignore_unknown_options": False})
@click.argument("host", metavar="HOST")
@click.argument("argv", nargs=-1, metavar="[-- COMMAND...]")
@click.option("-u", "--user", default="", metavar="USER", help="Whose shell [default: the agent's own user].")
@click.option("--reason", default="", metavar="TEXT", help="Why; it is on the record.")
@click.option("--idle", metavar="DURATION", help="End after this long without a key; the host may say less.")
@click.option("--longest", metavar="DURATION", help="End after this long in any case; the host may say less.")
@click.option("--tier", default="admin", show_default=True, metavar="TIER", help="Of the session.")
@pass_invocation
def noun(
    invocation: Invocation, host: str, argv: tuple[str, ...], user: str, reason: str, idle: str | None,
    longest: str | None, tier: str,
) -> None:  # fmt: skip
    """Open a terminal on HOST: a login shell, or COMMAND in place of it.

    It is recorded, and whoever may can watch and join. At the beginning of a line ~? lists what this program itself
    understands; ~d leaves it running and ~. ends it. The exit status is that of the program.

    \b
    Examples:
      outrider tty web-3 --reason T-2291
      outrider tty web-3 --user www-data
      outrider tty web-3 -- top
    """
    if any(letter in host for letter in "*?["):
        raise click.UsageError(f"{host!r} is a pattern, and a terminal is on one host (outrider exec takes many)")
    times = {
        f"{name}_s": None if text is None else bounded(text, 1.0, limits.MAX_TIMEOUT_S, where=f"--{name}")
        for name, text in (("idle", idle), ("longest", longest))
    }
    at = Tier.parse(tier, where="--tier")
    invocation.exit(show_program(invocation, host, argv, user, at, ask_reason(invocation, at, reason), **times))
