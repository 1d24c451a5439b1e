"""A command ``outrider forward`` that runs, and small servers of TCP to lead it to."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shell import ROOT, Shell

from fleet import Fleet, expect

DEADLINE_S = 60.0


@dataclass
class Forward:
    """One command that forwards."""

    process: subprocess.Popen[bytes]
    log: Path
    session: str
    ports: list[int]

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def connect(self, which: int = 0) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.ports[which]), timeout=DEADLINE_S)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(DEADLINE_S)


def let_reach_loopback(fleet: Fleet) -> None:
    """Grant what no default grant gives: forwards to the host's own loopback."""
    body = {
        "who": "role:admin", "kinds": ["forward"], "tier": "admin", "target": "*",
        "targets": ["localhost", "127.0.0.0/8", "[::1]"],
    }  # fmt: skip
    expect(fleet.api.post("/api/v1/access", json=body), 201)


@contextmanager
def forwarding(shell: Shell, *words: str) -> Iterator[Forward]:
    """Run ``outrider forward`` until the block ends."""
    log = shell.home / f"forward-{os.urandom(4).hex()}.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "forward", *words, "--json", "--reason", "T-1"], cwd=ROOT,
            env=shell.environment, stdout=subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    assert process.stdout is not None
    try:
        ready, _, _ = select.select([process.stdout], [], [], DEADLINE_S)
        line = process.stdout.readline() if ready else b""
        assert line, f"{words}: {process.poll()} {log.read_text(errors='replace')}"
        told = json.loads(line)
        made = Forward(process, log, told["session"], [each["port"] for each in told["listening"]])
        yield made
        made.stop()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@contextmanager
def serving(serve: Callable[[socket.socket], Any], host: str = "127.0.0.1") -> Iterator[int]:
    """Serve each connection on a thread of its own; yields the port."""
    listening = socket.socket()
    listening.bind((host, 0))
    listening.listen(256)
    threads: list[threading.Thread] = []
    is_over = threading.Event()

    def one(sock: socket.socket) -> None:
        with sock:
            try:
                serve(sock)
            except OSError:  # the other end went first
                return

    def accept() -> None:
        while not is_over.is_set():
            try:
                sock, _ = listening.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=one, args=(sock,), daemon=True))
            threads[-1].start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield int(listening.getsockname()[1])
    finally:
        is_over.set()
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        accepting.join(DEADLINE_S)


def echo(sock: socket.socket) -> None:
    """Send back what comes, and end when it ends."""
    while data := sock.recv(65536):
        sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)


def read_all(sock: socket.socket) -> bytes:
    parts = []
    while data := sock.recv(1 << 20):
        parts.append(data)
    return b"".join(parts)
