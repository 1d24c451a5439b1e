"""Ids on the command line: by their beginning, told apart by the server, and a liar's answer is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click
import pytest
from loopback import Asked, answer, loopback, of_json

from cli.leaf import LookedUp, ServerCommand
from cli.main import root
from cli.reference import commands

Outrider = Callable[..., Any]
WHOLE = "s_5f3c00000000000000000001"
#: What parameters that take an id are called.
NAMES = {"run", "run_id", "session", "beside", "schedule", "review", "identity", "identities", "question", "message"}


class Server:
    """Resolves every beginning to one id, and keeps what it was asked."""

    def __init__(self, told: str = WHOLE) -> None:
        self.told = told
        self.asked: list[Asked] = []

    def __call__(self, asked: Asked) -> bytes:
        self.asked.append(asked)
        if asked.path == "/api/v1/ids":
            return of_json({"id": self.told})
        return of_json({"items": [], "next": None} if asked.path.endswith(("records", "runs")) else {"id": "x"})

    @property
    def paths(self) -> list[str]:
        return [asked.path.removeprefix("/api/v1/") for asked in self.asked]


def test_a_beginning_is_looked_up_once_and_the_command_gets_the_whole_id(outrider: Outrider) -> None:
    server = Server()
    with loopback(server) as there:
        called = outrider("--server", there.url, "session", "end", "s_5f3c", "--reason", "x")
    assert server.paths == ["ids", f"sessions/{WHOLE}/close"]
    assert server.asked[0].query == {"beginning": "s_5f3c", "kind": "session"}
    assert called.status == 0 or "not as it should be" in called.err


def test_a_whole_id_asks_nobody(outrider: Outrider) -> None:
    server = Server("never asked")
    with loopback(server) as there:
        outrider("--server", there.url, "session", "end", WHOLE)
    assert server.paths == [f"sessions/{WHOLE}/close"]


def test_each_of_several_ids_is_looked_up(outrider: Outrider) -> None:
    server = Server("a_2b6309d2")
    with loopback(server) as there:
        outrider("--server", there.url, "access", "rm", "a_2b63", "a_2b6309d2", "--yes")
    assert server.paths[:2] == ["ids", "access/a_2b6309d2"]


def test_an_option_takes_a_beginning(outrider: Outrider) -> None:
    server = Server("5f3c000000000001")
    with loopback(server) as there:
        called = outrider("--server", there.url, "record", "ls", "--run", "5f3c00")
    assert (called.status, server.asked[-1].query["run"]) == (0, "5f3c000000000001")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("s_5f3", "'SESSION': 's_5f3' is too short for an id"), ("", "is no id"), ("../agents/x", "is no id"),
        ("s_5f3c/close", "is no id"), ("s_5f3c%2f", "is no id"), ("a" * 65, "too long"),
    ],
)  # fmt: skip
def test_what_can_be_no_id_is_told_before_anybody_is_asked(outrider: Outrider, given: str, told: str) -> None:
    server = Server()
    with loopback(server) as there:
        called = outrider("--server", there.url, "session", "show", given)
    assert called.status == 2
    assert told in called.err
    assert not server.asked


@pytest.mark.parametrize("lie", ["s_ffff00000000000000000001", "", "x"])
def test_an_answer_that_does_not_begin_so_is_refused(outrider: Outrider, lie: str) -> None:
    """A server that was taken over cannot have somebody end, or approve, what they did not name."""
    server = Server(lie)
    with loopback(server) as there:
        called = outrider("--server", there.url, "session", "end", "s_5f3c")
    assert called.status == 1
    assert "names no id that begins with 's_5f3c'" in called.err
    assert server.paths == ["ids"]


def test_several_are_told_with_their_ids(outrider: Outrider) -> None:
    detail = f"'s_5f3c' is the beginning of more than one session: {WHOLE}, {WHOLE[:-1]}2"
    problem = json.dumps({"code": "conflict", "detail": detail}).encode()
    with loopback(lambda _asked: answer(409, problem, content_type="application/problem+json")) as there:
        called = outrider("--server", there.url, "session", "play", "s_5f3c")
    assert (called.status, called.err) == (1, detail + "\n")


def test_every_command_that_takes_an_id_takes_its_beginning() -> None:
    """So that no later command is the one that does not."""
    found = set()
    for path, command in commands(root, ("outrider",)):
        if not isinstance(command, ServerCommand):
            continue
        for parameter in command.params:
            is_flag = isinstance(parameter, click.Option) and parameter.is_flag
            if parameter.name in NAMES and not is_flag:
                assert isinstance(parameter.type, LookedUp), (path, parameter.name)
                found.add(parameter.name)
    assert found == NAMES


def test_the_help_says_so_where_it_is_so(outrider: Outrider) -> None:
    assert "beginning of an id will do: 6 characters" in outrider("session", "play", "--help").out
    assert "beginning of an id" not in outrider("session", "ls", "--help").out
