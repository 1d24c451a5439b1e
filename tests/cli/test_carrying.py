"""Forwards with a host that lies, or with a machine that has nothing left: bounded, told, and the rest goes on."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any, cast

import pytest

from cli.forwarding import carrying
from cli.forwarding.carrying import Carrier
from cli.forwarding.specs import Place, Spec
from cli.forwarding.wire import Wire
from protocol.errors import UnavailableError
from protocol.frames import encode, prefixed


class Pipe:
    """A stream to a host: what the host says, then nothing for ever."""

    def __init__(self, *said: list[Any]) -> None:
        self.said = [prefixed(encode(each)) for each in said]
        self.is_reset = False

    async def read(self) -> bytes:
        if not self.said:
            await asyncio.Event().wait()
        return self.said.pop(0)

    async def gather(self, _: int) -> list[bytes]:
        await asyncio.Event().wait()
        return []

    async def write(self, data: bytes) -> None:
        return

    def finish(self) -> None:
        return

    def reset(self, _: str) -> None:
        self.is_reset = True


class Host:
    """A wire to a host that answers each act with what it was given."""

    def __init__(self, **acts: list[Pipe]) -> None:
        self.acts = acts
        self.asked: list[dict[str, Any]] = []

    def stream(self, header: dict[str, Any]) -> Pipe:
        self.asked.append(header)
        pipes = self.acts.get(header["act"], [])
        if not pipes:
            raise UnavailableError("too many streams are open")
        return pipes.pop(0)


async def settled(carrier: Carrier) -> None:
    """Wait until everything that can go on has."""
    for _ in range(50):
        await asyncio.sleep(0)


def carrier(host: Host) -> tuple[Carrier, list[str]]:
    told: list[str] = []
    return Carrier(cast(Wire, host), told.append), told


OPEN = ["open", {"address": "127.0.0.1", "port": 8080}]
REMOTE = Spec(Place("127.0.0.1", 8080), Place("127.0.0.1", 9))


def connection(number: Any) -> list[Any]:
    return ["connection", {"connection": number, "ip": "10.0.0.9", "port": 1}]


async def test_a_host_that_tells_of_connections_without_end_opens_so_many_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is a connection to a service of this machine."""
    monkeypatch.setattr(carrying, "MAX_CONNECTIONS", 3)

    async def never(_: Place) -> socket.socket:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(carrying, "_connect", never)
    host = Host(
        listen=[Pipe(OPEN, *(connection(number) for number in range(1, 11)))], accept=[Pipe() for _ in range(20)]
    )
    made, told = carrier(host)
    await made.remote(REMOTE)
    await settled(made)
    assert len([each for each in host.asked if each["act"] == "accept"]) == 3
    assert told == ["refused  10.0.0.9:1 to 127.0.0.1:9: 3 connections are open already"] * 7
    await made.close()


@pytest.mark.parametrize("number", ["x", None, 1.5, True, [1]])
async def test_a_connection_of_no_number_ends_the_listening_and_is_told(number: Any) -> None:
    made, told = carrier(Host(listen=[Pipe(OPEN, connection(number))]))
    await made.remote(REMOTE)
    await settled(made)
    assert told == ["ended  the host listens no more: the host tells of a connection without a number"]
    await made.close()


async def test_a_stream_that_cannot_be_opened_is_told() -> None:
    made, told = carrier(Host(listen=[Pipe(OPEN, connection(1))]))
    await made.remote(REMOTE)
    await settled(made)
    assert told == ["broken  10.0.0.9:1 to 127.0.0.1:9: too many streams are open"]
    await made.close()


async def test_a_machine_with_no_descriptor_left_listens_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """One connection that could not be taken was the end of all that came after it, without a word."""
    monkeypatch.setattr(carrying, "RETRY_S", 0.0)
    loop, failures = asyncio.get_running_loop(), [OSError(errno.EMFILE, "Too many open files")]
    accept = loop.sock_accept

    async def failing(listening: socket.socket) -> Any:
        if failures:
            raise failures.pop()
        return await accept(listening)

    monkeypatch.setattr(carrying, "_accepted", lambda listening: failing(listening))
    host = Host(forward=[Pipe(["open", {}])])
    made, told = carrier(host)
    place = made.listen(Spec(Place("127.0.0.1", 0), Place("db", 5432)))
    _, writer = await asyncio.open_connection("127.0.0.1", place.port)
    async with asyncio.timeout(60):
        while not host.asked:
            await asyncio.sleep(0)
    assert told == ["refused  a connection could not be taken: Too many open files"]
    writer.close()
    await made.close()
