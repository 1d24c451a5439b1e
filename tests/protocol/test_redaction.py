"""Every form in which a secret is known to come back is found, wherever it stands; what holds none is left alone."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.redaction import MIN_FORM_BYTES, Redactor, forms

SECRET = b'hunter2/"w\xc3\xb6rd"+ %&'
TEXT = SECRET.decode()
MARK = "[secret db]"


def redactor(secret: bytes = SECRET) -> Redactor:
    made = Redactor()
    made.add("db", secret)
    return made


ENCODINGS: dict[str, str] = {
    "as it is": TEXT,
    "hexadecimal": SECRET.hex(),
    "HEXADECIMAL": SECRET.hex().upper(),
    "base64": base64.b64encode(SECRET).decode(),
    "base64 without padding": base64.b64encode(SECRET).decode().rstrip("="),
    "base64 for URLs": base64.urlsafe_b64encode(SECRET).decode(),
    "percent": quote(TEXT, safe=""),
    "percent, lower": quote(TEXT, safe="").replace("%C3%B6", "%c3%b6").replace("%2F", "%2f").replace("%2B", "%2b"),
    "percent, as a path": quote(TEXT),
    "percent, as a form": quote_plus(TEXT),
    "percent, all": "".join(f"%{byte:02X}" for byte in SECRET),
    "JSON": json.dumps(TEXT)[1:-1],
    "JSON, UTF-8": json.dumps(TEXT, ensure_ascii=False)[1:-1],
}


@pytest.mark.parametrize("name", [name for name in ENCODINGS if name != "percent, lower"])
def test_every_form_is_found(name: str) -> None:
    given_text = f"before {ENCODINGS[name]} after"
    made = redactor()
    assert made.text(given_text) == f"before {MARK} after"
    assert made.octets(given_text.encode()) == f"before {MARK} after".encode()


@pytest.mark.parametrize(
    ("secret", "written"),
    [
        ("pass/word", r"pass\/word"),  # PHP, json_encode
        ("a&b<c>d", r"a\u0026b\u003cc\u003ed"),  # Go, encoding/json
        ('s"\u00e9/x', r"s\"\u00e9\/x"),
    ],
)
def test_json_is_written_in_more_than_one_way(secret: str, written: str) -> None:
    assert json.loads(f'"{written}"') == secret
    assert redactor(secret.encode()).text(f'{{"error": "{written}"}}') == '{"error": "[secret db]"}'


def test_escapes_in_small_letters_are_found() -> None:
    assert redactor(b"a/b+cde").text("x=a%2fb%2bcde") == f"x={MARK}"


@settings(max_examples=200)
@given(st.binary(min_size=8, max_size=60), st.binary(max_size=9), st.binary(max_size=9))
def test_base64_of_a_longer_text_shows_no_secret(secret: bytes, before: bytes, after: bytes) -> None:
    """Basic authentication is the usual one: the base64 of ``user:password``."""
    made = redactor(secret)
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        told = made.octets(encode(before + secret + after))
        assert MARK.encode() in told
        rest = told.replace(MARK.encode(), b"")
        assert len(rest) <= len(encode(before + bytes(3) + after)) + 4


def test_lines_of_a_secret_are_found_one_by_one() -> None:
    key = b"-----BEGIN KEY-----\nMIIBVgIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----\n"
    made = redactor(key)
    assert made.text("line 2: hkiG9w0BAQEFAASC") == f"line 2: {MARK}"
    assert made.octets(key.replace(b"\n", b"\r\n")) == MARK.encode()
    assert made.octets(key) == MARK.encode()


def test_spaces_around_it_do_not_hide_it() -> None:
    assert redactor(b"  password\n").text("(password)") == f"({MARK})"


def test_values_are_looked_through_to_the_bottom() -> None:
    made = redactor()
    value = {"a": [1, {"b": f"x{TEXT}"}], f"k{TEXT}": SECRET, "c": (TEXT,), "d": None, "e": True, "f": 1.5}
    assert made.plain(value) == {
        "a": [1, {"b": f"x{MARK}"}], f"k{MARK}": MARK.encode(), "c": [MARK], "d": None, "e": True, "f": 1.5
    }  # fmt: skip


def test_what_is_too_deep_to_look_at_does_not_pass() -> None:
    value: Any = TEXT
    for _ in range(100):
        value = [value]
    assert TEXT not in repr(redactor().plain(value))


def test_a_number_that_is_the_secret_does_not_pass() -> None:
    made = redactor(b"48151623")
    assert made.plain([48151623, 481516234, -48151623]) == [MARK, 481516234, -48151623]


def test_bytes_that_are_no_text_are_found_in_both() -> None:
    made = redactor(b"\xff\xfe\x00\x01key")
    assert made.octets(b"a\xff\xfe\x00\x01keyb") == b"a[secret db]b"
    assert made.text(b"a\xff\xfe\x00\x01keyb".decode("utf-8", "surrogateescape")) == "a[secret db]b"


def test_of_two_secrets_the_longer_goes_first() -> None:
    made = redactor(b"pass")
    made.add("long", b"password")
    assert made.text("password pass") == "[secret long] [secret db]"


def test_no_form_is_short() -> None:
    assert min(map(len, forms(b"abcd"))) >= MIN_FORM_BYTES
    assert forms(b"abc") == frozenset()


def test_what_holds_none_is_untouched() -> None:
    value = {"a": [1, "two", b"three"]}
    assert redactor().plain(value) == value
    idle = Redactor()
    assert idle.is_idle
    assert idle.plain(value) is value


def test_after_its_end_nothing_is_held() -> None:
    made = redactor()
    assert not made.is_idle
    made.clear()
    assert made.is_idle
    assert made.text(TEXT) == TEXT


def test_adding_it_twice_changes_nothing() -> None:
    made = redactor()
    made.add("db", SECRET)
    assert made.text(TEXT) == MARK
