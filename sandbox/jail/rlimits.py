"""Wall ``rlimits``: what the kernel lets one worker have. Soft and hard are equal, so none can be raised again."""

from __future__ import annotations

import errno
import math
import resource
import struct
from dataclasses import dataclass
from typing import Final

import kernel

STACK_BYTES: Final = 8 * 1024 * 1024  # the usual one; deep recursion of interpreters is tuned to it
DESCRIPTORS: Final = 4  # the three standard ones, which are null, and the channel
BASE_MARGIN_BYTES: Final = (
    32 * 1024 * 1024
)  # address space, not memory, for the interpreter's own growth. Not measured.

_INFINITY: Final = 2**64 - 1  # RLIM64_INFINITY
_PAIR: Final = struct.Struct("QQ")  # struct rlimit64: soft and hard


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """What one worker may have."""

    memory_bytes: int  # for the script
    cpu_s: float  # the launcher kills earlier and more exactly; this is the second line
    base_bytes: int = 0  # address space of the zygote, which every worker starts with; set by the builder


def to_kernel(limits: WorkerLimits) -> dict[int, int]:
    """Return the limit of each resource but descriptors. Pure."""
    return {
        resource.RLIMIT_AS: limits.base_bytes + BASE_MARGIN_BYTES + limits.memory_bytes,
        resource.RLIMIT_CPU: max(1, math.ceil(limits.cpu_s)),  # whole seconds are all the kernel can count here
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_STACK: STACK_BYTES,
    }


def calls(limits: WorkerLimits) -> list[kernel.Call]:
    """Return the calls that set them. A lower limit that this process has already is kept.

    Raises:
        OSError: A limit is no number that the kernel takes.
    """
    return [_lower(kind, most) for kind, most in to_kernel(limits).items()]


def no_more_descriptors() -> list[kernel.Call]:
    """Return the call that lets the process have the descriptors that it needs and no other one."""
    return [_lower(resource.RLIMIT_NOFILE, DESCRIPTORS)]


def _lower(kind: int, most: int) -> kernel.Call:
    hard = resource.getrlimit(kind)[1]
    value = most if hard == resource.RLIM_INFINITY else min(most, hard)
    if not 0 <= value < _INFINITY:
        raise OSError(errno.EINVAL, f"limit {kind} cannot be {value}")
    return kernel.ready("prlimit64", 0, kind, _PAIR.pack(value, value), what=f"limit {kind}")


def address_space_bytes() -> int:
    """Return the address space of this process. Needs /proc.

    Raises:
        OSError: /proc is not there.
    """
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
