"""Times as people read them. The wire has RFC 3339 in UTC; a terminal shows local time or an age."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from protocol.errors import ArgumentError
from protocol.units import parse_duration

_STEPS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def parse_time(text: str) -> datetime | None:
    """Return the moment of an RFC 3339 text, or None if it is none."""
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def rfc3339(moment: datetime) -> str:
    """Return a moment as the wire has it, in whole seconds of UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def of_ms(ms: object) -> str:
    """Return a moment in milliseconds since 1970 UTC as :func:`rfc3339`; what is no date comes back as it is."""
    try:
        return rfc3339(datetime.fromtimestamp(ms / 1000, UTC)) if isinstance(ms, int) else str(ms)
    except (OverflowError, ValueError, OSError):  # beyond the year 9999
        return str(ms)


def since(text: object, now: datetime | None = None) -> str:
    """Return the age of an RFC 3339 text, such as ``2 h ago``; ``-`` if there is none."""
    moment = parse_time(text) if isinstance(text, str) else None
    if moment is None:
        return "-"
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    for size, unit in _STEPS:
        if abs(seconds) >= size:
            return f"{int(abs(seconds) // size)} {unit} {'ago' if seconds > 0 else 'ahead'}"
    return "now"


def clock(text: object) -> str:
    """Return the local time of day of an RFC 3339 text, as in ``13:02:11``."""
    moment = parse_time(text) if isinstance(text, str) else None
    return "-" if moment is None else moment.astimezone().strftime("%H:%M:%S")


def day(text: object) -> str:
    """Return the local date and time of an RFC 3339 text, as in ``2026-11-25 13:02``."""
    moment = parse_time(text) if isinstance(text, str) else None
    return "-" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M")


def moment(text: str, *, where: str, now: datetime | None = None) -> str:
    """Return what ``--since`` means: RFC 3339, a local date or time of day, or an age such as ``2h``.

    Raises:
        ArgumentError: None of these.
    """
    present = now or datetime.now(UTC)
    found = _time_of_day(text, present) or _local(text)
    if found is not None:
        return rfc3339(found)
    try:
        return rfc3339(present - timedelta(seconds=parse_duration(text)))
    except (ArgumentError, OverflowError):
        examples = "2h, 13:00, 2026-11-01, 2026-11-01T13:00:00Z"
        raise ArgumentError(f"{text!r} is not a time (examples: {examples})", where=where) from None


def _time_of_day(text: str, present: datetime) -> datetime | None:
    for form in ("%H:%M", "%H:%M:%S"):
        try:
            parsed = datetime.strptime(text, form)  # noqa: DTZ007 - only its time of day is used, with the local date
        except ValueError:
            continue
        today = present.astimezone()
        return today.replace(hour=parsed.hour, minute=parsed.minute, second=parsed.second, microsecond=0)
    return None


def _local(text: str) -> datetime | None:
    try:
        parsed = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.astimezone()
