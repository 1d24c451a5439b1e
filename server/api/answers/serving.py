"""Answers about the server itself: who it is, how it is, what is going on."""

from __future__ import annotations

from pydantic import Field

from server.api.answers.forms import Answer, Envelope, Moment


class Identity(Answer):
    """Which server this is."""

    key: str = Field(description="The public key that signs its tree heads and stands in its join tokens.")
    key_id: str = Field(description="What people compare.")
    proof: Envelope = Field(description="The caller's nonce, signed by it (`server-identity`).")


class Found(Answer):
    """What the beginning of an id stands for."""

    id: str


class ServerNow(Answer):
    """The server itself."""

    version: str
    time: Moment


class Status(Answer):
    """The fleet in numbers."""

    server: ServerNow
    agents: int
    connected: int
    schedules: int
    reviews_open: int
    runs_under_way: int
    roster_version: int | None


class Alive(Answer):
    """The event loop turns."""

    alive: bool


class Ready(Answer):
    """Whether requests can be served, and what was looked at."""

    ready: bool
    checks: dict[str, str]
