"""What the agent and its zygote say to each other over the control socket: one message is one packet.

The agent: ``Setup`` once, then ``Fork`` with the worker's end of a socketpair beside it. The zygote: ``Ready`` or
``Failed`` once, ``Born`` perhaps before; then for each fork ``Forked`` with a pidfd beside it (or ``NotForked``) and
``Ended``. No message carries anything of a script. Both sides are ours, yet each message is parsed strictly: a zygote
that speaks nonsense is ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from protocol.packets import MAX_PACKET_BYTES, Packets

__all__ = [
    "MAX_PACKET_BYTES", "Born", "Ended", "Failed", "Fork", "Forked", "Message", "NotForked", "Ready", "Setup", "pack",
    "unpack",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Setup:
    """What a zygote must know for all its workers."""

    bindings: list[dict[str, Any]]  # the calls as plain data, from the catalogue
    walls_off: list[str]  # names of walls not to be raised; empty but in tests
    entry: str  # the module whose ``preload`` and ``main`` make a worker
    import_path: list[str]  # where else modules are found; empty but in tests
    uid: int  # who root becomes
    gid: int


@dataclass(frozen=True, slots=True)
class Fork:
    """Asks for one worker."""

    run: int  # chosen by the agent, unique for this zygote
    language: str
    memory_bytes: int
    cpu_s: float
    ahead: bool  # nobody waits for it yet: it may use the time to warm itself up


@dataclass(frozen=True, slots=True)
class Born:
    """The zygote proper is another process than the one that was started; its pidfd comes with this packet."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The zygote waits for forks."""

    walls: list[list[str]]  # name, state and detail of each


@dataclass(frozen=True, slots=True)
class Failed:
    """The zygote cannot work and ends."""

    reason: str


@dataclass(frozen=True, slots=True)
class Forked:
    """The worker exists; its pidfd comes with this packet."""

    run: int


@dataclass(frozen=True, slots=True)
class NotForked:
    """There is no worker for that run."""

    run: int
    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The worker has ended and was reaped."""

    run: int
    status: int  # as waitpid(2) gives it
    cpu_us: int  # user and system time together
    peak_bytes: int  # largest resident set, interpreter included


Message = Setup | Fork | Born | Ready | Failed | Forked | NotForked | Ended

_PACKETS: Final[Packets[Message]] = Packets({
    0: Setup, 1: Fork, 2: Ready, 3: Failed, 4: Forked, 5: NotForked, 6: Ended, 7: Born,
})  # fmt: skip
pack, unpack = _PACKETS.pack, _PACKETS.unpack
