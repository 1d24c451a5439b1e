"""The packets between the agent and its zygote."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.errors import ProtocolError, TooLargeError
from protocol.frames import encode
from sandbox.control import Born, Ended, Failed, Fork, Forked, NotForked, Ready, Setup, pack, unpack

MESSAGES = [
    Setup([{"name": "a", "parameters": [], "local": False}], ["seccomp"], "sandbox.worker", [], 65534, 65534),
    Fork(1, "lua", 2**26, 2.0, True),
    Born(),
    Ready([["seccomp", "up", "x"]]),
    Failed("why"),
    Forked(1),
    NotForked(1, "why"),
    Ended(1, 9, 1000, 2**20),
]


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_survives_the_way(message: Any) -> None:
    """Field by field."""
    assert unpack(pack(message)) == message


@pytest.mark.parametrize(
    "parts",
    [
        None,
        [],
        ["x"],
        [99],
        [True],
        [1, 1, "lua", 1],
        [1, "1", "lua", 1, 1.0, True],
        [1, True, "lua", 1, 1.0, True],
        [1, 1, "lua", 1, 1.0, 1],
        [5, 1, 2],
    ],
)
def test_anything_else_is_refused(parts: Any) -> None:
    """A zygote that speaks nonsense is ended."""
    with pytest.raises(ProtocolError):
        unpack(encode(parts))


def test_a_packet_is_bounded() -> None:
    """The socket's buffer bounds it; the error says so before the kernel does."""
    with pytest.raises(TooLargeError):
        pack(Failed("x" * 2**20))
