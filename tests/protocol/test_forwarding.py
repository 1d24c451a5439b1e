"""The header of a forwarded connection and the message before its bytes: strict, bounded, cut anywhere."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.errors import ArgumentError, ProtocolError
from protocol.forwarding import MAX_PREFACE_BYTES, Preface, check_header, preface
from protocol.frames import encode, prefixed

FORWARD = {"act": "forward", "host": "db", "port": 5432}


@pytest.mark.parametrize(
    "header",
    [
        FORWARD,
        FORWARD | {"peer": "127.0.0.1:9", "max_bytes": 1, "ttl_s": 0.5},
        {"act": "listen", "address": "127.0.0.1", "port": 80},
        {"act": "accept", "connection": 3},
    ],
)
def test_what_a_client_may_ask(header: dict[str, Any]) -> None:
    assert check_header(header) == header


@pytest.mark.parametrize(
    ("header", "word"),
    [
        ({}, "act"), ({"act": "call", "call": "fs.read"}, "act"), ({"act": ["forward"]}, "act"),
        ({"act": "forward", "host": "db"}, "port"), (FORWARD | {"session": "s_2"}, "session"),
        (FORWARD | {"port": 0}, "port"), (FORWARD | {"port": 65_536}, "port"), (FORWARD | {"port": True}, "port"),
        (FORWARD | {"port": "80"}, "port"), (FORWARD | {"host": "x" * 256}, "host"),
        (FORWARD | {"host": "a\nb"}, "host"),
        (FORWARD | {"host": b"db"}, "host"), (FORWARD | {"max_bytes": 0}, "max_bytes"),
        (FORWARD | {"max_bytes": 1 << 60}, "max_bytes"), (FORWARD | {"ttl_s": float("nan")}, "ttl_s"),
        (FORWARD | {"ttl_s": True}, "ttl_s"), ({"act": "accept", "connection": -1}, "connection"),
        ({"act": "accept", "connection": 1, "host": "x"}, "host"),
    ],
)  # fmt: skip
def test_what_it_may_not(header: dict[str, Any], word: str) -> None:
    """Another session's id in the header must not lead anybody into that session."""
    with pytest.raises(ArgumentError, match=word):
        check_header(header)


def test_the_message_is_found_wherever_it_is_cut() -> None:
    data = preface("open", {"ip": "192.0.2.1"}) + b"bytes of the connection"
    for cut in range(len(data)):
        reader = Preface()
        found = reader.feed(data[:cut])
        if found is None:
            found = reader.feed(data[cut:])
            assert found is not None
            assert found[2] == b"bytes of the connection"
        assert found[:2] == ("open", {"ip": "192.0.2.1"})


@pytest.mark.parametrize(
    "data", [b"\xff\xff\xff\xff", (MAX_PREFACE_BYTES).to_bytes(4, "big"), prefixed(b"\xc1"), prefixed(encode(["open"]))]
)
def test_anything_else_is_refused_before_it_is_kept(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        Preface().feed(data)
