"""Command groups that load a noun's module only when that noun is used, so that ``outrider`` starts quickly.

The table of nouns carries each one's short help, so that ``outrider --help`` loads none of them either.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from typing import Any, Final

import click

CONTEXT_SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


# What other programs call it; of these names the group's own are told.
_MEANT: Final[dict[str, tuple[str, ...]]] = {
    "list": ("ls",), "delete": ("rm",), "remove": ("rm",), "describe": ("show",), "info": ("show",),
    "create": ("add", "new", "invite"), "new": ("add", "create", "invite"), "add": ("create", "new", "invite"),
    "lint": ("check",), "test": ("check",), "validate": ("check",),
    "ssh": ("tty",), "shell": ("tty",), "connect": ("tty",), "cp": ("file",), "scp": ("file",), "cat": ("file",),
    "logs": ("record", "runs"), "log": ("record", "runs"), "audit": ("record",), "replay": ("play",),
    "hosts": ("agent",), "host": ("agent",),
}  # fmt: skip


class Group(click.Group):
    """A group that answers a mistyped name with the nearest ones, and takes ``-h``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("context_settings", CONTEXT_SETTINGS)
        super().__init__(*args, **kwargs)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they were written down."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with suggestions where there is no such command."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            names = self.list_commands(ctx)
            meant = [name for name in _MEANT.get(args[0], ()) if name in names]
            close = meant or difflib.get_close_matches(args[0], names, n=3, cutoff=0.5)
            hint = f" Did you mean {' or '.join(close)}?" if close else ""
            raise click.UsageError(f"There is no command {args[0]!r} here.{hint}", ctx) from None


class LazyGroup(Group):
    """The root group.

    Args:
        nouns: Command name to ``(module, one-line help)``; the module holds a click command called ``noun``.
    """

    def __init__(self, *args: Any, nouns: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._nouns = nouns

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table, which is the order of a day's work."""
        return list(self._nouns)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load the module of one noun."""
        if cmd_name not in self._nouns:
            return None
        found = importlib.import_module(self._nouns[cmd_name][0]).noun
        if not isinstance(found, click.Command):
            raise TypeError(f"{self._nouns[cmd_name][0]}.noun is not a click command")
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the nouns from the table, without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._nouns.items()])
