"""What the tests of the command line share: a clean environment, and a way to call the program as a shell would."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cli.main import run

sys.path.insert(0, str(Path(__file__).parent))  # for the modules that tests share


@dataclass(frozen=True)
class Called:
    """What one command line gave."""

    status: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """Stdout as JSON."""
        return json.loads(self.out)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home and working directory, and no settings in the environment."""
    for name in ("OUTRIDER_SERVER", "OUTRIDER_TOKEN", "OUTRIDER_KEY", "OUTRIDER_CONTEXT", "OUTRIDER_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return tmp_path


@pytest.fixture
def outrider(home: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Called]:
    """Call ``outrider`` in this process."""

    def call(*words: str) -> Called:
        capfd.readouterr()
        status = run(list(words))
        sys.stdout.flush()
        sys.stderr.flush()
        captured = capfd.readouterr()
        return Called(status, captured.out, captured.err)

    return call
