"""Recordings as asciicast, which asciinema and other players play. Pure.

Version 2: a header, then ``[seconds, code, data]`` a line, since the beginning; version 3: since the event before, and
with the exit status. What neither has a code for (who came and went, notices) becomes a marker.
Source: docs.asciinema.org, "asciicast v2" and "asciicast v3".
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from protocol.plain_text import safe_json
from protocol.recording import Event


class Cast:
    """Writes one recording.

    Args:
        about: What the recording's beginning says.
        version: 2 or 3.
        with_input: Whether what was typed is in it, where it was recorded.
    """

    def __init__(self, about: Mapping[str, Any], *, version: int = 2, with_input: bool = False) -> None:
        self._about = about
        self._version = version
        self._with_input = with_input
        self._decoders = {word: codecs.getincrementaldecoder("utf-8")("replace") for word in ("output", "input")}
        self._last_us = 0

    def header(self) -> str:
        """Return the first line."""
        cols, rows = [*list(self._about.get("size") or ()), 80, 24][:2]
        title = f"{self._about.get('principal')}@{self._about.get('host')}"
        command = " ".join(self._about.get("argv") or ())
        common = {
            "timestamp": int(self._about.get("opened_us") or 0) // 1_000_000,
            "title": f"{title}: {self._about['reason']}" if self._about.get("reason") else title,
            **({"command": command} if command else {}),
        }  # fmt: skip
        term = str(self._about.get("term") or "xterm-256color")
        if self._version == 3:
            return _line({"version": 3, "term": {"cols": cols, "rows": rows, "type": term}, **common})
        return _line({"version": 2, "width": cols, "height": rows, **common, "env": {"TERM": term}})

    def lines(self, events: Iterable[Event]) -> Iterator[str]:
        """Yield the lines of events, in their order."""
        for event in events:
            told = self._told(event)
            if told is not None:
                yield self._timed(event.us, *told)

    def _timed(self, us: int, code: str, data: str) -> str:
        since_us = us - self._last_us if self._version == 3 else us
        self._last_us = us
        return _line([round(since_us / 1_000_000, 6), code, data])

    def _told(self, event: Event) -> tuple[str, str] | None:
        match event.word, event.values:
            case "output", [_, bytes(data)]:
                return _some("o", self._decoders["output"].decode(data))
            case "input", [_, bytes(data)] if self._with_input:
                return _some("i", self._decoders["input"].decode(data))
            case "resize", [int(cols), int(rows)]:
                return "r", f"{cols}x{rows}"
            case "marker" | "notice", [str(text), *_]:
                return "m", text
            case "presence", [dict(about)]:
                return "m", described(about)
            case "gap", [int(begin), int(end)]:
                return "m", f"{end - begin} bytes were lost"
            case "exit", [dict(about)] if self._version == 3 and about.get("code") is not None:
                return "x", str(about["code"])
        return None


def described(about: Mapping[str, Any]) -> str:
    """Return what happened among the people, in words."""
    what, who = about.get("what"), about.get("who")
    if what == "joined":
        return f"{who} joined as {about.get('role')}"
    if what == "keyboard":
        return f"{who} has the keyboard" if who else "nobody has the keyboard"
    if what == "asked":
        return f"{who} asked for the keyboard"
    if what == "opened":
        return f"{who} opened session {about.get('session')} ({about.get('kind')}, {about.get('tier')}) from here"
    return f"{who} left" if what == "left" else f"{what} by {who}"


def _some(code: str, text: str) -> tuple[str, str] | None:
    return (code, text) if text else None


def _line(value: Any) -> str:
    return safe_json(json.dumps(value, ensure_ascii=False, separators=(", ", ": ")))
