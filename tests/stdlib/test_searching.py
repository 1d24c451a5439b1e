"""Searches by patterns of scripts: the event loop turns on, whatever a pattern means."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from visiting import all_back

from protocol.regex import Regex
from stdlib import searching
from stdlib.searching import AT_ONCE_STEPS, searched

PATIENCE_S = 60.0


class Slow:
    """A pattern whose search lasts until it is let go; told as large as is wanted."""

    def __init__(self, size: int = AT_ONCE_STEPS + 1) -> None:
        self.size = size
        self.has_begun = threading.Event()
        self.may_end = threading.Event()

    def search(self, text: bytes) -> Any:
        self.has_begun.set()
        assert self.may_end.wait(PATIENCE_S)
        return text


async def until(event: threading.Event) -> None:
    while not event.is_set():
        await asyncio.sleep(0)


async def test_matches_are_those_of_the_patterns() -> None:
    patterns = [Regex("b+"), Regex("x"), Regex("a")]
    for text in (b"abba", b"abba" * 100_000):
        first, none, last = await searched(patterns, text)
        assert first is not None
        assert last is not None
        assert (first.group(), none, last.start()) == (b"bb", None, 0)


async def test_the_loop_turns_on_while_a_long_one_is_made() -> None:
    slow: Any = Slow()
    searching_it = asyncio.ensure_future(searched([slow], b"x"))
    await until(slow.has_begun)
    slow.may_end.set()
    assert await searching_it == [b"x"]


async def test_a_short_one_is_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any) -> Any:
        raise AssertionError("a thread costs more than this takes")

    monkeypatch.setattr(searching, "begun_apart", none)
    (found,) = await searched([Regex("ready|failed")], b"still not ready\n" * 100)
    assert found is not None


async def test_nothing_more_is_searched_when_nobody_waits() -> None:
    first: Any = Slow()
    second: Any = Slow()
    searching_it = asyncio.ensure_future(searched([first, second], b"x"))
    await until(first.has_begun)
    searching_it.cancel()
    with pytest.raises(asyncio.CancelledError):
        await searching_it
    second.may_end.set()
    first.may_end.set()
    await all_back()
    assert not second.has_begun.is_set()


def test_a_pattern_says_how_large_its_program_is() -> None:
    """A short text may mean a large one."""
    assert Regex("a").size < 20
    assert Regex("(((a|b)?){30}){30}c").size > 5000
