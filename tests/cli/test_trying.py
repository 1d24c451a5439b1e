"""Fire times as a trial of a schedule shows them."""

from __future__ import annotations

from datetime import UTC, datetime

from cli.trying import fire_times

NOW = datetime(2026, 11, 26, 20, 0, tzinfo=UTC)


def test_times_are_those_of_the_schedules_zone() -> None:
    """In Kathmandu it is tomorrow already: what is today there is shown without its date."""
    fires = ["2026-11-26T20:45:00Z", "2026-11-27T18:15:00Z"]
    assert fire_times(fires, "Asia/Kathmandu", NOW) == "02:30:00, 2026-11-28 00:00:00 (Asia/Kathmandu)"
    assert fire_times(fires, "UTC", NOW) == "20:45:00, 2026-11-27 18:15:00 (UTC)"
    assert fire_times([], "UTC", NOW) == "never"
