"""The records of logins, utmp and wtmp: binary, of one fixed size. Pure: bytes in, records out.

Source: utmp(5) and glibc's ``bits/utmp.h``. Most machines keep 32 bits of time there, so that programs of both word
sizes share the files; 64-bit ARM never had others and keeps 64.
"""

from __future__ import annotations

import platform
import struct
from collections.abc import Iterator
from dataclasses import dataclass

_NARROW = struct.Struct("=hxxi32s4s32s256s2hiii16s20s")
_WIDE = struct.Struct("=hxxi32s4s32s256s2hqqq16s20s4x")
RUN_LEVEL, BOOT, USER, DEAD = 1, 2, 7, 8  # the types that say something


@dataclass(frozen=True, slots=True)
class Login:
    """One record."""

    kind: int
    pid: int
    device: str
    user: str
    host: str  # whence, or the kernel's release at a boot
    time: float  # seconds since 1970 UTC


@dataclass(frozen=True, slots=True)
class Session:
    """A login with its end."""

    login: Login
    logout: float | None  # None: not ended
    ended: str  # here, logout, down, crash


def layout(machine: str | None = None) -> struct.Struct:
    """Return how records are laid out on ``machine``, by default this one."""
    return _WIDE if (machine or platform.machine()) in ("aarch64", "arm64") else _NARROW


def records(data: bytes, form: struct.Struct) -> Iterator[Login]:
    """Yield the records in ``data`` that say something; an incomplete last one is left out."""
    whole = len(data) - len(data) % form.size
    for kind, pid, device, _, user, host, _, _, _, seconds, micros, _, _ in form.iter_unpack(data[:whole]):
        if kind in (RUN_LEVEL, BOOT, USER, DEAD):
            yield Login(kind, pid, _text(device), _text(user), _text(host), seconds + micros / 1e6)


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def sessions(found: list[Login]) -> list[Session]:
    """Return the logins, newest first, each with its end: what follows on its line, or on the whole host."""
    ends: dict[str, float] = {}  # line -> when it ended, or was taken over
    whole: tuple[float, str] | None = None  # when the host went down after what is looked at now, and how
    made = []
    for record in reversed(found):
        if record.kind == BOOT:
            whole, ends = (record.time, "crash"), {}
        elif record.kind == RUN_LEVEL:
            if record.user == "shutdown":
                whole, ends = (record.time, "down"), {}
        elif record.kind == DEAD:
            ends[record.device] = record.time
        else:
            made.append(_session(record, ends.get(record.device), whole))
            ends[record.device] = record.time
    return made


def _session(record: Login, end: float | None, whole: tuple[float, str] | None) -> Session:
    if end is not None:
        return Session(record, end, "logout")
    return Session(record, None, "here") if whole is None else Session(record, whole[0], whole[1])
