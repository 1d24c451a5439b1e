"""What an agent says of files, as far as it goes on into answers: of its form, or none. Pure.

An agent may be anybody's by now. What it says becomes status and headers of an answer to somebody else: a line break in
one would be another header, or another answer on a connection that is shared.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from protocol.errors import ProtocolError
from protocol.limits import MAX_SEQUENCE

_MODE: Final = re.compile(r"[0-7]{1,7}")
_HASH: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class FileAbout:
    """What stands about a file whose bytes follow."""

    size: int  # of the whole, in bytes
    offset: int  # of the first byte that follows
    length: int | None  # how many follow; None: up to an end that is not known
    mode: str  # permission bits, in octal digits
    sha256: str | None  # of all of it, in hexadecimal digits; None for a large file, or a part


def file_about(told: Mapping[str, Any]) -> FileAbout:
    """Return what an agent says before the bytes of a file.

    Raises:
        ProtocolError: It does not have its form.
    """
    size, offset, length = (told.get(name) for name in ("size", "offset", "length"))
    mode, sha256 = told.get("mode"), told.get("sha256")
    if (
        not (_is_count(size) and _is_count(offset) and (length is None or _is_count(length)))
        or type(mode) is not str or _MODE.fullmatch(mode) is None or not (sha256 is None or _is_hash(sha256))
    ):  # fmt: skip
        raise ProtocolError("what the agent says about a file does not have its form")
    return FileAbout(size, offset, length, mode, sha256)  # type: ignore[arg-type]  # looked at above


def changed(done: Any) -> dict[str, Any]:
    """Return what an agent says of a change that it made; raises as :func:`file_about`."""
    if type(done) is not dict or type(done.get("created")) is not bool or not _is_hash(done.get("new_hash")):
        raise ProtocolError("what the agent says of a change does not have its form")
    return done


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_SEQUENCE


def _is_hash(value: Any) -> bool:
    return type(value) is str and _HASH.fullmatch(value) is not None
