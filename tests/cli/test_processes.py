"""The demo's daemons: started, watched, ended, and never left behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from cli.demo.processes import Daemon, Daemons, launch, tail
from protocol.errors import DeadlineError, UnavailableError

SERVER = ["http.server", "0", "--bind", "127.0.0.1"]  # any module that runs until it is told to stop


def ends(pid: int, timeout_s: float = 60.0) -> bool:
    """Wait for the end of a process that is not our child."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], timeout_s)[0])
    finally:
        os.close(descriptor)


def test_leaving_stops_what_runs(tmp_path: Path) -> None:
    with Daemons() as daemons:
        daemon = daemons.start(Daemon("one", SERVER, tmp_path / "one.log"))
        assert daemon.process is not None
        assert daemon.process.poll() is None
    assert daemon.process.returncode == -signal.SIGTERM


def test_a_daemon_that_ignores_the_request_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.demo.processes.STOP_DEADLINE_S", 0.2)
    (tmp_path / "deaf.py").write_text(
        "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf', flush=True)\nsignal.pause()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Daemons() as daemons:
        daemon = daemons.start(Daemon("deaf", ["deaf"], tmp_path / "deaf.log"))
        daemons.wait_for("its word", lambda: daemon.last_words() == "deaf")
    assert daemon.process is not None
    assert daemon.process.returncode == -signal.SIGKILL


def test_waiting_ends_when_a_daemon_does(tmp_path: Path) -> None:
    """Twenty seconds of waiting for a server that has long said why it does not start help nobody."""
    with Daemons() as daemons:
        daemons.start(Daemon("server", ["no_such_module_at_all"], tmp_path / "server.log"))
        with pytest.raises(UnavailableError, match=r"the server ended with status 1: .*no_such_module_at_all"):
            daemons.wait_for("nothing", lambda: False)


def test_waiting_ends_at_the_deadline() -> None:
    with Daemons() as daemons, pytest.raises(DeadlineError, match=r"waited 0\.1 s for a miracle"):
        daemons.wait_for("a miracle", lambda: False, deadline_s=0.1)


def test_a_tool_that_fails_tells_its_last_words(tmp_path: Path) -> None:
    with Daemons() as daemons, pytest.raises(UnavailableError, match="no_such_module_at_all"):
        daemons.tool("tool", ["no_such_module_at_all"], tmp_path / "tool.log")


def test_a_tool_that_hangs_is_ended(tmp_path: Path) -> None:
    with Daemons() as daemons:
        with pytest.raises(DeadlineError):
            daemons.tool("tool", SERVER, tmp_path / "tool.log", deadline_s=0.2)
        (process,) = daemons.tools
    assert process.returncode == -signal.SIGTERM


def test_nothing_outlives_a_killed_parent(tmp_path: Path) -> None:
    """Closing a terminal or an out-of-memory kill must not leave a server and an agent behind."""
    code = f"""
        import signal
        from pathlib import Path
        from cli.demo.processes import launch
        child = launch({SERVER!r}, Path({str(tmp_path / "log")!r}))
        print(child.pid, flush=True)
        signal.pause()
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    grandchild = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert ends(grandchild)


def test_ctrl_c_reaches_only_the_demo(tmp_path: Path) -> None:
    """The demo stops its daemons in order; the terminal must not kill them all at once."""
    process = launch(SERVER, tmp_path / "log")
    try:
        assert os.getsid(process.pid) == process.pid
    finally:
        process.kill()
        process.wait()


def test_tail_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"\xff\n" * 100 + b"x" * 5000 + b"\n")
    assert len(tail(path, 3)) == 3
    assert len(tail(path, 3)[-1]) == 400
    assert tail(tmp_path / "none") == []
