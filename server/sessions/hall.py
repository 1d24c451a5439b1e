"""All terminals that are open on this server: begun once, found by everybody, served until they end.

A terminal is served whether or not anybody watches it: what it prints is recorded. After a restart every terminal that
was open is served again, as soon as its agent is back.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final

import structlog
from sqlalchemy import select

from protocol.errors import ArgumentError, ConflictError, OutriderError
from protocol.tiers import Tier
from server import clock
from server.core import Core
from server.services import agents, live
from server.sessions.recording import SYNC_S, Recording
from server.sessions.serving import Serving
from server.sessions.terminal import LiveTerminal
from server.store.tables import sessions

LOG = structlog.get_logger()
KIND: Final = "terminal"


def find(core: Core, session: str) -> LiveTerminal | None:
    """Return the terminal of a session, if it is served now."""
    found = core.terminals.get(session)
    return found if isinstance(found, LiveTerminal) else None


async def typed_in(core: Core, session: str, principal: str, agent: str) -> LiveTerminal | None:
    """Return the terminal of a session on a host, in which somebody may type now; None if it is over.

    Args:
        core: The server.
        session: Whose terminal.
        principal: Who.
        agent: Name or id of the host.

    Raises:
        NotFoundError: There is no such session, and never was.
        ArgumentError: It is on another host, or they are not in it as somebody who may type.
        RateError: They have opened too much beside it in a moment.
    """
    terminal = find(core, session)
    if terminal is None or terminal.exit is not None:  # it is over, also while its recording is still being sealed
        await core.database.read(lambda connection: live.find(connection, session))
        return None
    host = await core.database.read(lambda connection: agents.find(connection, agent).id)
    if terminal.agent != host or not terminal.party.has_typist(principal):
        raise ArgumentError(f"you are in no terminal {session[:40]!r} on {agent[:60]}", parameter="beside")
    terminal.viewers.act(principal)  # all who are in it are told of what is opened beside it
    return terminal


def begin(core: Core, row: Any, opens: dict[str, Any] | None) -> LiveTerminal:
    """Return the terminal of a session; begin to serve it if that was not done yet.

    Args:
        core: The server.
        row: The session, as :func:`server.services.live.find` gives it.
        opens: What the agent is asked for if there is none yet.

    Raises:
        ConflictError: It is no terminal, or not open.
        UnavailableError: It cannot be recorded.
    """
    known = find(core, row.id)
    if known is not None:
        return known
    if row.kind != KIND:
        raise ConflictError(f"session {row.id} is of the kind {row.kind}, not {KIND}")
    if row.status != "open":
        raise ConflictError(f"session {row.id} is not open: {row.status}{f' ({row.reason})' if row.reason else ''}")
    wanted = dict(opens or {})
    about = {
        "session": row.id, "host": row.agent_name, "principal": row.principal, "reason": row.purpose,
        "tier": row.tier, "opened_us": clock.now_us(), "argv": list(wanted.get("argv") or ()),
        "user": str(wanted.get("user") or ""), "term": str(wanted.get("term") or "xterm-256color"),
        "size": [wanted.get("cols", 80), wanted.get("rows", 24)],
    }  # fmt: skip
    rules = core.config.sessions
    recording = Recording(core.config.recordings / row.id, about)
    made = LiveTerminal(
        row, recording, opens, keeps_input=rules.record_input,
        moderators=rules.moderators if Tier.parse(row.tier) >= rules.moderated_tier else 0,
    )  # fmt: skip
    core.terminals[row.id] = made
    if len(core.terminals) == 1:
        core.background(_keep_durable(core))
    core.background(_serve(core, Serving(core, row, made, recording, opens), row.id))
    return made


async def _serve(core: Core, serving: Serving, session: str) -> None:
    try:
        await serving.run()
    finally:
        core.terminals.pop(session, None)


async def _keep_durable(core: Core) -> None:
    while core.terminals:
        await asyncio.sleep(SYNC_S)
        await asyncio.to_thread(_sync, list(core.terminals.values()))


def _sync(terminals: list[LiveTerminal]) -> None:
    for terminal in terminals:
        terminal.sync()


async def resume(core: Core) -> None:
    """At start: serve again what was open when the server ended."""
    rows = await core.database.read(
        lambda connection: [
            live.find(connection, identity)
            for identity in connection.execute(
                select(sessions.c.id).where(sessions.c.kind == KIND, sessions.c.status == "open")
            ).scalars()
        ]
    )
    for row in rows:
        if (core.config.recordings / row.id).is_dir():  # else nobody has wanted its terminal yet
            with suppress(OutriderError):
                begin(core, row, None)
                LOG.info("a terminal is served again", session=row.id)


def dismiss(core: Core) -> None:
    """The server is ending: send everybody away. They come again when it is back."""
    for terminal in list(core.terminals.values()):
        terminal.viewers.dismiss()
