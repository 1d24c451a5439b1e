"""Refusals on the server's own ledger: who was refused what, and why.

Callers that proved nothing could fill the disk with refusals, so of theirs only some a second are recorded; all are
counted in the metrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog
from sqlalchemy import Connection

from protocol.errors import OutriderError
from server.core import Core

LOG = structlog.get_logger()


async def record(
    core: Core, error: OutriderError, *, call: str, principal: str | None, about: Mapping[str, Any]
) -> None:
    """Record a refusal; returns when it is durable.

    Args:
        core: The server.
        error: Why.
        call: What was asked for.
        principal: Who asked, None for somebody who proved nothing.
        about: What it was about, as far as it is known; believed by nobody.
    """
    core.metrics.refusals.labels(error.code).inc()
    if principal is None and not core.strangers.take():
        return
    reason = getattr(error, "reason", None) or error.code

    def store(connection: Connection) -> None:
        core.ledger.append(
            connection, kind="refusal", call=call, principal=principal or "unknown", arguments=about,
            outcome=error.code, rule=getattr(error, "rule", ""), data={"reason": reason, "message": str(error)[:2000]},
        )  # fmt: skip

    await core.database.write(store)
