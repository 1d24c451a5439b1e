"""How an agent comes in: enrolment by join token over HTTP, and the link over a WebSocket after mutual proof.

- Nobody is believed before his proof. Strangers can hold only ``MAX_UNPROVED`` connections, each for seconds, and a
  refusal of theirs is on record only so often. Where there are more, the oldest of the address with most of them makes
  way: an agent proves itself in two round trips, so that strangers keep none out, whether they hold theirs or flood.
- An agent has one link. A second connection with its key is refused while the first one answers; a first one that no
  longer answers is ended before the second is welcome, so that two never feed one ledger.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from contextlib import suppress
from typing import Any

import structlog
from sqlalchemy import Connection, select, update
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from protocol.enrolment import EnrolmentRequest
from protocol.errors import (
    DOORS,
    ArgumentError,
    DeadlineError,
    OutriderError,
    ProtocolError,
    TooLargeError,
    TrustError,
    UnauthenticatedError,
    UnavailableError,
)
from protocol.handshake import NONCE_BYTES, Proved, ServerHandshake
from protocol.limits import MAX_HANDSHAKE_BYTES
from protocol.link import Link, Role
from server import clock, limits, refusals
from server.core import Core
from server.endpoint.ahead import Held
from server.endpoint.session import AgentSession
from server.services import access_grants, agents, askers, awaited, bundles, consents, desired, runs, scripts
from server.services import secrets as secret_service
from server.store.tables import agents as table
from server.strangers import place_of

LOG = structlog.get_logger()
MAX_ENROLMENT_BYTES = 64 << 10  # the request has under 10 KiB with 64 labels


async def enroll(request: Request) -> Response:
    """Enrol an agent; the answer is signed with the key that its token names."""
    core: Core = request.app.state.core
    asked: EnrolmentRequest | None = None
    try:
        asked = EnrolmentRequest.from_wire(await _json(request))
        joining = asked
        answer = await core.database.write(lambda connection: agents.enrol(core, connection, joining))
    except OutriderError as error:
        about = {} if asked is None else {"invite": asked.token_id, "hostname": asked.hostname, "name": asked.name}
        await refusals.record(core, error, call="agent.enroll", principal=None, about=about)
        raise
    return JSONResponse(answer, 201)


async def _json(request: Request) -> Any:
    body = b""
    try:
        async with asyncio.timeout(limits.HANDSHAKE_TIMEOUT_S):
            async for part in request.stream():
                body += part
                if len(body) > MAX_ENROLMENT_BYTES:
                    raise TooLargeError(f"an enrolment has at most {MAX_ENROLMENT_BYTES} bytes")
    except TimeoutError:
        raise DeadlineError(f"the enrolment did not come in {limits.HANDSHAKE_TIMEOUT_S:g} s") from None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise ArgumentError("the enrolment is not JSON") from None


# the link ------------------------------------------------------------------------------------------------------------


async def link(socket: WebSocket) -> None:
    """Serve one connection of an agent from its first frame to its end."""
    core: Core = socket.app.state.core
    if core.is_ending.is_set():
        await socket.close(DOORS["unavailable"].close_code)
        return
    await socket.accept()
    handshake = ServerHandshake(core.key, _lookup(core), secrets.token_bytes(NONCE_BYTES))
    try:
        proved = await _prove(core, socket, handshake)
    except OutriderError as error:
        await _refuse(core, socket, handshake, error)
        return
    except (WebSocketDisconnect, RuntimeError):  # the latter is starlette's word for a connection that is gone
        return
    await _serve(core, socket, handshake, proved.agent_id)


def _lookup(core: Core) -> Any:
    return lambda identity: core.database.read_now(lambda connection: agents.key_of(connection, identity))


async def _prove(core: Core, socket: WebSocket, handshake: ServerHandshake) -> Proved:
    place, most = place_of(socket.client.host if socket.client else ""), limits.MAX_UNPROVED
    async with core.unproved.hold(place, limits.HANDSHAKE_TIMEOUT_S, "no proof", most=most, most_of_one=most):
        while True:
            answer = handshake.receive(await _frame(socket))
            if isinstance(answer, Proved):
                return answer
            await socket.send_bytes(answer)


async def _frame(socket: WebSocket) -> bytes:
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code") or 1006)
    frame = message.get("bytes")
    if not isinstance(frame, bytes):
        raise ProtocolError("the agent sent a text frame")
    if len(frame) > MAX_HANDSHAKE_BYTES:
        raise TooLargeError(f"a frame of the handshake is over {MAX_HANDSHAKE_BYTES} bytes")
    return frame


async def _refuse(core: Core, socket: WebSocket, handshake: ServerHandshake, error: OutriderError) -> None:
    claimed = handshake.claimed_agent_id
    LOG.warning("an agent was refused", agent=claimed, code=error.code, why=str(error))
    told = (
        error if isinstance(error, TrustError | UnauthenticatedError | UnavailableError) else ProtocolError(str(error))
    )
    with suppress(WebSocketDisconnect, RuntimeError, OSError):  # it may have gone first
        await socket.send_bytes(handshake.refuse(told))
        await socket.close(DOORS[error.code].close_code, error.message.encode()[:120].decode("utf-8", "ignore"))
    await refusals.record(core, error, call="agent.link", principal=None, about={"agent": claimed or ""})


async def _serve(core: Core, socket: WebSocket, handshake: ServerHandshake, agent: str) -> None:
    try:
        async with core.links.lock(agent):
            session = await _begin(core, socket, handshake, agent)
    except OutriderError as error:
        await _refuse(core, socket, handshake, error)
        return
    except (WebSocketDisconnect, RuntimeError):  # as above
        return
    LOG.info("agent connected", agent=agent)
    core.metrics.agents.set(len(core.links))
    core.background(runs.settle(core, agent, session))
    core.background(desired.push(core, agent, session))
    core.background(awaited.send_all(core, agent, session))  # after it, by their turn
    core.background(access_grants.end_unfounded(core, agent))
    core.background(askers.end_abandoned(core, agent))
    try:
        await session.serve()
    finally:
        core.links.drop(agent, session)
        core.consents.drop(agent)
        core.metrics.agents.set(len(core.links))
        with suppress(UnavailableError):  # the server is ending; when it was last seen is known to the second
            core.database.submit(lambda connection: _seen(connection, agent))


async def _begin(core: Core, socket: WebSocket, handshake: ServerHandshake, agent: str) -> AgentSession:
    """Welcome the agent and put its link in the place of one that is dead.

    Raises:
        TrustError: ``duplicate_agent``: the agent is connected already, and answers there.
    """
    before = core.links.find(agent)
    if before is not None:
        if await before.is_alive(limits.DUPLICATE_PING_S):
            raise TrustError("this agent is already connected from somewhere else", reason="duplicate_agent")
        await before.close(1001, "another connection of this agent takes over")
        core.links.drop(agent, before)

    def held(connection: Connection) -> tuple[int, bytes]:
        row = connection.execute(
            select(table.c.last_sequence, table.c.last_hash).where(table.c.id == agent, table.c.removed_us.is_(None))
        ).first()
        if row is None:
            raise TrustError("this agent was removed", reason="unknown_key")
        _seen(connection, agent)
        return row.last_sequence, bytes(row.last_hash)

    # In the writer, and so after every batch of an earlier link.
    sequence, digest = await core.database.write(held)
    link = Link(Role.SERVER, next_record=sequence + 1)
    session = AgentSession(socket, agent, link, core, _handler(core), Held(sequence, digest))
    await socket.send_bytes(handshake.welcome(sequence, digest, clock.host_us()))
    core.links.put(agent, session)
    return session


def _seen(connection: Connection, agent: str) -> None:
    connection.execute(update(table).where(table.c.id == agent).values(last_seen_us=clock.now_us()))


# what agents ask -----------------------------------------------------------------------------------------------------


def _handler(core: Core) -> Any:
    async def handle(agent: str, method: str, body: dict[str, Any]) -> tuple[dict[str, Any], bytes | None]:
        if method == "bundle.get":
            await bundles.require_for(core, agent, body["digest"])
            return await core.database.read(lambda connection: _bundle(core, connection, body))
        if method == "status":
            await core.database.write(lambda connection: _status(connection, agent, body))
            return {}, None
        if method == "consent.ask":
            await consents.asked(core, agent, body)
            return {}, None
        if method == "consent.settled":
            core.consents.drop(agent, body["id"])
            return {}, None
        raise ArgumentError(f"the server does not know the request {method:.60}", parameter="method")

    return handle


def _bundle(core: Core, connection: Connection, body: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    digest, offset = body["digest"], body.get("offset") or 0
    row = scripts.by_digest(connection, digest)
    given, _ = scripts.statements(connection, digest)
    packed = core.repository.bundle(row.name, row.version, digest).pack()
    if offset > len(packed):
        raise ArgumentError(f"the bundle has {len(packed)} bytes, not {offset}", parameter="offset")
    told = {"publication": json.loads(row.publication), "approvals": [each.to_plain() for each in given]}
    return told, packed[offset:]  # the same bytes each time: a bundle is packed in one way only


def _status(connection: Connection, agent: str, body: dict[str, Any]) -> None:
    told: dict[str, Any] = {"facts": _facts(body["facts"]), "schedules_version": body["schedules_version"]}
    if body.get("sealing_key") is not None:
        told["sealing_key"] = secret_service.checked_key(connection, agent, body["sealing_key"])
    connection.execute(update(table).where(table.c.id == agent).values(**told, last_seen_us=clock.now_us()))


def _facts(told: dict[str, Any]) -> dict[str, Any]:
    """Return what an agent tells of its host, which every list of hosts shows.

    Raises:
        ArgumentError: It holds what JSON cannot hold.
        TooLargeError: It is too much.
    """
    try:
        size = len(json.dumps(told))
    except TypeError:
        raise ArgumentError("the facts hold what JSON cannot hold", parameter="facts") from None
    if size > limits.MAX_FACTS_BYTES:
        raise TooLargeError(f"the facts are {size} bytes of JSON, over the limit of {limits.MAX_FACTS_BYTES}")
    return told
