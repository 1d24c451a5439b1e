"""One terminal on the server: from the agent's pipe into the recording, from there to everybody who watches.

    agent -> recorded -> shown        typed -> by who may -> agent

- Nothing is shown that was not recorded before. If it cannot be recorded, the session ends.
- Viewers take what they are sent at their own pace; ``protocol.terminal.Audience`` says who waits for whom.
- The link to the agent may be lost and this server may be started anew: the terminal goes on where its recording ends.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from protocol.asciicast import described
from protocol.errors import (
    ConflictError,
    DeadlineError,
    InternalError,
    NotConnectedError,
    OutriderError,
    ProtocolError,
    RateError,
    UnavailableError,
)
from protocol.frames import encode
from protocol.pipes import Pipe
from protocol.terminal import (
    INPUT_WINDOW_BYTES,
    MAX_INPUT_BYTES,
    WINDOW_BYTES,
    Audience,
    packed,
    packed_input,
    read_from_agent,
)
from server import clock, limits
from server.allowance import Allowance
from server.core import Core
from server.ledger import plain
from server.services import live
from server.sessions.people import Party, Person, Role
from server.sessions.recording import Recording

LOG = structlog.get_logger()
RECENT_BYTES: Final = 64 << 10  # of output kept in memory in any case; what is older is read from the recording
UNSENT_BYTES: Final = 2 * WINDOW_BYTES  # kept as long as somebody was not sent it, who is on the way to the newest
_SMALL_BYTES: Final = 4 << 10  # that cost less if they are copied twice
BACK_BYTES: Final = 32 << 10  # that somebody who comes new is shown of what was before
MAX_TEXTS: Final = 512  # messages that wait for one viewer; who is further behind is sent away
MAX_VIEWERS: Final = 64  # connections to one terminal: each is told of every other
MAX_VIEWERS_OF_ONE: Final = 8  # of one person among these
ACTS_OF_ONE: Final = 30  # of one person that all are told of, at once: coming, saying, marking, asking for the keyboard
ACTS_OF_ONE_PER_S: Final = 2.0  # and in the long run; who says more would drive out whoever reads slower than they talk
FIT_EVERY_S: Final = 0.05  # between two sizes that the terminal is given; a window that is drawn larger has hundreds
MAX_TYPED_BYTES: Final = 1 << 20  # that wait for the program; who types more is sent away
ENDING_S: Final = 10.0  # for the record of a session's end, once the agent has given its terminal up
_OWN_WORDS: Final = ("file", "sources", "untold")  # of events: as such in the recording; the others are of processes
_NEWEST_ONLY: Final = frozenset({"resize", "redraw", "watchers"})  # of commands that wait; the rest are all sent
_SESSION_LOOK_S: Final = 5.0  # between two looks whether a session that has no link is over


@dataclass(eq=False)
class Viewer:
    """One connection that watches, and may type."""

    person: Person
    size: list[int] | None = None  # of their window, once they have told it
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    texts: deque[dict[str, Any]] = field(default_factory=deque)  # to be sent
    is_over: bool = False  # nothing more will come
    typed: int = 0  # bytes of theirs that went on to the agent, or were refused
    skipped: int = 0  # bytes that they were told they were not sent
    problem: OutriderError | None = None  # why they are sent away
    name: bytes = field(init=False)  # as it stands beside what they type
    sends: Callable[[], bool] | None = None  # sends at once what may go; returns whether nothing is left to send

    def __post_init__(self) -> None:
        self.name = encode(self.person.principal)

    def stir(self) -> None:
        """There is something for them: send it at once, or have it sent."""
        if self.sends is None or not self.sends():
            self.wake.set()

    def tell(self, message: dict[str, Any]) -> None:
        """Have a message sent."""
        if len(self.texts) >= MAX_TEXTS:
            self.problem = RateError("you do not read what you are told")
            self.is_over = True
        else:
            self.texts.append(message)
        self.stir()


class LiveTerminal:
    """One terminal.

    Args:
        core: The server.
        row: The session.
        recording: Where it is recorded.
        opens: What the agent is asked for if there is no terminal yet; None: there must be one.
        keeps_input: Whether what is typed is recorded, where it is echoed.
        moderators: How many must be there.
    """

    def __init__(
        self, core: Core, row: Any, recording: Recording, opens: dict[str, Any] | None, *, keeps_input: bool,
        moderators: int,
    ) -> None:  # fmt: skip
        self.session: str = row.id
        self.party = Party(moderators)
        self.party.paused_by = recording.paused_by  # as it was before the server was started anew
        self.audience = Audience(recording.offset)
        self.size = [80, 24] if opens is None else [opens.get("cols", 80), opens.get("rows", 24)]
        self.exit: dict[str, Any] | None = None
        self.is_linked = False
        self.about: dict[str, Any] = {}  # as the agent told
        self.viewers: dict[str, Viewer] = {}
        self._core = core
        self._row = row
        self._recording = recording
        self._opens = opens
        self._keeps_input = keeps_input
        self._recent = bytearray()  # the newest output, without a hole
        self._commands: deque[list[Any]] = deque()  # to the agent, before what was typed
        self._acts: dict[str, Allowance] = {}  # by person, as whoever comes again and again is still one
        self._fitting: asyncio.TimerHandle | None = None  # when the size is looked at again
        self._typed: deque[tuple[Viewer, bytes]] = deque()
        self._typed_bytes = 0
        self._confirm: int | None = None
        self._widened: int | None = None  # what the agent's window is to be, and was not told yet
        self._sent_input = self._taken_input = 0  # bytes since we attached
        self._is_held_there: bool | None = None  # whether the agent was told to hold what was typed; None: not yet
        self._work = asyncio.Event()  # a message is held back
        self._may_push = False  # the sender to the agent waits, so that others may send in its place
        self._held_back: bytes | None = None  # what the link did not take at once
        self._base_s = time.monotonic() - recording.us / 1e6  # when the terminal was opened, on our clock
        self._numbers = 0
        self._pipe: Pipe | None = None
        self._surely_us = 0  # how long the terminal may have been there at least, as was found out some time ago
        self._broken: UnavailableError | None = None  # why nothing can be recorded any more

    @property
    def agent(self) -> str:
        """Id of the host."""
        return str(self._row.agent)

    def now_us(self) -> int:
        """Microseconds since the terminal was opened, as far as is known here."""
        return max(0, round((time.monotonic() - self._base_s) * 1_000_000))

    # from the agent --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve the terminal until it has ended."""
        reason = ""
        try:
            while self.exit is None:
                pipe = await self._attached()
                if pipe is None:
                    reason = await self._why_over()
                    break
                await self._serve(pipe)
        except UnavailableError as error:
            reason = error.message
            LOG.error("a terminal ends", session=self.session, why=error.message)
        except asyncio.CancelledError:  # the server is ending; the terminal is not, and is found again
            await self._recording.close()
            raise
        await self._finish(reason)

    async def _attached(self) -> Pipe | None:
        """Return a pipe to the terminal, once there is a link; None if the session is over."""
        while True:
            changed = self._core.links.changed.ticket()
            row = await self._core.database.read(lambda connection: live.find(connection, self.session))
            if row.status in live.OVER:
                return None
            link = self._core.links.find(row.agent)
            if link is not None:
                header = {
                    "session": self.session, "act": "terminal", "offset": self._recording.offset,
                    "typed": self._keeps_input,
                }  # fmt: skip
                try:
                    return link.open_pipe(live.PURPOSE, header | ({"open": self._opens} if self._opens else {}))
                except OutriderError as error:  # it was lost this moment
                    LOG.info("no terminal", session=self.session, why=str(error))
            try:
                async with asyncio.timeout(_SESSION_LOOK_S):
                    await changed.wait()
            except TimeoutError:
                continue

    async def _serve(self, pipe: Pipe) -> None:
        self._sent_input = self._taken_input = 0
        self._is_held_there = None if self._opens is None else False  # a new one holds nothing
        self.audience.attached()
        self._widened = self._confirm = None
        self._pipe, self._may_push, self._held_back = pipe, False, None
        sending = asyncio.create_task(self._send(pipe))
        try:
            await pipe.receive_each(self._hear, read_from_agent)
            if self.exit is not None:
                return
            raise ConflictError("the agent ended it")
        except (NotConnectedError, ConflictError) as error:
            LOG.info("the pipe of a terminal ended", session=self.session, why=str(error))
            if self._broken is not None:
                raise self._broken from None
            if isinstance(error, ConflictError):
                await self._session_over()
        except ProtocolError as error:
            LOG.error("an agent's terminal makes no sense", session=self.session, why=str(error))
            pipe.reset("protocol")
            raise UnavailableError(f"the host's agent made no sense: {error.message}") from None
        finally:
            self._may_push = False
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            pipe.close()
            self.is_linked = False
            if self.exit is None and self._broken is None:
                self._tell({"type": "link", "up": False})

    async def _session_over(self) -> None:
        """Wait for the record of the session's end; without one there is no terminal any more, for whatever reason."""
        try:
            async with asyncio.timeout(ENDING_S):
                while True:
                    arrived = self._core.records_arrived.ticket()
                    row = await self._core.database.read(lambda connection: live.find(connection, self.session))
                    if row.status in live.OVER or self._core.links.find(row.agent) is None:
                        return
                    await arrived.wait()
        except TimeoutError:
            raise UnavailableError("the host has no such terminal any more") from None

    def _hear(self, message: tuple[str, list[Any]]) -> bool:
        word, values = message
        if word == "output":
            self._output(values[0], values[1], values[2])
        else:
            self._on(word, values)
        return self.exit is None

    def _on(self, word: str, values: list[Any]) -> None:
        if word == "took":
            self._taken_input = values[0]
            self._push()
        elif word == "opened":
            self._opened(values[0])
        elif word == "typed":
            if self._keeps_input:
                self._recording.event(self._time(values[0]), "input", "", values[1])
        elif word == "event":
            about, what = _plain(values[1]), values[1].get("what")
            self._recording.event(self._time(values[0]), what if what in _OWN_WORDS else "process", about)
            self._tell({"type": what if what in ("client", *_OWN_WORDS) else "process", **about})
        elif word == "notice":
            self.notice(values[1])
        elif word == "exit":
            self.exit = _plain(values[0])

    def _opened(self, about: dict[str, Any]) -> None:
        told_us = about.get("us")
        if type(told_us) is int and 0 <= told_us <= self._longest_us():
            self._base_s = time.monotonic() - max(told_us, self._recording.us) / 1e6
        self.about = _plain(about)
        self.audience.may_widen = about.get("widens") is True
        is_new = self._opens is not None
        self._opens = None  # from now on it is there
        self.is_linked = True
        self._push()  # what was typed meanwhile
        if is_new:
            self._recording.event(self._recording.us, "resize", *self.size)
            for person in self.party.people.values():
                self._recording.event(self._recording.us, "presence", {"what": "joined", **person.to_plain()})
        self._tell({"type": "link", "up": True})

    def _output(self, offset: int, us: int, data: bytes) -> None:
        if offset > self._recording.offset:
            self._recent.clear()  # what comes now does not follow it
        new = self._recording.output(us if us <= self._surely_us else self._time(us), offset, data)
        if not new:
            return
        self._recent += new
        audience = self.audience
        audience.stored = self._recording.offset
        if (
            audience.stored - audience.confirmed >= audience.step
        ):  # with less there is nothing to confirm, whoever saw it
            self._confirm_if_due()
        for viewer in self.viewers.values():
            if viewer.sends is None or not viewer.sends():
                viewer.wake.set()
        if len(self._recent) > 2 * RECENT_BYTES:  # half of it at once, so that a key does not move all of it
            self._forget_sent()

    def _forget_sent(self) -> None:
        """Keep in memory what somebody is still to be sent, up to a bound, and the newest."""
        stored = self.audience.stored
        unsent = [stored - watching.sent for watching in self.audience.viewers.values()]
        keep = max([RECENT_BYTES, *(size for size in unsent if size <= UNSENT_BYTES)])
        del self._recent[:-keep]

    def _record(self, word: str, *values: Any) -> None:
        """Record what did not come from the agent. If that cannot be, the terminal ends, and not who caused it."""
        if not self.about or self.exit is not None or self._broken is not None:
            return
        try:
            self._recording.event(self.now_us(), word, *values)
        except UnavailableError as error:
            self._broken = error
            if self._pipe is not None:
                self._pipe.reset(error.code)

    def _time(self, told_us: int) -> int:
        if told_us > self._surely_us:
            self._surely_us = self._longest_us()
        return min(told_us, self._surely_us)

    def _longest_us(self) -> int:
        """Return how long the terminal may have been there: whatever an agent says, not longer than its session."""
        return clock.now_us() - (self._row.created_us or 0) + 60_000_000

    # to the agent ----------------------------------------------------------------------------------------------------

    def _confirm_if_due(self) -> None:
        widened = self.audience.widened()
        confirmed = self.audience.confirm()
        if widened is not None:
            self._widened = widened
        if confirmed is not None:
            self._confirm = confirmed
        if widened is not None or confirmed is not None:
            self._push()

    def _next(self) -> bytes | None:
        """Return what the agent is to be told now, packed."""
        if self._widened is not None:  # before what is confirmed by it
            window, self._widened = self._widened, None
            return packed(["window", window])
        if self._confirm is not None:
            offset, self._confirm = self._confirm, None
            return packed(["ack", offset])
        if self._commands:
            return packed(self._commands.popleft())
        is_held = self.party.is_held
        if self.is_linked and is_held is not self._is_held_there and self.about.get("holds") is True:
            self._is_held_there = is_held
            return packed(["hold", is_held])
        if not self._typed or not self.is_linked or is_held:
            return None
        viewer, data = self._typed[0]
        if self._sent_input + len(data) - self._taken_input > INPUT_WINDOW_BYTES:
            return None
        self._typed.popleft()
        self._typed_bytes -= len(data)
        self._sent_input += len(data)
        self.taken(viewer, len(data))
        return packed_input(data, viewer.name)

    def taken(self, viewer: Viewer, size: int) -> None:
        """Count what a viewer typed and nothing here holds any more; they are told now and then.

        That was refused counts as well: else who types while it is paused would have no room left when it goes on.
        """
        viewer.typed += size
        if viewer.typed // 4096 != (viewer.typed - size) // 4096:
            viewer.tell({"type": "taken", "bytes": viewer.typed})

    def _push(self) -> None:
        """Tell the agent at once what may go, as far as the link takes it; the rest is the sender's."""
        pipe = self._pipe
        if pipe is None or not self._may_push:
            return
        try:
            while self._held_back is None and (message := self._next()) is not None:
                if not pipe.write_now(message):
                    self._held_back = message
        except OutriderError as error:  # who reads the pipe is told as well
            LOG.debug("the pipe of a terminal is gone", session=self.session, why=str(error))
            self._may_push = False
        if self._held_back is not None:
            self._work.set()

    async def _send(self, pipe: Pipe) -> None:
        while True:
            self._work.clear()
            self._may_push = False
            message, self._held_back = self._held_back or self._next(), None
            if message is not None:
                await pipe.write(message)
                continue
            self._may_push = True
            await self._work.wait()

    def command(self, *message: Any) -> None:
        """Have something other than input sent to the agent.

        Raises:
            RateError: More waits for the host than it takes.
        """
        if message[0] in _NEWEST_ONLY and self._commands:
            self._commands = deque(each for each in self._commands if each[0] != message[0])
        elif len(self._commands) >= MAX_TEXTS:
            raise RateError("more was asked for than the host does")
        self._commands.append(list(message))
        self._push()

    def type(self, viewer: Viewer, data: bytes) -> None:
        """Type for a viewer; raises as :meth:`people.Party.check_typing`, and RateError."""
        self.party.check_typing(viewer.person.id)
        if (
            self._pipe is not None and self._may_push and self.is_linked and len(data) <= MAX_INPUT_BYTES
            and not self._typed and self._held_back is None and not self._commands
            and self._confirm is None and self._widened is None
            and (self._is_held_there is False or self.about.get("holds") is not True)
            and self._sent_input + len(data) - self._taken_input <= INPUT_WINDOW_BYTES
        ):  # fmt: skip  # it goes through, and nothing is before it: what _push would come to, in few steps for a key
            try:
                if self._pipe.write_now(packed_input(data, viewer.name)):
                    self._sent_input += len(data)
                    self.taken(viewer, len(data))
                    return
            except OutriderError as error:  # as in _push
                LOG.debug("the pipe of a terminal is gone", session=self.session, why=str(error))
                self._may_push = False
        if self._typed_bytes + len(data) > MAX_TYPED_BYTES:
            raise RateError("more was typed than the program reads")
        for begin in range(0, len(data), MAX_INPUT_BYTES):
            self._typed.append((viewer, data[begin : begin + MAX_INPUT_BYTES]))
        self._typed_bytes += len(data)
        self._push()

    def resize(self, viewer: Viewer, cols: int, rows: int) -> None:
        """The window of a viewer has another size; that of who has the keyboard counts."""
        viewer.size = [cols, rows]
        self._fit()

    def _fit(self) -> None:
        """Give the terminal the size of the window of who has the keyboard; of many in a moment the last."""
        holder = self.viewers.get(self.party.keyboard or "")
        if self._fitting is not None or holder is None or holder.size is None or holder.size == self.size:
            return
        self.size = holder.size
        self.command("resize", *self.size)
        self._record("resize", *self.size)
        self._tell({"type": "size", "size": self.size})
        self._fitting = asyncio.get_running_loop().call_later(FIT_EVERY_S, self._fit_again)

    def _fit_again(self) -> None:
        self._fitting = None
        if self.exit is None:
            self._fit()

    # viewers ---------------------------------------------------------------------------------------------------------

    def act(self, principal: str) -> None:
        """Count something that a person does of which all are told.

        Raises:
            RateError: They do too much of it.
        """
        if not self._acts.setdefault(principal, Allowance(ACTS_OF_ONE_PER_S, ACTS_OF_ONE)).take():
            raise RateError(f"{principal} does more here than the others can be told of")

    def admit(self, principal: str) -> None:
        """Return if one more connection of a person may come.

        Raises:
            RateError: They have too many, or come too often, or too many are here.
        """
        if sum(each.person.principal == principal for each in self.viewers.values()) >= MAX_VIEWERS_OF_ONE:
            raise RateError(f"{principal} is here {MAX_VIEWERS_OF_ONE} times already")
        if len(self.viewers) >= MAX_VIEWERS:
            raise RateError(f"{MAX_VIEWERS} watch this terminal already")
        self.act(principal)

    def join(self, principal: str, role: Role, seen: int | None, *, has_access: bool) -> Viewer:
        """Somebody comes to watch.

        Args:
            principal: Who.
            role: As what.
            seen: Offset of output up to which they saw it before; None if they did not.
            has_access: Whether an access grant lets them do here what the session does.
        """
        self._numbers += 1
        person = Person(f"v{self._numbers}", principal, role, has_access)
        viewer = self.viewers[person.id] = Viewer(person)
        watching = self.audience.join(person.id, seen, BACK_BYTES)
        told = self.party.join(person)
        self.audience.typist = self.party.keyboard
        viewer.skipped = watching.skipped = 0 if seen is None else watching.skipped
        viewer.tell(self._hello(viewer, watching.sent, watching.skipped))
        self._changed(told)
        self.command("watchers", len(self.viewers))
        if self.exit is not None:  # it ended while they were on their way
            viewer.tell({"type": "exit", **self.exit})
            viewer.is_over = True
        elif self.is_linked and self.about:
            self.command("redraw")
        return viewer

    def _hello(self, viewer: Viewer, offset: int, skipped: int) -> dict[str, Any]:
        row = self._row
        about = row.about or {}
        longest_s, idle_s = live.seconds(about, "longest_s"), live.seconds(about, "idle_s")
        ends_us = None
        if longest_s and row.opened_us:
            ends_us = min(row.opened_us + round(longest_s * 1e6), limits.MAX_TIME_US)
        return {
            "type": "hello", "you": viewer.person.to_plain(), "session": self.session, "host": row.agent_name,
            "owner": row.principal, "reason": row.purpose, "size": self.size, "offset": offset, "skipped": skipped,
            "people": [person.to_plain() for person in self.party.people.values()], "keyboard": self.party.keyboard,
            "linked": self.is_linked, "opened": self._opens is None, "ends": clock.text(ends_us),
            "idle_s": idle_s, "longest_s": longest_s,
            "records_input": self._keeps_input, "moderators_missing": self.party.moderators_missing,
            "paused_by": self.party.paused_by,
        }  # fmt: skip

    def leave(self, viewer: Viewer) -> None:
        """A viewer is gone. What they typed and was not sent is gone with them."""
        identity = viewer.person.id
        if self.viewers.pop(identity, None) is None:
            return
        kept = [(who, data) for who, data in self._typed if who is not viewer]
        self._typed = deque(kept)
        self._typed_bytes = sum(len(data) for _, data in kept)
        self.audience.leave(identity)
        told = self.party.leave(identity)
        self.audience.typist = self.party.keyboard
        self._changed(told)
        self.command("watchers", len(self.viewers))
        self._confirm_if_due()

    def seen(self, viewer: Viewer, offset: int) -> None:
        """A viewer says how far it has shown the output."""
        self.audience.saw(viewer.person.id, offset, time.monotonic())
        viewer.stir()
        self._confirm_if_due()

    def changed(self, told: list[dict[str, Any]]) -> None:
        """Something changed among the people: tell and record it."""
        self.audience.typist = self.party.keyboard
        self._changed(told)
        self._confirm_if_due()
        self._push()  # it may be held from now on, or go on

    def _changed(self, told: list[dict[str, Any]]) -> None:
        for each in told:
            self._record("presence", each)
            self._tell({"type": "people", **each, "keyboard": self.party.keyboard,
                        "moderators_missing": self.party.moderators_missing})  # fmt: skip
        self._fit()  # the keyboard may be another one's

    def notice(self, text: str) -> None:
        """Show everybody a line that the program did not print, and record it."""
        self._record("notice", text)
        self._tell({"type": "notice", "text": text})

    def opened(self, session: Mapping[str, Any]) -> None:
        """A session was opened from here: it goes on the timeline, and everybody is told."""
        about = {
            "what": "opened", "who": session["principal"], "session": session["id"], "kind": session["kind"],
            "tier": session["tier"],
        }  # fmt: skip
        self._record("presence", about)
        self._tell({"type": "notice", "text": described(about)})

    def mark(self, label: str, by: str) -> None:
        """Put a marker into the recording, with whose it is: whoever only watches may do so, too."""
        self._record("marker", label, by)
        self._tell({"type": "marker", "label": label, "by": by})

    def recent(self, begin: int, end: int, head: bytes = b"") -> bytes | None:
        """Return ``head`` and recorded output from ``begin`` to ``end``; None if it is not in memory any more."""
        first = self.audience.stored - len(self._recent)
        if begin < first:
            return None
        if end - begin < _SMALL_BYTES:
            return head + self._recent[begin - first : end - first]
        with memoryview(self._recent) as whole:
            return b"".join((head, whole[begin - first : end - first]))  # copied once

    async def output(self, begin: int, end: int) -> bytes:
        """Return recorded output from ``begin`` to at most ``end``."""
        data = self.recent(begin, end)
        if data is not None:
            return data
        return await asyncio.to_thread(self._recording.read_output, begin, end)

    def _tell(self, message: dict[str, Any]) -> None:
        for viewer in self.viewers.values():
            viewer.tell(message)

    def dismiss(self) -> None:
        """The server is ending: send everybody away. They come again when it is back."""
        for viewer in self.viewers.values():
            viewer.is_over = True
            viewer.wake.set()

    def sync(self) -> None:
        """Make the recording durable; on a thread."""
        self._recording.sync()

    # the end ---------------------------------------------------------------------------------------------------------

    async def _why_over(self) -> str:
        row = await self._core.database.read(lambda connection: live.find(connection, self.session))
        return str(row.reason or row.status)

    async def _finish(self, reason: str) -> None:
        """Record the end, tell it to everybody, and close the session if it is still there."""
        if self.exit is None:
            self.exit = {"code": None, "signal": None, "reason": reason}
        try:
            self._recording.event(self.now_us(), "exit", self.exit)
        except UnavailableError as error:
            LOG.error("the end of a recording is not in it", session=self.session, why=str(error))
        self._tell({"type": "exit", **self.exit})
        if self._fitting is not None:
            self._fitting.cancel()
        for viewer in self.viewers.values():
            viewer.is_over = True
            viewer.wake.set()
        await self._recording.close()
        if not self._core.is_ending.is_set():
            await self._close_session(reason or _how(self.exit))

    async def _close_session(self, reason: str) -> None:
        try:
            await live.close_session(self._core, self.session, reason[:1000], self._row.principal)
        except (NotConnectedError, DeadlineError) as error:  # the agent ends it by itself when it is lonely for long
            LOG.info("a session could not be closed", session=self.session, why=str(error))
        except UnavailableError:  # our own disk; the host must end it all the same
            link = self._core.links.find(self._row.agent)
            if link is not None:
                body = {"session": self.session, "reason": reason[:1000]}
                try:
                    await link.request("session.close", body, limits.REQUEST_TIMEOUT_S)
                except OutriderError as error:
                    LOG.error("a session could not be closed", session=self.session, why=str(error))
        except InternalError as error:
            LOG.error("a session could not be closed", session=self.session, why=str(error))


def _how(exit: dict[str, Any]) -> str:
    if exit.get("error"):
        return str(exit["error"].get("message", "it could not be opened"))
    if exit.get("signal"):
        return f"the program was ended by signal {exit['signal']}"
    return f"the program ended with {exit.get('code')}"


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    """Return what an agent told as JSON and MessagePack can both hold it."""
    return dict(plain(value))
