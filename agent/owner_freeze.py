"""The freeze of a host's owner: one file, which holds with the server away and with the agent down.

No request of the server touches it. A file that cannot be read is a freeze too: whoever wrote it wanted something to
stop. To lift it takes the same rights as to set it: those of root or of the agent's own user on this host.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from agent.files import read_bounded, synchronise_directory, write_durably
from agent.statedir import StateDir
from protocol.errors import ArgumentError, NotFoundError, OutriderError, UnavailableError
from protocol.timestamps import stamp

MAX_REASON_CHARS: Final = 500
_MAX_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class OwnerFreeze:
    """The owner's word that nothing shall run."""

    reason: str
    since: str  # RFC 3339; empty if the file does not say

    def to_plain(self) -> dict[str, Any]:
        """Return it as it is told."""
        return {"reason": self.reason, "since": self.since}


def read(state: StateDir) -> OwnerFreeze | None:
    """Return the freeze that holds, None if none does."""
    try:
        content = read_bounded(state.owner_freeze, _MAX_BYTES)
    except NotFoundError:
        return None
    except OutriderError as error:
        return OwnerFreeze(f"its file cannot be read: {error}", "")
    try:
        plain = json.loads(content)
        return OwnerFreeze(str(plain["reason"])[:MAX_REASON_CHARS], str(plain["since"])[:40])
    except (ValueError, TypeError, KeyError, RecursionError):
        return OwnerFreeze("its file is damaged", "")


def write(state: StateDir, reason: str, now: datetime) -> OwnerFreeze:
    """Freeze this host; durable when it returns.

    Raises:
        ArgumentError: The reason is too long, or holds what a terminal would obey.
        UnavailableError: It cannot be written.
    """
    if len(reason) > MAX_REASON_CHARS or not reason.isprintable():
        raise ArgumentError(f"a reason has at most {MAX_REASON_CHARS} printable characters", parameter="reason")
    freeze = OwnerFreeze(reason, stamp(now))
    # Nothing in it is secret, and the agent's own user must be able to read what root wrote.
    write_durably(state.owner_freeze, json.dumps(freeze.to_plain()).encode() + b"\n", mode=0o644)
    return freeze


def lift(state: StateDir) -> bool:
    """Let this host go on; durable when it returns. False if it was not frozen.

    Raises:
        UnavailableError: It cannot be lifted.
    """
    try:
        state.owner_freeze.unlink()
        synchronise_directory(state.path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UnavailableError(f"{state.owner_freeze} cannot be removed: {error.strerror}") from error
    return True
