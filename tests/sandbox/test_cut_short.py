"""A session that ends while a thread is at a call of it: nothing begins any more, and the thread comes back.

What a thread has the loop do may never be done: the loop stops with the session, at any moment. So no thread may wait
for that without end. It would be gone for good, and hold up the end of the program.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from arena import ALLOW, Entry, Records, gate
from arena import Table as Calls
from visiting import PATIENCE_S, all_back

from kernel.visits import VISITS
from policies.model import Facts, Verdict
from sandbox.gate import Gate


class NeverDurable(Records):
    """A recorder whose intents are on no disk yet."""

    def __init__(self) -> None:
        super().__init__()
        self.intended = asyncio.Event()

    async def intend(self, **fields: Any) -> None:
        self.intended.set()
        await asyncio.Event().wait()


async def cut(calling: asyncio.Task[Any], is_begun: Callable[[], Any]) -> None:
    """End the session of a call when it has come so far."""
    await is_begun()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling


def changing(entry: Entry, records: Records, decide: Callable[[str, Facts], Verdict] = lambda *_: ALLOW) -> Gate:
    return gate(Calls({"t.a": entry}), records, decide=decide)


async def test_an_effect_does_not_begin_after_the_session_ended_before_the_intent_was_durable() -> None:
    """It was opened and allowed. The thread does not wait until the disk has the intent, which may be never."""
    entry, records = Entry(changes=True, is_blocking=True), NeverDurable()
    calling = asyncio.create_task(changing(entry, records).call("t.a", [], {}))
    await cut(calling, records.intended.wait)
    await all_back()
    assert entry.events == ["open", "close"]
    assert [(kept["kind"], kept["outcome"]) for kept in records.kept] == [("call", "cut short")]


def test_nothing_is_sent_to_the_loop_of_a_session_that_ended() -> None:
    """The thread was still deciding when the loop stopped."""
    entry, records = Entry(changes=True, is_blocking=True), Records()
    deciding, stopped = threading.Event(), threading.Event()

    def decide(_name: str, _facts: Facts) -> Verdict:
        deciding.set()
        assert stopped.wait(PATIENCE_S)
        return ALLOW

    async def calling() -> None:
        call = asyncio.create_task(changing(entry, records, decide).call("t.a", [], {}))
        await cut(call, lambda: asyncio.to_thread(deciding.wait, PATIENCE_S))

    loop = asyncio.new_event_loop()
    loop.run_until_complete(calling())
    stopped.set()
    assert VISITS.wait(PATIENCE_S)
    loop.close()
    assert entry.events == ["open", "close"]
    assert [kept["outcome"] for kept in records.kept] == ["cut short"]


class StopsFirst(asyncio.SelectorEventLoop):
    """A loop that stops just before a visit's thread sends something to it."""

    def __init__(self) -> None:
        super().__init__()
        self.sending, self.stopped = threading.Event(), threading.Event()

    def call_soon_threadsafe(self, *args: Any, **named: Any) -> Any:
        if threading.current_thread().name == "visit":
            self.sending.set()
            assert self.stopped.wait(PATIENCE_S)
        return super().call_soon_threadsafe(*args, **named)


def test_what_the_loop_never_comes_to_is_not_waited_for() -> None:
    """The session ended, and the loop stopped, between the thread's look and what it sent."""
    entry, records, loop = Entry(changes=True, is_blocking=True), Records(), StopsFirst()

    async def calling() -> None:
        call = asyncio.create_task(changing(entry, records).call("t.a", [], {}))
        await cut(call, lambda: asyncio.to_thread(loop.sending.wait, PATIENCE_S))

    loop.run_until_complete(calling())
    loop.stopped.set()
    assert VISITS.wait(PATIENCE_S)
    assert entry.events == ["open", "close"]
    loop.run_until_complete(asyncio.sleep(0))  # were it to go on after all
    loop.close()
    assert entry.events == ["open", "close"]
    assert [kept["outcome"] for kept in records.kept] == ["cut short"]


async def test_an_intent_that_is_given_up_before_its_call_is_no_fault_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    """A loop that ends cancels all that it does, in no order: the intent of a call before the call itself."""

    class GivenUp(Records):
        async def intend(self, **fields: Any) -> None:
            raise asyncio.CancelledError

    entry, records = Entry(changes=True, is_blocking=True), GivenUp()
    reply = await changing(entry, records).call("t.a", [], {})
    assert reply.error is not None
    assert (reply.error.code, str(reply.error)) == ("deadline", "t.a was cut short before it began")
    assert entry.events == ["open", "close"]
    assert caplog.records == []
