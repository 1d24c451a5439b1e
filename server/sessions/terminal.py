"""One terminal on the server, as the people in it have it: they come, have the keyboard, give it a size, speak and go.

    agent -> recorded -> shown        typed -> by who may -> agent

Each concept has its own file, and this one puts them together: who watches is ``viewers``, what they may do ``people``,
when it was ``timeline``, what the program prints ``output``, what goes to the agent ``outgoing``; and the agent's end
is ``serving``.

- What people do is told to everybody and goes on record. If it cannot be recorded, the terminal ends, for all.
- Viewers take what they are sent at their own pace; ``protocol.terminal.Audience`` says who waits for whom.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

import structlog

from protocol.asciicast import described
from protocol.errors import UnavailableError
from protocol.terminal import Audience
from server import clock, limits
from server.services import live
from server.sessions.outgoing import Outgoing
from server.sessions.output import Output
from server.sessions.people import Party, Person, Role
from server.sessions.recording import Recording
from server.sessions.timeline import Timeline
from server.sessions.viewers import Viewer, Viewers

LOG = structlog.get_logger()
BACK_BYTES: Final = 32 << 10  # that somebody who comes new is shown of what was before
FIT_EVERY_S: Final = 0.05  # between two sizes that the terminal is given; a window that is drawn larger has hundreds


class LiveTerminal:
    """One terminal.

    Args:
        row: The session.
        recording: Where it is recorded.
        opens: What the agent is asked for if there is no terminal yet; None: there must be one.
        keeps_input: Whether what is typed is recorded, where it is echoed.
        moderators: How many must be there.
    """

    def __init__(
        self, row: Any, recording: Recording, opens: Mapping[str, Any] | None, *, keeps_input: bool, moderators: int
    ) -> None:
        self.session: str = row.id
        self.party = Party(moderators)
        self.party.paused_by = recording.paused_by  # as it was before the server was started anew
        self.audience = Audience(recording.offset)
        self.viewers = Viewers()
        self.timeline = Timeline(recording, row.created_us or 0)
        self.outgoing = Outgoing(self.session, self.party, self.audience)
        self.output = Output(recording, self.timeline, self.audience, self.viewers, self.outgoing)
        self.size = [80, 24] if opens is None else [opens.get("cols", 80), opens.get("rows", 24)]
        self.keeps_input = keeps_input
        self.is_opened = opens is None  # the host has it, or had it
        self.about: dict[str, Any] = {}  # as the agent told
        self.exit: dict[str, Any] | None = None  # once it has ended
        self.broken: UnavailableError | None = None  # why nothing can be recorded any more
        self._row = row
        self._recording = recording
        self._numbers = 0  # of those who came
        self._fitting: asyncio.TimerHandle | None = None  # when the size is looked at again

    @property
    def agent(self) -> str:
        """Id of the host."""
        return str(self._row.agent)

    # coming and going ------------------------------------------------------------------------------------------------

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
        viewer = self.viewers.there[person.id] = Viewer(person)
        watching = self.audience.join(person.id, seen, BACK_BYTES)
        told = self.party.join(person)
        self.audience.typist = self.party.keyboard
        viewer.skipped = watching.skipped = 0 if seen is None else watching.skipped
        viewer.tell(self._hello(viewer, watching.sent, watching.skipped))
        self._changed(told)
        self.outgoing.command("watchers", len(self.viewers.there))
        if self.exit is not None:  # it ended while they were on their way
            viewer.tell({"type": "exit", **self.exit})
            viewer.is_over = True
        elif self.outgoing.is_linked and self.about:
            self.outgoing.command("redraw")
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
            "linked": self.outgoing.is_linked, "opened": self.is_opened, "ends": clock.text(ends_us),
            "idle_s": idle_s, "longest_s": longest_s,
            "records_input": self.keeps_input, "moderators_missing": self.party.moderators_missing,
            "paused_by": self.party.paused_by,
        }  # fmt: skip

    def leave(self, viewer: Viewer) -> None:
        """A viewer is gone. What they typed and was not sent is gone with them."""
        identity = viewer.person.id
        if self.viewers.there.pop(identity, None) is None:
            return
        self.outgoing.forget(viewer)
        self.audience.leave(identity)
        told = self.party.leave(identity)
        self.audience.typist = self.party.keyboard
        self._changed(told)
        self.outgoing.command("watchers", len(self.viewers.there))
        self.outgoing.confirm_if_due()

    def seen(self, viewer: Viewer, offset: int) -> None:
        """A viewer says how far it has shown the output."""
        self.audience.saw(viewer.person.id, offset, time.monotonic())
        viewer.stir()
        self.outgoing.confirm_if_due()

    # what people do --------------------------------------------------------------------------------------------------

    def changed(self, told: list[dict[str, Any]]) -> None:
        """Something changed among the people: tell and record it."""
        self.audience.typist = self.party.keyboard
        self._changed(told)
        self.outgoing.confirm_if_due()
        self.outgoing.push()  # it may be held from now on, or go on

    def _changed(self, told: list[dict[str, Any]]) -> None:
        for each in told:
            self._record("presence", each)
            self.viewers.tell({"type": "people", **each, "keyboard": self.party.keyboard,
                               "moderators_missing": self.party.moderators_missing})  # fmt: skip
        self._fit()  # the keyboard may be another one's

    def notice(self, text: str) -> None:
        """Show everybody a line that the program did not print, and record it."""
        self._record("notice", text)
        self.viewers.tell({"type": "notice", "text": text})

    def opened(self, session: Mapping[str, Any]) -> None:
        """A session was opened from here: it goes on the timeline, and everybody is told."""
        about = {
            "what": "opened", "who": session["principal"], "session": session["id"], "kind": session["kind"],
            "tier": session["tier"],
        }  # fmt: skip
        self._record("presence", about)
        self.viewers.tell({"type": "notice", "text": described(about)})

    def mark(self, label: str, by: str) -> None:
        """Put a marker into the recording, with whose it is: whoever only watches may do so, too."""
        self._record("marker", label, by)
        self.viewers.tell({"type": "marker", "label": label, "by": by})

    def _record(self, word: str, *values: Any) -> None:
        """Record what did not come from the agent. If that cannot be, the terminal ends, and not who caused it."""
        if not self.about or self.exit is not None or self.broken is not None:
            return
        try:
            self._recording.event(self.timeline.now_us(), word, *values)
        except UnavailableError as error:
            self.broken = error
            self.outgoing.reset(error.code)

    # the size --------------------------------------------------------------------------------------------------------

    def resize(self, viewer: Viewer, cols: int, rows: int) -> None:
        """The window of a viewer has another size; that of who has the keyboard counts."""
        viewer.size = [cols, rows]
        self._fit()

    def _fit(self) -> None:
        """Give the terminal the size of the window of who has the keyboard; of many in a moment the last."""
        holder = self.viewers.there.get(self.party.keyboard or "")
        if self._fitting is not None or holder is None or holder.size is None or holder.size == self.size:
            return
        self.size = holder.size
        self.outgoing.command("resize", *self.size)
        self._record("resize", *self.size)
        self.viewers.tell({"type": "size", "size": self.size})
        self._fitting = asyncio.get_running_loop().call_later(FIT_EVERY_S, self._fit_again)

    def _fit_again(self) -> None:
        self._fitting = None
        if self.exit is None:
            self._fit()

    # its recording and its end ---------------------------------------------------------------------------------------

    def sync(self) -> None:
        """Make the recording durable; on a thread."""
        self._recording.sync()

    def end(self, reason: str) -> dict[str, Any]:
        """Record the end, tell it to everybody, and send them away.

        Args:
            reason: Why, if the agent did not say how it ended.

        Returns:
            How it ended.
        """
        if self.exit is None:
            self.exit = {"code": None, "signal": None, "reason": reason}
        try:
            self._recording.event(self.timeline.now_us(), "exit", self.exit)
        except UnavailableError as error:
            LOG.error("the end of a recording is not in it", session=self.session, why=str(error))
        self.viewers.tell({"type": "exit", **self.exit})
        if self._fitting is not None:
            self._fitting.cancel()
        self.viewers.dismiss()
        return self.exit
