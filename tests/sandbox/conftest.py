"""Makes the doubles of this directory importable from its subdirectories, and gives files to attack."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from arena import BINDINGS, IS_ROOT

from sandbox.launch import Sandbox

needs_root = pytest.mark.skipif(
    not IS_ROOT, reason="needs root: an ordinary user has nothing that this wall takes away"
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("needs_root") is not None:
            item.add_marker(needs_root)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs_root: skipped, with the reason, for an ordinary user")


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A real one, with the calls of the arena."""
    made = await Sandbox.start(bindings=BINDINGS)
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
def open_directory(tmp_path: Path) -> Iterator[Path]:
    """A directory that the worker's user can reach and write: pytest's own are closed to others."""
    opened = [tmp_path, *tmp_path.parents]
    changed = []
    for directory in opened:
        mode = directory.stat().st_mode
        if directory.owner() == tmp_path.owner() and not mode & 0o001 and str(directory) != "/":
            directory.chmod(mode | 0o055)
            changed.append((directory, mode))
    tmp_path.chmod(0o777)
    yield tmp_path
    for directory, mode in changed:
        directory.chmod(mode & 0o7777)


@pytest.fixture
def public_file(open_directory: Path) -> str:
    """A file that everybody may read, write and remove."""
    path = open_directory / "public"
    path.write_text("x")
    path.chmod(0o666)
    return str(path)


@pytest.fixture
def secret_file(open_directory: Path) -> str:
    """A file for the test's own user only."""
    path = open_directory / "secret"
    path.write_text("x")
    path.chmod(0o600)
    return str(path)


@pytest.fixture
def strangers_file(open_directory: Path) -> str:
    """A file for another ordinary user only."""
    path = open_directory / "stranger"
    path.write_text("x")
    path.chmod(0o600)
    os.chown(path, 54321, 54321)
    return str(path)
