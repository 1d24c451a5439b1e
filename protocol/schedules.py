"""A schedule as server and agent speak about it: strict, plain, without any arithmetic of times.

When it fires is computed in :mod:`protocol.firetimes`, what becomes of a fire time in the agent. Exactly one of
``cron`` and ``every_s`` is set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from protocol import limits, shapes
from protocol.errors import ArgumentError

OVERLAPS = ("skip", "queue")
CATCH_UPS = ("none", "last", "all")

_REQUIRED = {"id": shapes.identity, "digest": shapes.digest}
_OPTIONAL = {
    "name": shapes.text(limits.MAX_NAME_CHARACTERS),
    "script": shapes.text(limits.MAX_NAME_CHARACTERS),
    "parameters": shapes.mapping,
    "on": shapes.nullable(shapes.text(limits.MAX_TARGET_CHARACTERS)),
    "cron": shapes.nullable(shapes.text(limits.MAX_CRON_CHARACTERS, min_chars=1)),
    "every_s": shapes.nullable(shapes.number(limits.MIN_EVERY_S, limits.MAX_EVERY_S)),
    "zone": shapes.text(limits.MAX_ZONE_CHARACTERS, min_chars=1),
    "splay_s": shapes.number(0.0, limits.MAX_SPLAY_S),
    "overlap": shapes.choice(*OVERLAPS),
    "timeout_s": shapes.nullable(shapes.number(limits.MIN_TIMEOUT_S, limits.MAX_TIMEOUT_S)),
    "catch_up": shapes.choice(*CATCH_UPS),
    "enabled": shapes.boolean,
}


@dataclass(frozen=True, slots=True)
class ScheduleSpec:
    """What runs when on an agent."""

    id: str
    name: str  # for people; usually the script's name
    digest: str  # of the bundle, pinned: a new version is a new wanted state
    script: str = ""  # name in the one namespace
    parameters: dict[str, Any] = field(default_factory=dict)
    on: str | None = None  # the target expression it was made from; the agent does not read it
    cron: str | None = None  # five fields, or @hourly, @daily, ...; in ``zone``
    every_s: float | None = None  # seconds; fire times are the multiples since 1970
    zone: str = "UTC"  # IANA name
    splay_s: float = 0.0  # each host adds its own constant part of this, in seconds, to every fire time
    overlap: str = "skip"  # one of OVERLAPS: what happens while the last run is under way
    timeout_s: float | None = None  # of each run, in seconds; None: as the script's limits say
    catch_up: str = "none"  # one of CATCH_UPS: which missed fire times run late
    enabled: bool = True

    @classmethod
    def from_wire(cls, body: object) -> ScheduleSpec:
        """Return the schedule in ``body``.

        Cron line and time zone are judged by :func:`protocol.firetimes.next_fires`, which names what is wrong in them.

        Raises:
            ArgumentError: Names the field that is wrong, missing or unknown.
        """
        fields = shapes.read_fields(body, "schedule", _REQUIRED, _OPTIONAL)
        if (fields.get("cron") is None) == (fields.get("every_s") is None):
            raise ArgumentError("exactly one of cron and every_s must be given", parameter="cron", where="schedule")
        fields.setdefault("name", fields.get("script", fields["id"]))
        return cls(**fields)

    def to_wire(self) -> dict[str, Any]:
        """Return the plain form that :meth:`from_wire` reads."""
        plain = asdict(self)
        return {name: value for name, value in plain.items() if value is not None}


def same_schedule(signed: Mapping[str, Any], spec: ScheduleSpec) -> bool:
    """Tell whether the schedule that an operator signed is ``spec``, whatever order or absent defaults it has.

    Numbers that a signature cannot hold as floats are compared by value.
    """
    try:
        return ScheduleSpec.from_wire(dict(signed)) == spec
    except ArgumentError:
        return False
