"""The forms of request bodies: strict types, every field bounded, no unknown field."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from protocol import limits as wire
from protocol import sealing
from server import limits

Envelope = Annotated[dict[str, Any], Field(description="A DSSE envelope.")]
Name = Annotated[str, Field(min_length=1, max_length=wire.MAX_NAME_CHARACTERS)]
Reason = Annotated[str, Field(max_length=1000)]
Labels = Annotated[dict[str, str], Field(max_length=wire.MAX_LABELS)]
Target = Annotated[str, Field(min_length=1, max_length=wire.MAX_TARGET_CHARACTERS)]
Duration = Annotated[str, Field(max_length=20, description="Such as 30s, 5m, 1h.")]
Parameters = Annotated[dict[str, Any], Field(max_length=256)]


class Body(BaseModel):
    """What all bodies share."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class NewInvite(Body):
    """An invitation for one host."""

    name: Name | None = None
    labels: Labels = {}
    ttl_s: Annotated[float, Field(gt=0, le=limits.MAX_INVITE_TTL_S)] = limits.DEFAULT_INVITE_TTL_S


class AgentChange(Body):
    """A new name, new labels, or both."""

    name: Name | None = None
    labels: Labels | None = None


class Freeze(Body):
    """Stop a host, or let it go on."""

    frozen: bool
    reason: Reason = ""


class NewScript(Body):
    """A bundle and its author's publication."""

    publication: Envelope
    bundle: Annotated[str, Field(max_length=limits.MAX_BODY_BYTES, description="The packed bundle in base64.")]


class Statement(Body):
    """One signed statement: a withdrawal or a roster."""

    envelope: Envelope


class NewApproval(Body):
    """A reviewer's approval."""

    approval: Envelope


class Rejection(Body):
    """Why a version is rejected."""

    reason: Annotated[str, Field(min_length=1, max_length=1000)]


class NewSchedule(Body):
    """What runs when on whom; exactly one of cron, every and every_s."""

    script: Name
    on: Target
    version: Annotated[str, Field(max_length=64)] | None = None
    parameters: Parameters = {}
    cron: Annotated[str, Field(max_length=wire.MAX_CRON_CHARACTERS)] | None = None
    every: Duration | None = None
    every_s: float | None = None
    zone: Annotated[str, Field(max_length=wire.MAX_ZONE_CHARACTERS)] | None = None
    splay: Duration | None = None
    splay_s: float | None = None
    overlap: Annotated[str, Field(max_length=20)] | None = None
    catch_up: Annotated[str, Field(max_length=20)] | None = None
    timeout: Duration | None = None
    timeout_s: float | None = None
    order: Envelope | None = None


class NewSecret(Body):
    """One version of a secret, sealed for each host that gets it."""

    name: Name
    version: Annotated[int, Field(ge=1, le=wire.MAX_SEQUENCE)]
    scripts: Annotated[list[Name], Field(min_length=1, max_length=sealing.MAX_PATTERNS, description="Who may use it.")]
    sealed: Annotated[
        dict[str, Annotated[str, Field(max_length=2 * sealing.MAX_BOX_BYTES)]],
        Field(min_length=1, max_length=limits.MAX_SEALED_AT_ONCE, description="By id of the host, in base64."),
    ]


class ScheduleChange(Body):
    """Pause a schedule, or let it fire again."""

    enabled: bool


class NewRun(Body):
    """Run a script once on whoever is meant."""

    target: Target
    script: Name
    version: Annotated[str, Field(max_length=64)] | None = None
    parameters: Parameters = {}
    reason: Reason = ""
    wait_s: Annotated[float, Field(ge=0, le=limits.MAX_WAIT_S)] = 0.0
    timeout_s: Annotated[float, Field(gt=0, le=wire.MAX_TIMEOUT_S)] | None = None
    order: Envelope | None = None


class NewToken(Body):
    """A token for a principal."""

    principal: Annotated[str, Field(min_length=1, max_length=100)]
    roles: Annotated[list[str], Field(min_length=1, max_length=16)]
    ttl_s: Annotated[float, Field(gt=0, le=limits.MAX_TOKEN_TTL_S)] = limits.DEFAULT_TOKEN_TTL_S
