"""``/scripts`` and ``/reviews``: publishing, looking, withdrawing, reviewing."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import Connection, Row, select

from protocol.bundle import Bundle
from protocol.errors import ArgumentError, OutriderError
from protocol.limits import MAX_NAME_CHARACTERS
from protocol.signing import Envelope, peek
from server.api.asking import CoreOf, Looker, Publisher, Reader, Reviewer, about
from server.api.bodies import Deprecation, NewApproval, NewScript, Rejection, Statement
from server.api.code_pages import code_page
from server.api.pages import Cursor, Limit, Order, Page, page, slice_of
from server.api.repeats import once
from server.limits import DEFAULT_PAGE
from server.services import namespace, ownership, reviews, scripts, standing, versions
from server.services.visibility import Viewer, versions_for
from server.store.tables import reviews as review_table
from server.store.tables import scripts as table

Beginning = Annotated[str, Query(max_length=MAX_NAME_CHARACTERS)]  # of names
router = APIRouter(tags=["scripts"])
_BY_NAME = Order((table.c.name, table.c.published_us))
_NAMES = Order((namespace.HELD.c.name,))
_NEWEST_FIRST = Order((table.c.published_us, table.c.version), descending=True)
_BY_AGE = Order((review_table.c.created_us, review_table.c.id))


@router.get("/scripts")
async def ls(
    core: CoreOf, caller: Looker, limit: Limit = DEFAULT_PAGE, cursor: Cursor = None, prefix: Beginning | None = None
) -> Page:
    """List versions by name and age, of names that begin with ``prefix``."""
    query = select(table).where(versions_for(caller))
    if prefix is not None:
        query = query.where(table.c.name.startswith(prefix, autoescape=True))

    def find(connection: Connection) -> Page:
        rows, following = page(connection, query, _BY_NAME, limit, cursor)
        return Page(items=standing.listed(core, connection, rows), next=following)

    return await core.database.read(find)


@router.post("/scripts", status_code=201)
async def publish(request: Request, core: CoreOf, caller: Publisher, body: NewScript) -> Response:
    """Publish a version that its author signed; the same again changes nothing."""
    envelope = Envelope.from_json(body.publication)
    _claims(request, envelope)
    try:
        packed = base64.b64decode(body.bundle, validate=True)
    except (binascii.Error, ValueError):
        raise ArgumentError("the bundle is not base64", parameter="bundle") from None
    return await once(
        request, core, caller, lambda: scripts.publish(core, envelope, packed, caller.principal), status=201
    )


@router.get("/scripts/search")
async def search(
    core: CoreOf, caller: Looker, limit: Limit = DEFAULT_PAGE, cursor: Cursor = None, q: str = "",
    folder: Beginning = "", direct: bool = False, kind: str | None = None,
    tag: Annotated[str, Query(max_length=40)] | None = None,
) -> Page:  # fmt: skip
    """List scripts by name, each with its newest version: those that hold every word of ``q`` in name, description or
    tags; with ``direct`` right in ``folder`` and not below.
    """
    query = namespace.search(caller, q, folder=folder.strip("/"), is_direct=direct, kind=kind, tag=tag)

    def find(connection: Connection) -> Page:
        rows, following = page(connection, query, _NAMES, limit, cursor)
        return Page(items=standing.found(core, connection, rows), next=following)

    return await core.database.read(find)


@router.get("/scripts/folders")
async def folders(
    core: CoreOf, caller: Looker, limit: Limit = DEFAULT_PAGE, cursor: Cursor = None, folder: Beginning = ""
) -> Page:
    """List the folders right below ``folder``, the top if none is named, and how many scripts each holds."""
    found = await core.database.read(lambda connection: namespace.subfolders(connection, caller, folder.strip("/")))
    return slice_of(found, lambda item: str(item["folder"]), limit, cursor)


@router.get("/scripts/show")
async def show(core: CoreOf, caller: Looker, name: str, version: str | None = None) -> dict[str, Any]:
    """Show a version in full, the newest if none is named."""
    return await core.database.read(
        lambda connection: scripts.show(core, connection, scripts.find(connection, name, version, caller), caller)
    )


@router.get("/scripts/log")
async def log(core: CoreOf, caller: Looker, name: str, limit: Limit = DEFAULT_PAGE, cursor: Cursor = None) -> Page:
    """List the versions of a script, newest first, each against the one before it; at most 20 a page."""

    def find(connection: Connection) -> Page:
        scripts.find(connection, name, None, caller)
        most = min(limit, versions.MAX_LOGGED)
        rows, following = page(connection, versions.query(name, caller), _NEWEST_FIRST, most, cursor)
        return Page(items=[versions.logged(core, connection, row, caller) for row in rows], next=following)

    return await core.database.read(find)


@router.get("/scripts/diff")
async def diff(core: CoreOf, caller: Looker, name: str, before: str, after: str) -> dict[str, Any]:
    """Show what the version ``after`` of a script may do that ``before`` may not, and the other way round."""
    return await core.database.read(
        lambda connection: versions.difference(core, connection, *_two(connection, name, before, after, caller))
    )


@router.get("/scripts/diff/code")
async def diff_code(
    core: CoreOf, caller: Looker, name: str, before: str, after: str, limit: Limit = DEFAULT_PAGE, cursor: Cursor = None
) -> Page:
    """Show the code of a version against that of another, in parts of a file each.

    A page holds at most 8 parts of 64 Ki characters.
    """

    def find(connection: Connection) -> tuple[Bundle, Bundle]:
        return versions.bundles(core, *_two(connection, name, before, after, caller))

    return await code_page(core, caller, find, limit, cursor)


def _two(connection: Connection, name: str, before: str, after: str, viewer: Viewer) -> tuple[Row[Any], Row[Any]]:
    return scripts.find(connection, name, before, viewer), scripts.find(connection, name, after, viewer)


@router.post("/scripts/withdraw")
async def withdraw(request: Request, core: CoreOf, caller: Reader, body: Statement) -> Response:
    """Withdraw a version. Whether the signer may is for the signature to say, not for the token."""
    envelope = Envelope.from_json(body.envelope)
    _claims(request, envelope)
    return await once(request, core, caller, lambda: scripts.withdraw(core, envelope, caller.principal))


@router.post("/scripts/transfer")
async def transfer(request: Request, core: CoreOf, caller: Publisher, body: Statement) -> Response:
    """Hand a name over: an owner's signed statement. Who owns a name is for the signature to say, not for the token."""
    envelope = Envelope.from_json(body.envelope)
    _claims(request, envelope)
    return await once(request, core, caller, lambda: ownership.transfer(core, envelope, caller))


@router.post("/scripts/deprecate")
async def deprecate(request: Request, core: CoreOf, caller: Publisher, body: Deprecation) -> Response:
    """Say that people should not use a script, or one version of it, any more; or that they may again."""
    about(request, name=body.name, version=body.version or "")
    asked = body.model_dump()
    return await once(request, core, caller, lambda: ownership.deprecate(core, asked, caller))


@router.get("/reviews")
async def ls_reviews(
    core: CoreOf, caller: Looker, limit: Limit = DEFAULT_PAGE, cursor: Cursor = None, state: str | None = None
) -> Page:
    """List reviews, oldest first, with what each gained since the version that was approved before, and its risks."""

    def find(connection: Connection) -> Page:
        rows, following = page(connection, reviews.query(state).where(versions_for(caller)), _BY_AGE, limit, cursor)
        return Page(items=reviews.listed(core, connection, rows, caller), next=following)

    return await core.database.read(find)


@router.get("/reviews/{identity}")
async def show_review(core: CoreOf, caller: Looker, identity: str) -> dict[str, Any]:
    """Show what a version asks for, may call, and changes; its code is at ``/reviews/{identity}/code``."""
    return await core.database.read(
        lambda connection: reviews.show(core, connection, reviews.find_for(connection, identity, caller), caller)
    )


@router.get("/reviews/{identity}/code")
async def show_code(
    core: CoreOf, caller: Looker, identity: str, limit: Limit = DEFAULT_PAGE, cursor: Cursor = None
) -> Page:
    """Show the code against the version that was approved before, or whole if there is none, in parts of a file each.

    A page holds at most 8 parts of 64 Ki characters.
    """

    def find(connection: Connection) -> tuple[Bundle | None, Bundle]:
        return reviews.files(core, connection, reviews.find_for(connection, identity, caller), caller)

    return await code_page(core, caller, find, limit, cursor)


@router.post("/reviews/{identity}/approve")
async def approve(request: Request, core: CoreOf, caller: Reviewer, identity: str, body: NewApproval) -> Response:
    """Approve: the reviewer's own signed statement."""
    envelope = Envelope.from_json(body.approval)
    _claims(request, envelope)
    about(request, review=identity)
    return await once(request, core, caller, lambda: reviews.approve(core, identity, envelope, caller.principal))


@router.post("/reviews/{identity}/reject")
async def reject(request: Request, core: CoreOf, caller: Reviewer, identity: str, body: Rejection) -> Response:
    """Reject, with the reason."""
    about(request, review=identity)
    return await once(request, core, caller, lambda: reviews.reject(core, identity, body.reason, caller.principal))


def _claims(request: Request, envelope: Envelope) -> None:
    """Note what a statement claims to be about, for the record of a refusal."""
    try:
        claimed = peek(envelope)
    except OutriderError:
        return  # then the refusal itself says that it is none
    about(request, **{name: str(claimed[name])[:200] for name in ("name", "version", "digest") if name in claimed})
