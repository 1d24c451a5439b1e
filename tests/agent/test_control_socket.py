"""The control socket: who may speak there, and that nobody who speaks badly stops the agent."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent import control
from agent.control import Caller, ControlSocket, Conversation
from protocol.errors import ArgumentError, NotFoundError, UnavailableError


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
