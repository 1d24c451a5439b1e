"""The control socket: who may speak there, and that nobody who speaks badly stops the agent."""

from __future__ import annotations

import asyncio
import json
import os
import select
import socket
import stat
import struct
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from agent import control
from agent.control import Caller, ControlSocket, Conversation
from protocol.errors import ArgumentError, NotFoundError, OutriderError, UnavailableError


async def echo(conversation: Conversation) -> None:
    await conversation.send({"said": conversation.text("what"), "by": conversation.peer})


async def twice(conversation: Conversation) -> None:
    while (line := await conversation.receive()) is not None:
        await conversation.send({"again": line})


async def missing(_: Conversation) -> None:
    raise NotFoundError("no such thing")


async def broken(_: Conversation) -> None:
    raise ZeroDivisionError("a secret of the agent's")


@pytest.fixture
async def listening(tmp_path: Path) -> AsyncIterator[Path]:
    # Longer than the 107 characters that a socket's name may have.
    directory = tmp_path / ("long" * 30)
    directory.mkdir()
    made = ControlSocket(directory, {"echo": echo, "twice": twice, "missing": missing, "broken": broken})
    await made.start()
    yield directory
    await made.close()
    assert not (directory / control.NAME).exists()


async def told(directory: Path, do: str, **fields: Any) -> dict[str, Any]:
    def ask() -> dict[str, Any]:
        with Caller(directory) as caller:
            return caller.ask(do, **fields)

    return await asyncio.to_thread(ask)


async def test_an_owner_asks_and_is_answered(listening: Path) -> None:
    answer = await told(listening, "echo", what="hello")
    assert answer["said"] == "hello"
    assert answer["by"].startswith("root" if os.geteuid() == 0 else "")


async def test_nobody_else_can_even_open_it(listening: Path) -> None:
    assert stat.S_IMODE((listening / control.NAME).stat().st_mode) == 0o600


async def test_the_kernel_says_who_speaks_whatever_the_mode_is(
    listening: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mode can be changed by mistake; then a stranger's words still do nothing."""
    real = socket.socket.getsockopt

    def of_somebody_else(self: socket.socket, *arguments: Any) -> Any:
        if arguments[1] == socket.SO_PEERCRED:
            return struct.pack("3i", os.getpid(), 4711, 4711)
        return real(self, *arguments)

    monkeypatch.setattr(socket.socket, "getsockopt", of_somebody_else)
    with pytest.raises(UnavailableError, match="only root"):
        await told(listening, "echo", what="hello")


async def test_who_is_refused_before_he_has_said_anything_hears_why(
    listening: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is there before the words are, and nobody reads these any more."""
    real = socket.socket.getsockopt

    def of_somebody_else(self: socket.socket, *arguments: Any) -> Any:
        is_asked = arguments[1] == socket.SO_PEERCRED
        return struct.pack("3i", os.getpid(), 4711, 4711) if is_asked else real(self, *arguments)

    monkeypatch.setattr(socket.socket, "getsockopt", of_somebody_else)

    def say_late() -> None:
        with Caller(listening) as caller:
            caller._socket.recv(1, socket.MSG_PEEK)
            with pytest.raises(UnavailableError, match="only root"):
                caller.ask("echo")

    await asyncio.to_thread(say_late)


async def test_a_conversation_goes_on_until_the_caller_has_gone(listening: Path) -> None:
    def talk() -> list[Any]:
        with Caller(listening) as caller:
            caller.send({"do": "twice"})
            return [caller.send({"line": number}) or caller.receive() for number in range(3)]

    assert await asyncio.to_thread(talk) == [{"again": {"line": number}} for number in range(3)]


async def test_what_an_action_raises_is_told_with_its_class(listening: Path) -> None:
    with pytest.raises(NotFoundError, match="no such thing"):
        await told(listening, "missing")
    with pytest.raises(ArgumentError, match="what"):
        await told(listening, "echo")
    with pytest.raises(Exception, match="log says why") as caught:
        await told(listening, "broken")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "line", [b"{}\n", b'{"do": "nothing"}\n', b"[]\n", b"{\n", b"\xff\n", b'"' * 70_000, b"[" * 60_000 + b"\n"]
)
async def test_lines_that_mean_nothing_are_refused_and_the_next_caller_is_served(listening: Path, line: bytes) -> None:
    def speak() -> bytes:
        with Caller(listening) as caller:
            caller._lines.write(line)
            caller._lines.flush()
            return caller._lines.readline()

    assert json.loads(await asyncio.to_thread(speak))["error"]["code"] == "invalid_argument"
    assert (await told(listening, "echo", what="x"))["said"] == "x"


async def test_who_says_nothing_is_let_go(listening: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "FIRST_LINE_S", 0.01)

    def wait() -> Any:
        with Caller(listening) as caller:
            return caller.receive()

    assert await asyncio.to_thread(wait) is None


async def test_conversations_are_bounded(listening: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "MAX_CONVERSATIONS", 1)

    def two() -> None:
        with Caller(listening) as first:
            first.send({"do": "twice"})
            first.send({"x": 1})
            first.receive()
            with Caller(listening) as second, pytest.raises(UnavailableError, match="already"):
                second.ask("echo", what="x")

    await asyncio.to_thread(two)


def as_user(monkeypatch: pytest.MonkeyPatch, of: dict[int, int]) -> None:
    """Have the kernel say another user for the connections with these numbers, from 1, and accept that one."""
    real, seen = socket.socket.getsockopt, iter(range(1, 1000))

    def told_user(self: socket.socket, *arguments: Any) -> Any:
        if arguments[1] != socket.SO_PEERCRED:
            return real(self, *arguments)
        return struct.pack("3i", os.getpid(), of.get(next(seen), 4711), 4711)

    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    monkeypatch.setattr(socket.socket, "getsockopt", told_user)


async def test_root_is_heard_whatever_programs_of_the_agents_user_do(
    listening: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script's program may be one of them, and whoever wants to freeze the host must be heard then above all."""
    monkeypatch.setattr(control, "MAX_CONVERSATIONS", 2)
    as_user(monkeypatch, {4: 0})

    def crowd() -> dict[str, Any]:
        with Caller(listening) as one, Caller(listening) as two:
            for each in (one, two):
                each.send({"do": "twice"})
                each.send({"x": 1})
                each.receive()
            with Caller(listening) as third, pytest.raises(UnavailableError, match="already"):
                third.ask("echo", what="x")
            with Caller(listening) as root:
                return root.ask("echo", what="freeze")

    assert (await asyncio.to_thread(crowd))["said"] == "freeze"


async def test_those_who_say_nothing_are_bounded_and_keep_nobody_out(
    listening: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is a descriptor of the agent's for ten seconds."""
    monkeypatch.setattr(control, "MAX_SILENT", 3)
    monkeypatch.setattr(control, "FIRST_LINE_S", 600.0)  # so that nobody goes because of the time

    def crowd() -> list[Any]:
        silent = [Caller(listening, timeout_s=60.0) for _ in range(20)]
        with Caller(listening, timeout_s=60.0) as owner:
            assert owner.ask("echo", what="x")["said"] == "x"
        gone = [each.receive() for each in silent[:17]]  # those who came first
        for each in silent:
            each._socket.close()
        return gone

    assert await asyncio.to_thread(crowd) == [None] * 17


async def test_a_stranger_is_refused_before_he_has_said_anything(
    listening: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_user(monkeypatch, {1: 4712})

    def wait() -> Any:
        with Caller(listening) as stranger:
            return stranger.receive()

    with pytest.raises(UnavailableError, match="only root"):
        await asyncio.to_thread(wait)


@pytest.mark.parametrize(
    "pieces", [[b'{"do": "ec', b'ho", "what": "x"}', b"\n"], [bytes([b]) for b in b'{"do":"x"}\n']]
)
async def test_lines_may_come_in_pieces(listening: Path, pieces: list[bytes]) -> None:
    def speak() -> bytes:
        with Caller(listening) as caller:
            for piece in pieces:
                caller._socket.send(piece)
            return caller._lines.readline()

    assert json.loads(await asyncio.to_thread(speak))


async def test_who_reads_nothing_is_let_go_with_what_waits_for_him(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, descriptors_kept: None
) -> None:
    """Else each of them would keep a descriptor, and what was to be said, for as long as he likes."""

    async def flood(conversation: Conversation) -> None:
        monkeypatch.setattr(control, "FIRST_LINE_S", 0.05)  # once the first line is there, however late it came
        conversation._writer.write(bytes(4 << 20))
        raise NotFoundError("and then this")

    made = ControlSocket(tmp_path, {"flood": flood})
    await made.start()

    def wait() -> int:
        with Caller(tmp_path) as caller:
            caller.send({"do": "flood"})
            poll = select.poll()
            poll.register(caller._socket, select.POLLHUP)
            return len(poll.poll(60_000))

    assert await asyncio.to_thread(wait) == 1
    await made.close()


LIES = [
    b"", b"\n", b"[]\n", b"null\n", b'"x"\n', b"{\n", b"\xff\xfe\n", b"[" * 100_000 + b"\n", b'{"error": null}\n',
    b'{"error": []}\n', b'{"error": {"code": [], "message": {}}}\n', b'{"error": {"code": "denied"}}\n', b"9" * 10_000,
    b"x" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_what_lies_in_place_of_the_agent_is_told_and_breaks_nothing(
    tmp_path: Path, lie: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever works as the agent's user can put a socket of his own there, and the owner's commands are root's."""
    monkeypatch.setattr(control, "MAX_ANSWER_BYTES", 50_000)
    with socket.socket(socket.AF_UNIX) as false:
        false.bind(str(tmp_path / control.NAME))
        false.listen()
        with Caller(tmp_path) as caller:
            other, _ = false.accept()
            caller.send({"do": "freeze.look"})
            threading.Thread(target=_say, args=(other, lie)).start()
            with pytest.raises(OutriderError):
                caller.ask("freeze.look")


def _say(sock: socket.socket, words: bytes) -> None:
    with sock, suppress(OSError):
        sock.sendall(words)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(4096):
            pass


async def test_a_dead_agents_socket_is_replaced(tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / control.NAME))
    left.close()
    with pytest.raises(UnavailableError, match="no agent answers"):
        Caller(tmp_path)
    made = ControlSocket(tmp_path, {"echo": echo})
    await made.start()
    assert (await told(tmp_path, "echo", what="x"))["said"] == "x"
    await made.close()
