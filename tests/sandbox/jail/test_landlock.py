"""Wall ``landlock`` alone, and its table of rights."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest
from arena import errno_behind

from sandbox.jail import landlock
from sandbox.jail.walls import LANDLOCK


def offered() -> int:
    try:
        return landlock.version()
    except OSError:
        return 0


needs = {
    version: pytest.mark.skipif(offered() < version, reason=f"this kernel has no landlock version {version}")
    for version in (1, 4, 6)
}


@needs[1]
async def test_a_file_cannot_be_opened(public_file: str) -> None:
    """Though everybody may read it, and it is there."""
    assert await errno_behind((LANDLOCK,), "open_file", public_file) == errno.EACCES
    assert await errno_behind((), "open_file", public_file) == 0


@needs[1]
async def test_a_file_cannot_be_removed(public_file: str) -> None:
    """Nor anything else be done to a directory."""
    assert await errno_behind((LANDLOCK,), "unlink", public_file) == errno.EACCES
    assert Path(public_file).exists()
    assert await errno_behind((), "unlink", public_file) == 0


@needs[1]
async def test_a_file_cannot_be_made(open_directory: Path) -> None:
    """No place to leave something for the next run."""
    path = str(open_directory / "left")
    assert await errno_behind((LANDLOCK,), "make_file", path) == errno.EACCES
    assert await errno_behind((), "make_file", path) == 0


@needs[4]
async def test_no_tcp_connection_can_be_made() -> None:
    """Also where there is no network namespace."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert await errno_behind((LANDLOCK,), "connect", port) == errno.EACCES
        assert await errno_behind((), "connect", port) == 0


@needs[6]
async def test_the_agent_cannot_be_signalled() -> None:
    """Also where there is no process namespace, and by the same user."""
    assert await errno_behind((LANDLOCK,), "kill", os.getpid(), 0) == errno.EPERM
    assert await errno_behind((), "kill", os.getpid(), 0) == 0


@needs[6]
async def test_no_abstract_socket_can_be_reached() -> None:
    """Also where there is no network namespace."""
    name = f"outrider-landlock-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0" + name)
        server.listen()
        assert await errno_behind((LANDLOCK,), "connect_abstract", name) == errno.EPERM
        assert await errno_behind((), "connect_abstract", name) == 0


@pytest.mark.parametrize(
    ("version", "files", "net", "scopes", "size"),
    [
        (1, 0x1FFF, 0, 0, 8),
        (2, 0x3FFF, 0, 0, 8),
        (3, 0x7FFF, 0, 0, 8),
        (4, 0x7FFF, 3, 0, 16),
        (5, 0xFFFF, 3, 0, 16),
        (6, 0xFFFF, 3, 3, 24),
        (7, 0xFFFF, 3, 3, 24),
        (12, 0xFFFF, 3, 3, 24),
    ],
)
def test_the_rights_of_each_version(version: int, files: int, net: int, scopes: int, size: int) -> None:
    """include/uapi/linux/landlock.h; one right too many and the kernel refuses the whole ruleset."""
    found = landlock.rights(version)
    assert (found.files, found.net, found.scopes, found.size_bytes) == (files, net, scopes, size)


def test_what_a_version_holds_is_told_in_words() -> None:
    """For the doctor."""
    assert landlock.describe(1) == "version 1: files"
    assert landlock.describe(4) == "version 4: files, TCP"
    assert landlock.describe(7) == "version 7: files, TCP, signals and abstract sockets"
