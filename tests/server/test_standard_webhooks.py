"""Signatures of webhooks, against the specification's own example."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from protocol.errors import ArgumentError
from server.standard_webhooks import RETRY_AFTER_S, headers, new_secret, retry_after_s

# The example of the reference libraries (standard-webhooks/standard-webhooks, libraries/python/tests).
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
IDENTITY, TIMESTAMP, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_example_of_the_specification() -> None:
    assert headers(IDENTITY, TIMESTAMP, BODY, [SECRET]) == {
        "webhook-id": IDENTITY, "webhook-timestamp": "1614265330", "webhook-signature": SIGNATURE,
    }  # fmt: skip


def test_during_a_rotation_both_secrets_sign() -> None:
    other = new_secret()
    signed = headers(IDENTITY, TIMESTAMP, BODY, [other, SECRET])["webhook-signature"].split(" ")
    assert signed[1] == SIGNATURE
    assert signed[0] == headers(IDENTITY, TIMESTAMP, BODY, [other])["webhook-signature"] != SIGNATURE


def test_a_public_library_takes_what_we_sign() -> None:
    """The oracle: what receivers use."""
    secret, now = new_secret(), int(time.time())
    told = {"type": "script.published", "data": {"script": "checks/ä", "n": [1, None]}}
    body = json.dumps(told, ensure_ascii=False).encode()
    signed = headers(IDENTITY, now, body, [secret])
    assert Webhook(secret).verify(body, signed) == told
    assert (
        Webhook(secret).sign(IDENTITY, datetime.fromtimestamp(now, UTC), body.decode()) == signed["webhook-signature"]
    )
    for key, value in signed.items():
        # Not near its end: the last character of 32 bytes in base64 has two bits that stand for nothing.
        changed = value[:8] + ("0" if value[8] != "0" else "1") + value[9:]
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body, signed | {key: changed})
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body + b" ", signed)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(body, signed)


def test_during_a_rotation_a_public_library_takes_either_secret() -> None:
    before, after, now = new_secret(), new_secret(), int(time.time())
    signed = headers(IDENTITY, now, BODY, [after, before])
    for secret in (before, after):
        assert Webhook(secret).verify(BODY, signed) == {"test": 2432232314}


def test_what_we_take_for_too_late_a_public_library_does_too() -> None:
    """A message that is tried again is signed anew, at that moment: receivers take five minutes."""
    secret, now = new_secret(), int(time.time())
    for then in (now - 301, now + 360):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(BODY, headers(IDENTITY, then, BODY, [secret]))


def test_secrets() -> None:
    one = new_secret()
    assert one != new_secret()
    assert 24 <= len(base64.b64decode(one.removeprefix("whsec_"))) <= 64
    with pytest.raises(ArgumentError):
        headers(IDENTITY, TIMESTAMP, BODY, ["whsec_!"])


def test_it_is_tried_later_and_later_and_then_given_up() -> None:
    assert [retry_after_s(count) for count in (1, 2)] == [5.0, 300.0]
    assert list(RETRY_AFTER_S) == sorted(RETRY_AFTER_S)
    assert retry_after_s(len(RETRY_AFTER_S) + 1) is None
    assert retry_after_s(0) is None
