"""The control socket: how a host's owner speaks to the agent that runs there.

- Only root and the agent's own user reach it: it lies in the state directory with mode 600, and the kernel is asked who
  is at the other end, for a mode can be changed by mistake. Nobody else's words are even read.
- One line of JSON each way at a time, an object; the first one names what is asked for in ``do``. Lines, conversations
  and the time to the first line are bounded. What is wrong is answered with ``{"error": {code, message}}``.
- Root has conversations of its own, and of those who have said nothing yet the one that waits longest goes when there
  are too many: no program of the agent's user, such as one that a script started, can keep the owner from speaking.
- It does not need the server, nor the network.
"""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import socket
import struct
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from agent.logs import LOG
from protocol.errors import ArgumentError, InternalError, OutriderError, ProtocolError, UnavailableError

NAME: Final = "control.sock"  # in the state directory
MAX_LINE_BYTES: Final = 64 << 10  # a page of what is asked for; chosen without measurement
MAX_CONVERSATIONS: Final = 16  # of one user at the same time; an owner has one or two
MAX_SILENT: Final = 32  # connections of one user on which nothing was asked for yet; each is a descriptor of the agent
MAX_ANSWER_BYTES: Final = 16 << 20  # of one line of the agent's; 64 KiB of a terminal, or all that waits for an answer
FIRST_LINE_S: Final = 10.0  # that whoever connects may take to say what he wants
_UCRED: Final = struct.Struct("3i")  # pid, uid, gid: struct ucred of unix(7)
_NO_LOGIN: Final = 4_294_967_295  # the kernel's word for a process that nobody logged in for


class Conversation:
    """One connection of somebody who may speak here."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: str, asked: dict[str, Any]
    ) -> None:
        self.peer = peer  # who is at the other end, for the record
        self.asked = asked  # the first line
        self._reader = reader
        self._writer = writer

    async def send(self, answer: Mapping[str, Any]) -> None:
        """Send one line; waits for a reader that is slow.

        Raises:
            ConnectionError: Nobody is there any more.
        """
        self._writer.write(json.dumps(answer).encode() + b"\n")
        await self._writer.drain()

    async def receive(self) -> dict[str, Any] | None:
        """Return the next line; None once the other end has gone.

        Raises:
            ArgumentError: It is no object of JSON, or longer than a line may be.
        """
        return await _line(self._reader)

    def text(self, name: str, *, most: int = 1000, default: str | None = None) -> str:
        """Return a field of the first line.

        Raises:
            ArgumentError: It is missing, no text, or longer than ``most`` characters.
        """
        value = self.asked.get(name, default)
        if not isinstance(value, str) or len(value) > most:
            raise ArgumentError(f"{name}: must be a text of at most {most} characters", parameter=name)
        return value


Action = Callable[[Conversation], Awaitable[None]]
"""Serves one conversation; what it raises is told at the other end."""


class ControlSocket:
    """The listening end, in the agent.

    Args:
        directory: The state directory.
        actions: By the word in ``do``.
    """

    def __init__(self, directory: Path, actions: Mapping[str, Action]) -> None:
        self._path = directory / NAME
        self._actions = dict(actions)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._silent: dict[int, deque[asyncio.WriteTransport]] = {}  # who said nothing yet, by user, oldest first
        self._talking: Counter[int] = Counter()  # conversations by user

    async def start(self) -> None:
        """Listen. The caller holds the state directory's lock, so a socket that lies there is a dead one's.

        Raises:
            UnavailableError: It cannot be made.
        """
        try:
            with suppress(FileNotFoundError):
                self._path.unlink()
            sock = _in_directory(self._path, lambda sock, path: sock.bind(path))
            self._path.chmod(0o600)  # before anybody can connect: it does not listen yet
            sock.setblocking(False)
            self._server = await asyncio.start_unix_server(self._connected, sock=sock, limit=MAX_LINE_BYTES)
        except OSError as error:
            raise UnavailableError(f"{self._path} cannot be made: {error.strerror}") from error

    async def close(self) -> None:
        """Listen no more, and end every conversation."""
        if self._server is not None:
            self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        with suppress(OSError):
            self._path.unlink()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._open.add(task)
            task.add_done_callback(self._open.discard)
        try:
            await self._serve(reader, writer)
        except ConnectionError:
            pass  # the other end is gone
        finally:
            writer.close()
            if writer.transport.get_write_buffer_size():  # for whoever does not read the rest it is not kept for ever
                asyncio.get_running_loop().call_later(FIRST_LINE_S, writer.transport.abort)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            uid, peer = _peer(writer.get_extra_info("socket"))
            asked = await self._first_line(reader, writer.transport, uid)
            if asked is None:
                return
            if self._talking[uid] >= MAX_CONVERSATIONS:
                raise UnavailableError(f"{MAX_CONVERSATIONS} are speaking to the agent already")
            self._talking[uid] += 1
            try:
                action = self._actions.get(str(asked.get("do")))
                if action is None:
                    raise ArgumentError(f"this agent knows no {str(asked.get('do'))[:40]!r}", parameter="do")
                await action(Conversation(reader, writer, peer, asked))
            finally:
                self._talking[uid] -= 1
        except TimeoutError:
            return
        except OutriderError as error:
            await _tell(writer, error)
        except ConnectionError:
            raise
        except Exception:  # noqa: BLE001 - a fault of ours in one conversation; the agent goes on
            LOG.exception("a conversation on the control socket failed")
            await _tell(writer, InternalError("the agent failed; its log says why"))

    async def _first_line(
        self, reader: asyncio.StreamReader, transport: asyncio.WriteTransport, uid: int
    ) -> dict[str, Any] | None:
        """Return what is asked for; None if the other end has gone. Who has waited longest goes if there are too many.

        Raises:
            TimeoutError: Nothing was, in time.
        """
        silent = self._silent.setdefault(uid, deque())
        if len(silent) >= MAX_SILENT:
            silent.popleft().abort()
        silent.append(transport)
        try:
            async with asyncio.timeout(FIRST_LINE_S):
                return await _line(reader)
        finally:
            with suppress(ValueError):  # it had to go
                silent.remove(transport)


async def _line(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    try:
        line = await reader.readuntil(b"\n")
    except asyncio.IncompleteReadError:  # the end, or a line without one, which nobody meant to send
        return None
    except asyncio.LimitOverrunError:
        raise ArgumentError(f"a line has at most {MAX_LINE_BYTES} bytes") from None
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ArgumentError("a line must be one object of JSON")
    return value


async def _tell(writer: asyncio.StreamWriter, error: OutriderError) -> None:
    """Say why it was refused; whoever does not read that is not waited for."""
    writer.write(json.dumps({"error": {"code": error.code, "message": str(error)[:2000]}}).encode() + b"\n")
    with suppress(TimeoutError):
        async with asyncio.timeout(FIRST_LINE_S):
            await writer.drain()


def _peer(sock: socket.socket) -> tuple[int, str]:
    """Return who is at the other end, as the kernel says it: the user's number, and his name with who logged in to
    become him.

    Raises:
        UnavailableError: Somebody who has no business here.
    """
    pid, uid, _ = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    if uid not in (0, os.geteuid()):
        raise UnavailableError("only root and the agent's own user may speak here")
    login = _login(pid)
    return uid, _user(uid) if login in (None, uid) else f"{_user(uid)} (logged in as {_user(login)})"


def _login(pid: int) -> int | None:
    """Return who logged in on whose behalf a process works; proc_pid_loginuid(5). None if nobody did."""
    try:
        login = int(Path(f"/proc/{pid}/loginuid").read_text())
    except (OSError, ValueError):
        return None
    return None if login == _NO_LOGIN else login


def _user(uid: int | None) -> str:
    try:
        return pwd.getpwuid(uid if uid is not None else -1).pw_name
    except KeyError:
        return str(uid)


def _in_directory(path: Path, use: Callable[[socket.socket, str], None]) -> socket.socket:
    """Return a socket that ``use`` was called with, and a name for ``path`` that is never too long for unix(7)."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            use(sock, f"/proc/self/fd/{directory}/{path.name}")
        finally:
            os.close(directory)
    except BaseException:
        sock.close()
        raise
    return sock


# the other end -------------------------------------------------------------------------------------------------------


class Caller:
    """The owner's end, in a command of ``outrider-agent``. Use it in a ``with``.

    Args:
        directory: The state directory.
        timeout_s: For each line; None waits for ever.

    Raises:
        UnavailableError: No agent runs there, or the socket is not for us.
    """

    def __init__(self, directory: Path, *, timeout_s: float | None = 10.0) -> None:
        try:
            self._socket = _in_directory(directory / NAME, lambda sock, path: sock.connect(path))
        except OSError as error:
            raise UnavailableError(f"no agent answers in {directory}: {error.strerror}") from None
        self._socket.settimeout(timeout_s)
        self._lines = self._socket.makefile("rwb")

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._lines.close()
        self._socket.close()

    def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        """Send one line and return the answer.

        Raises:
            OutriderError: What the agent refuses with.
            UnavailableError: It does not answer.
        """
        self.send({"do": do, **fields})
        answer = self.receive()
        if answer is None:
            raise UnavailableError("the agent ended without an answer")
        return answer

    def send(self, line: Mapping[str, Any]) -> None:
        """Send one line; raises as :meth:`ask`."""
        try:
            self._lines.write(json.dumps(line).encode() + b"\n")
            self._lines.flush()
        except OSError as error:
            self.receive()  # it may have said why before it hung up
            raise UnavailableError(f"the agent does not listen: {error.strerror or error}") from None

    def receive(self) -> dict[str, Any] | None:
        """Return the next line, None at the end; raises as :meth:`ask`."""
        try:
            line = self._lines.readline(MAX_ANSWER_BYTES + 1)
        except OSError as error:
            raise UnavailableError(f"the agent does not answer: {error.strerror or error}") from None
        if not line:
            return None
        answer = _answer(line)
        if "error" in answer:
            raise _error(answer["error"])
        return answer


def _answer(line: bytes) -> dict[str, Any]:
    """Return the object in a line of the agent's; whoever may write in the state directory may have put another there.

    Raises:
        ProtocolError: There is none.
    """
    if len(line) > MAX_ANSWER_BYTES:
        raise ProtocolError(f"what answers in place of the agent says more than {MAX_ANSWER_BYTES} bytes at once")
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ProtocolError("what answers in place of the agent makes no sense")
    return value


def _error(told: object) -> OutriderError:
    if not isinstance(told, dict):
        return ProtocolError("what answers in place of the agent makes no sense")
    message = str(told.get("message"))
    for kind in _kinds(OutriderError):
        if kind.code == told.get("code"):
            with suppress(TypeError):  # a class that needs more than a message
                return kind(message)
    return UnavailableError(message)


def _kinds(kind: type[OutriderError]) -> list[type[OutriderError]]:
    return [kind, *(each for child in kind.__subclasses__() for each in _kinds(child))]
