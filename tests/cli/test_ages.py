"""Times as people read and write them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from cli.ages import clock, moment, parse_time, rfc3339, since
from protocol.errors import ArgumentError

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23T11:59:58Z", "2 s ago"),
        ("2026-11-23T11:58:00Z", "2 min ago"),
        ("2026-11-23T09:59:00+00:00", "2 h ago"),
        ("2026-11-20T12:00:00Z", "3 d ago"),
        ("2026-11-23T12:00:00Z", "now"),
        ("2026-11-23T12:05:00Z", "5 min ahead"),
        (None, "-"),
        ("yesterday", "-"),
    ],
)
def test_ages(text: object, expected: str) -> None:
    assert since(text, NOW) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2h", "2026-11-23T10:00:00Z"),
        ("90d", "2026-08-25T12:00:00Z"),
        ("2026-11-01T13:00:00Z", "2026-11-01T13:00:00Z"),
        ("2026-11-01", "2026-10-31T23:00:00Z"),
        ("2026-11-01T13:00", "2026-11-01T12:00:00Z"),
        ("11:30", "2026-11-23T10:30:00Z"),
    ],
)
def test_moments(text: str, expected: str) -> None:
    assert moment(text, where="--since", now=NOW) == expected


@pytest.mark.parametrize("text", ["", "soon", "25:00", "10 parsecs", "999999999999d", "2026-13-01"])
def test_what_is_no_moment_names_the_flag(text: str) -> None:
    with pytest.raises(ArgumentError, match="--since") as caught:
        moment(text, where="--since", now=NOW)
    assert "examples" in caught.value.message


def test_clock_is_local() -> None:
    assert clock("2026-11-23T12:00:01Z") == "13:00:01"
    assert clock(7) == "-"


def test_wire_form() -> None:
    assert rfc3339(datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)) == "2026-01-02T03:04:05Z"
    assert parse_time("2026-01-02T03:04:05") == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
