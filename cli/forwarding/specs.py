"""What people type for a forward: ``5432:db:5432``, ``L:db:5432``, ``127.0.0.1:0:[::1]:80``. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from policies.targets import NetTarget, read_address
from protocol.errors import ArgumentError

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Place:
    """A host and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Spec:
    """Listen here, connect there."""

    listen: Place
    target: Place | None  # None: SOCKS5 says where to
    may_move: bool = False  # whether another port does if this one is taken


def parse(text: str, *, where: str) -> Spec:
    """Return what ``[BIND:]PORT:HOST:PORT`` or ``L:HOST:PORT`` means. ``L`` listens on loopback, on the port of the
    target if it is free, else on any. Port 0 is any free one. IPv6 addresses stand in brackets.

    Raises:
        ArgumentError: It means nothing; says what is wrong.
    """
    parts = _split(text, where)
    if len(parts) == 3 and parts[0].upper() == "L":
        target = _target(parts[1], parts[2], text, where)
        return Spec(Place(LOOPBACK, target.port), target, may_move=True)
    if len(parts) == 3:
        parts = [LOOPBACK, *parts]
    if len(parts) != 4:
        raise _wrong(text, where, "is not of the form PORT:HOST:PORT, such as 5432:localhost:5432")
    return Spec(_listen(parts[0], parts[1], text, where), _target(parts[2], parts[3], text, where))


def parse_listen(text: str, *, where: str) -> Spec:
    """Return what ``[BIND:]PORT`` means, for SOCKS5; raises as :func:`parse`."""
    parts = _split(text, where)
    if len(parts) == 1:
        parts = [LOOPBACK, *parts]
    if len(parts) != 2:
        raise _wrong(text, where, "is not of the form PORT or ADDRESS:PORT")
    return Spec(_listen(parts[0], parts[1], text, where), None)


def _split(text: str, where: str) -> list[str]:
    parts: list[str] = []
    rest = text
    while True:
        if rest.startswith("["):
            inside, closed, rest = rest[1:].partition("]")
            if not closed or (rest and not rest.startswith(":")) or read_address(inside) is None or ":" not in inside:
                raise _wrong(text, where, "has brackets without an IPv6 address in them")
            parts.append(inside)
            if not rest:
                return parts
            rest = rest[1:]
            continue
        part, colon, rest = rest.partition(":")
        parts.append(part)
        if not colon:
            return parts


def _listen(address: str, port: str, text: str, where: str) -> Place:
    bind = {"": LOOPBACK, "localhost": LOOPBACK, "*": "0.0.0.0"}.get(address, address)  # noqa: S104 - asked for
    if read_address(bind) is None:
        raise _wrong(text, where, f"listens on {address!r:.60}, which is no address of this machine")
    return Place(bind, _port(port, text, where, low=0))


def _target(host: str, port: str, text: str, where: str) -> Place:
    number = _port(port, text, where, low=1)
    try:
        return Place(NetTarget.of(host, number).host, number)
    except ArgumentError as error:
        raise _wrong(text, where, f"leads nowhere: {error.message}") from None


def _port(text: str, whole: str, where: str, *, low: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and low <= int(text) <= 65_535):
        raise _wrong(whole, where, f"has {text!r:.20} where a port from {low} to 65535 must stand")
    return int(text)


def _wrong(text: str, where: str, why: str) -> ArgumentError:
    return ArgumentError(f"{text!r:.100} {why}", where=where)
