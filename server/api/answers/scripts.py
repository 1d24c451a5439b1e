"""Answers about scripts: as lists and searches show them, and in full."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from server.api.answers.forms import Answer, Envelope, Moment


class Published(Answer):
    """A version that is published now."""

    name: str
    version: str
    digest: str
    tier: str
    author: str
    review: str
    status: str
    reviewers: int  # that must approve it
    level: str = Field(description="Against the version before it: first, metadata, compatible or breaking.")
    owners: list[str]
    visibility: Literal["private", "account", "public"]
    warnings: list[str]


class Deprecated(Answer):
    """Why people should not use something any more."""

    reason: str
    replacement: str | None
    by: str
    since: Moment


class FoundScript(Answer):
    """A script, as its newest version tells of it."""

    name: str
    version: str
    digest: str
    tier: str
    kind: Literal["script", "library"]
    language: str
    description: str
    tags: list[str]
    licence: str
    links: dict[str, str]
    visibility: Literal["private", "account", "public"]
    owners: list[str]
    published: Moment
    status: str
    deprecated: Deprecated | None


class Folder(Answer):
    """A folder of scripts."""

    folder: str
    scripts: int


class Transferred(Answer):
    """Who owns a name now."""

    name: str
    owners: list[str]


class DeprecatedNow(Answer):
    """What people are told now."""

    name: str
    version: str | None
    deprecated: Deprecated | None


class Script(Answer):
    """A version, in brief."""

    name: str
    version: str
    digest: str
    tier: str
    author: str
    published: Moment
    status: str
    visibility: Literal["private", "account", "public"]
    level: str
    deprecated: Deprecated | None


class ShownParameter(Answer):
    """A parameter of a script."""

    type: str
    required: bool
    default: Any
    description: str
    locked: bool
    choices: list[Any]
    pattern: str | None
    minimum: float | None
    maximum: float | None
    min_length: int | None
    max_length: int | None
    min_items: int | None
    max_items: int | None
    items: ShownParameter | None  # of an array


class ShownMetric(Answer):
    """A metric that a script promises."""

    name: str
    type: str
    unit: str


class ShownRequirement(Answer):
    """A library that a script pins."""

    name: str
    digest: str


class ShownResult(Answer):
    """What a script promises to return."""

    type: str
    fields: dict[str, str]


class ShownManifest(Answer):
    """What a manifest says."""

    language: str
    main: str
    tier: str
    kind: str
    visibility: str
    tags: list[str]
    licence: str
    links: dict[str, str]
    requires: list[ShownRequirement]
    result: ShownResult | None
    limits: dict[str, float]
    needs: list[str]
    metrics: list[ShownMetric]
    parameters: dict[str, ShownParameter]


class ShownScript(Script):
    """A version in full."""

    versions: list[str]
    owners: list[str] = Field(description="Who may publish the next version.")
    owners_when_published: list[str]
    description: str
    manifest: ShownManifest
    files: dict[str, str]
    publication: Envelope
    approvals: list[Envelope]
    withdrawals: list[Envelope]
    revocations: list[Envelope]
