"""The worker of the product, and beside it a language ``scan``: machine code that looks through its own memory.

As the entry of a zygote it stands where ``sandbox.worker`` stands, so the zygote is prepared and rehearsed as the real
one is, and a scanning worker is a copy of it like any other. It needs walls down to see its own mappings.

What is searched for must not be in the searcher's own memory. So it is told only with each byte plus one, and each
piece of memory is compared after one was added to its bytes; the words themselves never come to be.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import Any

from sandbox import worker

PIECE_BYTES = 1 << 20
MAX_WORD_BYTES = 256
PLUS_ONE = bytes((number + 1) % 256 for number in range(256))
PLANTED = bytearray(b"canary that the test has planted in the zygote")  # found in every worker, or the search is blind

preload = worker.preload
prepare = worker.prepare


def quieten() -> None:
    """Leave files alone: the search opens some."""


def disguised(word: bytes) -> bytes:
    """Return what a scan is told in place of ``word``."""
    return word.translate(PLUS_ONE)


def main(channel: Any, *, language: str, bindings: list[Any], memory_bytes: int, lock: Callable[[], None]) -> None:
    """Be a worker."""
    if language != "scan":
        worker.main(channel, language=language, bindings=bindings, memory_bytes=memory_bytes, lock=lock)
    try:
        lock()
        ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: or an ordinary user could not open what is his own
        _, (_, _, wanted, *_) = channel.receive_start()
        value = TASKS[wanted["task"]](wanted)
    except BaseException as error:  # noqa: BLE001 - told to the test
        value = f"{type(error).__name__}: {error}"
    channel.finish(value)
    os._exit(0)


def mappings() -> list[tuple[int, int, str, str]]:
    """Return start, end, permissions and name of each mapping."""
    with open("/proc/self/maps", encoding="ascii") as lines:
        parts = [line.split(maxsplit=5) for line in lines]
    return [
        (int(begin, 16), int(end, 16), part[1], "".join(part[5:]))
        for part in parts for begin, end in [part[0].split("-")]
    ]  # fmt: skip


def scan(wanted: dict[str, Any]) -> dict[str, Any]:
    """Return which of the disguised words are anywhere in memory that can be read, and how much that is."""
    found: set[str] = set()
    seen_bytes = 0
    memory = os.open("/proc/self/mem", os.O_RDONLY)
    for start, end, permissions, _ in mappings():
        if not permissions.startswith("r"):
            continue
        for at in range(start, end, PIECE_BYTES):
            try:
                piece = os.pread(memory, min(PIECE_BYTES + MAX_WORD_BYTES, end - at), at).translate(PLUS_ONE)
            except OSError:  # a page of the kernel's own
                continue
            seen_bytes += min(PIECE_BYTES, len(piece))
            found |= {name for name, word in wanted["words"].items() if word in piece}
    return {"found": sorted(found), "seen_bytes": seen_bytes}


def shared(_wanted: dict[str, Any]) -> list[str]:
    """Return the mappings that other processes would see changed."""
    return [str(each) for each in mappings() if each[2][1] == "w" and each[2][3] == "s"]


def spoil(_wanted: dict[str, Any]) -> list[Any]:
    """Change what an interpreter takes for granted, as only machine code can; return how it looks afterwards."""
    PLANTED[:] = b"x" * len(PLANTED)
    worker.REHEARSED.clear()
    os.environ["SPOILT"] = "1"
    one = ctypes.c_uint32.from_address(id(7) + 24)  # the digit of the small integer that all share
    one.value = 8
    return intact({})


def intact(_wanted: dict[str, Any]) -> list[Any]:
    """Return what ``spoil`` changes."""
    return [bytes(PLANTED), sorted(worker.REHEARSED), "SPOILT" in os.environ, int("3") + int("4")]


def environment(_wanted: dict[str, Any]) -> dict[str, str]:
    """Return all of it."""
    return dict(os.environ)


def descriptors(_wanted: dict[str, Any]) -> list[int]:
    """Return what is open, except what looks."""
    return sorted(int(name) for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}"))


TASKS: dict[str, Callable[[dict[str, Any]], Any]] = {
    task.__name__: task for task in (scan, shared, spoil, intact, environment, descriptors)
}
