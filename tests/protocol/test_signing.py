"""Envelopes: a public tool agrees about every one of them, and nothing that was touched is believed."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope as PublicEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from protocol import limits, signing
from protocol.errors import ArgumentError, OutriderError, TooLargeError, TrustError
from protocol.signing import (
    Envelope,
    PrivateKey,
    PublicKey,
    Signature,
    add_signature,
    canonical_json,
    open_envelope,
    pae,
    payload_type,
    peek,
    sign,
)

ONE, TWO, OTHER = (PrivateKey.from_text(f"outrider-private-v1 ed25519 {base64.b64encode(bytes([n]) * 32).decode()}")
                   for n in (1, 2, 3))  # fmt: skip
KEYS = {key.public.key_id: key.public for key in (ONE, TWO)}
BODY: dict[str, Any] = {"type": "order", "name": "checks/düsk", "parameters": {"b": [1, None, True], "a": "x"}}

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


def by_public_tool(envelope: Envelope, *keys: PrivateKey, threshold: int = 1) -> set[str]:
    """Verify with securesystemslib, which knows nothing of us; returns the key ids that it accepts."""
    known = [
        SSlibKey(key.public.key_id, "ed25519", "ed25519", {"public": key.public.raw.hex()}) for key in keys
    ]  # fmt: skip
    return set(PublicEnvelope.from_dict(json.loads(envelope.to_json())).verify(known, threshold))


def reason_of(envelope: Envelope, kind: str = "order", threshold: int = 1) -> str:
    with pytest.raises(TrustError) as caught:
        open_envelope(envelope, kind, KEYS, threshold)
    return caught.value.reason


@settings(max_examples=40)
@given(plain)
def test_a_public_tool_verifies_what_we_sign(value: Any) -> None:
    """Whoever does not trust our program must be able to check our signatures without it."""
    envelope = sign("order", {"type": "order", "value": value}, ONE, TWO)
    assert by_public_tool(envelope, ONE, TWO, threshold=2) == set(KEYS)
    opened = open_envelope(Envelope.from_json(envelope.to_json()), "order", KEYS, 2)
    assert (opened.body, opened.key_ids) == ({"type": "order", "value": value}, set(KEYS))


def test_we_verify_what_a_public_tool_encodes() -> None:
    """The encoding that is signed is the standard's, not one that only looks like it."""
    envelope = sign("order", BODY, ONE)
    theirs = PublicEnvelope(envelope.payload, envelope.payload_type, {})
    assert theirs.pae() == pae(envelope.payload_type, envelope.payload)
    signed = Envelope(
        theirs.payload_type, theirs.payload, (Signature(ONE.public.key_id, ONE.sign(theirs.pae())),)
    )  # fmt: skip
    assert open_envelope(signed, "order", KEYS).body == BODY


def test_the_encoding_is_the_one_of_the_specification() -> None:
    """The example of DSSE's own protocol document."""
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


@settings(max_examples=60)
@given(st.integers(0), st.integers(1, 255))
def test_a_changed_payload_is_believed_by_nobody(at: int, change: int) -> None:
    envelope = sign("order", BODY, ONE)
    touched = bytearray(envelope.payload)
    touched[at % len(touched)] ^= change
    broken = replace(envelope, payload=bytes(touched))
    assert reason_of(broken) == "bad_signature"
    with pytest.raises(VerificationError):
        by_public_tool(broken, ONE)


@settings(max_examples=60)
@given(st.integers(0, 63), st.integers(1, 255))
def test_a_changed_signature_proves_nothing(at: int, change: int) -> None:
    envelope = sign("order", BODY, ONE)
    value = bytearray(envelope.signatures[0].value)
    value[at] ^= change
    broken = replace(envelope, signatures=(Signature(ONE.public.key_id, bytes(value)),))
    assert reason_of(broken) == "bad_signature"


@pytest.mark.parametrize("value", [b"", bytes(63), bytes(64), bytes(65)])
def test_a_signature_of_any_size_is_only_wrong(value: bytes) -> None:
    envelope = replace(sign("order", BODY), signatures=(Signature(ONE.public.key_id, value),))
    assert reason_of(envelope) == "bad_signature"


def test_one_wrong_signature_refuses_the_envelope_although_others_are_right() -> None:
    envelope = sign("order", BODY, ONE, TWO)
    first, second = envelope.signatures
    assert reason_of(replace(envelope, signatures=(first, replace(second, value=first.value)))) == "bad_signature"


def test_a_statement_of_one_kind_is_worth_nothing_as_another() -> None:
    """An approval that could be shown as an order would run what was only read."""
    envelope = sign("order", BODY, ONE)
    assert reason_of(envelope, "approval") == "wrong_type"
    assert reason_of(replace(envelope, payload_type=payload_type("approval")), "approval") == "bad_signature"
    confused = Envelope(payload_type("approval"), canonical_json(BODY), ())
    assert reason_of(add_signature(confused, ONE), "approval") == "wrong_type", "the body says it too"
    with pytest.raises(ArgumentError):
        sign("approval", BODY, ONE)


def test_unsigned_and_signed_by_strangers_are_told_apart() -> None:
    assert reason_of(sign("order", BODY)) == "unsigned"
    assert reason_of(sign("order", BODY, OTHER)) == "unknown_key"
    renamed = replace(sign("order", BODY), signatures=(Signature("", bytes(64)),))
    assert reason_of(renamed) == "unknown_key"


def test_a_strangers_signature_is_passed_over() -> None:
    assert open_envelope(sign("order", BODY, OTHER, ONE), "order", KEYS).key_ids == {ONE.public.key_id}


def test_the_threshold_counts_different_keys() -> None:
    """One holder who signs twice must not pass for two."""
    one = sign("order", BODY, ONE)
    twice = replace(one, signatures=one.signatures * 2)
    assert reason_of(twice, threshold=2) == "unknown_key"
    assert len(add_signature(one, ONE).signatures) == 1
    assert open_envelope(sign("order", BODY, ONE, TWO), "order", KEYS, 2).key_ids == set(KEYS)
    assert reason_of(sign("order", BODY, ONE, OTHER), threshold=2) == "unknown_key"
    alias = replace(one, signatures=(*one.signatures, Signature("alias", one.signatures[0].value)))
    with pytest.raises(TrustError):
        open_envelope(alias, "order", {**KEYS, "alias": ONE.public}, 2)


@pytest.mark.parametrize("threshold", [0, -1])
def test_no_threshold_is_no_proof(threshold: int) -> None:
    assert reason_of(sign("order", BODY, OTHER), threshold=threshold) == "unknown_key"


# JSON that two readers would read differently -------------------------------------------------------------------------


def signed_bytes(payload: bytes) -> Envelope:
    return add_signature(Envelope(payload_type("order"), payload, ()), ONE)


@pytest.mark.parametrize(
    "payload",
    [
        b'{"type":"order","digest":"a","digest":"b"}',
        b'{"type":"order","a":{"b":1,"b":1}}',
        b'{"type":"order","n":1.5}',
        b'{"type":"order","n":1e3}',
        b'{"type":"order","n":NaN}',
        b'{"type":"order","n":-Infinity}',
        b'{"type":"order","n":"\\ud800"}',
        b'{"type":"order"} {}',
        b'["order"]',
        b'"order"',
        b"",
        b"\xff",
        '{"type":"order"}'.encode("utf-16"),
        b'{"type":"order","n":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
        b'{"type":"order","n":' + b"9" * 5_000 + b"}",
    ],
    ids=lambda payload: repr(payload[:40]),
)
def test_a_payload_that_can_be_read_in_two_ways_is_refused_although_signed(payload: bytes) -> None:
    """Two programs that read different digests out of one signature are how approvals get forged."""
    envelope = signed_bytes(payload)
    with pytest.raises(ArgumentError):
        open_envelope(envelope, "order", KEYS)
    with pytest.raises(ArgumentError):
        peek(envelope)


@pytest.mark.parametrize("value", [1.0, float("nan"), b"x", {1}, {1: 2}, {b"a": 1}, object(), [0.5], "\ud800"])
def test_what_has_no_one_form_is_not_signed(value: Any) -> None:
    with pytest.raises(ArgumentError):
        canonical_json({"a": value})


def test_a_key_that_no_text_can_hold_is_not_signed() -> None:
    with pytest.raises(ArgumentError):
        canonical_json({"\ud800": 1})


def test_a_value_too_deep_to_write_is_a_documented_error() -> None:
    """An enrolment answer comes from a server that has not proved itself yet."""
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    with pytest.raises(ArgumentError):
        canonical_json(deep)


@settings(max_examples=60)
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), plain, max_size=4))
def test_the_canonical_form_does_not_depend_on_the_order(value: dict[str, Any]) -> None:
    turned = dict(reversed(value.items()))
    assert canonical_json(turned) == canonical_json(value)
    assert json.loads(canonical_json(value)) == value


# envelopes on the wire ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"payloadType": 1},
        {"payload": "***"},
        {"payload": "YQ"},
        {"payload": None},
        {"payload": "é"},
        {"signatures": {}},
        {"signatures": ["x"]},
        {"signatures": [{"keyid": "a"}]},
        {"signatures": [{"keyid": 1, "sig": "YQ=="}]},
        {"signatures": [{"keyid": "a", "sig": "YQ==", "more": 1}]},
        {"signatures": [{"keyid": "a", "sig": "*"}]},
        {"more": 1},
    ],
)
def test_what_is_no_envelope_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        Envelope.from_json(sign("order", BODY, ONE).to_plain() | change)


def test_an_envelope_names_each_key_once() -> None:
    with pytest.raises(ArgumentError, match="stands twice"):
        Envelope.from_json('{"payloadType":"a","payload":"","payload":"YQ==","signatures":[]}')


def test_the_size_of_an_envelope_is_bounded() -> None:
    many = sign("order", BODY).to_plain() | {"signatures": [{"keyid": "a", "sig": ""}] * (limits.MAX_SIGNATURES + 1)}
    with pytest.raises(TooLargeError):
        Envelope.from_json(many)
    with pytest.raises(TooLargeError):
        Envelope.from_json(sign("order", BODY).to_plain() | {"payload": "A" * (limits.MAX_ENVELOPE_BYTES + 4)})
    with pytest.raises(TooLargeError):
        Envelope.from_json(" " * (2 * limits.MAX_ENVELOPE_BYTES + 1))


@settings(max_examples=100)
@given(st.binary(max_size=60) | st.text(max_size=60))
def test_hostile_envelopes_raise_only_documented_errors(source: bytes | str) -> None:
    with pytest.raises(OutriderError):
        Envelope.from_json(source)


# keys -----------------------------------------------------------------------------------------------------------------


def test_keys_survive_their_text_form() -> None:
    key = PrivateKey.generate()
    again = PrivateKey.from_text(key.to_text("mia at work"))
    assert again.public == key.public == PublicKey.from_text(key.public.to_text())
    key.public.verify(again.sign(b"x"), b"x")


def test_a_private_key_does_not_show_itself() -> None:
    """It would end up in a log with the next traceback."""
    secret = ONE.to_text().split()[2]
    assert secret not in repr(ONE)
    with pytest.raises(ArgumentError) as caught:
        PrivateKey.from_text(f"outrider-private-v1 rsa {secret}")
    assert secret not in str(caught.value)


@pytest.mark.parametrize("text", ["", "ed25519:", "ed25519:YQ==", "rsa:" + "A" * 43 + "=", None, 3, "ed25519:\ud800"])
def test_what_is_no_public_key_is_refused(text: object) -> None:
    with pytest.raises(ArgumentError, match=r"^place: "):
        PublicKey.from_text(text, where="place")


# keys that prove nothing ---------------------------------------------------------------------------------------------

P = 2**255 - 19
D = -121665 * pow(121666, P - 2, P) % P


def point(raw: bytes) -> tuple[int, int] | None:
    """Decode a point of edwards25519 as RFC 8032 section 5.1.3 does, but with a y that is not reduced as well."""
    y = (int.from_bytes(raw, "little") & ((1 << 255) - 1)) % P
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    return (x, y) if (x * x - square) % P == 0 else None


def doubled(at: tuple[int, int]) -> tuple[int, int]:
    x, y = at
    k = D * x * x * y * y % P
    return 2 * x * y * pow(1 + k, P - 2, P) % P, (y * y + x * x) * pow(1 - k, P - 2, P) % P


def test_a_point_of_small_order_is_no_key() -> None:
    """Anybody can make a signature that verifies with one; a roster must not hold it."""
    assert len(signing._SMALL_ORDER) == 7
    for raw in signing._SMALL_ORDER:
        at = point(raw)
        assert at is not None
        assert doubled(doubled(doubled(at))) == (0, 1), "eight times it is nothing"
        for sign_bit in (0, 0x80):
            text = "ed25519:" + base64.b64encode(raw[:31] + bytes([raw[31] | sign_bit])).decode()
            with pytest.raises(ArgumentError, match="proves nothing"):
                PublicKey.from_text(text)
    at = point(ONE.public.raw)
    assert at is not None
    assert doubled(doubled(doubled(at))) != (0, 1)
