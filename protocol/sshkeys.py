"""Ed25519 keys as OpenSSH writes them, and the messages of its agent. Pure; every length is checked before it is used.

An agent signs the bytes that it is given as they are, so a signature of an Ed25519 key that lies in one is the same as
ours (draft-ietf-sshm-ssh-agent section 4.5; RFC 8709 section 6 for the form). What we let it sign begins with
``DSSEv1 ``. As the start of what SSH's own authentication signs, that would be a session id of over a gigabyte: neither
can be taken for the other.
"""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass
from typing import Final

from protocol.errors import ArgumentError, ProtocolError
from protocol.signing import PublicKey

ALGORITHM: Final = b"ssh-ed25519"
PREFIX: Final = "ssh-ed25519 "
MAX_MESSAGE_BYTES: Final = 256 << 10  # as OpenSSH's agent has it
FAILURE, ASK_KEYS, KEYS, ASK_SIGNATURE, SIGNATURE = 5, 11, 12, 13, 14
MAX_KEYS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Held:
    """A key that an agent holds."""

    public: PublicKey
    comment: str


def public_from_text(text: str, *, where: str | None = None) -> PublicKey:
    """Return the key in a line such as ``ssh-ed25519 AAAA... me@here``.

    Raises:
        ArgumentError: It is no such line.
    """
    words = text.split(maxsplit=2)
    if len(words) >= 2 and words[0] == ALGORITHM.decode():
        try:
            return _public(base64.b64decode(words[1], validate=True))
        except (binascii.Error, ValueError, ProtocolError):
            pass
    raise ArgumentError("is not an Ed25519 key of OpenSSH (ssh-ed25519 AAAA...)", where=where)


def keys_request() -> bytes:
    """Return the message that asks which keys there are."""
    return _message(bytes([ASK_KEYS]))


def signature_request(key: PublicKey, data: bytes) -> bytes:
    """Return the message that asks for a signature."""
    blob = _text(ALGORITHM) + _text(key.raw)
    return _message(bytes([ASK_SIGNATURE]) + _text(blob) + _text(data) + struct.pack(">I", 0))


def body_bytes(head: bytes) -> int:
    """Return how long the body of an answer is, from its first four bytes.

    Raises:
        ProtocolError: Longer than an agent's answers are.
    """
    (size,) = struct.unpack(">I", head)
    if not 1 <= size <= MAX_MESSAGE_BYTES:
        raise ProtocolError(f"the agent's answer has {size} bytes")
    return int(size)


def read_keys(body: bytes) -> list[Held]:
    """Return the Ed25519 keys in an answer; others are passed over.

    Raises:
        ProtocolError: It is no such answer.
    """
    rest = _body(body, KEYS)
    if len(rest) < 4:
        raise ProtocolError("the agent's answer is cut off")
    (count,) = struct.unpack(">I", rest[:4])
    if count > MAX_KEYS:
        raise ProtocolError(f"the agent holds {count} keys")
    rest, found = rest[4:], []
    for _ in range(count):
        blob, rest = _take(rest)
        comment, rest = _take(rest)
        if blob.startswith(_text(ALGORITHM)):
            found.append(Held(_public(blob), comment.decode("utf-8", "replace")))
    return found


def read_signature(body: bytes) -> bytes:
    """Return the 64 bytes of a signature.

    Raises:
        ProtocolError: The agent did not sign, or by another algorithm.
    """
    if body[:1] == bytes([FAILURE]):
        raise ProtocolError("the agent did not sign (was it refused, or is the agent locked?)")
    signed, _ = _take(_body(body, SIGNATURE))
    algorithm, rest = _take(signed)
    value, _ = _take(rest)
    if algorithm != ALGORITHM or len(value) != 64:
        raise ProtocolError("the agent signed by another algorithm")
    return value


def _body(body: bytes, kind: int) -> bytes:
    if body[:1] != bytes([kind]):
        raise ProtocolError(f"the agent answered with a message of kind {body[:1].hex() or 'nothing'}")
    return body[1:]


def _public(blob: bytes) -> PublicKey:
    algorithm, rest = _take(blob)
    raw, rest = _take(rest)
    if algorithm != ALGORITHM or len(raw) != 32 or rest:
        raise ProtocolError("not an Ed25519 key")
    return PublicKey(raw)


def _text(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _take(data: bytes) -> tuple[bytes, bytes]:
    if len(data) < 4:
        raise ProtocolError("the agent's answer is cut off")
    (size,) = struct.unpack(">I", data[:4])
    if size > len(data) - 4:
        raise ProtocolError("the agent's answer is cut off")
    return data[4 : 4 + size], data[4 + size :]


def _message(body: bytes) -> bytes:
    return _text(body)
