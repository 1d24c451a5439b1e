"""Processes that tests watch from outside: held by pidfds, so that no stranger with the same number is meant."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from stdlib.processes.process import Process
from stdlib.processes.start import Program

GONE_S = 20.0  # what is killed goes at once; a loaded machine may take its time to say so


class Watched:
    """Some processes."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._held = {}
        for pid in pids:
            with suppress(ProcessLookupError):  # gone already
                self._held[pid] = os.pidfd_open(pid)

    def __len__(self) -> int:
        return len(self._held)

    def alive(self) -> set[int]:
        """Those that have not ended."""
        poller = select.poll()
        for held in self._held.values():
            poller.register(held, select.POLLIN)
        ended = {held for held, _ in poller.poll(0)}
        return {pid for pid, held in self._held.items() if held not in ended}

    def wait(self) -> set[int]:
        """Those that are still there after GONE_S; empty as soon as all have ended. Closes."""
        ends = time.monotonic() + GONE_S
        poller = select.poll()
        waiting = {held: pid for pid, held in self._held.items()}
        for held in waiting:
            poller.register(held, select.POLLIN)
        while waiting and time.monotonic() < ends:
            for held, _ in poller.poll(1000):
                poller.unregister(held)
                waiting.pop(held)
        self.end()
        return set(waiting.values())

    def end(self) -> None:
        """Kill what is left and close."""
        for held in self._held.values():
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(held, signal.SIGKILL)
            os.close(held)
        self._held.clear()


async def lines(process: Process, count: int) -> list[str]:
    """The first lines that a program prints."""
    assert process.stdout is not None
    kept = b""
    while kept.count(b"\n") < count:
        data = await process.stdout.read()
        assert data, f"it printed only {kept!r}"
        kept += data
    return kept.decode().splitlines()


async def rest(process: Process) -> bytes:
    """All that a program prints until its end."""
    assert process.stdout is not None
    kept = b""
    while data := await process.stdout.read():
        kept += data
    return kept


def shell(script: str, **more: Any) -> Program:
    return Program("/bin/sh", ("sh", "-c", script), **more)


def everybodys_python() -> str:
    """An interpreter that other users can run as well, if this host has one."""
    system = Path("/usr/bin/python3")
    return str(system) if system.exists() else sys.executable


def python(source: str, **more: Any) -> Program:
    """A program in Python that starts quickly."""
    return Program(everybodys_python(), ("python", "-I", "-S", "-c", source), **more)


def children(pid: int) -> list[int]:
    """Those of a process; of one that has ended meanwhile, none."""
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
