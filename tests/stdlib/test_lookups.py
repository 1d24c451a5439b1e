"""Names are looked up on threads that nobody has for himself alone."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from contextvars import copy_context
from typing import Any

import pytest

from kernel.visits import Account, count_for
from policies.targets import NetTarget
from protocol.errors import UnavailableError
from stdlib.host import Host
from stdlib.network import reach
from stdlib.network.reach import MAX_LOOKUPS, MAX_LOOKUPS_OF_ONE, look_up

LONG_S = 20
FOUND = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))]


class Resolver:
    """Answers every name at once but those that begin with slow: those when it is told to, with an error."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.lock = threading.Lock()
        self.waiting = 0
        self.most = 0

    def __call__(self, name: str, *_: Any) -> list[Any]:
        if not name.startswith("slow"):
            return FOUND
        with self.lock:
            self.waiting += 1
            self.most = max(self.most, self.waiting)
        self.go_on.wait(LONG_S)
        with self.lock:
            self.waiting -= 1
        raise OSError(socket.EAI_AGAIN, "not now")


@pytest.fixture
def resolver() -> Iterator[Resolver]:
    found = Resolver()
    yield found
    found.go_on.set()


def on_account(work: Any, *accounts: Account) -> asyncio.Task[Any]:
    """Begin something as a run does that has these accounts."""
    context = copy_context()
    context.run(count_for, *accounts)
    return asyncio.get_running_loop().create_task(work, context=context)


async def given_up(host: Host, times: int) -> None:
    """Look up a name that hangs, again and again, each time without waiting for it."""
    for number in range(times):
        looking = asyncio.ensure_future(look_up(host, NetTarget.of(f"slow{number}.example", 1), "any"))
        await asyncio.sleep(0)
        looking.cancel()
        with suppress(asyncio.CancelledError, UnavailableError):
            await looking


async def test_names_that_hang_hold_up_whoever_looked_them_up_alone(resolver: Resolver) -> None:
    """Whoever owns a name can have the resolver of every host wait for it, and all other checks failed meanwhile."""
    host, script = Host(getaddrinfo=resolver), Account("the script a", 16)
    for _ in range(3):  # runs of one script, one after the other
        await on_account(given_up(host, 20), Account("this run", 8), script)
    own = on_account(look_up(host, NetTarget.of("quick.example", 1), "any"), Account("this run", 8), script)
    other = look_up(host, NetTarget.of("quick.example", 1), "any")
    async with asyncio.timeout(LONG_S / 2):
        found = await on_account(other, Account("this run", 8), Account("the script b", 16))
    assert [endpoint.target.address for endpoint in found] == ["192.0.2.1"]
    assert not own.done()
    assert resolver.most <= MAX_LOOKUPS_OF_ONE < MAX_LOOKUPS
    resolver.go_on.set()
    async with asyncio.timeout(LONG_S):
        assert await own


async def test_what_a_script_may_have_is_forgotten_with_it(resolver: Resolver) -> None:
    before = len(reach._shares)
    for number in range(3):
        account = Account(f"the script {number}", 16)
        host = Host(getaddrinfo=resolver)
        await on_account(look_up(host, NetTarget.of("quick.example", 1), "any"), account)
        del account
    assert len(reach._shares) <= before + 1  # that of the last one, which a free thread may still know
