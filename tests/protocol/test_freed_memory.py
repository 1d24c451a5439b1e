"""Large pieces in turn are made in memory that is there."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

PIECES = 200
PROGRAM = f"""
import resource, sys
from protocol.freed_memory import keep_freed
if sys.argv[1]:
    assert keep_freed()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    bytearray(1 << 20)
before = faults()
for _ in range({PIECES}):
    one, other = bytearray(1 << 20), bytearray(1 << 20)
    one[::4096] = other[::4096]
    del one, other
print(faults() - before)
"""


def faults(how: str) -> int:
    """Count the pages that were made anew, with memory kept if ``how`` says anything."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], check=True, capture_output=True, text=True, timeout=60)
    return int(done.stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="this C library is not glibc")
def test_pieces_in_turn_are_made_in_memory_that_is_there() -> None:
    assert faults("kept") < 2 * 512, "once, and not for each piece"
    assert faults("") > PIECES, "as it is without"
