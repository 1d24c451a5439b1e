"""A body on its way in: in one piece when it is whole, counted as its sender's, and nothing left of what is refused."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.exceptions import RequestValidationError
from headquarters import Headquarters, refused
from starlette.types import Message

from protocol.errors import RateError, TooLargeError
from server import limits
from server.api.held_body import HeldBody
from server.under_way import HeldBytes, Sender, Stranger

PIECE = b"x" * 10_000
GONE = {"type": "http.disconnect"}


class Client:
    """Sends what it is told, and then nothing."""

    def __init__(self, *messages: Message) -> None:
        self._messages = list(messages)
        self.left = asyncio.Event()

    async def __call__(self) -> Message:
        if not self._messages:
            self.left.set()
            await asyncio.get_running_loop().create_future()
        return self._messages.pop(0)


def piece(body: bytes = PIECE, *, is_last: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": not is_last}


def made(
    *messages: Message, most: int = 1 << 20, values: int | None = None, sender: Sender = "tom"
) -> tuple[HeldBody, HeldBytes]:
    bodies = HeldBytes()
    body = HeldBody(Client(*messages), 0, most, values)
    body.hold(bodies, lambda: sender)
    return body, bodies


def reachable(error: BaseException) -> Iterator[bytes]:
    """Yield all bytes that the functions of an error's traceback hold."""
    walked = error.__traceback__
    while walked is not None:
        if walked.tb_frame.f_code.co_filename.endswith("held_body.py"):
            for value in walked.tb_frame.f_locals.values():
                yield from (each for each in _within(value) if isinstance(each, bytes | bytearray))
        walked = walked.tb_next


def _within(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, HeldBody):
        yield value._held
    else:
        yield value


# taking in ------------------------------------------------------------------------------------------------------------


async def test_small_pieces_are_one_body() -> None:
    """A list of a million bytes that came one by one is forty times as large."""
    body, bodies = made(*(piece(b"a") for _ in range(999)), piece(b"b", is_last=True), GONE)
    assert await body() == {"type": "http.request", "body": b"a" * 999 + b"b", "more_body": False}
    assert bodies.held("tom") == 1000, "until the request is over"
    assert await body() == GONE
    body.release()
    body.release()
    assert len(bodies) == 0


async def test_a_body_of_one_piece_is_that_piece() -> None:
    body, _ = made(piece(PIECE, is_last=True))
    assert (await body())["body"] is PIECE


async def test_what_is_not_held_comes_as_it_comes_and_is_nobodys() -> None:
    body = HeldBody(Client(piece(), piece(is_last=True)), 0, 1 << 20, None)
    assert [(await body())["more_body"], (await body())["more_body"]] == [True, False]
    body.release()


async def test_whose_it_is_may_be_known_later() -> None:
    """Git's come in before that is asked."""
    who: list[Sender] = [Stranger("192.0.2.1")]
    bodies = HeldBytes()
    body = HeldBody(Client(piece(), piece()), 0, 1 << 20, None)
    body.hold(bodies, lambda: who[0])
    task = asyncio.create_task(body())
    while not bodies.held(who[0]):
        await asyncio.sleep(0)
    task.cancel()
    who[0] = "tom"
    await asyncio.gather(task, return_exceptions=True)
    assert not bodies.held("tom")
    body.release()
    assert len(bodies) == 0


# nothing is left ------------------------------------------------------------------------------------------------------


async def failed(body: HeldBody, kind: type[BaseException]) -> BaseException:
    with pytest.raises(kind) as caught:
        await body()
    assert body._held == b""
    assert not [each for each in reachable(caught.value) if len(each) >= len(PIECE)], "an error keeps what came"
    return caught.value


@pytest.mark.parametrize(
    ("most", "values", "said"), [(25_000, None, "over 25000 bytes"), (1 << 20, 5, "too many values")]
)
async def test_what_is_refused_is_let_go(most: int, values: int | None, said: str) -> None:
    body, bodies = made(piece(), piece(), piece(b"," * 10_000, is_last=True), most=most, values=values)
    assert said in str(await failed(body, TooLargeError))
    body.release()
    assert len(bodies) == 0


async def test_more_than_one_may_have_on_the_way_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_BODY_BYTES_OF_ONE", 25_000)
    body, bodies = made(piece(), piece(), piece())
    assert str(await failed(body, RateError)) == "the requests of tom that are coming in are over 25000 bytes"
    assert bodies.held("tom") == 20_000
    body.release()
    assert len(bodies) == 0


def test_many_people_have_no_more_than_so_much_and_nobody_is_kept_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever holds many bodies is refused; the first one of each comes in."""
    monkeypatch.setattr(limits, "MAX_BODY_BYTES", 10)
    monkeypatch.setattr(limits, "MAX_BODY_BYTES_OF_ONE", 40)
    monkeypatch.setattr(limits, "MAX_BODY_BYTES_OF_PEOPLE", 60)
    bodies = HeldBytes()
    bodies.take("tom", 40)
    bodies.take("ann", 20)
    told = "the requests of all people that are coming in are over 60 bytes"
    for sender, size in (("ann", 1), ("eve", 11)):
        with pytest.raises(RateError, match=told):
            bodies.take(sender, size)
    assert (bodies.held("ann"), bodies.held("eve")) == (20, 0)
    bodies.take("eve", 10)
    bodies.take(Stranger("a"), 10)
    with pytest.raises(RateError, match=told):
        bodies.take("eve", 1)
    bodies.give_back(Stranger("a"), 10)
    bodies.give_back("tom", 11)
    bodies.take("eve", 1)
    for sender, size in (("tom", 29), ("ann", 20), ("eve", 11)):
        bodies.give_back(sender, size)
    assert len(bodies) == 0
    bodies.take("tom", 40)
    bodies.take("ann", 20)


async def test_what_breaks_off_is_let_go() -> None:
    body, _ = made(piece(), piece(), GONE)
    assert await body() == GONE
    assert body._held == b""
    client = Client(piece(), piece())
    cut = HeldBody(client, 0, 1 << 20, None)
    cut.hold(HeldBytes(), lambda: "tom")
    task = asyncio.create_task(cut())
    await asyncio.wait_for(client.left.wait(), 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cut._held == b""


@pytest.mark.parametrize("content", [b'{"x": ' + PIECE, b'{"x": "' + PIECE + b'"}', b"[" + b"1," * 5000 + b"1]"])
async def test_no_refused_request_waits_for_the_collector(bare: Headquarters, content: bytes) -> None:
    """Two hundred bodies of 2 MB that are no JSON were 400 MB, until the collector had walked through all there is."""
    gc.collect()
    kinds = (RequestValidationError, json.JSONDecodeError)
    others = [each for each in gc.get_objects() if isinstance(each, kinds)]  # what another test of this process keeps
    gc.disable()
    try:
        for path in ("/invites", "/runs"):
            headers = {**bare.authorization(), "Content-Type": "application/json"}
            refused(await bare.api.post(f"/api/v1{path}", headers=headers, content=content), 422, "invalid_argument")
        left = [each for each in gc.get_objects() if isinstance(each, kinds) and all(each is not one for one in others)]
        assert not left
    finally:
        gc.enable()


# strangers ------------------------------------------------------------------------------------------------------------


def test_strangers_have_less_each_and_all_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_BODY_BYTES_OF_STRANGER", 10)
    monkeypatch.setattr(limits, "MAX_BODY_BYTES_OF_STRANGERS", 15)
    bodies = HeldBytes()
    bodies.take(Stranger("a"), 10)
    with pytest.raises(RateError, match=r"strangers at your address .* over 10 bytes"):
        bodies.take(Stranger("a"), 1)
    bodies.take(Stranger("b"), 5)
    with pytest.raises(RateError, match="of strangers that are coming in are over 15 bytes"):
        bodies.take(Stranger("c"), 1)
    assert bodies.held(Stranger("c")) == 0
    bodies.take("tom", 1000)
    bodies.give_back(Stranger("a"), 10)
    bodies.take(Stranger("c"), 10)
    for sender, size in ((Stranger("b"), 5), (Stranger("c"), 10), ("tom", 1000)):
        bodies.give_back(sender, size)
    assert len(bodies) == 0
