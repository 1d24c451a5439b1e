"""The agent's state directory: what lies where, and that only one agent works in it.

identity.key   the agent's private key, mode 600
sealing.key    what secrets for this host are sealed to, mode 600; made when it is first needed
secrets.json   secrets, as sealed, mode 600
agent.json     which server, who we are there, which roots and settings
roster.json    the newest roster seen, as signed
withdrawals.json  withdrawals seen, as signed
ceiling.yaml   what no server can lift; written by the host's owner, only read by us
frozen.json    there while the host's owner has frozen it; no server can lift that
control.sock   how the owner speaks to the running agent
spool.sqlite   records, open runs, schedules, decided fire times
state.sqlite   what scripts remember; what was damaged lies beside it
cache/         bundles by digest
blobs/         blobs that the server does not have yet, and what is being made of them
agent.lock     locked while an agent runs
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from protocol.errors import ConflictError, NotFoundError, UnavailableError


@dataclass(frozen=True, slots=True)
class StateDir:
    """Names within one state directory."""

    path: Path

    @property
    def identity(self) -> Path:
        """The agent's private key."""
        return self.path / "identity.key"

    @property
    def sealing_key(self) -> Path:
        """What opens the secrets of this host."""
        return self.path / "sealing.key"

    @property
    def secrets(self) -> Path:
        """The secrets of this host, sealed."""
        return self.path / "secrets.json"

    @property
    def config(self) -> Path:
        """Server, identity and settings."""
        return self.path / "agent.json"

    @property
    def roster(self) -> Path:
        """The newest roster seen."""
        return self.path / "roster.json"

    @property
    def withdrawals(self) -> Path:
        """The withdrawals seen."""
        return self.path / "withdrawals.json"

    @property
    def ceiling(self) -> Path:
        """What no server can lift."""
        return self.path / "ceiling.yaml"

    @property
    def owner_freeze(self) -> Path:
        """There while the owner has frozen this host."""
        return self.path / "frozen.json"

    @property
    def spool(self) -> Path:
        """The durable store."""
        return self.path / "spool.sqlite"

    @property
    def journal(self) -> Path:
        """What changes of files are undone from."""
        return self.path / "journal"

    @property
    def state(self) -> Path:
        """What scripts remember."""
        return self.path / "state.sqlite"

    @property
    def blobs(self) -> Path:
        """Blobs on their way."""
        return self.path / "blobs"

    @property
    def cache(self) -> Path:
        """Bundles by digest."""
        return self.path / "cache"

    def create(self) -> None:
        """Make the directory and what must be in it, for us alone.

        Raises:
            UnavailableError: It cannot be made.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.cache.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise UnavailableError(f"{error.filename} cannot be made: {error.strerror}") from error
        self.check()

    def check(self) -> None:
        """Refuse a directory in which others could exchange our files.

        Raises:
            NotFoundError: It is not there.
            UnavailableError: Others may write in it, or it belongs to somebody else.
        """
        try:
            status = self.path.stat()
        except OSError as error:
            raise NotFoundError(f"the state directory {self.path} is not there: {error.strerror}") from error
        if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (0, os.geteuid()):
            raise UnavailableError(f"{self.path} must be a directory of root or of the agent's user")
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise UnavailableError(f"{self.path} may be written by others; make it mode 700")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for one process; the kernel lets go of it when the process ends, however it ends.

        Raises:
            ConflictError: Another agent works in it.
            UnavailableError: The lock file cannot be opened.
        """
        try:
            descriptor = os.open(self.path / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise UnavailableError(f"{self.path} cannot be locked: {error.strerror}") from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ConflictError(f"another agent is running in {self.path}") from error
            yield
        finally:
            os.close(descriptor)

    def is_in_use(self) -> bool:
        """Does an agent work in it now? Makes no lock file: one made by root would shut the agent's own user out.

        Raises:
            UnavailableError: The lock file cannot be opened.
        """
        if not (self.path / "agent.lock").exists():
            return False
        try:
            with self.locked():
                return False
        except ConflictError:
            return True
