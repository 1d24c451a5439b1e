"""Connections as handles: opened where it is allowed, used from both languages, closed with the run."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from netlab import LOOPBACK, Authority, Granted, host, serving
from ports import free_port
from running import Kept
from visiting import all_back

from policies.decide import Effective, Layer, decide_effective
from policies.load import load_policy
from protocol.errors import ArgumentError, DeadlineError, DeniedError, UnavailableError
from sandbox.budget import Budget
from sandbox.gate import Gate
from sandbox.launch import Outcome, Program, Sandbox
from sandbox.parties import Session
from stdlib.catalogue import load
from stdlib.host import Host, RunContext
from stdlib.net_streams import (
    Datagrams,
    NetConnection,
    accept,
    connect,
    finish,
    listen,
    read,
    receive,
    send,
    udp,
    unix,
    write,
)
from stdlib.network.connection import Connection
from stdlib.paths import resolve

POLICY = """
tier: admin
extends: admin
allow:
  - {call: net.*, targets: [127.0.0.1, "[::1]"]}
  - {call: net.unix, paths: [/tmp/**, /var/tmp/**]}
"""


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()  # from Python 3.12.1 on, a server that is left waits for its connections


async def run(sandbox: Sandbox, language: str, source: str, kept: Kept | None = None, **parameters: Any) -> Outcome:
    policy, context = load_policy(POLICY, "mine.yaml"), RunContext(parameters)
    allowed = Effective((Layer(policy.name, policy.rules, policy.limits),))
    gate = Gate(
        load(), lambda call, facts: decide_effective(allowed, call, facts), kept or Kept(),
        Session("s1", "r1", "tester"), Budget(policy.limits), Host(), context, on_close=context.end,
    )  # fmt: skip
    main = {"lua": "main.lua", "python": "main.py"}[language]
    return await sandbox.run(Program(language, main, {main: source.encode()}, parameters), gate, policy.limits)


CONNECT = {
    "lua": """
local c = net.connect("127.0.0.1", param("port"))
local sent = c:write("hello")
local heard = c:read()
c:finish()
return {c.ip, sent, heard, c:read() == nil}""",
    "python": """
c = net.connect("127.0.0.1", param("port"))
sent = c.write(b"hello")
heard = c.read()
c.finish()
result = [c.ip, sent, heard.decode(), c.read() is None]""",
}


@pytest.mark.parametrize("language", ["lua", "python"])
async def test_a_script_talks_to_a_server(sandbox: Sandbox, language: str) -> None:
    kept = Kept()
    async with serving(echo) as port:
        outcome = await run(sandbox, language, CONNECT[language], kept, port=port)
    assert (outcome.status, outcome.result) == ("ok", [LOOPBACK, 5, "hello", True]), outcome.reason
    opened = [(r["kind"], r["verdict"]) for r in kept.records if r["call"] == "net.connect"]
    assert opened[:2] == [("intent", "allow"), ("call", "allow")]
    assert opened[2][0] == "call.end"


async def test_a_run_that_ends_closes_what_it_opened(sandbox: Sandbox) -> None:
    ended = asyncio.Event()

    async def listening(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        if await reader.read() == b"":
            ended.set()

    async with serving(listening) as port:
        outcome = await run(sandbox, "lua", 'net.connect("127.0.0.1", param("port"))\nerror("early")', port=port)
        assert outcome.status == "error"
        await asyncio.wait_for(ended.wait(), 60)


async def test_what_is_not_named_is_denied(sandbox: Sandbox) -> None:
    for source in (
        'net.connect("169.254.169.254", 80)', 'net.connect("127.0.0.2", 80)', 'net.udp("0.0.0.0", 53)',
        'net.connect("::", 80)', 'net.listen("0.0.0.0", 8080)', 'net.listen("::", 8080)',
    ):  # fmt: skip
        outcome = await run(sandbox, "lua", source)
        assert outcome.status == "denied", (source, outcome.reason)


# the calls themselves ------------------------------------------------------------------------------------------------


async def test_rebinding_and_denial() -> None:
    for call in (connect, udp):
        with pytest.raises(DeniedError):
            await call(host(["127.0.0.1"]), Granted(["web.test"]), "web.test", 80)


async def test_tls_or_nothing() -> None:
    authority = Authority()
    async with serving(echo, tls=authority.server("127.0.0.1")) as port:
        handle = await connect(Host(), Granted(), LOOPBACK, port, tls=True, ca=authority.pem)
        assert handle.fields() == {"ip": LOOPBACK, "port": port, "tls": "TLSv1.3"}
        assert await write(handle, b"x" * 300_000) == 300_000  # type: ignore[arg-type]  # bytes by then
        heard = 0
        while heard < 300_000:
            heard += len(await read(handle) or b"")
        handle.close()
        with pytest.raises(UnavailableError, match=r"self-signed|issuer"):
            await connect(Host(), Granted(), LOOPBACK, port, tls=True)


async def test_what_comes_late_comes_to_the_next_read() -> None:
    gate = asyncio.Event()

    async def late(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        writer.write(b"late")

    async with serving(late) as port:
        handle = await connect(Host(), Granted(), LOOPBACK, port)
        with pytest.raises(DeadlineError):
            await read(handle, timeout=0.05)
        gate.set()
        assert await read(handle, 2) == b"la"
        assert await read(handle) == b"te"
        assert await read(handle) is None
        handle.close()


async def test_a_peer_that_does_not_read_ends_the_writing() -> None:
    async def deaf(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with serving(deaf) as port:
        handle = await connect(Host(), Granted(), LOOPBACK, port)
        with pytest.raises(DeadlineError):
            await write(handle, b"x" * (64 << 20), timeout=0.1)  # type: ignore[arg-type]  # bytes by then
        with pytest.raises((UnavailableError, OSError)):
            await write(handle, b"x")  # type: ignore[arg-type]  # bytes by then


async def test_datagrams_of_the_peer_only() -> None:
    kind = socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as peer, socket.socket(socket.AF_INET, kind) as other:
        peer.bind((LOOPBACK, 0))
        handle: Datagrams = await udp(Host(), Granted(), LOOPBACK, peer.getsockname()[1])
        assert await send(handle, b"ping") == 4  # type: ignore[arg-type]  # bytes by then
        said, address = peer.recvfrom(100)
        assert said == b"ping"
        other.sendto(b"forged", address)
        peer.sendto(b"pong", address)
        assert await receive(handle) == b"pong"
        with pytest.raises(DeadlineError):
            await receive(handle, timeout=0.05)
        handle.close()


async def test_listening_and_accepting() -> None:
    port = free_port()
    listener = await listen(LOOPBACK, port)
    assert listener.fields() == {"address": LOOPBACK, "port": port}
    with pytest.raises(DeadlineError):
        await accept(listener, timeout=0.05)
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    handle: NetConnection = await accept(listener)
    assert handle.fields() == {"ip": LOOPBACK, "port": writer.get_extra_info("sockname")[1]}
    await write(handle, b"welcome")  # type: ignore[arg-type]  # bytes by then
    await finish(handle)
    assert await reader.read() == b"welcome"
    with pytest.raises(UnavailableError, match="already in use"):
        await listen(LOOPBACK, port)
    writer.close()
    handle.close()
    listener.close()
    named = await listen("localhost", port)
    assert named.fields() == {"address": LOOPBACK, "port": port}
    named.close()
    with pytest.raises(ArgumentError, match=r"^address: must be an address"):
        await listen("web.example.org", port)


def full(path: Path, closing: ExitStack) -> socket.socket:
    """Return a socket that listens at ``path``, and whose queue has no place left."""
    listener = closing.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    listener.bind(str(path))
    listener.listen(0)
    while True:
        waiting = closing.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        waiting.setblocking(False)
        try:
            waiting.connect(str(path))
        except BlockingIOError:
            return listener


async def test_a_unix_socket_with_a_full_queue_holds_up_its_own_call_alone(tmp_path: Path) -> None:
    """Any user may let one listen and never accept. The loop goes on; the call waits as long as it may."""
    with ExitStack() as closing:
        full(tmp_path / "s.sock", closing)
        target = closing.enter_context(resolve(str(tmp_path / "s.sock")))
        waiting = asyncio.ensure_future(unix(target, timeout=60))
        for _ in range(100):  # turns of the loop
            await asyncio.sleep(0)
        assert not waiting.done(), "no connection is there"
        with pytest.raises(DeadlineError, match=r"s\.sock did not finish in 0\.2 s$"):
            await unix(target, timeout=0.2)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    await all_back()


@pytest.mark.usefixtures("descriptors_kept")
async def test_a_unix_socket_is_connected_once_it_has_a_place(tmp_path: Path) -> None:
    """And one that nobody wants any more is closed."""
    with ExitStack() as closing:
        listener = full(tmp_path / "s.sock", closing)
        target = closing.enter_context(resolve(str(tmp_path / "s.sock")))
        wanted, unwanted = (asyncio.ensure_future(unix(target, timeout=60)) for _ in range(2))
        await asyncio.sleep(0)
        unwanted.cancel()
        with pytest.raises(asyncio.CancelledError):
            await unwanted
        taken = [await asyncio.to_thread(listener.accept) for _ in range(3)]  # the one that filled it, and both
        connection = await wanted
        await connection.connection.send(b"hello")
        assert sorted([await asyncio.to_thread(one.recv, 8) for one, _ in taken[1:]]) == [b"", b"hello"]
        connection.close()
        for one, _ in taken:
            one.close()
    await all_back()


async def test_a_name_that_is_no_text_hides_no_end_from_the_record(tmp_path: Path, sandbox: Sandbox) -> None:
    """What went through a connection stands in the record of its end, which was lost where its path is no UTF-8."""
    kept, path = Kept(), f"{tmp_path}/s\udcff"
    server = await asyncio.start_unix_server(echo, path)
    (tmp_path / "link").symlink_to(path)
    source = 'local c = net.unix(param("path"))\nc:write("hello")\nreturn {c:read(), c.path}'
    async with server:
        outcome = await run(sandbox, "lua", source, kept, path=f"{tmp_path}/link")
    assert (outcome.reason, outcome.result) == (None, ["hello", path.encode("utf-8", "surrogateescape")])
    (end,) = [record for record in kept.records if record["kind"] == "call.end"]
    assert end["data"] == {
        "kind": "connection", "items": 0, "path": f"{tmp_path}/s\\udcff", "sent": 5, "received": 5,
    }  # fmt: skip


async def test_unix_sockets(tmp_path: Path, sandbox: Sandbox) -> None:
    path = tmp_path / "s.sock"
    server = await asyncio.start_unix_server(echo, str(path))
    (tmp_path / "link").symlink_to(path)
    (tmp_path / "file").write_text("x")
    source = 'local c = net.unix(param("path"))\nc:write("hello")\nreturn {c:read(), c.path}'
    try:
        for name in ("s.sock", "link"):
            outcome = await run(sandbox, "lua", source, path=str(tmp_path / name))
            assert (outcome.status, outcome.result) == ("ok", ["hello", str(path)]), outcome.reason
        for name, code in (("file", "invalid_argument"), ("none", "not_found")):
            source = 'local ok, failure = pcall(net.unix, param("path"))\nreturn failure.code'
            assert (await run(sandbox, "lua", source, path=str(tmp_path / name))).result == code
    finally:
        server.close()


async def still_heard(reading: asyncio.Future[bytes], other: socket.socket, before: asyncio.Future[Any]) -> None:
    """Whoever reads hears of what comes, although what waited on the same number before ends only now."""
    await asyncio.sleep(0)
    before.cancel()
    await asyncio.gather(before, return_exceptions=True)
    other.send(b"hello")
    async with asyncio.timeout(60):
        assert await reading == b"hello"


def moved(sock: socket.socket, number: int) -> socket.socket:
    """Return a socket under another number, which is free: the kernel would give it the lowest that is, and one that an
    earlier test had may have become free meanwhile.
    """
    if sock.fileno() != number:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)
        os.dup2(sock.fileno(), number, inheritable=False)
        sock.close()
        sock = socket.socket(fileno=number)
    sock.setblocking(False)
    return sock


async def test_what_is_closed_while_it_is_waited_for_takes_no_other_with_it() -> None:
    """A forward at its bound is closed while its other half waits. The number of its descriptor is given again at
    once, perhaps to another run, which was never woken then: what the loop knew of the old one was in its way.
    """

    async def pair() -> tuple[Connection, socket.socket]:
        ends = socket.socketpair()
        ends[0].setblocking(False)
        return Connection(ends[0], "mine"), ends[1]

    for wait in (lambda one: one.receive(), lambda one: one.send(b"x" * (8 << 20))):
        closed, theirs = await pair()
        number = closed._socket.fileno()
        waiting = asyncio.ensure_future(wait(closed))
        await asyncio.sleep(0)
        closed.close()
        ours, other = socket.socketpair()
        new = Connection(moved(ours, number), "mine")
        reading = asyncio.ensure_future(new.receive())
        await still_heard(reading, other, waiting)
        new.close()
        for one in (theirs, other):
            one.close()


async def test_a_listener_that_is_closed_while_it_is_waited_for_takes_no_other_with_it() -> None:
    listener = await listen(LOOPBACK, free_port())
    number = listener.socket.fileno()
    waiting = asyncio.ensure_future(accept(listener))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    listener.close()
    mine, other = socket.socketpair()
    mine = moved(mine, number)
    reading = asyncio.ensure_future(asyncio.get_running_loop().sock_recv(mine, 8))
    await still_heard(reading, other, waiting)
    mine.close()
    other.close()
