"""Blobs: bytes that agents and people put here, found by their SHA-256, kept for a time.

- A blob that is put twice is one file with two sources. Each source has its bound, and all of them together one.
- What is put or fetched is kept for ``keep`` from then on; what nobody asks for goes. An administrator removes any
  blob, everybody else what only they have put.
- Whoever knows a hash may have the content: of agents every one, of people those whose role reads records.
- Who put, fetched and removed what is on record.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update

from protocol.errors import ConflictError, DeniedError, NotFoundError, TooLargeError, UnavailableError
from protocol.limits import MAX_BLOB_NAME_CHARACTERS
from protocol.transfer import Header
from server import clock, limits
from server.access import ADMIN, ROLES, Caller
from server.blobs import Arrival
from server.core import Core
from server.store.tables import agents, blob_sources, blobs

LOG = structlog.get_logger()
AGENT, PERSON = "agent:", "person:"


@dataclass(frozen=True, slots=True)
class Offer:
    """A blob that somebody wants to put here."""

    source: str  # AGENT or PERSON, and who
    hash: str
    size: int
    name: str = ""  # what people call it
    script: str = ""
    run: str = ""


def is_held(connection: Connection, blob: str) -> bool:
    """Tell whether the blob is here."""
    return connection.execute(select(blobs.c.hash).where(blobs.c.hash == blob)).first() is not None


def find(connection: Connection, blob: str) -> Row[Any]:
    """Return the row of a blob.

    Raises:
        NotFoundError: There is none.
    """
    row = connection.execute(select(blobs).where(blobs.c.hash == blob)).first()
    if row is None:
        raise NotFoundError(f"there is no blob {blob}")
    return row


async def arrived(core: Core, source: str, blob: str, size: int) -> int:
    """Return how many bytes of a blob of ``size`` are here from a source; all of them if it is kept."""
    row = await core.database.read(lambda connection: connection.execute(_of(blob)).first())
    if row is not None and row.size == size:
        return size
    return await asyncio.to_thread(core.blobs.arrived, source, blob, size)


async def is_whole(core: Core, offer: Offer) -> bool:
    """Tell whether a blob is kept here, and as large as its source says."""
    row = await core.database.read(lambda connection: connection.execute(_of(offer.hash)).first())
    return row is not None and row.size == offer.size


def _of(blob: str) -> Select[Any]:
    return select(blobs).where(blobs.c.hash == blob)


async def reserve(core: Core, offer: Offer) -> None:
    """Return once there is room for a blob, which stays reserved until :func:`release`.

    Raises:
        TooLargeError: It is larger than one may be, or its source or all together would have more than they may.
        ConflictError: It is on its way from there already.
    """
    bounds, reserved = core.config.blob_limits, core.blobs_reserved
    if offer.size > bounds.max_bytes:
        raise TooLargeError(f"a blob has at most {bounds.max_bytes} bytes here, not {offer.size}")
    key = (offer.source, offer.hash)
    if key in reserved:
        raise ConflictError(f"{offer.hash} is on its way from there already")
    under_way = sum(reserved.values())
    of_source = sum(size for (source, _), size in reserved.items() if source == offer.source)
    reserved[key] = offer.size
    try:
        # In the writer, after whatever was kept before; what was kept meanwhile may be counted twice, never less.
        await core.database.write(
            lambda connection: _check_room(core, connection, offer, under_way + offer.size, of_source + offer.size)
        )
    except BaseException:
        release(core, offer)
        raise


def release(core: Core, offer: Offer) -> None:
    """Give back what :func:`reserve` has reserved. Idempotent."""
    core.blobs_reserved.pop((offer.source, offer.hash), None)


def _check_room(core: Core, connection: Connection, offer: Offer, wanted: int, wanted_by_source: int) -> None:
    bounds = core.config.blob_limits
    total = int(connection.execute(select(func.coalesce(func.sum(blobs.c.size), 0))).scalar() or 0)
    if total + wanted > bounds.total_bytes:
        raise TooLargeError(f"the server keeps at most {bounds.total_bytes} bytes of blobs, and has {total}")
    held = select(func.coalesce(func.sum(blobs.c.size), 0)).join(blob_sources, blob_sources.c.hash == blobs.c.hash)
    mine = int(connection.execute(held.where(blob_sources.c.source == offer.source)).scalar() or 0)
    if mine + wanted_by_source > bounds.per_source_bytes:
        raise TooLargeError(f"blobs of one source have at most {bounds.per_source_bytes} bytes here; it has {mine}")


@asynccontextmanager
async def arriving(core: Core, source: str, header: Header) -> AsyncIterator[Arrival]:
    """Yield a blob on its way in; what has arrived stays if it breaks off. :func:`keep` it inside."""
    arrival = await asyncio.to_thread(core.blobs.begin, source, header)
    try:
        yield arrival
    finally:
        arrival.pause()


async def keep(core: Core, offer: Offer, arrival: Arrival | None) -> dict[str, Any]:
    """Keep a blob of which all has arrived, or which is here anyway (``arrival`` is None), as put by its source.

    Raises:
        ProtocolError: Bytes are missing.
        TrustError: It is not what it should be.
        NotFoundError: It was here and has just gone; begin again.
        UnavailableError: The disk refuses.
    """
    async with core.blobs_moving:  # or a look for what nobody keeps could take it away between its place and its row
        if arrival is not None:
            await asyncio.to_thread(arrival.complete)

        def store(connection: Connection) -> dict[str, Any]:
            now_us = clock.now_us()
            expires_us = now_us + int(core.config.blob_limits.keep_s * 1_000_000)
            if is_held(connection, offer.hash):
                connection.execute(update(blobs).where(blobs.c.hash == offer.hash).values(expires_us=expires_us))
            elif arrival is None:
                raise NotFoundError(f"there is no blob {offer.hash} any more")
            else:
                values = {"hash": offer.hash, "size": offer.size, "created_us": now_us, "expires_us": expires_us}
                connection.execute(insert(blobs).values(**values))
            mine = (blob_sources.c.hash == offer.hash, blob_sources.c.source == offer.source)
            connection.execute(delete(blob_sources).where(*mine))
            connection.execute(
                insert(blob_sources).values(
                    hash=offer.hash, source=offer.source, name=offer.name[:MAX_BLOB_NAME_CHARACTERS],
                    script=offer.script, run=offer.run, created_us=now_us,
                )
            )  # fmt: skip
            core.ledger.append(
                connection, call="blob.put", principal=offer.source, run=offer.run,
                arguments={"hash": offer.hash, "size": offer.size, "name": offer.name, "script": offer.script},
            )  # fmt: skip
            return view(connection, offer.hash)

        return await core.database.write(store)


def fetched(core: Core, connection: Connection, blob: str, principal: str) -> int:
    """Note that somebody fetches a blob, which keeps it longer; return its size. A command for the writer.

    Raises:
        NotFoundError: There is none.
    """
    row = find(connection, blob)
    expires_us = max(row.expires_us, clock.now_us() + int(core.config.blob_limits.keep_s * 1_000_000))
    connection.execute(update(blobs).where(blobs.c.hash == blob).values(expires_us=expires_us))
    core.ledger.append(connection, call="blob.get", principal=principal, arguments={"hash": blob})
    return int(row.size)


async def remove(core: Core, blob: str, caller: Caller) -> None:
    """Take a blob away.

    Raises:
        NotFoundError: There is none.
        DeniedError: Somebody else has put it too, and the caller is no administrator.
    """

    def store(connection: Connection) -> None:
        find(connection, blob)
        sources = set(connection.execute(select(blob_sources.c.source).where(blob_sources.c.hash == blob)).scalars())
        is_admin = any(ADMIN in ROLES[role] for role in caller.roles)
        if not is_admin and sources != {PERSON + caller.principal}:
            raise DeniedError("only an administrator removes what others have put here", rule="blobs of others")
        core.ledger.append(connection, call="blob.remove", principal=caller.principal, arguments={"hash": blob})
        _forget(connection, blob)

    async with core.blobs_moving:
        await core.database.write(store)
        await asyncio.to_thread(core.blobs.remove, blob)


def _forget(connection: Connection, blob: str) -> None:
    connection.execute(delete(blob_sources).where(blob_sources.c.hash == blob))
    connection.execute(delete(blobs).where(blobs.c.hash == blob))


def _forget_all(connection: Connection, lost: Iterable[str]) -> None:
    for blob in lost:
        _forget(connection, blob)


def view(connection: Connection, blob: str) -> dict[str, Any]:
    """Return one blob as the API shows it.

    Raises:
        NotFoundError: There is none.
    """
    return shown(connection, find(connection, blob))


def shown(connection: Connection, row: Row[Any]) -> dict[str, Any]:
    """Return the blob of a row as the API shows it."""
    found = connection.execute(
        select(blob_sources).where(blob_sources.c.hash == row.hash).order_by(blob_sources.c.created_us)
    )
    return {
        "hash": row.hash, "size": row.size, "created": clock.text(row.created_us),
        "expires": clock.text(row.expires_us), "sources": [_source(connection, each) for each in found],
    }  # fmt: skip


def _source(connection: Connection, row: Row[Any]) -> dict[str, Any]:
    kind, _, who = row.source.partition(":")
    if kind == "agent":
        name = connection.execute(select(agents.c.name).where(agents.c.id == who)).scalar()
        who = str(name or who)
    return {
        "kind": kind, "who": who, "name": row.name, "script": row.script, "run": row.run,
        "created": clock.text(row.created_us),
    }  # fmt: skip


async def tidy(core: Core) -> int:
    """Take away what has expired, and files that nobody keeps; return how many. Rows without a file go too."""

    def expire(connection: Connection) -> set[str]:
        late = connection.execute(select(blobs.c.hash).where(blobs.c.expires_us <= clock.now_us())).scalars().all()
        for blob in late:
            core.ledger.append(connection, call="blob.expire", principal="server", arguments={"hash": blob})
            _forget(connection, blob)
        return set(connection.execute(select(blobs.c.hash)).scalars())

    async with core.blobs_moving:
        kept = await core.database.write(expire)
        gone = await asyncio.to_thread(core.blobs.sweep, kept, limits.PARTIAL_KEPT_S)
        lost = await asyncio.to_thread(lambda: [blob for blob in kept if not core.blobs.path(blob).is_file()])
        if lost:
            LOG.error("blobs are gone from the disk", blobs=lost[:10], count=len(lost))
            await core.database.write(lambda connection: _forget_all(connection, lost))
    return gone


async def tidy_up(core: Core) -> None:
    """Do :func:`tidy` at the start and now and then; work for the background."""
    while True:
        with suppress(UnavailableError):  # a full disk; the next time will do
            await tidy(core)
        await asyncio.sleep(limits.FORGET_EVERY_S)
