"""``outrider login``: check a token against its server, then keep both in the configuration file (mode 0600)."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.invocation import Invocation, pass_invocation
from cli.leaf import LocalCommand
from cli.settings import Context, Contexts, check_server, config_path, load_contexts, read_token, save_contexts
from protocol.errors import UnauthenticatedError

if TYPE_CHECKING:
    from cli.known_servers import KnownServers


def _token(invocation: Invocation, source: str | None) -> str:
    if source is not None:
        return read_token(source, sys.stdin)
    if not invocation.may_ask:
        raise click.UsageError("There is no terminal to ask for the token: use --token-file FILE (or - for stdin).")
    return str(click.prompt("Token", hide_input=True, err=True)).strip()


@click.command(cls=LocalCommand)
@click.argument("server", required=False)
@click.option("--token-file", "source", metavar="FILE", help="File with the token; - reads standard input.")
@click.option("--as", "name", metavar="NAME", help="Name of the context  [default: the server's host name]")
@click.option("--key", metavar="FILE", type=click.Path(path_type=Path), help="Private key to sign with on this server.")
@click.option("--fingerprint", metavar="ID", help="The key that the server must have, whatever was known.")
@click.option("--use", metavar="NAME", help="Only switch to a context that is there.")
@pass_invocation
def noun(
    invocation: Invocation, server: str | None, source: str | None, name: str | None, key: Path | None,
    fingerprint: str | None, use: str | None,
) -> None:  # fmt: skip
    """Sign in to SERVER with a token, and make it the current context.

    The token never stands on the command line: it is asked for, or read from a file or standard input. It is sent only
    to a server with the key that is known here; the first one is believed, or must be the one of --fingerprint (on the
    server: outrider-server fingerprint --dir DIR).

    \b
    Examples:
      outrider login https://outrider.example.net
      outrider login http://127.0.0.1:7443 --token-file admin.token --as home
      outrider login https://outrider.example.net --fingerprint 5f3c0e1a...
      outrider login --use home
    """
    path = config_path()
    contexts = load_contexts(path)
    if use is not None:
        _switch(invocation, path, contexts, use)
        return
    if server is None:
        raise click.UsageError("Which server? (example: outrider login https://outrider.example.net)")
    url = check_server(server)
    known, is_new = _known(url, fingerprint)
    context = Context(url, _token(invocation, source), key.absolute() if key else None, origin="login")
    try:
        me = _check(context)
    except UnauthenticatedError:
        raise UnauthenticatedError(f"{url} does not take this token", where=_source(source)) from None
    chosen = name or url.split("//", 1)[1].split("/")[0].rsplit(":", 1)[0].strip("[]")
    known.keep()
    save_contexts(path, Contexts(chosen, {**contexts.contexts, chosen: context}))
    key_id = found.key_id if (found := known.find(url)) is not None else ""
    if invocation.as_json:
        told = {"context": chosen, "server": url, **me, "server_key": key_id, "server_key_is_new": is_new}
        invocation.output.data(told)
        return
    invocation.output.say(f"signed in to {url} as {me.get('principal')} (context {chosen})")
    if is_new and fingerprint is None:
        invocation.output.say(f"its key is new here: {key_id}")
        invocation.output.say("compare it with what the server says: outrider-server fingerprint --dir DIR")


def _known(url: str, fingerprint: str | None) -> tuple[KnownServers, bool]:
    """Return the known servers with this one among them, and whether it is new there."""
    from cli import known_servers, tree_heads  # load the cryptography library, as in _check
    from cli.api import Api

    known = known_servers.KnownServers(known_servers.servers_path())
    with Api(Context(url)) as api:
        key = known_servers.ask(api)
    is_new = known.check(url, key, fingerprint)
    if fingerprint is not None:
        tree_heads.forget_others(url, key, tree_heads.heads_path())
    return known, is_new


def _source(source: str | None) -> str | None:
    return "standard input" if source == "-" else source


def _check(context: Context) -> dict[str, object]:
    from cli.api import Api  # a local command needs none

    with Api(context) as api:
        return dict(api.get("me"))


def _switch(invocation: Invocation, path: Path, contexts: Contexts, name: str) -> None:
    if name not in contexts.contexts:
        known = ", ".join(contexts.contexts) or "none"
        raise click.UsageError(f"There is no context {name!r} (known: {known}).")
    save_contexts(path, replace(contexts, current=name))
    if invocation.as_json:
        invocation.output.data({"context": name, "server": contexts.contexts[name].server})
    else:
        invocation.output.say(f"context {name}: {contexts.contexts[name].server}")
