"""Durations and sizes as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import ArgumentError
from protocol.units import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("10s", 10.0), ("2m", 120.0), ("1h", 3600.0), ("90d", 7_776_000.0), ("0s", 0.0), ("1.5s", 1.5)],
)
def test_durations_are_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["10 parsecs", "10", "", "s", "-1s", "1e3s", "10s\n", " 10s", "10S", "٣s", "1.s", "inf", None, 10, True]
)
def test_what_is_no_duration_is_refused_with_examples(text: object) -> None:
    with pytest.raises(ArgumentError, match=r"is not a duration \(examples: 500ms, 10s, 2m\)"):
        parse_duration(text)


def test_the_error_is_the_documented_text_and_names_the_place() -> None:
    with pytest.raises(ArgumentError) as caught:
        parse_duration("10 parsecs", where="manifest.yaml:7: limits.wall")
    expected = "manifest.yaml:7: limits.wall: '10 parsecs' is not a duration (examples: 500ms, 10s, 2m)"
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64MiB", 64 << 20),
        ("256KiB", 256 << 10),
        ("4096", 4096),
        ("1B", 1),
        ("2GiB", 2 << 30),
        ("1TiB", 1 << 40),
        (7, 7),
    ],
)
def test_sizes_are_bytes(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["64MB", "64 MiB", "-1", "", "1.5KiB", "4096\n", None, True, -1, 1.0])
def test_what_is_no_size_is_refused(text: object) -> None:
    with pytest.raises(ArgumentError, match="is not a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.5, "500ms"), (10, "10s"), (90, "90s"), (120, "2m"), (1234.5, "1234.5s"), (86400, "1d"), (0, "0ms")],
)
def test_a_duration_is_shown_in_the_unit_that_fits(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (1023, "1023B"), (1024, "1KiB"), (1536, "1.5KiB"), (64 << 20, "64MiB"), (1 << 50, "1024TiB")],
)
def test_a_size_is_shown_in_the_unit_that_fits(size: int, text: str) -> None:
    assert format_size(size) == text


@given(st.integers(min_value=0, max_value=10_000_000))
def test_a_shown_duration_reads_back(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=1e-5)
