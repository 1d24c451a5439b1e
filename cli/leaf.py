"""The kinds of commands: each takes ``--json``; one that speaks to the server also says which one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

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


class LookedUp(click.ParamType[str], ABC):
    """The type of a parameter for whose values the server is asked before the command runs, such as ids."""

    note: ClassVar[str]  # what the help of a command with such a parameter says of it

    @abstractmethod
    def meant(self, invocation: Invocation, text: str) -> str:
        """Return what the text that was typed stands for; raises what the client does."""


class ServerCommand(LocalCommand):
    """A command that speaks to the server."""

    def invoke(self, ctx: click.Context) -> Any:
        """Look up what is to be looked up, and run."""
        for parameter in self.params:
            name, kind = parameter.name, parameter.type
            if name is None or not isinstance(kind, LookedUp) or not (given := ctx.params.get(name)):
                continue
            invocation = ctx.ensure_object(Invocation)
            several = isinstance(given, tuple)
            found = tuple(kind.meant(invocation, each) for each in (given if several else (given,)))
            ctx.params[name] = found if several else found[0]
        return super().invoke(ctx)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Say what may stand for what is looked up."""
        super().format_epilog(ctx, formatter)
        for note in dict.fromkeys(each.type.note for each in self.params if isinstance(each.type, LookedUp)):
            formatter.write_paragraph()
            formatter.write_text(note)

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
