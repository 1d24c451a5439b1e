"""The process that reads long scripts for the server: messages on its standard input, answers on its output.

Each message is a script, each answer what :func:`server.findings.find` finds in it. Both have their length before them.
What it may use it says itself to the kernel before it reads a byte: whoever takes more ends it, and that is the answer.
"""

from __future__ import annotations

import resource
import sys
from typing import BinaryIO

from protocol.frames import decode, encode
from protocol.manifest import Need
from sandbox.analysis import Pinned
from server import findings
from server.memory import settle
from server.reading import HEAD_BYTES, MAX_ASKED_BYTES, MAX_CPU_S, MAX_MEMORY_BYTES, MAX_TOLD_BYTES, OUT_OF_MEMORY


def main() -> None:
    """Serve until there is nothing more to read."""
    _limit(resource.RLIMIT_AS, MAX_MEMORY_BYTES)
    _limit(resource.RLIMIT_CORE, 0)
    findings.known_calls()
    settle()
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while head := source.read(HEAD_BYTES):
        asked = source.read(int.from_bytes(head, "big"))
        _allow_time()
        try:
            _answer(asked, sink)
        except MemoryError:
            sys.exit(OUT_OF_MEMORY)


def _limit(which: int, most: int) -> None:
    """Set a limit, or leave it where it is lower already."""
    _, hard = resource.getrlimit(which)
    resource.setrlimit(which, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _allow_time() -> None:
    """Allow one script's time from now on; what was used before counts as well for the kernel."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + 1 + MAX_CPU_S)


def _answer(asked: bytes, sink: BinaryIO) -> None:
    language, start, files, stated, libraries, missing = decode(asked, max_bytes=MAX_ASKED_BYTES)
    needs = tuple(Need(call, *map(tuple, lists)) for call, *lists in stated)
    pinned = [Pinned(*library) for library in libraries]
    found, wrong = findings.find(findings.Source(language, start, files, needs), pinned, missing)
    answer = encode([found, None if wrong is None else list(wrong)], max_bytes=MAX_TOLD_BYTES)
    sink.write(len(answer).to_bytes(HEAD_BYTES, "big") + answer)
    sink.flush()


if __name__ == "__main__":
    main()
