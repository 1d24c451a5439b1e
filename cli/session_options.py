"""The options of every command that opens a session on a host, and how it is opened."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from cli.files.place import Remote, lowest
from cli.invocation import Invocation
from cli.leaf import key_option
from cli.sessions import RemoteSession, ask_reason, opened
from protocol.tiers import Tier

Command = TypeVar("Command", bound=Callable[..., Any])
TIERS = [tier.label for tier in Tier if tier >= Tier.OBSERVE]


def session_options(command: Command) -> Command:
    """Add ``--tier`` and ``--reason`` to the function of a command."""
    tier = click.option("--tier", type=click.Choice(TIERS), help="The session's tier [default: the lowest that does].")
    reason = click.option(
        "--reason", default="", metavar="TEXT", help="Why; it is on the record. Needed from tier operate on."
    )
    return reason(tier(command))


def with_key(command: click.Command) -> click.Command:
    """Add ``--key``, whose signature orders the session."""
    return key_option(command)


def retry_option(command: Command) -> Command:
    """Add ``--retry-for`` to the function of a command."""
    text = "How long to try again when the way to the host breaks; 0s: not at all."
    return click.option("--retry-for", default="2m", show_default=True, metavar="DURATION", help=text)(command)


@contextmanager
def files_session(
    invocation: Invocation, place: Remote, wanted: Iterable[tuple[str, str]], tier: str | None, reason: str,
    *, is_tree: bool = False, beside: str | None = None,
) -> Iterator[RemoteSession]:  # fmt: skip
    """Yield a session in which ``wanted`` (calls and paths) can be done, at the lowest tier that allows it."""
    chosen = Tier.parse(tier) if tier else lowest(wanted, is_tree=is_tree)
    why = ask_reason(invocation, chosen, reason)
    with opened(invocation, place.agent, "files", chosen, why, beside=beside) as session:
        yield session
