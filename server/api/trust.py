"""``/roster`` and ``/tokens``: who may do what."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from protocol.errors import OutriderError
from protocol.signing import Envelope, peek
from server import access
from server.api.asking import Admin, CoreOf, Reader, about
from server.api.bodies import NewToken, Statement
from server.services import roster

router = APIRouter(tags=["trust"])


@router.get("/roster")
async def show(core: CoreOf, _: Reader) -> dict[str, Any]:
    """Show the newest roster."""
    return roster.view(core)


@router.put("/roster")
async def put(request: Request, core: CoreOf, caller: Admin, body: Statement) -> dict[str, Any]:
    """Take a new roster; the first one pins the roots."""
    envelope = Envelope.from_json(body.envelope)
    try:
        about(request, version=str(peek(envelope).get("version"))[:20])
    except OutriderError:
        about(request, version="?")
    return await roster.put(core, envelope, caller.principal)


@router.get("/tokens")
async def ls(core: CoreOf, _: Admin) -> dict[str, Any]:
    """List the tokens, without what would let anybody in."""
    return {"items": await core.database.read(access.listing), "next": None}


@router.post("/tokens", status_code=201)
async def make(core: CoreOf, caller: Admin, body: NewToken) -> dict[str, Any]:
    """Make a token. It is shown once, so its answer is not kept for a repeated request."""

    def store(connection: Connection) -> dict[str, Any]:
        made = access.make(connection, body.principal, body.roles, body.ttl_s)
        core.ledger.append(
            connection, call="access.grant", principal=caller.principal,
            arguments={"id": made["id"], "principal": body.principal, "roles": body.roles},
        )  # fmt: skip
        return made

    return await core.database.write(store)


@router.delete("/tokens/{identity}", status_code=204)
async def revoke(request: Request, core: CoreOf, caller: Admin, identity: str) -> Response:
    """End a token at once."""
    about(request, id=identity)

    def store(connection: Connection) -> None:
        access.revoke(connection, identity)
        core.ledger.append(connection, call="access.revoke", principal=caller.principal, arguments={"id": identity})

    await core.database.write(store)
    core.access_changed.ring()  # who is attached by it somewhere is sent away
    return Response(status_code=204)
