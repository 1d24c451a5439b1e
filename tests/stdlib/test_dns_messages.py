"""DNS messages: what is asked, what is read, and that a hostile answer costs little and breaks nothing."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netlab import message

from stdlib.network.dns_messages import TYPES, Answer, AnswerError, question, read

ASKED = question(0x1234, "www.example.org", "A")


def test_what_is_asked() -> None:
    assert ASKED == (
        b"\x12\x34\x01\x00\0\1\0\0\0\0\0\1\3www\7example\3org\0\0\1\0\1"  # RFC 1035 section 4.1
        b"\0\0\x29\x04\xd0\0\0\0\0\0\0"  # RFC 6891 section 6.1.2
    )


@pytest.mark.parametrize(
    ("kind", "data", "value"),
    [
        ("A", b"\xc0\0\2\1", "192.0.2.1"), ("AAAA", b"\x20\1\x0d\xb8" + bytes(11) + b"\1", "2001:db8::1"),
        ("NS", b"\2ns\xc0\x10", "ns.example.org"), ("CNAME", b"\0", "."), ("PTR", b"\1a\0", "a"),
        ("MX", b"\0\x0a\4mail\xc0\x10", "10 mail.example.org"), ("TXT", b"\1a\0", '"a" ""'),
        ("TXT", b"\4\"\\\n\xff", '"\\"\\\\\\010\\255"'), ("SRV", b"\0\1\0\2\1\xbb\xc0\x0c", "1 2 443 www.example.org"),
        ("SOA", b"\1a\0\1b\0" + bytes(range(20)), "a b 66051 67438087 134810123 202182159 269554195"),
        ("CAA", b"\x80\5issueletsencrypt.org", '128 issue "letsencrypt.org"'), ("NS", b"\3a.b\0", "a\\.b"),
    ],
)  # fmt: skip
def test_what_is_read(kind: str, data: bytes, value: str) -> None:
    asked = question(1, "www.example.org", kind)
    found = read(message(asked, (TYPES[kind], data)), asked)
    assert [(r.name, r.type, r.ttl, r.value) for r in found.records] == [("www.example.org", kind, 300, value)]


def test_records_that_we_do_not_know_are_left_out() -> None:
    assert read(message(ASKED, (99, b"x"), (1, b"\1\2\3\4")), ASKED).records[0].value == "1.2.3.4"


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("A", b"\1\2\3"), ("A", b"\1\2\3\4\5"), ("AAAA", b"x" * 15), ("NS", b""), ("NS", b"\5abc\0"),
        ("NS", b"\xc0\xff"),
        ("NS", b"\xc0\x2d"), ("NS", b"\xff\xff"), ("NS", b"\x80a\0"), ("MX", b"\0"), ("TXT", b"\5ab"),
        ("CAA", b"\0\x09abc"),
        ("SOA", b"\0\0\1"), ("SRV", b"\0\1\0\2\1\xbb"), ("NS", (b"\x3f" + b"a" * 63) * 4 + b"\0"), ("NS", b"\xc0"),
    ],
)  # fmt: skip
def test_what_cannot_be_read(kind: str, data: bytes) -> None:
    asked = question(1, "www.example.org", kind)
    with pytest.raises(AnswerError):
        read(message(asked, (TYPES[kind], data)), asked)


def test_names_that_point_in_circles_end() -> None:
    for loop in (b"\xc0\x2d", b"\1a\xc0\x2d", b"\xc0\x2f\xc0\x2d"):
        with pytest.raises(AnswerError):
            read(message(ASKED, (2, loop)), ASKED)


def test_too_many_records_are_refused() -> None:
    with pytest.raises(AnswerError, match="more than 256"):
        read(message(ASKED, *[(1, b"\1\2\3\4")] * 257), ASKED)


@given(st.binary(max_size=300))
def test_bytes_are_read_or_refused(data: bytes) -> None:
    for candidate in (data, ASKED[:2] + b"\x81\x80" + data, message(ASKED) + data):
        with suppress(AnswerError):
            assert isinstance(read(candidate, ASKED), Answer)


@given(st.data())
def test_an_answer_with_a_flipped_byte_is_read_or_refused(data: st.DataObject) -> None:
    whole = bytearray(message(ASKED, (1, b"\1\2\3\4"), (2, b"\2ns\xc0\x10"), (16, b"\3abc")))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(AnswerError):
        assert isinstance(read(bytes(whole), ASKED), Answer)
