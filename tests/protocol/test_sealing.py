"""Sealed boxes: an independent construction agrees about every byte, and nothing but the right context opens one."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import ArgumentError, TrustError
from protocol.sealing import (
    MAX_PLAIN_BYTES,
    PAD_BYTES,
    Context,
    OpeningKey,
    SealingKey,
    attest,
    attested,
    seal,
)
from protocol.signing import PrivateKey, sign

KEY = OpeningKey(X25519PrivateKey.from_private_bytes(bytes(range(32))))
OTHER = OpeningKey.generate()
CONTEXT = Context("agt_1", "db-password", 3, ("checks/**",))
NOW = datetime(2026, 11, 26, tzinfo=UTC)


# The oracle: the same construction once more, from the RFCs, without a library.


def x25519(scalar: bytes, point: bytes) -> bytes:
    """RFC 7748, section 5, as its pseudocode stands."""
    p, a24 = 2**255 - 19, 121665
    k = int.from_bytes(scalar, "little") & ~7 & ~(128 << 8 * 31) | (64 << 8 * 31)
    u = int.from_bytes(point, "little") & ((1 << 255) - 1)
    x1, x2, z2, x3, z3, swap = u, 1, 0, u, 1, 0
    for t in reversed(range(255)):
        bit = (k >> t) & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b = x2 + z2, x2 - z2
        aa, bb, c, d = a * a % p, b * b % p, x3 + z3, x3 - z3
        da, cb, e = d * a % p, c * b % p, aa - bb
        x3, z3 = (da + cb) ** 2 % p, x1 * (da - cb) ** 2 % p
        x2, z2 = aa * bb % p, e * (aa + a24 * e) % p
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, p - 2, p) % p).to_bytes(32, "little")


def hkdf(secret: bytes, salt: bytes, info: bytes, size: int) -> bytes:
    """RFC 5869."""
    pseudorandom = hmac.new(salt, secret, hashlib.sha256).digest()
    out, block = b"", b""
    for number in range(1, 1 + -(-size // 32)):
        block = hmac.new(pseudorandom, block + info + bytes([number]), hashlib.sha256).digest()
        out += block
    return out[:size]


def chacha20(key: bytes, counter: int, nonce: bytes, data: bytes) -> bytes:
    """RFC 8439, section 2.4."""

    def rotated(value: int, by: int) -> int:
        return (value << by | value >> 32 - by) & 0xFFFFFFFF

    def quarter(s: list[int], a: int, b: int, c: int, d: int) -> None:
        for one, two, three, by in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            s[one] = (s[one] + s[two]) & 0xFFFFFFFF
            s[three] = rotated(s[three] ^ s[one], by)

    def words(raw: bytes) -> list[int]:
        return [int.from_bytes(raw[at : at + 4], "little") for at in range(0, len(raw), 4)]

    out = b""
    for number in range(-(-len(data) // 64)):
        start = [*words(b"expand 32-byte k"), *words(key), counter + number, *words(nonce)]
        s = list(start)
        for _ in range(10):
            for row in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)):
                quarter(s, *row)
            for row in ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
                quarter(s, *row)
        stream = b"".join(((x + y) & 0xFFFFFFFF).to_bytes(4, "little") for x, y in zip(s, start, strict=True))
        out += bytes(x ^ y for x, y in zip(data[64 * number :], stream, strict=False))
    return out


def poly1305(key: bytes, message: bytes) -> bytes:
    """RFC 8439, section 2.5."""
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for at in range(0, len(message), 16):
        total = (total + int.from_bytes(message[at : at + 16] + b"\x01", "little")) * r % (2**130 - 5)
    return ((total + int.from_bytes(key[16:], "little")) & (1 << 128) - 1).to_bytes(16, "little")


def sealed_by_oracle(plain: bytes, ephemeral: bytes, recipient: bytes, context: bytes) -> bytes:
    base = (9).to_bytes(32, "little")
    public = x25519(ephemeral, base)
    keys = hkdf(x25519(ephemeral, recipient), public + recipient, b"outrider.v1/sealed\0" + context, 44)
    key, nonce = keys[:32], keys[32:]
    padded = len(plain).to_bytes(4, "big") + plain
    padded += bytes(-len(padded) % 64)
    data = b"\x01" + public + context
    text = chacha20(key, 1, nonce, padded)
    once = chacha20(key, 0, nonce, bytes(32))
    told = data + bytes(-len(data) % 16) + text + bytes(-len(text) % 16)
    tag = poly1305(once, told + len(data).to_bytes(8, "little") + len(text).to_bytes(8, "little"))
    return b"\x01" + public + text + tag


TEXT = b'{"agent":"agt_1","name":"db-password","scripts":["checks/**"],"version":3}'
# Version, and the ephemeral public key of the scalar 1, 1, 1, ...
VECTOR = "01a4e09292b651c278b9772c569f5fa9bb13d906b46ab68c9df9dc2b4409f8a209"


def test_the_oracle_is_right() -> None:
    """The test vectors of RFC 7748 section 5.2 and RFC 8439 sections 2.4.2 and 2.5.2."""
    scalar = bytes.fromhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")
    point = bytes.fromhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
    assert x25519(scalar, point).hex() == "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"
    sunscreen = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
    sunscreen += b"sunscreen would be it."
    text = chacha20(bytes(range(32)), 1, bytes.fromhex("000000000000004a00000000"), sunscreen)
    assert text.hex().startswith("6e2e359a2568f98041ba0728dd0d6981e97e7aec1d4360c20a27afccfd9fae0b")
    key = bytes.fromhex("85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b")
    assert poly1305(key, b"Cryptographic Forum Research Group").hex() == "a8061dc1305136c6c22b8baf0c0127a9"


def test_a_box_of_the_oracle_opens() -> None:
    box = sealed_by_oracle(b"correct horse", bytes([1]) * 32, KEY.public.raw, TEXT)
    assert box[:33].hex() == VECTOR
    assert KEY.open(box, CONTEXT) == b"correct horse"


def test_the_oracle_agrees_with_every_byte_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(X25519PrivateKey, "generate", lambda: X25519PrivateKey.from_private_bytes(bytes([7]) * 32))
    plain = b"x" * 200
    assert seal(plain, KEY.public, CONTEXT) == sealed_by_oracle(plain, bytes([7]) * 32, KEY.public.raw, TEXT)


@settings(max_examples=30)
@given(st.binary(min_size=4, max_size=MAX_PLAIN_BYTES))
def test_what_is_sealed_opens(plain: bytes) -> None:
    box = seal(plain, KEY.public, CONTEXT)
    assert KEY.open(box, CONTEXT) == plain
    assert plain not in box or len(plain) < 6
    assert (len(box) - 33 - 16) % PAD_BYTES == 0


def test_no_two_boxes_are_alike() -> None:
    assert seal(b"same", KEY.public, CONTEXT) != seal(b"same", KEY.public, CONTEXT)


def test_sizes_within_one_step_look_alike() -> None:
    assert len({len(seal(b"x" * size, KEY.public, CONTEXT)) for size in range(4, 61)}) == 1


# attacks -------------------------------------------------------------------------------------------------------------

ELSEWHERE: dict[str, Context] = {
    "agent": replace(CONTEXT, agent="agt_2"),
    "name": replace(CONTEXT, name="db-other"),
    "older version": replace(CONTEXT, version=2),
    "newer version": replace(CONTEXT, version=4),
    "scripts": replace(CONTEXT, scripts=("**",)),
    "more scripts": replace(CONTEXT, scripts=("checks/**", "evil/**")),
}


@pytest.mark.parametrize("what", ELSEWHERE)
def test_a_box_opens_for_nothing_else(what: str) -> None:
    box = seal(b"secret", KEY.public, CONTEXT)
    with pytest.raises(TrustError) as caught:
        KEY.open(box, ELSEWHERE[what])
    assert caught.value.reason == "not_for_us"


def test_a_box_of_another_agent_does_not_open() -> None:
    with pytest.raises(TrustError) as caught:
        KEY.open(seal(b"secret", OTHER.public, CONTEXT), CONTEXT)
    assert caught.value.reason == "not_for_us"


def test_no_changed_bit_goes_unnoticed() -> None:
    box = seal(b"secret", KEY.public, CONTEXT)
    for at in range(len(box)):
        for bit in (1, 128):
            if (at, bit) == (32, 128):
                continue  # the highest bit of a point is not part of it (RFC 7748, section 5); it is bound all the same
            changed = bytearray(box)
            changed[at] ^= bit
            with pytest.raises(TrustError):
                KEY.open(bytes(changed), CONTEXT)
    changed = bytearray(box)
    changed[32] ^= 128
    with pytest.raises(TrustError):
        KEY.open(bytes(changed), CONTEXT)


@pytest.mark.parametrize("cut", [0, 1, 33, 48, 60])
def test_no_part_of_a_box_opens(cut: int) -> None:
    box = seal(b"secret", KEY.public, CONTEXT)
    for part in (box[:cut], box[cut + 1 :], box + b"\0", box * 200):
        with pytest.raises(TrustError):
            KEY.open(part, CONTEXT)


@pytest.mark.parametrize("point", [bytes(32), b"\x01" + bytes(31)])
def test_points_of_small_order_are_refused(point: bytes) -> None:
    """They would give the same shared secret for every recipient."""
    box = seal(b"secret", KEY.public, CONTEXT)
    with pytest.raises(TrustError):
        KEY.open(box[:1] + point + box[33:], CONTEXT)
    with pytest.raises(ArgumentError):
        seal(b"secret", SealingKey(point), CONTEXT)


def test_padding_is_checked() -> None:
    """What is not zero behind the value would be a second way to write the same secret."""
    for padded in (
        b"\0\0\0\x04aaaa" + b"x" * 56,
        b"\xff" * 64,
        b"\0\0\0\x00" + bytes(60),
        b"\0\0\0\x04aaaa" + bytes(120),
    ):
        box = _sealed_padded(padded)
        with pytest.raises(TrustError) as caught:
            KEY.open(box, CONTEXT)
        assert caught.value.reason == "malformed"


def _sealed_padded(padded: bytes) -> bytes:
    from protocol import sealing

    whole = sealing._padded
    sealing._padded = lambda _: padded
    try:
        return seal(b"secret", KEY.public, CONTEXT)
    finally:
        sealing._padded = whole


@pytest.mark.parametrize("plain", [b"", b"abc", b"x" * (MAX_PLAIN_BYTES + 1)])
def test_a_secret_has_a_size(plain: bytes) -> None:
    with pytest.raises(ArgumentError, match="4 to 8192 bytes"):
        seal(plain, KEY.public, CONTEXT)


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""}, {"name": "../x"}, {"name": "Db"}, {"name": "a/b"}, {"name": "a" * 101}, {"name": "a\n"},
        {"version": 0}, {"version": 1 << 53}, {"version": True}, {"version": "1"}, {"scripts": ()}, {"scripts": ("*",)},
        {"scripts": ("checks/*",)}, {"scripts": ("/checks/**",)}, {"scripts": ("checks/**/x",)}, {"scripts": "checks"},
        {"scripts": ("a/b",) * 17},
    ],
)  # fmt: skip
def test_a_context_is_strict(change: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        replace(CONTEXT, **change)


@pytest.mark.parametrize(
    ("pattern", "script", "fits"),
    [
        ("checks/**", "checks/disk", True), ("checks/**", "checks/deep/er", True), ("checks/**", "checks", False),
        ("checks/**", "checksum/disk", False), ("checks/disk", "checks/disk", True),
        ("checks/disk", "checks/disk2", False),
        ("checks/disk", "checks/disk/x", False), ("**", "anything/at-all", True),
    ],
)  # fmt: skip
def test_who_may_use_it(pattern: str, script: str, fits: bool) -> None:
    assert replace(CONTEXT, scripts=(pattern,)).lets(script) is fits


# keys ----------------------------------------------------------------------------------------------------------------


def test_keys_survive_their_text() -> None:
    again = OpeningKey.from_text(KEY.to_text())
    assert again.public == KEY.public == SealingKey.from_text(KEY.public.to_text())
    assert KEY.to_text().split()[2] not in repr(KEY)


@pytest.mark.parametrize("text", ["", "x", "x25519:AAAA", "ed25519:" + "A" * 43 + "=", None, 5])
def test_what_is_no_key_is_refused(text: Any) -> None:
    with pytest.raises(ArgumentError):
        SealingKey.from_text(text)
    with pytest.raises(ArgumentError) as caught:
        OpeningKey.from_text(str(text))
    assert "AAAA" not in str(caught.value)


def test_an_attestation_is_the_agents_own() -> None:
    identity, stranger = PrivateKey.generate(), PrivateKey.generate()
    envelope = attest("agt_1", KEY.public, identity, NOW)
    assert attested(envelope, "agt_1", identity.public) == KEY.public
    for agent, key, reason in (("agt_2", identity, "mix_and_match"), ("agt_1", stranger, "unknown_key")):
        with pytest.raises(TrustError) as caught:
            attested(envelope, agent, key.public)
        assert caught.value.reason == reason


@pytest.mark.parametrize("change", [{"key": "x25519:AAAA"}, {"issued": "soon"}, {"more": 1}, {"key": None}])
def test_a_malformed_attestation_is_refused(change: dict[str, Any]) -> None:
    identity = PrivateKey.generate()
    body = {"type": "sealing-key", "agent": "agt_1", "key": KEY.public.to_text(), "issued": "2026-11-26T00:00:00Z"}
    with pytest.raises(TrustError) as caught:
        attested(sign("sealing-key", body | change, identity), "agt_1", identity.public)
    assert caught.value.reason == "malformed"


def test_a_statement_of_another_kind_attests_nothing() -> None:
    identity = PrivateKey.generate()
    body = {"type": "order", "agent": "agt_1", "key": KEY.public.to_text(), "issued": "2026-11-26T00:00:00Z"}
    with pytest.raises(TrustError) as caught:
        attested(sign("order", body, identity), "agt_1", identity.public)
    assert caught.value.reason == "wrong_type"
