"""What the tests of the agent share: the people of tests/protocol, and one host."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "protocol"))

from premises import Premises
from world import World


@pytest.fixture
def world() -> World:
    """Everybody's keys, fresh for each test."""
    return World()


@pytest.fixture
def premises(tmp_path: Path, world: World) -> Iterator[Premises]:
    """One host's disk, clock and trust, open."""
    made = Premises(tmp_path / "agent", world)
    yield made
    made.close()
