"""What a process of ours and a process that it started say to each other: one message is one packet, one class a kind.

A packet is a list: the number of the kind, then the fields in the order of the class. Both sides are ours, yet each
packet is parsed strictly: one side works with untrusted things, and a side that speaks nonsense is ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Generic, TypeVar

from protocol.errors import ProtocolError
from protocol.frames import decode, encode

MAX_PACKET_BYTES: Final = 192 * 1024  # below the default socket buffer (212,992), which bounds a packet

_TYPES: Final[Mapping[str, type | tuple[type, ...]]] = {
    "int": int,
    "bool": bool,
    "str": str,
    "bytes": bytes,
    "float": (int, float),
    "list[str]": list,
    "list[list[str]]": list,
    "list[dict[str, Any]]": list,
    "list[int]": list,
    "list[bytes]": list,
    "list[int] | None": (list, type(None)),
}
_ITEMS: Final[Mapping[str, type]] = {"list[int]": int, "list[bytes]": bytes, "list[int] | None": int}

M = TypeVar("M")


class Packets(Generic[M]):
    """The packets of one kind of socket.

    Args:
        kinds: Frozen dataclasses with slots, by the number that stands for each on the wire.
    """

    def __init__(self, kinds: Mapping[int, type[M]]) -> None:
        self._kinds = dict(kinds)
        self._numbers = {kind: number for number, kind in kinds.items()}

    def pack(self, message: M) -> bytes:
        """Return the packet of ``message``.

        Raises:
            TooLargeError: It fits no packet.
        """
        kind: Any = type(message)
        fields = [getattr(message, name) for name in kind.__slots__]
        return encode([self._numbers[kind], *fields], max_bytes=MAX_PACKET_BYTES)

    def unpack(self, packet: bytes) -> M:
        """Return the message in ``packet``.

        Raises:
            ProtocolError: It is none.
        """
        parts = decode(packet, max_bytes=MAX_PACKET_BYTES)
        if type(parts) is not list or not parts or type(parts[0]) is not int or parts[0] not in self._kinds:
            raise ProtocolError("a control packet is of no known kind")
        kind: Any = self._kinds[parts[0]]
        fields = kind.__dataclass_fields__
        if len(parts) - 1 != len(fields):
            raise ProtocolError(f"a control packet {kind.__name__} has {len(parts) - 1} fields")
        for field, value in zip(fields.values(), parts[1:], strict=True):
            if not _fits(str(field.type), value):
                raise ProtocolError(f"{kind.__name__}.{field.name} is of the wrong type")
        made: M = kind(*parts[1:])
        return made


def _fits(declared: str, value: Any) -> bool:
    wanted = _TYPES[declared]
    if isinstance(value, bool) != (wanted is bool) or not isinstance(value, wanted):
        return False
    item = _ITEMS.get(declared)
    return item is None or not isinstance(value, list) or all(type(each) is item for each in value)
