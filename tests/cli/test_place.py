"""Where a demo lives."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from cli.demo.place import HOST, Place, check_port, free_port, lock
from protocol.errors import ConflictError, UnavailableError


def test_directories_are_for_this_user_only(tmp_path: Path) -> None:
    place = Place(tmp_path / "demo", 7443)
    place.make()
    place.make()
    for directory in (place.directory, place.keys, place.agent):
        assert directory.stat().st_mode & 0o777 == 0o700


def test_one_demo_at_a_time(tmp_path: Path) -> None:
    held = lock(tmp_path)
    try:
        with pytest.raises(ConflictError, match=f"process {os.getpid()}"):
            lock(tmp_path)
    finally:
        os.close(held)
    os.close(lock(tmp_path))


def test_a_taken_port_gets_a_friendly_word() -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UnavailableError, match=rf"port {port} .*another demo.*--port"):
            check_port(port)


def test_a_free_port_is_free() -> None:
    check_port(free_port())
