"""The root command, and the one place where an error becomes a line and an exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from cli import exits, failures
from cli.invocation import Invocation
from cli.lazy import LazyGroup
from cli.leaf import server_options
from protocol.errors import OutriderError

NOUNS: dict[str, tuple[str, str]] = {
    "demo": ("cli.nouns.demo", "Server, agent and six checks on this machine, in one go."),
    "login": ("cli.nouns.login", "Sign in to a server with a token."),
    "status": ("cli.nouns.status", "Who you are, which server, how the fleet is."),
    "agent": ("cli.nouns.agent", "Hosts: list, show, invite, label, freeze, remove."),
    "script": ("cli.nouns.script", "Scripts: write, check and run here; publish, list, show, withdraw."),
    "review": ("cli.nouns.review", "Read what a script may do; approve or reject it."),
    "schedule": ("cli.nouns.schedule", "Run scripts by the clock."),
    "grant": ("cli.nouns.grant", "Let people run chosen scripts who may not run scripts in general."),
    "webhook": ("cli.nouns.webhook", "Tell other systems what happens to scripts."),
    "secret": ("cli.nouns.secret", "Values for scripts, sealed for each host; the server cannot read them."),
    "blob": ("cli.nouns.blob", "Files that scripts and people put on the server, by their SHA-256."),
    "file": ("cli.nouns.file", "Files of a host: look, read, copy, edit, undo."),
    "exec": ("cli.nouns.exec", "A command on a host, or on many, as if it ran here."),
    "run": ("cli.nouns.run", "Run a published script on hosts, once, now."),
    "runs": ("cli.nouns.runs", "What ran, and what came of it."),
    "forward": ("cli.nouns.forward", "Ports of this machine that lead through a host, and the other way round."),
    "access": ("cli.nouns.access", "Who may open which sessions on which hosts."),
    "request": ("cli.nouns.request", "Ask for access for a while; decide about what others ask."),
    "consent": ("cli.nouns.consent", "What the owners of hosts are asked, and your answer."),
    "tty": ("cli.nouns.tty", "A terminal on a host, recorded, that others may watch and join."),
    "session": ("cli.nouns.session", "Sessions of people: watch, join, end, play back, search."),
    "record": ("cli.nouns.record", "Who did what on which host, and proof that it is complete."),
    "policy": ("cli.nouns.policy", "What a tier may do, and which rule decides."),
    "key": ("cli.nouns.key", "Your signing key."),
    "roster": ("cli.nouns.roster", "The signed list of keys and roles."),
    "doctor": ("cli.nouns.doctor", "What this machine offers, and what is wrong."),
    "completion": ("cli.nouns.completion", "Shell completion for bash, zsh or fish."),
}

EPILOG = (
    "Every command takes --json: data on stdout, talk on stderr. Exit statuses: docs/exit-codes.md. "
    "Environment: OUTRIDER_SERVER, OUTRIDER_TOKEN, OUTRIDER_KEY, OUTRIDER_CONTEXT, NO_COLOR."
)


def _version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        from importlib.metadata import version

        click.echo(f"outrider {version('outrider')}")
        ctx.exit()


@click.group(cls=LazyGroup, nouns=NOUNS, epilog=EPILOG)
@click.option("--no-color", is_flag=True, help="No colour, as with NO_COLOR in the environment.")
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Say the version.")
@click.pass_context
def root(ctx: click.Context, no_color: bool) -> None:
    """Signed scripts, sandboxed, on every host you own, with every call on the record."""
    ctx.ensure_object(Invocation).no_color = no_color


root.params.extend(server_options())


def run(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command line and return its exit status."""
    invocation = Invocation()
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        status = root.main(
            args=words,
            prog_name="outrider",
            obj=invocation,
            standalone_mode=False,
        )
        sys.stdout.flush()
        return status if isinstance(status, int) else exits.OK
    except click.exceptions.Abort:
        return exits.INTERRUPTED
    except click.ClickException as error:
        # Where the words themselves cannot be read, click has not come to the flag yet.
        invocation.as_json = invocation.as_json or "--json" in words
        return failures.show_usage(invocation.output, error)
    except OutriderError as error:
        return failures.show(invocation.output, error)
    except BrokenPipeError:
        return _reader_gone()
    except SystemExit as error:
        # Where stdout is not buffered, click meets the broken pipe itself: it wraps the streams and exits with 1.
        if type(sys.stdout).__name__.endswith("PacifyFlushWrapper"):
            return _reader_gone()
        return error.code if isinstance(error.code, int) else exits.FAILURE
    except Exception as error:  # noqa: BLE001 - the outermost frame: nothing may reach the user as a bare traceback
        return failures.show_unforeseen(invocation.output, error, invocation.answered)
    finally:
        invocation.close()


def _reader_gone() -> int:
    # What is still buffered for the reader that went away must not fail once more at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)
    return exits.BROKEN_PIPE
