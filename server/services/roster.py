"""The roster that the server holds: the first one pins its roots, each later one must follow from the one before."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, insert, select

from protocol.errors import NotFoundError, TrustError
from protocol.roster import TrustedRoster, parse
from protocol.signing import Envelope, peek
from server import clock
from server.core import Core
from server.services import desired
from server.store.tables import rosters


def resume(connection: Connection) -> TrustedRoster | None:
    """Return the newest roster that was stored, None before the first."""
    text = connection.execute(select(rosters.c.envelope).order_by(rosters.c.version.desc()).limit(1)).scalar()
    return None if text is None else TrustedRoster.resume(Envelope.from_json(text), clock.now())


def view(core: Core) -> dict[str, Any]:
    """Return version and envelope of the newest roster.

    Raises:
        NotFoundError: There is none yet.
    """
    if core.trusted is None or core.trusted.envelope is None:
        raise NotFoundError("the server has no roster yet (outrider roster sign, then outrider roster push)")
    return {"version": core.roster.version, "envelope": json.loads(core.trusted.envelope.to_json())}


async def put(core: Core, envelope: Envelope, principal: str) -> dict[str, Any]:
    """Take ``envelope`` as the newest roster and send it to all agents.

    Raises:
        TrustError: It does not follow from the one that is held, or has expired.
        ArgumentError: It is no roster.
    """
    async with core.roster_lock:
        trusted = _successor(core, envelope)
        roster = trusted.current
        if roster is None:
            raise NotFoundError("the roster was not taken")

        def store(connection: Connection) -> None:
            held = connection.execute(select(rosters.c.version).where(rosters.c.version == roster.version)).first()
            if held is None:
                values = {"version": roster.version, "envelope": envelope.to_json(), "stored_us": clock.now_us()}
                connection.execute(insert(rosters).values(values))
                core.ledger.append(
                    connection, call="roster.put", principal=principal, arguments={"version": roster.version}
                )

        await core.database.write(store)
        core.trusted = trusted
        core.roster_changed.ring()
    desired.push_all(core)
    return view(core)


def _successor(core: Core, envelope: Envelope) -> TrustedRoster:
    """Return a trusted roster with ``envelope`` as the newest; what is held now stays as it is."""
    if core.trusted is not None and core.trusted.envelope is not None:
        trusted = TrustedRoster.resume(core.trusted.envelope, clock.now())
    else:
        claimed = parse(peek(envelope))  # nothing is pinned yet: an administrator's first roster is its own pin
        trusted = TrustedRoster(claimed.roots, claimed.root_threshold)
    roster = trusted.update(envelope, clock.now())
    if roster.is_expired(clock.now()):  # hosts take one as a step to the next; nobody hands it in anew
        raise TrustError(f"roster version {roster.version} expired at {roster.expires:%F %T} UTC", reason="expired")
    return trusted
