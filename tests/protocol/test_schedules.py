"""Schedules on the wire: strict, with exactly one way of saying when."""

from __future__ import annotations

from typing import Any

import pytest

from protocol import limits
from protocol.errors import ArgumentError
from protocol.schedules import ScheduleSpec, same_schedule

DIGEST = "sha256:" + "0" * 64
MINIMAL: dict[str, Any] = {"id": "s1", "digest": DIGEST, "every_s": 60}
FULL: dict[str, Any] = {
    "id": "s1", "name": "n", "digest": DIGEST, "script": "checks/disk", "parameters": {"a": [1]}, "on": "site=berlin",
    "cron": "0 * * * *", "zone": "Europe/Berlin", "splay_s": 5.0, "overlap": "queue", "timeout_s": 2.5,
    "catch_up": "last", "enabled": False,
}  # fmt: skip


def test_what_is_absent_is_the_careful_default() -> None:
    found = ScheduleSpec.from_wire(MINIMAL)
    assert (found.zone, found.splay_s, found.overlap, found.catch_up) == ("UTC", 0.0, "skip", "none")
    assert (found.enabled, found.timeout_s, found.name) == (True, None, "s1")
    assert ScheduleSpec.from_wire(MINIMAL | {"script": "checks/disk"}).name == "checks/disk"


@pytest.mark.parametrize("body", [MINIMAL, FULL])
def test_it_survives_the_wire(body: dict[str, Any]) -> None:
    found = ScheduleSpec.from_wire(body)
    assert ScheduleSpec.from_wire(found.to_wire()) == found
    assert body.items() <= found.to_wire().items()


@pytest.mark.parametrize("change", [{"cron": "0 * * * *"}, {"every_s": None}, {"cron": None, "every_s": None}])
def test_exactly_one_way_of_saying_when(change: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match="exactly one of cron and every_s"):
        ScheduleSpec.from_wire(MINIMAL | change)


@pytest.mark.parametrize(
    "change",
    [
        {"id": ""}, {"id": "a/b"}, {"digest": "x"}, {"every_s": 0.5}, {"every_s": 1e12}, {"every_s": True},
        {"every_s": 10**400}, {"every_s": float("nan")}, {"splay_s": -1}, {"splay_s": limits.MAX_SPLAY_S + 1},
        {"overlap": "both"}, {"catch_up": "some"}, {"timeout_s": 0}, {"enabled": 1}, {"parameters": []}, {"zone": ""},
        {"on": 3}, {"more": 1},
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(change: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError) as caught:
        ScheduleSpec.from_wire(MINIMAL | change)
    assert caught.value.parameter == next(iter(change))


def test_the_signed_schedule_is_the_same_whatever_its_order_and_defaults() -> None:
    """An agent holds the operator's signature against what the server wants; a wrong no would stop all checks."""
    spec = ScheduleSpec.from_wire(MINIMAL)
    assert same_schedule({"every_s": 60, "digest": DIGEST, "id": "s1"}, spec)
    assert same_schedule(spec.to_wire(), spec)
    assert same_schedule(MINIMAL | {"overlap": "skip", "splay_s": 0}, spec)


@pytest.mark.parametrize(
    "change",
    [{"id": "s2"}, {"digest": "sha256:" + "1" * 64}, {"every_s": 61}, {"parameters": {"a": 1}}, {"more": 1},
     {"zone": 3},
     {"catch_up": "all"}, {"enabled": False}, {"timeout_s": 9}],
)  # fmt: skip
def test_another_schedule_than_the_signed_one_is_not_the_same(change: dict[str, Any]) -> None:
    assert not same_schedule(MINIMAL | change, ScheduleSpec.from_wire(MINIMAL))
