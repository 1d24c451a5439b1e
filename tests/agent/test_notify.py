"""Talking to systemd: the datagrams it expects, and silence where it is not."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.notify import Notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(5)
        yield listening


def test_the_words_that_systemd_knows(manager: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.getsockname()}, 1)
    notifier.ready("connected to\nsomewhere")
    notifier.alive()
    notifier.stopping()
    assert [manager.recv(4096) for _ in range(3)] == [
        b"READY=1\nSTATUS=connected to somewhere",
        b"WATCHDOG=1",
        b"STOPPING=1",
    ]


def test_an_abstract_socket() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0outrider-test-{os.getpid()}")
        listening.settimeout(5)
        Notifier({"NOTIFY_SOCKET": f"@outrider-test-{os.getpid()}"}, 1).alive()
        assert listening.recv(100) == b"WATCHDOG=1"


def test_children_do_not_inherit_the_socket() -> None:
    environment = {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "7", "PATH": "/bin"}
    Notifier(environment, 7)
    assert environment == {"PATH": "/bin"}


def test_a_manager_that_is_gone_does_not_stop_the_agent(tmp_path: Path) -> None:
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}, 1).ready("well")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_whether_a_watchdog_waits_for_us(environment: dict[str, str], expected: float | None) -> None:
    assert Notifier(environment, 7).watchdog_s == expected
