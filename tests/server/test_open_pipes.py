"""Which pipes are open by whose token."""

from __future__ import annotations

import asyncio
import gc

import pytest

from protocol.errors import ConflictError
from protocol.link import Link, Role
from protocol.pipes import Pipe, Pipes
from server.access import Caller
from server.services.open_pipes import OpenPipes

TOM, ANA = Caller("t1", "tom", ("support",), 1), Caller("t2", "ana", ("support",), 2)


def pipe() -> Pipe:

    return Pipes(Link(Role.SERVER, next_record=1), lambda: None, asyncio.Event).open("session", {"session": "s_1"})


async def test_a_token_ends_its_own_and_nobody_elses() -> None:
    kept = OpenPipes()
    mine, more, hers = pipe(), pipe(), pipe()
    for caller, each in ((TOM, mine), (TOM, more), (ANA, hers)):
        kept.add(caller, each)
    assert kept.callers() == [TOM, ANA]
    assert kept.end("t1") == 2
    assert (mine.is_open, more.is_open, hers.is_open) == (False, False, True)
    with pytest.raises(ConflictError, match="unauthenticated"):
        await mine.read()
    assert kept.callers() == [ANA]
    assert kept.end("t1") == 0


async def test_pipes_that_are_over_or_that_nobody_has_are_forgotten() -> None:
    kept = OpenPipes()
    mine = pipe()
    kept.add(TOM, mine)
    kept.add(ANA, pipe())
    gc.collect()
    assert kept.callers() == [TOM]
    mine.reset("cancelled")
    assert kept.callers() == []


async def test_the_first_pipe_of_a_token_is_told() -> None:
    kept = OpenPipes()
    ticket = kept.changed.ticket()
    mine, more = pipe(), pipe()
    kept.add(TOM, mine)
    assert ticket.is_set()
    ticket = kept.changed.ticket()
    kept.add(TOM, more)
    assert not ticket.is_set()
