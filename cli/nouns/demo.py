"""``outrider demo``: everything on loopback in one go; ``--once`` shows it, shuts it down and exits."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import exits, failures
from cli.invocation import Invocation, pass_invocation
from cli.leaf import LocalCommand
from cli.output import Output
from protocol.errors import OutriderError

if TYPE_CHECKING:
    from cli.demo.place import Place

RESULT_POLL_S = 0.5


@click.command(cls=LocalCommand)
@click.option("--once", is_flag=True, help="Bring everything up, show it on real data, shut it down, exit.")
@click.option(
    "--dir", "directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False),
    help="Where it lives  [default: .demo; with --once a temporary directory]",
)  # fmt: skip
@click.option("--port", type=click.IntRange(1, 65535), help="Port of loopback  [default: 7443; with --once a free one]")
@pass_invocation
def noun(invocation: Invocation, once: bool, directory: Path | None, port: int | None) -> None:
    """Server, agent and six monitoring checks on this machine: signed, approved, scheduled, on the record.

    A second start goes on where the first stopped. Ctrl-C stops it.

    \b
    Examples:
      outrider demo
      outrider demo --once --json
    """
    signal.signal(signal.SIGTERM, _as_interrupt)
    signal.signal(signal.SIGHUP, _as_interrupt)
    if once:
        with _temporary(directory) as where:
            invocation.exit(_once(invocation.output, where, port))
    _keep_running(invocation.output, directory or Path(".demo"), port)


def _as_interrupt(_number: int, _frame: Any) -> None:
    raise KeyboardInterrupt


@contextmanager
def _temporary(directory: Path | None) -> Iterator[Path]:
    if directory is not None:
        yield directory
        return
    with tempfile.TemporaryDirectory(prefix="outrider-demo-") as made:
        yield Path(made)


def _once(output: Output, directory: Path, port: int | None) -> int:
    from cli.demo.bringup import Demo, Rhythm, log_paths  # the HTTP and signing libraries; only a demo pays for them
    from cli.demo.once import tour
    from cli.demo.processes import Daemons, tail

    started = time.monotonic()
    place = _place(directory, port, is_once=True)
    try:
        with _held(place), Daemons() as daemons:
            output.say(f"Outrider demo on {place.url}  (once, in {place.directory})")
            demo = Demo(place, daemons, lambda what, text: output.say(f"  {what:<10} {text}"))
            demo.bring_up(Rhythm(every_s=2.0, splay_s=0.0))
            summary = tour(demo, output)
    except OutriderError as error:
        logs = {path.stem: tail(path) for path in log_paths(place)}
        _report_failure(output, error, logs, time.monotonic() - started)
        return exits.FAILURE
    if output.as_json:
        output.data(summary)
    else:
        output.line(f"ok  everything ran, on the record and verified, in {summary['elapsed_s']:.1f} s")
    return exits.OK


def _report_failure(output: Output, error: OutriderError, logs: dict[str, list[str]], elapsed_s: float) -> None:
    failures.show(Output(stderr=None), error)
    for name, lines in ((name, lines) for name, lines in logs.items() if lines):
        output.say(f"--- {name}.log")
        for line in lines:
            output.say(line)
    if output.as_json:
        told = {"code": error.code, "message": str(error)}
        output.data({"ok": False, "elapsed_s": round(elapsed_s, 3), "error": told, "logs": logs})


def _keep_running(output: Output, directory: Path, port: int | None) -> None:
    from cli.demo.bringup import Demo, Rhythm  # see _once
    from cli.demo.processes import Daemons

    place = _place(directory, port, is_once=False)
    tell = output.say if output.as_json else output.line  # with --json stdout is for results alone
    with _held(place), Daemons() as daemons:
        tell(f"Outrider demo on {place.url}  (everything lives in {directory}/, Ctrl-C stops it)")
        demo = Demo(place, daemons, lambda what, text: tell(f"  {what:<10} {text}"))
        demo.bring_up(Rhythm(every_s=30.0, splay_s=10.0))
        tell("Try:  outrider run demo checks/memory      outrider tty demo --reason look      outrider record tail")
        try:
            _show_results(demo, output)
        except KeyboardInterrupt:
            output.say("stopping; the next start goes on from here")
            raise


def _place(directory: Path, port: int | None, *, is_once: bool) -> Place:
    """Return where the demo lives: on the port that is asked for, on that of an earlier start, or on the usual one."""
    from cli.demo.place import DEFAULT_PORT, Place, free_port  # see _once
    from cli.demo.state import listening_port

    chosen = port or listening_port(directory / "server") or (free_port() if is_once else DEFAULT_PORT)
    return Place(directory.absolute(), chosen)


@contextmanager
def _held(place: Place) -> Iterator[None]:
    """Hold the demo's directory, once its port is known to be free."""
    from cli.demo import place as places  # see _once
    from cli.demo.state import move

    place.make()
    held = places.lock(place.directory)
    try:
        places.check_port(place.port)
        move(place)
        yield
    finally:
        os.close(held)


def _show_results(demo: Any, output: Output) -> None:
    """Print results as they come, until Ctrl-C or until a daemon ends."""
    from cli.demo.results import Results, line  # see _once

    results = Results(demo.api)
    results.skip()
    while True:
        for daemon in demo.daemons.started:
            daemon.check()
        for run in results.new():
            if output.as_json:
                output.row(run)
            else:
                output.line(line(run))
        time.sleep(RESULT_POLL_S)
