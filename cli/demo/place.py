"""Where a demo lives: its directory, its lock, its port."""

from __future__ import annotations

import fcntl
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from protocol.errors import ConflictError, UnavailableError

HOST = "127.0.0.1"
DEFAULT_PORT = 7443


@dataclass(frozen=True)
class Place:
    """The files of a demo. All of it may be deleted when the demo does not run."""

    directory: Path
    port: int

    @property
    def url(self) -> str:
        """Where the server listens."""
        return f"http://{HOST}:{self.port}"

    @property
    def server(self) -> Path:
        """The server's directory."""
        return self.directory / "server"

    @property
    def agent(self) -> Path:
        """The agent's state directory."""
        return self.directory / "agent"

    @property
    def keys(self) -> Path:
        """The people's private keys."""
        return self.directory / "keys"

    @property
    def context(self) -> Path:
        """What lets ``outrider`` in the directory above talk to this demo."""
        return self.directory / "context.yaml"

    def log(self, name: str) -> Path:
        """The file that gets what a daemon says."""
        return self.directory / f"{name}.log"

    def make(self) -> None:
        """Make the directories, for this user only."""
        for directory in (self.directory, self.keys, self.agent):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)


def lock(directory: Path) -> int:
    """Take the demo's lock; the descriptor holds it until it is closed or this process ends.

    Raises:
        ConflictError: A demo runs in this directory.
    """
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise ConflictError(
            f"a demo runs in {directory} already (process {owner}); stop it with Ctrl-C there"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


def free_port() -> int:
    """Return a port of loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def check_port(port: int) -> None:
    """Raise if the port is taken.

    Raises:
        UnavailableError: It is; the message says what to do.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            other = port + 1 if port < 65535 else port - 1
            raise UnavailableError(
                f"port {port} of {HOST} cannot be used ({error.strerror}): is another demo running? "
                f"Take another with: outrider demo --port {other}"
            ) from None
