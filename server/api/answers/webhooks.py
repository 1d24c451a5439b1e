"""Answers about webhooks and what was delivered by them."""

from __future__ import annotations

from typing import Literal

from server.api.answers.forms import Answer, Moment


class Webhook(Answer):
    """Who is told of what."""

    id: str
    url: str
    events: list[str]
    by: str
    created: Moment
    rotated: Moment | None


class WebhookWithSecret(Webhook):
    """The same when it is made or its secret changed; nothing tells the secret again."""

    secret: str


class Delivery(Answer):
    """One message to a webhook."""

    message: str
    webhook: str
    event: str
    created: Moment
    attempts: int
    tried: Moment | None
    next: Moment | None
    state: Literal["taken", "waiting", "given up"]
    status: int | None
    error: str | None
    body: str
