"""What implementations of calls see: the host, and the run they work for. Both are injected, so tests fake them."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from policies.model import Facts, Limits
from protocol.errors import BudgetError, UnavailableError
from protocol.redaction import Redactor
from stdlib.journal import Entry, Journal
from stdlib.kept_objects import KeptObjects
from stdlib.store import KeyValue

if TYPE_CHECKING:
    from stdlib.blobs import Blobs
    from stdlib.processes.start import Processes
    from stdlib.script import ScriptCaller
    from stdlib.secrets import SecretSource

READ_BYTES = 64 * 1024  # at once, from a file of the kernel's
#: Files of the kernel's that stay open. Each is made in one piece whenever it is read from its beginning (single_open
#: in Linux's fs/seq_file.c), so one system call does for which opening, reading, reading the end and closing are four.
KEPT = frozenset({"/proc/uptime", "/proc/loadavg", "/proc/meminfo"})
KEPT_BYTES = 8 * 1024  # the longest of them has 1.6 KiB
MAX_METRICS_CHARACTERS = 1 << 20  # of all their texts; the record of a run's end holds 64 KiB, with all else
MAX_STATUS_CHARACTERS = 256  # checks.md: status text cut at 256
MAX_ROWS_BYTES = 32 * 1024  # of a run's rows, encoded; its end is one record of 64 KiB, and its result is in it too
TEMPORARY_PREFIX = "outrider-run-"  # of directories that end with a run, by which others are kept from them

_log = logging.getLogger("outrider.stdlib")
_kept: dict[str, int] = {}  # path -> descriptor


class PeopleHere(Protocol):
    """The sessions of people on this host."""

    def sessions(self) -> list[dict[str, Any]]:
        """Return those that are open, oldest first."""

    def notice(self, session: str, text: str) -> None:
        """Show a line to who watches a terminal; NotFoundError if there is none."""

    def client(self, session: str, action: str, path: str) -> None:
        """Propose to who watches a terminal to open a path; NotFoundError if there is none."""


@dataclass(frozen=True)
class Host:
    """One host as calls reach it."""

    proc: str = "/proc"  # tests put a tree of their own here, and in the places of the next ones
    sys: str = "/sys"
    etc: str = "/etc"
    lib: str = "/lib"
    var: str = "/var"
    run: str = "/run"
    dev: str = "/dev"
    tools: tuple[str, ...] = ("/usr/sbin", "/usr/bin", "/sbin", "/bin")  # where stdlib.tools finds programs
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)  # of the agent
    clock: Callable[[], float] = time.time  # seconds since 1970 UTC
    monotonic: Callable[[], float] = time.monotonic  # seconds
    getaddrinfo: Callable[..., list[Any]] = socket.getaddrinfo  # the system's resolver
    resolver: str = "/etc/resolv.conf"  # where the name servers of the host stand
    commands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # what the manifest declares: name -> argv
    journal: Journal | None = None  # what changes of files are undone from; None: they cannot be
    scripts: Mapping[str, str] = field(default_factory=dict)  # what the manifest pins in requires: name -> digest
    processes: Processes | None = None  # what starts programs; None: nothing does
    people: PeopleHere | None = None  # who have sessions here; None: nobody can
    kept: KeptObjects | None = None  # what no call reaches by any name, as the policy keeps it; None: nothing


@dataclass(frozen=True)
class Command:
    """A command as it was decided on. As the type of a parameter: scripts give the name that the manifest declares."""

    name: str
    shown: str = ""  # the program as the manifest writes it; empty if the manifest declares no such command
    program: str = ""  # what that is here, links resolved
    arguments: tuple[str, ...] = ()  # those of the manifest, then those of the script

    @property
    def facts(self) -> Facts:
        """What is decided on: the name alone says nothing, as a manifest may give it to any program."""
        if not self.shown:
            return Facts(command=self.name)
        return Facts(command=self.name, program=self.program, arguments=self.arguments)


def declared_command(host: Host, name: str, args: Sequence[str]) -> Command:
    """Return what the manifest declares as ``name``, with these arguments after its own."""
    declared = host.commands.get(name)
    if not declared:
        return Command(name)
    return Command(name, declared[0], os.path.realpath(declared[0]), (*declared[1:], *args))


def _reread(path: str) -> str | None:
    """Return the text of one of ``KEPT``, whose descriptor stays open; None if that cannot be told in one read.

    Safe from any thread: nothing has a position, and who opens it a second time closes that again.
    """
    descriptor = _kept.get(path)
    try:
        if descriptor is None:
            fresh = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            descriptor = _kept.setdefault(path, fresh)
            if descriptor != fresh:
                os.close(fresh)
        data = os.pread(descriptor, KEPT_BYTES, 0)
    except OSError:
        return None
    return data.decode("utf-8", "surrogateescape") if 0 < len(data) < KEPT_BYTES else None


def read_kernel(host: Host, name: str) -> str:
    """Return the text of a small file of the kernel's under ``host.proc``; undecodable bytes as surrogates (PEP 383).

    Such a file is made by the kernel from memory while it is read: microseconds, and never a wait for a disk.

    Raises:
        UnavailableError: It cannot be read; says why.
    """
    path = f"{host.proc}/{name}"
    if path in KEPT:
        text = _reread(path)
        if text is not None:
            return text
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            parts = [os.read(descriptor, READ_BYTES)]
            while parts[-1]:
                parts.append(os.read(descriptor, READ_BYTES))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UnavailableError(f"{path} cannot be read: {error.strerror}") from None
    return b"".join(parts).decode("utf-8", "surrogateescape")


@dataclass
class RunContext:
    """What one run reports, what it may know of itself, and what is to be done when it has ended."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    metrics_characters: int = 0  # of all their texts
    state: str = "available"
    status_text: str = ""
    timestamp_ms: int | None = None
    changes: list[Entry] = field(default_factory=list)  # of files, that the undo journal holds; oldest first
    temporaries: list[str] = field(default_factory=list)  # directories that it made and that end with it: real paths
    watches: int = 0  # open ones of ``fs.watch``
    store: KeyValue | None = None  # what this script keeps on this host; None if nothing is kept
    secrets: SecretSource | None = None  # what this script may use; None if there are none
    blobs: Blobs | None = None  # where it puts and gets them; None if nowhere
    scripts: ScriptCaller | None = None  # calls other scripts; None if there is nobody to do so
    redactor: Redactor = field(default_factory=Redactor)  # knows the values of those that were opened
    rows: list[dict[str, Any]] = field(default_factory=list)  # what the script emitted
    rows_bytes: int = 0  # of all rows, encoded
    progress: dict[str, Any] | None = None  # the newest: ``pct`` and ``text``
    principal: str = ""  # who runs it; these words come from the agent
    reason: str = ""  # why: a ticket, a schedule
    is_dry: bool = False  # changes are decided and recorded, and not carried out
    ends_s: float | None = None  # on the host's monotonic clock: when the run is ended; None if nothing ends it
    left: Callable[[], Mapping[str, int]] = dict  # what the run may still use, by name
    limits: Limits = field(default_factory=Limits)  # of ``metrics`` and ``rows``; the gate counts the others
    ask: Callable[[str, float], Awaitable[Any]] | None = None  # the host's owner: a text, seconds; None: nobody
    _endings: list[Callable[[], Awaitable[None] | None]] = field(default_factory=list)

    def on_end(self, ending: Callable[[], Awaitable[None] | None]) -> None:
        """Have ``ending`` called when the run has ended, whatever way; last come, first called. It must not block."""
        self._endings.append(ending)

    def end(self) -> Awaitable[None] | None:
        """Call what was given to :meth:`on_end`. What one of them raises is logged, and the others are still called.

        Returns:
            What does so when it is awaited; None if there is nothing to call.
        """
        return self._end() if self._endings else None

    async def _end(self) -> None:
        while self._endings:
            try:
                waits = self._endings.pop()()
                if waits is not None:
                    await waits
            except Exception:  # noqa: BLE001 - one that fails must not keep the others from being undone
                _log.exception("something could not be undone at the end of a run")


def check_room(budget: str, used: int, limit: int) -> None:
    """Return if there is room for one more of what a run reports.

    Raises:
        BudgetError: There is none; says so as ``sandbox.budget`` does of all other limits.
    """
    if used >= limit:
        raise BudgetError(f"{budget}: {used + 1} used, the limit is {limit}", budget=budget)


def host_of_run(host: Host, run: RunContext, **more: Any) -> Host:
    """Return the host as one run or session uses it: what it changes of files is listed in ``run.changes``.

    Args:
        host: Of the agent.
        run: Which one.
        more: Fields that are the run's own.
    """
    journal = None if host.journal is None else host.journal.noting(run.changes)
    return replace(host, journal=journal, **more)
