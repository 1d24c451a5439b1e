"""``outrider-agent watch``: what people do on this host, seen by its owner as it happens. Needs no server."""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
import threading
from contextlib import suppress
from typing import Any, Final

from agent.control import Caller
from protocol.errors import NotFoundError, OutriderError
from protocol.plain_text import one_line

HELP: Final = "type end and Enter to end it, Ctrl-C to leave it\n"


def add_to(commands: Any) -> list[argparse.ArgumentParser]:
    """Add the command; returns what needs the state directory named."""
    watch = commands.add_parser(
        "watch", help="see who has a session on this host, and one terminal as it is; may type `end`"
    )
    watch.add_argument("session", nargs="?", metavar="SESSION", help="the one to see  [default: the only terminal]")
    watch.add_argument("--list", action="store_true", help="only list what is open")
    watch.add_argument("--end", action="store_true", help="end SESSION, and do not watch")
    watch.add_argument("--json", action="store_true", help="as JSON, one line for each piece of news")
    watch.set_defaults(action=_watch)
    return [watch]


def _watch(given: argparse.Namespace) -> int:
    with Caller(given.dir) as caller:
        shown = list(caller.ask("session.ls")["sessions"])
    if given.list:
        _list(shown, as_json=given.json)
        return 0
    wanted = given.session or _only(shown)
    if wanted is None:
        _list(shown, as_json=given.json)
        return 0
    if given.end:
        with Caller(given.dir) as caller:
            caller.ask("session.end", session=wanted)
        sys.stderr.write(f"{wanted} is ended\n")
        return 0
    found = [each for each in shown if each["id"] == wanted]
    if not found:
        raise NotFoundError(f"no session {wanted[:40]} is open on this host")
    if not given.json:
        sys.stderr.write(f"{line(found[0])}\n{HELP}")
    with Caller(given.dir, timeout_s=None) as caller:
        caller.send({"do": "session.watch", "session": wanted})
        return _follow(caller, wanted, as_json=given.json)


def _only(shown: list[dict[str, Any]]) -> str | None:
    terminals = [each for each in shown if each["terminal"] is not None]
    return str(terminals[0]["id"]) if len(terminals) == 1 else None


def _list(shown: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(shown, indent=2))  # noqa: T201 - the data that was asked for
    elif not shown:
        sys.stderr.write("nobody has a session on this host\n")
    else:
        for each in shown:
            print(line(each))  # noqa: T201 - as above


def line(session: dict[str, Any]) -> str:
    """Return a session as one line."""
    typist = (session["terminal"] or {}).get("typist")
    parts = (
        session["id"], session["principal"], session["kind"], session["tier"], f"open {session['open_s']} s",
        f"idle {session['idle_s']} s", f"{typist} types" if typist else "", session["reason"],
    )  # fmt: skip
    return "  ".join(one_line(str(part)) for part in parts if part)


def _follow(caller: Caller, wanted: str, *, as_json: bool) -> int:
    threading.Thread(target=_hear, args=(caller, wanted), daemon=True).start()
    while (news := caller.receive()) is not None:
        if as_json:
            print(json.dumps(news), flush=True)  # noqa: T201 - the data that was asked for
        elif "output" in news:
            _show(news)
        if "over" in news:
            sys.stderr.write(f"\r\n{wanted} is over\n")
            return 0
    sys.stderr.write("\r\nthe agent ended\n")
    return 1


def _hear(caller: Caller, wanted: str) -> None:
    """Have the session ended when somebody types so."""
    for typed in sys.stdin:
        if typed.strip() == "end":
            with suppress(OutriderError):  # the agent ended; whoever reads says so
                caller.send({"end": wanted})


def _show(news: dict[str, Any]) -> None:
    if news["left_out"]:
        sys.stderr.write(f"\r\n[{news['left_out']} bytes were left out]\r\n")
    rest = memoryview(base64.b64decode(news["output"]))
    while rest:
        rest = rest[os.write(1, rest) :]
