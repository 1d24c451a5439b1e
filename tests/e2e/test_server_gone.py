"""A server that is killed in the middle: what goes on through it ends, here and on the host, and says so."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from at_keyboard import DEADLINE_S
from forwarded import echo, forwarding, let_reach_loopback, serving
from shell import ROOT, Shell

from fleet import CEILING, Fleet


def test_a_command_ends_on_both_sides(own_fleet: Fleet, tmp_path: Path) -> None:
    own_fleet.add_agent("host-1", ceiling=CEILING)
    me = Shell(tmp_path, own_fleet)
    words = ["exec", "host-1", "--reason", "T-1", "--", "/bin/sh", "-c", "echo $$; exec sleep 1000"]
    with subprocess.Popen(
        [sys.executable, "-m", "cli", *words], cwd=me.work, env={**me.environment, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
    ) as running:  # fmt: skip
        assert running.stdout is not None
        pid = int(running.stdout.readline())
        own_fleet.server.kill()
        _, said = running.communicate(timeout=DEADLINE_S)
        assert running.returncode not in (0, 143)
        assert said.strip(), "it says why"
    own_fleet.wait_for("its end on the host", lambda: not Path(f"/proc/{pid}").exists())


def test_a_forward_ends_and_its_session_with_it(own_fleet: Fleet, tmp_path: Path) -> None:
    own_fleet.add_agent("host-1", ceiling=CEILING)
    let_reach_loopback(own_fleet)
    with (
        serving(echo) as port,
        forwarding(Shell(tmp_path, own_fleet), "host-1", f"0:127.0.0.1:{port}") as forward,
        forward.connect() as sock,
    ):
        sock.sendall(b"hello")
        assert sock.recv(100) == b"hello"
        own_fleet.server.kill()
        with suppress(ConnectionResetError):
            assert sock.recv(100) == b""
        assert forward.process.wait(DEADLINE_S) != 0
        assert forward.said.strip(), "it says why"
