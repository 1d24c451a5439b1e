"""Workers that wait: which of them a run gets."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import Any

import pytest

from protocol.errors import UnavailableError
from sandbox.spares import Kind, Spares

KIND = Kind("lua", 1 << 20, 1.0)


class _Worker:
    """A worker's end of the socket, and whether it was killed."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.is_killed = False

    def kill(self) -> None:
        self.is_killed = True


class _Zygote:
    def __init__(self) -> None:
        self.made: list[_Worker] = []

    def fork(self, _language: str, _memory: int, _cpu: float, channel: socket.socket, _ahead: bool) -> _Worker:
        self.made.append(_Worker(channel.dup()))
        return self.made[-1]


def _made() -> tuple[_Zygote, Spares]:
    zygote: Any = _Zygote()
    spares = Spares(zygote, 2)
    spares.refill(KIND)
    return zygote, spares


async def test_one_that_waits_is_taken_and_listened_to() -> None:
    zygote, spares = _made()
    taken = spares.take(KIND)
    assert [taken.worker] == zygote.made
    assert taken.ear is not None
    taken.drop()
    assert zygote.made[0].is_killed


@pytest.mark.parametrize(
    "does", [lambda sock: sock.close(), lambda sock: sock.send(b"x")], ids=["it ended", "it speaks before its turn"]
)
async def test_one_that_does_anything_but_wait_is_not_taken(does: Callable[[socket.socket], Any]) -> None:
    zygote, spares = _made()
    does(zygote.made[0].sock)
    taken = spares.take(KIND)
    assert taken.worker is zygote.made[1]
    assert zygote.made[0].is_killed
    assert taken.ear is None
    taken.drop()


async def test_where_no_descriptor_is_left_there_is_no_worker_and_it_is_said_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is the run's error as others are, and not one of the loop for a spare that nobody waits for."""
    zygote, spares = _made()
    spares.take(KIND).drop()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(UnavailableError, match="the sandbox takes no run now: Too many open files"):
            spares.take(KIND)
        spares.refill(KIND)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(zygote.made) == 1
    assert "no spare worker: the sandbox takes no run now" in caplog.text


async def test_what_it_says_is_heard_on_the_account_of_who_has_it() -> None:
    """Not of the run before, after which it was made."""
    account: ContextVar[str] = ContextVar("account", default="nobody")

    def after_another_run() -> tuple[_Zygote, Spares]:
        account.set("the run before")
        return _made()

    zygote, spares = copy_context().run(after_another_run)
    taken = spares.take(KIND)
    assert taken.ear is not None
    account.set("this run")
    heard = asyncio.get_running_loop().create_future()
    taken.ear.give(lambda: None if heard.done() else heard.set_result(account.get()))
    zygote.made[0].sock.send(b"x")
    assert await heard == "this run"
    taken.drop()


async def test_what_a_spare_says_before_its_turn_does_not_keep_the_loop_busy() -> None:
    zygote, spares = _made()
    zygote.made[0].sock.send(b"x")
    turns = 0
    ear = next(iter(spares._waiting.values())).ear
    assert ear is not None
    while ear._is_open:
        turns += 1
        assert turns < 1000, "it is heard for ever"
        await asyncio.sleep(0)
    spares.take(KIND).drop()
