"""Real clients through a forward: curl, psql, ssh, redis-cli. What is not installed is skipped, with its name."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from forwarded import forwarding
from ports import free_port
from shell import Shell, outrider_on

from bench.peers import own_sshd
from fleet import Fleet

outrider = outrider_on("loopback")
AGENT = "host-1"
POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
NOBODY = "nobody"  # who runs the database, which refuses to run as root


def needs(*tools: str) -> pytest.MarkDecorator:
    missing = [tool for tool in tools if shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def said(*command: str, **environment: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, env={**os.environ, **environment}
    )
    assert done.returncode == 0, f"{command}: {done.returncode} {done.stdout} {done.stderr}"
    return done.stdout


@needs("curl")
def test_curl(loopback: Fleet, outrider: Shell) -> None:
    with forwarding(outrider, AGENT, f"0:localhost:{loopback.port}") as forward:
        url = f"http://127.0.0.1:{forward.ports[0]}/api/v1/openapi.json"
        assert said("curl", "-sSf", url).startswith("{")
        assert said("curl", "-sSf", "-Z", *[url] * 20).count('"openapi"') == 20


@needs("curl")
def test_curl_through_socks(loopback: Fleet, outrider: Shell) -> None:
    with forwarding(outrider, AGENT, "-D", "0", "--allow", f"localhost:{loopback.port}") as forward:
        proxy = f"socks5h://127.0.0.1:{forward.ports[0]}"
        assert "alive" in said("curl", "-sSf", "-x", proxy, f"http://localhost:{loopback.port}/livez", no_proxy="")


@needs("ssh", "sshd", "ssh-keygen")
def test_ssh(outrider: Shell) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="outrider-ssh-") as directory,
        own_sshd(Path(directory)) as port,
        forwarding(outrider, AGENT, f"0:127.0.0.1:{port}") as forward,
    ):
        options = [
                "-F", "none", "-p", str(forward.ports[0]), "-i", f"{directory}/user", "-o", "LogLevel=ERROR",
                "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectionAttempts=20",
            ]  # fmt: skip
        host = f"{pwd.getpwuid(os.getuid()).pw_name}@127.0.0.1"
        assert said("ssh", *options, host, "printf '%s' through; exit 0") == "through"
        assert len(said("ssh", *options, host, "head -c 3000000 /dev/zero | tr '\\0' x")) == 3_000_000


@contextmanager
def postgres() -> Iterator[int]:
    """Run an own PostgreSQL on a free port of loopback."""
    tools, port = POSTGRES[-1].parent, free_port()
    as_nobody = ["setpriv", "--reuid", NOBODY, "--clear-groups", "--"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="outrider-pg-") as directory:
        data = Path(directory) / "data"
        data.mkdir(mode=0o700)
        if as_nobody:
            Path(directory).chmod(0o755)
            shutil.chown(data, NOBODY)
        said(*as_nobody, str(tools / "initdb"), "-D", str(data), "-A", "trust", "-U", "tester", "--no-sync")
        process = subprocess.Popen(
            [*as_nobody, str(tools / "postgres"), "-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", "", "-F"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            yield port
        finally:
            process.terminate()
            process.wait()


@needs("psql", "setpriv")
@pytest.mark.skipif(not POSTGRES, reason="not installed: postgres")
def test_psql(loopback: Fleet, outrider: Shell) -> None:
    with postgres() as port, forwarding(outrider, AGENT, f"0:localhost:{port}") as forward:
        ask = ["psql", "-h", "127.0.0.1", "-p", str(forward.ports[0]), "-U", "tester", "-At", "postgres", "-c"]

        def answers() -> bool:
            return subprocess.run([*ask, "select 1"], capture_output=True, timeout=60).returncode == 0

        loopback.wait_for("the database", answers)
        assert said(*ask, "select sum(n) from generate_series(1, 1000) n").strip() == "500500"
        assert len(said(*ask, "select repeat('x', 1000) from generate_series(1, 3000)")) == 3000 * 1001


@needs("redis-cli", "redis-server")
def test_redis_cli(loopback: Fleet, outrider: Shell) -> None:
    port = free_port()
    process = subprocess.Popen(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""], stdout=subprocess.DEVNULL
    )
    try:
        with forwarding(outrider, AGENT, f"0:localhost:{port}") as forward:
            ask = ["redis-cli", "-p", str(forward.ports[0])]
            loopback.wait_for(
                "redis", lambda: "PONG" in subprocess.run([*ask, "PING"], capture_output=True, text=True).stdout
            )
            said(*ask, "SET", "x", "y" * 100_000)
            assert said(*ask, "GET", "x").strip() == "y" * 100_000
    finally:
        process.terminate()
        process.wait()
