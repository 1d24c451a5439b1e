"""Tree heads: what a server signs about all records of all agents, and what of a record goes into the tree.

A head is a signed note with a checkpoint in it (C2SP, signed-note and tlog-checkpoint), so that public tools can check
it: origin, number of records, root in base64; then, behind an empty line, the name of the key and a signature.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Final

from protocol.errors import ArgumentError, TrustError
from protocol.merkle import HASH_BYTES, MAX_SIZE, leaf_hash
from protocol.signing import PrivateKey, PublicKey, decode_base64

MAX_NOTE_CHARACTERS: Final = 1_000
_ED25519: Final = b"\x01"  # the type of a key in a signed note
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class TreeHead:
    """How many records there are, and the root of the tree over them."""

    size: int
    root: bytes


def record_leaf(agent: str, digest: bytes) -> bytes:
    """Return the hash of the leaf that stands for a record.

    The leaf is the agent's id in UTF-8, behind its length in two bytes (big endian), then the record's hash, which is
    SHA-256 over its exact stored bytes. So the tree binds each record to its agent as well, and the records of one
    cannot be passed off as another's. Leaves stand in the order in which the server took the records in.

    Args:
        agent: The id; ``server`` for the server's own ledger.
        digest: As of :func:`protocol.ledger.record_hash`.
    """
    name = agent.encode()
    return leaf_hash(len(name).to_bytes(2, "big") + name + digest)


def origin_of(key: PublicKey) -> str:
    """Return the origin and key name of a server's heads."""
    return f"outrider/{key.key_id[:16]}"


def sign_head(head: TreeHead, key: PrivateKey) -> str:
    """Return a head as a signed note."""
    origin = origin_of(key.public)
    text = f"{origin}\n{head.size}\n{base64.b64encode(head.root).decode()}\n"
    signed = _key_hash(origin, key.public) + key.sign(text.encode())
    return f"{text}\n\u2014 {origin} {base64.b64encode(signed).decode()}\n"


def open_head(note: object, key: PublicKey) -> TreeHead:
    """Return the head in a note that ``key`` signed.

    Raises:
        ArgumentError: It is no such note.
        TrustError: ``unknown_key``: no signature of this key is on it; ``bad_signature``.
    """
    if not isinstance(note, str) or len(note) > MAX_NOTE_CHARACTERS:
        raise ArgumentError("a tree head is a signed note", parameter="note")
    text, empty, signatures = note.partition("\n\n")
    lines = text.split("\n")
    if not empty or len(lines) != 3 or not _SIZE.fullmatch(lines[1]) or int(lines[1]) > MAX_SIZE:
        raise ArgumentError("a tree head has an origin, a size and a root, then signatures", parameter="note")
    root = decode_base64(lines[2], where="the root of a tree head")
    if len(root) != HASH_BYTES:
        raise ArgumentError("the root of a tree head has 32 bytes", parameter="note")
    origin = origin_of(key)
    if lines[0] != origin:
        raise TrustError(f"the tree head is of {lines[0]!r:.80}, not of {origin}", reason="unknown_key")
    key.verify(_signature(signatures, origin, key), f"{text}\n".encode())
    return TreeHead(int(lines[1]), root)


def _signature(lines: str, name: str, key: PublicKey) -> bytes:
    """Return the signature of a key; those of others, such as witnesses, are passed over."""
    for line in lines.split("\n"):
        words = line.split(" ")
        if len(words) == 3 and words[:2] == ["\u2014", name]:
            signed = decode_base64(words[2], where="the signature of a tree head")
            if signed[:4] == _key_hash(name, key):
                return signed[4:]
    raise TrustError(f"the tree head has no signature of {name}", reason="unknown_key")


def _key_hash(name: str, key: PublicKey) -> bytes:
    return hashlib.sha256(f"{name}\n".encode() + _ED25519 + key.raw).digest()[:4]
