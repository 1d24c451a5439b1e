"""Answers about runs."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from server.api.answers.forms import Answer, Moment


class Run(Answer):
    """One run of a script on one host."""

    id: str
    agent: str
    agent_id: str
    script: str
    version: str
    digest: str
    status: str
    reason: str | None
    code: str | None  # of the error that kept it from beginning
    principal: str
    purpose: str
    schedule: str | None
    fire_time: Moment | None
    created: Moment
    waits_until: Moment | None = Field(description="It waits for its host to be back, no longer than this; else null.")
    started: Moment | None
    finished: Moment | None
    result: Any
    output: Any
    truncated: Any
    metrics: Any
    state: Any
    status_text: Any
    timestamp_ms: Any
    rows: Any
    progress: Any
    usage: Any
    walls: Any


class Runs(Answer):
    """The runs that one request began."""

    runs: list[Run]
    warnings: list[str] = Field(description="What there is to say against running it, such as that it is deprecated.")
