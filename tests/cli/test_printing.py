"""What several hosts print at once: whole lines, each with its host's name, and none that writes over another's."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from cli.commands import printing
from cli.commands.printing import Prefixed

LIE = b"fine\x1b[1A\rweb-2: rm: done\x1b]0;x\x07 \xc2\x9b31m\xff\r\nnext\n"


@pytest.fixture(params=["terminal", "pipe"])
def ends(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """What stdout is, and the end to read it at."""
    reader, writer = os.openpty() if request.param == "terminal" else os.pipe()
    monkeypatch.setattr(printing, "_FD", {"stdout": writer, "stderr": writer})
    yield request.param, reader
    os.close(reader)
    os.close(writer)


def test_a_line_of_one_host_is_not_taken_for_one_of_another(ends: tuple[str, int]) -> None:
    """A pipe has the bytes as they are: programs read them."""
    kind, reader = ends
    made = Prefixed("web-1", 5, threading.Lock())
    made.printed("stdout", LIE[:7])
    made.printed("stdout", LIE[7:])
    made.ended()
    shown = os.read(reader, 4096)
    if kind == "pipe":
        first, second, _ = LIE.split(b"\n")
        assert shown == b"web-1: " + first + b"\nweb-1: " + second + b"\n"
    else:
        first_line, *rest = shown.decode().split("\r\n")
        assert first_line == "web-1: fine\ufffd[1A\ufffdweb-2: rm: done\ufffd]0;x\ufffd \ufffd31m\ufffd"
        assert rest == ["web-1: next", ""]
