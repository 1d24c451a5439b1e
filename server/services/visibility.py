"""Who may read which script on the server.

- A manifest says it, and its author signs that with everything else: ``account`` (everybody with a token), ``public``
  (the same; and whoever comes without a token where the server's configuration allows it) or ``private``.
- What is private is read by its owners, by who published it, by reviewers and by administrators. To everybody else it
  is not there: asking for it gives the same answer as asking for nothing.
- Each version has its own: what was private stays so when a later version is not.
- It is about reading on the server; agents get what they run. What ran where is in runs and records, which leave the
  names out (:mod:`server.services.discretion`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, func, or_, select, true

from server.access import ADMIN, REVIEW, ROLES, Caller
from server.store.tables import names, scripts

PRIVATE: Final = "private"
ACCOUNT: Final = "account"
PUBLIC: Final = "public"


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks."""

    principal: str  # empty for a stranger without a token
    sees_all: bool = False
    is_stranger: bool = False

    @classmethod
    def of(cls, caller: Caller) -> Viewer:
        """Return the viewer that a caller is."""
        given = {permission for role in caller.roles for permission in ROLES.get(role, ())}
        return cls(caller.principal, bool(given & {REVIEW, ADMIN}))


EVERYTHING: Final = Viewer("", sees_all=True)  # the server itself
STRANGER: Final = Viewer("", is_stranger=True)


def may_see(connection: Connection, viewer: Viewer, row: Any) -> bool:
    """Tell whether a viewer may read a version, given its row of ``scripts``; as :func:`versions_for`."""
    if viewer.sees_all or row.visibility == PUBLIC or (row.visibility == ACCOUNT and not viewer.is_stranger):
        return True
    if viewer.is_stranger:
        return False
    if viewer.principal in (row.published_by, row.author):
        return True
    owns = select(names.c.name).where(names.c.name == row.name, _owns(viewer.principal))
    return connection.execute(owns).first() is not None


def versions_for(viewer: Viewer) -> ColumnElement[bool]:
    """Return the condition on ``scripts`` for what a viewer may read."""
    if viewer.sees_all:
        return true()
    if viewer.is_stranger:
        return scripts.c.visibility == PUBLIC
    owned = select(names.c.name).where(_owns(viewer.principal))
    return or_(
        scripts.c.visibility.in_((ACCOUNT, PUBLIC)), scripts.c.published_by == viewer.principal,
        scripts.c.author == viewer.principal, scripts.c.name.in_(owned),
    )  # fmt: skip


def names_for(viewer: Viewer) -> ColumnElement[bool]:
    """Return the condition on ``names``, which tell of the newest version of each script."""
    if viewer.sees_all:
        return true()
    if viewer.is_stranger:
        return names.c.visibility == PUBLIC
    mine = select(scripts.c.digest).where(
        or_(scripts.c.published_by == viewer.principal, scripts.c.author == viewer.principal)
    )
    return or_(names.c.visibility.in_((ACCOUNT, PUBLIC)), _owns(viewer.principal), names.c.digest.in_(mine))


def _owns(principal: str) -> Any:
    # By bytes: LIKE takes "Ann" for "ann", who is somebody else.
    return func.instr(names.c.owners, f"\n{principal}\n") > 0
