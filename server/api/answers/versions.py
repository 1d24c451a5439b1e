"""Answers about versions of a script, one against another."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from server.api.answers.forms import Answer, Moment
from server.api.answers.reviews import Event, PermissionChange, ShownRisk, SinceApproved
from server.api.answers.scripts import Deprecated


class CodePart(Answer):
    """A part of one file: of its text, or of its unified difference to the version before."""

    path: str
    change: Literal["whole", "added", "removed", "changed"]
    part: int
    text: str


Level = Literal["first", "metadata", "compatible", "breaking"]


class LoggedVersion(Answer):
    """A version in the log of its script, against the one that was published before it."""

    version: str
    digest: str
    published: Moment
    author: str
    tier: str
    status: str
    change: Level = Field(description="For whoever uses the script; by what the manifest promises.")
    since: SinceApproved = Field(description="Since the version that was published before, approved or not.")
    approvals: list[Event]
    owners: list[str]
    deprecated: Deprecated | None


class TwoVersions(Answer):
    """What a version of a script may do that another one may not."""

    name: str
    before: str
    after: str
    change: Level
    changes: list[PermissionChange]
    more_changes: int
    risks: list[ShownRisk]
