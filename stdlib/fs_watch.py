"""``fs.watch``: what changes in a directory, as it happens.

Each directory that is watched is open when its watch is made, was decided on by where it then really is, and lies
beneath the root by no link. Which directory an event comes from is known by its watch, so when one is moved, its
watches and those below it end. The root being moved or removed ends all.

A thread makes watches; events are taken on the loop, which the kernel wakes. Nobody polls.

The kernel gives a user few of both descriptors and watches, and everything that runs as the agent's user lives on them,
on most hosts root's: so what all calls take together is a part of it.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import stat
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any, Final

from kernel import inotify
from kernel.inotify import Event
from kernel.visits import begun_apart
from policies.model import Facts
from protocol.errors import ArgumentError, BudgetError, DeniedError, OutriderError, UnavailableError
from protocol.tiers import Tier
from stdlib import trees
from stdlib.call_specs import Permit
from stdlib.declaring import call
from stdlib.fs_tree import MAX_DEPTH, ROOT, Place, Tree, Waiting, kind_of, listed
from stdlib.host import RunContext
from stdlib.parameters import Length
from stdlib.paths import Target, failure, real_of, resolve

MAX_DIRECTORIES = 8192  # watched by one call
MAX_CALLS = 32  # at once, of all runs; the kernel gives a user 128 descriptors, inotify(7)
MAX_CALLS_OF_RUN = 8
PART = 2  # all calls together watch at most one in so many of the directories that the kernel lets a user watch
FEWEST = 8192  # what that is a part of where the kernel does not tell; the least that it gives by itself
MAX_WAITING = 10_000  # events that were made here, of a directory that came with all that it holds
MAX_GIVEN = 512  # events at once; the rest waits in the kernel, which says when it was too much

#: What scripts call an event -> the kernel's word.
EVENTS: Final = {
    "created": inotify.IN_CREATE, "deleted": inotify.IN_DELETE, "modified": inotify.IN_MODIFY,
    "written": inotify.IN_CLOSE_WRITE, "attributes": inotify.IN_ATTRIB, "moved_from": inotify.IN_MOVED_FROM,
    "moved_to": inotify.IN_MOVED_TO,
}  # fmt: skip
_OF_ITSELF: Final = inotify.IN_DELETE_SELF | inotify.IN_MOVE_SELF | inotify.IN_EXCL_UNLINK
_OF_TREES: Final = inotify.IN_CREATE | inotify.IN_MOVED_TO | inotify.IN_MOVED_FROM  # how directories come and go
_ENDINGS: Final = inotify.IN_DELETE_SELF | inotify.IN_MOVE_SELF | inotify.IN_UNMOUNT

Row = dict[str, Any]

_log = logging.getLogger("outrider.stdlib")


class _Together:
    """What all calls of this process watch. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._directories: dict[Watching, int] = {}  # of each call
        self._most = 0  # once it was looked at

    def begin(self, watching: Watching, run: RunContext) -> None:
        """Let one more call watch.

        Raises:
            BudgetError: There are too many.
        """
        with self._lock:
            for used, most, whose in ((run.watches, MAX_CALLS_OF_RUN, "a run"), (self.calls, MAX_CALLS, "all runs")):
                if used >= most:
                    raise BudgetError(f"watches: {whose} may have {most} open at once", budget="watches")
            run.watches += 1
            self._directories[watching] = 0

    def end(self, watching: Watching, run: RunContext) -> None:
        """Give back what a call had."""
        with self._lock:
            if self._directories.pop(watching, None) is not None:
                run.watches -= 1

    def note(self, watching: Watching, directories: int) -> None:
        """Note how many directories a call watches now."""
        with self._lock:
            if watching in self._directories:
                self._directories[watching] = directories

    @property
    def calls(self) -> int:
        """How many there are."""
        return len(self._directories)

    @property
    def has_room(self) -> bool:
        """Whether one more directory may be watched."""
        if not self._most:
            self._most = (_given() or FEWEST) // PART
        with self._lock:
            return sum(self._directories.values()) < self._most


def _given() -> int | None:
    """Return how many directories the kernel lets the agent's user watch."""
    return trees.number("/proc/sys/fs/inotify/max_user_watches")


_together = _Together()


@call(
    "fs.watch",
    tier=Tier.INSPECT,
    below="recursive",
    lua='local changes = fs.watch("/etc/default", {events = {"written", "deleted"}})\nchanges:close()',
    python='changes = fs.watch("/etc/default", events=["written", "deleted"])\nchanges.close()',
)
def watch(
    run: RunContext,
    permit: Permit,
    path: Target,
    events: Annotated[list[str], Length(20)] = [],  # noqa: B006 - only declared
    recursive: bool = False,
) -> AsyncIterator[list[dict[str, Any]]]:
    """Give what happens to a file, or to what a directory holds, from now on, as ``event``, ``path`` and ``is_dir``.

    Events are ``created``, ``deleted``, ``modified``, ``written`` (closed after writing), ``attributes``,
    ``moved_from`` and ``moved_to``; by default all. With ``recursive`` directories below it are watched too, at most
    8192, also new ones; what a new one already holds when its watch begins is given as ``created``, perhaps twice. No
    link is followed. A run may have 8 open at once.

    ``overflow`` says that events were dropped, as they were too many, ``unwatched`` that a directory below is not
    watched, ``ended``, that ``path`` itself was moved or removed; that is the last one. What the policy does not permit
    is left out.

    Raises:
        BudgetError: The run, or all runs together (32), have too many open.
    """
    unknown = [name for name in events if name not in EVENTS]
    if unknown:
        raise ArgumentError(f"events: {unknown[0]!r:.40} is none of {', '.join(EVENTS)}", parameter="events")
    path.present()
    wanted = sum(EVENTS[name] for name in set(events) or EVENTS)
    watching = Watching(path, permit, wanted, recursive, run)
    try:
        watching.begin()
    except BaseException:
        watching.end()
        raise
    return watching


@dataclass(frozen=True, slots=True)
class _Watched:
    """What one watch is on."""

    place: Place | None  # None for a root that is no directory
    real: str  # ends with a slash if it is a directory
    shown: str
    is_free: bool


class Watching(AsyncIterator[list[Row]]):
    """One watch of one call, from its beginning on. Made and begun on a thread, then iterated on the loop."""

    def __init__(self, root: Target, permit: Permit, wanted: int, recursive: bool, run: RunContext) -> None:
        self._root = root
        self._run = run
        self._permit = permit
        self._wanted = wanted
        self._recursive = recursive
        self._is_directory = stat.S_ISDIR(root.status().st_mode)
        self._tree = Tree(root, permit)
        self._watched: dict[int, _Watched] = {}
        self._rows: list[Row] = []  # made and not yet given
        self._parent = -1  # the watch on the directory above the root
        self._is_ended = False
        self._lock = threading.Lock()  # the descriptor is not closed while a thread uses it
        self._is_closed = False
        _together.begin(self, run)
        try:
            self._descriptor = inotify.start()
        except OSError as error:
            _together.end(self, run)
            raise _told(error, root.asked) from None

    def begin(self) -> None:
        """Make the first watches.

        Raises:
            UnavailableError: The kernel has none left.
        """
        if self._is_directory:
            self._watch_tree(ROOT, is_new=False)
            if not self._watched:
                raise self._unwatched()
            self._watch_parent()
            return
        if not stat.S_ISREG(self._root.status().st_mode):
            raise ArgumentError(f"path: {self._root.asked} is neither a regular file nor a directory", parameter="path")
        try:
            number = inotify.watch(self._descriptor, self._root.fd, self._wanted | _OF_ITSELF)
        except OSError as error:
            raise _told(error, self._root.asked) from None
        self._watched[number] = _Watched(None, self._root.real, self._root.asked, True)
        self._watch_parent()

    def _unwatched(self) -> OutriderError:
        account = self._tree.account
        if account.errors:
            return UnavailableError(f"it cannot be watched: {account.errors[0]['message']}")
        if account.denied:
            return DeniedError(f"nothing in {self._root.asked} is permitted", rule="the policy")
        return _told(OSError(errno.ENOSPC, ""), self._root.asked)

    def _watch_parent(self) -> None:
        """Watch where the root is removed from: as long as it is held open, it does not say so itself."""
        parent, _, name = self._root.real.rpartition("/")
        if not name:
            return
        mask = inotify.IN_DELETE | inotify.IN_MOVED_FROM
        try:
            with resolve(parent or "/") as target:
                self._parent = inotify.watch(self._descriptor, target.fd, mask | inotify.IN_MASK_ADD)
        except (OSError, OutriderError) as error:  # the agent's user may not look at it, and is told less
            _log.debug("the directory above %s is not watched: %s", self._root.real, error)

    def end(self) -> None:
        """Give the descriptor back, and all watches with it. Idempotent."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                os.close(self._descriptor)
                _together.end(self, self._run)

    async def __anext__(self) -> list[Row]:
        """Return the next events, at least one.

        Cancellation:
            Safe.
        """
        while not self._rows:
            if self._is_ended:
                raise StopAsyncIteration
            await self._readable()
            await begun_apart(self._take_all)  # to look whether the root is still there may ask whoever serves it
        given, self._rows = self._rows[:MAX_GIVEN], self._rows[MAX_GIVEN:]
        return given

    async def aclose(self) -> None:
        """End it; a thread that is making watches ends first."""
        if not self._is_closed:  # else its number may be another's by now
            asyncio.get_running_loop().remove_reader(self._descriptor)
        await begun_apart(self.end)

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        loop.add_reader(self._descriptor, _set, ready)
        try:
            await ready
        finally:
            loop.remove_reader(self._descriptor)

    def _take_all(self) -> None:
        with self._lock:
            if self._is_closed:
                return
            new: list[Place] = []
            for event in inotify.read(self._descriptor):
                self._take(event, new)
            for place in new:
                self._watch_tree(place, is_new=True)
            _together.note(self, len(self._watched))

    def _take(self, event: Event, new: list[Place]) -> None:
        if event.mask & inotify.IN_Q_OVERFLOW:
            self._overflow()
            return
        watched = self._watched.get(event.watch)
        if event.watch == self._parent or event.mask & inotify.IN_ATTRIB:
            self._look_at_root()
        if event.mask & inotify.IN_IGNORED:  # its end, whoever ended it
            self._watched.pop(event.watch, None)
            return
        if watched is None:
            return
        if event.mask & _ENDINGS and not event.name:
            self._ended(watched)
            return
        is_dir = bool(event.mask & inotify.IN_ISDIR)
        if is_dir and event.name and watched.place is not None and self._recursive:
            self._come_or_gone(watched, event, new)
        self._tell(watched, event, is_dir)

    def _overflow(self) -> None:
        """Tell that something is not told. Once for what comes one after the other."""
        row = _row("overflow", self._root.asked, True)
        if not self._rows or self._rows[-1] != row:
            self._rows.append(row)

    def _tell(self, watched: _Watched, event: Event, is_dir: bool) -> None:
        real, shown = watched.real + event.name, watched.shown + event.name
        if not event.name and watched.place is not None:  # of a directory itself: its attributes
            real, shown, is_dir = watched.real.rstrip("/") or "/", watched.shown.rstrip("/") or "/", True
        names = [name for name, mask in EVENTS.items() if event.mask & mask & self._wanted]
        if names and (watched.is_free or self._permit.permits(Facts(path=real))):
            self._rows += [_row(name, shown, is_dir) for name in names]

    def _look_at_root(self) -> None:
        try:
            is_gone = not os.fstat(self._root.fd).st_nlink or real_of(self._root.fd) != self._root.real
        except OutriderError:  # it has no name any more, or one that cannot be told
            is_gone = True
        if is_gone and not self._is_ended:
            self._rows.append(_row("ended", self._root.asked, self._is_directory))
            self._is_ended = True

    def _ended(self, watched: _Watched) -> None:
        """Forget a directory that is gone, or that is somewhere else now, where other rules may hold."""
        if watched.place is None or not watched.place.relative:
            if not self._is_ended:
                self._rows.append(_row("ended", self._root.asked, self._is_directory))
            self._is_ended = True
        else:
            self._forget(watched.place.relative)

    def _come_or_gone(self, watched: _Watched, event: Event, new: list[Place]) -> None:
        place = watched.place
        if place is None:
            return
        relative = f"{place.relative}/{event.name}" if place.relative else event.name
        if event.mask & inotify.IN_MOVED_FROM:
            self._forget(relative)
        elif event.mask & (inotify.IN_CREATE | inotify.IN_MOVED_TO):
            new.append(Place(relative, place.depth + 1, watched.is_free))

    def _forget(self, relative: str) -> None:
        """End the watches of a directory below the root and of all below that."""
        below = relative + "/"
        for number, watched in list(self._watched.items()):
            place = watched.place
            if place is not None and (place.relative == relative or place.relative.startswith(below)):
                del self._watched[number]
                try:
                    inotify.unwatch(self._descriptor, number)
                except OSError as error:
                    if error.errno != errno.EINVAL:  # ended already
                        raise

    def _watch_tree(self, first: Place, *, is_new: bool) -> None:
        """Watch a directory, and all below it if so wanted. What new ones hold already is told."""
        waiting = Waiting(self._tree.account, MAX_DEPTH, first)
        for place in waiting:
            if self._permit.is_over:
                return
            with self._tree.entered(place) as directory:
                if directory is None:
                    continue
                mask = self._wanted | _OF_ITSELF | (_OF_TREES if self._recursive else 0)
                if not self._add(
                    directory.fd, _Watched(place, directory.real, directory.shown, directory.is_free), mask
                ):
                    return
                if not self._recursive:
                    return
                for entry in listed(self._tree, directory):
                    is_dir = kind_of(entry) == "directory"
                    if is_new and len(self._rows) >= MAX_WAITING:  # anybody may move one with millions to here
                        if self._tree.is_over:
                            return
                        self._overflow()
                    elif (
                        is_new
                        and self._wanted & inotify.IN_CREATE
                        and (directory.is_free or self._tree.permits(directory.real + entry.name))
                    ):
                        self._rows.append(_row("created", directory.shown + entry.name, is_dir))
                    if is_dir:
                        waiting.add(directory, entry.name)

    def _add(self, fd: int, watched: _Watched, mask: int) -> bool:
        """Make one watch; that there are no more is told once, where the first one is missing."""
        if len(self._watched) < MAX_DIRECTORIES and _together.has_room:
            try:
                self._watched[inotify.watch(self._descriptor, fd, mask)] = watched
                _together.note(self, len(self._watched))
                return True
            except OSError as error:
                if error.errno == errno.ENOENT:  # gone; where it was, that is told
                    return True
                if error.errno != errno.ENOSPC:
                    raise _told(error, watched.shown) from None
        self._rows.append(_row("unwatched", watched.shown.rstrip("/") or "/", True))
        return False


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _row(event: str, path: str, is_dir: bool) -> Row:
    return {"event": event, "path": path, "is_dir": is_dir}


def _told(error: OSError, path: str) -> OutriderError:
    if error.errno in (errno.ENOSPC, errno.EMFILE):
        return UnavailableError(f"{path} cannot be watched: no watch is left for the agent's user (inotify(7))")
    return failure(error, path)
