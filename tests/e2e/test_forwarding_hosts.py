"""Forwards over the whole way: command, WebSocket, server, link, agent, gate, target, and back as records."""

from __future__ import annotations

import hashlib
import os
import socket
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from forwarded import DEADLINE_S, echo, forwarding, read_all, serving
from ports import free_port
from shell import Shell, outrider_on

from fleet import Fleet, expect

outrider = outrider_on("loopback")
AGENT = "host-1"


def ended(fleet: Fleet, session: str) -> list[dict[str, Any]]:
    """The records of the ends of a session's connections, once the session has ended."""

    def closed() -> bool:
        return any(each["kind"] == "session.close" for each in of_session(fleet, session))

    fleet.wait_for("the end of the session", closed)
    return [each for each in of_session(fleet, session) if each["kind"] == "call.end"]


def of_session(fleet: Fleet, session: str) -> list[dict[str, Any]]:
    return [each for each in fleet.records(AGENT) if each["session"] == session]


def test_bytes_go_both_ways_and_what_went_is_on_record(loopback: Fleet, outrider: Shell) -> None:
    with serving(echo) as port:
        with forwarding(outrider, AGENT, f"0:127.0.0.1:{port}") as forward:
            with forward.connect() as sock:
                sock.sendall(b"hello")
                assert sock.recv(100) == b"hello"
                sock.shutdown(socket.SHUT_WR)
                assert read_all(sock) == b""
            status = forward.stop()
        assert status == 0
        assert "1 connection" in forward.said
    (record,) = ended(loopback, forward.session)
    assert (record["call"], record["bytes"]) == ("net.forward", 10)
    assert (record["data"]["sent"], record["data"]["received"], record["data"]["ip"]) == (5, 5, "127.0.0.1")
    (call,) = [each for each in of_session(loopback, forward.session) if each["kind"] == "call"]
    assert call["arguments"]["peer"].startswith("127.0.0.1:")
    close = next(each for each in of_session(loopback, forward.session) if each["kind"] == "session.close")
    assert close["data"]["forwarded"] == {"connections": 1, "sent": 5, "received": 5}


def test_a_side_that_has_ended_its_sending_still_reads(outrider: Shell) -> None:
    """Half-close: `ssh host cat > file`, HTTP/1.0 and many others live from it."""

    def answer_at_the_end(sock: socket.socket) -> None:
        data = read_all(sock)
        sock.sendall(hashlib.sha256(data).hexdigest().encode())

    with serving(answer_at_the_end) as port, forwarding(outrider, AGENT, f"0:127.0.0.1:{port}") as forward:
        data = os.urandom(3 << 20)
        with forward.connect() as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            assert read_all(sock).decode() == hashlib.sha256(data).hexdigest()


def test_a_dead_target_is_told_at_once(loopback: Fleet, outrider: Shell) -> None:
    with forwarding(outrider, AGENT, f"0:127.0.0.1:{free_port()}") as forward:
        with forward.connect() as sock, pytest.raises(ConnectionResetError):
            assert sock.recv(1) == b"never"
        loopback.wait_for("the reason", lambda: "Connection refused" in forward.said)


@pytest.mark.parametrize("target", ["169.254.169.254:80", "metadata.google.internal:80"])
def test_cloud_metadata_is_refused_through_socks(loopback: Fleet, outrider: Shell, target: str) -> None:
    """Dynamic forwards name everything, and everything is not what is guarded."""
    host, _, port = target.partition(":")
    with forwarding(outrider, AGENT, "-D", "0") as forward:
        for name, wanted in ((host, int(port)), ("127.0.0.1", loopback.port), ("localhost", loopback.port)):
            assert socks(forward.connect(), name, wanted)[1] == 2, name
        loopback.wait_for("the reason", lambda: "cloud metadata" in forward.said)


def socks(sock: socket.socket, host: str, port: int) -> bytes:
    """Ask a SOCKS5 server for a connection; return its answer."""
    with sock:
        return _socks(sock, host, port)


def _socks(sock: socket.socket, host: str, port: int) -> bytes:
    sock.sendall(b"\x05\x01\x00")
    assert sock.recv(2) == b"\x05\x00"
    name = host.encode()
    sock.sendall(b"\x05\x01\x00\x03" + bytes([len(name)]) + name + struct.pack("!H", port))
    return sock.recv(10)


@pytest.mark.parametrize(
    "garbage",
    [b"GET / HTTP/1.1\r\n\r\n", b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00", b"\x05\x01\x02",
     b"\x05\x01\x00\x05\x02\x00\x01",
     b"\x05\x01\x00\x05\x01\x00\x09", b"\x05\x01\x00\x05\x01\x00\x03\x02\xff\xff\x00\x50", b"\x05\x00" * 400],
)  # fmt: skip
def test_socks_garbage_ends_its_own_connection_alone(loopback: Fleet, outrider: Shell, garbage: bytes) -> None:
    with forwarding(outrider, AGENT, "-D", "0") as forward:
        with forward.connect() as sock:
            sock.sendall(garbage)
            with suppress(ConnectionResetError):
                read_all(sock)
        assert socks(forward.connect(), "127.0.0.1", loopback.port)[:2] == b"\x05\x02", "the next one is served"
        assert "Traceback" not in forward.said


def test_a_port_of_the_host_leads_here(loopback: Fleet, outrider: Shell) -> None:
    remote = free_port()
    with serving(echo) as port, forwarding(outrider, AGENT, "-R", f"{remote}:127.0.0.1:{port}") as forward:
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", remote), timeout=30) as sock:
                sock.sendall(b"from the host")
                sock.shutdown(socket.SHUT_WR)
                assert read_all(sock) == b"from the host"
    ends = ended(loopback, forward.session)
    assert [each["call"] for each in ends].count("listener.accept") == 3
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", remote), timeout=5).close()


def test_a_hundred_connections_at_once(loopback: Fleet, outrider: Shell) -> None:
    together = threading.Barrier(100)

    def one(number: int) -> bool:
        data = os.urandom(20_000)
        with forward.connect() as sock:
            together.wait(60)
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            return read_all(sock) == data

    with (
        serving(echo) as port,
        forwarding(outrider, AGENT, f"0:127.0.0.1:{port}") as forward,
        ThreadPoolExecutor(100) as many,
    ):
        assert all(many.map(one, range(100)))
    assert len(ended(loopback, forward.session)) == 100


def test_a_reader_who_stops_holds_up_himself_alone(loopback: Fleet, outrider: Shell) -> None:
    """Backpressure from end to end: the flood stops at its source, and the neighbour does not notice."""
    sent = 0
    stopped = threading.Event()

    def flood(sock: socket.socket) -> None:
        nonlocal sent
        sock.settimeout(2.0)
        piece = bytes(1 << 16)
        try:
            while sent < 1 << 30:
                sent += sock.send(piece)
        except TimeoutError:
            stopped.set()
        sock.settimeout(30.0)
        sock.sendall(piece)

    with (
        serving(flood) as many,
        serving(echo) as port,
        forwarding(outrider, AGENT, f"0:127.0.0.1:{many}", f"0:127.0.0.1:{port}") as forward,
        forward.connect() as lazy,
    ):
        assert lazy.recv(1) == b"\0"
        assert stopped.wait(60), "nothing stops the flood"
        assert sent < 64 << 20
        with forward.connect(1) as sock:
            sock.sendall(b"still here")
            assert sock.recv(100) == b"still here"


def test_bounds_end_connections(loopback: Fleet, outrider: Shell) -> None:
    def much(sock: socket.socket) -> None:
        sock.sendall(bytes(5 << 20))

    with serving(much) as port:
        with forwarding(outrider, AGENT, f"0:127.0.0.1:{port}", "--max-bytes", "1MiB") as forward:
            with forward.connect() as sock:
                got = 0
                with suppress(ConnectionResetError):
                    while data := sock.recv(1 << 20):
                        got += len(data)
            assert 0 < got <= 1 << 20
            loopback.wait_for("the reason", lambda: "budget" in forward.said)
            with forward.connect() as sock, pytest.raises(ConnectionResetError):
                read_all(sock)
        with forwarding(outrider, AGENT, f"0:127.0.0.1:{port}", "--ttl", "6s") as forward:
            assert forward.process.wait(DEADLINE_S) == 0
            assert "its time is over" in forward.said


def test_closing_the_session_lets_nothing_through_any_more(loopback: Fleet, outrider: Shell) -> None:
    with serving(echo) as port, forwarding(outrider, AGENT, f"0:127.0.0.1:{port}") as forward:
        with forward.connect() as sock:
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"
            expect(loopback.api.post(f"/api/v1/sessions/{forward.session}/close", json={"reason": "enough"}), 200)
            with suppress(ConnectionResetError):
                assert sock.recv(1) == b""
        # It listens on until the server next looks at the session, or not any more.
        with pytest.raises((ConnectionResetError, ConnectionRefusedError)), forward.connect() as sock:
            assert sock.recv(1) == b"never"


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (["5432"], "5432:localhost:5432"), (["x:db:1"], "'x'"), (["1:db:0"], "port"), (["1:127.1:5"], "127.1"),
        (["[::1:1:db:5"], "brackets"), (["-D", "70000"], "70000"), (["-R", "0:db:5"], "port of the host"),
        ([], "what to forward"), (["1:db:2", "--ttl", "soon"], "soon"), (["example:1:db:5"], "no address"),
    ],
)  # fmt: skip
def test_what_is_typed_wrong_is_named(outrider: Shell, words: list[str], word: str) -> None:
    called = outrider("forward", AGENT, *words)
    assert called.status == 2
    assert word in called.err
