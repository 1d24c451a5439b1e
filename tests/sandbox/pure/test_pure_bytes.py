"""Encodings, hashes and compression, held to what the standards publish; and patterns."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pure_calls import call, refusal, refused, tried

from sandbox.runtimes import CallError

BYTES = st.binary(max_size=80)

#: RFC 4648, section 10.
BASE64 = {
    "": "",
    "f": "Zg==",
    "fo": "Zm8=",
    "foo": "Zm9v",
    "foob": "Zm9vYg==",
    "fooba": "Zm9vYmE=",
    "foobar": "Zm9vYmFy",
}


@pytest.mark.parametrize(("plain", "coded"), BASE64.items())
def test_base64_vectors(plain: str, coded: str) -> None:
    assert call("base64.encode", plain) == coded
    assert call("base64.decode", coded) == plain.encode()
    bare = coded.rstrip("=")
    assert call("base64.encode", plain, {"padding": False}) == bare
    assert call("base64.decode", bare, {"padding": False}) == plain.encode()


@given(BYTES)
def test_base64_round_trip(data: bytes) -> None:
    for url in (False, True):
        coded = call("base64.encode", data, url)
        assert coded == (base64.urlsafe_b64encode if url else base64.b64encode)(data).decode()
        assert call("base64.decode", coded, url) == data


@given(st.text(st.sampled_from("AQg/+-_=\n z"), max_size=9), st.booleans(), st.booleans())
def test_base64_reads_nothing_that_it_would_not_write(text: str, url: bool, padding: bool) -> None:
    """One text for one value: two that mean the same could pass for different ones."""
    data = tried("base64.decode", text, url, padding)
    if not isinstance(data, CallError):
        assert call("base64.encode", data, url, padding) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Zh==", "canonical"),
        ("Zm9=", "canonical"),
        ("Zg=", "padding"),
        ("Z", ""),
        ("Zg==\n", "character 5 is '\\n'"),
        ("Z g=", "character 2 is ' '"),
        ("-_8=", "character 1 is '-'"),
        ("é===", "character 1 is '\\xe9'"),
        ("=", ""),
        ("Zg==Zg==", ""),
    ],
)
def test_bad_base64_is_refused_with_its_place(text: str, words: str) -> None:
    refused("base64.decode", text, words=words)


def test_unpadded_base64_has_no_padding() -> None:
    refused("base64.decode", "Zg==", {"padding": False}, words="holds padding")


@given(BYTES)
def test_hex_round_trip(data: bytes) -> None:
    assert call("hex.encode", data) == data.hex()
    assert call("hex.decode", data.hex().upper()) == data


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0", "odd number"),
        ("0g", "character 2"),
        ("00 00", "character 3"),
        ("é0", "character 1"),
        ("０0", "character 1"),
    ],
)
def test_bad_hex_is_refused_with_its_place(text: str, words: str) -> None:
    refused("hex.decode", text, words=words)


@given(BYTES, st.integers(1, 64))
def test_digests_are_those_of_the_library(data: bytes, size: int) -> None:
    for name in ("md5", "sha1", "sha256", "sha512"):
        assert call(f"digest.{name}", data) == hashlib.new(name, data).hexdigest()
    assert call("digest.blake2b", data, size) == hashlib.blake2b(data, digest_size=size).hexdigest()


def test_text_is_hashed_as_utf8() -> None:
    assert call("digest.sha256", "é") == hashlib.sha256("é".encode()).hexdigest()
    assert call("digest.sha256", b"\xff") == hashlib.sha256(b"\xff").hexdigest()


#: RFC 4231, sections 4.2 to 4.8 without the truncated one; RFC 2202, section 3, the first. Key, data, result.
HMACS = [
    ("sha256", b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    (
        "sha256",
        b"Jefe",
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    ("sha256", b"\xaa" * 20, b"\xdd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
    ("sha256", bytes(range(1, 26)), b"\xcd" * 50, "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
    (
        "sha256",
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    (
        "sha512",
        b"Jefe",
        b"what do ya want for nothing?",
        "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
    ),
    ("sha1", b"\x0b" * 20, b"Hi There", "b617318655057264e28bc0b6fb378c8ef146be00"),
]


@pytest.mark.parametrize(("name", "key", "data", "expected"), HMACS)
def test_hmac_vectors(name: str, key: bytes, data: bytes, expected: str) -> None:
    assert call(f"hmac.{name}", key, data) == expected


@given(st.binary(max_size=300), BYTES)
def test_hmacs_are_those_of_the_library(key: bytes, data: bytes) -> None:
    for name in ("sha1", "sha256", "sha512"):
        assert call(f"hmac.{name}", key, data) == hmac.new(key, data, name).hexdigest()


def test_equal() -> None:
    assert call("hmac.equal", "ab", b"ab") is True
    assert call("hmac.equal", "ab", "ac") is False
    assert call("hmac.equal", "ab", "abc") is False
    refused("hmac.equal", "ab", 1, words="must be bytes or text", parameter="second")


# gzip


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=3), st.integers(1, 9))
def test_gzip_round_trip(parts: list[bytes], level: int) -> None:
    packed = b"".join(call("gzip.compress", part, level) for part in parts)
    assert gzip.decompress(packed) == call("gzip.decompress", packed) == b"".join(parts)


def test_gzip_tells_no_time() -> None:
    """Equal bytes give equal ones, which their hash may be compared by."""
    assert call("gzip.compress", "x") == call("gzip.compress", "x")
    assert call("gzip.compress", "x")[4:8] == bytes(4)


def test_a_bomb_costs_no_more_than_the_bound() -> None:
    """A thousand to one, and again a thousand to one: refused when the bound is passed, in one member or in many."""
    bomb = gzip.compress(bytes(64 << 20))
    refused("gzip.decompress", bomb, words="more than 8388608 bytes", parameter="data", code="too_large")
    refused("gzip.decompress", bomb, 1000, words="more than 1000 bytes", parameter="data", code="too_large")
    many = gzip.compress(bytes(1000)) * 1000
    refused("gzip.decompress", many, 999_999, words="more than 999999 bytes", parameter="data", code="too_large")
    assert call("gzip.decompress", many, 1_000_000) == bytes(1_000_000)
    empty = gzip.compress(b"")
    assert call("gzip.decompress", empty * 2000) == b""


PACKED = gzip.compress(b"abc" * 100, mtime=0)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "ends too early"),
        (PACKED[:-1], "ends too early"),
        (PACKED[:5], "ends too early"),
        (b"abc", "is not gzip"),
        (PACKED + b"x", "ends too early"),
        (PACKED + b"nothing", "after the first member"),
        (PACKED[:-8] + bytes(8), "incorrect data check"),
        (PACKED[:12] + b"\xff\xff" + PACKED[14:], "is not gzip"),
    ],
)
def test_bad_gzip_is_refused(data: bytes, words: str) -> None:
    refused("gzip.decompress", data, words=words, parameter="data")


def test_zeros_may_follow() -> None:
    assert call("gzip.decompress", PACKED + bytes(512)) == b"abc" * 100


# regex


def test_regex() -> None:
    found = {"text": "free=12", "groups": ["free", "12"], "names": {"key": "free"}}
    assert call("regex.find", "(?P<key>[a-z]+)=([0-9]+)", "a free=12") == found
    assert call("regex.find", "x", "a") is None
    assert call("regex.find", "(a)|(b)", "b")["groups"] == [None, "b"]
    assert call("regex.test", "(?i)ERROR", "an error") is True
    assert [match["text"] for match in call("regex.find_all", r"\d+", "1 22 333", {"limit": 2})] == ["1", "22"]
    assert call("regex.split", r"\s*,\s*", "a , b,c") == ["a", "b", "c"]
    assert call("regex.split", ",", "a,b,c", 1) == ["a", "b,c"]
    assert call("regex.find", "é+", b"\xff\xc3\xa9")["text"] == "é".encode()


@pytest.mark.parametrize(
    ("replacement", "made"),
    [
        ("$2:$1", "2:a 4:b"),
        ("${key}!", "a! b!"),
        ("$$$1", "$a $b"),
        ("$0", "a=2 b=4"),
        ("", " "),
        ("$1$$", "a$ b$"),
        ("${1}1", "a1 b1"),
    ],
)
def test_replace(replacement: str, made: str) -> None:
    assert call("regex.replace", r"(?P<key>\w)=(\d)", "a=2 b=4", replacement) == made
    assert call("regex.replace", r"(?P<key>\w)=(\d)", b"a=2 b=4", replacement) == made.encode()


@pytest.mark.parametrize("replacement", ["$", "$3", "${x}", "$x", "a$", "${", "$$$", "${1", "${ 1}", "${9999}"])
def test_a_replacement_that_means_nothing_is_refused(replacement: str) -> None:
    refused("regex.replace", r"(\w)=(\d)", "none", replacement, words="", parameter="replacement")


def test_replacements_do_not_multiply_without_bound() -> None:
    refused("regex.replace", "a", "a" * 10_000, "b" * 1000, words="8 MiB", parameter="replacement", code="too_large")


@given(st.text(max_size=20), st.text(max_size=20))
def test_an_escaped_text_matches_just_itself(text: str, other: str) -> None:
    pattern = call("regex.escape", text)
    assert call("regex.test", f"^(?:{pattern})$", text) or "\n" in text
    assert call("regex.find", pattern, f"{other}{text}")["text"] == text
    assert call("regex.test", rf"\A(?:{pattern})\z", other) == (text == other)


def test_bad_patterns_are_refused_by_name() -> None:
    refused("regex.find", "(a", "a", words="missing )", parameter="pattern")
    refused("regex.test", b"\xff", "a", words="must be text in UTF-8", parameter="pattern")
    refused("regex.find", "a", 5, words="must be text or bytes", parameter="text")


def test_patterns_that_are_kept_are_few() -> None:
    """Each may hold a megabyte of tables."""
    for number in range(100):
        assert call("regex.test", f"a{{{number}}}", "a" * 100)
    from sandbox.pure import regex

    assert len(regex._kept) <= regex.MAX_KEPT


@given(
    st.sampled_from(["gzip.decompress", "base64.decode", "hex.decode"]), st.binary(max_size=60) | st.text(max_size=60)
)
def test_any_bytes_are_read_or_refused(name: str, data: Any) -> None:
    if isinstance(tried(name, data), CallError):
        refusal(name, data)
