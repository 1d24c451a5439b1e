"""Names of private scripts, taken out of what tells of other things: runs, schedules, records, grants, secrets, blobs.

Those are about hosts, so whoever may read them reads that something ran there and what came of it. Which private script
it was is for whoever may see that script, or holds a grant for it, and for auditors, who answer for the whole record.
To all others its name is ``(private)``, wherever it stands in a text. What it gave, and its digest, stay. What people
said in its review goes: that is about its code, which is for whoever may see it.

Which names those are is remembered with the database's mark of them, which is another one after each change of scripts
and names, and is read in the same view as what is told: what became private is hidden at once. Grants are asked anew.
"""

from __future__ import annotations

import re
from typing import Any, Final

from sqlalchemy import Connection, bindparam, select

from server.access import AUDIT, Caller
from server.services import grants
from server.services.remembered import Remembered
from server.services.visibility import PRIVATE, Viewer, versions_for
from server.store.prepared import Prepared
from server.store.tables import meta, scripts

PLACEHOLDER: Final = "(private)"
AS_OF: Final = "names_as_of"  # renewed by triggers of the database
_MARK: Final = Prepared(select(meta.c.value).where(meta.c.key == bindparam("of")))
_HIDDEN: Final = Remembered(500)  # by mark and viewer; a fleet's console has some dozen
_SAID: Final = frozenset({"text", "place", "reason"})  # of records about a review
# What may be a name, and what is below it; an absolute path on a host is none.
_NAME: Final = re.compile(r"(?<![A-Za-z0-9_./-])[a-z0-9][a-z0-9_-]*(?:/[a-z0-9][a-z0-9_-]*)+(?![A-Za-z0-9_])")


class Discretion:
    """What a caller is not told.

    Args:
        names: Of scripts.
    """

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def hides(self, name: Any) -> bool:
        """Tell whether the caller may not know of a script of this name."""
        return isinstance(name, str) and name in self._names

    def told(self, value: Any) -> Any:
        """Return a plain value without the names, in its keys too; the same one where there is nothing to hide."""
        return self._told(value) if self._names else value

    def _told(self, value: Any) -> Any:
        if isinstance(value, str):
            return _NAME.sub(self._spoken, value) if "/" in value else value
        if isinstance(value, dict):
            is_said = "review" in value and self.hides(value.get("script"))
            return {
                self._told(key): PLACEHOLDER if is_said and key in _SAID and item else self._told(item)
                for key, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self._told(item) for item in value]
        return value

    def _spoken(self, match: re.Match[str]) -> str:
        parts = match[0].split("/")
        for end in range(2, len(parts) + 1):
            if "/".join(parts[:end]) in self._names:
                return "/".join([PLACEHOLDER, *parts[end:]])
        return match[0]


def towards(connection: Connection, caller: Caller) -> Discretion:
    """Return what a caller is not told, as things stand now."""
    viewer = Viewer.of(caller)
    if viewer.sees_all or caller.may(AUDIT):
        return Discretion(frozenset())
    mark = _MARK.first(connection, of=AS_OF)
    key = (None if mark is None else mark.value, viewer)
    hidden = None if mark is None else _HIDDEN.find(key)
    if hidden is None:
        hidden = _hidden_from(connection, viewer)
        _HIDDEN.keep(key, hidden)
    if not hidden:
        return Discretion(hidden)
    may_know = grants.names_granted(connection, caller)
    return Discretion(frozenset(name for name in hidden if not may_know(name)))


def _hidden_from(connection: Connection, viewer: Viewer) -> frozenset[str]:
    """Return what is not surely to be seen; a name of which one version can be seen is no secret."""
    private = _names(connection, scripts.c.visibility == PRIVATE)
    return private - _names(connection, versions_for(viewer)) if private else private


def _names(connection: Connection, condition: Any) -> frozenset[str]:
    return frozenset(connection.execute(select(scripts.c.name).where(condition).distinct()).scalars())
