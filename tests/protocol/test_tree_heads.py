"""Tree heads as signed notes: their exact form, and that no other one is taken."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from protocol.errors import ArgumentError, OutriderError, TrustError
from protocol.signing import PrivateKey
from protocol.tree_heads import TreeHead, open_head, origin_of, record_leaf, sign_head

KEY = PrivateKey.generate()
HEAD = TreeHead(88_121, hashlib.sha256(b"root").digest())


def test_the_form_is_that_of_a_signed_note_with_a_checkpoint() -> None:
    """Made out of its parts here, as any other tool for C2SP notes takes it apart."""
    note = sign_head(HEAD, KEY)
    name = f"outrider/{KEY.public.key_id[:16]}"
    text, signature = note.split("\n\n")
    assert text.split("\n") == [name, "88121", base64.b64encode(HEAD.root).decode()]
    dash, signer, encoded = signature.rstrip("\n").split(" ")
    assert (dash, signer, note[-1]) == ("\u2014", name, "\n")
    signed = base64.b64decode(encoded)
    assert signed[:4] == hashlib.sha256(f"{name}\n".encode() + b"\x01" + KEY.public.raw).digest()[:4]
    Ed25519PublicKey.from_public_bytes(KEY.public.raw).verify(signed[4:], f"{text}\n".encode())


def test_what_was_signed_is_read_and_signatures_of_witnesses_are_passed_over() -> None:
    note = sign_head(HEAD, KEY)
    assert open_head(note, KEY.public) == HEAD
    assert open_head(f"{note}\u2014 witness.example AAAAAA==\n", KEY.public) == HEAD
    assert open_head(sign_head(TreeHead(0, bytes(32)), KEY), KEY.public).size == 0


@pytest.mark.parametrize(
    ("was", "becomes"),
    [("88121", "88122"), ("88121", "088121"), ("88121", "-1"), ("88121", "1e3"), ("\u2014 ", "- "), ("\n\n", "\n")],
)
def test_a_head_that_was_changed(was: str, becomes: str) -> None:
    with pytest.raises(OutriderError):
        open_head(sign_head(HEAD, KEY).replace(was, becomes, 1), KEY.public)


def test_a_head_of_another() -> None:
    other = PrivateKey.generate()
    with pytest.raises(TrustError) as caught:
        open_head(sign_head(HEAD, other), KEY.public)
    assert caught.value.reason == "unknown_key"
    stolen = sign_head(HEAD, other).replace(origin_of(other.public), origin_of(KEY.public))
    with pytest.raises(TrustError):
        open_head(stolen, KEY.public)


@pytest.mark.parametrize("note", [None, 7, "", "x" * 2000, "a\n1\nAAAA\n\n", "a\nb\nc\nd\n\n"])
def test_no_note_at_all(note: object) -> None:
    with pytest.raises(ArgumentError):
        open_head(note, KEY.public)


def test_a_leaf_binds_the_record_to_its_agent() -> None:
    digest = hashlib.sha256(b"record").digest()
    assert record_leaf("agt_1", digest) == hashlib.sha256(b"\0\0\5agt_1" + digest).digest()
    assert record_leaf("agt_1", digest) != record_leaf("agt_2", digest)
    assert record_leaf("a", b"b" + digest[1:]) != record_leaf("ab", digest[1:])
