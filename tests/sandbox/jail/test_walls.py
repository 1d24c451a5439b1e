"""How walls are reported."""

from __future__ import annotations

from sandbox.jail.walls import WALLS, State, Wall, missing, summary

ROWS = [Wall("seccomp", State.UP, "x"), Wall("landlock", State.MISSING, "old"), Wall("mdwe", State.OFF, "test")]


def test_missing_walls_are_all_that_do_not_stand() -> None:
    """One that a test switched off does not stand either."""
    assert missing(ROWS) == ["landlock", "mdwe"]


def test_the_line_for_people() -> None:
    """The text is relied on."""
    assert summary(ROWS) == "1 of 3 walls up"


def test_plain_form() -> None:
    """As records, status and JSON carry it."""
    assert ROWS[1].to_plain() == {"name": "landlock", "state": "missing", "detail": "old"}


def test_the_names_in_full() -> None:
    """Ceilings and records name them, so they are stable."""
    assert list(WALLS) == [
        "privileges", "user_ns", "pid_ns", "net_ns", "mount_ns", "ipc_ns", "rlimits", "cgroup", "landlock", "seccomp",
        "mdwe", "language",
    ]  # fmt: skip
