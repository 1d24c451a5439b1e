"""Answers about reviews: the queue, what a version asks for and can do, who said what about it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from server.api.answers.forms import Answer, Envelope, Moment
from server.api.answers.scripts import ShownManifest, ShownRequirement


class Review(Answer):
    """A review, in brief."""

    id: str
    script: str
    version: str
    digest: str
    tier: str
    author: str
    state: Literal["open", "approved", "rejected"]
    created: Moment
    decided: Moment | None
    decided_by: str | None
    reason: str | None


class ApprovedReview(Review):
    """A review after an approval of it."""

    warnings: list[str] = Field(description="What the reviewer should know of it.")


class SinceApproved(Answer):
    """What the permissions gained since the version that was approved before."""

    previous: str | None = Field(description="That version; null if there is none that was not withdrawn.")
    gained: list[str] = Field(description="The first of them, such as `+ fs.write /etc/**`.")
    more: int = Field(description="How many more there are.")


class RiskInShort(Answer):
    """Calls that mean more together than each alone."""

    code: str
    short: str


class Checked(Answer):
    """What somebody says came of `outrider review check` on their machine. It is their word."""

    passed: bool = Field(description="Whether nothing was wrong with the code, and every test of the manifest passed.")
    by: str
    time: Moment


class ListedReview(Review):
    """A review in a list. What is null was not read yet by this release; ask again, or show it."""

    since_approved: SinceApproved | None
    risks: list[RiskInShort] | None
    checked: Checked | None = Field(description="Who has checked it last; null: nobody has said so.")


class ShownRisk(RiskInShort):
    """The same with its reasons."""

    means: str
    calls: list[str]
    paths: list[str] = Field(description="Of the script, which make it so; none if it is bound to none.")


class Need(BaseModel):
    """A call that a script asks for."""

    model_config = ConfigDict(extra="forbid")

    call: str
    paths: list[str] = []
    commands: list[str] = []
    targets: list[str] = []
    names: list[str] = []


class InferredNeed(BaseModel):
    """A call that the code makes, and what it is given."""

    model_config = ConfigDict(extra="forbid")

    call: str
    paths: list[str] = []
    commands: list[str] = []
    targets: list[str] = []
    bounded: bool = Field(description="False: there may be others.")


class InferredCall(Answer):
    """A call that the code can make."""

    call: str
    tier: str
    places: list[str] = Field(description="Such as `main.lua:4`; the last one may say how many more there are.")


class PermissionChange(Answer):
    """One difference to the permissions of the version before; to none at all if there is none."""

    area: Literal["tier", "language", "needs", "calls", "commands", "limits", "requires", "parameters"]
    kind: Literal["added", "removed", "widened", "narrowed", "changed"]
    subject: str
    now: str
    before: str
    gain: bool = Field(description="Whether the script may do more, or other code comes in.")
    text: str


class Event(Answer):
    """Something that happened to a script. What does not apply is null."""

    time: Moment
    what: Literal["published", "tried", "approved", "rejected", "revoked", "withdrawn"]
    version: str
    by: str | None
    reason: str | None
    tier: str | None
    grant: dict[str, Any] | None = Field(description="What an approval narrows the script to.")
    expires: Moment | None
    host: str | None = Field(description="Where it was tried.")
    run: str | None = Field(description="The run that a trial was.")
    status: str | None = Field(description="Of that run.")


class Comment(Answer):
    """What somebody said about a version."""

    time: Moment
    by: str
    place: str | None = Field(description="Such as main.lua:12; null: the whole version.")
    text: str


class ApprovedBy(Answer):
    """One person's approval that counts."""

    name: str
    tier: str
    grant: dict[str, Any]
    expires: Moment
    reason: str


class ReviewedBundle(Answer):
    """A version byte by byte, for whoever tests it on their own machine; the digest shows that it is it."""

    digest: str
    publication: Envelope
    bundle: str = Field(description="The packed bundle in base64.")
    libraries: list[str] = Field(description="The packed bundles that it pins, in base64.")


class ShownReview(Review):
    """All that a reviewer needs, but the code."""

    since_approved: SinceApproved
    previous: str | None
    changes: list[PermissionChange]
    more_changes: int
    risks: list[ShownRisk]
    inferred_tier: str
    inferred: list[InferredCall]
    inferred_needs: list[InferredNeed]
    calls: list[str]
    dynamic: list[str]
    unknown: list[str]
    wrong: list[str] = Field(description="Arguments that are certainly wrong.")
    needs: list[Need]
    requires: list[ShownRequirement]
    tests: list[str] = Field(description="Names of the manifest's tests.")
    checked: Checked | None = Field(description="Who has checked it last; null: nobody has said so.")
    manifest: ShownManifest
    history: list[Event] = Field(description="Newest first, at most 100.")
    comments: list[Comment] = Field(description="Oldest first, the newest 100.")
    reviewers: int = Field(description="How many must approve, as roster and server say; hosts may ask for more.")
    approved_by: list[ApprovedBy] = Field(description="Whose approvals count now.")
