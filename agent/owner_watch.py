"""The owner's look over the shoulder: which sessions of people are open on this host, and what their terminals print.

    session.ls       those that are open now
    session.end      end one
    session.watch    those that are open, again whenever that changes; with ``session``, also what its terminal prints,
                     until it is over; a line ``{"end": id}`` from the other end ends one

It goes by the agent's own knowledge and needs no server. Who watches is not told to those who are watched: it is the
owner's host. That somebody was ended by the owner is on record.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from typing import Any, Final

from agent.clock import lived_s
from agent.control import Action, Conversation
from agent.live import LiveSession, LiveSessions
from agent.terminal_seats import seat_of
from protocol.errors import ArgumentError, NotFoundError

LOOK_EVERY_S: Final = 0.5
MAX_UNREAD: Final = 256  # pieces of output that somebody who watches may be behind; what is more is left out, and said


class OwnerWatch:
    """What the owner of this host sees of sessions.

    Args:
        live: The sessions.
    """

    def __init__(self, live: LiveSessions) -> None:
        self._live = live

    @property
    def actions(self) -> Mapping[str, Action]:
        """What can be asked for on the control socket."""
        return {"session.ls": self._ls, "session.end": self._end_one, "session.watch": self._watch}

    def _shown(self) -> list[dict[str, Any]]:
        return [_shown(session) for session in self._live.open_sessions]

    async def _ls(self, conversation: Conversation) -> None:
        await conversation.send({"sessions": self._shown()})

    async def _end_one(self, conversation: Conversation) -> None:
        identity = conversation.text("session", most=100)
        await self._end(identity, conversation.peer)
        await conversation.send({"ended": identity})

    async def _end(self, identity: str, by: str) -> None:
        await self._live.close(identity, f"ended on the host by {by}", "killed")

    async def _watch(self, conversation: Conversation) -> None:
        wanted = conversation.text("session", most=100, default="")
        news: asyncio.Queue[bytes | None] = asyncio.Queue(MAX_UNREAD)
        left_out = 0

        def printed(data: bytes | None) -> None:
            nonlocal left_out
            if news.full():
                left_out += len(data or b"")
            else:
                news.put_nowait(data)

        seat = None
        if wanted:
            seat = seat_of(self._live.find(wanted))
            if seat is not None:
                seat.listeners.add(printed)
                seat.redraw()
        told: list[dict[str, Any]] | None = None
        listening = asyncio.ensure_future(self._listen(conversation))
        try:
            while not listening.done():
                shown = self._shown()
                if told is None or [each["id"] for each in shown] != [each["id"] for each in told]:
                    told = shown
                    await conversation.send({"sessions": shown})
                if wanted and all(each["id"] != wanted for each in shown):
                    await conversation.send({"over": wanted})
                    return
                try:
                    async with asyncio.timeout(LOOK_EVERY_S):
                        data = await news.get()
                except TimeoutError:
                    continue
                if data is not None:
                    await conversation.send({"output": base64.b64encode(data).decode(), "left_out": left_out})
                    left_out = 0
            listening.result()
        finally:
            listening.cancel()
            if seat is not None:
                seat.listeners.discard(printed)

    async def _listen(self, conversation: Conversation) -> None:
        """Do what the other end says, until it goes."""
        while (line := await conversation.receive()) is not None:
            identity = line.get("end")
            if not isinstance(identity, str) or len(line) != 1:
                raise ArgumentError("the only thing that can be said here is end", parameter="end")
            try:
                await self._end(identity, conversation.peer)
            except NotFoundError:  # it was over by itself
                continue


def _shown(session: LiveSession) -> dict[str, Any]:
    wish, now_s = session.opening.wish, lived_s()
    seat = seat_of(session)
    return {
        "id": session.id, "kind": wish.kind, "tier": session.opening.tier.label, "principal": wish.principal,
        "reason": wish.reason, "open_s": round(now_s - session.opened_s), "idle_s": round(now_s - session.used_s),
        "ends_in_s": round(session.ends_s - now_s), "linked": session.lonely_since_s is None, "calls": session.calls,
        "terminal": None if seat is None else {**seat.about, "size": list(seat.size), "typist": seat.typist},
    }  # fmt: skip
