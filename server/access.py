"""Who may do what through the HTTP API: bearer tokens and their roles.

- A token is ``ort_`` and 43 characters of 32 random bytes; only its SHA-256 is kept. It carries the name of a principal
  and roles, and it ends.
- Roles say which doors of the API open; groups (``@helpdesk``) are only there for grants to name. Neither makes a
  script run: for that agents ask for signatures.
- No token, or one that is unknown, expired or revoked: refused alike, so that nobody learns which.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from protocol.errors import ArgumentError, DeniedError, NotFoundError, UnauthenticatedError
from server import clock
from server.store.prepared import Prepared
from server.store.tables import tokens

PREFIX = "ort_"
_GROUP = re.compile(r"@[a-z0-9][a-z0-9_-]{0,39}")
READ, RECORDS, RUN, SCHEDULE, SESSION, WATCH, MODERATE, PUBLISH, REVIEW, APPROVE, AUDIT, ADMIN = (
    "read", "records", "run", "schedule", "session", "watch", "moderate", "publish", "review", "approve", "audit",
    "admin",
)  # fmt: skip
_BY_HASH = Prepared(select(tokens).where(tokens.c.hash == bindparam("given")))
ROLES: dict[str, frozenset[str]] = {
    "viewer": frozenset({READ}),
    "auditor": frozenset({READ, RECORDS, WATCH, AUDIT}),  # reads names of private scripts in records, not the scripts
    "operator": frozenset({READ, RECORDS, RUN, SCHEDULE, SESSION, WATCH}),
    "support": frozenset({READ, RECORDS, SESSION, WATCH}),
    "moderator": frozenset({READ, RECORDS, WATCH, MODERATE}),
    "author": frozenset({READ, RECORDS, PUBLISH}),
    "reviewer": frozenset({READ, RECORDS, REVIEW}),
    "approver": frozenset({READ, RECORDS, APPROVE}),  # says whether others may open sessions
    "admin": frozenset(
        {READ, RECORDS, RUN, SCHEDULE, SESSION, WATCH, MODERATE, PUBLISH, REVIEW, APPROVE, AUDIT, ADMIN}
    ),
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a request comes from."""

    token_id: str
    principal: str
    roles: tuple[str, ...]
    expires_us: int
    groups: tuple[str, ...] = ()  # such as @helpdesk: they open no door by themselves, grants name them

    def may(self, permission: str) -> bool:
        """Tell whether one of the roles gives ``permission``."""
        return any(permission in ROLES[role] for role in self.roles)

    def left_s(self, most_s: float) -> float:
        """Return for how long to wait before the token is looked at again: until it ends, at most ``most_s`` seconds.

        The end is waited for exactly: what goes on by a token ends with it, and nothing else tells of that moment.
        """
        return clock.until_s(self.expires_us, most_s)

    def require(self, *permissions: str) -> None:
        """Return if one of the roles gives one of ``permissions``.

        Raises:
            DeniedError: None does; says which would.
        """
        if not any(map(self.may, permissions)):
            able = ", ".join(role for role, gives in ROLES.items() if gives.intersection(permissions))
            raise DeniedError(
                f"{self.principal} has the roles {', '.join(self.roles) or 'none'}; this needs one of: {able}",
                rule=f"role {' or '.join(permissions)}",
            )


def make(connection: Connection, principal: str, roles: list[str], ttl_s: float) -> dict[str, Any]:
    """Make a token; return its id, text and end. The text cannot be had again.

    Raises:
        ArgumentError: A role is unknown, or the principal is empty.
    """
    unknown = sorted(role for role in set(roles) - set(ROLES) if not _GROUP.fullmatch(role))
    if unknown or not set(roles) & set(ROLES):
        told = repr(unknown[0][:100]) if unknown else "a group alone"
        raise ArgumentError(
            f"{told} is not a role (known: {', '.join(ROLES)}; and @groups beside one of them)",
            parameter="roles",
        )
    if not principal.strip() or len(principal) > 100 or not principal.isprintable():
        raise ArgumentError("a principal has 1 to 100 printable characters", parameter="principal")
    text = PREFIX + base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    identity = secrets.token_hex(6)
    created_us = clock.now_us()
    expires_us = created_us + int(ttl_s * 1_000_000)
    connection.execute(
        insert(tokens).values(
            id=identity, hash=_hash(text), principal=principal, roles=sorted(set(roles)), created_us=created_us,
            expires_us=expires_us,
        )
    )  # fmt: skip
    return {"id": identity, "token": text, "principal": principal, "roles": roles, "expires": clock.text(expires_us)}


def find(connection: Connection, text: str) -> Caller:
    """Return who holds the token ``text``.

    Raises:
        UnauthenticatedError: Nobody does, now.
    """
    row = None
    if text.startswith(PREFIX) and len(text) < 100:
        row = _BY_HASH.first(connection, given=_hash(text))
    if row is None or row.revoked_us is not None or row.expires_us <= clock.now_us():
        raise UnauthenticatedError("the token is not valid here, or not any more")
    roles = tuple(role for role in row.roles if role in ROLES)
    return Caller(row.id, row.principal, roles, row.expires_us, tuple(set(row.roles) - set(roles)))


def check_still(connection: Connection, caller: Caller) -> None:
    """Return if the token that ``caller`` came with is still good, for what goes on longer than one request.

    Raises:
        UnauthenticatedError: It has ended or was revoked.
    """
    row = connection.execute(select(tokens).where(tokens.c.id == caller.token_id)).first()
    if row is None or row.revoked_us is not None or row.expires_us <= clock.now_us():
        raise UnauthenticatedError("the token is not valid any more")


def listing(connection: Connection) -> list[dict[str, Any]]:
    """Return all tokens, without what would let anybody in."""
    return [
        {
            "id": row.id, "principal": row.principal, "roles": row.roles, "created": clock.text(row.created_us),
            "expires": clock.text(row.expires_us), "revoked": clock.text(row.revoked_us),
        }
        for row in connection.execute(select(tokens).order_by(tokens.c.created_us))
    ]  # fmt: skip


def revoke(connection: Connection, identity: str) -> None:
    """End a token at once.

    Raises:
        NotFoundError: There is none of this id.
    """
    changed = connection.execute(
        update(tokens).where(tokens.c.id == identity, tokens.c.revoked_us.is_(None)).values(revoked_us=clock.now_us())
    )
    if not changed.rowcount:
        raise NotFoundError(f"there is no token {identity}")


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
