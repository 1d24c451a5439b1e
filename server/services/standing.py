"""How versions stand, for lists: in one word, and without proving again what was proved a moment ago.

Proving fifty versions takes tens of milliseconds, and a list is looked at again and again. So a word is remembered
with what it was made from: how many statements there are about the digest, which is the newest, which roster. It is
forgotten when time alone can make it another one: an approval knows when; every other word lasts ``MAX_AGE_S``.
Words of a new roster are made beside everything else, so that nobody who looks at a list waits for them; those of a
server that begins again are the ones that it ended with. What runs is never decided from here.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, func, literal, select

from protocol.errors import OutriderError
from server import clock
from server.core import Core
from server.services import kept_words, namespace
from server.services import scripts as service
from server.services.remembered import Remembered
from server.store.prepared import Prepared
from server.store.tables import approvals, names, reviews, revocations, scripts, withdrawals

MAX_AGE_S: Final = 60.0
MAX_REMEMBERED: Final = 20_000  # words; some 500 bytes each
AHEAD: Final = 8  # names that are looked at in one go; each takes half a millisecond, in which little else is done
AHEAD_SHARE: Final = 0.1  # of a processor, at most, that looking ahead takes
_WORDS = Remembered(MAX_REMEMBERED)


def _count(table: Any) -> Any:
    return select(func.count()).where(table.c.digest == bindparam("of")).scalar_subquery()


def _newest(table: Any) -> Any:
    return select(func.max(table.c.id)).where(table.c.digest == bindparam("of")).scalar_subquery()


_NEXT = Prepared(
    select(scripts)
    .join(names, names.c.digest == scripts.c.digest)
    .where(names.c.name > bindparam("behind"))
    .order_by(names.c.name)
    .limit(AHEAD)
)
_MARKS = Prepared(
    select(
        _count(approvals).label("given"), _newest(approvals).label("newest_given"), _count(withdrawals).label("taken"),
        _newest(withdrawals).label("newest_taken"), _count(revocations).label("revoked"),
        _newest(revocations).label("newest_revoked"),
        select(reviews.c.state).where(reviews.c.digest == bindparam("of")).scalar_subquery().label("state"),
    ).select_from(select(literal(1)).subquery())
)  # fmt: skip


def word(core: Core, connection: Connection, row: Any) -> str:
    """Return how a version stands, as :func:`server.services.scripts.status`."""
    publication = hashlib.sha256(row.publication.encode()).digest()
    marks = (*_MARKS.first(connection, of=row.digest), _version(core), publication)
    key, now = (core.key.public.key_id, row.digest), clock.now()
    held = _WORDS.find(key)
    if held is not None and held[0] == marks and held[1] <= now < held[2]:
        return str(held[3])
    found, until = service.stands(core, connection, row)
    if until is None or until <= now:
        until = now + timedelta(seconds=MAX_AGE_S)
    _WORDS.keep(key, (marks, now, until, found))
    return found


def _version(core: Core) -> int:
    """Return the version of the newest roster; 0 without one."""
    return core.trusted.current.version if core.trusted is not None and core.trusted.current is not None else 0


def forget() -> None:
    """Forget all words, as the end of the process does."""
    _WORDS.clear()


async def take_up(core: Core) -> None:
    """Remember the words that were kept when the server ended, or when it had looked at all names."""
    key_id, now = core.key.public.key_id, clock.now()
    for digest, held in await asyncio.to_thread(lambda: list(kept_words.load(core))):
        if held[2] > now:
            _WORDS.keep((key_id, digest), held)


async def put_by(core: Core) -> None:
    """Keep the words that time alone does not soon change, for the next start."""
    key_id, soon = core.key.public.key_id, clock.now() + timedelta(seconds=MAX_AGE_S)

    def words() -> list[kept_words.Word]:
        return [(key[1], held) for key, held in _WORDS.all() if key[0] == key_id and held[2] > soon]

    await asyncio.to_thread(kept_words.save, core, words)


async def look_ahead(core: Core) -> None:
    """Make the words of all names' newest versions at the beginning and whenever there is a new roster. Never ends."""
    while True:
        changed, version = core.roster_changed.ticket(), _version(core)
        behind: str | None = ""
        left = MAX_REMEMBERED
        while version and behind is not None and left > 0 and not changed.is_set():
            began = time.perf_counter()
            behind = await core.database.read(partial(_look_at_some, core, behind))
            left -= AHEAD
            await asyncio.sleep((time.perf_counter() - began) * (1 / AHEAD_SHARE - 1))
        if version and not changed.is_set():
            await put_by(core)  # whatever ends the server then
        await changed.wait()


def _look_at_some(core: Core, behind: str, connection: Connection) -> str | None:
    """Make the words of some names; return the last of them, None if there are no more."""
    rows = _NEXT.all(connection, behind=behind)
    for row in rows:
        with suppress(OutriderError):  # of a row that was damaged; who looks at it is told
            word(core, connection, row)
    return rows[-1].name if rows else None


def listed(core: Core, connection: Connection, rows: Sequence[Row[Any]]) -> list[dict[str, Any]]:
    """Return versions as a list shows them."""
    return [service.brief(core, connection, row, word(core, connection, row)) for row in rows]


def found(core: Core, connection: Connection, rows: Sequence[Row[Any]]) -> list[dict[str, Any]]:
    """Return rows of ``names`` as a search shows them, each with how its newest version stands."""
    digests = [row.digest for row in rows]
    newest = {row.digest: row for row in connection.execute(select(scripts).where(scripts.c.digest.in_(digests)))}
    told = []
    for row in rows:
        version = newest[row.digest]
        about = {
            "status": word(core, connection, version),
            "deprecated": namespace.deprecation(connection, row.name, version.version),
        }
        told.append(namespace.view(row, version) | about)
    return told
