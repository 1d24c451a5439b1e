"""``/sessions/{id}/attach``: a terminal over a WebSocket, to watch and to type.

The token comes in the header Authorization, or, as browsers can send no header, as a subprotocol
``outrider.token.<token>`` beside ``outrider.terminal.v1``; never in the address, which logs and histories keep.

Binary messages are bytes: from here eight bytes of offset, big-endian, and output; to here what is typed. Texts are
JSON with a ``type``. The first must be ``attach``: ``role`` (owner, peer, observer, moderator), ``offset`` (up to where
the output was seen before, or null), ``size`` and, for a terminal that is not there yet, ``open`` (user, argv, term,
lang). Viewers say ``seen`` with an offset at least every 64 KiB, or they are sent no more.
"""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress
from typing import Annotated, Any, Final, Literal

import structlog
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from sqlalchemy import Connection
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from protocol.errors import (
    DOORS,
    ArgumentError,
    DeniedError,
    OutriderError,
    ProtocolError,
    TooLargeError,
    TrustError,
)
from protocol.terminal import MAX_COLS, MAX_ROWS, OUTCOMES, SIGNALS
from server import access, limits, refusals
from server.access import MODERATE, SESSION, WATCH, Caller
from server.api.asking import caller_of_socket
from server.api.problems import problem
from server.core import Core
from server.line import Line
from server.services import access_grants, live
from server.sessions import hall
from server.sessions.people import Role
from server.sessions.terminal import LiveTerminal
from server.sessions.viewers import Viewer

LOG = structlog.get_logger()
PROTOCOL: Final = "outrider.terminal.v1"
TOKEN: Final = "outrider.token."  # noqa: S105 - the beginning of the subprotocol, no token
FIRST_S: Final = 10.0  # for the first message
MAX_TEXT_CHARACTERS: Final = 64 << 10
_NEEDS: Final = {Role.OWNER: SESSION, Role.PEER: SESSION, Role.OBSERVER: WATCH, Role.MODERATOR: MODERATE}
OFFSET_BYTES: Final = 8  # before the output in each message
_GOING_AWAY: Final = 1012  # RFC 6455's registry: service restart

Cols = Annotated[int, Field(ge=1, le=MAX_COLS)]
Rows = Annotated[int, Field(ge=1, le=MAX_ROWS)]
Size = tuple[Cols, Rows]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Open(_Message):
    """What the terminal is to be, if there is none yet."""

    user: Annotated[str, Field(max_length=64)] = ""
    argv: Annotated[list[Annotated[str, Field(max_length=32 << 10)]], Field(max_length=1000)] = []
    term: Annotated[str, Field(max_length=64)] = "xterm-256color"
    lang: Annotated[str, Field(max_length=64)] = "C.UTF-8"


class Attach(_Message):
    """The first message."""

    type: Literal["attach"]
    role: Role = Role.OBSERVER
    offset: Annotated[int, Field(ge=0)] | None = None
    size: Size = (80, 24)
    open: Open | None = None


class Seen(_Message):
    """Output up to here was shown."""

    type: Literal["seen"]
    offset: Annotated[int, Field(ge=0)]


class Resize(_Message):
    """The viewer's window has this size now."""

    type: Literal["resize"]
    size: Size


class Signal(_Message):
    """Send a signal to the foreground."""

    type: Literal["signal"]
    name: Literal[SIGNALS]  # type: ignore[valid-type]  # a tuple of words, which Literal takes at run time


class Keyboard(_Message):
    """Ask for the keyboard, take it, or give it to somebody."""

    type: Literal["keyboard"]
    action: Literal["ask", "take", "give"]
    to: Annotated[str, Field(max_length=200)] = ""


class Moderate(_Message):
    """Pause everybody, or let them go on."""

    type: Literal["pause", "resume"]


class End(_Message):
    """End the session."""

    type: Literal["end"]
    reason: Annotated[str, Field(max_length=1000)] = ""


class Mark(_Message):
    """Put a marker into the recording, or say something to everybody."""

    type: Literal["mark", "say"]
    text: Annotated[str, Field(min_length=1, max_length=1000)]


class Edited(_Message):
    """What became of a file that a program asked to have edited."""

    type: Literal["edited"]
    number: Annotated[int, Field(ge=1, le=1 << 31)]
    outcome: Literal[OUTCOMES]  # type: ignore[valid-type]  # a tuple of words too


#: What ``Seen`` takes, as clients write it; all else that it takes is read by that.
_SEEN: Final = re.compile(rb'\{"type": ?"seen", ?"offset": ?(0|[1-9][0-9]{0,15})\}')

_FIRST: Final[TypeAdapter[Attach]] = TypeAdapter(Attach)
_LATER: Final[TypeAdapter[Any]] = TypeAdapter(
    Annotated[Seen | Resize | Signal | Keyboard | Moderate | End | Mark | Edited, Field(discriminator="type")]
)


async def attach(socket: WebSocket) -> None:
    """Serve one connection."""
    core: Core = socket.app.state.core
    try:
        caller = caller_of_socket(core, socket, subprotocol=TOKEN)
    except OutriderError as error:
        core.metrics.refusals.labels(error.code).inc()
        answer: Response = problem(error, "")
        await socket.send_denial_response(answer)
        return
    offered = socket.scope.get("subprotocols") or []
    await socket.accept(subprotocol=PROTOCOL if PROTOCOL in offered else None)
    identity = str(socket.path_params["identity"])[:100]
    try:
        terminal, viewer = await _join(core, socket, caller, identity)
    except OutriderError as error:
        if isinstance(error, TrustError | DeniedError):
            about = {"session": identity}
            await refusals.record(core, error, call="session.attach", principal=caller.principal, about=about)
        await _refuse(socket, error)
        return
    except (WebSocketDisconnect, RuntimeError):  # the latter is starlette's word for a connection that is gone
        return
    try:
        await _serve(core, socket, caller, terminal, viewer)
    finally:
        terminal.leave(viewer)
        _note(core, "session.leave", caller, terminal, viewer)


async def _join(core: Core, socket: WebSocket, caller: Caller, identity: str) -> tuple[LiveTerminal, Viewer]:
    first = await _first(core, socket, caller)
    caller.require(_NEEDS[first.role])
    row = await core.database.read(lambda connection: live.find(connection, identity))
    if first.role is Role.OWNER and row.principal != caller.principal:
        raise DeniedError(f"session {identity} was opened by {row.principal}", rule="session: its own principal")
    if first.role is Role.MODERATOR and row.principal == caller.principal:
        raise DeniedError("nobody moderates a session of their own", rule="session: never one's own")
    await core.database.read(lambda connection: access_grants.check(connection, row))
    opens = None
    if first.role is Role.OWNER and first.open is not None:
        opens = {**first.open.model_dump(), "cols": first.size[0], "rows": first.size[1]}
    terminal = hall.find(core, identity)
    has_access = await _has_access(core, caller, row, first.role, terminal)
    is_first = terminal is None and not (core.config.recordings / row.id).is_dir()
    if is_first and opens is None:
        raise ArgumentError("this session has no terminal yet: its owner says what to open", parameter="open")
    terminal = hall.begin(core, row, opens)
    terminal.viewers.admit(caller.principal)
    told = {"session": identity, "role": first.role.value, "host": row.agent_name}

    def store(connection: Connection) -> None:
        core.ledger.append(connection, call="session.join", principal=caller.principal, arguments=told)

    await core.database.write(store)  # before anything is shown
    # Who opens it misses nothing of what is printed meanwhile, as whoever comes later may.
    seen = 0 if is_first and first.offset is None else first.offset
    viewer = terminal.join(caller.principal, first.role, seen, has_access=has_access)
    terminal.resize(viewer, *first.size)
    return terminal, viewer


async def _has_access(core: Core, caller: Caller, row: Any, role: Role, terminal: LiveTerminal | None) -> bool:
    """Tell whether somebody's keys may reach the host; an owner's stand on the grant of the session.

    Raises:
        DeniedError: A peer's may not, and a peer comes to type.
    """
    if role in (Role.OWNER, Role.OBSERVER):
        return role is Role.OWNER
    user = "" if terminal is None else str(terminal.about.get("user") or "")
    try:
        await core.database.read(lambda connection: access_grants.check_joining(connection, caller, row, user))
    except DeniedError:
        if role is Role.PEER:
            raise
        return False
    return True


async def _guard(core: Core, caller: Caller, terminal: LiveTerminal, viewer: Viewer) -> None:
    """Send somebody away when their token or access ends: at once where this server is told, else at that moment.

    Raises:
        UnauthenticatedError: The token is not good any more.
        DeniedError: No access grant of theirs is for the session any more.
    """
    person = viewer.person
    while True:
        changed = core.access_changed.ticket()
        await core.database.read(lambda connection: access.check_still(connection, caller))
        left_s = caller.left_s(access_grants.LOOK_EVERY_S)
        if person.has_access and person.role is not Role.OWNER:  # the owner's grant ends the session itself
            row = await core.database.read(lambda connection: live.find(connection, terminal.session))
            if not await _has_access(core, caller, row, person.role, terminal):
                raise DeniedError("the access grant that let you type here is over", rule="access: over")
            left_s = min(left_s, await core.database.read(access_grants.next_end_s))
        with suppress(TimeoutError):
            async with asyncio.timeout(left_s):
                await changed.wait()


async def _first(core: Core, socket: WebSocket, caller: Caller) -> Attach:
    late, most, of_one = "the first message did not come", limits.MAX_COMING, limits.MAX_COMING_OF_ONE
    async with core.coming.hold(caller.principal, FIRST_S, late, most=most, most_of_one=of_one):
        message = await _message(socket)
    if not isinstance(message, str):
        raise ProtocolError("the first message must be attach")
    parsed: Attach = _parsed(_FIRST, message)
    return parsed


async def _serve(core: Core, socket: WebSocket, caller: Caller, terminal: LiveTerminal, viewer: Viewer) -> None:
    line = Line(socket)
    tasks = [
        asyncio.create_task(_Screen(line, terminal, viewer).show()),
        asyncio.create_task(_listen(core, line, caller, terminal, viewer)),
        asyncio.create_task(_guard(core, caller, terminal, viewer)),
    ]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        if viewer.problem is not None:
            raise viewer.problem
        with suppress(RuntimeError, WebSocketDisconnect, OSError):
            await socket.close(1000 if terminal.exit is not None else _GOING_AWAY)
    except OutriderError as error:
        await _refuse(socket, error)
    except (WebSocketDisconnect, RuntimeError, OSError):  # as above
        LOG.info("a viewer is gone", session=terminal.session, principal=caller.principal)
    finally:
        viewer.sends = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Screen:
    """Sends a viewer what there is: in the turn in which it comes, and by a task what could not go so."""

    def __init__(self, line: Line, terminal: LiveTerminal, viewer: Viewer) -> None:
        self._line = line
        self._terminal = terminal
        self._viewer = viewer
        self._output = terminal.output
        self._watching = terminal.audience.viewers[viewer.person.id]

    async def show(self) -> None:
        """Send until there is no more."""
        viewer, audience = self._viewer, self._terminal.audience
        while True:
            viewer.sends = None  # one at a time
            viewer.wake.clear()
            is_last = viewer.is_over
            ending = await self._send_texts()
            span = audience.next(viewer.person.id)
            if span is not None:
                viewer.texts.extendleft(reversed(ending))
                await self._send(*span)
                continue
            is_there = viewer.person.id in audience.viewers
            if is_last and (not is_there or self._watching.sent >= audience.stored or viewer.problem is not None):
                for message in ending:
                    await self._line.send(_text(message))
                return
            viewer.texts.extendleft(reversed(ending))
            viewer.sends = self._send_now
            await viewer.wake.wait()

    async def _send_texts(self) -> list[dict[str, Any]]:
        """Send what is to be told; return what tells of the end, the last thing they hear."""
        ending: list[dict[str, Any]] = []
        texts = self._viewer.texts
        while texts:
            message = texts.popleft()
            if message["type"] == "exit":
                ending.append(message)
            else:
                await self._line.send(_text(message))
        return ending

    async def _send(self, begin: int, end: int) -> None:
        await self._tell_skipped()
        identity, data = self._viewer.person.id, await self._output.read(begin, end)
        if not data:  # a hole: the host lost it with the link, or it is not to be read
            self._watching.skipped += end - begin
            self._terminal.audience.sent(identity, end)
            return
        await self._line.send(begin.to_bytes(OFFSET_BYTES, "big") + data)
        self._terminal.audience.sent(identity, begin + len(data))

    async def _tell_skipped(self) -> None:
        lost = self._watching.skipped - self._viewer.skipped
        if lost > 0:
            self._viewer.skipped = self._watching.skipped
            await self._line.send(json.dumps({"type": "skipped", "bytes": lost}))

    def _send_now(self) -> bool:
        """Send what may go now; return whether nothing is left. The end, and what is on disk, are the task's."""
        viewer, audience, watching = self._viewer, self._terminal.audience, self._watching
        little = audience.next_little(watching)
        if little and not viewer.texts and not viewer.is_over and watching.skipped == viewer.skipped:
            begin = watching.sent
            data = self._output.recent(begin, begin + little, begin.to_bytes(OFFSET_BYTES, "big"))
            if data is None or not self._line.offer(data):
                return False
            watching.sent = begin + little
            return True
        identity = viewer.person.id
        while not viewer.is_over:
            if viewer.texts:
                if viewer.texts[0]["type"] == "exit" or not self._line.may_send:
                    return False
                self._line.send_now(_text(viewer.texts.popleft()))
                continue
            span = audience.next(identity)
            if span is None:
                return True
            if self._watching.skipped > viewer.skipped:
                return False
            data = self._output.recent(*span, head=span[0].to_bytes(OFFSET_BYTES, "big"))
            if data is None or not self._line.offer(data):
                return False
            audience.sent(identity, span[1])
        return False


def _text(message: dict[str, Any]) -> str:
    return json.dumps(message, ensure_ascii=False)


async def _listen(core: Core, line: Line, caller: Caller, terminal: LiveTerminal, viewer: Viewer) -> None:
    refused = ""  # what they were told last of why they do not type

    def take(data: bytes) -> None:
        nonlocal refused
        try:
            if data:
                terminal.outgoing.type(viewer, data)
                refused = ""
        except TooLargeError:
            raise
        except OutriderError as error:
            viewer.taken(len(data))
            if error.message != refused:
                viewer.tell({"type": "refused", "code": error.code, "message": error.message})
            refused = error.message

    def seen(text: bytes) -> bool:
        """Take the one text that comes again and again while output is shown, in few steps."""
        match = _SEEN.fullmatch(text)
        if match is None:
            return False
        terminal.seen(viewer, int(match[1]))
        return True

    while True:
        text = await line.receive(take, seen)
        try:
            await _obey(core, caller, terminal, viewer, _parsed(_LATER, text))
        except TooLargeError:
            raise
        except OutriderError as error:
            viewer.tell({"type": "refused", "code": error.code, "message": error.message})


async def _obey(core: Core, caller: Caller, terminal: LiveTerminal, viewer: Viewer, message: Any) -> None:
    party, identity = terminal.party, viewer.person.id
    match message:
        case Seen(offset=offset):
            terminal.seen(viewer, offset)
        case Resize(size=size):
            terminal.resize(viewer, *size)
        case Signal(name=name):
            (party.check_interrupting if name == "INT" else party.check_typing)(identity)
            terminal.outgoing.command("signal", name)
        case _:
            terminal.viewers.act(caller.principal)
            await _act(core, caller, terminal, viewer, message)


async def _act(core: Core, caller: Caller, terminal: LiveTerminal, viewer: Viewer, message: Any) -> None:
    """Do what everybody is told of."""
    party, identity = terminal.party, viewer.person.id
    match message:
        case Edited(number=number, outcome=outcome):
            party.check_typing(identity)
            terminal.outgoing.command("edited", number, outcome)
            terminal.notice(f"{caller.principal}: a file that was to be edited here: {outcome}")
        case Keyboard(action="ask"):
            terminal.changed(party.ask(identity))
        case Keyboard(action="take"):
            terminal.changed(party.take(identity))
        case Keyboard(to=to):
            terminal.changed(party.give(identity, to))
        case Moderate(type="pause"):
            terminal.changed(party.pause(identity))
        case Moderate():
            terminal.changed(party.resume(identity))
        case End(reason=reason):
            person = party.check_ending(identity)
            why = f"ended by {person.principal}{f': {reason}' if reason else ''}"
            await live.close_session(core, terminal.session, why, caller.principal)
        case Mark(type="mark", text=text):
            terminal.mark(text, caller.principal)
        case Mark(text=text):
            terminal.notice(f"{caller.principal}: {text}")


def _parsed(form: TypeAdapter[Any], text: str) -> Any:
    if len(text) > MAX_TEXT_CHARACTERS:
        raise TooLargeError(f"a message has more than {MAX_TEXT_CHARACTERS} characters")
    try:
        return form.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step)[:60] for step in first["loc"])
        raise ArgumentError(f"{place or 'the message'}: {first['msg'][:200]}", parameter=place or None) from None


async def _message(socket: WebSocket) -> str | bytes:
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code") or 1006)
    data, text = message.get("bytes"), message.get("text")
    return data if isinstance(data, bytes) else str(text)


async def _refuse(socket: WebSocket, error: OutriderError) -> None:
    told = {"type": "error", "code": error.code, "message": error.message[:1000]}
    with suppress(RuntimeError, WebSocketDisconnect, OSError):  # they may have gone first
        await socket.send_text(json.dumps(told))
        await socket.close(DOORS[error.code].close_code, error.message.encode()[:120].decode("utf-8", "ignore"))


def _note(core: Core, call: str, caller: Caller, terminal: LiveTerminal, viewer: Viewer) -> None:
    told = {"session": terminal.session, "role": viewer.person.role.value}

    def store(connection: Connection) -> None:
        core.ledger.append(connection, call=call, principal=caller.principal, arguments=told)

    with suppress(OutriderError):  # the server is ending; that the connection ended with it is plain
        core.database.submit_later(store)
