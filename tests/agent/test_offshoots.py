"""Programs below a process: found by looking, or told by the kernel; both know of each other."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.offshoots import Offshoots


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A program that has begun for sure: the kernel lets its parent go on a moment before its arguments are there."""
    with subprocess.Popen(["sleep", "1000"]) as child:
        while not Path(f"/proc/{child.pid}/cmdline").read_bytes().startswith(b"sleep"):
            os.sched_yield()
        yield child
        child.kill()


def look(offshoots: Offshoots, at: subprocess.Popen[bytes]) -> list[dict[str, Any]]:
    """Look, and return what is told of one program: whatever else there may be below this process."""
    return [told for told in offshoots.look() if told["pid"] == at.pid]


def test_looking_tells_differences(sleeper: subprocess.Popen[bytes]) -> None:
    offshoots = Offshoots(os.getpid())
    [told] = look(offshoots, sleeper)
    assert told == {"what": "started", "pid": sleeper.pid, "parent": os.getpid(), "argv": ["sleep", "1000"]}
    assert look(offshoots, sleeper) == []
    sleeper.kill()
    sleeper.wait()
    assert look(offshoots, sleeper) == [{"what": "ended", "pid": sleeper.pid, "argv": ["sleep"]}]


def test_one_that_is_on_its_way_out_is_still_told_by_its_name(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its arguments go with its memory, a moment before it is a zombie."""
    offshoots = Offshoots(os.getpid())
    assert len(look(offshoots, sleeper)) == 1
    monkeypatch.setattr("agent.offshoots._argv", lambda _pid: [])
    assert look(offshoots, sleeper) == []
    sleeper.kill()
    sleeper.wait()
    assert look(offshoots, sleeper) == [{"what": "ended", "pid": sleeper.pid, "argv": ["sleep"]}]


def test_what_the_kernel_told_is_found_no_second_time_and_ends_with_its_status(
    sleeper: subprocess.Popen[bytes],
) -> None:
    offshoots = Offshoots(os.getpid())
    told = offshoots.executed(sleeper.pid)
    assert told == {"what": "started", "pid": sleeper.pid, "parent": os.getpid(), "argv": ["sleep", "1000"]}
    assert look(offshoots, sleeper) == []
    assert offshoots.executed(sleeper.pid) is None
    sleeper.kill()
    sleeper.wait()
    assert offshoots.ended(sleeper.pid, signal.SIGKILL) == {
        "what": "ended", "pid": sleeper.pid, "argv": ["sleep"], "signal": 9
    }  # fmt: skip
    assert offshoots.ended(sleeper.pid, 0) is None
    assert look(offshoots, sleeper) == []


def test_one_that_is_over_before_anybody_could_look_is_told_by_its_number() -> None:
    offshoots = Offshoots(os.getpid())
    with subprocess.Popen(["/bin/true"]) as child:
        pass
    told = offshoots.executed(child.pid)
    assert told == {"what": "started", "pid": child.pid, "parent": 0, "argv": []}
    assert offshoots.ended(child.pid, 3 << 8) == {"what": "ended", "pid": child.pid, "argv": ["?"], "code": 3}


def test_secrets_in_arguments_are_not_told() -> None:
    offshoots = Offshoots(os.getpid())
    with subprocess.Popen(["/bin/sh", "-c", "read x", "--password=hunter2"], stdin=subprocess.PIPE) as child:
        while b"hunter2" not in Path(f"/proc/{child.pid}/cmdline").read_bytes():
            os.sched_yield()
        told = offshoots.executed(child.pid)
    assert told is not None
    assert "[redacted]" in str(told)
    assert "hunter2" not in str(told)
