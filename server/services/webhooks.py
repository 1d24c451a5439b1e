"""Webhooks: what happened to scripts, told to other systems.

- A message is written down in the commit of what it tells about: there is no event without its message, and none that
  tells of what did not happen. The record makes it (``OwnLedger.append``), so no place can forget to.
- Where it goes is looked at when the webhook is made and at each attempt (:mod:`server.webhook_addresses`).
- Secrets lie in the database, which only the server reads; they are told once, when they are made. What stands behind
  the host in an address (``https://hooks.example.org/services/T0/B0/...``) is a secret too: only administrators read
  it, and records, which others read, do without.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, insert, select, update

from protocol.errors import ArgumentError, ConflictError, NotFoundError
from server import clock, standard_webhooks
from server.core import Core
from server.store.tables import deliveries, webhooks
from server.webhook_addresses import check_now, without_path

#: Call of a record -> event that is told.
EVENTS: Final[Mapping[str, str]] = {
    "script.publish": "script.published", "review.approve": "review.approved", "review.reject": "review.rejected",
    "review.revoke": "review.revoked", "script.withdraw": "script.withdrawn", "script.transfer": "script.transferred",
    "script.deprecate": "script.deprecated",
}  # fmt: skip
MAX_WEBHOOKS: Final = 50
KEEP_US: Final = 30 * 86_400 * 1_000_000  # that a message is kept after it was made


# messages ------------------------------------------------------------------------------------------------------------


def enqueue(connection: Connection, call: str, arguments: Mapping[str, Any], principal: str) -> None:
    """Write down the messages about one record; part of its commit."""
    event = EVENTS.get(call)
    if event is None:
        return
    now_us = clock.now_us()
    body = json.dumps(
        {"type": event, "timestamp": clock.text(now_us), "data": {**arguments, "by": principal}},
        separators=(",", ":"), default=str,
    )  # fmt: skip
    for row in connection.execute(select(webhooks.c.id, webhooks.c.events)).all():
        if event in row.events:
            connection.execute(
                insert(deliveries).values(
                    webhook=row.id, message=f"msg_{secrets.token_hex(12)}", event=event, body=body, created_us=now_us,
                    attempts=0, next_us=now_us,
                )
            )  # fmt: skip


def due(connection: Connection, most: int) -> list[Row[Any]]:
    """Return messages whose time has come, with their webhooks, oldest first.

    So has that of one that is further ahead than twice the longest wait: it was set by a clock that was ahead, and set
    back.
    """
    now_us = clock.now_us()
    too_far_us = now_us + int(2 * max(standard_webhooks.RETRY_AFTER_S) * 1e6)
    query = (
        select(deliveries, webhooks.c.url, webhooks.c.secret, webhooks.c.secret_before, webhooks.c.rotated_us)
        .join(webhooks, webhooks.c.id == deliveries.c.webhook)
        .where((deliveries.c.next_us <= now_us) | (deliveries.c.next_us > too_far_us))
        .order_by(deliveries.c.next_us)
        .limit(most)
    )
    return list(connection.execute(query))


def in_force(row: Row[Any]) -> list[str]:
    """Return the secrets that sign a message now."""
    found = [row.secret]
    lasts_us = int(standard_webhooks.ROTATED_FOR_S * 1e6)
    if row.secret_before and row.rotated_us is not None and abs(clock.now_us() - row.rotated_us) < lasts_us:
        found.append(row.secret_before)
    return found


def note(connection: Connection, position: int, attempts: int, status: int | None, error: str | None) -> None:
    """Write down how an attempt ended; 2xx is taken, all else is tried again later."""
    is_taken = status is not None and 200 <= status < 300
    wait_s = None if is_taken else standard_webhooks.retry_after_s(attempts)
    next_us = None if wait_s is None else clock.now_us() + int(wait_s * 1e6)
    connection.execute(
        update(deliveries).where(deliveries.c.position == position)
        .values(attempts=attempts, status=status, error=error, tried_us=clock.now_us(), next_us=next_us)
    )  # fmt: skip


def forget_old(connection: Connection) -> None:
    """Forget messages that are old and wait for nothing."""
    old = deliveries.c.created_us < clock.now_us() - KEEP_US
    connection.execute(delete(deliveries).where(old, deliveries.c.next_us.is_(None)))


# keeping -------------------------------------------------------------------------------------------------------------


async def create(core: Core, asked: dict[str, Any], principal: str) -> dict[str, Any]:
    """Make a webhook and return it with its secret, which cannot be had again.

    Raises:
        ArgumentError: The address or an event is none, or every attempt to reach the address would be refused.
        ConflictError: There are too many.
    """
    await check_now(asked["url"], core.config.webhook_targets)
    events = sorted(set(asked["events"]) or set(EVENTS.values()))
    unknown = sorted(set(events) - set(EVENTS.values()))
    if unknown:
        known = ", ".join(EVENTS.values())
        raise ArgumentError(f"{unknown[0]!r:.60} is not an event (known: {known})", parameter="events")
    identity, secret = secrets.token_hex(4), standard_webhooks.new_secret()

    def store(connection: Connection) -> dict[str, Any]:
        if len(connection.execute(select(webhooks.c.id)).all()) >= MAX_WEBHOOKS:
            raise ConflictError(f"there are {MAX_WEBHOOKS} webhooks already")
        connection.execute(
            insert(webhooks).values(
                id=identity, url=asked["url"], events=events, secret=secret, principal=principal,
                created_us=clock.now_us(),
            )
        )  # fmt: skip
        core.ledger.append(
            connection, call="webhook.create", principal=principal,
            arguments={"webhook": identity, "url": without_path(asked["url"]), "events": events},
        )  # fmt: skip
        return view(find(connection, identity)) | {"secret": secret}

    return await core.database.write(store)


async def rotate(core: Core, identity: str, principal: str) -> dict[str, Any]:
    """Give a webhook another secret and return it; the one before signs as well for a day."""
    secret = standard_webhooks.new_secret()

    def store(connection: Connection) -> dict[str, Any]:
        row = find(connection, identity)
        connection.execute(
            update(webhooks).where(webhooks.c.id == identity)
            .values(secret=secret, secret_before=row.secret, rotated_us=clock.now_us())
        )  # fmt: skip
        core.ledger.append(connection, call="webhook.rotate", principal=principal, arguments={"webhook": identity})
        return view(find(connection, identity)) | {"secret": secret}

    return await core.database.write(store)


async def remove(core: Core, identity: str, principal: str) -> None:
    """Remove a webhook and its messages."""

    def store(connection: Connection) -> None:
        find(connection, identity)
        connection.execute(delete(webhooks).where(webhooks.c.id == identity))
        connection.execute(delete(deliveries).where(deliveries.c.webhook == identity))
        core.ledger.append(connection, call="webhook.remove", principal=principal, arguments={"webhook": identity})

    await core.database.write(store)


async def replay(core: Core, identity: str, message: str, principal: str) -> dict[str, Any]:
    """Send a message once more, under its own id, whatever became of it."""

    def store(connection: Connection) -> dict[str, Any]:
        is_it = (deliveries.c.webhook == identity) & (deliveries.c.message == message)
        changed = connection.execute(update(deliveries).where(is_it).values(next_us=clock.now_us(), attempts=0))
        if not changed.rowcount:
            raise NotFoundError(f"there is no message {message[:60]!r} to {identity[:40]!r}")
        core.ledger.append(
            connection, call="webhook.replay", principal=principal,
            arguments={"webhook": identity, "message": message},
        )  # fmt: skip
        return delivery_view(connection.execute(select(deliveries).where(is_it)).one())

    return await core.database.write(store)


def find(connection: Connection, identity: str) -> Row[Any]:
    """Return a webhook; NotFoundError if there is none."""
    row = connection.execute(select(webhooks).where(webhooks.c.id == identity)).first()
    if row is None:
        raise NotFoundError(f"there is no webhook {identity[:40]!r}")
    return row


def view(row: Row[Any]) -> dict[str, Any]:
    """Return a webhook as the API shows it: without its secret."""
    return {
        "id": row.id, "url": row.url, "events": row.events, "by": row.principal, "created": clock.text(row.created_us),
        "rotated": clock.text(row.rotated_us),
    }  # fmt: skip


def delivery_view(row: Row[Any]) -> dict[str, Any]:
    """Return a message as the API shows it."""
    is_taken = row.status is not None and 200 <= row.status < 300 and row.next_us is None
    return {
        "message": row.message, "webhook": row.webhook, "event": row.event, "created": clock.text(row.created_us),
        "attempts": row.attempts, "tried": clock.text(row.tried_us), "next": clock.text(row.next_us),
        "state": "taken" if is_taken else "waiting" if row.next_us is not None else "given up", "status": row.status,
        "error": row.error, "body": row.body,
    }  # fmt: skip
