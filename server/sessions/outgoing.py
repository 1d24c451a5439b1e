"""What goes out to the agent of one terminal, and in which order: confirmations, then commands, then what was typed.

- What is typed goes only while nothing holds it (``people.Party``): at an agent that can hold, too, which is told so.
- It goes no further ahead of the program than its window. Beyond that it waits here, up to a bound; it is gone with
  whoever typed it, and stays for an agent whose link is lost.
- What can go at once goes in the turn in which it comes; what the link does not take is the sender's, a task.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final

import structlog

from protocol.errors import OutriderError, RateError
from protocol.pipes import Pipe
from protocol.terminal import INPUT_WINDOW_BYTES, MAX_INPUT_BYTES, Audience, packed, packed_input
from server.sessions.people import Party
from server.sessions.viewers import Viewer

LOG = structlog.get_logger()
MAX_COMMANDS: Final = 512  # that wait for the agent; more are refused
MAX_TYPED_BYTES: Final = 1 << 20  # that wait for the program; who types more is sent away
_NEWEST_ONLY: Final = frozenset({"resize", "redraw", "watchers"})  # of commands that wait; the rest are all sent


class Outgoing:
    """What is to be sent to the agent.

    Args:
        session: Whose terminal it is.
        party: Who may type, and whether anything typed goes through.
        audience: Knows what may be confirmed.
    """

    def __init__(self, session: str, party: Party, audience: Audience) -> None:
        self.is_linked = False  # the agent has said that it has the terminal, so that what is typed may go
        self._session = session
        self._party = party
        self._audience = audience
        self._commands: deque[list[Any]] = deque()
        self._typed: deque[tuple[Viewer, bytes]] = deque()
        self._typed_bytes = 0
        self._confirm: int | None = None
        self._widened: int | None = None  # what the agent's window is to be, and was not told yet
        self._sent_input = self._taken_input = 0  # bytes since we attached
        self._can_hold = False  # whether the agent holds what was typed, when it is told to
        self._is_held_there: bool | None = None  # whether the agent was told to hold what was typed; None: not yet
        self._work = asyncio.Event()  # a message is held back
        self._may_push = False  # the sender waits, so that others may send in its place
        self._held_back: bytes | None = None  # what the link did not take at once
        self._pipe: Pipe | None = None  # the newest; it may be gone
        self._sending: asyncio.Task[None] | None = None

    # the pipe --------------------------------------------------------------------------------------------------------

    def attach(self, pipe: Pipe, *, is_new: bool) -> None:
        """Send over this pipe from now on. A terminal that is new holds nothing; others may."""
        self._sent_input = self._taken_input = 0
        self._is_held_there = False if is_new else None
        self._audience.attached()
        self._widened = self._confirm = None
        self._pipe, self._may_push, self._held_back = pipe, False, None
        self._sending = asyncio.create_task(self._send(pipe))

    def opened(self, *, can_hold: bool) -> None:
        """The agent has the terminal: what was typed meanwhile goes."""
        self._can_hold = can_hold
        self.is_linked = True
        self.push()

    async def detach(self) -> None:
        """Send nothing more: the pipe is gone, or to be closed."""
        self._may_push = False
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        self.is_linked = False

    def reset(self, code: str) -> None:
        """Give the newest pipe up."""
        if self._pipe is not None:
            self._pipe.reset(code)

    # sending ---------------------------------------------------------------------------------------------------------

    def _next(self) -> bytes | None:
        """Return what the agent is to be told now, packed."""
        if self._widened is not None:  # before what is confirmed by it
            window, self._widened = self._widened, None
            return packed(["window", window])
        if self._confirm is not None:
            offset, self._confirm = self._confirm, None
            return packed(["ack", offset])
        if self._commands:
            return packed(self._commands.popleft())
        is_held = self._party.is_held
        if self.is_linked and is_held is not self._is_held_there and self._can_hold:
            self._is_held_there = is_held
            return packed(["hold", is_held])
        if not self._typed or not self.is_linked or is_held:
            return None
        viewer, data = self._typed[0]
        if self._sent_input + len(data) - self._taken_input > INPUT_WINDOW_BYTES:
            return None
        self._typed.popleft()
        self._typed_bytes -= len(data)
        self._sent_input += len(data)
        viewer.taken(len(data))
        return packed_input(data, viewer.name)

    def push(self) -> None:
        """Tell the agent at once what may go, as far as the link takes it; the rest is the sender's."""
        pipe = self._pipe
        if pipe is None or not self._may_push:
            return
        try:
            while self._held_back is None and (message := self._next()) is not None:
                if not pipe.write_now(message):
                    self._held_back = message
        except OutriderError as error:  # who reads the pipe is told as well
            LOG.debug("the pipe of a terminal is gone", session=self._session, why=str(error))
            self._may_push = False
        if self._held_back is not None:
            self._work.set()

    async def _send(self, pipe: Pipe) -> None:
        while True:
            self._work.clear()
            self._may_push = False
            message, self._held_back = self._held_back or self._next(), None
            if message is not None:
                await pipe.write(message)
                continue
            self._may_push = True
            await self._work.wait()

    # what is to be sent ----------------------------------------------------------------------------------------------

    def confirm_if_due(self) -> None:
        """Tell the agent how far its output is safe, if that is due."""
        widened = self._audience.widened()
        confirmed = self._audience.confirm()
        if widened is not None:
            self._widened = widened
        if confirmed is not None:
            self._confirm = confirmed
        if widened is not None or confirmed is not None:
            self.push()

    def command(self, *message: Any) -> None:
        """Have something other than input sent.

        Raises:
            RateError: More waits for the host than it takes.
        """
        if message[0] in _NEWEST_ONLY and self._commands:
            self._commands = deque(each for each in self._commands if each[0] != message[0])
        elif len(self._commands) >= MAX_COMMANDS:
            raise RateError("more was asked for than the host does")
        self._commands.append(list(message))
        self.push()

    def type(self, viewer: Viewer, data: bytes) -> None:
        """Type for a viewer; raises as :meth:`people.Party.check_typing`, and RateError."""
        self._party.check_typing(viewer.person.id)
        if (
            self._pipe is not None and self._may_push and self.is_linked and len(data) <= MAX_INPUT_BYTES
            and not self._typed and self._held_back is None and not self._commands
            and self._confirm is None and self._widened is None
            and (self._is_held_there is False or not self._can_hold)
            and self._sent_input + len(data) - self._taken_input <= INPUT_WINDOW_BYTES
        ):  # fmt: skip  # it goes through, and nothing is before it: what push would come to, in few steps for a key
            try:
                if self._pipe.write_now(packed_input(data, viewer.name)):
                    self._sent_input += len(data)
                    viewer.taken(len(data))
                    return
            except OutriderError as error:  # as in push
                LOG.debug("the pipe of a terminal is gone", session=self._session, why=str(error))
                self._may_push = False
        if self._typed_bytes + len(data) > MAX_TYPED_BYTES:
            raise RateError("more was typed than the program reads")
        for begin in range(0, len(data), MAX_INPUT_BYTES):
            self._typed.append((viewer, data[begin : begin + MAX_INPUT_BYTES]))
        self._typed_bytes += len(data)
        self.push()

    def took(self, total: int) -> None:
        """The program has taken so many bytes of what was typed, counted since we attached."""
        self._taken_input = total
        self.push()

    def forget(self, viewer: Viewer) -> None:
        """A viewer is gone. What they typed and was not sent is gone with them."""
        kept = [(who, data) for who, data in self._typed if who is not viewer]
        self._typed = deque(kept)
        self._typed_bytes = sum(len(data) for _, data in kept)
