"""What the agent and its zygote say to each other over the control socket: one message is one packet.

The agent: ``Setup`` once, then ``Fork`` with the worker's end of a socketpair beside it. The zygote: ``Ready`` or
``Failed`` once, ``Born`` perhaps before; then for each fork ``Forked`` with a pidfd beside it (or ``NotForked``) and
``Ended``. No message carries anything of a script. Both sides are ours, yet each message is parsed strictly: a zygote
that speaks nonsense is ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from protocol.errors import ProtocolError
from protocol.frames import decode, encode

MAX_PACKET_BYTES: Final = 192 * 1024  # below the default socket buffer (212,992), which bounds a packet


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

_KINDS: Final[dict[int, type[Message]]] = {
    0: Setup,
    1: Fork,
    2: Ready,
    3: Failed,
    4: Forked,
    5: NotForked,
    6: Ended,
    7: Born,
}
_NUMBERS: Final = {kind: number for number, kind in _KINDS.items()}
_TYPES: Final[Mapping[str, type | tuple[type, ...]]] = {
    "int": int,
    "bool": bool,
    "str": str,
    "float": (int, float),
    "list[str]": list,
    "list[list[str]]": list,
    "list[dict[str, Any]]": list,
}


def pack(message: Message) -> bytes:
    """Return the packet of ``message``.

    Raises:
        TooLargeError: It fits no packet.
    """
    fields = [getattr(message, name) for name in message.__slots__]
    return encode([_NUMBERS[type(message)], *fields], max_bytes=MAX_PACKET_BYTES)


def unpack(packet: bytes) -> Message:
    """Return the message in ``packet``.

    Raises:
        ProtocolError: It is none.
    """
    parts = decode(packet, max_bytes=MAX_PACKET_BYTES)
    if type(parts) is not list or not parts or type(parts[0]) is not int or parts[0] not in _KINDS:
        raise ProtocolError("a control packet is of no known kind")
    kind = _KINDS[parts[0]]
    fields = kind.__dataclass_fields__
    if len(parts) - 1 != len(fields):
        raise ProtocolError(f"a control packet {kind.__name__} has {len(parts) - 1} fields")
    for field, value in zip(fields.values(), parts[1:], strict=True):
        wanted = _TYPES[str(field.type)]
        if isinstance(value, bool) != (wanted is bool) or not isinstance(value, wanted):
            raise ProtocolError(f"{kind.__name__}.{field.name} is of the wrong type")
    return kind(*parts[1:])
