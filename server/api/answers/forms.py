"""What all forms of answers share: their base, pages, errors."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Item = TypeVar("Item")
Moment = str  # RFC 3339 in UTC
Envelope = dict[str, Any]


class Answer(BaseModel):
    """What all forms share: every field is named here, and all that are named are sent."""

    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """An error (RFC 9457). Programs branch on ``code`` and ``reason``; ``detail`` is for people."""

    model_config = ConfigDict(extra="forbid")

    type: str = Field(description="`urn:outrider:problem:` and the code.")
    title: str
    status: int
    code: str
    detail: str
    request_id: str = Field(description="What the server's log calls this request.")
    reason: str = Field("", description="Why a signature, approval or token does not count.")
    parameter: str = ""
    rule: str = Field("", description="What decided a refusal.")
    budget: str = ""
    sequence: int = 0
    where: str = Field("", description="A place in a document or body.")
    errors: list[dict[str, str]] = Field([], description="Every wrong field.")


class Paged(Answer, Generic[Item]):
    """One page of a list."""

    items: list[Item]
    next: str | None = Field(description="The cursor of the next page, null on the last one.")
