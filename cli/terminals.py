"""What the commands that show a terminal share: attaching, the line at the top, and how it ends."""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from cli.invocation import Invocation
from cli.sessions import RemoteSession, as_user
from cli.values import segment
from protocol.errors import OutriderError
from protocol.plain_text import safe
from protocol.tiers import Tier
from protocol.units import format_duration

if TYPE_CHECKING:
    from cli.attached import Wanted

LOGIN: Final = "tty.login"  # a session for a terminal can do nothing else


def show_program(
    invocation: Invocation, host: str, argv: Sequence[str], user: str, tier: Tier, reason: str,
    *, idle_s: float | None = None, longest_s: float | None = None,
) -> int:  # fmt: skip
    """Open a terminal on a host, for a program or the login shell, and show it; return the command's exit status.

    Raises:
        OutriderError: The server, the host, or its owner refuses.
    """
    from cli.attached import Wanted  # the WebSocket library

    segment(host)  # a name, or it is told as such
    session = RemoteSession(
        invocation, host, "terminal", tier, reason, as_user(user, LOGIN), idle_s=idle_s, longest_s=longest_s
    )
    session.open()
    opens = {"user": user, "argv": list(argv), "term": _term(), "lang": _language()}
    on_open = banner()
    if invocation.output.as_json:
        on_open = lambda _: None  # noqa: E731 - the program's output is all there is on stdout, and stderr is quiet
    return show(invocation, Wanted(session.id, "owner", opens, on_open, key=invocation.asked.key))


def _term() -> str:
    term = os.environ.get("TERM", "")
    return term if term and term not in ("dumb", "unknown") and len(term) <= 64 else "xterm-256color"


def _language() -> str:
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        given = os.environ.get(name, "")
        if given.upper().endswith(("UTF-8", "UTF8")):
            return given[:64]
    return "C.UTF-8"


def show(invocation: Invocation, wanted: Wanted) -> int:
    """Show a terminal until it ends or somebody leaves; return the exit status of the command.

    Raises:
        OutriderError: The server, or the host, refuses.
    """
    context = invocation.context
    roots = ssl.create_default_context() if context.server.startswith("https:") else None

    from cli import loop
    from cli.attached import Attached

    output = invocation.output
    how = f"outrider session join {wanted.session}, outrider session end {wanted.session}"
    try:
        left = loop.run(Attached(context, wanted, roots).run())
    except BrokenPipeError:
        output.say(f"the reader of the output went away; the session goes on: {how}")
        raise
    if left.exit is None:
        output.say(f"left; it goes on: {how}")
        return 0
    if left.exit.get("error"):
        raise refusal(left.exit["error"])
    code, number, reason = left.exit.get("code"), left.exit.get("signal"), left.exit.get("reason")
    if code is None and number is None:
        output.say(f"the session ended: {reason}" if reason else "the session ended")
        return 1
    if number is not None:
        output.say(f"the program was ended by signal {number}")
        return 128 + int(number)
    return int(code or 0)


def refusal(error: dict[str, Any]) -> OutriderError:
    """Return the error that a host gave for not opening a terminal."""
    from cli.failures import from_problem

    return from_problem({**error, "detail": error.get("message")})


def banner(first: str = "") -> Callable[[dict[str, Any]], None]:
    """Return what writes the line at the top, from the server's greeting, once the terminal is there and recorded."""

    def said(hello: dict[str, Any]) -> None:
        others = [each["who"] for each in hello.get("people") or () if each["id"] != hello["you"]["id"]]
        parts = [
            f"{first or hello.get('host')}  recording on{' (input too)' if hello.get('records_input') else ''}",
            f"ends {_clock(hello['ends'])}" if hello.get("ends") else "",
            f"idle {format_duration(hello['idle_s'])}" if hello.get("idle_s") else "",
            f"here: {', '.join(dict.fromkeys(others))}" if others else "",
            f"waiting for {hello['moderators_missing']} moderator(s)" if hello.get("moderators_missing") else "",
            f"paused by {hello['paused_by']}" if hello.get("paused_by") else "",
            "~? for help",
        ]
        sys.stderr.write(safe(" · ".join(part for part in parts if part)) + "\r\n")
        sys.stderr.flush()

    return said


def _clock(text: str) -> str:
    moment = datetime.fromisoformat(text).astimezone()
    return f"{moment:%H:%M}" if moment.date() == datetime.now().astimezone().date() else f"{moment:%Y-%m-%d %H:%M}"
