"""Objects that no call may reach by any of their names: what lies in a directory that the policy keeps from all calls.

The policy decides by path, and a file may have more than one: a hard link to it, made by anybody who may make one, lies
wherever they like. So an object with more than one name is looked for in the directory that is kept, by its number, and
what is found there is decided on by the name that it has there. Directories have one name only; where mounts show them
is for whoever makes the rules.

The directory is gone through only when that is needed, and what was seen holds until a name can have been added: that
changes the object's ``ctime``, which nobody can set (inode(7)).
"""

from __future__ import annotations

import os
import stat
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from policies.model import Facts
from protocol.errors import UnavailableError

if TYPE_CHECKING:
    from stdlib.call_specs import Permit

MAX_NAMES: Final = 200_000  # in the directory; a look at so many takes half a second. With more, nothing is told
MAX_AGE_S: Final = 60.0  # of what was seen: for clocks that are set to and fro
_TICK_NS: Final = 2_000_000_000  # the coarsest time stamps of a file system that has hard links are one second
_STEP_NS: Final = 500_000_000  # of the host's clock against the monotonic one; more is a clock that was set


def is_permitted(kept: KeptObjects | None, permit: Permit, status: os.stat_result) -> bool:
    """Tell whether an object that a call came upon may be used by it, by whatever names it has among what is kept.

    Args:
        kept: Of the host.
        permit: Of the call, which was asked already about the path that the object was found by.
        status: Of the object, open.

    Raises:
        UnavailableError: It cannot be told.
    """
    name = kept.name_of(status) if kept is not None else None
    return name is None or permit.permits(Facts(path=name))


def require_permitted(kept: KeptObjects | None, permit: Permit, status: os.stat_result) -> None:
    """Return if a call may use an object that it came upon; as :func:`is_permitted`.

    Raises:
        DeniedError: It may not, by the name that the object has among what is kept.
        UnavailableError: It cannot be told.
    """
    name = kept.name_of(status) if kept is not None else None
    if name is not None:
        permit.require(Facts(path=name))


@dataclass(frozen=True, slots=True)
class _Seen:
    began_ns: int  # since 1970
    began_monotonic_ns: int
    names: dict[tuple[int, int], str]  # of all that has more than one name: device and inode -> path

    def holds_for(self, status: os.stat_result) -> bool:
        """Tell whether an object that is not in it was not in the directory when it last got a name."""
        age_ns = time.monotonic_ns() - self.began_monotonic_ns
        stepped_ns = abs(time.time_ns() - self.began_ns - age_ns)
        is_older = status.st_ctime_ns + _TICK_NS < self.began_ns
        return is_older and stepped_ns < _STEP_NS and age_ns < MAX_AGE_S * 1_000_000_000


class KeptObjects:
    """What lies below one directory.

    Args:
        directory: Its real path.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._seen: _Seen | None = None
        self._lock = threading.Lock()

    def may_be(self, status: os.stat_result) -> bool:
        """Tell whether an object has other names, so that it has to be looked for. Never waits."""
        return status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode)

    def name_of(self, status: os.stat_result) -> str | None:
        """Return the path below the directory that an object has, beside others; None if it has none.

        May wait for the disk; safe from any thread.

        Args:
            status: Of the object, open, so that its number is not given to another one meanwhile.

        Raises:
            UnavailableError: It cannot be told.
        """
        if not self.may_be(status):
            return None
        seen = self._seen
        if seen is None or not seen.holds_for(status):
            with self._lock:
                seen = self._seen  # another thread's now, perhaps, which may have begun before there was that name
                if seen is None or not seen.holds_for(status):
                    seen = self._seen = self._look(status)
        return seen.names.get((status.st_dev, status.st_ino))

    def _look(self, wanted: os.stat_result) -> _Seen:
        began = time.time_ns(), time.monotonic_ns()
        found: dict[tuple[int, int], str] = {}
        waiting, count = [self._directory], 0
        while waiting:
            here = waiting.pop()
            try:
                with os.scandir(here) as entries:
                    for entry in entries:
                        count += 1
                        if count > MAX_NAMES:
                            raise UnavailableError(f"{self._directory} holds more than {MAX_NAMES} names")
                        self._note(entry, wanted, found, waiting)
            except FileNotFoundError:  # the agent took it away meanwhile
                continue
            except OSError as error:
                raise UnavailableError(f"{here} cannot be looked through: {os.strerror(error.errno or 0)}") from None
        return _Seen(*began, found)

    def _note(
        self, entry: os.DirEntry[str], wanted: os.stat_result, found: dict[tuple[int, int], str], waiting: list[str]
    ) -> None:
        try:
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
                return
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return
        if status.st_nlink > 1 or os.path.samestat(status, wanted):  # its other name may have gone since
            found[(status.st_dev, status.st_ino)] = entry.path
