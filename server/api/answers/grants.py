"""Answers about who may run which scripts."""

from __future__ import annotations

from typing import Literal

from server.api.answers.forms import Answer, Moment


class Grant(Answer):
    """Who may run which scripts without the role for it."""

    id: str
    who: str
    scripts: str
    target: str
    parameters: dict[str, list[str] | None] | None
    actions: list[Literal["run", "schedule"]]
    reason: str
    by: str
    created: Moment
    expires: Moment | None
    in_force: bool
