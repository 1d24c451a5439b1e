"""SOCKS5 as a script of bytes: what is asked is heard however it is cut, and garbage is refused and bounded."""

from __future__ import annotations

import random

import pytest

from cli.forwarding.socks import MAX_BYTES, Reply, Socks, code_for
from cli.forwarding.specs import Place
from protocol.errors import ProtocolError

GREETING = b"\x05\x02\x00\x02"
V4 = b"\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50"
NAME = b"\x05\x01\x00\x03\x0bexample.org\x01\xbb"
V6 = b"\x05\x01\x00\x04" + bytes(15) + b"\x01\x00\x16"


@pytest.mark.parametrize(
    ("request_", "place"), [(V4, Place("192.0.2.1", 80)), (NAME, Place("example.org", 443)), (V6, Place("::1", 22))]
)
def test_a_connection_is_asked_for_byte_by_byte(request_: bytes, place: Place) -> None:
    socks = Socks()
    for byte in GREETING + request_:
        assert socks.target is None
        socks.feed(bytes([byte]))
    assert socks.target == place
    assert socks.answers() == b"\x05\x00"
    assert socks.answers() == b""


def test_what_comes_behind_the_request_is_kept() -> None:
    socks = Socks()
    socks.feed(GREETING + V4 + b"GET /")
    assert (socks.target, socks.rest) == (Place("192.0.2.1", 80), b"GET /")


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"\x04\x01", b""), (b"GET / HTTP/1.1\r\n", b""), (b"\x05\x01\x02", b"\x05\xff"), (b"\x05\x00", b"\x05\xff"),
        (GREETING + b"\x04", b"\x05\x00"), (GREETING + b"\x05\x02", b"\x05\x00" + bytes([5, 7])),
        (GREETING + b"\x05\x01\x01", b"\x05\x00"), (GREETING + b"\x05\x01\x00\x02\x00", b"\x05\x00" + bytes([5, 8])),
        (GREETING + V4[:-2] + b"\0\0", b"\x05\x00" + bytes([5, 8])),
        (GREETING + b"\x05\x01\x00\x03\x00\x00\x50", b"\x05\x00" + bytes([5, 8])),
        (GREETING + b"\x05\x01\x00\x03\x04127.\x00\x50", b"\x05\x00" + bytes([5, 8])),
    ],
)  # fmt: skip
def test_garbage_is_refused_with_the_answer_that_the_rfc_has(data: bytes, answer: bytes) -> None:
    socks = Socks()
    with pytest.raises(ProtocolError):
        socks.feed(data)
    assert socks.answers().startswith(answer)
    assert socks.target is None


def test_random_bytes_raise_what_is_documented_and_fill_no_memory() -> None:
    source = random.Random(5)
    for _ in range(3000):
        socks = Socks()
        try:
            for _ in range(20):
                socks.feed(b"\x05" + source.randbytes(source.randrange(40)))
                if socks.target is not None:
                    break
        except ProtocolError:
            continue
        finally:
            assert len(socks._buffer) <= MAX_BYTES + 41


def test_errors_of_ours_have_an_answer() -> None:
    assert [code_for(code) for code in ("denied", "unavailable", "not_found", "internal")] == [
        Reply.NOT_ALLOWED, Reply.REFUSED, Reply.HOST_UNREACHABLE, Reply.FAILURE,
    ]  # fmt: skip
