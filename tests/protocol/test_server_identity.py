"""Which server answers: only who has the key can say so, and only to the question that was asked."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.errors import ArgumentError, OutriderError, TrustError
from protocol.identity import KIND, answer, proved
from protocol.signing import PrivateKey, sign

NONCE, OTHER = "1f" * 32, "2e" * 32
KEY, STRANGER = PrivateKey.generate(), PrivateKey.generate()


def test_the_key_is_proved() -> None:
    told = answer(NONCE, KEY)
    assert proved(told, NONCE) == KEY.public
    assert told["key_id"] == KEY.public.key_id


def forged() -> list[tuple[str, Any]]:
    good = answer(NONCE, KEY)
    other_type = sign("publication", {"type": "publication", "nonce": NONCE}, KEY).to_plain()
    more = sign(KIND, {"type": KIND, "nonce": NONCE, "more": 1}, KEY).to_plain()
    return [
        ("another's key", good | {"key": STRANGER.public.to_text()}), ("an old answer", answer(OTHER, KEY)),
        ("another type", good | {"proof": other_type}), ("more than the nonce", good | {"proof": more}),
        ("signed by another", good | {"proof": answer(NONCE, STRANGER)["proof"]}),
        ("nothing signed", good | {"proof": good["proof"] | {"signatures": []}}),
        ("no proof", {"key": good["key"]}), ("no key", {"proof": good["proof"]}), ("a text", "x"), ("nothing", None),
        ("a wrong key", good | {"key": "ed25519:AAAA"}), ("a list", good | {"proof": []}),
    ]  # fmt: skip


@pytest.mark.parametrize(("what", "told"), forged())
def test_whatever_else_proves_nothing(what: str, told: Any) -> None:
    with pytest.raises(OutriderError) as caught:
        proved(told, NONCE)
    assert isinstance(caught.value, TrustError | ArgumentError), what
