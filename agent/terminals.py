"""The act ``terminal``: opens the terminal of a session through its gate, or attaches to the one that is there.

The pipe's header has ``open`` (who, what, how large: the arguments of ``tty.login``), ``offset``: up to where the
server has the output, and ``typed``: false if it does not record what is typed. The call that opens it is decided on
and on record like any other; what is typed and printed then is no call, but what was decided there.
``protocol.terminal`` has the messages.
"""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

from agent.live import LiveSession
from agent.live_calls import failure
from agent.logs import LOG
from agent.recorder import Recorder
from agent.seat import Seat
from agent.terminal_seats import SEAT
from agent.wishes import Wishes
from agent.witness import Witness
from protocol.errors import ArgumentError, DeniedError, NotFoundError, OutriderError
from protocol.pipes import Pipe
from sandbox.held import Held
from stdlib.processes.start import ENVIRONMENT
from stdlib.tty_terminal import Terminal

KIND: Final = "terminal"  # of the sessions that may have one
CALL: Final = "tty.login"
AT_HAND: Final = Path(__file__).parent / "at_hand"  # programs for the shells of terminals
_LOCK: Final = "terminal.lock"
_OPENS: Final = frozenset({"user", "argv", "cols", "rows", "term", "lang"})


class Terminals:
    """Serves terminals.

    Args:
        recorder: For digests of what they print.
        end: Closes a session, given its id, why, and the outcome.
    """

    def __init__(self, recorder: Recorder, end: Callable[[str, str, str], Awaitable[None]]) -> None:
        self._recorder = recorder
        self._end = end
        self._witness = Witness()
        self._ending: set[asyncio.Task[None]] = set()

    async def serve(self, session: LiveSession, pipe: Pipe) -> None:
        """Serve one pipe.

        Raises:
            OutriderError: The terminal is there, and what the server says of it has no meaning.
        """
        if session.opening.wish.kind != KIND:
            raise DeniedError(
                f"a session of the kind {session.opening.wish.kind} has no terminal", rule="session: kind"
            )
        offset = pipe.header.get("offset", 0)
        if type(offset) is not int or offset < 0:
            raise ArgumentError("offset: must be a number of bytes", parameter="offset")
        try:
            async with session.things.setdefault(_LOCK, asyncio.Lock()):
                seat = session.things.get(SEAT) or await self._open(session, pipe.header.get("open"))
        except OutriderError as error:
            await pipe.send(["exit", {"error": failure(error)}])
            return
        await seat.attach(pipe, offset, wants_typed=pipe.header.get("typed") is not False)

    async def _open(self, session: LiveSession, asked: Any) -> Seat:
        if asked is None:
            raise NotFoundError("this session has no terminal")
        if not isinstance(asked, Mapping) or not set(asked) <= _OPENS:
            raise ArgumentError("open: has a field that no terminal has", parameter="open")
        wishes = _wishes(session)
        try:
            with self._witness.expected():
                held = await session.call(CALL, {**asked, "env": environment(session.id)})
                if not isinstance(held, Held) or not isinstance(held.thing, Terminal):
                    raise NotFoundError("this host gives no terminals")
                user = held.thing.facts.user
                about = {**held.thing.fields(), "user": "" if user is None else user.name, "holds": True}
                seat = session.things[SEAT] = Seat(session, held.thing, self._recorder, about, self._witness, wishes)
        except BaseException:
            if wishes is not None:
                wishes.close()
            raise
        task = asyncio.create_task(self._run(session, seat))
        session.acts.add(task)  # ended with the session, before what it reads from is closed
        task.add_done_callback(session.acts.discard)
        return seat

    async def _run(self, session: LiveSession, seat: Seat) -> None:
        try:
            await seat.run()
        except OutriderError as error:  # no record, no terminal
            LOG.error("the terminal of session %s ends: %s", session.id, error)
            # Not from inside: what closes a session waits for its tasks.
            ending = asyncio.ensure_future(self._end(session.id, f"it cannot be recorded: {error.message}", "killed"))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)


def _wishes(session: LiveSession) -> Wishes | None:
    """Listen to a session's programs before there are any, so that nobody else has the name."""
    try:
        return Wishes(session.id)
    except OSError as error:  # a terminal is worth more than this
        LOG.error("session %s: its programs can ask for nothing: %s", session.id, error)
        return None


def environment(session: str) -> dict[str, str]:
    """Return what programs of a terminal are told of it, and where they find what is at hand.

    Login shells make a PATH of their own; bash takes the addition up at its first prompt.
    """
    found = shlex.quote(str(AT_HAND))
    return {
        "OUTRIDER_SESSION": session,
        "OUTRIDER_EDIT": str(AT_HAND / "outrider-edit"),
        "OUTRIDER_PYTHON": sys.executable,
        "PATH": f"{ENVIRONMENT['PATH']}:{AT_HAND}",
        "PROMPT_COMMAND": f'case ":$PATH:" in *:{found}:*) ;; *) PATH=$PATH:{found} ;; esac',
    }
