"""What the tests of the agent share: the people of tests/protocol, one host, and one sandbox for each module."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import pytest_asyncio

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "protocol"))

from premises import Premises
from works import Works
from world import World

from agent.confinement import Confinement
from stdlib.catalogue import load as load_catalogue


@pytest.fixture
def world() -> World:
    """Everybody's keys, fresh for each test."""
    return World()


MEMORY = Path("/dev/shm")  # a file system without a disk below it: five hundred spools are no reason to wait for one


@pytest.fixture
def premises(world: World) -> Iterator[Premises]:
    """One host's disk, clock and trust, open."""
    with TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as directory:
        made = Premises(Path(directory) / "agent", world)
        yield made
        made.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def confinement() -> AsyncIterator[Confinement]:
    """A real sandbox; the module that uses it runs in one event loop, because starting one takes most of a test."""
    made = Confinement(load_catalogue().bindings())
    await made.ready()
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="module")
async def works(premises: Premises, confinement: Confinement) -> AsyncIterator[Works]:
    """A host that trusts a roster and whose owner lets scripts observe on the server's word."""
    premises.take_roster()
    premises.allow()
    made = Works(premises, confinement)
    yield made
    await made.sessions.close(grace_s=0.0)
    made.state.close()
