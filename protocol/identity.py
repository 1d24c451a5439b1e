"""Which server answers at an address: its key, and that it has it. Pure.

Whoever asks sends a nonce of their own; the server signs it, as a statement of a kind that is nothing else anywhere. So
a server that only knows another one's key cannot pass for it. One that stands between the two can hand the question on:
against that there is TLS. What the answer is for is to know the key that signs tree heads and stands in join tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from protocol.errors import ArgumentError, TrustError
from protocol.signing import Envelope, PrivateKey, PublicKey, open_envelope, sign

KIND: Final = "server-identity"
NONCE_PATTERN: Final = "[0-9a-f]{64}"


def answer(nonce: str, key: PrivateKey) -> dict[str, Any]:
    """Return what a server says to somebody's nonce."""
    signed = sign(KIND, {"type": KIND, "nonce": nonce}, key)
    return {"key": key.public.to_text(), "key_id": key.public.key_id, "proof": signed.to_plain()}


def proved(told: object, nonce: str) -> PublicKey:
    """Return the key of the server that answered.

    Raises:
        ArgumentError: The answer has another form.
        TrustError: It does not prove that the server has the key.
    """
    if not isinstance(told, Mapping) or not isinstance(told.get("proof"), Mapping):
        raise ArgumentError("the server does not say who it is")
    key = PublicKey.from_text(told.get("key"), where="the server's key")
    opened = open_envelope(Envelope.from_json(told["proof"]), KIND, {key.key_id: key}, what="the server's identity")
    if opened.body != {"type": KIND, "nonce": nonce}:
        raise TrustError("the server answers another question than the one that was asked", reason="replayed")
    return key
