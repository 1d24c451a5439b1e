"""Moments in signed statements: one form only, so that two programs cannot read two different ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocol.errors import ArgumentError
from protocol.timestamps import moment, stamp


@settings(max_examples=80)
@given(st.datetimes(timezones=st.just(UTC)))
@example(datetime(1, 1, 1, tzinfo=UTC))
@example(datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC))
def test_what_is_written_reads_back_to_the_second(when: datetime) -> None:
    assert moment(stamp(when), parameter="issued") == when.replace(microsecond=0)


def test_a_moment_of_another_zone_is_written_in_utc() -> None:
    assert stamp(datetime(2026, 3, 1, 0, 30, tzinfo=timezone(timedelta(hours=1)))) == "2026-02-28T23:30:00Z"


def test_a_moment_without_a_zone_is_not_guessed() -> None:
    with pytest.raises(ArgumentError):
        stamp(datetime(2026, 3, 1))


@pytest.mark.parametrize(
    "text",
    [
        "", None, 1_700_000_000, "2026-11-23", "2026-11-23 13:05:07Z", "2026-11-23T13:05:07", "2026-11-23T13:05:07z",
        "2026-11-23T13:05:07+00:00", "2026-11-23T13:05:07.5Z", "2026-02-31T00:00:00Z", "2026-11-23T24:00:00Z",
        "2026-11-23T23:59:60Z", "0000-01-01T00:00:00Z", "2026-11-23T13:05:07Z\n", "٢٠٢٦-11-23T13:05:07Z",
    ],
)  # fmt: skip
def test_every_other_form_is_refused_by_name(text: object) -> None:
    with pytest.raises(ArgumentError, match=r"^expires is not a time") as caught:
        moment(text, parameter="expires")
    assert caught.value.parameter == "expires"
