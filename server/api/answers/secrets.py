"""Answers about secrets, which tell nothing of what is in them."""

from __future__ import annotations

from pydantic import Field

from server.api.answers.forms import Answer, Moment


class HostsSecret(Answer):
    """A secret on one host."""

    agent: str
    host: str
    version: int
    scripts: list[str] = Field(description="Names and namespaces of the scripts that may use it.")
    principal: str
    created: Moment


class Secret(Answer):
    """A secret: where it is and who may use it. Its value is not here."""

    name: str
    next_version: int
    hosts: list[HostsSecret]


class NextVersion(Answer):
    """The version that the next secret of a name must have."""

    version: int
