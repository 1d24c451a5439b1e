"""Texts in files of this machine, as far as they may be long."""

from __future__ import annotations

from pathlib import Path

from protocol.errors import ArgumentError, TooLargeError


def text_of(path: Path, max_bytes: int) -> str:
    """Return the text of a file.

    Raises:
        ArgumentError: It cannot be read, or is not text.
        TooLargeError: It is over ``max_bytes``.
    """
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise ArgumentError(f"cannot be read: {error.strerror}", where=str(path)) from None
    if len(data) > max_bytes:
        raise TooLargeError(f"is larger than {max_bytes} bytes", where=str(path))
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ArgumentError("is not text in UTF-8", where=str(path)) from None
