"""The packets between the agent and its zygote."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest

from protocol.errors import ProtocolError, TooLargeError
from protocol.frames import encode
from sandbox.control import (
    FORKED_BYTES,
    TELL,
    Born,
    Ended,
    Failed,
    Fork,
    Forked,
    NotForked,
    Ready,
    Setup,
    ended_packet,
    fork_request,
    pack,
    run_and_kind,
    unpack,
)

MESSAGES = [
    Setup([{"name": "a", "parameters": [], "local": False}], ["seccomp"], "sandbox.worker", [], 65534, 65534),
    Fork(1, "lua", 2**26, 2.0, True),
    Born(),
    Ready([["seccomp", "up", "x"]]),
    Failed("why"),
    Forked(1),
    NotForked(1, "why"),
    Ended(1, 9, 1000, 2**20, True),
    Ended(1, 9, 1000, 2**20, False),
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
        [1, 1, "lua", 1, 1.0, True],
        [4, 1],
        [5, 1, 2],
        [5, "1", "why"],
        [5, True, "why"],
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


FORK = pack(Fork(1, "lua", 2**26, 2.0, True))


@pytest.mark.parametrize(
    "packet",
    [
        FORK[:-1],
        FORK + b"\0",
        FORK[:2],
        b"\xc1",
        b"\xc1\x07" + FORK[2:],
        b"\xc1\x06" + FORK[2:],
        FORK[:26] + b"\x02" + FORK[27:],
        FORK[:18] + struct.pack("<d", math.nan) + FORK[26:],
        FORK[:18] + struct.pack("<d", math.inf) + FORK[26:],
        FORK[:27] + bytes(16),
        FORK[:27] + b"lu\0a" + bytes(12),
        FORK[:27] + b"lu\xff" + bytes(13),
        pack(Forked(1)) + b"\0",
        pack(Ended(1, 9, 1000, 2**20, True))[:-1],
        pack(Ended(1, 9, 1000, 2**20, True))[:-1] + b"\x02",
        TELL,
    ],
)
def test_a_packet_of_fixed_layout_is_exactly_that(packet: bytes) -> None:
    """Too short, too long, of no kind, or with a field that no such message has."""
    with pytest.raises(ProtocolError):
        unpack(packet)


def test_a_zygote_takes_requests_only() -> None:
    """Also not another message that is well-formed."""
    assert fork_request(FORK) == unpack(FORK)
    for message in MESSAGES:
        if not isinstance(message, Fork):
            with pytest.raises(ProtocolError):
                fork_request(pack(message))


@pytest.mark.parametrize(
    "message",
    [
        Fork(2**63, "lua", 1, 1.0, False),
        Fork(1, "", 1, 1.0, False),
        Fork(1, "l" * 17, 1, 1.0, False),
        Fork(1, "lü", 1, 1.0, False),
        Fork(1, "l\0a", 1, 1.0, False),
        Forked(-(2**63) - 1),
    ],
)
def test_what_has_no_place_is_not_sent(message: Any) -> None:
    """It is an error of this side, told before anything is on its way."""
    with pytest.raises(ProtocolError):
        pack(message)


def test_what_is_said_for_each_worker_is_the_same_by_the_short_way() -> None:
    """To the byte."""
    for is_told in (True, False):
        assert ended_packet(7, 9, 1000, 2**20, is_told) == pack(Ended(7, 9, 1000, 2**20, is_told))
    assert len(pack(Forked(7))) == FORKED_BYTES


def test_requests_that_differ_in_the_run_alone_are_of_one_kind() -> None:
    """Everything else makes another kind, so nothing that was looked at stands for what was not."""
    run, kind = run_and_kind(FORK)
    assert run == 1
    assert run_and_kind(pack(Fork(-5, "lua", 2**26, 2.0, True))) == (-5, kind)
    others = [
        Fork(1, "luajit", 2**26, 2.0, True),
        Fork(1, "lua", 2**26 + 1, 2.0, True),
        Fork(1, "lua", 2**26, 2.5, True),
        Fork(1, "lua", 2**26, 2.0, False),
    ]
    assert kind not in {run_and_kind(pack(other))[1] for other in others}


@pytest.mark.parametrize("packet", [b"", FORK[:-1], FORK + b"\0", pack(Forked(1)), b"\xc1\x06" + FORK[2:]])
def test_what_is_no_request_is_of_no_kind(packet: bytes) -> None:
    """Too short, too long, or something else."""
    with pytest.raises(ProtocolError):
        run_and_kind(packet)
