"""``outrider demo``, what a newcomer meets first: all in one go, nothing left behind, and it can be gone on with."""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ports import free_port
from shell import ROOT, Called

from cli.demo.checks import DISK, disk
from fleet import descendants, is_kept, pause

CHECKS = {f"checks/{name}" for name in ("cpu", "disk", "filesystem", "load_average", "memory", "network")}
CHECKS -= set() if disk() else {DISK}  # on a machine that has none
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
DEADLINE_S = 60.0


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """What a demo leaves running becomes a child of this process, and then the test fails."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    before = set(descendants(os.getpid()))
    try:
        yield
        wait_for("every process of the demo to end", lambda: not _running(before))
    finally:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def _running(before: set[int]) -> list[int]:
    """Return what runs now and did not run before, after taking leave of what has ended."""
    for pid in set(descendants(os.getpid())) - before:
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:  # a grandchild; its own parent takes leave of it
            continue
    return sorted(set(descendants(os.getpid())) - before)


def wait_for(what: str, look: Callable[[], object], deadline_s: float = DEADLINE_S) -> None:
    end = time.monotonic() + deadline_s
    while not look():
        assert time.monotonic() < end, f"waited {deadline_s:g} s for {what}"
        pause()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A working directory and a place for temporary files, both empty."""
    for name in ("work", "temporary"):
        (tmp_path / name).mkdir()
    return tmp_path


def environment(home: Path) -> dict[str, str]:
    own = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / "config"), "TMPDIR": str(home / "temporary")}
    return {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT), **own}


def call(home: Path, *words: str) -> Called:
    """Call ``outrider`` in the working directory, where it finds the demo by itself."""
    done = subprocess.run(
        [sys.executable, "-m", "cli", *words], capture_output=True, text=True, timeout=100, cwd=home / "work",
        env=environment(home), stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return Called(done.returncode, done.stdout, done.stderr)


def timely(within_s: float, home: Path, *words: str) -> Called:
    """Call it, and hold how long that takes against what is promised."""
    took_s: list[float] = []
    while not is_kept(took_s, within_s):
        began = time.monotonic()
        called = call(home, *words)
        took_s.append(time.monotonic() - began)
    return called


class Running:
    """A demo that somebody started in a terminal and left there."""

    def __init__(self, home: Path, *words: str) -> None:
        self.log = home / "demo.out"
        self.errors = home / "demo.err"
        with self.log.open("wb") as out, self.errors.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cli", "demo", *words], stdout=out, stderr=err, stdin=subprocess.DEVNULL,
                cwd=home / "work", env=environment(home),
            )  # fmt: skip

    @property
    def said(self) -> str:
        return self.log.read_text()

    def wait_until_up(self) -> None:
        def is_up() -> bool:
            talk = self.said + self.errors.read_text()
            assert self.process.poll() is None, f"it ended\n{talk}"
            return "Try:" in talk

        wait_for("the demo to be up", is_up)

    def stop(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)


@contextmanager
def running(home: Path, *words: str) -> Iterator[Running]:
    demo = Running(home, *words)
    try:
        demo.wait_until_up()
        yield demo
    finally:
        if demo.process.poll() is None:
            demo.stop(signal.SIGTERM)


def test_once_shows_everything_and_leaves_nothing(home: Path) -> None:
    called = timely(30.0, home, "demo", "--once", "--json")
    assert called.status == 0, called.err
    told = called.data
    assert told["ok"] is True
    assert 0 < told["elapsed_s"] < 30

    assert {script["name"]: script["status"] for script in told["scripts"]} == dict.fromkeys(CHECKS, "approved")
    assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", script["digest"]) for script in told["scripts"])
    assert {schedule["script"] for schedule in told["schedules"]} == CHECKS
    schedules = {schedule["id"] for schedule in told["schedules"]}
    assert {result["script"] for result in told["results"]} == CHECKS
    for result in told["results"]:
        assert result["status"] == "ok", result
        assert result["schedule"] in schedules, "a scheduled result, not one that was asked for"
        assert result["fire_time"]
        assert result["metrics"], result
        assert result["usage"]["calls"] > 0
    assert [(run["language"], run["status"]) for run in told["runs"]] == [("lua", "ok"), ("python", "ok")]
    assert not any(run["schedule"] for run in told["runs"])

    assert told["verify"]["ok"] is True
    chains = {agent["agent"]: agent for agent in told["verify"]["agents"]}
    assert set(chains) == {"demo", "server"}
    assert all(chain["error"] is None and chain["records"] > 10 for chain in chains.values())
    walls = told["walls"]
    assert walls["of"] == len(walls["list"]) >= 9
    assert walls["up"] == sum(wall["state"] == "up" for wall in walls["list"])

    assert list((home / "temporary").iterdir()) == []
    assert list((home / "work").iterdir()) == []


def test_stopped_and_started_again_it_goes_on(home: Path) -> None:
    """Same agent, same chain of records, although the second start uses another port."""
    with running(home, "--port", str(free_port())) as demo:
        assert f"{len(CHECKS)} checks published by demo-author, approved by demo-reviewer, tier observe" in demo.said
        ran = call(home, "run", "demo", "checks/memory")
        assert ran.status == 0, ran.err
        wait_for("the run to be shown", lambda: re.search(r"checks/memory +ok ", demo.said))
        agent = call(home, "agent", "show", "demo", "--json").data
        records = call(home, "record", "ls", "--host", "demo", "--limit", "1000", "--oldest-first", "--json").data
        refused = call(home, "demo", "--port", str(free_port()))
        assert refused.status == 1
        assert f"a demo runs in {home / 'work' / '.demo'} already (process {demo.process.pid})" in refused.err
        assert demo.stop(signal.SIGINT) == 130
        assert "Traceback" not in demo.errors.read_text()
    away = call(home, "status")
    assert away.status == 1
    assert "no server answers" in away.err

    with running(home, "--port", str(free_port()), "--json") as demo_again:
        again = call(home, "agent", "show", "demo", "--json").data
        assert (again["id"], again["key"]) == (agent["id"], agent["key"])
        more = call(home, "record", "ls", "--host", "demo", "--limit", "1000", "--oldest-first", "--json").data
        assert [record["hash"] for record in more[: len(records)]] == [record["hash"] for record in records]
        assert len(more) > len(records)
        assert [record["sequence"] for record in more] == list(range(1, len(more) + 1))
        assert len(call(home, "schedule", "ls", "--json").data) == len(CHECKS), "no schedule is there twice"
        verified = call(home, "record", "verify", "--json")
        assert verified.status == 0
        assert verified.data["ok"] is True
        assert call(home, "run", "demo", "checks/memory").status == 0

        def shown() -> list[dict[str, Any]]:
            whole, _, _ = demo_again.said.rpartition("\n")  # the last line may be on its way
            return [json.loads(line) for line in whole.splitlines()]

        wait_for("the run to be shown", lambda: any(each["script"] == "checks/memory" for each in shown()))
        results = shown()
        assert all(result["status"] == "ok" for result in results), "with --json stdout holds results alone"
        assert demo_again.stop(signal.SIGTERM) == 130


@pytest.mark.parametrize("words", [[], ["--once"], ["--once", "--json"]])
def test_busy_port_is_named_with_a_way_out(home: Path, words: list[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        called = timely(10.0, home, "demo", *words, "--port", str(port))
    assert called.status == 1
    assert f"port {port} of 127.0.0.1 cannot be used (Address already in use)" in called.err
    assert f"outrider demo --port {port + 1}" in called.err
    if "--json" in words:
        assert called.data["ok"] is False
        assert called.data["error"]["code"] == "unavailable"
    else:
        assert called.out == ""
    assert list((home / "temporary").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"), [(["--port", "0"], "--port"), (["--port", "x"], "--port"), (["--dir", "a-file"], "a-file")]
)
def test_bad_words(home: Path, words: list[str], said: str) -> None:
    (home / "work" / "a-file").write_text("")
    called = call(home, "demo", *words)
    assert (called.status, called.out) == (2, "")
    assert said in called.err
