"""What became of each file of a copy: a line for each that failed or was left out, a count at the end."""

from __future__ import annotations

from typing import Any

from cli import exits
from cli.files.progress import Progress, size_text
from cli.output import Output, counted
from cli.wire import shown
from protocol.errors import OutriderError


class Report:
    """Counts and tells.

    Args:
        output: Lines of JSON on stdout, or talk on stderr.
        progress: Its line is taken away before a line of talk.
    """

    def __init__(self, output: Output, progress: Progress) -> None:
        self._output = output
        self._progress = progress
        self.files = 0
        self.bytes = 0
        self.failed = 0
        self.left_out = 0

    def say(self, text: str) -> None:
        """Write one line of talk."""
        self._progress.clear()
        self._output.say(text)

    def copied(self, source: str, place: str, size: int, **more: Any) -> None:
        """A file was copied."""
        self.files += 1
        self.bytes += size
        if self._output.as_json:
            self._output.row({"from": shown(source), "to": shown(place), "bytes": size, "status": "ok", **more})

    def fail(self, source: str, error: OutriderError) -> None:
        """A file was not copied."""
        self.failed += 1
        if self._output.as_json:
            told = {"code": error.code, "message": error.message}
            self._output.row({"from": shown(source), "to": None, "status": "error", "error": told})
        else:
            name, text = shown(source), str(error)
            self.say(text if text.startswith((f"{name}:", f"{name} ")) else f"{name}: {text}")

    def leave_out(self, source: str, why: str) -> None:
        """Something is no file that could be copied."""
        self.left_out += 1
        if self._output.as_json:
            self._output.row({"from": shown(source), "to": None, "status": "left out", "reason": why})
        else:
            self.say(f"{shown(source)}: left out, {why}")

    def finish(self) -> int:
        """Tell the counts, and return the exit status."""
        self._progress.clear()
        parts = [f"{counted(self.files, 'file')}, {size_text(self.bytes)}"]
        parts += [f"{self.left_out} left out"] if self.left_out else []
        parts += [f"{self.failed} failed"] if self.failed else []
        if not self._output.as_json:
            self._output.say(", ".join(parts))
        return exits.FAILURE if self.failed else exits.OK
