"""Every kind of statement verifies with a public tool that knows nothing of us, and is refused by it when touched."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from securesystemslib.dsse import Envelope as PublicEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey
from world import DIGEST, NOW, World

from protocol.signing import Envelope, open_envelope, sign
from protocol.timestamps import stamp

ONCE = {"agents": ["agt_1"], "issued": stamp(NOW), "expires": stamp(NOW + timedelta(minutes=5)), "nonce": "n"}

STATEMENTS: dict[str, Callable[[World], tuple[Envelope, str]]] = {
    "roster": lambda w: (sign("roster", w.roster_body(), w.key("root")), "root"),
    "publication": lambda w: (w.publication(), "ann"),
    "approval": lambda w: (w.approval(grant={"labels": {"rôle": "mail"}, "allow": [{"call": "fs.stat"}]}), "bob"),
    "revocation": lambda w: (w.statement("revocation", ("bob",), {"reason": "why"}, without={"tier"}), "bob"),
    "withdrawal": lambda w: (w.withdrawal(), "bob"),
    "order": lambda w: (
        sign("order", {"type": "order", "action": "run", "digest": DIGEST, "parameters": {}, **ONCE}, w.key("oli")),
        "oli",
    ),
    "session_order": lambda w: (
        sign("session_order", {"type": "session_order", "kind": "files", "tier": "inspect", **ONCE}, w.key("oli")),
        "oli",
    ),
}


def verified(envelope: Envelope, world: World, signer: str) -> set[str]:
    key = world.key(signer).public
    public = SSlibKey(key.key_id, "ed25519", "ed25519", {"public": key.raw.hex()})
    return set(PublicEnvelope.from_dict(json.loads(envelope.to_json())).verify([public], 1))


@pytest.mark.parametrize("kind", STATEMENTS)
def test_a_public_tool_verifies_each_kind_of_statement(world: World, kind: str) -> None:
    envelope, signer = STATEMENTS[kind](world)
    key = world.key(signer).public
    assert verified(envelope, world, signer) == {key.key_id}
    assert open_envelope(envelope, kind, {key.key_id: key}).body == json.loads(envelope.payload)
    for touched in (
        replace(envelope, payload=envelope.payload + b" "),
        replace(envelope, payload_type="application/vnd.outrider.other+json"),
    ):
        with pytest.raises(VerificationError):
            verified(touched, world, signer)
    with pytest.raises(VerificationError):
        verified(envelope, world, "mallory")
