"""``/consents``: what the owners of hosts are asked, for approvers to see and, where the owner lets them, to answer."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from server.api.asking import Approver, CoreOf, RecordReader, about
from server.api.bodies import NewConsent
from server.api.pages import Cursor, Limit, Page, slice_of
from server.api.repeats import once
from server.limits import DEFAULT_PAGE
from server.services import consents
from server.services.discretion import towards

router = APIRouter(prefix="/consents", tags=["consents"])


@router.get("")
async def ls(core: CoreOf, caller: RecordReader, limit: Limit = DEFAULT_PAGE, cursor: Cursor = None) -> Page:
    """List what waits for an answer, oldest first."""
    discretion = await core.database.read(lambda connection: towards(connection, caller))  # a question names its script
    waiting = [
        discretion.told(question.view()) | {"may_answer": consents.may_answer(question, caller)}
        for question in core.consents.listing()
    ]
    return slice_of(waiting, lambda item: f"{item['asked']} {item['id']}", limit, cursor)


@router.post("/{identity}")
async def answer(request: Request, core: CoreOf, caller: Approver, identity: str, body: NewConsent) -> Response:
    """Say yes or no. A yes counts only where the host's owner lets the server's approvers say it; never one's own."""
    about(request, question=identity, granted=body.granted)

    async def made() -> dict[str, object]:
        answered = await consents.answer(core, identity, granted=body.granted, reason=body.reason, caller=caller)
        return dict(await core.database.read(lambda connection: towards(connection, caller).told(answered)))

    return await once(request, core, caller, made)
