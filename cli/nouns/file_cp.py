"""``outrider file cp``: files and folders from a host, or to it."""

from __future__ import annotations

import click

from cli.files.copying import Copy, Wish
from cli.files.place import Remote, parse
from cli.invocation import Invocation, pass_invocation
from cli.leaf import ServerCommand
from cli.session_options import files_session, retry_option, session_options, with_key
from cli.values import bounded
from protocol.errors import ArgumentError

MAX_RETRY_S = 3600.0


@with_key
@click.command("cp", cls=ServerCommand)
@click.argument("words", metavar="SOURCE... DESTINATION", nargs=-1, required=True)
@click.option("-r", "--recursive", is_flag=True, help="Folders with all that is in them.")
@click.option("-p", "--preserve", is_flag=True, help="Keep mode and time of change.")
@retry_option
@session_options
@pass_invocation
def noun(
    invocation: Invocation, words: tuple[str, ...], recursive: bool, preserve: bool, retry_for: str,
    tier: str | None, reason: str,
) -> None:  # fmt: skip
    """Copy from or to a host; one side is TARGET:PATH. Each file gets there whole or not at all, and is checked.

    Links stay links and are not followed; special files are named and left out. What fails is told, the rest goes on,
    and the exit status is 1. A copy that broke off goes on where it stood, also when it is called again.

    \b
    Examples:
      outrider file cp web-3:/var/log/nginx/error.log .
      outrider file cp -r web-3:/etc/nginx ./nginx-of-web-3
      outrider file cp -rp site/ web-3:/srv/www --reason CHG-118
    """
    if len(words) < 2:
        raise click.UsageError("Give at least one SOURCE and the DESTINATION.")
    wish = Wish(recursive, preserve, bounded(retry_for, 0.0, MAX_RETRY_S, where="--retry-for"))
    copy(invocation, list(words[:-1]), words[-1], wish, tier, reason)


def copy(invocation: Invocation, sources: list[str], place: str, wish: Wish, tier: str | None, reason: str) -> None:
    """Copy, and end with its exit status.

    Raises:
        ArgumentError: Not exactly one side is on a host, or it is on several.
    """
    there, meant = parse(place), [parse(source) for source in sources]
    remotes = [each for each in meant if each is not None]
    if there is not None and not remotes:
        wanted = [(call, there.path) for call in ("fs.write_stream", "fs.exists")]
        with files_session(invocation, there, wanted, tier, reason, is_tree=True) as session:
            done = Copy(invocation, session, wish)
            done.to_host(sources, there)
        invocation.exit(done.report.finish())
    if there is not None or len(remotes) != len(sources) or len({each.agent for each in remotes}) != 1:
        raise ArgumentError("one side must be here and the other on one host (TARGET:PATH)")
    _from_host(invocation, remotes, place, wish, tier, reason)


def _from_host(
    invocation: Invocation, sources: list[Remote], place: str, wish: Wish, tier: str | None, reason: str
) -> None:
    calls = ("fs.read_stream", "fs.walk") if wish.is_recursive else ("fs.read_stream",)
    wanted = [(call, each.path) for each in sources for call in calls]
    with files_session(invocation, sources[0], wanted, tier, reason, is_tree=wish.is_recursive) as session:
        done = Copy(invocation, session, wish)
        done.from_host(sources, place)
    invocation.exit(done.report.finish())
