"""Moments as signed statements write them: RFC 3339, UTC, whole seconds, always with Z."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from protocol.errors import ArgumentError

#: The hour stands here because Python from 3.14 on reads 24:00 too.
_FORM = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}Z")


def stamp(moment: datetime) -> str:
    """Return ``moment``, which must know its zone, as text.

    Raises:
        ArgumentError: It has no time zone.
    """
    if moment.tzinfo is None:
        raise ArgumentError("a moment without a time zone cannot be written down")
    # Not strftime: its %Y writes the years before 1000 with fewer than four digits.
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def moment(text: object, *, parameter: str) -> datetime:
    """Return the moment that ``text`` names.

    Raises:
        ArgumentError: Not such a text; names ``parameter``.
    """
    if isinstance(text, str) and _FORM.fullmatch(text):
        try:
            return datetime.fromisoformat(text)
        except ValueError:  # the 31st of February and its like
            pass
    raise ArgumentError(f"{parameter} is not a time such as 2026-11-23T13:05:07Z", parameter=parameter)
