"""``/identity``: which server this is, for whoever has not signed in yet."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from protocol.identity import NONCE_PATTERN, answer
from server.api.asking import CoreOf

router = APIRouter(tags=["overview"])


@router.get("/identity")
async def identity(core: CoreOf, nonce: Annotated[str, Query(pattern=f"^{NONCE_PATTERN}$")]) -> dict[str, Any]:
    """Tell this server's key, and prove that it has it by signing the caller's nonce; needs no token."""
    return answer(nonce, core.key)
