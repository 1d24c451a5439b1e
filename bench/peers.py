"""The peers: programs that do comparable work, used if they are installed and named as absent if not."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import processes
from bench.measure import Peer, quantile

REPEATS = 60
LUA_NAMES = ("lua5.4", "lua54", "lua")


def lua() -> str | None:
    """Return the Lua interpreter of this machine, if there is one."""
    return next((found for name in LUA_NAMES if (found := shutil.which(name))), None)


def timed_ms(arguments: list[str], repeats: int = REPEATS) -> float:
    """Return the median time of a command in ms; the first three runs only warm the caches."""
    samples = []
    for number in range(repeats + 3):
        began = time.perf_counter()
        processes.run(arguments)
        if number >= 3:
            samples.append((time.perf_counter() - began) * 1000)
    return quantile(samples, 0.5)


def bubblewrap() -> Peer:
    """Measure a fresh jail by bubblewrap that runs one line of Lua; without Lua, one that runs ``true``."""
    program = shutil.which("bwrap")
    what = [lua() or "", "-e", "return 1"] if lua() else [shutil.which("true") or "/bin/true"]
    name = f"bwrap --unshare-all {Path(what[0]).name}"
    if program is None:
        return Peer(name, absent="bwrap is not installed")
    try:
        return Peer(name, timed_ms([program, "--unshare-all", "--ro-bind", "/", "/", *what]))
    except (subprocess.SubprocessError, OSError) as error:
        return Peer(name, absent=f"bwrap does not run here: {error}")


def ssh() -> Peer:
    """Measure one line of Lua through a multiplexed OpenSSH connection to an own sshd on loopback."""
    what = [lua() or "", "-e", "'return 1'"] if lua() else ["true"]
    name = f"ssh, multiplexed, {Path(what[0]).name}"
    client, server, keygen = (shutil.which(tool) for tool in ("ssh", "sshd", "ssh-keygen"))
    server = server or next((path for path in ("/usr/sbin/sshd",) if os.access(path, os.X_OK)), None)
    missing = [tool for tool, path in (("ssh", client), ("sshd", server), ("ssh-keygen", keygen)) if not path]
    if missing or client is None or server is None or keygen is None:
        return Peer(name, absent=f"not installed: {', '.join(missing)}")
    try:
        with (
            tempfile.TemporaryDirectory(prefix="outrider-ssh-") as directory,
            own_sshd(Path(directory)) as port,
        ):
            return Peer(name, _through(Path(directory), client, port, what))
    except (subprocess.SubprocessError, OSError) as error:
        return Peer(name, absent=f"ssh does not run here: {error}")


@contextmanager
def own_sshd(directory: Path) -> Iterator[int]:
    """Run an own sshd on a free port of loopback, with fresh keys in ``directory``."""
    server, keygen = shutil.which("sshd") or "/usr/sbin/sshd", shutil.which("ssh-keygen") or "ssh-keygen"
    for key in ("host", "user"):
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(directory / key)], check=True, timeout=20)
    shutil.copy(directory / "user.pub", directory / "authorized")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    settings = {
        "Port": port, "ListenAddress": "127.0.0.1", "HostKey": directory / "host", "PidFile": "none",
        "AuthorizedKeysFile": directory / "authorized", "StrictModes": "no", "UsePAM": "no",
        "PasswordAuthentication": "no", "PermitRootLogin": "yes", "Subsystem": "sftp internal-sftp",
        "SetEnv": f"HOME={directory}",  # what this user's shell reads at its start is not ssh's time
    }  # fmt: skip
    (directory / "sshd_config").write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # its privilege separation wants it
    process = subprocess.Popen([server, "-D", "-q", "-f", str(directory / "sshd_config")])
    try:
        yield port
    finally:
        process.terminate()
        process.wait()


def _through(directory: Path, client: str, port: int, what: list[str]) -> float:
    options = [
        "-F", "none", "-p", str(port), "-i", str(directory / "user"), "-o", "StrictHostKeyChecking=no",
        "-o", f"UserKnownHostsFile={directory / 'known'}", "-o", f"ControlPath={directory / 'mux'}",
        "-o", "LogLevel=ERROR", "-o", "ConnectionAttempts=20",
    ]  # fmt: skip
    host = f"{pwd.getpwuid(os.getuid()).pw_name}@127.0.0.1"
    subprocess.run([client, *options, "-M", "-N", "-f", host], check=True, timeout=30, stdin=subprocess.DEVNULL)
    try:
        return timed_ms([client, *options, host, *what])
    finally:
        subprocess.run([client, *options, "-O", "exit", host], check=False, capture_output=True, timeout=20)


def salt() -> Peer:
    """Name Salt, whose ``cmd.run`` through a persistent client is what a one-off run is compared with."""
    name = "salt cmd.run, persistent client"
    if shutil.which("salt") is None or shutil.which("salt-master") is None:
        return Peer(name, absent="salt is not installed")
    try:
        return Peer(name, timed_ms(["salt", "--out=quiet", "*", "cmd.run", "true"], repeats=10))
    except (subprocess.SubprocessError, OSError) as error:
        return Peer(name, absent=f"salt has no master and minion running here: {error}")


def socketpair_us(size: int = 64, repeats: int = 20_000) -> float:
    """Return the median round trip of ``size`` bytes between two processes over a bare socketpair, in microseconds."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    child = os.fork()
    if child == 0:
        near.close()
        while data := far.recv(size):
            far.sendall(data)
        os._exit(0)
    far.close()
    samples = []
    payload = bytes(size)
    for _ in range(repeats):
        began = time.perf_counter()
        near.sendall(payload)
        left = size
        while left:
            left -= len(near.recv(left))
        samples.append((time.perf_counter() - began) * 1_000_000)
    near.close()
    os.waitpid(child, 0)
    return quantile(samples[repeats // 10 :], 0.5)
