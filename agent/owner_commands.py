"""What the owner of a host types there: ``consent``, ``freeze``, ``unfreeze``. Needs no server."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent import owner_freeze
from agent.control import Caller
from agent.statedir import StateDir
from protocol.errors import ArgumentError, NotFoundError, OutriderError
from protocol.plain_text import one_line


def add_to(commands: Any) -> list[argparse.ArgumentParser]:
    """Add the commands; returns those that need the state directory named."""
    freeze = commands.add_parser(
        "freeze", help="stop everything on this host at once; holds without the server and with the agent down"
    )
    freeze.add_argument("--reason", default="", metavar="TEXT", help="why; people are told when they are refused")
    freeze.set_defaults(action=_freeze)
    unfreeze = commands.add_parser("unfreeze", help="let this host go on; no server can")
    unfreeze.set_defaults(action=_unfreeze)
    consent = commands.add_parser("consent", help="see and answer what the owner of this host is asked")
    verbs = consent.add_subparsers(required=True, metavar="COMMAND")
    ls = verbs.add_parser("ls", help="list what waits for an answer")
    ls.set_defaults(action=_ls)
    watch = verbs.add_parser("watch", help="show questions, answers and notices as they come, until Ctrl-C")
    watch.set_defaults(action=_watch)
    answers = []
    for verb, granted, words in (("grant", True, "say yes"), ("deny", False, "say no")):
        answer = verbs.add_parser(verb, help=f"{words} to a question")
        answer.add_argument("question", nargs="?", metavar="ID", help="of the question  [default: the only one]")
        answer.set_defaults(action=_answer, granted=granted)
        answers.append(answer)
    for each in (freeze, unfreeze, ls, watch, *answers):
        each.add_argument("--json", action="store_true", help="as JSON")
    return [freeze, unfreeze, ls, watch, *answers]


def _freeze(given: argparse.Namespace) -> int:
    state = StateDir(given.dir)
    state.check()
    freeze = owner_freeze.write(state, given.reason, datetime.now(UTC))
    _tell(given, {"frozen": True, **freeze.to_plain(), "agent": _look(state)}, "this host is frozen")
    return 0


def _unfreeze(given: argparse.Namespace) -> int:
    state = StateDir(given.dir)
    state.check()
    was_frozen = owner_freeze.lift(state)
    told = "this host goes on" if was_frozen else "this host was not frozen by outrider-agent freeze"
    _tell(given, {"frozen": False, "was_frozen": was_frozen, "agent": _look(state)}, told)
    return 0


def _look(state: StateDir) -> str:
    """Have a running agent look at once; returns how that went. The file holds in any case."""
    if not state.is_in_use():
        return "not running"
    try:
        with Caller(state.path) as caller:
            caller.ask("freeze.look")
    except OutriderError as error:
        sys.stderr.write(f"the running agent did not answer ({error}); it looks by itself every second\n")
        return "did not answer"
    return "knows"


def _ls(given: argparse.Namespace) -> int:
    questions = _questions(given.dir)
    if given.json:
        print(json.dumps(questions, indent=2))  # noqa: T201 - the data that was asked for
    elif not questions:
        sys.stderr.write("nothing waits for an answer\n")
    else:
        for question in questions:
            print(_shown(question))  # noqa: T201 - as above
    return 0


def _questions(directory: Path) -> list[dict[str, Any]]:
    with Caller(directory) as caller:
        return list(caller.ask("consent.ls")["questions"])


def _answer(given: argparse.Namespace) -> int:
    identity = given.question
    if identity is None:
        waiting = _questions(given.dir)
        if not waiting:
            raise NotFoundError("nothing waits for an answer")
        if len(waiting) > 1:
            raise ArgumentError(f"{len(waiting)} questions wait: say which one", where="ID")
        identity = waiting[0]["id"]
    with Caller(given.dir) as caller:
        answer = caller.ask("consent.answer", question=identity, granted=given.granted)
    _tell(given, answer, f"{'granted' if given.granted else 'denied'}: {answer['question']['text']}")
    return 0


def _watch(given: argparse.Namespace) -> int:
    with Caller(given.dir, timeout_s=None) as caller:
        caller.send({"do": "consent.watch"})
        while (line := caller.receive()) is not None:
            print(json.dumps(line) if given.json else _news(line), flush=True)  # noqa: T201 - as above
    return 0


def _news(line: dict[str, Any]) -> str:
    if "question" in line:
        how = f"outrider-agent consent grant|deny {line['question']['id']} --dir ..."
        return f"?  {_shown(line['question'])}\n   {one_line(how)}"
    if "notice" in line:
        return one_line(f"!  {line['notice']['text']}")
    settled = line["settled"]
    by = f" by {settled['by']}" if settled["by"] else ""
    return one_line(f"=  {settled['id']}  {settled['outcome']}{by}")


def _shown(question: dict[str, Any]) -> str:
    left_s = max(0.0, question["expires_us"] / 1_000_000 - datetime.now(UTC).timestamp())
    return one_line(f"{question['id']}  {left_s:3.0f} s left  {question['text']}")


def _tell(given: argparse.Namespace, data: dict[str, Any], told: str) -> None:
    if given.json:
        print(json.dumps(data, indent=2))  # noqa: T201 - the data that was asked for
    else:
        sys.stderr.write(f"{one_line(told)}\n")
