"""Which programs come and go below a session's terminal: told by the kernel, or found by looking again and again.

Where it is looked, what lives between two looks is not seen. In both cases the list is help for whoever reads a
recording, and no proof. What a program was given is redacted as in ``proc.cmdline``.
"""

from __future__ import annotations

import os
from typing import Any, Final

from stdlib.proc_secrets import redacted
from stdlib.processes import tree

MAX_SEEN: Final = 256  # processes below one terminal; what is above is not told
MAX_ARGUMENTS: Final = 16
MAX_ARGUMENT_CHARACTERS: Final = 200


class Offshoots:
    """What is below one process.

    Args:
        root: Whose descendants are told of: the minder, to which also daemons fall.
    """

    def __init__(self, root: int) -> None:
        self._root = root
        self._known: dict[int, tuple[int, list[str]]] = {}  # pid -> start time and argv

    def look(self) -> list[dict[str, Any]]:
        """Return what began and ended since the last look, or since the kernel told of it."""
        told: list[dict[str, Any]] = []
        now: dict[int, tuple[int, list[str]]] = {}
        for pid, parent in tree.descendants(self._root):
            began = _began(pid)
            if began is None or len(now) >= MAX_SEEN:
                continue
            argv = _argv(pid)
            known = self._known.get(pid)
            if not argv and known is not None and known[0] == began:
                argv = known[1]  # it is on its way out: its memory goes before itself
            now[pid] = began, argv
            if argv and known != (began, argv):
                told.append({"what": "started", "pid": pid, "parent": parent, "argv": argv})
        for pid, (began, argv) in self._known.items():
            if argv and (pid not in now or now[pid][0] != began):
                told.append({"what": "ended", "pid": pid, "argv": argv[:1]})
        self._known = now
        return told

    def executed(self, pid: int) -> dict[str, Any] | None:
        """The kernel says that a process began a program; return what is told of it.

        One that is over already has no argv any more.
        """
        if pid not in self._known and len(self._known) >= MAX_SEEN:
            return None
        argv, began = _argv(pid), _began(pid)
        if argv and self._known.get(pid) == (began, argv):
            return None  # it was looked at first
        self._known[pid] = began or 0, argv or ["?"]
        return {"what": "started", "pid": pid, "parent": tree.parent_of(pid) or 0, "argv": argv}

    def ended(self, pid: int, status: int) -> dict[str, Any] | None:
        """The kernel says that a process ended; return what is told of it if its beginning was told.

        Args:
            pid: Which.
            status: As wait(2) has it.
        """
        known = self._known.pop(pid, None)
        if known is None or not known[1]:
            return None
        code = os.waitstatus_to_exitcode(status)
        how = {"code": code} if code >= 0 else {"signal": -code}
        return {"what": "ended", "pid": pid, "argv": known[1][:1], **how}


def _began(pid: int) -> int | None:
    """Return when a process began, in ticks; None if it has ended (proc(5), /proc/pid/stat: state is 3, start 22)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return None if fields[0] in (b"Z", b"X") else int(fields[19])
    except (OSError, IndexError, ValueError):
        return None


def _argv(pid: int) -> list[str]:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            data = file.read(16 << 10)
    except OSError:
        return []
    parts = [part.decode("utf-8", "replace") for part in data.rstrip(b"\0").split(b"\0")] if data else []
    return [part[:MAX_ARGUMENT_CHARACTERS] for part in redacted(parts)[:MAX_ARGUMENTS]]
