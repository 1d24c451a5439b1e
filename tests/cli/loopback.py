"""A server on loopback that answers as it is told, byte for byte, so that a client does what it would in life."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import h11

DEADLINE_S = 60.0


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """Without the query."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """By name."""
        return dict(parse_qsl(urlsplit(self.target).query))


Answered = bytes | Iterable[bytes]
"""What is sent, as it stands on the wire; an iterable is sent piece by piece, for as long as somebody reads."""
Answer = Callable[[Asked], Answered]


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    """Return an answer with its length."""
    named = {"content-length": str(len(body)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in named.items()), "", ""]
    return "\r\n".join(lines).encode() + body


def of_json(value: Any, status: int = 200) -> bytes:
    """Return an answer that is JSON."""
    return answer(status, json.dumps(value).encode(), content_type="application/json")


@dataclass
class Loopback:
    """The server, while it is there."""

    answer: Answer
    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    sent_bytes: int = 0
    open: list[socket.socket] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def serve(self, listening: socket.socket) -> None:
        """Answer on each connection that comes, until there are no more."""
        while True:
            try:
                sock, _ = listening.accept()
            except OSError:
                return
            self.connections += 1
            self.open.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError, h11.RemoteProtocolError), sock:
            sock.settimeout(DEADLINE_S)
            while (asked := _request(sock)) is not None:
                self.asked.append(asked)
                told = self.answer(asked)
                for piece in (told,) if isinstance(told, bytes) else told:
                    sock.sendall(piece)
                    self.sent_bytes += len(piece)
                if not isinstance(told, bytes):
                    return


def _request(sock: socket.socket) -> Asked | None:
    connection, head, body = h11.Connection(h11.SERVER), None, b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(sock.recv(65536))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            headers = {name.decode().lower(): value.decode("latin-1") for name, value in head.headers}
            return Asked(head.method.decode(), head.target.decode(), headers, body)
        else:
            return None


@contextmanager
def loopback(told: Answer) -> Iterator[Loopback]:
    """Serve on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        made = Loopback(told, listening.getsockname()[1])
        thread = threading.Thread(target=made.serve, args=(listening,), daemon=True)
        thread.start()
        try:
            yield made
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(DEADLINE_S)
            for sock in made.open:
                sock.close()
