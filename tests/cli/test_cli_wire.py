"""Values as they cross to the server and back: bytes, odd names, messages that break off."""

from __future__ import annotations

import io
import os
from functools import partial
from typing import Any

import pytest

from cli.wire import BrokenStreamError, decoded, encoded, messages, name_of, shown
from protocol.errors import DeniedError, ProtocolError, TooLargeError
from protocol.frames import encode, prefixed


@pytest.mark.parametrize("value", [None, 1, "ü", [b"\xff", {"a": b""}], {"a": ["b"]}])
def test_values_come_back(value: Any) -> None:
    assert decoded(encoded(value)) == value


def test_a_name_of_any_bytes_comes_back() -> None:
    name = os.fsdecode(b"caf\xe9")
    assert encoded(name) == {"$bytes": "Y2Fm6Q=="}
    assert name_of(decoded(encoded(name))) == name
    assert shown(name) == "caf\\xe9"


def test_bytes_that_are_none_are_refused() -> None:
    for wrong in ("?", 7, None):
        with pytest.raises(ProtocolError):
            decoded({"$bytes": wrong})


def stream(*told: Any) -> io.BytesIO:
    return io.BytesIO(b"".join(prefixed(encode(message)) for message in told))


def test_messages_end_with_the_one_that_ends_them() -> None:
    coming = stream(["items", [1]], ["end", {"n": 1}], ["items", [2]])
    assert list(messages(coming.read)) == [["items", [1]], ["end", {"n": 1}]]
    assert list(messages(stream(["value", 7]).read)) == [["value", 7]]


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65535, 65536, 300_000])
def test_bytes_that_are_views_are_the_same_bytes(size: int) -> None:
    data = os.urandom(size)
    coming = stream(["file", {}], ["bytes", data], ["bytes", "no"], ["bytes", data, 1], ["end", {}])
    whole = list(messages(coming.read))
    assert whole[1] == ["bytes", data]
    for most in (1, 7, 1 << 20) if size < 1000 else (70_000, 1 << 20):
        coming.seek(0)
        part = partial(lambda most, left: coming.read(min(left, most)), most)
        file, *pieces, no, three, end = messages(coming.read, part)
        assert [file, no, three, end] == [whole[0], *whole[2:]]
        assert all(word == "bytes" for word, _ in pieces)
        assert b"".join(piece for _, piece in pieces) == data
        assert max(len(piece) for _, piece in pieces) <= max(most, 12)


@pytest.mark.parametrize("cut", [4, 9, 16, 100])
def test_bytes_that_break_off_are_told_too(cut: int) -> None:
    coming = io.BytesIO(stream(["bytes", bytes(300)]).getvalue()[:cut])
    with pytest.raises(BrokenStreamError):
        list(messages(coming.read, coming.read))


def test_an_error_among_them_is_raised_as_its_class() -> None:
    with pytest.raises(DeniedError, match="no rule"):
        list(messages(stream(["error", {"code": "denied", "message": "no rule"}]).read))


@pytest.mark.parametrize("cut", [0, 2, 5])
def test_what_breaks_off_is_told_from_what_is_wrong(cut: int) -> None:
    data = stream(["items", [1, 2, 3]]).getvalue()[:cut]
    with pytest.raises(BrokenStreamError):
        list(messages(io.BytesIO(data).read))


def test_what_is_no_message_is_refused() -> None:
    with pytest.raises(ProtocolError):
        list(messages(stream({"a": 1}).read))
    with pytest.raises(TooLargeError):
        list(messages(io.BytesIO(b"\xff" * 8).read))
