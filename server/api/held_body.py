"""The body of one request on its way in: bounded, counted as its sender's, and put together in one piece.

- It is refused when it is, or says that it will be, over its bound, holds too many values, or is more than its sender
  may have on the way (:class:`server.under_way.HeldBytes`).
- Values are counted before anybody parses them: a million of them in two megabytes take a second in which nothing else
  goes on. They are counted by commas, and commas in texts are none.
- What a handler takes as a whole is handed on when it is whole. Until then it lies in one place, however small the
  pieces are in which it comes: a list of them takes many times what they hold.
- Where it is refused or breaks off, nothing of it stays. An error that is on its way, or waits for the collector in a
  circle with its traceback, keeps what the functions held that it went through; here they hold nothing any more.
- What goes to the disk, to git or to a host as it comes is handed on piece by piece, and is nobody's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.types import Message, Receive

from protocol.errors import TooLargeError
from server.under_way import HeldBytes, Sender


class HeldBody:
    """What a handler receives a body by.

    Args:
        receive: Where it comes from.
        declared: How many bytes it says that it has, 0 if it does not say.
        most: How many it may have.
        most_values: How many values; None: it is no JSON.
    """

    def __init__(self, receive: Receive, declared: int, most: int, most_values: int | None) -> None:
        self._receive = receive
        self._declared = declared
        self._most = most
        self._most_values = most_values
        self._commas = 0
        self._size = 0
        self._bodies: HeldBytes | None = None  # None: handed on as it comes
        self._sender: Callable[[], Sender] | None = None
        self._counted: dict[Sender, int] = {}  # bytes, by whom it was then
        self._held = bytearray()

    def hold(self, bodies: HeldBytes, sender: Callable[[], Sender]) -> None:
        """Hand it on as a whole, and count it until then and on, up to :meth:`release`.

        Args:
            bodies: Where it is counted.
            sender: Tells whose it is as of now: who that is may be known later than the request.
        """
        self._bodies, self._sender = bodies, sender

    def release(self) -> None:
        """The request is over: nothing is counted for it any more."""
        self._held = bytearray()
        if self._bodies is not None:
            for sender, size in self._counted.items():
                self._bodies.give_back(sender, size)
        self._counted.clear()

    async def __call__(self) -> Message:
        """Return the next message: the body, a piece of it, or that the client is gone.

        Raises:
            TooLargeError: It is over its bound, or holds too many values.
            RateError: Too much of its sender's is on the way.
        """
        message: Any = {}
        try:
            if self._declared > self._most:
                raise _too_large(self._most)
            while True:
                message = await self._receive()
                body = message.get("body", b"")
                self._check(len(body), body)
                is_over = message["type"] != "http.request" or not message.get("more_body", False)
                if self._bodies is None or message["type"] != "http.request":
                    self._held = bytearray()
                    return dict(message)
                if is_over and not self._held:
                    self._check_values(body)
                    return dict(message)
                self._held += body
                if is_over:
                    self._check_values(self._held)
                    whole, self._held = bytes(self._held), bytearray()
                    return {"type": "http.request", "body": whole, "more_body": False}
        except BaseException:
            self._held, body, message = bytearray(), b"", {}
            raise

    def _check_values(self, whole: bytes | bytearray) -> None:
        """Look closer at what has so many commas that they must stand in texts."""
        most = self._most_values
        is_much = most is not None and self._commas > most and not holds_at_most(whole, most)
        del whole
        if is_much:
            raise TooLargeError(f"the body of the request holds too many values: at most {most}")

    def _check(self, size: int, body: bytes) -> None:
        """Count a piece that came. Only who calls this holds the piece once it is refused."""
        self._size += size
        if self._most_values is not None:
            self._commas += body.count(b",")
        del body
        if self._size > self._most:
            raise _too_large(self._most)
        if size and self._bodies is not None and self._sender is not None:
            sender = self._sender()
            self._bodies.take(sender, size)
            self._counted[sender] = self._counted.get(sender, 0) + size


def _too_large(most: int) -> TooLargeError:
    return TooLargeError(f"the body of the request is over {most} bytes")


def holds_at_most(body: bytes | bytearray, most: int) -> bool:
    """Tell whether JSON holds at most so many values beside the first of each list and map, as far as it is JSON.

    A parser gets no further than to what is none; up to there texts begin and end here where they do for it.
    """
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"")  # so that what is left of quotes begins and ends texts
    if plain.count(b'"') > 4 * most + 4:  # a value has a name and a text at most, of two quotes each
        return False
    return sum(part.count(b",") for part in plain.split(b'"')[::2]) <= most
