"""The zygote's heap."""

from __future__ import annotations

import subprocess
import sys

from sandbox import heap

SOURCE = """
import ctypes, sys
from sandbox import heap
malloc, free = ctypes.CDLL(None).malloc, ctypes.CDLL(None).free
malloc.argtypes, malloc.restype, free.argtypes = [ctypes.c_size_t], ctypes.c_void_p, [ctypes.c_void_p]
blocks = [malloc(200) for _ in range(4000)]
for block in blocks[::2]:
    free(block)
if sys.argv[1] == "fill":
    heap.fill_holes()
fresh = [malloc(200) for _ in range(200)]
print(sum(block < max(blocks) for block in fresh))
"""


def holes_used(what: str) -> int:
    done = subprocess.run([sys.executable, "-c", SOURCE, what], capture_output=True, check=True, text=True)
    return int(done.stdout)


def test_new_memory_lies_together_after_it() -> None:
    """Without it, new chunks come from the holes."""
    assert holes_used("fill") < 20
    assert holes_used("leave") > 150


def test_it_is_bounded() -> None:
    """Also if the allocator never says where its heap ends."""
    assert heap.fill_holes() <= heap.MAX_CHUNKS
