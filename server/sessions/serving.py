"""Serving one terminal: attached to at its agent, heard, attached to anew when the link was lost, until it has ended.

- What the agent sends is recorded before anybody is told of it. If it cannot be recorded, the session ends.
- The link may be lost and this server may be started anew: the terminal goes on where its recording ends.
- A terminal that is gone at its host, or whose agent makes no sense, ends its session.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import structlog

from protocol.errors import (
    ConflictError,
    DeadlineError,
    InternalError,
    NotConnectedError,
    OutriderError,
    ProtocolError,
    UnavailableError,
)
from protocol.pipes import Pipe
from protocol.terminal import read_from_agent
from server import limits
from server.core import Core
from server.ledger import plain
from server.services import live
from server.sessions.recording import Recording
from server.sessions.terminal import LiveTerminal

LOG = structlog.get_logger()
ENDING_S: Final = 10.0  # for the record of a session's end, once the agent has given its terminal up
_OWN_WORDS: Final = ("file", "sources", "untold")  # of events: as such in the recording; the others are of processes
_SESSION_LOOK_S: Final = 5.0  # between two looks whether a session that has no link is over


class Serving:
    """Serves one terminal.

    Args:
        core: The server.
        row: The session.
        terminal: Its people, and what they are shown.
        recording: Where it is recorded.
        opens: What the agent is asked for if there is no terminal yet; None: there must be one.
    """

    def __init__(
        self, core: Core, row: Any, terminal: LiveTerminal, recording: Recording, opens: dict[str, Any] | None
    ) -> None:
        self._core = core
        self._row = row
        self._terminal = terminal
        self._recording = recording
        self._opens = opens
        self._output = terminal.output

    async def run(self) -> None:
        """Serve the terminal until it has ended."""
        reason = ""
        try:
            while self._terminal.exit is None:
                pipe = await self._attached()
                if pipe is None:
                    reason = await self._why_over()
                    break
                await self._serve(pipe)
        except UnavailableError as error:
            reason = error.message
            LOG.error("a terminal ends", session=self._row.id, why=error.message)
        except asyncio.CancelledError:  # the server is ending; the terminal is not, and is found again
            await self._recording.close()
            raise
        await self._finish(reason)

    # the link --------------------------------------------------------------------------------------------------------

    async def _attached(self) -> Pipe | None:
        """Return a pipe to the terminal, once there is a link; None if the session is over."""
        while True:
            changed = self._core.links.changed.ticket()
            row = await self._core.database.read(lambda connection: live.find(connection, self._row.id))
            if row.status in live.OVER:
                return None
            link = self._core.links.find(row.agent)
            if link is not None:
                header = {
                    "session": self._row.id, "act": "terminal", "offset": self._recording.offset,
                    "typed": self._terminal.keeps_input,
                }  # fmt: skip
                try:
                    return link.open_pipe(live.PURPOSE, header | ({"open": self._opens} if self._opens else {}))
                except OutriderError as error:  # it was lost this moment
                    LOG.info("no terminal", session=self._row.id, why=str(error))
            try:
                async with asyncio.timeout(_SESSION_LOOK_S):
                    await changed.wait()
            except TimeoutError:
                continue

    async def _serve(self, pipe: Pipe) -> None:
        terminal = self._terminal
        terminal.outgoing.attach(pipe, is_new=self._opens is not None)
        is_lost = True
        try:
            await pipe.receive_each(self._hear, read_from_agent)
            if terminal.exit is not None:
                return
            raise ConflictError("the agent ended it")
        except (NotConnectedError, ConflictError) as error:
            LOG.info("the pipe of a terminal ended", session=self._row.id, why=str(error))
            if terminal.broken is not None:
                raise terminal.broken from None
            if isinstance(error, ConflictError):
                is_lost = False
                is_lost = not await self._is_session_over()
        except ProtocolError as error:
            LOG.error("an agent's terminal makes no sense", session=self._row.id, why=str(error))
            pipe.reset("protocol")
            raise UnavailableError(f"the host's agent made no sense: {error.message}") from None
        finally:
            await terminal.outgoing.detach()
            pipe.close()
            if is_lost and terminal.exit is None and terminal.broken is None:
                terminal.viewers.tell({"type": "link", "up": False})

    async def _is_session_over(self) -> bool:
        """Wait for the record of the session's end; false if the link is gone before it comes.

        Raises:
            UnavailableError: It does not come: there is no terminal any more, for whatever reason.
        """
        try:
            async with asyncio.timeout(ENDING_S):
                while True:
                    arrived = self._core.records_arrived.ticket()
                    row = await self._core.database.read(lambda connection: live.find(connection, self._row.id))
                    if row.status in live.OVER:
                        return True
                    if self._core.links.find(row.agent) is None:
                        return False
                    await arrived.wait()
        except TimeoutError:
            raise UnavailableError("the host has no such terminal any more") from None

    # what the agent says ---------------------------------------------------------------------------------------------

    def _hear(self, message: tuple[str, list[Any]]) -> bool:
        word, values = message
        if word == "output":
            self._output.take(values[0], values[1], values[2])
        else:
            self._on(word, values)
        return self._terminal.exit is None

    def _on(self, word: str, values: list[Any]) -> None:
        terminal, timeline = self._terminal, self._terminal.timeline
        if word == "took":
            terminal.outgoing.took(values[0])
        elif word == "opened":
            self._opened(values[0])
        elif word == "typed":
            if terminal.keeps_input:
                self._recording.event(timeline.at(values[0]), "input", "", values[1])
        elif word == "event":
            about, what = _plain(values[1]), values[1].get("what")
            self._recording.event(timeline.at(values[0]), what if what in _OWN_WORDS else "process", about)
            terminal.viewers.tell({"type": what if what in ("client", *_OWN_WORDS) else "process", **about})
        elif word == "notice":
            terminal.notice(values[1])
        elif word == "exit":
            terminal.exit = _plain(values[0])

    def _opened(self, about: dict[str, Any]) -> None:
        terminal = self._terminal
        terminal.timeline.opened(about.get("us"))
        terminal.about = _plain(about)
        terminal.audience.may_widen = about.get("widens") is True
        is_new = self._opens is not None
        self._opens = None  # from now on it is there
        terminal.is_opened = True
        terminal.outgoing.opened(can_hold=terminal.about.get("holds") is True)
        if is_new:
            self._recording.event(self._recording.us, "resize", *terminal.size)
            for person in terminal.party.people.values():
                self._recording.event(self._recording.us, "presence", {"what": "joined", **person.to_plain()})
        terminal.viewers.tell({"type": "link", "up": True})

    # the end ---------------------------------------------------------------------------------------------------------

    async def _why_over(self) -> str:
        row = await self._core.database.read(lambda connection: live.find(connection, self._row.id))
        return str(row.reason or row.status)

    async def _finish(self, reason: str) -> None:
        """Have the end recorded and told, and close the session if it is still there."""
        exit = self._terminal.end(reason)
        await self._recording.close()
        if not self._core.is_ending.is_set():
            await self._close_session(reason or _how(exit))

    async def _close_session(self, reason: str) -> None:
        try:
            await live.close_session(self._core, self._row.id, reason[:1000], self._row.principal)
        except (NotConnectedError, DeadlineError) as error:  # the agent ends it by itself when it is lonely for long
            LOG.info("a session could not be closed", session=self._row.id, why=str(error))
        except UnavailableError:  # our own disk; the host must end it all the same
            link = self._core.links.find(self._row.agent)
            if link is not None:
                body = {"session": self._row.id, "reason": reason[:1000]}
                try:
                    await link.request("session.close", body, limits.REQUEST_TIMEOUT_S)
                except OutriderError as error:
                    LOG.error("a session could not be closed", session=self._row.id, why=str(error))
        except InternalError as error:
            LOG.error("a session could not be closed", session=self._row.id, why=str(error))


def _how(exit: dict[str, Any]) -> str:
    if exit.get("error"):
        return str(exit["error"].get("message", "it could not be opened"))
    if exit.get("signal"):
        return f"the program was ended by signal {exit['signal']}"
    return f"the program ended with {exit.get('code')}"


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    """Return what an agent told as JSON and MessagePack can both hold it."""
    return dict(plain(value))
