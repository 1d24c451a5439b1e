"""Refusals on the server's own ledger: who was refused what, and why.

Whoever is refused could fill the disk by it: callers that proved nothing, but also whoever has a token and asks for
what they may not have a thousand times a second. So of one person's, and of all strangers' together, only some are
recorded one by one; how many were not is on record as well, some seconds later. All are counted in the metrics.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import structlog
from sqlalchemy import Connection

from protocol.errors import OutriderError
from server import limits
from server.core import Core
from server.refused import UNKNOWN

LOG = structlog.get_logger()
UNTOLD: Final = "refusals"  # what a record is about that tells how many were not recorded


async def record(
    core: Core, error: OutriderError, *, call: str, principal: str | None, about: Mapping[str, Any]
) -> None:
    """Record a refusal; returns when it is durable, or counted where there are too many.

    Args:
        core: The server.
        error: Why.
        call: What was asked for.
        principal: Who asked, None for somebody who proved nothing.
        about: What it was about, as far as it is known; believed by nobody.
    """
    core.metrics.refusals.labels(error.code).inc()
    who = principal or UNKNOWN
    if not core.refused.take(who):
        if core.refused.untold[who] == 1:  # the first since the last time that it was told
            core.background(_tell_later(core, who))
        return
    reason = getattr(error, "reason", None) or error.code

    def store(connection: Connection) -> None:
        core.ledger.append(
            connection, kind="refusal", call=call, principal=who, arguments=about,
            outcome=error.code, rule=getattr(error, "rule", ""), data={"reason": reason, "message": str(error)[:2000]},
        )  # fmt: skip

    await core.database.write(store)


async def put_by(core: Core) -> None:
    """At the end: record how many refusals were not."""
    for who in list(core.refused.untold):
        await _tell(core, who)


async def _tell_later(core: Core, who: str) -> None:
    await asyncio.sleep(limits.REFUSALS_TOLD_EVERY_S)
    await _tell(core, who)


async def _tell(core: Core, who: str) -> None:
    count = core.refused.untold.pop(who, 0)
    if not count:
        return
    message = f"{count} more refusals came too fast to be recorded one by one"

    def store(connection: Connection) -> None:
        core.ledger.append(
            connection, kind="refusal", call=UNTOLD, principal=who, outcome="rate_limited",
            data={"reason": "too_many", "message": message, "count": count},
        )  # fmt: skip

    try:
        await core.database.write(store)
    except OutriderError as error:  # a full disk: tell it another time
        LOG.error("refusals could not be counted on record", principal=who, count=count, why=str(error))
        core.refused.untold[who] = core.refused.untold.get(who, 0) + count
        if not core.is_ending.is_set():
            core.background(_tell_later(core, who))
