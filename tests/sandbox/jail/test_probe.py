"""The doctor's attempts."""

from __future__ import annotations

import pytest

from protocol.errors import UnavailableError
from sandbox.jail import landlock, mdwe, probe, rlimits, root, seccomp
from sandbox.jail.walls import WALLS, State

RAISED_WITHOUT_EFFECT = [
    (landlock, "calls", "landlock"),
    (seccomp, "calls", "seccomp"),
    (mdwe, "calls", "mdwe"),
    (root, "empty", "mount_ns"),
    (rlimits, "no_more_descriptors", "rlimits"),
]


def test_every_wall_is_tried() -> None:
    """As a program, as the doctor does it."""
    found = probe.probe()
    assert [wall.name for wall in found] == list(WALLS)
    assert all(wall.detail for wall in found)


@pytest.mark.parametrize(("module", "function", "wall"), RAISED_WITHOUT_EFFECT)
def test_a_wall_that_does_not_hold_is_not_up(
    module: object, function: str, wall: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raising it must not be enough to count."""
    monkeypatch.setattr(module, function, lambda *_: [])
    found = {each.name: each for each in probe.try_all()}
    assert found[wall].state is State.MISSING
    assert "does not hold" in found[wall].detail


def test_a_host_without_an_interpreter_is_told() -> None:
    """A clear error in the place of a guess."""
    with pytest.raises(UnavailableError, match="cannot be tried"):
        probe.probe(python="/nowhere/python")
