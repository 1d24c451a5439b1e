"""The demo's daemons: started as processes, their talk kept in files, and none left behind.

A daemon gets SIGTERM and a deadline, then SIGKILL. If this process dies first, even by SIGKILL, the kernel kills the
daemon for it (PR_SET_PDEATHSIG); nothing of the demo's state needs a graceful end.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from protocol.errors import DeadlineError, UnavailableError

STOP_DEADLINE_S = 8.0
POLL_S = 0.03
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LIBC = ctypes.CDLL(None, use_errno=True)


def _die_with_parent(parent: int) -> Callable[[], None]:
    """Return what a new child does before exec. The thread that forks must live as long as the child may."""

    def prepare() -> None:
        # The parent may have died between the fork and this call; then no signal will come.
        if _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0 or os.getppid() != parent:
            os._exit(127)

    return prepare


def launch(arguments: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Start ``python -m <arguments>`` in its own session, so that Ctrl-C reaches only the demo, which then stops it."""
    with log.open("ab") as file:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and our own words
            [sys.executable, "-m", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
            preexec_fn=_die_with_parent(os.getpid()),  # noqa: PLW1509 - one thread, and ctypes is loaded already
        )


def tail(log: Path, lines: int = 15) -> list[str]:
    """Return the last lines of a log, each cut to 400 characters."""
    if not log.exists():
        return []
    with log.open("r", encoding="utf-8", errors="replace") as file:
        return [line.rstrip("\n")[:400] for line in deque(file, maxlen=lines)]


@dataclass
class Daemon:
    """One daemon of the demo."""

    name: str
    arguments: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        self.process = launch(self.arguments, self.log)

    def check(self) -> None:
        """Raise if it has ended.

        Raises:
            UnavailableError: It has; the message has its status and its last words.
        """
        if self.process is not None and self.process.poll() is not None:
            raise UnavailableError(f"the {self.name} ended with status {self.process.returncode}: {self.last_words()}")

    def last_words(self) -> str:
        """Return the last line it wrote."""
        lines = tail(self.log, 1)
        return lines[0] if lines else "it said nothing"


@dataclass
class Daemons:
    """All of them, in order of their start. Use in a ``with``: leaving stops them, the last started first."""

    started: list[Daemon] = field(default_factory=list)
    tools: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __enter__(self) -> Daemons:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, daemon: Daemon) -> Daemon:
        """Start a daemon and answer for its end."""
        self.started.append(daemon)
        daemon.start()
        return daemon

    def tool(self, name: str, arguments: Sequence[str], log: Path, deadline_s: float = 30.0) -> None:
        """Run a program of ours to its end.

        Raises:
            UnavailableError: It failed; the message has its last words.
            DeadlineError: It took too long.
        """
        process = launch(arguments, log)
        self.tools.append(process)
        try:
            status = process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise DeadlineError(f"{name} did not end within {deadline_s:g} s") from None
        self.tools.remove(process)
        if status != 0:
            raise UnavailableError(f"{name} failed with status {status}: {' / '.join(tail(log, 3))}")

    def wait_for(self, what: str, look: Callable[[], bool], deadline_s: float = 20.0) -> None:
        """Look until it is so; end at once if a daemon ends.

        Raises:
            UnavailableError: A daemon ended.
            DeadlineError: It was not so in time.
        """
        end = time.monotonic() + deadline_s
        while not look():
            for daemon in self.started:
                daemon.check()
            if time.monotonic() > end:
                raise DeadlineError(f"waited {deadline_s:g} s for {what}")
            time.sleep(POLL_S)

    def stop(self) -> None:
        """End all that runs. A second Ctrl-C during this kills what is left at once."""
        processes = [daemon.process for daemon in reversed(self.started) if daemon.process] + self.tools
        running = [process for process in processes if process.poll() is None]
        try:
            for process in running:
                process.send_signal(signal.SIGTERM)
            end = time.monotonic() + STOP_DEADLINE_S
            for process in running:
                _wait(process, end - time.monotonic())
        finally:
            for process in running:
                if process.poll() is None:
                    process.kill()
                    process.wait()


def _wait(process: subprocess.Popen[bytes], timeout_s: float) -> None:
    try:
        process.wait(max(timeout_s, 0))
    except subprocess.TimeoutExpired:  # stop() kills it
        return
