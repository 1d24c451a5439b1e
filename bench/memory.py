"""Idle memory: the proportional set size (PSS) of a process and all below it, from the kernel's own account."""

from __future__ import annotations

from pathlib import Path


def children(pid: int) -> list[int]:
    """Return every process below ``pid`` now."""
    found: list[int] = []
    todo = [pid]
    while todo:
        parent = todo.pop()
        for task in Path(f"/proc/{parent}/task").iterdir():
            below = [int(text) for text in (task / "children").read_text(encoding="ascii").split()]
            found += below
            todo += below
    return found


def pss_bytes(pid: int) -> int:
    """Return the PSS of one process, in bytes.

    Source:
        proc(5): smaps_rollup has the sums over all mappings, in KiB.
    """
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"the kernel tells no PSS of process {pid}")


def name(pid: int) -> str:
    """Return the command line of a process, as one text."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
