"""The owner's desk in the running agent: what is asked of him, what he answers, and his freeze.

    consent.ls, consent.answer, consent.watch    questions (:mod:`agent.consent`)
    freeze.look                                  the file of the freeze has changed: look at it now

The freeze holds by its file alone; what is said here only makes it felt at once. The file is looked at every second in
any case, so that a freeze ends what is under way also if nobody could say so. The same goes for ``frozen`` in the
ceiling file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from agent.clock import Clock
from agent.consent import OWNER, Consents, Notice, Question, Told
from agent.control import Action, Conversation
from agent.live import LiveSessions
from agent.logs import LOG
from agent.recorder import Recorder
from agent.sessions import Sessions
from agent.trusting import Trust
from protocol.errors import ArgumentError, OutriderError

LOOK_EVERY_S: Final = 1.0
MAX_UNREAD: Final = 256  # that somebody who watches may be behind; then he has seen enough of it


class Desk:
    """What the owner of this host has to do with its agent.

    Args:
        consents: The questions.
        trust: The freeze and the ceiling.
        live: Sessions of people, to end.
        sessions: Runs, to end.
        recorder: Freezing is on record.
        clock: For looking again.
        on_change: Called when a freeze begins or ends.
    """

    def __init__(
        self,
        consents: Consents,
        trust: Trust,
        live: LiveSessions,
        sessions: Sessions,
        recorder: Recorder,
        clock: Clock,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._consents = consents
        self._trust = trust
        self._live = live
        self._sessions = sessions
        self._recorder = recorder
        self._clock = clock
        self._on_change = on_change
        self._was_frozen = False
        self._looking = asyncio.Lock()

    @property
    def actions(self) -> Mapping[str, Action]:
        """What can be asked for on the control socket."""
        return {
            "consent.ls": self._ls, "consent.answer": self._answer, "consent.watch": self._watch,
            "freeze.look": self._look,
        }  # fmt: skip

    async def keep_looking(self) -> None:
        """End what is under way when the host is frozen, for as long as the agent runs."""
        never = asyncio.Event()
        while True:
            await self.look()
            await self._clock.wait(never, LOOK_EVERY_S)

    async def look(self) -> bool:
        """Look whether the owner has frozen this host, and make it so; returns whether he has."""
        async with self._looking:
            try:
                ceiling = self._trust.ceiling()
            except OutriderError:  # nothing new can begin; what is under way was decided before it was damaged
                return self._was_frozen
            if ceiling.frozen == self._was_frozen:
                return self._was_frozen
            self._was_frozen = ceiling.frozen
            why = f"the owner of this host has frozen it: {ceiling.frozen_reason or 'no reason given'}"
            if ceiling.frozen:
                LOG.warning(why)
                self._sessions.stop_all(why)
            try:
                data = {"event": "owner_freeze", "reason": ceiling.frozen_reason}
                self._recorder.record(kind="event", outcome="frozen" if ceiling.frozen else "unfrozen", data=data)
            except OutriderError as error:  # a disk that refuses is no reason to go on
                LOG.error("the owner's freeze could not be recorded: %s", error)
            if ceiling.frozen:
                await self._live.close_all(why)
            self._on_change()
            return self._was_frozen

    # what the owner says ---------------------------------------------------------------------------------------------

    async def _look(self, conversation: Conversation) -> None:
        await conversation.send({"frozen": await self.look()})

    async def _ls(self, conversation: Conversation) -> None:
        await conversation.send({"questions": [each.to_plain() for each in self._consents.pending]})

    async def _answer(self, conversation: Conversation) -> None:
        granted = conversation.asked.get("granted")
        if not isinstance(granted, bool):
            raise ArgumentError("granted: must be true or false", parameter="granted")
        identity = conversation.text("question", most=40)
        question = self._consents.answer(identity, granted=granted, by=conversation.peer, channel=OWNER)
        await conversation.send({"question": question.to_plain(), "granted": granted})

    async def _watch(self, conversation: Conversation) -> None:
        """Send what waits now, then everything as it comes, until the other end goes."""
        news: asyncio.Queue[Told | None] = asyncio.Queue(MAX_UNREAD)

        def told(one: Told | None) -> None:
            if not news.full():
                news.put_nowait(one)

        def left(done: asyncio.Future[Any]) -> None:
            if not done.cancelled():
                done.exception()  # seen: a line that means nothing ends it as well
                told(None)

        unfollow = self._consents.follow(told)
        gone = asyncio.ensure_future(conversation.receive())
        gone.add_done_callback(left)
        try:
            for question in self._consents.pending:
                await conversation.send(_line(question))
            while not gone.done():
                one = await news.get()
                if one is not None:
                    await conversation.send(_line(one))
        finally:
            unfollow()
            gone.cancel()


def _line(told: Told) -> dict[str, Any]:
    if isinstance(told, Question):
        return {"question": told.to_plain()}
    if isinstance(told, Notice):
        return {"notice": {"text": told.text, "session": told.session, "principal": told.principal}}
    return {"settled": {"id": told.question.id, "outcome": told.outcome, "by": told.by}}
