"""Rosters in files: a description that people write, and the signed envelope made of it.

What is signed has been parsed the way an agent will parse it, so that a mistake shows here and not on a thousand hosts.
"""

from __future__ import annotations

from pathlib import Path

from protocol.errors import ArgumentError, TooLargeError

MAX_ROSTER_BYTES = 1024 * 1024  # thousands of keys; chosen without measurement


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        ArgumentError: It cannot be read, or is not text.
        TooLargeError: It is over its bound.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_ROSTER_BYTES + 1)
    except OSError as error:
        raise ArgumentError(f"cannot be read: {error.strerror}", where=str(path)) from None
    if len(data) > MAX_ROSTER_BYTES:
        raise TooLargeError(f"is larger than {MAX_ROSTER_BYTES} bytes", where=str(path))
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ArgumentError("is not text in UTF-8", where=str(path)) from None
