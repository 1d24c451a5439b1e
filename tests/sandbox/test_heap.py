"""The zygote's heap."""

from __future__ import annotations

import subprocess
import sys

import pytest

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


ARENAS = """
import ctypes, sys
from sandbox import heap
sbrk = ctypes.CDLL(None).sbrk
sbrk.argtypes, sbrk.restype = [ctypes.c_ssize_t], ctypes.c_void_p
def in_heap(things):
    return sum(start <= id(thing) < sbrk(0) for thing in things)
start = sbrk(0)
heap.join_arenas()
kept = [[number] for number in range(60_000)]
joined = in_heap(kept)
huge = heap.join_pages()
intact = all(thing == [number] for number, thing in enumerate(kept))
heap.part_arenas()
fresh = [[number] for number in range(60_000)]
parted = in_heap(fresh)
del kept  # arenas of the heap are given back to the kernel, by the allocator that did not make them
again = [bytes(100) for _ in range(100_000)]
print(joined, huge, intact, parted, len(again))
"""


def test_what_python_holds_lies_in_one_piece() -> None:
    """From one call to the other; and it is still what it was."""
    done = subprocess.run([sys.executable, "-c", ARENAS], capture_output=True, check=True, text=True)
    joined, huge, intact, parted, again = done.stdout.split()
    assert int(joined) > 50_000
    assert int(huge) in range(6)  # 8 MB, from where one begins; 0 where the kernel gives no huge pages
    assert (intact, again) == ("True", "100000")
    assert int(parted) < 20_000  # some fill what is left of the last arena


def test_pages_of_a_heap_that_was_not_joined_are_left_alone() -> None:
    """Somebody who embeds parts of the sandbox keeps the memory that they have."""
    assert heap.join_pages() == 0


POOLS = """
import sys
from sandbox import heap

def in_a_row(size):
    make = heap._maker(size)
    made = [make() for _ in range(min(heap._BLOCKS_IN_A_ROW, heap._ROW_BYTES // size))]
    at = sorted(map(id, made))
    return all(after - before == size for before, after in zip(at, at[1:]))

kept = {size: [heap._maker(size)() for _ in range(3000)] for size in range(16, 513, 16)}
for each in kept.values():
    del each[::7]  # holes, in every pool
if sys.argv[1] == "fill":
    blocks = heap.fill_pools()
    assert blocks == len(heap._plugs) <= 32 * heap.MAX_BLOCKS, blocks
print(sum(in_a_row(size) for size in range(16, 513, 16)))
"""


def rows(what: str) -> int:
    """Tell for how many of the 32 sizes new blocks lie side by side."""
    done = subprocess.run([sys.executable, "-c", POOLS, what], capture_output=True, check=True, text=True)
    return int(done.stdout)


def test_new_objects_lie_side_by_side_after_it() -> None:
    """Of every size; without it they come from the holes."""
    assert rows("fill") >= 24  # what the test itself makes meanwhile is of some size too
    assert rows("leave") == 0


def test_objects_that_fill_a_pool_are_one_block_each() -> None:
    """Of exactly that size, as the allocator counts it."""
    for size in range(16, 513, 16):
        assert size - 16 < heap._maker(size)().__sizeof__() <= size


def test_filling_pools_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if the allocator never gives what lies side by side."""
    monkeypatch.setattr(heap, "_BLOCKS_IN_A_ROW", 10**6)
    monkeypatch.setattr(heap, "_ROW_BYTES", 10**9)
    monkeypatch.setattr(heap, "MAX_BLOCKS", 100)
    monkeypatch.setattr(heap, "_plugs", [])
    assert heap.fill_pools() == 32 * 100
