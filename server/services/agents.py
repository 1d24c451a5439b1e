"""Agents: invitations, enrolment, names and labels, freezing, removal."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from sqlalchemy import BindParameter, Connection, Row, bindparam, insert, or_, select, update

from protocol.enrolment import EnrolmentRequest, make_answer, make_token, parse_token
from protocol.errors import ArgumentError, ConflictError, NotFoundError, TrustError
from protocol.ledger import GENESIS
from protocol.signing import PublicKey
from server import clock
from server.core import Core
from server.services import desired
from server.services.targets import Target
from server.store.prepared import Prepared
from server.store.tables import agents, invites

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_IDENTITY = re.compile(r"[0-9a-f]{32}")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,62}")
RESERVED = "server"  # the name of the server's own ledger


# looking -------------------------------------------------------------------------------------------------------------


def find(connection: Connection, reference: str) -> Row[Any]:
    """Return the agent of this id or name.

    Raises:
        NotFoundError: There is none, or it was removed.
    """
    row = connection.execute(
        select(agents).where(or_(agents.c.id == reference, agents.c.name == reference), agents.c.removed_us.is_(None))
    ).first()
    if row is None:
        raise NotFoundError(f"there is no agent {reference[:80]!r}")
    return row


def meant(connection: Connection, target: Target) -> list[Any]:
    """Return id, name, labels and last sight of the agents that ``target`` means, by name.

    Raises:
        NotFoundError: One was named and is not there.
    """
    rows = _NAMED.all(connection, reference=target.text) if target.is_exact else _PRESENT.all(connection)
    found = [row for row in rows if target.matches(row.id, row.name, row.labels)]
    if not found and target.is_exact:
        raise NotFoundError(f"there is no agent {target.text[:80]!r}")
    return found


def names_and_labels() -> Any:
    """Return the query for id, name, labels and last sight of all agents, by name."""
    return _PRESENT_ONES


_PRESENT_ONES = (
    select(agents.c.id, agents.c.name, agents.c.labels, agents.c.last_seen_us)
    .where(agents.c.removed_us.is_(None))
    .order_by(agents.c.name)
)
_PRESENT = Prepared(_PRESENT_ONES)
_REFERENCE: BindParameter[str] = bindparam("reference")
_NAMED = Prepared(_PRESENT_ONES.where(or_(agents.c.id == _REFERENCE, agents.c.name == _REFERENCE)))


def names(connection: Connection, identities: Iterable[str]) -> dict[str, str]:
    """Return the names of agents by id, of removed ones too."""
    wanted = set(identities)
    rows = connection.execute(select(agents.c.id, agents.c.name).where(agents.c.id.in_(wanted))).all()
    return {row.id: row.name for row in rows} | ({RESERVED: RESERVED} if RESERVED in wanted else {})


def view(core: Core, row: Row[Any]) -> dict[str, Any]:
    """Return an agent as the API shows it."""
    return {
        "id": row.id, "name": row.name, "hostname": row.hostname, "labels": row.labels,
        "connected": row.id in core.links,
        "last_seen": clock.text(row.last_seen_us), "created": clock.text(row.created_us), "frozen": row.frozen,
        "freeze_reason": row.freeze_reason, "facts": row.facts, "schedules_version": row.schedules_version,
        "records": row.last_sequence, "key": row.public_key,
        "sealing_key": None if row.sealing_key is None else json.loads(row.sealing_key),
    }  # fmt: skip


# joining -------------------------------------------------------------------------------------------------------------


def invite(core: Core, connection: Connection, *, name: str | None, labels: dict[str, str], ttl_s: float) -> Any:
    """Make an invitation; return its token and when it ends. The token cannot be had again."""
    if name is not None:
        check_name(name)
    check_labels(labels)
    token_id, secret = secrets.token_hex(8), secrets.token_bytes(32)
    text = make_token(token_id, secret, core.key.public.key_id)
    expires = clock.now() + timedelta(seconds=ttl_s)
    expires_us = int(expires.timestamp() * 1_000_000)
    connection.execute(
        insert(invites).values(
            id=token_id, secret_digest=parse_token(text).secret_digest, name=name, labels=labels,
            created_us=clock.now_us(), expires_us=expires_us,
        )
    )  # fmt: skip
    return {"id": token_id, "token": text, "expires": clock.text(expires_us), "name": name, "labels": labels}


def enrol(core: Core, connection: Connection, request: EnrolmentRequest) -> dict[str, Any]:
    """Enrol an agent in one step with using its token up; return the answer to send.

    Raises:
        TrustError: ``bad_token``, ``replayed_token``, ``expired``, ``bad_signature``.
        ConflictError: The name or the key is taken.
    """
    row = connection.execute(select(invites).where(invites.c.id == request.token_id)).first()
    if row is None:
        raise TrustError("the join token is not one of this server", reason="bad_token")
    request.verify(bytes(row.secret_digest))
    if row.used_us is not None:
        raise TrustError("the join token was used already; each is for one agent", reason="replayed_token")
    if row.expires_us <= clock.now_us():
        raise TrustError(f"the join token expired at {clock.text(row.expires_us)}", reason="expired")
    name = row.name or request.name or request.hostname
    check_name(name)
    _check_free(connection, name, request.key)
    identity = secrets.token_hex(16)
    now_us = clock.now_us()
    connection.execute(
        insert(agents).values(
            id=identity, name=name, public_key=request.key.to_text(), hostname=request.hostname,
            labels=request.labels | row.labels, facts={}, created_us=now_us, schedules_version=0, frozen=False,
            freeze_reason="", last_sequence=0, last_hash=GENESIS,
            approvals_through=desired.newest_approval(connection),  # a host that has nothing yet need not hear of them
        )
    )  # fmt: skip
    connection.execute(update(invites).where(invites.c.id == row.id).values(used_us=now_us, used_by=identity))
    core.ledger.append(
        connection, call="agent.enroll", principal=f"agent:{name}",
        arguments={"agent": identity, "name": name, "invite": row.id, "key": request.key.key_id},
    )  # fmt: skip
    desired.changed(connection)
    roots = roster = None
    if core.trusted is not None and core.trusted.envelope is not None:
        current = core.roster
        roots = {"threshold": current.root_threshold, "keys": [key.to_text() for key in current.roots.values()]}
        roster = json.loads(core.trusted.envelope.to_json())
    return make_answer(request, core.key, agent_id=identity, roots=roots, roster=roster)


def _check_free(connection: Connection, name: str, key: PublicKey) -> None:
    taken = connection.execute(
        select(agents.c.name, agents.c.public_key, agents.c.removed_us).where(
            or_(agents.c.name == name, agents.c.public_key == key.to_text())
        )
    ).first()
    if taken is not None and taken.public_key == key.to_text():
        raise ConflictError("this key is enrolled already")
    if taken is not None:
        raise ConflictError(f"there is an agent called {name} already (choose another with --name)")


# changing ------------------------------------------------------------------------------------------------------------


def change(connection: Connection, reference: str, name: str | None, labels: dict[str, str] | None) -> Row[Any]:
    """Rename or relabel an agent; return it as it is now.

    Raises:
        ConflictError: The name is taken.
    """
    row = find(connection, reference)
    values: dict[str, Any] = {}
    if name is not None and name != row.name:
        check_name(name)
        if connection.execute(select(agents.c.id).where(agents.c.name == name)).first() is not None:
            raise ConflictError(f"there is an agent called {name} already")
        values["name"] = name
    if labels is not None:
        check_labels(labels)
        values["labels"] = labels
    if values:
        connection.execute(update(agents).where(agents.c.id == row.id).values(**values))
        desired.changed(connection)
    return find(connection, row.id)


def freeze(connection: Connection, reference: str, frozen: bool, reason: str) -> Row[Any]:
    """Stop an agent from beginning anything, or let it go on."""
    row = find(connection, reference)
    connection.execute(update(agents).where(agents.c.id == row.id).values(frozen=frozen, freeze_reason=reason))
    return find(connection, row.id)


def remove(connection: Connection, reference: str) -> Row[Any]:
    """Let an agent in no more. Its records stay, and its name and key are free for nobody else's records."""
    row = find(connection, reference)
    gone = f"{row.name}~{row.id[:8]}"
    connection.execute(update(agents).where(agents.c.id == row.id).values(removed_us=clock.now_us(), name=gone))
    desired.changed(connection)
    return row


def key_of(connection: Connection, identity: str) -> PublicKey | None:
    """Return the enrolled key of an agent that may connect."""
    text = connection.execute(
        select(agents.c.public_key).where(agents.c.id == identity, agents.c.removed_us.is_(None))
    ).scalar()
    return None if text is None else PublicKey.from_text(text)


def check_name(name: str) -> None:
    """Return if an agent can be called so.

    Raises:
        ArgumentError: It cannot.
    """
    if not _NAME.fullmatch(name) or name == RESERVED:
        raise ArgumentError(
            f"{name[:70]!r} is no name for an agent (1 to 63 letters, digits, - _ ., and not {RESERVED})",
            parameter="name",
        )
    if _IDENTITY.fullmatch(name):  # who asks for an agent by its id must not get another
        raise ArgumentError(f"{name!r} has the form of an agent's id, which is no name", parameter="name")


def check_labels(labels: dict[str, str]) -> None:
    """Return if these can be labels.

    Raises:
        ArgumentError: They cannot.
    """
    for key, value in labels.items():
        if len(labels) > 64 or not _LABEL.fullmatch(key) or not _LABEL.fullmatch(value):
            raise ArgumentError(f"{key[:70]}={value[:70]} is not a label (example: env=prod)", parameter="labels")
