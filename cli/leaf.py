"""The kinds of commands: each takes ``--json``; one that speaks to the server also says which one."""

from __future__ import annotations

from typing import Any

import click

from cli.invocation import Invocation


def _note_json(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(Invocation).as_json = True


def _note_asked(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if parameter.name is not None:
        ctx.ensure_object(Invocation).ask(**{parameter.name: value})


def server_options() -> list[click.Option]:
    """Return new options that choose the server; also on the root command."""
    return [
        click.Option(
            ["--server"], metavar="URL", callback=_note_asked, expose_value=False,
            help="The server, instead of the current context's.",
        ),
        click.Option(
            ["--token-file"], metavar="FILE", callback=_note_asked, expose_value=False,
            help="File with the API token (mode 0600).",
        ),
        click.Option(
            ["--context"], metavar="NAME", callback=_note_asked, expose_value=False,
            help="A named context of the configuration file.",
        ),
    ]  # fmt: skip


class LocalCommand(click.Command):
    """A command that needs no server."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("context_settings", {"help_option_names": ["-h", "--help"], "max_content_width": 100})
        super().__init__(*args, **kwargs)
        self.params.extend(self.shared_options())

    def shared_options(self) -> list[click.Option]:
        """The options that every command of this kind takes."""
        return [
            click.Option(
                ["--json"], is_flag=True, callback=_note_json, expose_value=False, is_eager=True,
                help="Data as JSON on stdout.",
            )
        ]  # fmt: skip


class ServerCommand(LocalCommand):
    """A command that speaks to the server."""

    def shared_options(self) -> list[click.Option]:
        """The options that every command of this kind takes."""
        return [*super().shared_options(), *server_options()]


def key_option(command: click.Command) -> click.Command:
    """Add ``--key FILE`` to a command that signs."""
    command.params.append(
        click.Option(
            ["--key"], metavar="FILE", callback=_note_asked, expose_value=False,
            help="Key to sign with: a file of ours or of OpenSSH, or agent:[COMMENT] for one in the SSH agent "
            "[default: the context's, or ~/.config/outrider/key].",
        )
    )  # fmt: skip
    return command
