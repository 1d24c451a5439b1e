"""What the tests of the server share: the people of tests/protocol, a clock, and one whole server."""

from __future__ import annotations

import asyncio
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "protocol"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from headquarters import Headquarters, MovedClock, headquarters
from world import World

from server import clock as server_clock
from server import config
from server.store.database import Database


@pytest.fixture(autouse=True, scope="session")
def plain_logs() -> None:
    """Log as the server does; what structlog prints for developers takes seconds for one traceback."""
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=repr)]
    )


@pytest.fixture(autouse=True)
def no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody outside is asked for what a name stands for; addresses stand for themselves."""
    real = asyncio.BaseEventLoop.getaddrinfo

    async def getaddrinfo(loop: Any, host: str, *given: Any, **more: Any) -> list[Any]:
        if host.endswith("example.org"):
            raise socket.gaierror(socket.EAI_AGAIN, "no resolver here")
        return list(await real(loop, host, *given, **more))

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that was made once: the steps to it take longer than most tests."""
    path = tmp_path_factory.mktemp("database") / "empty.sqlite"
    Database(path).close()
    return path


@pytest.fixture
def world() -> World:
    """Everybody's keys, fresh for each test."""
    return World()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> MovedClock:
    """The server's time stands at the world's present."""
    moved = MovedClock()
    monkeypatch.setattr(server_clock, "now", moved.now)
    monkeypatch.setattr(server_clock, "now_us", moved.now_us)
    monkeypatch.setattr(server_clock, "host_us", moved.now_us)
    return moved


@pytest.fixture(scope="session")
def made_directory(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Path:
    """A server's directory, as ``outrider-server init`` makes it, made once."""
    made = config.make(tmp_path_factory.mktemp("made") / "server", config.DEFAULT_LISTEN)
    shutil.copy(empty_database, made.database)
    return made.directory


@pytest.fixture
def directory(tmp_path: Path, made_directory: Path) -> Path:
    """A server's directory of this test's own."""
    return Path(shutil.copytree(made_directory, tmp_path / "server"))


@pytest.fixture
async def bare(directory: Path, world: World, clock: MovedClock) -> AsyncIterator[Headquarters]:
    """A server that has just been made: no roster, no agents."""
    async with headquarters(directory, world, clock) as made:
        yield made


@pytest.fixture
async def server(bare: Headquarters) -> Headquarters:
    """A server with a roster."""
    assert (await bare.put_roster()).status_code == 200
    return bare
