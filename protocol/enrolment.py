"""How a host becomes an agent: a join token that pins the server, a request that proves both, an answer that proves it.

- A token is ``orj1.<token id>.<secret>.<key id of the server>``. It works once and for a short time; the server keeps
  only SHA-256 of the secret. The secret itself never travels: it keys an HMAC over the request.
- The agent signs its request, so nobody can enrol a key that is not his.
- The answer is signed by the server's key, which must be the one that the token names, over the request's nonce: a
  server that only relays, or another one, cannot give it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from protocol import limits, shapes
from protocol.errors import ArgumentError, TrustError
from protocol.signing import Envelope, PrivateKey, PublicKey, canonical_json, decode_base64

PREFIX = "orj1"
SECRET_BYTES = 32
NONCE_BYTES = 32
REQUEST_DOMAIN = b"outrider.v1/enrolment/agent\0"
ANSWER_DOMAIN = b"outrider.v1/enrolment/server\0"
_TOKEN = re.compile(r"orj1\.([A-Za-z0-9_-]{1,64})\.([A-Za-z0-9_-]{43})\.([0-9a-f]{64})")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,62}")


@dataclass(frozen=True, slots=True)
class JoinToken:
    """What an invitation holds."""

    token_id: str
    secret: bytes = field(repr=False)  # 32 bytes
    server_key_id: str  # of the only server that may answer

    @property
    def secret_digest(self) -> bytes:
        """What the server keeps of the secret: SHA-256, 32 bytes."""
        return hashlib.sha256(self.secret).digest()


def make_token(token_id: str, secret: bytes, server_key_id: str) -> str:
    """Return the text of a join token.

    Args:
        token_id: 1 to 64 letters, digits, ``_`` and ``-``.
        secret: 32 random bytes.
        server_key_id: ``PublicKey.key_id`` of the server.

    Raises:
        ArgumentError: One of them does not have its form.
    """
    text = f"{PREFIX}.{token_id}.{base64.urlsafe_b64encode(secret).decode().rstrip('=')}.{server_key_id}"
    if len(secret) != SECRET_BYTES or not _TOKEN.fullmatch(text):
        raise ArgumentError("a join token cannot be made of this", parameter="token")
    return text


def parse_token(text: str) -> JoinToken:
    """Return what the token ``text`` holds.

    Raises:
        ArgumentError: Not a join token. The message holds nothing of it.
    """
    match = _TOKEN.fullmatch(text.strip())
    if match is None:
        raise ArgumentError("not a join token (expected orj1.ID.SECRET.SERVER)", parameter="token")
    try:
        secret = base64.urlsafe_b64decode(match[2] + "=")
    except (binascii.Error, ValueError):
        raise ArgumentError("the secret in the join token is damaged", parameter="token") from None
    if len(secret) != SECRET_BYTES:
        raise ArgumentError("the secret in the join token is damaged", parameter="token")
    return JoinToken(match[1], secret, match[3])


# the agent asks ------------------------------------------------------------------------------------------------------


def _labels(value: Any) -> Any:
    if type(value) is not dict or len(value) > limits.MAX_LABELS:
        raise ValueError(f"must be a map of at most {limits.MAX_LABELS}")
    for key, word in value.items():
        if type(key) is not str or not _LABEL.fullmatch(key) or type(word) is not str or not _LABEL.fullmatch(word):
            raise ValueError("must hold words of 1 to 63 letters, digits and _./-")
    return value


_REQUEST = {
    "token_id": shapes.identity,
    "public_key": shapes.text(64, min_chars=1),
    "hostname": shapes.text(limits.MAX_HOSTNAME_CHARACTERS, min_chars=1),
    "nonce": shapes.text(64, min_chars=1),
    "mac": shapes.text(64, min_chars=1),
    "signature": shapes.text(128, min_chars=1),
}
_REQUEST_OPTIONAL = {"name": shapes.nullable(shapes.identity), "labels": _labels}


@dataclass(frozen=True, slots=True)
class EnrolmentRequest:
    """What an agent asks for; nothing in it is believed before :meth:`verify`."""

    token_id: str
    key: PublicKey
    hostname: str
    nonce: bytes
    name: str | None  # that the host wishes to have
    labels: dict[str, str]
    signed: dict[str, Any] = field(repr=False)  # all fields but mac and signature, as they came
    mac: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    @classmethod
    def from_wire(cls, body: object) -> EnrolmentRequest:
        """Return the request in the JSON object ``body``.

        Raises:
            ArgumentError: Names the field that is wrong.
        """
        fields = shapes.read_fields(body, "enrolment", _REQUEST, _REQUEST_OPTIONAL)
        return cls(
            token_id=fields["token_id"],
            key=PublicKey.from_text(fields["public_key"], where="enrolment: public_key"),
            hostname=fields["hostname"],
            nonce=_octets(fields, "nonce", NONCE_BYTES),
            name=fields.get("name"),
            labels=dict(fields.get("labels", {})),
            signed={name: value for name, value in fields.items() if name not in ("mac", "signature")},
            mac=_octets(fields, "mac", 32),
            signature=_octets(fields, "signature", 64),
        )

    def verify(self, secret_digest: bytes) -> None:
        """Return if the agent holds the token's secret and its own private key.

        Args:
            secret_digest: SHA-256 of the secret of the token ``token_id``. That the token is not used, expired or
                withdrawn is the caller's to check, in the same transaction that marks it used.

        Raises:
            TrustError: ``bad_token`` or ``bad_signature``.
        """
        if not hmac.compare_digest(_mac(secret_digest, self.signed), self.mac):
            raise TrustError("the join token is not one of this server", reason="bad_token")
        self.key.verify(self.signature, _to_sign(self.signed, self.mac))


def make_request(
    token: JoinToken,
    key: PrivateKey,
    *,
    hostname: str,
    nonce: bytes,
    name: str | None = None,
    labels: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the JSON object by which the holder of ``key`` asks to be enrolled.

    Args:
        token: The invitation.
        key: The agent's new key.
        hostname: What the host calls itself.
        nonce: 32 fresh random bytes; the answer is bound to them.
        name: What the host wishes to be called.
        labels: Words to find it by.

    Raises:
        ArgumentError: Hostname, name or labels do not have their form.
    """
    signed: dict[str, Any] = {
        "token_id": token.token_id,
        "public_key": key.public.to_text(),
        "hostname": hostname,
        "nonce": base64.b64encode(nonce).decode(),
    }
    signed |= {"name": name} if name is not None else {}
    signed |= {"labels": dict(labels)} if labels else {}
    mac = _mac(token.secret_digest, signed)
    signature = key.sign(_to_sign(signed, mac))
    body = {**signed, "mac": base64.b64encode(mac).decode(), "signature": base64.b64encode(signature).decode()}
    EnrolmentRequest.from_wire(body)
    return body


def _mac(secret_digest: bytes, signed: Mapping[str, Any]) -> bytes:
    return hmac.new(secret_digest, REQUEST_DOMAIN + canonical_json(dict(signed)), hashlib.sha256).digest()


def _to_sign(signed: Mapping[str, Any], mac: bytes) -> bytes:
    return REQUEST_DOMAIN + mac + canonical_json(dict(signed))


# the server answers --------------------------------------------------------------------------------------------------

_ANSWER = {
    "agent_id": shapes.identity,
    "server_key": shapes.text(64, min_chars=1),
    "nonce": shapes.text(64, min_chars=1),
    "roots": shapes.nullable(shapes.mapping),
    "roster": shapes.nullable(shapes.mapping),
    "signature": shapes.text(128, min_chars=1),
}
_ROOTS = {
    "threshold": shapes.integer(1, limits.MAX_SIGNATURES),
    "keys": shapes.listing(shapes.text(64, min_chars=1), limits.MAX_SIGNATURES),
}


@dataclass(frozen=True, slots=True)
class EnrolmentAnswer:
    """What the enrolled agent keeps: its id, the server's key, and the roots that it pins."""

    agent_id: str
    server_key: PublicKey
    roots: tuple[PublicKey, ...]  # empty: the server has no roster yet, and nothing signed can be trusted
    threshold: int  # of the roots; 0 without roots
    roster: Envelope | None  # not verified here; ``protocol.roster.TrustedRoster`` does that against the roots


def make_answer(
    request: EnrolmentRequest,
    key: PrivateKey,
    *,
    agent_id: str,
    roots: Mapping[str, Any] | None,
    roster: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return the JSON object that tells a verified agent who it is.

    Args:
        request: As verified.
        key: The server's own.
        agent_id: The id that the agent has from now on.
        roots: ``{"threshold": n, "keys": [text, ...]}`` to pin, or None while there is no roster.
        roster: The newest roster's envelope as a plain object, or None.
    """
    signed = {
        "agent_id": agent_id,
        "server_key": key.public.to_text(),
        "nonce": base64.b64encode(request.nonce).decode(),
        "roots": None if roots is None else dict(roots),
        "roster": None if roster is None else dict(roster),
    }
    signature = key.sign(ANSWER_DOMAIN + request.key.raw + canonical_json(signed))
    return {**signed, "signature": base64.b64encode(signature).decode()}


def verify_answer(body: object, token: JoinToken, key: PublicKey, nonce: bytes) -> EnrolmentAnswer:
    """Return what the server answered, after it has proved to be the one that the token names.

    Args:
        body: The JSON object that came back.
        token: The invitation that was used.
        key: The agent's own public key, to which the answer is bound.
        nonce: Of the request.

    Raises:
        TrustError: ``foreign_token``: the server is not the one that gave out the token. ``bad_signature``.
            ``replayed_token``: a true answer, but to another request.
        ArgumentError: Names the field that is wrong.
    """
    fields = shapes.read_fields(body, "enrolment answer", _ANSWER)
    server_key = PublicKey.from_text(fields["server_key"], where="enrolment answer: server_key")
    if not hmac.compare_digest(server_key.key_id, token.server_key_id):
        raise TrustError(
            f"this server has key {server_key.key_id[:16]}, the join token is of a server that has "
            f"{token.server_key_id[:16]}",
            reason="foreign_token",
        )
    signed = {name: value for name, value in fields.items() if name != "signature"}
    server_key.verify(_octets(fields, "signature", 64), ANSWER_DOMAIN + key.raw + canonical_json(signed))
    if not hmac.compare_digest(_octets(fields, "nonce", NONCE_BYTES), nonce):
        raise TrustError("the server's answer is to another request", reason="replayed_token")
    roster = None if fields["roster"] is None else Envelope.from_json(fields["roster"])
    threshold, roots = _read_roots(fields["roots"])
    return EnrolmentAnswer(fields["agent_id"], server_key, roots, threshold, roster)


def _read_roots(value: dict[str, Any] | None) -> tuple[int, tuple[PublicKey, ...]]:
    if value is None:
        return 0, ()
    fields = shapes.read_fields(value, "enrolment answer: roots", _ROOTS)
    keys = tuple(PublicKey.from_text(text, where="enrolment answer: roots") for text in fields["keys"])
    if not fields["threshold"] <= len(set(keys)):
        raise ArgumentError("fewer roots than their threshold", parameter="roots", where="enrolment answer")
    return fields["threshold"], keys


def _octets(fields: Mapping[str, Any], name: str, size: int) -> bytes:
    raw = decode_base64(fields[name], where=f"enrolment: {name}")
    if len(raw) != size:
        raise ArgumentError(f"{name} must be {size} bytes in base64", parameter=name, where="enrolment")
    return raw
