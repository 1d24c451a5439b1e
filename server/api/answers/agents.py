"""Answers about agents and their joining."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from server.api.answers.forms import Answer, Envelope, Moment


class Agent(Answer):
    """A host."""

    id: str
    name: str
    hostname: str
    labels: dict[str, str]
    connected: bool
    last_seen: Moment | None
    created: Moment
    frozen: bool
    freeze_reason: str
    facts: dict[str, Any]
    schedules_version: int
    records: int
    key: str
    sealing_key: Envelope | None = Field(description="The host's own statement about it; null until it has told.")


class Invitation(Answer):
    """A join token, shown once."""

    id: str
    token: str
    expires: Moment
    name: str | None
    labels: dict[str, str]
