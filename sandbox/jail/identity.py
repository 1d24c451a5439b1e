"""Who workers are if the agent is root: a user that nobody else on the host is.

Whoever has the same user may stop and kill a process, and take of what the kernel counts for that user. So not the one
that half of a host's daemons are when they are to be nobody; a number of those of which no account is ever made.
"""

from __future__ import annotations

import grp
import os
import pwd
import random
from collections.abc import Iterator
from functools import cache
from typing import Final

from sandbox.jail.builder import NOBODY, Identity

#: For services that live as long as they run (systemd: docs/UIDS-GIDS.md, DynamicUser); also within the 65,536 users
#: that a container has.
NUMBERS: Final = range(61_184, 65_520)
MAX_TRIES: Final = 32
_LOCKS: Final = "/run/systemd/dynamic-uid"  # where systemd notes which of them are taken


@cache
def unshared() -> Identity:
    """Return a user and group that nobody has on this host; NOBODY if there is none. The same one each time.

    May block: it asks the host's accounts (nss(5)), and looks at every process.
    """
    taken = set(_users_of_processes())
    for number in random.sample(NUMBERS, MAX_TRIES):
        if number not in taken and _is_mapped(number) and _is_nobodys(number):
            return Identity(number, number)
    return NOBODY


def _is_nobodys(number: int) -> bool:
    for look_up in (pwd.getpwuid, grp.getgrgid):
        try:
            look_up(number)
        except KeyError:
            continue
        return False
    return not os.path.lexists(f"{_LOCKS}/{number}")


def _is_mapped(number: int) -> bool:
    """Tell whether this process can become it; in a user namespace there may be few. Source: user_namespaces(7)."""
    return all(
        any(first <= number < first + count for first, count in _mapped(f"/proc/self/{kind}_map"))
        for kind in ("uid", "gid")
    )


def _mapped(path: str) -> Iterator[tuple[int, int]]:
    try:
        with open(path, encoding="ascii") as file:
            lines = file.read().splitlines()
    except OSError:  # no /proc: then nothing can be said
        return
    for line in lines:
        first, _, count = map(int, line.split())
        yield first, count


def _users_of_processes() -> Iterator[int]:
    """Yield the users as which there are processes now. Source: proc_pid_status(5)."""
    try:
        names = [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return
    for name in names:
        try:
            with open(f"/proc/{name}/status", "rb") as file:
                status = file.read(8192)
        except OSError:  # it has ended
            continue
        for line in status.split(b"\n"):
            if line.startswith(b"Uid:"):
                yield from map(int, line.split()[1:])
                break
