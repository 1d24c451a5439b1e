"""Answers about schedules."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from server.api.answers.forms import Answer, Moment


class Schedule(BaseModel):
    """What runs when on whom; exactly one of ``cron`` and ``every_s`` is there."""

    model_config = ConfigDict(extra="forbid")

    id: str
    name: str
    script: str
    digest: str
    version: str
    parameters: dict[str, Any]
    on: str
    cron: str = ""
    every_s: float = 0.0
    zone: str
    splay_s: float
    overlap: str
    catch_up: str
    timeout_s: float = 0.0
    enabled: bool
    principal: str
    created: Moment
    is_signed: bool
    warnings: list[str]


class MatchedHost(Answer):
    """A host that a target means now."""

    id: str
    name: str
    connected: bool


class SchedulePreview(Answer):
    """What a schedule would come to."""

    script: str
    version: str
    digest: str
    parameters: dict[str, Any]
    on: str
    zone: str
    splay_s: float
    hosts: list[MatchedHost] = Field(description="Whom the target means now.")
    fires: list[Moment] = Field(description="Before each host's own splay.")
    warnings: list[str]


class Fires(Answer):
    """Fire times."""

    fires: list[Moment]
