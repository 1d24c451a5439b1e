"""What the kernel knows of its clock's discipline: ``adjtimex`` without a change, as any user may ask."""

from __future__ import annotations

import ctypes
from typing import NamedTuple

_UNSYNCHRONISED = 0x0040  # STA_UNSYNC, linux/timex.h
_NANOSECONDS = 0x2000  # STA_NANO
_libc = ctypes.CDLL(None, use_errno=True)


class _Timex(ctypes.Structure):
    _fields_ = (
        ("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long), ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long), ("status", ctypes.c_int), ("rest", ctypes.c_char * 256),
    )  # fmt: skip


class Discipline(NamedTuple):
    """How well the clock is kept."""

    is_synchronised: bool
    offset_ms: float  # what is still being corrected
    max_error_ms: float
    estimated_error_ms: float


def discipline() -> Discipline | None:
    """Return how well the kernel's clock is kept; None where this process may not ask (systemd's ProtectClock)."""
    found = _Timex()  # modes 0: look only
    if _libc.adjtimex(ctypes.byref(found)) < 0:
        return None
    return measured(found.status, found.offset, found.maxerror, found.esterror)


def measured(status: int, offset: int, max_error_us: int, estimated_error_us: int) -> Discipline:
    """Return what the kernel's numbers mean. Source: adjtimex(2)."""
    per_ms = 1e6 if status & _NANOSECONDS else 1e3
    return Discipline(not status & _UNSYNCHRONISED, offset / per_ms, max_error_us / 1e3, estimated_error_us / 1e3)
