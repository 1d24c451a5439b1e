"""Proofs of passwords: their forms, the bounds on what a server may ask for, and what it must prove itself."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from protocol.errors import UnavailableError
from stdlib.network.passwords import Scram, hidden, md5, native, prepared

NONCE = "rOprNGfwEbeRWgbNEkqO"


def test_native_and_md5_are_those_of_the_manuals() -> None:
    nonce = bytes(range(20))
    stored = hashlib.sha1(hashlib.sha1(b"secret").digest()).digest()
    mask = hashlib.sha1(nonce + stored).digest()
    once = bytes(a ^ b for a, b in zip(native(b"secret", nonce), mask, strict=True))
    assert hashlib.sha1(once).digest() == stored, "as the server checks it"
    assert native(b"", nonce) == b""
    assert md5(b"user", b"pw", b"salt") == b"md5" + hashlib.md5(
        hashlib.md5(b"pwuser").hexdigest().encode() + b"salt"
    ).hexdigest().encode()  # fmt: skip
    assert hidden(b"ab", b"\1\2") == b"\x60\x60\x01"


def server_signature(password: bytes, salt: bytes, rounds: int, message: bytes) -> bytes:
    salted = hashlib.pbkdf2_hmac("sha256", password, salt, rounds)
    return hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")


def test_scram_proves_both_ways() -> None:
    scram, salt = Scram(b"pencil", NONCE), b"0123456789"
    assert scram.first == b"n,,n=,r=" + NONCE.encode()
    challenge = f"r={NONCE}more,s={base64.b64encode(salt).decode()},i=4096".encode()
    answer = scram.final(challenge)
    without_proof, _, proof = answer.rpartition(b",p=")
    message = b"n=,r=" + NONCE.encode() + b"," + challenge + b"," + without_proof
    salted = hashlib.pbkdf2_hmac("sha256", b"pencil", salt, 4096)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    mask = hmac.digest(stored, message, "sha256")
    key = bytes(a ^ b for a, b in zip(base64.b64decode(proof), mask, strict=True))
    assert hashlib.sha256(key).digest() == stored, "as the server checks it (RFC 5802 section 3)"
    good = base64.b64encode(server_signature(b"pencil", salt, 4096, message))
    scram.check(b"v=" + good)
    for wrong in (b"v=" + base64.b64encode(bytes(32)), b"e=invalid-proof", b"", b"v="):
        with pytest.raises(UnavailableError, match="did not prove"):
            scram.check(wrong)
    with pytest.raises(UnavailableError, match="did not prove"):
        Scram(b"pencil", NONCE).check(b"v=" + base64.b64encode(b""))


@pytest.mark.parametrize(
    "challenge",
    [
        b"", b"r=other,s=AAAA,i=4096", f"r={NONCE},s=AAAA,i=4096".encode(), f"r={NONCE}x,s=A,i=4096".encode(),
        f"r={NONCE}x,s=AAAA,i=4095".encode(), f"r={NONCE}x,s=AAAA,i=1000001".encode(), f"m=x,r={NONCE}x".encode(),
        f"r={NONCE}x\0,s=AAAA,i=4096".encode(), b"\xff" * 50,
    ],
)  # fmt: skip
def test_a_challenge_that_is_none_is_refused(challenge: bytes) -> None:
    with pytest.raises(UnavailableError):
        Scram(b"pencil", NONCE).final(challenge)


def test_passwords_are_prepared_as_postgres_does() -> None:
    """RFC 4013 section 3, and what is no text or holds what is prohibited stays as it is."""
    for given, wanted in [
        ("I\u00adX", "IX"), ("user", "user"), ("USER", "USER"), ("\u00aa", "a"), ("\u2168", "IX"), ("\u0007", "\u0007"),
        ("a\u00a0b", "a b"), ("", ""),
    ]:  # fmt: skip
        assert prepared(given.encode()) == wanted.encode(), given
    assert prepared(b"\xff\xfe") == b"\xff\xfe"
