"""What is printed without end: read on a thread, in order, as far as it is taken, and nothing of it is lost."""

from __future__ import annotations

import asyncio
import os
import threading
import tty
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop

from kernel.visits import Visits
from protocol.errors import ConflictError
from stdlib.processes import floods
from stdlib.processes.floods import MAX_FLOODS, PIECE_BYTES, Flood
from stdlib.processes.pipes import Reader

PIPE_BYTES = 64 << 10  # that a pipe of the kernel holds
TEXT = b"".join(b"%08d and on and on\n" % number for number in range(100_000))
PLENTY = 4 << 20


class Printing:
    """A program that prints TEXT into a pipe, all that this holds before anybody reads."""

    def __init__(self) -> None:
        reading, self._writing = os.pipe()
        self.reader = Reader(reading)
        os.write(self._writing, TEXT[:PIPE_BYTES])
        self._thread = threading.Thread(target=self._print)
        self.is_refused = False

    def go_on(self) -> None:
        """Print the rest, and end."""
        self._thread.start()

    def _print(self) -> None:
        try:
            rest = memoryview(TEXT)[PIPE_BYTES:]
            while rest:
                rest = rest[os.write(self._writing, rest) :]
        except BrokenPipeError:
            self.is_refused = True
        finally:
            os.close(self._writing)

    def end(self) -> None:
        """Have nothing left of it."""
        self.reader.close()
        if self._thread.ident is None:
            os.close(self._writing)
        else:
            self._thread.join()


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each flood that was begun got a thread."""
    answers: list[bool] = []
    begin = Flood.begin

    def noted(flood: Flood, most: int) -> bool:
        answers.append(begin(flood, most))
        return answers[-1]

    monkeypatch.setattr(Flood, "begin", noted)
    return answers


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_it_comes_in_order_and_to_the_end(run: Callable[[Awaitable[None]], None], begun: list[bool]) -> None:
    async def scenario() -> None:
        printing, got = Printing(), bytearray()
        pieces: list[int] = []

        def take(data: bytes) -> int:
            assert threading.current_thread() is threading.main_thread()
            got.extend(data)
            pieces.append(len(data))
            return PLENTY

        printing.go_on()
        await printing.reader.follow(take, PLENTY)
        assert got == TEXT
        assert max(pieces) <= PIECE_BYTES
        printing.end()

    run(scenario())
    assert True in begun


async def test_no_more_is_read_than_is_taken_and_it_goes_on_when_more_is(begun: list[bool]) -> None:
    """What waits for the loop counts: else a loop that is busy would have a program's output in memory without end."""
    printing, got = Printing(), bytearray()
    step = 90_000
    allowed = step

    def take(data: bytes) -> int:
        got.extend(data)
        return allowed - len(got)

    printing.go_on()
    following = asyncio.ensure_future(printing.reader.follow(take, step))
    while allowed < len(TEXT):
        await until(lambda most=allowed: len(got) == most)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(got) == allowed
        allowed += step
        printing.reader.go_on(step)
    await following
    assert got == TEXT
    assert True in begun
    printing.end()


async def test_nothing_is_lost_when_it_is_ended_in_the_middle(begun: list[bool]) -> None:
    printing, got = Printing(), bytearray()

    def take(data: bytes) -> int:
        got.extend(data)
        return PLENTY

    printing.go_on()
    following = asyncio.ensure_future(printing.reader.follow(take, PLENTY))
    await until(lambda: len(got) > 300_000)
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following
    assert True in begun
    rest = bytearray()
    while data := await printing.reader.read():
        rest.extend(data)
    assert got + rest == TEXT
    printing.end()


async def test_what_the_taker_raises_ends_it(begun: list[bool]) -> None:
    printing, sizes = Printing(), []

    def take(data: bytes) -> int:
        sizes.append(len(data))
        if sum(sizes) > 300_000:
            raise ConflictError("enough")
        return PLENTY

    printing.go_on()
    with pytest.raises(ConflictError, match="enough"):
        await printing.reader.follow(take, PLENTY)
    assert True in begun
    count = len(sizes)
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(sizes) == count, "who raised is handed nothing more"
    printing.end()


async def test_who_closes_it_leaves_nothing_open(begun: list[bool]) -> None:
    """A program is to hear at once that nobody reads it, also one that prints without end."""
    printing = Printing()
    seen = 0

    def take(data: bytes) -> int:
        nonlocal seen
        seen += len(data)
        return PLENTY

    following = asyncio.ensure_future(printing.reader.follow(take, PLENTY))
    printing.go_on()
    await until(lambda: True in begun)
    printing.reader.close()
    if seen < len(TEXT):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(printing.reader._descriptor)
    await following
    printing.end()
    assert printing.is_refused or seen == len(TEXT)


async def test_more_of_them_than_there_are_threads_are_read_all_the_same(begun: list[bool]) -> None:
    many = [Printing() for _ in range(MAX_FLOODS + 2)]
    got = [bytearray() for _ in many]

    def taking(place: int) -> Callable[[bytes], int]:
        def take(data: bytes) -> int:
            got[place].extend(data)
            return PLENTY

        return take

    work: list[Any] = [printing.reader.follow(taking(place), PLENTY) for place, printing in enumerate(many)]
    for printing in many:
        printing.go_on()
    await asyncio.gather(*work)
    assert all(each == TEXT for each in got)
    assert True in begun
    for printing in many:
        printing.end()


async def test_it_comes_to_the_end_where_the_system_has_no_thread_to_give(
    begun: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a command has taken all processes that the agent may have. The loop waited for the thread for ever."""
    start = threading.Thread.start

    def refused(thread: threading.Thread) -> None:
        if thread.name == "visit":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refused)
    monkeypatch.setattr(floods, "_THREADS", Visits(MAX_FLOODS, MAX_FLOODS, waits_for_system=False))
    printing, got = Printing(), bytearray()

    def take(data: bytes) -> int:
        got.extend(data)
        return PLENTY

    printing.go_on()
    await printing.reader.follow(take, PLENTY)
    assert got == TEXT
    assert set(begun) == {False}
    printing.end()
    for _ in range(MAX_FLOODS):  # nobody holds a place
        assert floods._PLACES.acquire(blocking=False)
    floods._PLACES.release(MAX_FLOODS)


async def test_a_terminal_that_is_hung_up_in_a_flood_ends_it() -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    reader, got = Reader(master), bytearray()

    def write() -> None:
        rest = memoryview(TEXT)
        while rest:
            rest = rest[os.write(slave, rest) :]
        os.close(slave)

    def take(data: bytes) -> int:
        got.extend(data)
        return PLENTY

    thread = threading.Thread(target=write)
    thread.start()
    await reader.follow(take, PLENTY)
    thread.join()
    assert got == TEXT
    reader.close()
