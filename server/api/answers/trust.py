"""Answers about the roster."""

from __future__ import annotations

from server.api.answers.forms import Answer, Envelope


class Roster(Answer):
    """The newest roster."""

    version: int
    envelope: Envelope
