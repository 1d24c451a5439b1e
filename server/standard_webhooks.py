"""How a webhook proves where it comes from, and when it is tried again. Pure.

Source: Standard Webhooks (standardwebhooks.com, spec of 2023-12): headers ``webhook-id``, ``webhook-timestamp`` and
``webhook-signature``; a signature is ``v1,`` and the base64 of HMAC-SHA256 over ``id.timestamp.body``, one for each
secret that is in force, so that a secret can be changed without losing a message. A secret is 24 to 64 bytes, written
``whsec_`` and base64.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import Final

from protocol.errors import ArgumentError

PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 32
#: Seconds from one attempt to the next, as the specification proposes; after the last one a message is given up.
RETRY_AFTER_S: Final = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
ROTATED_FOR_S: Final = 86_400.0  # that the secret before still signs, too


def new_secret() -> str:
    """Return a new secret."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def headers(identity: str, timestamp_s: int, body: bytes, given: Sequence[str]) -> dict[str, str]:
    """Return the headers of one attempt.

    Args:
        identity: Of the message; the same for every attempt, so that a receiver can tell what it has had.
        timestamp_s: Of this attempt, seconds since 1970.
        body: Exactly what is sent.
        given: The secrets that are in force, newest first.
    """
    signed = f"{identity}.{timestamp_s}.".encode() + body
    signatures = [f"v1,{base64.b64encode(_mac(secret, signed)).decode()}" for secret in given]
    return {
        "webhook-id": identity, "webhook-timestamp": str(timestamp_s), "webhook-signature": " ".join(signatures),
    }  # fmt: skip


def _mac(secret: str, data: bytes) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ArgumentError("the secret of a webhook is damaged") from None
    return hmac.new(key, data, hashlib.sha256).digest()


def retry_after_s(attempts: int) -> float | None:
    """Return how long to wait after so many failed attempts; None if the message is given up."""
    return RETRY_AFTER_S[attempts - 1] if 0 < attempts <= len(RETRY_AFTER_S) else None
