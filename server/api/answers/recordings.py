"""Answers about recorded terminals."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from protocol.recording import WORDS
from server.api.answers.forms import Answer, Moment


class RecordingProof(Answer):
    """What holding a recording against the host's ledger found."""

    digests: int = Field(description="That the host has signed.")
    covered_bytes: int = Field(description="Of output that they cover and that is what the host printed.")
    wrong: list[str] = Field(description="What does not fit; empty if all does.")


class Person(Answer):
    """Somebody who is in a terminal now."""

    id: str
    who: str
    role: str


class Recording(Answer):
    """What a terminal showed."""

    session: str
    host: str
    principal: str
    reason: str
    started: Moment
    opened_us: int
    duration_s: float
    bytes: int = Field(description="Of output.")
    segments: int
    stored_bytes: int
    size: list[int] = Field(description="Columns and rows at the beginning.")
    user: str
    argv: list[str]
    term: str
    live: bool = Field(description="Whether it goes on.")
    people: list[Person] = Field(description="Who is in it now.")
    proof: RecordingProof | None = Field(description="Null unless it was asked for.")


class RecordedEvent(Answer):
    """One event of a recording."""

    time_s: float = Field(description="Since the terminal was opened.")
    kind: Literal[tuple(sorted(WORDS))]  # type: ignore[valid-type]  # which Literal takes at run time
    data: str = Field(description="Of output and input: the bytes, in base64.")
    about: dict[str, Any]


class FoundText(Answer):
    """A line that a terminal showed."""

    session: str
    host: str
    principal: str
    opened: Moment
    time_s: float
    line: str
