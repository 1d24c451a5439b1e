"""``/reviews``: comments, trials on hosts, taking an approval back, and the bundle for whoever tests it at home."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection, Row

from protocol.signing import Envelope
from server.api.asking import CoreOf, Looker, Reader, Reviewer, about
from server.api.bodies import NewComment, NewTrial, Statement
from server.api.repeats import Note, once, once_begun
from server.core import Core
from server.services import comments, counting, insights, reviews, runs, scripts, trials
from server.services.visibility import Viewer, may_see

router = APIRouter(tags=["scripts"])


@router.post("/reviews/{identity}/revoke")
async def revoke(request: Request, core: CoreOf, caller: Reviewer, identity: str, body: Statement) -> Response:
    """Take an approval back: the reviewer's own signed statement. Hosts refuse at their next check."""
    envelope = Envelope.from_json(body.envelope)
    about(request, review=identity)
    return await once(request, core, caller, lambda: counting.revoke(core, identity, envelope, caller.principal))


@router.post("/reviews/{identity}/comments", status_code=201)
async def comment(request: Request, core: CoreOf, caller: Reader, identity: str, body: NewComment) -> Response:
    """Say something about a version; it is shown with the review and decides nothing."""
    about(request, review=identity)
    viewer = Viewer.of(caller)
    return await once(
        request, core, caller, lambda: comments.add(core, identity, body.text, body.place, viewer), status=201
    )


@router.post("/reviews/{identity}/try", status_code=201)
async def try_out(request: Request, core: CoreOf, caller: Reviewer, identity: str, body: NewTrial) -> Response:
    """Run the version dry on hosts and wait up to ``wait_s`` for the ends; it is kept in the history of the review.

    A host takes what is not approved only if its owner lets it be tried there, and by the order that is signed.
    """
    about(request, review=identity, target=body.target)
    asked = body.model_dump()
    runs.check_sendable(body.parameters)

    async def begin(note: Note) -> dict[str, Any]:
        return await trials.start(core, identity, asked, caller, note)

    async def resume(begun: list[str]) -> dict[str, Any]:
        return {"runs": await runs.again(core, begun, body.wait_s), "warnings": []}

    return await once_begun(request, core, caller, begin, resume, status=201)


@router.get("/reviews/{identity}/bundle")
async def bundle(core: CoreOf, viewer: Looker, identity: str) -> dict[str, Any]:
    """Hand out the version's bundle and the libraries that it pins, byte by byte, with its author's publication."""
    return await _handed_out(core, viewer, lambda connection: reviews.find_for(connection, identity, viewer))


@router.get("/scripts/bundle")
async def bundle_of_script(core: CoreOf, viewer: Looker, name: str, version: str | None = None) -> dict[str, Any]:
    """Hand out a version's bundle as for a review: the one that is named, or the newest that may run.

    Whoever signs something about a version sees by it that the digest is of what they mean.
    """

    def find(connection: Connection) -> Row[Any]:
        if version is not None:
            return scripts.find(connection, name, version, viewer)
        return scripts.resolve(core, connection, name, None, viewer)[0]

    return await _handed_out(core, viewer, find)


async def _handed_out(core: Core, viewer: Viewer, find: Callable[[Connection], Row[Any]]) -> dict[str, Any]:
    def read(connection: Connection) -> dict[str, Any]:
        row = find(connection)
        found = core.repository.bundle(row.name, row.version, row.digest)
        return {
            "digest": row.digest, "publication": Envelope.from_json(row.publication).to_plain(),
            "bundle": found.pack(),
            "libraries": [
                library.pack()
                for library in insights.libraries(core, connection, found, row.author)
                if may_see(connection, viewer, scripts.by_digest(connection, library.digest))
            ],
        }  # fmt: skip

    told = await core.database.read(read)
    encoded = await asyncio.to_thread(lambda: [base64.b64encode(each).decode() for each in told["libraries"]])
    return told | {"bundle": base64.b64encode(told["bundle"]).decode(), "libraries": encoded}
