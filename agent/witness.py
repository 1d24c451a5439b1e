"""What happens below the programs of sessions, for their timelines: programs that come and go, files that change.

- The kernel tells of it where it lets us: processes by its connector, files by fanotify. One listener for all sessions,
  from the first that is followed to the last. Where it does not, processes are looked for again and again by whoever
  follows, and files are not seen. What holds is told first of all, so that nobody takes silence for stillness.
- A program that was over before we could look has no argv any more; it is told by the file that was opened to be run.
- Whose a change is, is known because forks are heard of before whatever the child does. What was lost because too much
  happened is told as lost, and processes are looked at anew.
- A host on which much happens costs a bounded part of our time (``SHARE``): when that is used up, nothing is heard for
  a while, what comes meanwhile is heard together, and what is more than waits for us is lost, and told so.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from agent.allotment import Allotment
from agent.lineage import Lineage
from agent.logs import LOG
from agent.offshoots import Offshoots
from kernel import proc_events
from stdlib.processes import tree

if TYPE_CHECKING:
    from agent.changed_files import ChangedFiles

MAX_TOLD_PER_S: Final = 100  # of one session; what is above is counted
MAX_EVENTS: Final = 64  # of processes, read at once
TURN_S: Final = 0.002  # of hearing of processes, and then others get their turn
SHARE: Final = 0.05  # of one processor, for hearing of processes
BURST_S: Final = 0.02  # of it at once, such as for a build with some hundred programs
REST_S: Final = 0.02  # that is rested at least once that is used up
WAKE_S: Final = 0.00004  # that it takes to be woken, beside what is done then: as measured, with cold caches
GATHER_S: Final = 0.1  # that changes of files wait, so that a host that writes much costs us little

Tell = Callable[[dict[str, Any]], bool]
"""Takes what happened; says whether there was room for it."""


class Followed:
    """What one session hears of.

    Args:
        witness: Hears for all.
        root: Of the session's processes.
        tell: Where to.
    """

    def __init__(self, witness: Witness, root: int, tell: Tell) -> None:
        self.root = root
        self.offshoots = Offshoots(root)
        self.must_look = True  # what the kernel told is not all
        self._witness = witness
        self._tell = tell
        self._window_s, self._told, self._untold = time.monotonic(), 0, 0
        self._was_lossy = False  # whether something was lost within this window

    def happened(self, about: dict[str, Any] | None) -> None:
        """Tell of something, unless too much happens."""
        if about is None:
            return
        self._turn()
        if self._told < MAX_TOLD_PER_S and self._tell(about):
            self._told += 1
        else:
            self._untold += 1

    def _turn(self) -> None:
        now_s = time.monotonic()
        if now_s - self._window_s >= 1.0:
            self._untold += self._was_lossy
            self._window_s, self._told, self._was_lossy = now_s, 0, False
            if self._untold and self._tell({"what": "untold", "count": self._untold}):
                self._untold = 0

    def look(self) -> None:
        """Look for what the kernel did not tell; to be called now and then."""
        if self.must_look or not self._witness.hears_processes:
            self.must_look = False
            found = self.offshoots.look()
            self._witness.looked(self.root)
            for about in found:
                self.happened(about)
        self._turn()

    def lost(self) -> None:
        """Something was lost, perhaps of this session; it counts once a second, as nobody knows how much it was."""
        self._was_lossy = True

    def end(self) -> None:
        """Tell what has happened until now, and hear of no more."""
        self._witness.unfollow(self)
        self._window_s = 0.0
        self._turn()


class Witness:
    """Hears what happens on this host, for the sessions that follow it."""

    def __init__(self) -> None:
        self._followed: dict[int, Followed] = {}
        self._expected = 0  # programs that are being started, to be followed then
        self._lineage = Lineage()
        self._processes: socket.socket | None = None
        self._files: ChangedFiles | None = None
        self._why_not: dict[str, str] = {}
        self._later: asyncio.TimerHandle | None = None
        self._allotment = Allotment(SHARE, BURST_S, REST_S)
        self._rest: asyncio.TimerHandle | None = None  # until processes are heard of again
        self._waiting: list[tuple[Followed, dict[str, Any] | None]] = []  # told once the first has its name
        self._ran: dict[int, list[str]] = {}  # files that processes were about to run, not told yet
        self._ran_before: dict[int, list[str]] = {}  # those of the last look that named nothing then

    @property
    def hears_processes(self) -> bool:
        """Whether the kernel tells of processes."""
        return self._processes is not None

    def sources(self) -> dict[str, Any]:
        """Return from what the timeline is made, and what it lacks."""
        files = self._files
        return {
            "what": "sources",
            "processes": "told" if self.hears_processes else "looked for",
            "files": [] if files is None else files.seen[:16],
            "unseen": [] if files is None else files.unseen[:16],
            **({"why": dict(self._why_not)} if self._why_not else {}),
        }

    @contextmanager
    def expected(self) -> Iterator[None]:
        """While a program is started that will be followed: what the kernel tells waits, so that first steps count."""
        if not self._followed and not self._expected:
            self._open()
        self._expected += 1
        self._listen(is_wanted=False)
        try:
            yield
        finally:
            self._expected -= 1
            if self._followed and not self._expected:
                self._listen(is_wanted=True)
            elif not self._followed and not self._expected:
                self._close()

    def follow(self, root: int, tell: Tell) -> Followed:
        """Follow what comes of process ``root``, of which there was :meth:`expected` that it would be."""
        made = self._followed[root] = Followed(self, root, tell)
        self._lineage.follow(root)
        tell(self.sources())
        self._look_at_files()
        made.look()
        return made

    def unfollow(self, followed: Followed) -> None:
        """Follow it no more; what happened before is told."""
        if self._followed.get(followed.root) is not followed:
            return
        self._look_at_files()
        del self._followed[followed.root]
        self._lineage.unfollow(followed.root)
        if not self._followed and not self._expected:
            self._close()

    def looked(self, root: int) -> None:
        """Somebody looked at what is below ``root``: what the kernel did not tell of it is known from now on."""
        if self.hears_processes:
            self._lineage.found(root, {pid for pid, _ in tree.descendants(root)})

    # the kernel ------------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        self._why_not = {}
        try:
            self._processes = proc_events.listen()
        except OSError as error:
            self._why_not["processes"] = str(error.strerror or error)[:200]
        from agent.changed_files import ChangedFiles  # most hosts have no terminal most of the time

        try:
            self._files = ChangedFiles()
        except OSError as error:
            self._why_not["files"] = str(error.strerror or error)[:200]
        if self._why_not:
            LOG.info("not all that happens in terminals is seen: %s", self._why_not)

    def _listen(self, *, is_wanted: bool) -> None:
        loop = asyncio.get_running_loop()
        for timer in (self._later, self._rest):
            if timer is not None:
                timer.cancel()
        self._later = self._rest = None
        heard: list[tuple[int, Callable[[], Any]]] = []
        if self._processes is not None:
            heard.append((self._processes.fileno(), self._processes_wait))
        if self._files is not None:
            heard.append((self._files.descriptor, self._files_wait))
        for descriptor, hear in heard:
            if is_wanted:
                loop.add_reader(descriptor, hear)
            else:
                loop.remove_reader(descriptor)

    def _close(self) -> None:
        self._listen(is_wanted=False)
        if self._processes is not None:
            self._processes.close()
            self._processes = None
        if self._files is not None:
            self._files.close()
            self._files = None

    def _processes_wait(self) -> None:
        pause_s = self._hear_for_a_turn()[1]
        if pause_s and self._processes is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._processes.fileno())
            self._rest = loop.call_later(pause_s, self._rested)

    def _rested(self) -> None:
        self._rest = None
        if self._processes is not None:
            asyncio.get_running_loop().add_reader(self._processes.fileno(), self._processes_wait)

    def _hear_for_a_turn(self) -> tuple[bool, float]:
        """Take what the kernel says of processes; tell whether there may be more, and for how long to rest now."""
        began_s = now_s = time.perf_counter()
        is_more = True
        while is_more and now_s - began_s < TURN_S:
            is_more = self._hear_processes()
            now_s = time.perf_counter()
        return is_more, self._allotment.took(now_s - began_s + WAKE_S, now_s)

    def _hear_processes(self) -> bool:
        """Take some of what the kernel says of processes; tell whether there may be more."""
        if self._processes is None:
            return False
        try:
            events = proc_events.read(self._processes, MAX_EVENTS)
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                LOG.error("the kernel tells of no more processes: %s", error)
                self._why_not["processes"] = str(error.strerror or error)[:200]
                asyncio.get_running_loop().remove_reader(self._processes)
                self._processes.close()
                self._processes = None
            for followed in self._followed.values():
                followed.must_look = True
                followed.lost()
            return self._processes is not None
        for event in events:
            self._process(event)
        return len(events) == MAX_EVENTS

    def _process(self, event: proc_events.Event) -> None:
        if event.what == proc_events.FORK:
            self._lineage.forked(event.parent, event.pid)
        elif event.what == proc_events.EXEC:
            followed = self._whose(event.pid)
            if followed is not None:
                self._tell(followed, followed.offshoots.executed(event.pid))
        else:
            followed = self._whose(event.pid)
            self._lineage.ended(event.pid)
            if followed is not None:
                self._tell(followed, followed.offshoots.ended(event.pid, event.status))

    def _tell(self, followed: Followed, about: dict[str, Any] | None) -> None:
        if self._files is not None and (self._waiting or (about is not None and _is_nameless(about))):
            self._waiting.append((followed, about))
        else:
            followed.happened(about)

    def _tell_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        ran = self._names(Counter(about["pid"] for _, about in waiting if about is not None and _is_nameless(about)))
        names: dict[int, str] = {}
        for followed, about in waiting:
            if about is None:
                continue
            pid = about["pid"]
            if _is_nameless(about) and ran.get(pid):
                names[pid] = ran[pid].pop(0)
                about["argv"] = [names[pid]]
            elif about["what"] == "ended" and about["argv"] == ["?"] and pid in names:
                about["argv"] = [names[pid]]
            followed.happened(about)

    def _names(self, wanted: Mapping[int, int]) -> dict[int, list[str]]:
        """Return files for so many programs of each process, in their order, and keep the rest for one more look: a
        file is opened before its program is told of, and a look may come between.
        """
        ran, before = self._ran, self._ran_before
        found = {}
        for pid, count in wanted.items():
            now = ran.get(pid, [])
            found[pid] = now if len(now) >= count else [*before.get(pid, []), *now][-count:]
        self._ran, self._ran_before = {}, {pid: files for pid, files in ran.items() if pid not in wanted}
        return found

    def _whose(self, pid: int) -> Followed | None:
        root = self._lineage.root_of(pid)
        return None if root is None else self._followed.get(root)

    def _files_wait(self) -> None:
        if self._files is None:
            return
        loop = asyncio.get_running_loop()
        if not self.hears_processes:  # whose it is can be seen only while they live
            self._look_at_files()
            return
        loop.remove_reader(self._files.descriptor)
        self._later = loop.call_later(GATHER_S, self._look_again)

    def _look_again(self) -> None:
        self._later = None
        if self._files is not None:
            self._look_at_files()
            asyncio.get_running_loop().add_reader(self._files.descriptor, self._files_wait)

    def _look_at_files(self) -> None:
        is_more, pause_s = True, 0.0
        while is_more and not pause_s:  # whoever was born before the change is known then
            is_more, pause_s = self._hear_for_a_turn()
        if is_more:  # nobody knows whose some changes are
            for each in self._followed.values():
                each.lost()
        if self._files is None:
            return
        files: list[tuple[Followed, dict[str, Any]]] = []
        for pid, about in self._files.look(lambda pid: self._belongs(pid) is not None):
            followed = self._belongs(pid) if pid else None
            if "ran" in about:
                if not about["ran"].rpartition("/")[2].startswith("ld-"):  # of every program, its loader
                    self._ran.setdefault(pid, []).append(about["ran"])
            elif followed is not None:
                files.append((followed, {"what": "file", "pid": pid, **about}))
            elif not pid:
                for each in self._followed.values():
                    each.lost()
        self._tell_waiting()
        for followed, about in files:
            followed.happened(about)

    def _belongs(self, pid: int) -> Followed | None:
        if self.hears_processes:
            return self._whose(pid)
        for _ in range(tree.MAX_DEPTH):
            if pid in self._followed:
                return self._followed[pid]
            parent = tree.parent_of(pid)
            if not parent:
                return None
            pid = parent
        return None


def _is_nameless(about: dict[str, Any]) -> bool:
    """Tell whether a program began of which nothing could be seen any more."""
    return about["what"] == "started" and not about["argv"]
