"""Forwards on one host: what is connected to was decided, whatever a resolver says, and what went is on record."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
from ports import free_port
from premises import AGENT, Premises, until

from agent import forwards
from agent.consent import Consents
from agent.forwards import serve_accept, serve_forward, serve_listen
from agent.live import LiveSessions
from agent.live_admission import Wish
from agent.nonces import Nonces
from protocol.errors import ConflictError
from protocol.forwarding import Preface
from protocol.link import Link, Role, StreamOpened
from protocol.pipes import Pipe, Pipes
from stdlib.catalogue import load as load_catalogue
from stdlib.host import Host

WISH = Wish(
    "s_1",
    "forward",
    "admin",
    "oli",
    "T-1",
    {"allow": [{"call": "net.*", "targets": ["*", "127.0.0.1"]}, {"call": "listener.accept"}]},
)
CEILING = "highest_tier: admin\naccept_server_word: [session]\n"


class Resolver:
    """Answers with what the test puts there, and counts."""

    def __init__(self) -> None:
        self.answers: list[list[str]] = []
        self.asked = 0

    def __call__(self, host: str, port: int, *_: Any) -> list[Any]:
        self.asked += 1
        found = self.answers.pop(0) if self.answers else [host]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]


class Post:
    """One host's sessions and a server's link into them; frames cross whenever the loop turns."""

    def __init__(self, premises: Premises) -> None:
        premises.allow(CEILING)
        self.premises = premises
        self.resolver = Resolver()
        self.live = LiveSessions(
            AGENT, trust=premises.trust, freeze=lambda: None, table=load_catalogue(), recorder=premises.recorder,
            spool=premises.spool, nonces=Nonces(premises.spool), clock=premises.clock,
            host=Host(getaddrinfo=self.resolver),
            acts={"forward": serve_forward, "listen": serve_listen, "accept": serve_accept},
            consents=Consents(premises.trust.ceiling, premises.recorder, premises.clock),
        )  # fmt: skip
        self.server, self.agent = Link(Role.SERVER, next_record=1), Link(Role.AGENT, next_record=1)
        self.work = asyncio.Event()
        self.theirs = Pipes(self.server, self.work.set, asyncio.Event)
        self.ours = Pipes(self.agent, self.work.set, asyncio.Event)
        self.crossing = asyncio.ensure_future(self._cross())

    async def _cross(self) -> None:
        while True:
            await self.work.wait()
            self.work.clear()
            for sender, receiver, pipes in (
                (self.server, self.agent, self.ours), (self.agent, self.server, self.theirs),
            ):  # fmt: skip
                for frame in sender.take():
                    self.work.set()
                    for event in receiver.receive(frame):
                        if isinstance(event, StreamOpened):
                            self.live.accept(pipes.accept(event))
                        else:
                            pipes.on(event)

    def pipe(self, act: str = "forward", **header: Any) -> Pipe:
        return self.theirs.open("session", {"session": "s_1", "act": act, **header})

    async def answer(self, pipe: Pipe) -> tuple[str, dict[str, Any], bytes]:
        preface = Preface()
        found = None
        while found is None:
            found = preface.feed(await pipe.read())
        return found

    async def ends(self) -> list[Any]:
        return await self.premises.records("call.end")


@pytest.fixture
async def post(premises: Premises) -> AsyncIterator[Post]:
    made = Post(premises)
    await made.live.open(WISH)
    yield made
    await made.live.shut()
    made.crossing.cancel()


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def test_bytes_and_half_close(post: Post, echo: int) -> None:
    pipe = post.pipe(host="127.0.0.1", port=echo, peer="127.0.0.1:9")
    assert await post.answer(pipe) == ("open", {"ip": "127.0.0.1", "port": echo}, b"")
    await pipe.write(b"hello")
    assert await pipe.read() == b"hello"
    pipe.finish()
    assert await pipe.read() == b""
    await until(lambda: not post.live.find("s_1").acts)
    (end,) = await post.ends()
    assert (end.call, end.bytes, end.data["sent"], end.data["received"]) == ("net.forward", 10, 5, 5)
    call = (await post.premises.records("call"))[0]
    assert call.arguments["peer"] == "127.0.0.1:9"


async def test_a_name_that_is_bound_anew_reaches_nothing_that_was_not_decided(post: Post, echo: int) -> None:
    """Rebinding: the first answer is harmless, the next one is what the attacker wants. There is no next one."""
    post.resolver.answers = [["192.0.2.7"], ["127.0.0.1"]]
    post.premises.allow(CEILING)
    pipe = post.pipe(host="rebound.example.org", port=echo)
    waiting = asyncio.ensure_future(post.answer(pipe))
    await until(lambda: post.resolver.asked)
    for _ in range(50):
        await asyncio.sleep(0)
    assert post.resolver.asked == 1
    assert not waiting.done() or waiting.result()[0] == "error"
    pipe.reset("cancelled")
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


@pytest.mark.parametrize("address", ["169.254.169.254", "100.100.100.200", "0.0.0.0"])
async def test_a_name_that_leads_to_what_is_guarded_is_refused(post: Post, address: str) -> None:
    post.resolver.answers = [["192.0.2.7", address]]
    word, told, _ = await post.answer(post.pipe(host="harmless.example.org", port=80))
    assert (word, told["code"]) == ("error", "denied")
    assert post.resolver.asked == 1


async def test_loopback_needs_to_be_named(post: Post, echo: int) -> None:
    await post.live.open(replace(WISH, session="s_2", grant={"allow": [{"call": "net.forward", "targets": ["*"]}]}))
    pipe = post.theirs.open("session", {"session": "s_2", "act": "forward", "host": "127.0.0.1", "port": echo})
    word, told, _ = await post.answer(pipe)
    assert (word, told["code"]) == ("error", "denied")
    assert "loopback" in told["message"]


@pytest.mark.parametrize("kind", ["terminal", "command", "files"])
async def test_other_sessions_forward_nothing(post: Post, echo: int, kind: str) -> None:
    await post.live.open(replace(WISH, session="s_2", kind=kind))
    pipe = post.theirs.open("session", {"session": "s_2", "act": "forward", "host": "127.0.0.1", "port": echo})
    assert (await post.answer(pipe))[0] == "error"


@pytest.mark.parametrize(
    "header", [{}, {"host": "x"}, {"host": "x", "port": 80, "session": 7}, {"host": 3, "port": 80}]
)
async def test_a_header_that_means_nothing_gives_the_pipe_up(post: Post, header: dict[str, Any]) -> None:
    with pytest.raises(ConflictError, match=r"invalid_argument|not_found"):
        await post.pipe(**header).read()


async def test_what_may_move_is_bounded_over_all_connections(post: Post, echo: int) -> None:
    pipes = [post.pipe(host="127.0.0.1", port=echo, max_bytes=1000) for _ in range(2)]
    for pipe in pipes:
        await post.answer(pipe)
    await pipes[0].write(bytes(400))
    assert len(await pipes[0].read()) == 400
    await pipes[1].write(bytes(400))
    with pytest.raises(ConflictError, match="budget"):
        await _all_of(pipes[1])


async def _all_of(pipe: Pipe) -> None:
    while await pipe.read():
        continue


async def test_time_ends_a_connection(post: Post, echo: int) -> None:
    pipe = post.pipe(host="127.0.0.1", port=echo, ttl_s=1.0)
    assert (await post.answer(pipe))[0] == "open"
    with pytest.raises(ConflictError, match="budget"):
        await pipe.read()


async def test_closing_the_session_ends_its_connections(post: Post, echo: int) -> None:
    pipe = post.pipe(host="127.0.0.1", port=echo)
    await post.answer(pipe)
    await post.live.close("s_1", "enough")
    with pytest.raises(ConflictError):
        await pipe.read()
    close = (await post.premises.records("session.close"))[0]
    assert close.data["forwarded"] == {"connections": 1, "sent": 0, "received": 0}


async def connections(post: Post, pipe: Pipe) -> Callable[[], Any]:
    rest = b""

    async def following() -> tuple[str, dict[str, Any]]:
        nonlocal rest
        preface = Preface()
        found = preface.feed(rest)
        while found is None:
            found = preface.feed(await pipe.read())
        rest = found[2]
        return found[0], found[1]

    return following


async def test_a_port_of_the_host(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    listen = post.pipe("listen", address="127.0.0.1", port=port)
    following = await connections(post, listen)
    assert (await following())[0] == "open"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    word, told = await following()
    assert (word, told["connection"], told["ip"]) == ("connection", 1, "127.0.0.1")
    pipe = post.pipe("accept", connection=1)
    assert (await post.answer(pipe))[0] == "open"
    writer.write(b"in")
    assert await pipe.read() == b"in"
    await pipe.write(b"out")
    assert await reader.read(10) == b"out"
    assert (await post.answer(post.pipe("accept", connection=1)))[0] == "error", "taken once"
    monkeypatch.setattr(forwards, "TAKE_WITHIN_S", 0.05)  # which the first, however late it was taken, had not
    late_reader, late_writer = await asyncio.open_connection("127.0.0.1", port)
    await following()
    assert await late_reader.read() == b"", "nobody took it"
    assert (await post.answer(post.pipe("accept", connection=2)))[0] == "error"
    for each in (writer, late_writer):
        each.close()
    pipe.reset("closed")
    listen.reset("closed")
