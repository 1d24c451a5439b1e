"""Carries messages to webhooks: one attempt each, several at once, no redirects, bounded in time and answer.

The name is looked up here, every address that it has is decided on, and the connection goes to one of those: another
answer of the resolver a moment later changes nothing.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
import structlog
from sqlalchemy import Row

from policies.targets import NetTarget, TargetPattern
from protocol.errors import OutriderError, UnavailableError
from server import clock, standard_webhooks
from server.core import Core
from server.services import webhooks
from server.webhook_addresses import addresses, check_url, require_allowed

LOG = structlog.get_logger()
LOOK_EVERY_S: Final = 1.0
AT_ONCE: Final = 8
TIMEOUT_S: Final = 15.0  # for one attempt; the specification asks receivers to answer within that
MAX_ERROR_CHARACTERS: Final = 300


async def run(core: Core) -> None:
    """Carry what is due until the server ends."""
    while True:
        with suppress(UnavailableError):  # a full disk: then the attempt is not noted and comes again
            while await carry(core):
                continue
        await asyncio.sleep(LOOK_EVERY_S)


async def carry(core: Core) -> int:
    """Make one attempt for each of the messages that are due, at most ``AT_ONCE``; return how many there were."""
    rows = await core.database.read(lambda connection: webhooks.due(connection, AT_ONCE))
    await asyncio.gather(*(_attempt(core, row) for row in rows))
    return len(rows)


async def _attempt(core: Core, row: Row[Any]) -> None:
    status, error = None, None
    try:
        async with asyncio.timeout(TIMEOUT_S):
            status = await _send(row, core.config.webhook_targets)
        if not 200 <= status < 300:
            error = f"answered {status}"
    except TimeoutError:
        error = f"no answer within {TIMEOUT_S:g} s"
    except (OutriderError, OSError, httpx2.HTTPError, httpx2.InvalidURL) as failed:
        error = (str(failed) or type(failed).__name__)[:MAX_ERROR_CHARACTERS]
    if error is not None:
        LOG.info(
            "a webhook was not taken", webhook=row.webhook, message=row.message, attempt=row.attempts + 1, why=error
        )
    await core.database.write(
        lambda connection: webhooks.note(connection, row.position, row.attempts + 1, status, error)
    )


async def _send(row: Row[Any], allowed: Sequence[TargetPattern]) -> int:
    """Send a message and return the status of the answer.

    Raises:
        ArgumentError: It may not go there.
        OSError, httpx2.HTTPError: It could not.
    """
    target, is_tls = check_url(row.url, allowed)
    address = await _address(target, allowed)
    parts = urlsplit(row.url)
    body = row.body.encode()
    sent = {
        "Host": parts.netloc, "Content-Type": "application/json", "User-Agent": "outrider-webhooks/1",
        **standard_webhooks.headers(row.message, clock.host_us() // 1_000_000, body, webhooks.in_force(row)),
    }  # fmt: skip
    host = f"[{address}]" if ":" in address else address
    url = f"{parts.scheme}://{host}:{target.port}{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
    # On a thread: it reads a few hundred certificates, for which everybody's terminals would stand still.
    verify = await asyncio.to_thread(ssl.create_default_context) if is_tls else False
    # trust_env: a proxy of the environment would look names up by itself.
    async with httpx2.AsyncClient(verify=verify, trust_env=False, follow_redirects=False, timeout=TIMEOUT_S) as client:
        request = client.build_request(
            "POST", url, content=body, headers=sent, extensions={"sni_hostname": target.host}
        )
        answer = await client.send(request, stream=True)  # what it says is of no interest, so it is not read
        await answer.aclose()
    return answer.status_code


async def _address(target: NetTarget, allowed: Sequence[TargetPattern]) -> str:
    """Return an address of the target's host; every one that it has must be allowed."""
    found = await addresses(target)
    for address in found:
        require_allowed(target.at(address), allowed)
    return found[0]
