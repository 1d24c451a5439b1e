"""What the agent and its zygote say to each other: one message is one packet.

Over the control socket. The agent: ``Setup`` once, with the zygote's end of a second socket beside it; then ``Fork``
with the worker's end of a socketpair, and ``TELL``. The zygote: ``Ready`` or ``Failed`` once, ``Born`` perhaps before;
then for each fork ``Ended`` or ``NotForked``. Over the second socket, upon ``TELL`` only: ``Forked`` with a pidfd
beside it, of each worker that is there and of which that was not said before. No message carries anything of a script.
Both sides are ours, yet each message is parsed strictly: a zygote that speaks nonsense is ended.

``Fork``, ``Forked`` and ``Ended`` are said for each worker, and so have a fixed layout: of the memory that general
parsing uses, the zygote would copy a hundred pages for each worker, as a fork shares all of it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

from protocol.errors import ProtocolError
from protocol.packets import MAX_PACKET_BYTES, Packets

__all__ = [
    "MAX_FORK_BYTES", "MAX_LANGUAGE_BYTES", "MAX_PACKET_BYTES", "TELL", "Born", "Ended", "Failed", "Fork", "Forked",
    "Message", "NotForked", "Ready", "Setup", "fork_request", "pack", "unpack",
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


class Fork(NamedTuple):
    """Asks for one worker."""

    run: int  # chosen by the agent, unique for this zygote
    language: str  # at most MAX_LANGUAGE_BYTES of ASCII
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


class Forked(NamedTuple):
    """The worker exists; its pidfd comes with this packet, over the socket for births."""

    run: int


@dataclass(frozen=True, slots=True)
class NotForked:
    """There is no worker for that run."""

    run: int
    reason: str


class Ended(NamedTuple):
    """The worker has ended and was reaped."""

    run: int
    status: int  # as waitpid(2) gives it
    cpu_us: int  # user and system time together
    peak_bytes: int  # largest resident set, interpreter included
    is_told: bool  # whether ``Forked`` was said of it


Message = Setup | Fork | Born | Ready | Failed | Forked | NotForked | Ended

_PACKETS: Final[Packets[Setup | Ready | Failed | NotForked | Born]] = Packets({
    0: Setup, 2: Ready, 3: Failed, 5: NotForked, 7: Born,
})  # fmt: skip

MAX_LANGUAGE_BYTES: Final = 16
#: The first byte begins no MessagePack value; the second one is the kind.
_FORK, _FORKED, _ENDED = b"\xc1\x01", b"\xc1\x04", b"\xc1\x06"
_FORK_LAYOUT: Final = struct.Struct(f"<2sqqdB{MAX_LANGUAGE_BYTES}s")
_FORKED_LAYOUT: Final = struct.Struct("<2sq")
_ENDED_LAYOUT: Final = struct.Struct("<2sqiqqB")
TELL: Final = b"\xc1\x08"  # asks for ``Forked`` of all workers that were asked for before it
MAX_FORK_BYTES: Final = _FORK_LAYOUT.size
FORKED_BYTES: Final = _FORKED_LAYOUT.size
_BEGINNING: Final = struct.Struct("<2sq")
_AFTER_RUN: Final = _BEGINNING.size


def pack(message: Message) -> bytes:
    """Return the packet of ``message``.

    Raises:
        TooLargeError: It fits no packet.
        ProtocolError: A number or a name in it has no place there.
    """
    try:
        if isinstance(message, Fork):
            run, language, memory_bytes, cpu_s, ahead = message
            name = language.encode("ascii")
            if not 0 < len(name) <= MAX_LANGUAGE_BYTES or b"\0" in name:
                raise ProtocolError(f"{language!r} cannot be asked for")
            return _FORK_LAYOUT.pack(_FORK, run, memory_bytes, cpu_s, ahead, name)
        if isinstance(message, Forked):
            return _FORKED_LAYOUT.pack(_FORKED, message.run)
        if isinstance(message, Ended):
            return _ENDED_LAYOUT.pack(_ENDED, *message)
    except (struct.error, UnicodeEncodeError) as error:
        raise ProtocolError(f"a control packet cannot be made: {error}") from None
    return _PACKETS.pack(message)


#: Returns what :func:`pack` gives for ``Ended`` of these. No function of Python, of which a zygote would copy pages.
ended_packet: Final[Callable[[int, int, int, int, bool], bytes]] = partial(_ENDED_LAYOUT.pack, _ENDED)


def unpack(packet: bytes) -> Message:
    """Return the message in ``packet``.

    Raises:
        ProtocolError: It is none.
    """
    if packet[:1] != b"\xc1":
        return _PACKETS.unpack(packet)
    kind, size = packet[:2], len(packet)
    if kind == _FORKED and size == _FORKED_LAYOUT.size:
        return Forked(_FORKED_LAYOUT.unpack(packet)[1])
    if kind == _ENDED and size == _ENDED_LAYOUT.size:
        _, run, status, cpu_us, peak_bytes, is_told = _ENDED_LAYOUT.unpack(packet)
        if is_told > 1:
            raise ProtocolError("an end is told neither with nor without a birth")
        return Ended(run, status, cpu_us, peak_bytes, is_told == 1)
    if kind == _FORK:
        return fork_request(packet)
    raise ProtocolError("a control packet is of no known kind")


def run_and_kind(packet: bytes) -> tuple[int, bytes]:
    """Return the run that ``packet`` asks for a worker for, and all else that it says, not yet looked at.

    Two packets that say the same are answered the same, so a zygote looks at each kind of them once.

    Raises:
        ProtocolError: It is no request for a fork.
    """
    if len(packet) != MAX_FORK_BYTES:
        raise ProtocolError("a packet is no request for a fork")
    kind, run = _BEGINNING.unpack_from(packet)
    if kind != _FORK:
        raise ProtocolError("a packet is no request for a fork")
    return run, packet[_AFTER_RUN:]


def fork_request(packet: bytes) -> Fork:
    """Return the request in ``packet``, the only one that a zygote takes once it is ready; raises as :func:`unpack`."""
    if len(packet) != MAX_FORK_BYTES:
        raise ProtocolError("a packet is no request for a fork")
    kind, run, memory_bytes, cpu_s, ahead, name = _FORK_LAYOUT.unpack(packet)
    language = name.rstrip(b"\0")
    if kind != _FORK or ahead > 1 or not language.isascii() or not language or b"\0" in language:
        raise ProtocolError("a packet is no request for a fork")
    if not math.isfinite(cpu_s):
        raise ProtocolError("a packet is no request for a fork")
    return Fork(run, language.decode("ascii"), memory_bytes, cpu_s, ahead == 1)
