"""What the tests of trust share."""

from __future__ import annotations

import pytest
from world import World


@pytest.fixture
def world() -> World:
    """Everybody's keys, fresh for each test."""
    return World()
