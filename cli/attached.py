"""One terminal on a host, shown in this one: the client of ``/sessions/{id}/attach``.

- What comes is written as it is; what was written is told, so that the host waits for a slow terminal and Ctrl-C stops
  what it should.
- A connection that is lost is made anew, and what was missed is shown, as far as the server still shows it.
- What is said beside the output, and when, is in ``cli.talk``; who is there, in ``cli.company``; what a program there
  asks to have edited here, in ``cli.wishes``.
"""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, cast

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from cli import keyboard
from cli.company import Company
from cli.escapes import HELP, Escapes
from cli.failures import from_problem, from_refusal
from cli.settings import Context
from cli.talk import ESCAPE, Talk
from cli.wired import Wired
from cli.wishes import Wishes
from protocol.errors import UnavailableError
from protocol.limits import INPUT_WINDOW_BYTES

SEEN_BYTES: Final = 96 << 10  # of output between two times that it is told to be shown; a quarter of the lead
OFFSET_BYTES: Final = 8  # before the output in each message
MAX_MESSAGE_BYTES: Final = 1 << 20
PATIENCE_S: Final = 120.0  # that a lost connection is tried again
RETRY_S: Final = 1.0
WRITE_BYTES: Final = 16 << 10  # at once to a slow terminal, so that keys are looked at between
QUICK_S: Final = 0.005  # that a quick one takes for a whole message
_EOT: Final = b"\x04"
EOT_AGAIN_S: Final = 1.0


@dataclass
class Wanted:
    """How to attach."""

    session: str
    role: str
    opens: dict[str, Any] | None = None  # for a terminal that is not there yet
    on_open: Callable[[dict[str, Any]], None] = lambda _: None  # gets the server's greeting once the host has opened it
    types: bool = True  # whether what comes from stdin is typed
    key: str | None = None  # that was named on the command line, for what else is opened from here


@dataclass
class Left:
    """How it ended here."""

    exit: dict[str, Any] | None = None  # of the program; None: it goes on
    told: list[str] = field(default_factory=list)


class _ReaderGoneError(Exception):
    """Nobody reads any more what is shown; no fault of the connection, so nothing is tried again."""


class Attached:
    """One attachment, over as many connections as it takes.

    Args:
        context: The server.
        wanted: To what.
        roots: Who vouches for the server.
    """

    def __init__(self, context: Context, wanted: Wanted, roots: ssl.SSLContext | None) -> None:
        self._context = context
        self._wanted = wanted
        self._roots = roots
        self._on_terminal = keyboard.is_terminal()
        self._escapes = Escapes()
        self._socket: Wired | None = None
        self._offset: int | None = None  # up to where the output was shown
        self._told = 0  # up to where that was told
        self._typed: deque[bytes] = deque()
        self._sent = self._taken = 0  # bytes of input on this connection
        self._work = asyncio.Event()
        self._texts: deque[dict[str, Any]] = deque()
        self._talk = Talk()
        self._company = Company()
        self._left = Left()
        self._is_leaving = asyncio.Event()
        self._has_said_hello = False
        self._greeting: dict[str, Any] | None = None  # the server's, until the terminal is there
        self._is_at_end = False  # of stdin
        self._saying_so: asyncio.TimerHandle | None = None  # that it is
        self._wishes = Wishes(self._talk, self._tell, self._edit)
        self._reason = ""  # why the session is there
        self._is_quick = True  # the terminal here takes what it is given
        self._was_down = False  # the host's link was, and we were told
        self._failed: asyncio.Future[None]  # what broke when output was shown

    async def run(self) -> Left:
        """Show it until it ends, or until somebody leaves.

        Raises:
            OutriderError: The server refuses, or was away for too long.
            BrokenPipeError: Whoever read what is shown went away.
        """
        loop = asyncio.get_running_loop()
        self._keys = keyboard.Keys(self._key)
        with keyboard.raw(self._on_terminal):
            if self._on_terminal:
                loop.add_signal_handler(signal.SIGWINCH, self._resized)
            try:
                await self._stay()
            except _ReaderGoneError:
                raise BrokenPipeError from None
            finally:
                await self._wishes.finish()
                self._keys.stop()
                if self._saying_so is not None:
                    self._saying_so.cancel()
                if self._on_terminal:
                    loop.remove_signal_handler(signal.SIGWINCH)
                    if self._left.exit is None:  # what set it is not here to take it back
                        keyboard.write((keyboard.LEAVE_SCREEN if self._talk.has_screen else b"") + keyboard.AS_FOUND)
        return self._left

    async def _stay(self) -> None:
        ends_s: float | None = None
        loop = asyncio.get_running_loop()
        while True:
            try:
                is_over = await self._once()
                if is_over or self._is_leaving.is_set():
                    return
                ends_s = None
            except UnavailableError as error:
                if not self._has_said_hello:
                    raise
                ends_s = ends_s or loop.time() + PATIENCE_S
                if loop.time() > ends_s:
                    raise
                self._talk.say(f"[{error.message}; trying again, ~. to leave]")
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY_S):
                    await self._is_leaving.wait()
                    return

    async def _once(self) -> bool:
        """Serve one connection; return whether that was all."""
        server = self._context.server
        url = f"ws{server.removeprefix('http')}/api/v1/sessions/{self._wanted.session}/attach"
        try:
            async with connect(
                url, additional_headers={"Authorization": f"Bearer {self._context.token}"}, compression=None,
                ssl=self._roots if url.startswith("wss:") else None, max_size=MAX_MESSAGE_BYTES, proxy=None,
                user_agent_header=None, close_timeout=2, create_connection=Wired,
            ) as socket:  # fmt: skip
                return await self._serve(cast(Wired, socket))
        except InvalidStatus as error:
            raise from_refusal(error.response.status_code, error.response.body) from None
        except ConnectionClosed:
            return False
        except (OSError, WebSocketException, TimeoutError) as error:
            raise UnavailableError(f"{server} cannot be reached: {error or type(error).__name__}") from None

    async def _serve(self, socket: Wired) -> bool:
        self._socket = socket
        self._sent = self._taken = 0
        first = {
            "type": "attach", "role": self._wanted.role, "size": list(keyboard.size()), "offset": self._offset,
            "open": self._wanted.opens,
        }  # fmt: skip
        await socket.send(json.dumps(first))
        self._failed = asyncio.get_running_loop().create_future()
        tasks = [
            *(asyncio.create_task(work) for work in (self._receive(socket), self._send(socket), self._wait_to_leave())),
            self._failed,
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            return self._left.exit is not None
        finally:
            self._socket = socket.take = None
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _wait_to_leave(self) -> None:
        await self._is_leaving.wait()

    # what comes ------------------------------------------------------------------------------------------------------

    async def _receive(self, socket: Wired) -> None:
        socket.take, socket.most = self._show_now, MAX_MESSAGE_BYTES
        async for message in socket:
            if isinstance(message, str):
                self._hear(json.loads(message))
                if self._left.exit is not None:
                    return
            else:
                await self._show(message)
            socket.waiting -= 1  # only now: what comes while it is shown comes after it

    def _show_now(self, message: bytes) -> bool:
        """Show output in the turn of the loop in which it comes; return whether that may be.

        Much of it at once only as long as the terminal is quick.
        """
        if not self._talk.is_ours or (len(message) > WRITE_BYTES and not self._is_quick):
            return False
        data = memoryview(message)[OFFSET_BYTES:]
        began_s = time.monotonic()
        try:
            keyboard.write(data)
        except OSError:  # raised where it is waited for; the library has no part in it
            if not self._failed.done():
                self._failed.set_exception(_ReaderGoneError())
            return True
        self._is_quick = time.monotonic() - began_s < QUICK_S
        offset = int.from_bytes(message[:OFFSET_BYTES], "big")
        end = offset + len(data)
        if end - self._told >= SEEN_BYTES or ESCAPE in message:
            self._shown(offset, message)
        else:  # as of a key, in few steps
            self._offset = end
        return True

    async def _show(self, message: bytes) -> None:
        await self._talk.may_show.wait()
        rest = memoryview(message)[OFFSET_BYTES:]
        began_s = time.monotonic()
        while rest:
            try:
                keyboard.write(rest[:WRITE_BYTES])
            except OSError:
                raise _ReaderGoneError from None
            rest = rest[WRITE_BYTES:]
            if rest:
                await asyncio.sleep(0)
        self._is_quick = time.monotonic() - began_s < QUICK_S
        self._shown(int.from_bytes(message[:OFFSET_BYTES], "big"), message)

    def _shown(self, offset: int, message: bytes) -> None:
        self._offset = offset + len(message) - OFFSET_BYTES
        if self._offset - self._told >= SEEN_BYTES:
            self._told = self._offset
            self._tell(type="seen", offset=self._offset)
        if ESCAPE in message:
            self._talk.look_for_screen(message)

    def _hear(self, message: dict[str, Any]) -> None:
        match message.get("type"):
            case "hello":
                self._hello(message)
            case "exit":
                self._left.exit = message
            case "error":
                raise from_problem({"code": message.get("code"), "detail": message.get("message")})
            case "taken":
                self._taken = int(message["bytes"])
                self._pace()
            case "people":
                if (text := self._company.changed(message)) is not None:
                    self._talk.say(f"[{text}]")
            case "notice":
                self._talk.say(f"[{message.get('text')}]")
            case "client" if isinstance(message.get("number"), int):
                self._wishes.hear(message, may_answer=self._on_terminal and self._company.have_keyboard)
            case "client":
                self._talk.say(f"[the host proposes to {message.get('action')} {message.get('path')}]")
            case "refused":
                self._talk.say(f"[{message.get('message')}]")
            case "skipped":
                self._talk.say(f"[{message.get('bytes'):,} bytes were not shown; the recording has them]")
            case "link":
                self._linked(bool(message.get("up")))
            case _:  # size, process, marker: for other clients
                return

    def _linked(self, is_up: bool) -> None:
        if is_up:
            self._is_there()
        if is_up and self._was_down:
            self._talk.say("[the host is back]")
        elif not is_up:
            self._talk.say("[the host's link is lost; its shell goes on]")
        self._was_down = not is_up

    def _hello(self, message: dict[str, Any]) -> None:
        self._company.hello(message)
        self._wishes.host, self._reason = str(message.get("host") or ""), str(message.get("reason") or "")
        self._told = int(message.get("offset") or 0)
        if not self._has_said_hello:
            self._greeting = message
            if self._wanted.types or self._on_terminal:
                self._keys.start()
        if message.get("skipped"):
            self._talk.say(f"[{message['skipped']:,} bytes were missed; the recording has them]")
        self._has_said_hello = True
        if message.get("opened", True):  # else the host may still refuse, and nothing is recorded
            self._is_there()

    def _is_there(self) -> None:
        greeting, self._greeting = self._greeting, None
        if greeting is not None:
            self._wanted.on_open(greeting)

    # what goes -------------------------------------------------------------------------------------------------------

    async def _send(self, socket: Wired) -> None:
        with suppress(ConnectionClosed):  # what was sent before is still to be read, and who reads sees the end
            await self._send_on(socket)
        await asyncio.Event().wait()

    async def _send_on(self, socket: Wired) -> None:
        while True:
            self._work.clear()
            while self._texts:
                await socket.send(json.dumps(self._texts.popleft()))
            while self._typed and self._sent - self._taken < INPUT_WINDOW_BYTES:
                data = self._typed.popleft()
                self._sent += len(data)
                await socket.send(data)
            self._pace()
            await self._work.wait()

    def _tell(self, **message: Any) -> None:
        self._texts.append(message)
        self._work.set()

    def _pace(self) -> None:
        """Read no more keys than can be sent."""
        if self._sent - self._taken >= INPUT_WINDOW_BYTES or len(self._typed) > 16:
            self._keys.stop()
        elif not self._is_at_end and not self._wishes.is_editing:
            self._keys.start()
        if self._typed and self._sent - self._taken < INPUT_WINDOW_BYTES:
            self._work.set()

    def _key(self, data: bytes) -> None:
        if not data:
            self._is_at_end = True
            if self._wanted.types:
                self._say_end()
            return
        socket = self._socket
        for part in self._escapes.feed(data) if self._on_terminal else (data,):
            if isinstance(part, str):
                self._command(part)
            elif socket is not None and self._wanted.types:  # what is typed into a dead line is lost, as ever
                may_go = not (self._typed or self._texts) and self._sent - self._taken < INPUT_WINDOW_BYTES
                if may_go and socket.offer(part):
                    self._sent += len(part)
                else:
                    self._typed.append(part)
        if self._typed or self._texts:
            self._work.set()
        if len(self._typed) > 16:
            self._keys.stop()

    def _say_end(self) -> None:
        """Type Ctrl-D, again and again: one ends what reads just then, such as a ``cat`` that the shell began, and one
        that comes while a shell takes the terminal over is lost.
        """
        if not self._typed:
            self._typed.append(_EOT)
            self._work.set()
        self._saying_so = asyncio.get_running_loop().call_later(EOT_AGAIN_S, self._say_end)

    def _resized(self) -> None:
        self._tell(type="resize", size=list(keyboard.size()))

    def _command(self, word: str) -> None:
        is_owner = self._wanted.role == "owner"
        if word == "?":
            for line in HELP.splitlines():
                self._talk.say(line)
        elif word == "d" or (word == "." and not is_owner) or (word == "." and self._socket is None):
            self._is_leaving.set()
        elif word == ".":
            self._tell(type="end", reason="")
        elif word == "k":
            may_take = self._wanted.role in ("owner", "moderator") or self._company.keyboard is None
            self._tell(type="keyboard", action="take" if may_take else "ask")
        elif word == "g":
            if self._company.asked is not None:
                self._tell(type="keyboard", action="give", to=self._company.asked)
            else:
                self._talk.say("[nobody has asked for the keyboard]")
        elif word == "c":
            self._tell(type="signal", name="INT")
        elif word == "m":
            self._tell(type="mark", text="marker")
        elif word == "z":
            self._tell(type="resume" if self._company.is_paused else "pause")
        elif word in ("e", "n"):
            self._wishes.answer(is_wanted=word == "e")
            if self._wishes.is_editing:
                self._keys.stop()
        elif word == "w":
            self._talk.say(f"[here: {self._company}]")

    async def _edit(self, path: str) -> int:
        from cli import remote_edit

        return await remote_edit.edit(
            self._context, self._wanted.key, self._wishes.host, path, self._reason, self._wanted.session
        )
