"""``outrider-agent``: enrol this host, run its agent, say how it stands."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent import owner_commands, watch_command
from agent.loop import leave
from agent.statedir import StateDir
from protocol.errors import DOORS, ArgumentError, OutriderError
from protocol.plain_text import one_line, safe

if TYPE_CHECKING:
    from agent.config import AgentConfig

MAX_TOKEN_BYTES = 4096  # a join token has about 180


def main() -> None:
    """Entry point of the program ``outrider-agent``."""
    leave(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Carry out one command line and return its exit status, which is that of ``outrider`` for the same error."""
    given = _parser().parse_args(arguments)
    try:
        status = int(given.action(given))
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # What is still buffered for the reader that went away must not fail once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141  # 128 + SIGPIPE, as shells have it
    except OutriderError as error:
        sys.stderr.write(f"outrider-agent: {safe(str(error))}\n")
        return DOORS[error.code].exit_status
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="outrider-agent", description="The agent of Outrider on this host.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    enroll = commands.add_parser("enroll", help="make this host an agent of a server, with a one-time join token")
    enroll.add_argument("--server", required=True, metavar="URL", help="https://host:port, or http on loopback")
    token = enroll.add_mutually_exclusive_group(required=True)
    token.add_argument("--token-file", metavar="FILE", help="file with the join token; - reads standard input")
    token.add_argument("--token", metavar="TOKEN", help="the join token; other users of this host can see it")
    enroll.add_argument("--name", help="what the host wishes to be called  [default: its host name]")
    enroll.add_argument("--label", action="append", default=[], metavar="K=V", help="may be given again")
    enroll.add_argument("--ca-file", metavar="FILE", help="roots for TLS  [default: the host's own]")
    enroll.add_argument(
        "--roots", metavar="FILE", type=Path,
        help="a signed roster that did not come from the server; its roots are pinned  [default: the server's]",
    )  # fmt: skip
    enroll.set_defaults(action=_enroll)
    pin = commands.add_parser("pin", help="pin the roots of a roster on a host that was enrolled before there was one")
    pin.add_argument(
        "--roots", metavar="FILE", type=Path, required=True, help="the signed roster, from somebody you believe"
    )
    pin.set_defaults(action=_pin)
    running = commands.add_parser("run", help="run the agent until SIGTERM or Ctrl-C")
    running.add_argument("--once-refused", action="store_true", help="end when the server refuses this agent")
    running.set_defaults(action=_run)
    status = commands.add_parser("status", help="say how the agent of this host stands")
    status.add_argument("--json", action="store_true", help="as JSON")
    status.set_defaults(action=_status)
    for each in (enroll, pin, running, status, *owner_commands.add_to(commands), *watch_command.add_to(commands)):
        each.add_argument("--dir", required=True, type=Path, metavar="DIR", help="the agent's state directory")
    return parser


def _enroll(given: argparse.Namespace) -> int:
    from agent.clock import SystemClock, to_datetime  # only what a command needs is loaded
    from agent.enrolling import Enrolment, enroll

    labels = dict(_label(text) for text in given.label)
    ca_file = str(Path(given.ca_file).absolute()) if given.ca_file else None
    trusted = _roster(given.roots) if given.roots else None
    wanted = Enrolment(given.server, _token(given), given.name, labels, ca_file, trusted)
    config = enroll(StateDir(given.dir), wanted, to_datetime(SystemClock().time_us()))
    sys.stderr.write(f"enrolled with {config.server} as {config.agent_id} ({_pinned(config)})\n")
    if not config.roots:
        sys.stderr.write("nothing signed runs here before outrider-agent pin --roots FILE\n")
    return 0


def _pin(given: argparse.Namespace) -> int:
    from agent.clock import SystemClock, to_datetime
    from agent.enrolling import pin_roots

    config = pin_roots(StateDir(given.dir), _roster(given.roots), to_datetime(SystemClock().time_us()))
    sys.stderr.write(f"{_pinned(config)}\n")
    return 0


def _pinned(config: AgentConfig) -> str:
    return f"{config.threshold} of {len(config.roots)} roots pinned" if config.roots else "no roots: no roster yet"


def _roster(path: Path) -> Any:
    from protocol.limits import MAX_ENVELOPE_BYTES
    from protocol.signing import Envelope

    try:
        with path.open("rb") as file:
            return Envelope.from_json(file.read(2 * MAX_ENVELOPE_BYTES + 1))
    except OSError as error:
        raise ArgumentError(f"cannot be read: {error.strerror}", where=str(path)) from None
    except ArgumentError as error:
        raise ArgumentError(error.message, where=str(path)) from None


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ArgumentError(f"{text!r:.80} is not of the form key=value", where="--label")
    return key, value


def _token(given: argparse.Namespace) -> str:
    from agent.files import read_bounded

    if given.token is not None:
        return str(given.token)
    source: str = given.token_file
    if source == "-":
        return sys.stdin.read(MAX_TOKEN_BYTES + 1)
    return read_bounded(Path(source), MAX_TOKEN_BYTES).decode("utf-8", "replace")


def _run(given: argparse.Namespace) -> int:
    from agent.config import load_config
    from agent.descriptors import allow_many
    from agent.logs import start_logging
    from agent.loop import run as run_loop
    from agent.memory import give_back, keep_what_is_loaded
    from agent.notify import Notifier
    from agent.supervisor import Supervisor

    state = StateDir(given.dir)
    state.check()
    notifier = Notifier(os.environ, os.getpid())
    with state.locked():
        config = load_config(state)
        start_logging(config.settings.log_level)
        allow_many()

        async def work() -> None:
            supervisor = Supervisor(state, config, notifier, end_when_refused=given.once_refused)
            keep_what_is_loaded()
            give_back()
            await supervisor.run()

        run_loop(work())
    return 0


def _status(given: argparse.Namespace) -> int:
    from agent.standing import standing

    told = standing(StateDir(given.dir))
    if given.json:
        print(json.dumps(told, indent=2))  # noqa: T201 - the data that was asked for
    else:
        for name, value in told.items():
            print(f"{name.replace('_', ' '):<22} {_shown(value)}")  # noqa: T201 - as above
    return 0


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else one_line(str(value))


if __name__ == "__main__":
    main()
