"""Whether one more schedule has room: what a host is told of its schedules is one list, which it takes whole or not.

A host that is sent more than it takes, or than a frame holds, keeps the list that it had. So one schedule too many,
or one that is too large, would keep every later change from it: what others pause, and what ends with a grant.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from protocol.errors import ConflictError, OutriderError, TooLargeError
from protocol.frames import encode
from server import limits
from server.services.desired import wire_form
from server.services.targets import Target
from server.store.tables import schedules


class _Held(NamedTuple):
    target: Target
    principal: str
    size: int  # bytes, as it is sent


def check(connection: Connection, identity: str, hosts: Sequence[Any]) -> None:
    """Return if every host has room for a schedule that was just written down, or is to fire again.

    Args:
        connection: In the command that writes it.
        identity: Of the schedule.
        hosts: Whom it is for now: each with id, name and labels.

    Raises:
        TooLargeError: It cannot be sent at all.
        ConflictError: A host would have more than it takes, or more of one person's than leaves room for others.
    """
    held = []
    principal = ""
    for row in connection.execute(select(schedules)):
        if row.id == identity:
            size, principal = _size(row), str(row.principal)
        elif row.spec.get("enabled", True):
            size = _size(row, is_known=True)
        else:
            continue
        held.append(_Held(Target.parse(row.target), row.principal, size))
    if _has_room(held, principal):  # of all of them: then each host has
        return
    for host in hosts:
        its = [each for each in held if each.target.matches(host.id, host.name, host.labels)]
        if not _has_room(its, principal):
            own = sum(each.principal == principal for each in its)
            raise ConflictError(
                f"{host.name} would have {len(its)} schedules with {_bytes(its)} bytes, {own} of them {principal}'s:"
                f" a host has {limits.MAX_SCHEDULES_OF_HOST} of {limits.MAX_SCHEDULES_BYTES} bytes at most,"
                " and half of that of one person"
            )


def check_host(connection: Connection, host: Any) -> None:
    """Return if a host has room for the schedules that mean it by its name and labels.

    Args:
        connection: In the command that changes these.
        host: With id, name and labels as they are to be.

    Raises:
        ConflictError: It would have more than it takes.
    """
    its = [
        _Held(target, row.principal, _size(row, is_known=True))
        for row in connection.execute(select(schedules))
        if row.spec.get("enabled", True)
        and (target := Target.parse(row.target)).matches(host.id, host.name, host.labels)
    ]
    if len(its) > limits.MAX_SCHEDULES_OF_HOST or _bytes(its) > limits.MAX_SCHEDULES_BYTES:
        raise ConflictError(
            f"{host.name} would have {len(its)} schedules with {_bytes(its)} bytes by this name and these labels:"
            f" a host has {limits.MAX_SCHEDULES_OF_HOST} of {limits.MAX_SCHEDULES_BYTES} bytes at most"
        )


def _has_room(held: Sequence[_Held], principal: str) -> bool:
    own = [each for each in held if each.principal == principal]
    return (
        len(held) <= limits.MAX_SCHEDULES_OF_HOST and _bytes(held) <= limits.MAX_SCHEDULES_BYTES
        and 2 * len(own) <= limits.MAX_SCHEDULES_OF_HOST and 2 * _bytes(own) <= limits.MAX_SCHEDULES_BYTES
    )  # fmt: skip


def _bytes(held: Iterable[_Held]) -> int:
    return sum(each.size for each in held)


def _size(row: Any, *, is_known: bool = False) -> int:
    """Return how large a schedule is as it is sent; one that is kept already counts as large if it cannot be sent."""
    try:
        return len(encode(wire_form(row), max_bytes=limits.MAX_SCHEDULE_BYTES))
    except OutriderError as error:
        if is_known:
            return limits.MAX_SCHEDULE_BYTES
        raise TooLargeError(f"the schedule cannot be sent to a host: {error.message}") from None
