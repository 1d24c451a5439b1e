"""Ports of loopback for servers that tests start."""

from __future__ import annotations

import random
import socket

FIRST, LAST = 20_000, 32_000  # below what Linux gives to whoever asks for any, which another program may get meanwhile


def free_port() -> int:
    """Return a port that nobody listens at, and that no connection is given before the server has it."""
    for port in random.sample(range(FIRST, LAST), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:  # somebody's
                continue
            return port
    raise AssertionError("100 ports, and none is free")
