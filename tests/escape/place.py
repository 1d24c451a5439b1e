"""Where an attack happens: a directory that calls may read, and beside it what they must not."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: What the manifest of the battery declares, by the names that calls use.
COMMANDS = {
    "echo": ("/usr/bin/echo",),
    "env": ("/usr/bin/env",),
    "endless": ("/usr/bin/yes",),
    "fds": ("/usr/bin/ls", "/proc/self/fd"),
    "tool": ("/usr/bin/uname",),
    "ip": ("/usr/sbin/ip",),
    "df": ("/bin/sh", "-c"),  # a manifest that lies
}


@dataclass(frozen=True, slots=True)
class Place:
    """The files of one technique, and the other local user who arranges them."""

    root: Path
    port: int = 0  # of a listener on the loopback
    agent: int = field(default_factory=os.getpid)
    token: str = field(default_factory=lambda: f"canary{secrets.token_hex(12)}")

    @property
    def secret(self) -> Path:
        """A file outside; holds the token."""
        return self.root / "secret"

    @property
    def open(self) -> Path:
        """The one directory that calls may read."""
        return self.root / "open"

    @property
    def touched(self) -> Path:
        """Is not there, and can be made by an escape only."""
        return self.root / "touched"

    def meanwhile(self, step: Callable[[], None]) -> Callable[[], object]:
        """Do ``step`` over and over beside the attack; return what ends that."""
        stop = threading.Event()

        def go_on() -> None:
            while not stop.is_set():
                step()

        going = threading.Thread(target=go_on)
        going.start()
        return lambda: (stop.set(), going.join())

    def make(self) -> None:
        """Make the files. Everybody on the machine may read and write here, so only walls and guards are in the way."""
        self.root.chmod(0o777)
        self.secret.write_text(f"{self.token} {self.token}")  # twice, so that a parser of any language trips over it
        self.secret.chmod(0o666)
        self.open.mkdir()
        self.open.chmod(0o777)

    def parameters(self) -> dict[str, Any]:
        """Return what scripts and attacks are told."""
        return {
            "secret": str(self.secret), "touched": str(self.touched), "open": str(self.open), "port": self.port,
            "agent": self.agent,
        }  # fmt: skip
