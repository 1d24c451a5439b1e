"""One terminal of a person's session on this host: the program, what it printed, and who is attached to it.

- The program goes on whether or not anybody is attached. What it prints waits here, bounded; then the program waits.
- One attachment at a time, the newest: an older one belongs to a link that died and does not know it yet.
- What was printed is in this host's ledger as digests, so that a recording can be held against it: whoever alters a
  recording would have to alter a chain that this host has signed.
- What was typed waits here as long as the program does not read it, or as the server has it held.
- What is typed is told back only to a server that records it, and only while the kernel echoes it, so that no password
  is.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from agent.live import LiveSession
from agent.logs import LOG
from agent.recorder import Recorder
from agent.wishes import Wishes
from agent.witness import Witness
from protocol.errors import ConflictError, OutriderError, ProtocolError
from protocol.pipes import Pipe
from protocol.terminal import (
    CHUNK_BYTES,
    INPUT_WINDOW_BYTES,
    STEPS,
    Backlog,
    packed,
    packed_output,
    read_to_agent,
)
from stdlib.processes import tree
from stdlib.tty_screen import Size
from stdlib.tty_terminal import Terminal

DIGEST_BYTES: Final = 4 << 20  # of output that one digest covers at most: a record costs four processes' time
DIGEST_S: Final = 10.0  # that output waits for its digest at most
LOOK_S: Final = 0.2  # between two looks at the programs below, while something happens
QUIET_LOOKS: Final = 10  # looks that are left out while nothing does
MAX_EVENTS: Final = 500  # that wait for a link
GATHER_S: Final = 0.001  # between two messages of a program that prints
LONG_GATHER_S: Final = 0.005  # of one that prints without end
FLOOD_BYTES: Final = 4 << 10  # in one message: the program prints faster than a person reads
GATHER_BYTES: Final = CHUNK_BYTES * 7 // 8  # that end such a wait
GIVEN_BYTES: Final = 1 << 10  # of what was typed that a program is given at once: so soon it can be held
_SIGNALS: Final = {"INT": 2, "QUIT": 3, "TSTP": 20, "HUP": 1, "TERM": 15, "KILL": 9, "CONT": 18, "USR1": 10, "USR2": 12}


class Seat:
    """The terminal of one session.

    Args:
        session: Whose.
        terminal: The program, just started.
        recorder: For digests.
        about: What is told of it when somebody attaches.
        witness: Hears of programs and files.
        wishes: What its programs ask of who types; None if they cannot.
    """

    def __init__(
        self, session: LiveSession, terminal: Terminal, recorder: Recorder, about: dict[str, Any], witness: Witness,
        wishes: Wishes | None = None,
    ) -> None:  # fmt: skip
        self.session = session
        self.about = about
        self.backlog = Backlog()
        self.watchers = 0  # who have it before them, as the server says
        self.exit: dict[str, Any] | None = None  # how it ended
        self.listeners: set[Callable[[bytes | None], None]] = set()  # on this host; None is the end
        self._terminal = terminal
        self._loop = asyncio.get_running_loop()
        self._recorder = recorder
        self._began_s = time.monotonic()
        self._events: deque[list[Any]] = deque(maxlen=MAX_EVENTS)
        self._work = asyncio.Event()  # what could not be sent at once is to be, or the attachment is to be looked at
        self._attached: Pipe | None = None
        self._may_push = False  # the sender of the attachment waits, so that others may send in its place
        self._wants_typed = True  # the server records what is typed
        self._held_back: bytes | None = None  # a message that the link did not take at once
        self._may_send_s = 0.0  # when output may be sent again, by the loop's clock
        self._due: asyncio.TimerHandle | None = None  # when that is looked at
        self._told_taken = 0
        self._typist = ""
        self._input = asyncio.Event()
        self._waiting: deque[bytes] = deque()  # typed, and not given to the program
        self._waiting_bytes = 0
        self._is_held = False  # nothing typed is given to the program
        self._taken = 0  # bytes that the program was given since somebody attached
        self._digest, self._digested, self._digest_due_s = hashlib.sha256(), 0, 0.0
        self._is_busy = True  # something happened since the last look at programs
        self._wishes = wishes
        session.warn = lambda text: self.tell(["notice", self.now_us(), text])
        self._root = tree.parent_of(terminal.started.pid) or terminal.started.pid
        self._followed = witness.follow(self._root, self._happened)  # last, as it tells at once what is there already

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        return self._terminal.size.cols, self._terminal.size.rows

    @property
    def typist(self) -> str:
        """Whose keys the program was given last."""
        return self._typist

    def redraw(self) -> None:
        """Ask a program that has the whole screen to draw it anew."""
        self._terminal.redraw()

    def now_us(self) -> int:
        """Microseconds since it was opened."""
        return round((time.monotonic() - self._began_s) * 1_000_000)

    # the program -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Read what the program prints until it has ended, and look at what comes and goes below it."""
        if self._wishes is not None:
            await self._wishes.serve(self._root, self._wished, lambda: self.watchers > 0)
        beside = [asyncio.create_task(work()) for work in (self._look, self._feed)]
        try:
            await self._terminal.follow(self._printed, self.backlog.room)
            ended = await self._ended()
            self._followed.look()
            self._followed.end()
            self.exit = ended
        finally:
            self._followed.end()
            if self._wishes is not None:
                self._wishes.close()
            for task in beside:
                task.cancel()
            self._note_digest()  # before anything is awaited: this task may be ended meanwhile
            if self._due is not None:
                self._due.cancel()
            for listener in list(self.listeners):
                listener(None)
            self._work.set()
            await asyncio.gather(*beside, return_exceptions=True)

    def _printed(self, data: bytes) -> int:
        """Take what was printed, and send it if it may go; return how much more there is room for."""
        backlog, pipe, time_us = self.backlog, self._attached, round((time.monotonic() - self._began_s) * 1_000_000)
        if (
            pipe is not None and self._may_push and self._held_back is None and not self._events
            and self._taken - self._told_taken < INPUT_WINDOW_BYTES // STEPS
            and (now_s := self._loop.time()) >= self._may_send_s
            and (chunk := backlog.pass_on(time_us, data)) is not None
        ):  # fmt: skip  # it may go, and nothing is before it: what _push would come to, in few steps for a key
            self._may_send_s = now_s + GATHER_S
            self._held_back = message = packed_output(chunk)
            try:
                if pipe.write_now(message):
                    self._held_back = None
            except OutriderError:  # as in _push
                LOG.debug("session %s: the pipe of a terminal ended", self.session.id)
            if self._held_back is not None:
                self._work.set()
        else:
            backlog.add(time_us, data)
            self._push()
        self._digest.update(data)
        if not self._digest_due_s:
            self._digest_due_s = time.monotonic() + DIGEST_S
        if backlog.end - self._digested >= DIGEST_BYTES:
            self._note_digest()
        self._is_busy = True  # but nobody did anything: what is printed keeps no session open
        for listener in self.listeners:
            listener(data)
        return backlog.room

    async def _ended(self) -> dict[str, Any]:
        try:
            ended = await self._terminal.started.wait()
        except OutriderError as error:
            return {"code": None, "signal": None, "reason": error.message}
        return {"code": ended.code, "signal": ended.signal, "reason": "", "cpu_s": ended.cpu_s}

    def _note_digest(self) -> None:
        size = self.backlog.end - self._digested
        if not size:
            return
        data = {
            "event": "terminal.output", "offset": self._digested, "bytes": size, "sha256": self._digest.hexdigest()
        }  # fmt: skip
        self._record(data)
        self._digest, self._digested, self._digest_due_s = hashlib.sha256(), self.backlog.end, 0.0

    def _record(self, data: dict[str, Any]) -> None:
        wish = self.session.opening.wish
        self._recorder.record(kind="event", session=wish.session, principal=wish.principal, outcome="ok", data=data)

    async def _look(self) -> None:
        quiet = 0
        while True:
            await asyncio.sleep(LOOK_S)
            if self._digest_due_s and time.monotonic() >= self._digest_due_s:
                try:
                    self._note_digest()
                except OutriderError as error:  # the terminal ends once there is more than one digest covers
                    LOG.error("session %s: what was printed waits for its digest: %s", self.session.id, error)
                    self._digest_due_s = time.monotonic() + DIGEST_S
            quiet = 0 if self._is_busy else quiet + 1
            if quiet % QUIET_LOOKS == 0:
                self._is_busy = False
                self._followed.look()

    def _wished(self, about: dict[str, Any]) -> None:
        self.tell(["event", self.now_us(), about])

    def _happened(self, about: dict[str, Any]) -> bool:
        if len(self._events) >= MAX_EVENTS // 2:  # no link, and what people say is worth more
            return False
        self.tell(["event", self.now_us(), about])
        return True

    # who is attached -------------------------------------------------------------------------------------------------

    def tell(self, message: list[Any]) -> None:
        """Have a message sent to whoever is attached, or will be."""
        self._events.append(message)
        self._push()

    async def attach(self, pipe: Pipe, offset: int, *, wants_typed: bool = True) -> None:
        """Serve one attachment until the program has ended or the link has.

        Args:
            pipe: To whom.
            offset: Up to where they have the output.
            wants_typed: Whether they are told what was typed, where it is echoed.

        Raises:
            ProtocolError: What the server says has no meaning.
            ConflictError: Another attachment took its place.
        """
        if self._attached is not None:
            self._attached.reset("conflict")
        self._attached, self._may_push, self._held_back = pipe, False, None
        self._work.set()  # whoever serves the older one finds out
        self._wants_typed = wants_typed
        self.backlog.resume(offset)
        self._terminal.go_on(self.backlog.room)
        self._taken = self._told_taken = 0
        self._may_send_s = 0.0
        listening = asyncio.create_task(self._listen(pipe))
        try:
            await pipe.send(["opened", {**self.about, "size": list(self.size), "us": self.now_us(), "widens": True}])
            await self._send(pipe, listening)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            if self._attached is pipe:
                self._attached, self._may_push = None, False

    def _next(self) -> bytes | None:
        """Return the message that is due now, packed. Output that must wait for more of it is looked at after that."""
        if self._events:
            return packed(self._events.popleft())
        if self._taken - self._told_taken >= INPUT_WINDOW_BYTES // STEPS:  # not for each key
            self._told_taken = self._taken
            return packed(["took", self._taken])
        unsent = self.backlog.unsent_bytes
        if not unsent:
            return None
        now_s = self._loop.time()
        if now_s < self._may_send_s and unsent < GATHER_BYTES and self.exit is None:
            if self._due is None:
                self._due = self._loop.call_at(self._may_send_s, self._look_again)
            return None
        chunk = self.backlog.next()
        if chunk is None:
            return None
        # A key's echo goes at once; what is printed without end goes in few messages.
        self._may_send_s = now_s + (LONG_GATHER_S if len(chunk.data) >= FLOOD_BYTES else GATHER_S)
        return packed_output(chunk)

    def _look_again(self) -> None:
        self._due = None
        self._push()

    def _push(self) -> None:
        """Send in this turn of the loop what may go, without the sender, as far as the link takes it at once."""
        pipe = self._attached
        if pipe is None or not self._may_push or self._held_back is not None:
            return
        try:
            while (message := self._next()) is not None:
                self._held_back = message
                if not pipe.write_now(message):
                    break
                self._held_back = None
        except OutriderError:  # the pipe is gone, which the sender finds by the same message
            LOG.debug("session %s: the pipe of a terminal ended", self.session.id)
        if self._held_back is not None:
            self._work.set()

    async def _send(self, pipe: Pipe, listening: asyncio.Task[None]) -> None:
        listening.add_done_callback(lambda _: self._work.set())
        while True:
            self._work.clear()
            if listening.done():
                listening.result()
                return
            if self._attached is not pipe:
                raise ConflictError("another attachment took the place of this one")
            self._may_push = False
            message, self._held_back = self._held_back or self._next(), None
            if message is not None:
                await pipe.write(message)
                continue
            if self.exit is not None and not self.backlog.unsent_bytes:
                await pipe.send(["exit", self.exit])
                await listening  # until the server has read it and goes
                return
            self._may_push = True
            await self._work.wait()

    async def _listen(self, pipe: Pipe) -> None:
        await pipe.receive_each(self._hear, read_to_agent)

    def _hear(self, message: tuple[str, list[Any]]) -> bool:
        word, values = message
        if word == "input":
            self._typed(values[0], values[1])
        elif word == "ack":
            self.backlog.confirm(values[0])
            self._terminal.go_on(self.backlog.room)
        elif word == "window":
            self.backlog.widen(values[0])
            self._terminal.go_on(self.backlog.room)
        elif word == "resize":
            self._terminal.resize(Size(*values))
        elif word == "signal":
            self.session.touch()
            self._terminal.signal(_SIGNALS[values[0]])
        elif word == "redraw":
            self._terminal.redraw()
        elif word == "edited":
            if self._wishes is not None:
                self._wishes.answer(*values)
        elif word == "watchers":
            self.watchers = values[0]
        elif word == "hold":
            self._is_held = values[0]
            self._input.set()
        else:
            raise ProtocolError(f"{word} has no meaning here")
        return True

    def _typed(self, data: bytes, by: str) -> None:
        if by != self._typist:
            self._typist = by
            self._record({"event": "terminal.keyboard", "by": by})
        if self._waiting_bytes + len(data) > INPUT_WINDOW_BYTES:
            raise ProtocolError("more was typed than there is room for")
        if not self._waiting_bytes and not self._is_held:  # the usual case, a key: it need not wait for another task
            self.session.touch()
            self._is_busy = True
            echoes = self._wants_typed and self._terminal.echoes  # before it is given: whether it will be echoed
            taken = self._terminal.type_now(data)
            self._taken += taken
            if echoes and taken:
                self.tell(["typed", self.now_us(), data[:taken]])
            elif self._taken - self._told_taken >= INPUT_WINDOW_BYTES // STEPS:
                self._push()
            data = data[taken:]
        if data:
            self._waiting.append(data)
            self._waiting_bytes += len(data)
            self._input.set()

    async def _feed(self) -> None:
        """Give the program what was typed, as fast as it takes it."""
        while True:
            while self._waiting and not self._is_held:
                data = self._waiting.popleft()
                if len(data) > GIVEN_BYTES:
                    data, rest = data[:GIVEN_BYTES], data[GIVEN_BYTES:]
                    self._waiting.appendleft(rest)
                self.session.touch()
                self._is_busy = True
                if self._wants_typed and self._terminal.echoes:
                    self.tell(["typed", self.now_us(), data])
                try:
                    await self._terminal.type(data)
                except ConflictError as error:
                    LOG.info("session %s: %s", self.session.id, error)
                self._waiting_bytes -= len(data)
                self._taken += len(data)
                self._push()
            self._input.clear()
            await self._input.wait()
