"""What programs of a terminal ask of whoever types there: to open a file of this host in the editor of their own.

- It is asked on a socket whose name is the session's, by a process of the session and by nobody else: the kernel says
  who is at the other end, and its parents lead to the session's root or it is sent away. What a program prints, however
  hostile the file that it came from, is output and nothing else.
- It is a question. Whoever types says yes or no, sees which file it is, and opens it with rights of their own, through
  a gate like anybody else. Here nothing is read or written.
- One question at a time, and not more than one in a second: a program that asks without end gets no more than that.
- The name is everybody's to connect to, and nothing keeps other users of the host from it. So they are taken one at a
  time, and after each the socket is left alone for a moment: a flood waits in the kernel, for a few looks a second.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from agent.logs import LOG
from stdlib.processes import tree

MAX_LINE_BYTES: Final = 16 << 10
MAX_PATH_CHARACTERS: Final = 4_096
LINE_S: Final = 5.0  # for the question to come, once somebody has connected
PAUSE_S: Final = 1.0  # between two questions
MAX_CONNECTIONS: Final = 4
BACKLOG: Final = 16
STRANGER_S: Final = 0.1  # for which nobody is taken after one who is none of the session's own
TOLD_EVERY_S: Final = 60.0  # between two lines of the log about those
_UCRED: Final = struct.Struct("3i")  # struct ucred, unix(7)


class Wishes:
    """The wishes of one session's programs. Listens from its making on, before the first of them runs.

    Args:
        session: Its id; the socket is in the abstract namespace, so nothing is left behind.

    Raises:
        OSError: Somebody has that name.
    """

    def __init__(self, session: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            self._socket.bind(name_of(session))
        except OSError:
            self._socket.close()
            raise
        self._session = session
        self._root = 0
        self._tell: Callable[[dict[str, Any]], None] = lambda _: None
        self._is_heard: Callable[[], bool] = lambda: False
        self._loop: asyncio.AbstractEventLoop | None = None  # that listens; None while none does
        self._resting: asyncio.TimerHandle | None = None
        self._strangers = 0  # since they were told of last
        self._tells_from_s = 0.0
        self._open: set[asyncio.Task[None]] = set()
        self._number = 0
        self._answer: asyncio.Future[str] | None = None  # of the question that is open
        self._may_ask_s = 0.0

    async def serve(self, root: int, tell: Callable[[dict[str, Any]], None], is_heard: Callable[[], bool]) -> None:
        """Listen.

        Args:
            root: Of the session's processes.
            tell: Takes questions, and says that one is withdrawn.
            is_heard: Whether anybody has the terminal before them.
        """
        self._root, self._tell, self._is_heard = root, tell, is_heard
        try:
            self._socket.listen(BACKLOG)
        except OSError as error:  # a terminal is worth more than this
            LOG.error("session %s: its programs can ask for nothing: %s", self._session, error)
            return
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._take)

    def close(self) -> None:
        """Listen no more; who still asks is left alone. Idempotent."""
        if self._loop is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._loop = None
        if self._resting is not None:
            self._resting.cancel()
        self._socket.close()
        for task in self._open:
            task.cancel()

    def answer(self, number: int, outcome: str) -> None:
        """Whoever types has answered a question; one that is not open any more is of no meaning."""
        if number == self._number and self._answer is not None and not self._answer.done():
            self._answer.set_result(outcome)

    def _take(self) -> None:
        """Take one who connects, if it is one of the session's own."""
        try:
            connection, _ = self._socket.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:  # no descriptor is left, say
            LOG.warning("session %s: who asks cannot be heard: %s", self._session, error)
            self._rest()
            return
        pid = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))[0]
        is_own = is_below(pid, self._root)
        if not is_own or len(self._open) >= MAX_CONNECTIONS:
            connection.close()
            if not is_own:
                self._note_stranger(pid)
            self._rest()
            return
        connection.setblocking(False)
        task = asyncio.ensure_future(self._talk(connection))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    def _note_stranger(self, pid: int) -> None:
        self._strangers += 1
        now_s = time.monotonic()
        if now_s >= self._tells_from_s:
            self._tells_from_s = now_s + TOLD_EVERY_S
            told = f", the last of {self._strangers}" if self._strangers > 1 else ""
            LOG.warning("session %s: process %d is none of its own and asked for something%s", self._session, pid, told)
            self._strangers = 0

    def _rest(self) -> None:
        """Take nobody for a moment."""
        if self._loop is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._resting = self._loop.call_later(STRANGER_S, self._go_on)

    def _go_on(self) -> None:
        if self._loop is not None:
            self._loop.add_reader(self._socket.fileno(), self._take)

    async def _talk(self, connection: socket.socket) -> None:
        try:
            reader, writer = await asyncio.open_unix_connection(sock=connection, limit=MAX_LINE_BYTES)
        except BaseException:
            connection.close()
            raise
        try:
            with suppress(ConnectionError, TimeoutError, asyncio.CancelledError):  # the last by our own close
                await self._serve(reader, writer)
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(LINE_S):
            try:
                path = asked_path(await reader.readline())
            except ValueError as error:  # of our own, or a line that is too long
                await _send(writer, {"error": str(error)})
                return
        now_s = time.monotonic()
        if self._answer is not None or now_s < self._may_ask_s:
            await _send(writer, {"error": "another file is asked about, or was a moment ago"})
        elif not self._is_heard():
            await _send(writer, {"error": "nobody has this terminal before them"})
        else:
            self._may_ask_s = now_s + PAUSE_S
            await self._ask(path, reader, writer)

    async def _ask(self, path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._number += 1
        answer = self._answer = asyncio.get_running_loop().create_future()
        about = {"what": "client", "action": "edit", "path": path, "number": self._number}
        self._tell(about)
        gone = asyncio.ensure_future(reader.read(1))
        try:
            await _send(writer, {"asked": path})
            waited: set[asyncio.Future[Any]] = {gone, answer}
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                await _send(writer, {"outcome": answer.result()})
            else:
                self._tell({**about, "action": "withdrawn"})
        finally:
            gone.cancel()
            answer.cancel()
            self._answer = None


def name_of(session: str) -> str:
    """Return the name of a session's socket."""
    return f"\0outrider-session/{session}"


def asked_path(line: bytes) -> str:
    """Return the path that a line asks to have opened.

    Raises:
        ValueError: It asks for nothing, or for what nobody could be shown.
    """
    try:
        asked = json.loads(line)
    except ValueError:
        raise ValueError("this is no line of JSON") from None
    path = asked.get("path") if isinstance(asked, dict) and asked.get("do") == "edit" else None
    if not isinstance(path, str) or not path.startswith("/"):
        raise ValueError("ask to edit an absolute path")
    if len(path) > MAX_PATH_CHARACTERS or not path.isprintable():
        raise ValueError("this path is too long, or has what cannot be shown to whoever is asked")
    return path


def is_below(pid: int, root: int) -> bool:
    """Tell whether a process, which lives, comes of ``root``: orphans fall to that, so its parents lead there."""
    for _ in range(tree.MAX_DEPTH):
        if pid == root:
            return True
        parent = tree.parent_of(pid)
        if not parent or parent == pid:
            return False
        pid = parent
    return False


async def _send(writer: asyncio.StreamWriter, told: dict[str, Any]) -> None:
    writer.write(json.dumps(told).encode() + b"\n")
    await writer.drain()
