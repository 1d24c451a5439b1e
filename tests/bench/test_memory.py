"""Memory as the kernel accounts for it."""

from __future__ import annotations

import os
import subprocess
import sys

from bench.memory import children, name, pss_bytes


def test_pss_of_this_process_is_plausible() -> None:
    """PSS is at most what is resident, and an interpreter is larger than a megabyte."""
    with open("/proc/self/statm", encoding="ascii") as file:
        resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    assert 1_000_000 < pss_bytes(os.getpid()) <= resident * 1.2


def test_children_are_found_by_name() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "print(1, flush=True); input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"1\n", "it runs its own program by now"
        assert process.pid in children(os.getpid())
        assert "input()" in name(process.pid) or "python" in name(process.pid)
    finally:
        process.communicate(b"\n")
    assert process.pid not in children(os.getpid())
