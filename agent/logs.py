"""The agent's own log: one JSON object a line on standard error, for the journal.

What an error says in ``message`` may leave the process and is logged; its ``detail`` goes here and nowhere else. No
secret is ever handed to the log, so there is no list of words to hide.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from agent.clock import to_datetime
from protocol.errors import OutriderError
from protocol.plain_text import safe_json

LOG = logging.getLogger("outrider.agent")


class JsonFormatter(logging.Formatter):
    """One line per entry; what was passed as ``extra={"fields": {...}}`` stands beside the text."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the entry as one line of JSON."""
        entry: dict[str, Any] = {
            "time": to_datetime(int(record.created * 1_000_000)).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "text": record.getMessage(),
        }
        entry |= getattr(record, "fields", {})
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, OutriderError) and error.detail:
            entry["detail"] = error.detail
        if error is not None:
            entry["trace"] = self.formatException(record.exc_info) if record.exc_info else ""
        return safe_json(json.dumps(entry, default=repr, ensure_ascii=False))


def start_logging(level: str = "info") -> None:
    """Send everything to standard error, one JSON object a line.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    LOG.setLevel(level.upper())
