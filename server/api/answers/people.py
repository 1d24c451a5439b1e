"""Answers about whoever asks, and about tokens."""

from __future__ import annotations

from server.api.answers.forms import Answer, Moment


class Me(Answer):
    """Who asks."""

    principal: str
    roles: list[str]
    expires: Moment


class Token(Answer):
    """A token, without what would let anybody in."""

    id: str
    principal: str
    roles: list[str]
    created: Moment
    expires: Moment
    revoked: Moment | None


class NewToken(Answer):
    """A token, shown once."""

    id: str
    token: str
    principal: str
    roles: list[str]
    expires: Moment
