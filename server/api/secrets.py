"""``/secrets``: sealed on the caller's machine for each host; no value ever comes here."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from server.api.asking import Admin, CoreOf, Reader, about
from server.api.bodies import NewSecret
from server.api.pages import Cursor, Limit, Page, slice_of
from server.api.repeats import once
from server.limits import DEFAULT_PAGE
from server.services import secrets
from server.services.discretion import towards

router = APIRouter(prefix="/secrets", tags=["secrets"])


@router.get("")
async def ls(core: CoreOf, caller: Reader, limit: Limit = DEFAULT_PAGE, cursor: Cursor = None) -> Page:
    """List secrets by name: which host has which version, and which scripts may use it."""

    def find(connection: Connection) -> Page:
        told = towards(connection, caller).told(secrets.listing(connection))
        return slice_of(told, lambda item: str(item["name"]), limit, cursor)

    return await core.database.read(find)


@router.get("/{name}/next")
async def following(core: CoreOf, _: Reader, name: str) -> dict[str, int]:
    """Tell the version that the next secret of this name must have, also of one that is not there yet."""
    return {"version": await core.database.read(lambda connection: secrets.next_version(connection, name))}


@router.post("", status_code=201)
async def put(request: Request, core: CoreOf, caller: Admin, body: NewSecret) -> Response:
    """Keep a secret that was sealed for each of its hosts, in place of older versions there."""
    about(request, secret=body.name, agents=sorted(body.sealed)[:20])
    asked = body.model_dump()
    return await once(request, core, caller, lambda: secrets.put(core, asked, caller.principal), status=201)


@router.delete("/{name}", status_code=204)
async def remove(request: Request, core: CoreOf, caller: Admin, name: str) -> Response:
    """Take a secret away from every host."""
    about(request, secret=name)
    await secrets.remove(core, name, caller.principal)
    return Response(status_code=204)
