"""Packets between two processes of ours: each field of the type that its class declares, or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from protocol.errors import ProtocolError, TooLargeError
from protocol.frames import encode
from protocol.packets import Packets


@dataclass(frozen=True, slots=True)
class One:
    name: bytes
    items: list[bytes]
    ids: list[int] | None


@dataclass(frozen=True, slots=True)
class Two:
    is_so: bool
    seconds: float


PACKETS: Packets[One | Two] = Packets({1: One, 2: Two})
MESSAGES = [One(b"\xff", [b"a", b""], None), One(b"", [], [1, 2]), Two(True, 0.5), Two(False, 3)]


@pytest.mark.parametrize("message", MESSAGES)
def test_a_packet_comes_back_as_it_was(message: Any) -> None:
    """Bytes that are no text included."""
    assert PACKETS.unpack(PACKETS.pack(message)) == message


@pytest.mark.parametrize(
    "parts",
    [
        None, [], ["1"], [3, 1], [True], [1, b"", []], [1, b"", [], None, 1], [1, "a", [], None], [1, b"", ["a"], None],
        [1, b"", [], [True]], [1, b"", [], [1.0]], [1, b"", [], "x"], [2, 1, 0.5], [2, None, 0.5], [2, True, True],
        [2, True, "1"],
    ],
)  # fmt: skip
def test_what_fits_no_class_is_refused(parts: Any) -> None:
    """Also the items of lists: they become arguments of system calls."""
    with pytest.raises(ProtocolError):
        PACKETS.unpack(encode(parts))


def test_what_no_socket_takes_is_refused_before_it_is_sent() -> None:
    with pytest.raises(TooLargeError):
        PACKETS.pack(One(bytes(1 << 20), [], None))
