# ruff: noqa: E501 - one expression on one line reads best
"""``datetime`` as scripts have it."""

from __future__ import annotations

import datetime
import random

import pytest
from languages import plainly, python

from sandbox.python_dates import strptime

HEAD = "from datetime import UTC, date, datetime, time, timedelta, timezone\nd = datetime(2024, 2, 29, 13, 5, 6, 789)\n"

SAME = [
    "str(d) + repr(d)",
    "[d.year, d.month, d.day, d.hour, d.minute, d.second, d.microsecond, d.fold, d.tzinfo]",
    "[d.isoformat(), d.isoformat(sep=' ', timespec='minutes'), d.date().isoformat(), d.time().isoformat()]",
    "[d.weekday(), d.isoweekday(), d.toordinal(), d.ctime(), list(d.isocalendar()), list(d.date().isocalendar())]",
    "[d.strftime('%Y-%m-%d %H:%M:%S.%f %j %a %B %p %I %% %y %U %W %w %u %G %V %c %x %X'), d.date().strftime('%d.%m.%Y')]",
    "[f'{d:%Y-%m-%d}', f'{d.date():%B}', f'{d.time():%H:%M}', format(d, '%H'), f'{d}', f'{d!r}', f'{d!s:>30}']",
    "[str(d + timedelta(days=1)), str(d - timedelta(hours=30)), str(d - datetime(2024, 1, 1)), d > datetime(2023, 1, 1)]",
    "[(d - datetime(2024, 1, 1)).days, (d - datetime(2024, 1, 1)).total_seconds(), timedelta(1, 2, 3).seconds]",
    "[str(timedelta(minutes=90) * 2), timedelta(1) / timedelta(hours=1), timedelta(1) // 2 == timedelta(0.5), str(-timedelta(1))]",
    "[str(timedelta(1) % timedelta(hours=5)), str(abs(timedelta(-1))), timedelta(microseconds=5).microseconds]",
    "[str(d.replace(year=2020, tzinfo=UTC)), str(d.replace(tzinfo=UTC).astimezone(timezone(timedelta(hours=2), 'X')))]",
    "[d.replace(tzinfo=UTC).timestamp(), str(datetime.fromtimestamp(1e9, UTC)), str(datetime.fromtimestamp(0, tz=timezone.utc))]",
    "[str(datetime.fromisoformat('2024-01-02T03:04:05+02:00')), str(date.fromisoformat('2024-01-02')), str(time.fromisoformat('04:05'))]",
    "[str(datetime.combine(date(2024, 1, 2), time(3))), str(date.fromordinal(5)), str(date.fromisocalendar(2024, 1, 1))]",
    "[str(datetime.min), str(date.max), str(time.max), str(timedelta.max), str(timedelta.resolution), str(timezone.utc)]",
    "[timezone(timedelta(hours=-5)).tzname(None), str(UTC.utcoffset(None)), repr(timezone.utc), d.utcoffset(), d.tzname()]",
    "[isinstance(d, date), isinstance(d.date(), datetime), {d: 1}[d], sorted([d, datetime(2020, 1, 1)])[0].year]",
    "[str(datetime.strptime('2024-05-06 07:08:09', '%Y-%m-%d %H:%M:%S')), datetime.strptime('1:02 PM', '%I:%M %p').hour]",
    "str(d.replace(tzinfo=timezone(timedelta(hours=1)))) + d.replace(tzinfo=UTC).strftime('%z %Z')",
]


@pytest.mark.parametrize("expression", SAME)
def test_it_gives_what_the_library_gives(expression: str) -> None:
    """They are the library's own types."""
    source = f"{HEAD}result = {expression}"
    assert python(source).value == plainly(source)


@pytest.mark.parametrize("kind", ["date(%s)", "datetime(%s)"])
@pytest.mark.parametrize("year", [0, 10_000, 65_535])
def test_a_year_that_there_is_not_has_no_text(kind: str, year: int) -> None:
    """The interpreter takes the bytes of a pickle as they are, and then reads outside of its memory: it crashed."""
    state = year.to_bytes(2, "big") + bytes([1, 1] if kind.startswith("date(") else [1, 1, 0, 0, 0, 0, 0, 0])
    for given in (repr(state), repr(state.decode("latin-1"))):
        assert f"there is no year {year}" in python(f"{HEAD}{kind % given}.ctime()").error


def test_in_place_operators_work_on_moments() -> None:
    """They make new values."""
    assert python(f"{HEAD}d += timedelta(1)\nx = timedelta(1)\nx *= 3\nresult = [str(d), x.days]").value == [
        "2024-03-01 13:05:06.000789",
        3,
    ]


def test_the_clock_can_be_read() -> None:
    """With and without a zone."""
    source = HEAD + (
        "n, u = datetime.now(), datetime.now(UTC)\n"
        "result = [n.tzinfo is None, u.tzinfo is UTC, abs((datetime.today() - n).total_seconds()) < 60, "
        "abs(u.timestamp() - n.timestamp()) < 60, abs((date.today() - n.date()).days) <= 1, "
        "u.astimezone().tzinfo is not None]"
    )
    assert python(source).value == [True] * 6


FORMATS = [
    "%Y-%m-%d %H:%M:%S", "%d/%b/%Y:%H:%M:%S %z", "%b %d %H:%M:%S %Y", "%Y-%m-%dT%H:%M:%S.%f%z", "%A %d %B %Y %I:%M %p",
    "%Y%m%d%H%M%S", "%y%m%d", "%j %Y", "%a, %d %b %Y %H:%M:%S", "%H:%M", "%c", "%x %X", "100%% %d.%m.%Y", "%Y\t%m %d",
]  # fmt: skip


@pytest.mark.parametrize("form", FORMATS)
def test_reading_is_that_of_the_library(form: str) -> None:
    """Random moments, written by the library and read by both."""
    randomly = random.Random(3)
    for _ in range(200):
        zone = datetime.timezone(datetime.timedelta(minutes=randomly.randrange(-1439, 1440)))
        moment = datetime.datetime.fromtimestamp(randomly.uniform(0, 2.5e9), zone if "%z" in form else None)
        text = moment.strftime(form)
        assert strptime(text, form) == datetime.datetime.strptime(text, form), text


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("1 2 2024", "%d %m %Y"),
        ("9:5:1", "%H:%M:%S"),
        ("930", "%H%M"),
        ("  2024", " %Y"),
        ("2024-01-02 Z", "%Y-%m-%d %z"),
        ("2024-01-02 utc", "%Y-%m-%d %Z"),
        ("JAN 5", "%b %d"),
        ("12 am", "%I %p"),
        ("12 PM", "%I %p"),
        ("5", "%I"),
        ("366 2024", "%j %Y"),
        ("2024-01-02 +01:02:03.5", "%Y-%m-%d %z"),
        ("0.5", "%S.%f"),
        ("69", "%y"),
        ("", ""),
    ],
)
def test_reading_forgives_what_the_library_forgives(text: str, form: str) -> None:
    """Single digits, letters of either case, runs of spaces."""
    assert strptime(text, form) == datetime.datetime.strptime(text, form)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("2024-13-01", "%Y-%m-%d"), ("2023-02-29", "%Y-%m-%d"), ("x", "%Y"), ("2024 ", "%Y"), ("24", "%Y"), ("٢٠٢٤", "%Y"),
        ("1 1", "%d %d"), ("1", "%Q"), ("1", "%"), ("+2560", "%z"), ("+2400", "%z"), ("Foo", "%b"), ("", "%H"), ("60", "%S"),
    ],
)  # fmt: skip
def test_reading_refuses(text: str, form: str) -> None:
    """As ValueError, always."""
    with pytest.raises(ValueError):
        strptime(text, form)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("datetime(10000, 1, 1)", "ValueError"),
        ("datetime.max + timedelta(1)", "OverflowError"),
        ("timedelta(days=10 ** 9)", "OverflowError"),
        ("timedelta(days=10 ** 400)", "OverflowError"),
        ("datetime.fromtimestamp(10 ** 400)", "OverflowError"),
        ("datetime.fromtimestamp(1e300)", "Error"),
        ("date.fromordinal(10 ** 9)", "ValueError"),
        ("timezone(timedelta(days=2))", "ValueError"),
        ("d.strftime('%E')", "'%E' is not available in a format"),
        ("d.strftime('%999999999d')", "'%9' is not available in a format"),
        ("d.strftime('%')", "is not available in a format"),
        ("d.strftime('%s')", "'%s' is not available"),
        ("d.strftime('x' * 1001)", "at most 1000 characters"),
        ("d.strftime(5)", "must be str"),
        ("f'{d:%Q}'", "'%Q' is not available"),
        ("f'{timedelta(1):%d}'", "ValueError"),
        ("datetime.strptime('x' * 1001, '%Y')", "at most 1000"),
        ("datetime.strptime('x', '%Y' * 600)", "at most 1000"),
        ("datetime.strptime('1', 5)", "must be str"),
        ("datetime.utcnow()", "has no attribute 'utcnow'"),
        ("d.timetuple()", "has no attribute 'timetuple'"),
        ("datetime.strftime(d, '%Y')", "has no attribute 'strftime'"),
        ("datetime.__reduce__", "invalid attribute name"),
        ("getattr(d, '__reduce__')", "has no attribute"),
        ("getattr(d, '__class__')", "has no attribute"),
        ("getattr(datetime, '__subclasses__')", "has no attribute"),
        ("getattr(d.strftime, '__func__')", "has no attribute"),
        ("datetime.mro()", "has no attribute"),
        ("d.replace(tzinfo=5)", "TypeError"),
        ("datetime.now(5)", "TypeError"),
        ("[d] + d", "TypeError"),
    ],
)
def test_what_is_refused(source: str, words: str) -> None:
    """Overflow, directives of the C library, and everything that leads elsewhere."""
    assert words in python(f"{HEAD}result = {source}").error


@pytest.mark.parametrize("kind", ["date", "datetime", "time", "timedelta", "timezone"])
def test_no_classes_and_no_changes(kind: str) -> None:
    """A zone of a script's own would run its code wherever a moment is compared."""
    assert "cannot be a base class" in python(f"{HEAD}class A({kind}):\n    pass").error
    assert "cannot be changed" in python(f"{HEAD}{kind}.x = 1").error
    assert "cannot be changed" in python(f"{HEAD}d.year = 1").error
    assert "import is not available for tzinfo" in python("from datetime import tzinfo").error


def test_moments_do_not_cross() -> None:
    """Which text is meant, and in which zone, only the author knows."""
    assert "the result holds a datetime" in python(f"{HEAD}result = d").error
    assert "the result holds a timedelta" in python(f"{HEAD}result = [timedelta(1)]").error
    assert python(f"{HEAD}fs.space(d)").result.error_code == "invalid_argument"
