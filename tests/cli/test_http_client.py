"""HTTP as the command line speaks it, against a server that says what it is told, well or not."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from loopback import DEADLINE_S, Answered, Asked, Loopback, answer, loopback

from cli.http_client import READ_BYTES, Http, HttpError, NoConnectionError, SilenceError

BODY = os.urandom(3 * READ_BYTES + 17)


def no_roots() -> ssl.SSLContext:
    raise AssertionError("plain http needs nobody who vouches")


@contextmanager
def speaking(told: Answered) -> Iterator[tuple[Http, Loopback]]:
    with loopback(lambda _asked: told) as server:
        http = Http(server.url, connect_s=DEADLINE_S, roots=no_roots)
        yield http, server
        http.close()


def chunked(*pieces: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\nx-trailer: 1\r\n\r\n"


WAYS = {
    "a length": answer(200, BODY),
    "chunks": chunked(BODY[:1], BODY[1:100_000], BODY[100_000:]),
    "its end": [b"HTTP/1.1 502 Bad\r\n\r\n", BODY],
    "one before it": b"HTTP/1.1 100 Continue\r\n\r\n" + answer(200, BODY),
}


@pytest.mark.parametrize("way", WAYS)
def test_an_answer_comes_as_it_was_sent(way: str) -> None:
    with speaking(WAYS[way]) as (http, _):
        got = http.ask("GET", "/x", {}, DEADLINE_S)
        assert got.status == (502 if way == "its end" else 200)
        assert (got.read(5), got.read(0)) == (BODY[:5], b"")
        parts = list(iter(lambda: got.part(70_000), b""))
        assert b"".join(parts) == BODY[5:]
        assert max(map(len, parts)) <= 70_000
        assert got.read(1) == b""


@pytest.mark.parametrize("way", ["a length", "chunks"])
def test_one_connection_does_for_one_request_after_the_other(way: str) -> None:
    with speaking(WAYS[way]) as (http, server):
        for _ in range(3):
            got = http.ask("GET", "/x", {}, DEADLINE_S)
            assert got.read(len(BODY) + 1) == BODY
            got.close()
        assert server.connections == 1


def test_an_answer_that_was_not_read_to_its_end_ends_the_connection() -> None:
    """What is left of it would be taken for the next answer."""
    with speaking(WAYS["chunks"]) as (http, server):
        for _ in range(2):
            got = http.ask("GET", "/x", {}, DEADLINE_S)
            got.read(10)
            got.close()
        assert server.connections == 2


@pytest.mark.parametrize(
    "more", [answer(200, b"another"), b"rubbish", b"\0"], ids=["an answer that nobody asked for", "words", "a byte"]
)
def test_what_comes_behind_an_answer_is_nobodys(more: bytes) -> None:
    with speaking(answer(200, b"one") + more) as (http, _):
        for _ in range(2):
            got = http.ask("GET", "/x", {}, DEADLINE_S)
            assert got.read(100) == b"one"
            got.close()


def test_a_connection_that_the_server_has_closed_meanwhile_is_not_asked_again() -> None:
    with speaking(answer(200, b"one")) as (http, server):
        for number in (1, 2):
            got = http.ask("GET", "/x", {}, DEADLINE_S)
            assert got.read(100) == b"one"
            got.close()
            (kept,) = http._idle
            server.open[-1].shutdown(socket.SHUT_RDWR)
            assert kept.sock.recv(1, socket.MSG_PEEK) == b""  # it has come
            assert server.connections == number


@pytest.mark.parametrize(
    "told",
    [
        b"no HTTP at all\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        [b"HTTP/1.1 200"],
        [b"HTTP/1.1 200 OK\r\nx: y\r\n\r\n", b"{}"],
        [],
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 1_000_000,
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 1_000,
    ],
    ids=["words", "upgrade", "half a head", "no end", "nothing", "long line", "many lines"],
)
def test_what_is_no_answer_is_refused(told: Answered) -> None:
    with speaking(told) as (http, _), pytest.raises(HttpError):
        http.ask("GET", "/x", {}, DEADLINE_S)


@pytest.mark.parametrize(
    "told",
    [
        [b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"],
        [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nzzz\r\n",
    ],
    ids=["length", "chunks", "no chunk"],
)
def test_a_body_that_breaks_off_is_no_shorter_body(told: Answered) -> None:
    with speaking(told) as (http, _), pytest.raises(HttpError):
        http.ask("GET", "/x", {}, DEADLINE_S).read(10)


def pieces_in_one_place() -> Iterator[memoryview]:
    """As a file is read: each piece where the one before it was."""
    room = memoryview(bytearray(READ_BYTES))
    for at in range(0, len(BODY), READ_BYTES):
        size = len(BODY[at : at + READ_BYTES])
        room[:size] = BODY[at : at + READ_BYTES]
        yield room[:size]
        yield room[:0]


@pytest.mark.parametrize("headers", [{}, {"Content-Length": str(len(BODY))}], ids=["chunks", "length"])
def test_pieces_arrive_as_one_body(headers: dict[str, str]) -> None:
    with speaking(answer(200)) as (http, server):
        for _ in range(2):
            got = http.ask("PUT", "/x", headers, DEADLINE_S, pieces=pieces_in_one_place())
            assert got.read(1) == b""
            got.close()
        assert [asked.body == BODY for asked in server.asked] == [True, True]
        assert server.connections == 1


@pytest.mark.parametrize(("method", "length"), [("POST", "0"), ("PUT", "0"), ("GET", None), ("DELETE", None)])
def test_a_request_without_a_body_says_so_where_one_is_usual(method: str, length: str | None) -> None:
    with speaking(answer(204)) as (http, server):
        http.ask(method, "/x", {}, DEADLINE_S).close()
        assert server.asked[0].headers.get("content-length") == length


def test_nothing_in_a_path_or_a_header_begins_another_line() -> None:
    with speaking(answer(200)) as (http, server):
        http.ask("GET", "/a b\r\nx: y/ä%2F?q=\0", {}, DEADLINE_S).close()
        assert server.asked[0].target == "/a%20b%0D%0Ax:%20y/%C3%A4%2F?q=%00"
        with pytest.raises(HttpError, match="header"):
            http.ask("GET", "/", {"Authorization": "Bearer x\r\nx: y"}, DEADLINE_S)
        assert len(server.asked) == 1


@contextmanager
def refusing(told: bytes, *, reads: int) -> Iterator[tuple[Http, threading.Event]]:
    """Serve one connection: read some, answer, and read on only when the client is gone."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        answered = threading.Event()

        def serve() -> None:
            sock, _ = listening.accept()
            with sock:
                sock.settimeout(DEADLINE_S)
                while sock.recv(reads).count(b"\r\n\r\n") == 0:
                    pass
                sock.sendall(told)
                answered.set()
                while sock.recv(65536):
                    pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield Http(f"http://127.0.0.1:{listening.getsockname()[1]}", connect_s=DEADLINE_S, roots=no_roots), answered
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


def test_the_rest_of_a_body_is_not_sent_once_it_was_refused() -> None:
    with refusing(answer(403, b"no"), reads=64) as (http, answered):
        given = 0

        def endless() -> Iterator[bytes]:
            nonlocal given
            yield b"first"
            answered.wait(DEADLINE_S)
            while True:
                given += 1
                yield bytes(1000)

        got = http.ask("PUT", "/x", {}, DEADLINE_S, pieces=endless())
        assert (got.status, got.read(10)) == (403, b"no")
        got.close()
        assert given <= 1  # looked at, and not sent
        assert http._idle == []  # the server still waits for the rest


def test_nobody_there_is_told_from_somebody_who_hangs_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(NoConnectionError):
        Http(f"http://127.0.0.1:{port}", connect_s=DEADLINE_S, roots=no_roots).ask("GET", "/", {}, DEADLINE_S)


def test_silence_has_an_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        http = Http(f"http://127.0.0.1:{listening.getsockname()[1]}", connect_s=DEADLINE_S, roots=no_roots)
        with pytest.raises(SilenceError):
            http.ask("GET", "/", {}, 0.05)
        with pytest.raises(SilenceError):
            http.ask("PUT", "/", {}, 0.05, pieces=iter(lambda: bytes(READ_BYTES), None))


def test_https_is_not_spoken_to_whom_nobody_vouches_for() -> None:
    """A server of plain text is none of https either."""
    with loopback(lambda _asked: answer(200)) as server:
        http = Http(server.url.replace("http:", "https:"), connect_s=DEADLINE_S, roots=ssl.create_default_context)
        with pytest.raises(NoConnectionError):
            http.ask("GET", "/", {"Authorization": "Bearer secret"}, DEADLINE_S)
        assert server.asked == []


def test_no_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the environment would see the token."""
    with loopback(lambda _asked: answer(200)) as proxy, loopback(lambda _asked: answer(200)) as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("all_proxy", proxy.url)
        Http(f"{server.url}/below/", connect_s=DEADLINE_S, roots=no_roots).ask("GET", "/x", {}, DEADLINE_S).close()
        asked: Asked = server.asked[0]
        assert (asked.target, asked.headers["host"]) == ("/below/x", f"127.0.0.1:{server.port}")
        assert proxy.connections == 0
