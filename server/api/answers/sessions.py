"""Answers about sessions of people, their calls and the files that they bring."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from server.api.answers.forms import Answer, Moment


class Session(Answer):
    """A session of a person on one host."""

    id: str
    agent: str
    agent_id: str
    kind: str
    tier: str
    principal: str
    purpose: str
    grant: dict[str, Any]
    status: str
    reason: str | None
    created: Moment
    opened: Moment | None
    ended: Moment | None
    longest_s: float | None
    idle_s: float | None
    calls: int | None
    access: str | None = Field(description="The access grant that it stands on.")
    consented: str | None = Field(description="Who said yes when the host's owner was asked, while it is open.")


class CallValue(Answer):
    """What a call in a session came to; bytes stand as ``{"$bytes": "<base64>"}``."""

    value: Any


class FileChanged(Answer):
    """What a change of a file came to."""

    created: bool
    old_hash: str | None = Field(description="sha256 of what was there; null if there was nothing, or it is large.")
    new_hash: str
    journal: str | None = Field(description="For fs.undo; null if it cannot be undone.")
    no_undo: str | None = Field(None, description="Why it cannot be undone.")


class Taken(Answer):
    """How many bytes a command has taken."""

    bytes: int


class Upload(Answer):
    """How far an upload is."""

    bytes: int
    sha256: str


class NewUpload(Upload):
    """An upload that was begun."""

    upload: int
