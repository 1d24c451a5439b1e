"""A besieged host for each test; the people and the premises are those of tests/protocol and tests/agent."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import pytest_asyncio

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "protocol"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "agent"))

from premises import Premises
from siege import Siege
from world import World

from agent import websocket


@pytest_asyncio.fixture
async def siege(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Siege]:
    """An agent that trusts roster version 1 and is connected to the attacker's server."""
    with TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as directory:
        premises = Premises(Path(directory) / "agent", World())
        made = Siege(premises)
        monkeypatch.setattr(websocket, "connect", lambda *_, **__: made.server.connect())
        premises.take_roster()
        await made.start()
        yield made
        await made.stop()
        await made.server.close()
        premises.close()
