"""``outrider exec``: a command on a host, or on many, as if it ran here."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import click

from cli import exits, failures
from cli.commands.choosing import lowest_tier
from cli.commands.fan_out import FanOut, max_errors
from cli.commands.printing import Plain, Prefixed, Rows
from cli.commands.remote_command import RemoteCommand
from cli.invocation import Invocation, pass_invocation
from cli.leaf import ServerCommand
from cli.output import counted
from cli.session_options import session_options, with_key
from cli.sessions import as_user, ask_reason, opened
from cli.values import bounded, pairs
from protocol.errors import NotFoundError, OutriderError
from protocol.tiers import Tier

MAX_TIMEOUT_S: Final = 86_400.0
FORWARDED: Final = {signal.SIGTERM: "TERM", signal.SIGHUP: "HUP", signal.SIGQUIT: "QUIT"}


@with_key
@click.command("exec", cls=ServerCommand)
@click.option("-l", "--label", metavar="EXPR", help="Hosts by labels (role=mail,env!=test); then no TARGET.")
@click.option("--timeout", metavar="DURATION", help="Kill it after this long; exit status 124.")
@click.option("--user", default="", metavar="NAME", help="Run it as this user of the host.")
@click.option("--cwd", metavar="PATH", help="Its working directory on the host [default: /].")
@click.option("--env", "given", multiple=True, metavar="K=V", help="A variable for it; may be repeated.")
@click.option("-n", "--no-stdin", is_flag=True, help="Give it nothing to read; so always with several hosts.")
@click.option("-t", "--tty", is_flag=True, help="In a terminal, as outrider tty has it: recorded, with keys and size.")
@click.option("--max-concurrency", type=click.IntRange(1, 100), default=10, show_default=True, metavar="N",
              help="Hosts at once.")  # fmt: skip
@click.option("--max-errors", "errors", metavar="N|N%", help="Begin no further host after more failures than this.")
@session_options
@click.argument("words", nargs=-1, required=True, metavar="TARGET -- ARGV...")
@pass_invocation
def noun(
    invocation: Invocation, words: tuple[str, ...], label: str | None, timeout: str | None, user: str, cwd: str | None,
    given: tuple[str, ...], no_stdin: bool, tty: bool, max_concurrency: int, errors: str | None, tier: str | None,
    reason: str,
) -> None:  # fmt: skip
    """Run ARGV on TARGET (a name, a glob, or -l labels), with its output, its input and its exit status.

    There is no shell: for pipes and globs say sh -c '...'. Ctrl-C sends SIGINT, a second one kills. Of one host the
    exit status is the command's own, 128 and the number of the signal that ended it, or 124 after --timeout. Of
    several, each line begins with the host's name; the status is theirs if they agree, 8 if some did it and some not.

    \b
    Examples:
      outrider exec web-3 -- df -h
      outrider exec web-3 --reason T-2291 -- systemctl status nginx
      outrider exec 'web-*' --max-errors 10% --reason T-2291 -- nginx -t
      tar c site | outrider exec web-3 --reason CHG-118 -- tar xC /srv/www
      outrider exec -t web-3 --reason T-2291 -- top
    """
    target, argv = _target_and_argv(words, label)
    if tty:
        refused = {
            "-l": label,
            "--timeout": timeout,
            "--cwd": cwd,
            "--env": given,
            "-n": no_stdin,
            "--max-errors": errors,
        }
        invocation.exit(
            _in_terminal(invocation, target, argv, user, tier, reason, [k for k, v in refused.items() if v])
        )
    asked: dict[str, Any] = {"argv": argv, "env": pairs(given, where="--env"), "user": user, "cwd": cwd}
    asked = {name: value for name, value in asked.items() if value}
    if timeout is not None:
        asked["timeout_s"] = bounded(timeout, 0.01, MAX_TIMEOUT_S, where="--timeout")
    needs_admin = bool(set(asked) & {"env", "user", "cwd"})
    chosen = Tier.parse(tier) if tier else lowest_tier(argv, as_user=needs_admin)
    reason = ask_reason(invocation, chosen, reason)
    hosts = _hosts(invocation, target)
    is_one = hosts == [target]
    run = _Run(invocation, asked, chosen, reason)
    if is_one:
        invocation.exit(run.one(target, stdin=None if no_stdin else _stdin()))
    most = None if errors is None else max_errors(errors, len(hosts))
    invocation.exit(run.many(hosts, FanOut(max_concurrency, most)))


class _Run:
    """The command, on whatever hosts."""

    def __init__(self, invocation: Invocation, asked: dict[str, Any], tier: Tier, reason: str) -> None:
        self._invocation = invocation
        self._asked = asked
        self._tier = tier
        self._reason = reason
        self._running: dict[str, RemoteCommand] = {}
        self._interrupts = 0
        self._fan_out: FanOut | None = None
        self._lock = threading.Lock()  # of what is written

    def one(self, host: str, stdin: int | None) -> int:
        """Run it on one host and return its status."""
        rows = Rows(host, self._invocation.output, self._lock) if self._invocation.as_json else None
        with self._signals():
            return self._on(host, rows or Plain(), rows, stdin)

    def many(self, hosts: Sequence[str], fan_out: FanOut) -> int:
        """Run it on several hosts, and return the status that stands for all."""
        self._fan_out = fan_out
        width = max(map(len, hosts))

        def work(host: str) -> int:
            rows = Rows(host, self._invocation.output, self._lock) if self._invocation.as_json else None
            try:
                return self._on(host, rows or Prefixed(host, width, self._lock), rows, None)
            except click.UsageError:
                raise
            except OutriderError as error:
                with self._lock:
                    if rows is None:
                        self._invocation.output.say(f"{host}: {error}")
                if rows is not None:
                    rows.row({"error": {"code": error.code, "message": error.message}})
                return failures.exit_status(error)

        with self._signals():
            status = fan_out.run(hosts, work)
        self._tell(fan_out, len(hosts))
        return exits.INTERRUPTED if self._interrupts else status

    def _on(self, host: str, printer: Plain | Prefixed | Rows, rows: Rows | None, stdin: int | None) -> int:
        grant = as_user(self._asked.get("user", ""))
        with opened(self._invocation, host, "command", self._tier, self._reason, grant) as session:
            command = self._running[host] = RemoteCommand(session, self._asked)
            try:
                ended = command.run(printer.printed, stdin)
            finally:
                self._running.pop(host, None)
                printer.ended()
        if rows is not None:
            rows.row({"exit": {"status": ended.status, **ended.told}})
        elif ended.timed_out:
            self._invocation.output.say(f"{host}: killed after --timeout")
        return ended.status

    def _tell(self, fan_out: FanOut, hosts: int) -> None:
        failed = {host: status for host, status in fan_out.statuses.items() if status != exits.OK}
        if self._invocation.as_json:
            for host in fan_out.skipped:
                Rows(host, self._invocation.output, self._lock).row({"skipped": True})
            return
        parts = [f"{counted(hosts, 'host')}: {hosts - len(failed) - len(fan_out.skipped)} ok"]
        parts += [f"{len(failed)} failed ({', '.join(f'{host} {status}' for host, status in sorted(failed.items()))})"]
        parts += [f"{len(fan_out.skipped)} not begun ({', '.join(sorted(fan_out.skipped))})"]
        self._invocation.output.say(", ".join(part for part in parts if not part.startswith("0 ")))

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Hand signals on to what runs, and give this process its own ways back at the end."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        kept = {number: signal.getsignal(number) for number in (signal.SIGINT, *FORWARDED)}
        signal.signal(signal.SIGINT, lambda *_: self._interrupt())
        for number in FORWARDED:
            signal.signal(number, lambda received, _frame: self._hand_on(received))
        try:
            yield
        finally:
            for number, handler in kept.items():
                signal.signal(number, handler)

    def _interrupt(self) -> None:
        self._interrupts += 1
        if self._fan_out is not None:
            self._fan_out.stop()
        if self._fan_out is not None and not self._running:
            _end_by(signal.SIGINT)
        if self._interrupts > 2 or not self._running:
            raise KeyboardInterrupt
        self._send("INT" if self._interrupts == 1 else "KILL")

    def _hand_on(self, number: int) -> None:
        if not self._running:
            _end_by(number)
        self._send(FORWARDED[signal.Signals(number)])

    def _send(self, name: str) -> None:
        """Send a signal to all that run; on threads, as what was interrupted may hold anything."""
        for command in list(self._running.values()):
            threading.Thread(target=command.signal, args=(name,), daemon=True).start()


def _end_by(number: int) -> None:
    """End this process as the signal would have without us: nothing runs that it could be handed on to.

    Its threads may wait for the owners of hosts to answer; the server sees that they have gone, and withdraws that.
    """
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _in_terminal(
    invocation: Invocation, host: str, argv: list[str], user: str, tier: str | None, reason: str, refused: list[str]
) -> int:
    from cli.terminals import show_program

    if refused:
        raise click.UsageError(f"--tty runs one program on one host as it is: it goes without {', '.join(refused)}")
    if _is_pattern(host):
        raise click.UsageError("--tty is for one host")
    at = Tier.parse(tier or "admin")
    return show_program(invocation, host, argv, user, at, ask_reason(invocation, at, reason))


def _target_and_argv(words: Sequence[str], label: str | None) -> tuple[str, list[str]]:
    rest = list(words)
    if label is not None:
        if "=" not in label:
            raise click.BadParameter(f"{label!r} has no label in it (example: role=mail)", param_hint="'-l'")
        target = f"-l {label}"
    else:
        target = rest.pop(0)
    if not rest:
        raise click.UsageError("Give TARGET and a command, such as: outrider exec web-3 -- df -h")
    return target, rest


def _hosts(invocation: Invocation, target: str) -> list[str]:
    """Return the names of the hosts that are meant; a plain name is one, whether it is known or not."""
    if not _is_pattern(target):
        return [target]
    found = [str(agent["name"]) for agent in invocation.api.items("agents", target=target)]
    if not found:
        raise NotFoundError(f"no host matches {target!r}")
    return found


def _is_pattern(target: str) -> bool:
    return target.startswith("-l ") or any(letter in target for letter in "*?[")


def _stdin() -> int | None:
    """Return standard input's descriptor; None if there is none."""
    try:
        return sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):
        return None
