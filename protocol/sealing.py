"""Sealed boxes for secrets: anybody can seal one, only one agent can open it, and only for what it was sealed for.

A box is ``version, ephemeral public key, ciphertext``. X25519 (RFC 7748) between a fresh key and the agent's sealing
key gives a secret that HKDF-SHA256 (RFC 5869) turns into a key and a nonce for ChaCha20-Poly1305 (RFC 8439):

    key, nonce = HKDF(X25519(...), salt = ephemeral || recipient, info = "outrider.v1/sealed\\0" || context, 44 bytes)

- Each box has a key of its own, so the nonce needs no counter.
- The context (agent, name, version, who may use it) is bound as additional data and into the key. A box that is moved
  to another agent, name or version, or whose scripts are changed, does not open.
- The plain value is padded, so that its size in bytes does not show, only its size in steps of ``PAD_BYTES``.
- A box proves nothing about who sealed it. What it protects is the value.

The agent's public sealing key is attested by its Ed25519 key, in a signed statement of kind ``sealing-key``.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from protocol import limits
from protocol.errors import ArgumentError, OutriderError, TrustError
from protocol.names import check_pattern, fits
from protocol.signing import Envelope, PrivateKey, PublicKey, canonical_json, decode_base64, open_envelope, sign
from protocol.timestamps import moment, stamp

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

VERSION: Final = 1
DOMAIN: Final = b"outrider.v1/sealed\0"
STATEMENT: Final = "sealing-key"
PUBLIC_PREFIX: Final = "x25519:"
PRIVATE_PREFIX: Final = "outrider-sealing-v1"
KEY_BYTES: Final = 32
PAD_BYTES: Final = 64
MAX_PLAIN_BYTES: Final = 8 << 10  # of a secret; the private key of a certificate has about 3 KiB
MIN_PLAIN_BYTES: Final = 4  # shorter ones cannot be found again in what a run says without finding everything else
_LENGTH_BYTES: Final = 4
_TAG_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_HEAD_BYTES: Final = 1 + KEY_BYTES
MAX_BOX_BYTES: Final = _HEAD_BYTES + MAX_PLAIN_BYTES + 2 * PAD_BYTES + _TAG_BYTES
MAX_PATTERNS: Final = 16  # of scripts that may use one secret; chosen without measurement
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_MAX_NAME_CHARS: Final = 100


@dataclass(frozen=True, slots=True)
class Context:
    """What a box is for; it opens for exactly this."""

    agent: str  # id of the agent that may open it
    name: str  # of the secret
    version: int  # counts up; an agent takes no older one than it has seen
    scripts: tuple[str, ...]  # who may use it: names, or namespaces such as ``checks/**``

    def __post_init__(self) -> None:
        check_name(self.name)
        if type(self.version) is not int or not 1 <= self.version <= limits.MAX_SEQUENCE:
            raise ArgumentError("the version of a secret is a whole number from 1", parameter="version")
        check_scripts(self.scripts)

    def to_bytes(self) -> bytes:
        """Return the one text of this context."""
        return canonical_json(
            {"agent": self.agent, "name": self.name, "scripts": list(self.scripts), "version": self.version}
        )

    def lets(self, script: str) -> bool:
        """Tell whether the script of this name may use the secret."""
        return any(fits(pattern, script) for pattern in self.scripts)


def check_name(name: object) -> str:
    """Return ``name`` if a secret can be called so.

    Raises:
        ArgumentError: It cannot.
    """
    if type(name) is not str or len(name) > _MAX_NAME_CHARS or not _NAME.fullmatch(name):
        raise ArgumentError(
            f"{str(name)[:60]!r} is no name for a secret (such as db-password, at most {_MAX_NAME_CHARS} characters)",
            parameter="name",
        )
    return name


def check_scripts(scripts: object) -> tuple[str, ...]:
    """Return the patterns of scripts that may use a secret.

    Raises:
        ArgumentError: None, too many, or one that is no pattern.
    """
    if not isinstance(scripts, (list, tuple)) or not 1 <= len(scripts) <= MAX_PATTERNS:
        raise ArgumentError(f"a secret is for 1 to {MAX_PATTERNS} scripts or namespaces", parameter="scripts")
    return tuple(check_pattern(pattern, parameter="scripts") for pattern in scripts)


@dataclass(frozen=True, slots=True)
class SealingKey:
    """The public half of an agent's sealing key."""

    raw: bytes  # 32 bytes, RFC 7748

    @classmethod
    def from_text(cls, text: object, *, where: str | None = None) -> SealingKey:
        """Return the key written as ``x25519:<base64>``.

        Raises:
            ArgumentError: Not such a text.
        """
        if isinstance(text, str) and text.startswith(PUBLIC_PREFIX):
            raw = decode_base64(text.removeprefix(PUBLIC_PREFIX), where=where)
            if len(raw) == KEY_BYTES:
                return cls(raw)
        raise ArgumentError("not a sealing key (expected x25519:<base64 of 32 bytes>)", where=where)

    def to_text(self) -> str:
        """Return ``x25519:<base64>``."""
        return PUBLIC_PREFIX + base64.b64encode(self.raw).decode()


class OpeningKey:
    """The private half. Its text form holds the secret: keep it in a file of mode 0600."""

    __slots__ = ("_key", "public")

    def __init__(self, key: X25519PrivateKey) -> None:
        self._key = key
        self.public = SealingKey(key.public_key().public_bytes_raw())

    @classmethod
    def generate(cls) -> OpeningKey:
        """Return a new key from the system's randomness."""
        return cls(X25519PrivateKey.generate())

    @classmethod
    def from_text(cls, text: str, *, where: str | None = None) -> OpeningKey:
        """Return the key written as ``outrider-sealing-v1 x25519 <base64>``.

        Raises:
            ArgumentError: Not such a text. The message never holds any of it.
        """
        words = text.split()
        if len(words) == 3 and words[:2] == [PRIVATE_PREFIX, "x25519"]:
            raw = decode_base64(words[2], where=where)
            if len(raw) == KEY_BYTES:
                return cls(X25519PrivateKey.from_private_bytes(raw))
        raise ArgumentError(f"not a sealing key (expected {PRIVATE_PREFIX} x25519 <base64>)", where=where)

    def to_text(self) -> str:
        """Return the text form, one line."""
        raw = self._key.private_bytes_raw()
        return f"{PRIVATE_PREFIX} x25519 {base64.b64encode(raw).decode()}\n"

    def open(self, box: bytes, context: Context) -> bytes:
        """Return what was sealed for this key and exactly this context.

        Raises:
            TrustError: ``not_for_us``: it was sealed for another key, agent, name, version or other scripts, or it was
                changed; nobody can tell which. ``malformed``: it is no box.
        """
        if type(box) is not bytes or not _HEAD_BYTES + _TAG_BYTES < len(box) <= MAX_BOX_BYTES:
            raise TrustError(f"the sealed secret {context.name} does not have its size", reason="malformed")
        if box[0] != VERSION:
            raise TrustError(f"the sealed secret {context.name} is of a form not known here", reason="malformed")
        ephemeral = box[1:_HEAD_BYTES]
        try:
            shared = self._key.exchange(X25519PublicKey.from_public_bytes(ephemeral))
            cipher, nonce = _cipher(shared, ephemeral, self.public, context)
            padded = cipher.decrypt(nonce, box[_HEAD_BYTES:], box[:_HEAD_BYTES] + context.to_bytes())
        except (InvalidTag, ValueError):  # the latter: a point of small order (RFC 7748, section 6.1)
            raise TrustError(
                f"the sealed secret {context.name} version {context.version} does not open here: it was sealed for"
                " another agent, name, version or scripts, or it was changed",
                reason="not_for_us",
            ) from None
        return _unpadded(padded, context)

    def __repr__(self) -> str:
        return f"OpeningKey(public={self.public.to_text()})"


def seal(plain: bytes, key: SealingKey, context: Context) -> bytes:
    """Return ``plain`` so that only the holder of ``key`` can read it, and only as ``context``.

    Raises:
        ArgumentError: Too short or too long for a secret, or the key is no usable one.
    """
    if not MIN_PLAIN_BYTES <= len(plain) <= MAX_PLAIN_BYTES:
        raise ArgumentError(f"a secret has {MIN_PLAIN_BYTES} to {MAX_PLAIN_BYTES} bytes", parameter="value")
    ephemeral = X25519PrivateKey.generate()
    public = ephemeral.public_key().public_bytes_raw()
    try:
        shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(key.raw))
    except ValueError:
        raise ArgumentError("the agent's sealing key is no usable one", parameter="key") from None
    cipher, nonce = _cipher(shared, public, key, context)
    head = bytes([VERSION]) + public
    return head + cipher.encrypt(nonce, _padded(plain), head + context.to_bytes())


def _cipher(shared: bytes, ephemeral: bytes, key: SealingKey, context: Context) -> tuple[ChaCha20Poly1305, bytes]:
    # Only where there are secrets: the ciphers are not small.
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    derived = HKDF(
        algorithm=SHA256(), length=KEY_BYTES + _NONCE_BYTES, salt=ephemeral + key.raw, info=DOMAIN + context.to_bytes()
    ).derive(shared)
    return ChaCha20Poly1305(derived[:KEY_BYTES]), derived[KEY_BYTES:]


def _padded(plain: bytes) -> bytes:
    whole = len(plain).to_bytes(_LENGTH_BYTES, "big") + plain
    return whole + bytes(-len(whole) % PAD_BYTES)


def _unpadded(padded: bytes, context: Context) -> bytes:
    size = int.from_bytes(padded[:_LENGTH_BYTES], "big")
    plain = padded[_LENGTH_BYTES : _LENGTH_BYTES + size]
    if not MIN_PLAIN_BYTES <= size <= MAX_PLAIN_BYTES or _padded(plain) != padded:
        raise TrustError(f"the sealed secret {context.name} is not padded as it must be", reason="malformed")
    return plain


# attestation ---------------------------------------------------------------------------------------------------------


def attest(agent: str, key: SealingKey, identity: PrivateKey, issued: datetime) -> Envelope:
    """Return the agent's own statement that ``key`` is its sealing key."""
    body = {"type": STATEMENT, "agent": agent, "key": key.to_text(), "issued": stamp(issued)}
    return sign(STATEMENT, body, identity)


def attested(envelope: Envelope, agent: str, identity: PublicKey) -> SealingKey:
    """Return the sealing key of ``agent``, whose Ed25519 key is ``identity``.

    Raises:
        TrustError: The statement is not the agent's, is about another agent, or does not have its form.
    """
    try:
        body = open_envelope(
            envelope, STATEMENT, {identity.key_id: identity}, what=f"the sealing key of {agent[:80]}"
        ).body
        _check_fields(body)
        key = SealingKey.from_text(body["key"])
    except TrustError:
        raise
    except OutriderError as error:
        raise TrustError(
            f"the statement about a sealing key is malformed: {error.message}", reason="malformed"
        ) from None
    if body["agent"] != agent:
        raise TrustError(
            f"the sealing key is that of {str(body['agent'])[:80]}, not of {agent}", reason="mix_and_match"
        )
    return key


def _check_fields(body: Mapping[str, Any]) -> None:
    if set(body) != {"type", "agent", "key", "issued"}:
        raise ArgumentError("it does not have its fields")
    moment(body["issued"], parameter="issued")
