"""One JSON object a line, with what an error keeps for our own log."""

from __future__ import annotations

import json
import logging
import sys

from agent.logs import JsonFormatter
from protocol.errors import OutriderError, UnavailableError
from protocol.plain_text import safe


def entry(text: str, *values: object, error: OutriderError | None = None, **fields: object) -> dict[str, object]:
    found = None
    if error is not None:
        try:
            raise error
        except OutriderError:
            found = sys.exc_info()
    record = logging.LogRecord("outrider.agent", logging.WARNING, __file__, 1, text, values, found)
    record.fields = fields
    line = JsonFormatter().format(record)
    assert "\n" not in line
    return dict(json.loads(line))


def test_text_and_fields_stand_side_by_side() -> None:
    found = entry("run %s refused", "r1", reason="withdrawn")
    assert (found["text"], found["reason"], found["level"]) == ("run r1 refused", "withdrawn", "warning")


def test_the_detail_of_an_error_is_logged() -> None:
    found = entry("no", error=UnavailableError("the disk is full", detail="errno 28 on /x"))
    assert found["detail"] == "errno 28 on /x"
    assert "UnavailableError" in str(found["trace"])


def test_a_line_break_stays_within_the_line() -> None:
    """Text of a hostile peer cannot forge an entry of its own."""
    assert entry("peer said %s", 'x\n{"level": "info"}')["level"] == "warning"


def test_a_line_drives_no_terminal_of_whoever_reads_the_log() -> None:
    told = "x\x9b31m\u202ey\x1b[2J"
    assert entry(told)["text"] == told
    record = logging.LogRecord("outrider.agent", logging.WARNING, __file__, 1, told, (), None)
    line = JsonFormatter().format(record)
    assert safe(line) == line
