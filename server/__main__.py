"""``outrider-server``: make a server's directory, run it, hand out tokens."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import click

from protocol.errors import DOORS, ConflictError, OutriderError, UnavailableError
from protocol.freed_memory import keep_freed
from protocol.limits import MAX_LINK_FRAME_BYTES
from protocol.units import parse_duration
from server import config, limits
from server.memory import settle

DIRECTORY = click.option(
    "--dir", "directory", required=True, metavar="DIR", type=click.Path(path_type=Path, file_okay=False),
    help="The server's directory.",
)  # fmt: skip


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="outrider", prog_name="outrider-server")
def root() -> None:
    """The control service of Outrider."""


@root.command()
@DIRECTORY
@click.option("--listen", default=config.DEFAULT_LISTEN, show_default=True, metavar="HOST:PORT", help="Loopback only.")
def init(directory: Path, listen: str) -> None:
    """Make a server's directory: key, configuration, database, and an administrator's token in a file.

    To listen elsewhere than on loopback, set `listen` and `tls: {certificate, key}` in config.yaml afterwards.
    """
    from server.store.database import Database  # loads the database libraries; --help does without

    made = config.begin(directory, listen)
    database = Database(made.database)
    try:
        text = database.submit(_admin_token).result()
    finally:
        database.close()
    config.write_private(directory / config.ADMIN_FILE, text + "\n")
    config.finish(directory, listen)
    click.echo(f"made {directory}; an administrator's token is in {directory / config.ADMIN_FILE}", err=True)


def _admin_token(connection: Any) -> str:
    from server import access  # as in init

    return str(access.make(connection, "admin", ["admin"], limits.DEFAULT_TOKEN_TTL_S)["token"])


@root.command()
@DIRECTORY
@click.option("--principal", required=True, metavar="NAME", help="Who the token is for.")
@click.option("--role", "roles", required=True, multiple=True, metavar="ROLE", help="May be given again.")
@click.option("--ttl", default="90d", show_default=True, metavar="DURATION", help="The token ends after this.")
def token(directory: Path, principal: str, roles: tuple[str, ...], ttl: str) -> None:
    """Make a token and print it. Roles: viewer, auditor, operator, support, moderator, author, reviewer, admin.

    Besides, @groups that `outrider grant` names, such as --role viewer --role @helpdesk.
    """
    from server import access  # as in init
    from server.ledger import OwnLedger
    from server.services import time_kept
    from server.store.database import Database

    ttl_s = parse_duration(ttl, where="--ttl")
    if ttl_s > limits.MAX_TOKEN_TTL_S:
        raise click.UsageError(f"--ttl: the longest is {limits.MAX_TOKEN_TTL_S / 86_400:g} days")
    ledger = OwnLedger(config.read_key(directory))
    database = Database(config.read(directory).database)

    def make(connection: Any) -> str:
        time_kept.take_up(connection)
        made = access.make(connection, principal, list(roles), ttl_s)
        what = {"id": made["id"], "principal": principal, "roles": list(roles)}
        ledger.append(connection, call="access.grant", principal="outrider-server", arguments=what)
        return str(made["token"])

    try:
        click.echo(database.submit(make).result())
    finally:
        database.close()


@root.command()
@DIRECTORY
@click.option("--believe-host", is_flag=True, help="The host's clock is right now: forget what was believed before.")
def clock(directory: Path, believe_host: bool) -> None:
    """Show what time it is by the host and by what the server believes.

    The server never believes that it is earlier than it was for long, so that what expired stays expired when the
    clock is set back. Was the clock ahead for over an hour, and is right now, tokens end too early until it is told so.
    """
    from server import clock as clocks  # as in init
    from server.ledger import OwnLedger
    from server.services import time_kept
    from server.store.database import Database

    ledger = OwnLedger(config.read_key(directory))
    database = Database(config.read(directory).database)

    def believe(connection: Any) -> int | None:
        before = time_kept.forget(connection)
        what = {"believe_host": True, "kept": clocks.text(before)}
        ledger.append(connection, call="server.clock", principal="outrider-server", arguments=what)
        return before

    try:
        kept = database.submit(believe if believe_host else time_kept.kept).result()
    finally:
        database.close()
    click.echo(f"the host's clock: {clocks.text(clocks.host_us())}")
    click.echo(f"kept as believed: {clocks.text(kept) or 'nothing yet; it takes an hour without a step of the clock'}")
    if believe_host:
        click.echo("the host is believed from now on, by a server that runs within a minute")


@root.command()
@DIRECTORY
def fingerprint(directory: Path) -> None:
    """Print the fingerprint of the server's key, for people to compare when they sign in (outrider login)."""
    click.echo(config.read_key(directory).public.key_id)


@root.command()
@DIRECTORY
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
def run(directory: Path, log_level: str) -> None:
    """Run the server until SIGTERM or Ctrl-C."""
    from server.logs import start_logging  # as in init

    read = config.read(directory)
    key = config.read_key(directory)
    start_logging(log_level)
    with _locked(directory):
        _serve(read, key)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the directory; the kernel lets go of it when the process ends, however it ends."""
    descriptor = os.open(directory / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConflictError(f"a server runs in {directory} already") from None
        yield
    finally:
        os.close(descriptor)


def _serve(read: config.Config, key: Any) -> None:
    import uvicorn  # as in init

    from server.app import build
    from server.core import Core
    from server.http_protocol import BoundedProtocol
    from server.ledger import OwnLedger
    from server.line_protocol import LineProtocol
    from server.metrics import Metrics
    from server.repository import Repository
    from server.store.database import Database

    core = Core(read, key, Database(read.database), Repository(read.repository), OwnLedger(key), Metrics())
    settings = uvicorn.Config(
        build(core), read.host, read.port, http=BoundedProtocol, ws=LineProtocol, ws_max_size=MAX_LINK_FRAME_BYTES,
        ws_per_message_deflate=False, lifespan="on", log_config=None, access_log=False, server_header=False,
        proxy_headers=False, timeout_graceful_shutdown=round(limits.SHUTDOWN_S),
        ssl_certfile=read.certificate, ssl_keyfile=read.key,
    )  # fmt: skip
    try:
        settings.load()
    except OSError as error:  # ssl.SSLError is one
        raise UnavailableError(f"{read.certificate} and {read.key} cannot be used for TLS: {error}") from error
    if settings.ssl is not None:
        import ssl

        from server.threshold import put_before

        settings.ssl.minimum_version = ssl.TLSVersion.TLSv1_3
        put_before(settings)

    class Server(uvicorn.Server):
        """Tells streams that are open of the end, so that they end by themselves."""

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            core.is_ending.set()
            super().handle_exit(sig, frame)

    keep_freed()
    server = Server(settings)
    settle()
    with suppress(SystemExit):  # uvicorn's way to say that it could not begin; the log holds its reason
        server.run()
    if not server.started:
        raise UnavailableError(f"the server could not listen on {read.host}:{read.port}")


def main() -> None:
    """Entry point of the program ``outrider-server``."""
    try:
        root.main(prog_name="outrider-server", standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(128 + signal.SIGINT)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except OutriderError as error:
        click.echo(str(error), err=True)
        sys.exit(DOORS[error.code].exit_status)


if __name__ == "__main__":
    main()
