"""What of an agent's link people may use: bounded for each, and never all of it."""

from __future__ import annotations

import asyncio

import pytest

from protocol import limits as wire
from protocol.errors import RateError, UnavailableError
from protocol.link import Link, Role
from protocol.pipes import Pipes
from server import limits
from server.endpoint.shares import Shares


def test_there_is_room_for_the_server_whatever_people_ask() -> None:
    ends_sessions = 64  # agent.live.MAX_SESSIONS
    assert limits.MAX_ASKED_OF_PEOPLE + ends_sessions < wire.MAX_REQUESTS
    assert limits.MAX_ASKED_OF_ONE < limits.MAX_ASKED_OF_PEOPLE
    assert limits.MAX_PIPES_OF_ONE < wire.MAX_STREAMS


def test_what_is_answered_counts_no_more_and_what_is_given_up_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_ASKED_OF_ONE", 2)
    monkeypatch.setattr(limits, "MAX_ASKED_OF_PEOPLE", 3)
    shares = Shares()
    for number in (1, 2):
        shares.require_room("tom")
        shares.asked(number, "tom")
    with pytest.raises(RateError, match="2 requests of tom"):
        shares.require_room("tom")
    shares.require_room("ann")
    shares.asked(3, "ann")
    with pytest.raises(UnavailableError, match="3 requests of people"):
        shares.require_room("eva")
    shares.answered(2)
    shares.answered(99)  # the server's own
    shares.require_room("tom")
    assert len(shares) == 2


def test_pipes_count_while_they_are_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_PIPES_OF_ONE", 2)
    pipes = Pipes(Link(Role.SERVER, next_record=1), lambda: None, asyncio.Event)
    shares = Shares()
    held = []
    for _ in range(2):
        shares.require_pipe("tom")
        held.append(pipes.open("session", {}))
        shares.opened(held[-1], "tom")
    with pytest.raises(RateError, match="2 streams of tom"):
        shares.require_pipe("tom")
    shares.require_pipe("ann")
    held[0].reset("cancelled")
    shares.require_pipe("tom")
