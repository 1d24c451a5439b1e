"""When a schedule fires: the same on every host and after every restart, also in the nights of the clock changes."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import limits
from protocol.errors import ArgumentError
from protocol.firetimes import check_times, next_fires, splay
from protocol.schedules import ScheduleSpec

DIGEST = "sha256:" + "0" * 64
BERLIN = ZoneInfo("Europe/Berlin")


def spec(**changes: Any) -> ScheduleSpec:
    given: dict[str, Any] = {"id": "s1", "digest": DIGEST} | changes
    return ScheduleSpec.from_wire(given if "cron" in given or "every_s" in given else given | {"cron": "0 * * * *"})


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def fires(cron: str, after: str, count: int, zone: str = "Europe/Berlin") -> list[str]:
    found = next_fires(spec(cron=cron, zone=zone), utc(after), count)
    assert all(fire.tzinfo is UTC for fire in found)
    return [f"{fire:%Y-%m-%dT%H:%M}" for fire in found]


# clock changes in Berlin: 2026-03-29 02:00 -> 03:00 (01:00 UTC), 2026-10-25 03:00 -> 02:00 (01:00 UTC) ----------------


def test_an_ordinary_day_follows_the_wall() -> None:
    assert fires("30 2 * * *", "2026-01-01T00:00", 2) == ["2026-01-01T01:30", "2026-01-02T01:30"]
    assert fires("30 2 * * *", "2026-07-01T00:00", 2) == ["2026-07-01T00:30", "2026-07-02T00:30"]


def test_a_time_in_the_gap_fires_once_at_its_end() -> None:
    """A nightly backup must not be left out in the one night that has no half past two."""
    assert fires("30 2 * * *", "2026-03-28T12:00", 2) == ["2026-03-29T01:00", "2026-03-30T00:30"]
    assert fires("15,45 2 * * *", "2026-03-28T12:00", 2) == ["2026-03-29T01:00", "2026-03-30T00:15"]
    assert fires("0 2,3 * * *", "2026-03-28T12:00", 2) == ["2026-03-29T01:00", "2026-03-30T00:00"]


def test_a_line_for_every_hour_goes_on_over_the_gap() -> None:
    assert fires("30 * * * *", "2026-03-28T23:45", 3) == ["2026-03-29T00:30", "2026-03-29T01:30", "2026-03-29T02:30"]


def test_a_time_in_the_repeated_hour_fires_once_at_the_first() -> None:
    """Nobody wants the monthly invoices twice."""
    assert fires("30 2 * * *", "2026-10-24T12:00", 2) == ["2026-10-25T00:30", "2026-10-26T01:30"]
    assert fires("30 2 * * *", "2026-10-25T00:30", 1) == ["2026-10-26T01:30"]
    assert fires("30 2 * * *", "2026-10-25T01:00", 1) == ["2026-10-26T01:30"], "asked during the second passing"


def test_a_line_for_every_hour_fires_in_both_passings() -> None:
    assert fires("30 * * * *", "2026-10-24T23:45", 4) == [
        "2026-10-25T00:30", "2026-10-25T01:30", "2026-10-25T02:30", "2026-10-25T03:30",
    ]  # fmt: skip
    assert fires("*/30 * * * *", "2026-10-24T23:59", 5) == [
        "2026-10-25T00:00", "2026-10-25T00:30", "2026-10-25T01:00", "2026-10-25T01:30", "2026-10-25T02:00",
    ]  # fmt: skip


def test_a_day_that_a_zone_left_out_fires_after_it() -> None:
    """Apia had no 30 December 2011."""
    assert fires("0 12 * * *", "2011-12-29T23:00", 2, "Pacific/Apia") == ["2011-12-30T10:00", "2011-12-30T22:00"]


def expected(minute: int, hour: int | None, after: datetime, until: datetime) -> list[datetime]:
    """The rule of the module, minute by minute, as an independent reading of it."""
    found: list[datetime] = []
    seen: set[datetime] = set()
    before = (after - timedelta(days=2)).replace(second=0, microsecond=0)
    moment = before
    while moment < until:
        wall = moment.astimezone(BERLIN).replace(tzinfo=None, fold=0)
        previous = (moment - timedelta(minutes=1)).astimezone(BERLIN).replace(tzinfo=None, fold=0)
        skipped = [
            previous + timedelta(minutes=n) for n in range(1, max(1, int((wall - previous).total_seconds() // 60)))
        ]
        due = wall.minute == minute and hour in (None, wall.hour) and (hour is None or wall not in seen)
        due = due or (hour is not None and any((gone.hour, gone.minute) == (hour, minute) for gone in skipped))
        seen.add(wall)
        if due and moment > after:
            found.append(moment)
        moment += timedelta(minutes=1)
    return found


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 59), st.none() | st.integers(0, 4),
    st.sampled_from([utc("2026-03-28T20:00"), utc("2026-10-24T20:00")]), st.integers(0, 600),
)  # fmt: skip
def test_the_nights_of_the_changes_are_as_the_rule_says(
    minute: int, hour: int | None, night: datetime, at: int
) -> None:
    after = night + timedelta(minutes=at)
    until = night + timedelta(hours=30)
    line = f"{minute} {'*' if hour is None else hour} * * *"
    found = next_fires(spec(cron=line, zone="Europe/Berlin"), after, 40)
    assert [fire for fire in found if fire < until] == expected(minute, hour, after, until)


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["*/7 * * * *", "30 2 * * *", "0 0 1 * *", "15 3 * * 1-5", "@daily"]),
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)), st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata"]),
)  # fmt: skip
def test_asking_step_by_step_gives_the_same_times(cron: str, after: datetime, zone: str) -> None:
    """An agent asks again after each fire and each restart; none may be lost, none come twice."""
    given, at = spec(cron=cron, zone=zone), after.replace(tzinfo=UTC)
    whole = next_fires(given, at, 6)
    assert whole == sorted(set(whole))
    assert all(fire > at for fire in whole)
    steps = []
    for _ in whole:
        at = next_fires(given, at, 1)[0]
        steps.append(at)
    assert steps == whole


# every ----------------------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.sampled_from([1.0, 1.5, 60, 3600, 86_400, 7.25]), st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)))
def test_every_is_a_multiple_since_1970(every_s: float, after: datetime) -> None:
    """Whatever restarts when, the times stay where they are."""
    at = after.replace(tzinfo=UTC)
    found = next_fires(spec(every_s=every_s), at, 3)
    step = timedelta(seconds=every_s)
    assert all((fire - datetime(1970, 1, 1, tzinfo=UTC)) % step == timedelta() for fire in found)
    assert at < found[0] <= at + step
    assert [later - fire for fire, later in itertools.pairwise(found)] == [step, step]


def test_a_multiple_itself_is_not_after_itself() -> None:
    at = utc("2026-01-01T00:00")
    assert next_fires(spec(every_s=3600), at, 1) == [at + timedelta(hours=1)]


# splay ----------------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.text(max_size=10), st.floats(0, limits.MAX_SPLAY_S))
def test_the_splay_is_a_constant_of_host_and_schedule(agent_id: str, splay_s: float) -> None:
    given_spec = spec(splay_s=splay_s)
    found = splay(given_spec, agent_id)
    assert found == splay(given_spec, agent_id)
    assert timedelta() <= found <= timedelta(seconds=splay_s) + timedelta(microseconds=1)


def test_the_splay_of_a_host_is_pinned() -> None:
    """If it changed with a release, every schedule of a fleet would jump on the day of the update."""
    assert splay(spec(splay_s=3600.0), "web-1") == timedelta(microseconds=2239195599)
    others = {splay(spec(splay_s=3600.0), f"web-{n}") for n in range(50)}
    assert len(others) == 50, "hosts are spread"
    assert splay(spec(id="s2", splay_s=3600.0), "web-1") != splay(spec(splay_s=3600.0), "web-1")


def test_the_splay_shifts_every_fire_time_and_loses_none() -> None:
    given_spec = spec(cron="0 * * * *", splay_s=3600.0)
    shift = splay(given_spec, "web-1")
    plain = next_fires(given_spec, utc("2026-01-01T00:00"), 5)
    assert next_fires(given_spec, utc("2026-01-01T00:00") + shift, 5, agent_id="web-1") == [f + shift for f in plain]
    at, steps = utc("2026-01-01T00:00") + shift, []
    for _ in plain:
        at = next_fires(given_spec, at, 1, agent_id="web-1")[0]
        steps.append(at - shift)
    assert steps == plain


# what people type -----------------------------------------------------------------------------------------------------

BAD_CRON = [
    ("61 * * * *", "the minute '61' is not valid (0-59)"),
    ("* 24 * * *", "the hour '24' is not valid (0-23)"),
    ("* * 0 * *", "the day of month '0' is not valid (1-31)"),
    ("* * 32 * *", "the day of month '32' is not valid"),
    ("* * * 13 *", "the month '13' is not valid (1-12 or jan-dec)"),
    ("* * * foo *", "the month 'foo' is not valid"),
    ("* * * * 8", "the day of week '8' is not valid (0-7 or sun-sat)"),
    ("*/0 * * * *", "the minute '*/0' is not valid"),
    ("5-1-2 * * * *", "the minute '5-1-2' is not valid"),
    ("a * * * *", "the minute 'a' is not valid"),
    ("h * * * *", "the minute 'h' is not valid"),
    ("R * * * *", "the minute 'R' is not valid"),
    ("1;2 * * * *", "the minute '1;2' is not valid"),
    (", * * * *", "the minute ',' is not valid"),
    ("- * * * *", "the minute '-' is not valid"),
    ("* * * *", "has 4 fields, not five"),
    ("* * * * * *", "has 6 fields, not five"),
    ("   ", "has 0 fields, not five"),
    ("@reboot", "'@reboot' is none of @annually"),
    ("@Daily", "'@Daily' is none of"),
    ("0 0 30 2 *", "names a day that never comes (30 of month 2)"),
    ("0 0 31 4,6 *", "names a day that never comes"),
]


@pytest.mark.parametrize(("cron", "words"), BAD_CRON)
def test_a_wrong_line_names_the_field_and_what_is_allowed(cron: str, words: str) -> None:
    """People write these by hand, and most are wrong in one place."""
    with pytest.raises(ArgumentError) as caught:
        check_times(spec(cron=cron))
    assert words in str(caught.value)
    assert caught.value.parameter == "cron"
    with pytest.raises(ArgumentError):
        next_fires(spec(cron=cron), utc("2026-01-01T00:00"), 1)


@pytest.mark.parametrize(
    "cron",
    ["* * * * *", "*/5 8-18 * * mon-fri", "0 0 29 2 *", "0 0 l * *", "1,2,3 * * JAN,dec sun", "@hourly", "@yearly"],
)
def test_a_good_line_is_taken(cron: str) -> None:
    check_times(spec(cron=cron))
    assert len(next_fires(spec(cron=cron), utc("2026-01-01T00:00"), 2)) == 2


@pytest.mark.parametrize(
    ("zone", "words"),
    [
        ("Europe/Berln", "'Europe/Berln' is not a time zone (did you mean 'Europe/Berlin'?)"),
        ("europe", "is not a time zone"),
        ("Europe", "is not a time zone"),
        ("../../etc/passwd", "is not a time zone"),
        ("/etc/localtime", "is not a time zone"),
        ("Europe/../UTC", "is not a time zone"),
        ("UTC\n", "is not a time zone"),
        ("Mars/Phobos", "is not a time zone"),
    ],
)
def test_a_wrong_zone_is_named_with_a_guess(zone: str, words: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        check_times(spec(zone=zone))
    assert words in str(caught.value)
    assert caught.value.parameter == "zone"


@settings(max_examples=100, deadline=None)
@given(st.text("0123456789*/,-#?LWHR@ abc", min_size=1, max_size=20))
def test_hostile_lines_raise_only_the_documented_error(cron: str) -> None:
    given_spec = spec(cron=cron)
    try:
        check_times(given_spec)
    except ArgumentError:
        return
    assert next_fires(given_spec, utc("2026-01-01T00:00"), 1)


def test_what_cannot_be_asked_is_refused() -> None:
    for count in (0, -1, limits.MAX_FIRES + 1):
        with pytest.raises(ArgumentError):
            next_fires(spec(), utc("2026-01-01T00:00"), count)
    with pytest.raises(ArgumentError):
        next_fires(spec(), datetime(2026, 1, 1), 1)


def test_the_calendar_ends_without_an_error() -> None:
    assert len(next_fires(spec(every_s=86_400), utc("9999-12-30T00:00"), 10)) == 1
    assert len(next_fires(spec(cron="0 0 * * *"), utc("9999-12-29T00:00"), 10)) <= 2
