"""Walls ``user_ns``, ``pid_ns``, ``net_ns`` and ``ipc_ns``, each alone."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Iterator

import pytest
from arena import attack, errno_behind, only

from sandbox.jail.walls import IPC_NS, NET_NS, PID_NS, USER_NS

LIBC = ctypes.CDLL(None, use_errno=True)
IPC_CREAT, IPC_RMID = 0o1000, 0


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def segment() -> Iterator[int]:
    key = 0x0DD0 + os.getpid()
    made = LIBC.shmget(key, 4096, IPC_CREAT | 0o666)
    assert made >= 0
    yield key
    LIBC.shmctl(made, IPC_RMID, None)


@pytest.mark.needs_root
async def test_root_in_a_user_namespace_has_no_power_outside(strangers_file: str) -> None:
    """Its capabilities end at the namespace: the file of a user that does not exist in it stays closed."""
    assert await errno_behind((USER_NS,), "open_file", strangers_file) == errno.EACCES
    assert await errno_behind((), "open_file", strangers_file) == 0


async def test_the_agent_cannot_be_signalled_from_a_process_namespace() -> None:
    """Its number means nobody there."""
    assert await errno_behind((PID_NS,), "kill", os.getpid(), 0) == errno.ESRCH
    assert await errno_behind((), "kill", os.getpid(), 0) in (0, errno.EPERM)


async def test_numbers_start_anew_in_a_process_namespace() -> None:
    """The zygote is the first process, its workers come right after."""
    inside = (await attack(only(PID_NS), "identity")).result["value"]["pid"]
    assert inside < 20


async def test_loopback_of_the_host_cannot_be_reached(listener: int) -> None:
    """Services on loopback often trust whoever reaches them."""
    assert await errno_behind((NET_NS,), "connect", listener) == errno.ENETUNREACH
    assert await errno_behind((), "connect", listener) == 0


async def test_abstract_sockets_of_the_host_cannot_be_reached() -> None:
    """They belong to the network namespace and to no file."""
    name = f"outrider-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0" + name)
        server.listen()
        assert await errno_behind((NET_NS,), "connect_abstract", name) == errno.ECONNREFUSED
        assert await errno_behind((), "connect_abstract", name) == 0


async def test_shared_memory_of_the_host_cannot_be_found(segment: int) -> None:
    """System V segments have global keys."""
    assert await errno_behind((IPC_NS,), "shared_memory", segment) == errno.ENOENT
    assert await errno_behind((), "shared_memory", segment) == 0


@pytest.mark.needs_root
async def test_the_name_of_the_host_cannot_be_changed() -> None:
    """Root in it renames its own copy only."""
    before = os.uname().nodename
    try:
        assert await errno_behind((IPC_NS,), "set_host_name", "attacked") == 0
        assert os.uname().nodename == before
        assert await errno_behind((), "set_host_name", "attacked") == 0
        assert os.uname().nodename == "attacked"
    finally:
        socket.sethostname(before)
