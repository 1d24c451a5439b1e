"""``/ids``: the id that a person means by its beginning."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from protocol.identities import MAX_CHARACTERS, Kind
from server.api.asking import CoreOf, Reader
from server.services import identities

router = APIRouter(tags=["overview"])


@router.get("/ids")
async def show(
    core: CoreOf, caller: Reader, beginning: Annotated[str, Query(max_length=MAX_CHARACTERS)],
    kind: Kind,
) -> dict[str, str]:  # fmt: skip
    """Tell the one id of a kind that begins so, among what the caller may see; several, or none, are a problem."""
    return {"id": await identities.found(core, kind, beginning, caller)}
