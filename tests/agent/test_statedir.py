"""One agent per directory, and no directory that others may write."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from agent.statedir import StateDir
from protocol.errors import ConflictError, NotFoundError, UnavailableError


def test_it_is_made_for_us_alone(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "deep" / "agent")
    state.create()
    assert stat.S_IMODE(state.path.stat().st_mode) == 0o700
    assert state.cache.is_dir()


def test_two_agents_in_one_directory(tmp_path: Path, descriptors_kept: None) -> None:
    state = StateDir(tmp_path)
    assert not state.is_in_use()
    with state.locked():
        assert state.is_in_use()
        with pytest.raises(ConflictError, match="another agent"), state.locked():
            pass
    assert not state.is_in_use()


def test_asking_whether_an_agent_runs_leaves_nothing_behind(tmp_path: Path) -> None:
    """A lock file that root made by asking would shut the agent's own user out of its directory."""
    assert not StateDir(tmp_path).is_in_use()
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_others_may_write_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o770)
    with pytest.raises(UnavailableError, match="written by others"):
        StateDir(tmp_path).check()


def test_an_absent_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nowhere"):
        StateDir(tmp_path / "nowhere").check()
