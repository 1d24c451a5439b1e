"""Answers about who may open which sessions, and what owners of hosts are asked."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from server.api.answers.forms import Answer, Moment


class Access(Answer):
    """An access grant."""

    id: str
    who: str = Field(description="A principal, `@group` or `role:NAME`.")
    kinds: list[str]
    tier: str
    target: str
    users: list[str]
    paths: list[str]
    targets: list[str]
    reason: str
    by: str
    request: str | None
    created: Moment
    expires: Moment | None
    revoked: Moment | None
    revoked_by: str | None
    in_force: bool


class AccessRequest(Answer):
    """A request for access."""

    id: str
    principal: str
    kinds: list[str]
    tier: str
    target: str
    users: list[str]
    paths: list[str]
    targets: list[str]
    ttl_s: float
    reason: str
    state: Literal["open", "approved", "denied", "expired"]
    created: Moment
    decided: Moment | None
    decided_by: str | None
    decision: str | None
    grant: str | None = Field(description="The access grant that came of it.")


class Question(Answer):
    """What the owner of a host is asked, while it waits for an answer."""

    id: str
    agent: str
    agent_id: str
    text: str
    about: str = Field(description="`session`, or the name of a call.")
    session: str
    run: str | None
    principal: str = Field(description="Who would profit from a yes.")
    asked: Moment
    expires: Moment = Field(description="Then it is a no.")
    may_grant: bool = Field(description="Whether the host's owner lets the server's approvers say yes.")
    may_answer: bool = Field(description="Whether you may answer: approvers, and never what they ask themselves.")


class AnsweredQuestion(Question):
    """The same with the answer."""

    granted: bool
