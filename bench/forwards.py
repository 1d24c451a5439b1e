"""Forward throughput: one bulk connection through command, server, agent and back, beside ``ssh -L`` in the same run.

Both lead to the same source on loopback and are read by the same reader; the runs take turns, so that whatever else the
machine does falls on both. ssh has two processes on the way and encrypts; a forward has three and records.
"""

from __future__ import annotations

import json
import os
import pwd
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.measure import Better, Measure, Peer
from bench.peers import own_sshd

BYTES = 256 << 20
ROUNDS = 5
SHARE = 0.5  # of what ssh does, to reach
READY_S = 30.0


async def measure() -> list[Measure]:
    """Take it, in its own processes."""
    with tempfile.TemporaryDirectory(prefix="outrider-bench-") as directory, _source() as port:
        place = Path(directory)
        with _forward(place, port) as ours, _ssh(place, port) as theirs:
            ways = {"ours": ours, "ssh": theirs}
            found: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(ROUNDS):
                for name, way in ways.items():
                    if isinstance(way, int):
                        found[name].append(_read(way))
    value = statistics.median(found["ours"])
    peer = Peer("ssh -L", statistics.median(found["ssh"])) if found["ssh"] else Peer("ssh -L", absent=str(ways["ssh"]))
    return [
        Measure(
            "a forwarded connection, bulk", value, "MB/s", None if peer.value is None else peer.value * SHARE,
            Better.HIGHER, {"lowest": min(found["ours"]), "highest": max(found["ours"])}, (peer,),
            note=f"{BYTES >> 20} MiB, median of {ROUNDS}, in turns",
        )
    ]  # fmt: skip


def _read(port: int) -> float:
    """Return how fast everything that a port gives is read, in MB/s."""
    buffer = bytearray(1 << 20)
    began, size = time.perf_counter(), 0
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
        while count := sock.recv_into(buffer):
            size += count
    if size != BYTES:
        raise RuntimeError(f"{size} bytes came, not {BYTES}")
    return size / (time.perf_counter() - began) / 1e6


@contextmanager
def _source() -> Iterator[int]:
    """Serve BYTES to whoever connects."""
    listening = socket.create_server(("127.0.0.1", 0))
    piece = bytes(1 << 20)

    def serve() -> None:
        while True:
            try:
                sock, _ = listening.accept()
            except OSError:
                return
            with sock:
                for _ in range(BYTES // len(piece)):
                    try:
                        sock.sendall(piece)
                    except OSError:  # the reader went
                        break

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield int(listening.getsockname()[1])
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


@contextmanager
def _forward(place: Path, target: int) -> Iterator[int]:
    """Run a server, an agent and ``outrider forward``; yields the port here."""
    port, processes = _free_port(), list[subprocess.Popen[bytes]]()
    environment = {**os.environ, "OUTRIDER_SERVER": f"http://127.0.0.1:{port}"}
    where = {name: place / name for name in ("server", "agent")}

    def start(*words: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        processes.append(process)
        return process

    def told(*words: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", *words], env=environment, check=True, capture_output=True, text=True, timeout=60
        ).stdout

    try:
        told("server", "init", "--dir", str(where["server"]), "--listen", f"127.0.0.1:{port}")
        token = next(path for path in where["server"].rglob("*admin*token*")).read_text().strip()
        environment["OUTRIDER_TOKEN"] = token
        start("server", "run", "--dir", str(where["server"]))
        _until(lambda: json.loads(told("cli", "status", "--json")))
        invitation = json.loads(told("cli", "agent", "invite", "--json"))["token"]
        where["agent"].mkdir(mode=0o700)
        told(
            "agent", "enroll", "--server", environment["OUTRIDER_SERVER"], "--token", invitation, "--dir",
            str(where["agent"]), "--name", "bench",
        )  # fmt: skip
        (where["agent"] / "ceiling.yaml").write_text("highest_tier: admin\naccept_server_word: [session]\n")
        start("agent", "run", "--dir", str(where["agent"]))
        _until(lambda: json.loads(told("cli", "agent", "show", "bench", "--json"))["connected"])
        spec = ("--kind", "forward", "--tier", "admin", "--on", "bench", "--targets", f"127.0.0.1:{target}")
        told("cli", "access", "create", "admin", *spec)
        forward = start("cli", "forward", "bench", f"0:127.0.0.1:{target}", "--reason", "bench", "--json")
        if forward.stdout is None or not select.select([forward.stdout], [], [], READY_S)[0]:
            raise RuntimeError("the forward does not listen")
        yield int(json.loads(forward.stdout.readline())["listening"][0]["port"])
    finally:
        for process in reversed(processes):
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait()


@contextmanager
def _ssh(place: Path, target: int) -> Iterator[int | str]:
    """Run an own sshd and ``ssh -L``; yields the port here, or why there is none."""
    client = shutil.which("ssh")
    if client is None or not (shutil.which("sshd") or os.access("/usr/sbin/sshd", os.X_OK)):
        yield "openssh is not installed"
        return
    with own_sshd(place) as port:
        here = _free_port()
        host = f"{pwd.getpwuid(os.getuid()).pw_name}@127.0.0.1"
        process = subprocess.Popen(
            [
                client, "-F", "none", "-p", str(port), "-i", str(place / "user"), "-o", "StrictHostKeyChecking=no",
                "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectionAttempts=20", "-N",
                "-L", f"127.0.0.1:{here}:127.0.0.1:{target}", host,
            ],
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            _until(lambda: _listens(here))
            yield here
        finally:
            process.terminate()
            process.wait()


def _listens(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        return bool(sock.recv(1))


def _until(holds: object) -> None:
    """Ask until it holds; raises what the last question raised."""
    end = time.monotonic() + READY_S
    while True:
        try:
            if callable(holds) and holds():
                return
        except (OSError, subprocess.SubprocessError, ValueError):
            if time.monotonic() > end:
                raise
        if time.monotonic() > end:
            raise RuntimeError("it did not come up")
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
