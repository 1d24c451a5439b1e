"""Answers about blobs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from server.api.answers.forms import Answer, Moment


class BlobSource(Answer):
    """Who has put a blob here."""

    kind: Literal["agent", "person"]
    who: str = Field(description="Name of the host, or the principal.")
    name: str = Field(description="What it was called there.")
    script: str = Field(description="Which script put it; empty for a person's.")
    run: str
    created: Moment


class BlobArrived(Answer):
    """How much of a blob is here from who asks, for a PUT that goes on where one broke off."""

    hash: str
    size: int = Field(description="Of the whole, in bytes.")
    arrived: int = Field(description="In bytes, from its start; all of them if it is kept here.")


class Blob(Answer):
    """Bytes that are kept for a time, found by their SHA-256."""

    hash: str
    size: int
    created: Moment
    expires: Moment = Field(description="It goes then, unless somebody puts or fetches it before.")
    sources: list[BlobSource]
