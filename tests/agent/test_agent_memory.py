"""Free memory goes back to the kernel."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import ctypes
from pathlib import Path
from agent import memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1])

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
held = [libc.malloc(4096) for _ in range(4096)]  # 16 MiB in pieces that the heap keeps, with one in use at its end
for place in held:
    ctypes.memset(place, 1, 4096)
last = libc.malloc(4096)
for place in held:
    libc.free(place)
before = resident()
assert memory.give_back()
print(before - resident())
"""


def test_free_memory_goes_back() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) > 3000, "pages"
