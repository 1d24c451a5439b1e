"""Ed25519 keys, canonical JSON and DSSE envelopes.

A statement is a JSON object signed as the payload of a DSSE envelope (secure-systems-lab/dsse, protocol v1.0.2), so
that public tools can check it. The type is bound twice: in the envelope's payload type and in the body's ``type``.
Nothing in a body is believed before enough signatures by keys that the caller named have been checked.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519

from protocol import limits
from protocol.errors import ArgumentError, TooLargeError, TrustError

PRIVATE_PREFIX = "outrider-private-v1"
PUBLIC_PREFIX = "ed25519:"
#: Points of small order, the sign bit away: as a public key each "verifies" signatures that nobody made. The list is
#: that of libsodium (crypto_core/ed25519, ge25519_has_small_order); a test computes that they are what they are.
_SMALL_ORDER = frozenset(
    bytes.fromhex(text)
    for text in (
        "00" * 32,
        "01" + "00" * 31,
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    )
)
MAX_REMEMBERED_BYTES = 8 << 10  # of a statement whose proof is remembered; 256 of them are 2 MiB at most


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An Ed25519 public key; ``key_id`` names it everywhere."""

    raw: bytes  # 32 bytes, RFC 8032

    @property
    def key_id(self) -> str:
        """SHA-256 of the raw key, in hexadecimal."""
        return _key_id(self.raw)

    @classmethod
    def from_text(cls, text: object, *, where: str | None = None) -> PublicKey:
        """Return the key written as ``ed25519:<base64>``.

        Raises:
            ArgumentError: Not such a text, or a point that verifies what nobody signed.
        """
        if isinstance(text, str) and text.startswith(PUBLIC_PREFIX):
            raw = decode_base64(text.removeprefix(PUBLIC_PREFIX), where=where)
            if len(raw) == 32 and raw[:31] + bytes([raw[31] & 0x7F]) in _SMALL_ORDER:
                raise ArgumentError("this public key proves nothing: anybody can sign for it", where=where)
            if len(raw) == 32:
                return cls(raw)
        raise ArgumentError("not a public key (expected ed25519:<base64 of 32 bytes>)", where=where)

    def to_text(self) -> str:
        """Return ``ed25519:<base64>``."""
        return PUBLIC_PREFIX + base64.b64encode(self.raw).decode()

    def verify(self, signature: bytes, data: bytes) -> None:
        """Return if ``signature`` is this key's over ``data``.

        Raises:
            TrustError: ``bad_signature``.
        """
        try:
            (_verify if len(data) > MAX_REMEMBERED_BYTES else _verify_once)(self.raw, signature, data)
        except (InvalidSignature, ValueError):
            raise TrustError(f"a signature by key {self.key_id[:16]} is wrong", reason="bad_signature") from None


@lru_cache(maxsize=1024)
def _key_id(raw: bytes) -> str:
    """Return the id of a key; a roster asks for those of all its members, several times for each run."""
    return hashlib.sha256(raw).hexdigest()


def _verify(raw: bytes, signature: bytes, data: bytes) -> None:
    ed25519.Ed25519PublicKey.from_public_bytes(raw).verify(signature, data)


#: What was proved stays proved: it is a function of these bytes alone, and a failure is never remembered. Whether a key
#: may say a thing, and until when, is asked anew each time.
_verify_once = lru_cache(maxsize=256)(_verify)


class PrivateKey:
    """An Ed25519 private key. Its text form holds the secret: keep it in a file of mode 0600."""

    __slots__ = ("_key", "public")

    def __init__(self, key: ed25519.Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key().public_bytes_raw())

    @classmethod
    def generate(cls) -> PrivateKey:
        """Return a new key from the system's randomness."""
        return cls(ed25519.Ed25519PrivateKey.generate())

    @classmethod
    def from_text(cls, text: str, *, where: str | None = None) -> PrivateKey:
        """Return the key written as ``outrider-private-v1 ed25519 <base64> [comment]``.

        Raises:
            ArgumentError: Not such a text. The message never holds any of it.
        """
        words = text.split(maxsplit=3)
        if len(words) >= 3 and words[0] == PRIVATE_PREFIX and words[1] == "ed25519":
            seed = decode_base64(words[2], where=where)
            if len(seed) == 32:
                return cls(ed25519.Ed25519PrivateKey.from_private_bytes(seed))
        raise ArgumentError(f"not a private key (expected {PRIVATE_PREFIX} ed25519 <base64>)", where=where)

    def to_text(self, comment: str = "") -> str:
        """Return the text form, one line."""
        seed = self._key.private_bytes_raw()
        return " ".join([PRIVATE_PREFIX, "ed25519", base64.b64encode(seed).decode(), comment]).strip() + "\n"

    def sign(self, data: bytes) -> bytes:
        """Return the signature of ``data``, 64 bytes."""
        return self._key.sign(data)

    def __repr__(self) -> str:
        return f"PrivateKey(public={self.public.key_id[:16]})"


class Signer(Protocol):
    """What can sign: a private key, or a way to one that stays elsewhere."""

    public: PublicKey

    def sign(self, data: bytes) -> bytes:
        """Return the Ed25519 signature of ``data``, 64 bytes."""


def decode_base64(text: object, *, where: str | None = None) -> bytes:
    """Return what strict standard base64 ``text`` stands for."""
    if isinstance(text, str):
        try:
            return base64.b64decode(text.encode("ascii"), validate=True)
        except (binascii.Error, UnicodeEncodeError, ValueError):
            pass
    raise ArgumentError("not base64", where=where)


def canonical_json(value: Any) -> bytes:
    """Return the one JSON text of ``value``: sorted keys, no spaces, UTF-8. Floats have no place in what is signed.

    Raises:
        ArgumentError: A float, a key that is not text, a lone surrogate, something JSON does not know, or too deep.
    """
    try:
        _check_canonical(value)
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:  # a lone surrogate, a number of thousands of digits
        raise ArgumentError(f"a signed statement cannot hold this: {type(error).__name__}") from None


def _check_canonical(value: Any) -> None:
    if value is None or type(value) in (bool, int, str):
        return
    if type(value) in (list, tuple):
        for item in value:
            _check_canonical(item)
    elif type(value) is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise ArgumentError("a key in a signed statement is not text")
            _check_canonical(item)
    else:
        raise ArgumentError(f"{type(value).__name__} has no place in a signed statement")


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return DSSE's pre-authentication encoding, the bytes that are signed (DSSE v1.0.2, "Signature Definition")."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def payload_type(kind: str) -> str:
    """Return the payload type of statements of ``kind``."""
    return f"application/vnd.outrider.{kind}+json"


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature on an envelope."""

    key_id: str
    value: bytes  # 64 bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """A DSSE envelope. What is inside is only bytes until :func:`open_envelope` has checked the signatures."""

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...]

    def to_plain(self) -> dict[str, Any]:
        """Return the JSON object of the envelope."""
        return {
            "payloadType": self.payload_type,
            "payload": base64.b64encode(self.payload).decode(),
            "signatures": [
                {"keyid": item.key_id, "sig": base64.b64encode(item.value).decode()} for item in self.signatures
            ],
        }

    def to_json(self) -> str:
        """Return the envelope as JSON text."""
        return json.dumps(self.to_plain(), separators=(",", ":"))

    @classmethod
    def from_json(cls, source: str | bytes | Mapping[str, Any]) -> Envelope:
        """Return the envelope in ``source``, JSON text or the object that it stands for.

        Raises:
            ArgumentError: Not an envelope.
            TooLargeError: Larger than ``limits.MAX_ENVELOPE_BYTES`` or with too many signatures.
        """
        plain = _json_object(source, "the envelope") if isinstance(source, str | bytes) else source
        if (
            not isinstance(plain, Mapping)
            or set(plain) != {"payloadType", "payload", "signatures"}
            or not isinstance(plain["payloadType"], str)
        ):
            raise ArgumentError("not a signed envelope (expected payloadType, payload and signatures)")
        payload, listed = plain["payload"], plain["signatures"]
        if not isinstance(listed, list):
            raise ArgumentError("signatures must be a list", parameter="signatures")
        if len(listed) > limits.MAX_SIGNATURES:
            raise TooLargeError(f"an envelope holds more than {limits.MAX_SIGNATURES} signatures")
        if isinstance(payload, str) and len(payload) > limits.MAX_ENVELOPE_BYTES:
            raise TooLargeError(f"an envelope is over {limits.MAX_ENVELOPE_BYTES} bytes")
        decoded = decode_base64(payload, where="payload")
        return cls(plain["payloadType"], decoded, tuple(_signature(item) for item in listed))


def _signature(item: object) -> Signature:
    if not isinstance(item, dict) or set(item) != {"keyid", "sig"} or not isinstance(item["keyid"], str):
        raise ArgumentError("a signature must have keyid and sig", parameter="signatures")
    return Signature(item["keyid"], decode_base64(item["sig"], where="signatures"))


def _json_object(source: str | bytes, what: str) -> dict[str, Any]:
    if len(source) > 2 * limits.MAX_ENVELOPE_BYTES:  # twice, because base64 and JSON around it make it longer
        raise TooLargeError(f"{what} is over {limits.MAX_ENVELOPE_BYTES} bytes")
    try:
        # Decoded here: json would guess UTF-16 and UTF-32 as well.
        text = source if isinstance(source, str) else source.decode("utf-8")
        value = _DECODER.decode(text)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")  # a lone surrogate by an escape is JSON, but no text
        elif isinstance(source, str):
            text.encode("utf-8")  # nor is one that stands there as it is
    except (ValueError, RecursionError) as error:
        raise ArgumentError(f"{what} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ArgumentError(f"{what} is not a JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice")
    return result


def _refuse_number(text: str) -> Any:
    raise ValueError(f"{text} has no place in a signed statement")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_refuse_number, parse_constant=_refuse_number
)  # as json.loads would make for each text


@dataclass(frozen=True, slots=True)
class Opened:
    """A statement whose signatures were checked."""

    body: dict[str, Any]
    key_ids: frozenset[str]  # every known key whose signature is right; at least the threshold


def sign(kind: str, body: dict[str, Any], *keys: Signer) -> Envelope:
    """Return ``body`` signed by each of ``keys`` as a statement of ``kind``; ``body["type"]`` must say the same."""
    if body.get("type") != kind:
        raise ArgumentError(f"a statement of kind {kind} must have type {kind!r}", parameter="type")
    unsigned = Envelope(payload_type(kind), canonical_json(body), ())
    for key in keys:
        unsigned = add_signature(unsigned, key)
    return unsigned


def add_signature(envelope: Envelope, key: Signer) -> Envelope:
    """Return ``envelope`` with the signature of ``key`` added; the same key signs only once."""
    others = tuple(item for item in envelope.signatures if item.key_id != key.public.key_id)
    value = key.sign(pae(envelope.payload_type, envelope.payload))
    return Envelope(envelope.payload_type, envelope.payload, (*others, Signature(key.public.key_id, value)))


def open_envelope(
    envelope: Envelope, kind: str, keys: Mapping[str, PublicKey], threshold: int = 1, *, what: str | None = None
) -> Opened:
    """Return the statement in ``envelope`` after ``threshold`` different keys of ``keys`` have proved it.

    Signatures by keys that are not in ``keys`` are passed over; a wrong signature in the name of a known key refuses
    the whole envelope, because somebody tampered with it.

    Raises:
        TrustError: ``unsigned``, ``unknown_key``, ``bad_signature`` or ``wrong_type``.
        ArgumentError: The payload is signed but is not a statement of ``kind``.
    """
    named = what or f"the {kind}"
    if envelope.payload_type != payload_type(kind):
        raise TrustError(f"{named} is signed as something else ({envelope.payload_type[:80]!r})", reason="wrong_type")
    if not envelope.signatures:
        raise TrustError(f"{named} is not signed", reason="unsigned")
    signed = pae(envelope.payload_type, envelope.payload)
    proved: set[str] = set()
    for item in envelope.signatures:
        key = keys.get(item.key_id)
        if key is not None and key.key_id == item.key_id:
            key.verify(item.value, signed)
            proved.add(item.key_id)
    if len(proved) < max(1, threshold):
        raise TrustError(
            f"{named} is signed by {len(proved)} of the {max(1, threshold)} known keys it needs", reason="unknown_key"
        )
    body = _json_object(envelope.payload, named)
    if body.get("type") != kind:
        raise TrustError(f"{named} says it is a {str(body.get('type'))[:40]!r}", reason="wrong_type")
    return Opened(body, frozenset(proved))


def peek(envelope: Envelope) -> dict[str, Any]:
    """Return what the payload claims, unproved: only to name it in an error or to find which keys to ask for."""
    return _json_object(envelope.payload, "the statement")
