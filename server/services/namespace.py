"""The one namespace: what each name stands for now, and how people find it by words and by folders.

A name is its first publisher's. ``names`` has one row for each, about its newest version (releases before
pre-releases), which is all that listings read: neither git nor signatures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, or_, select, update

from protocol.bundle import Bundle
from protocol.errors import ArgumentError, OutriderError
from protocol.manifest import Manifest
from protocol.versions import Version
from server import clock
from server.core import Core
from server.services.visibility import Viewer, names_for
from server.store.prepared import Prepared
from server.store.tables import deprecations, names, scripts

MAX_WORDS: Final = 8  # of one search
MAX_QUERY_CHARACTERS: Final = 200
#: The names once more, for their words and their order: an index has both and nothing else, so that to look for one of
#: ten thousand reads a few pages that lie together, and the rest of a row only where the words are found.
HELD: Final = names.alias("held")

_NAME = Prepared(select(names).where(names.c.name == bindparam("of")))
_ADD = Prepared(insert(names), *names.c.keys())
_RANKED = Prepared(select(scripts).where(scripts.c.name == bindparam("of"), scripts.c.rank != ""))
_HIGHEST = Prepared(select(func.max(scripts.c.rank).label("rank")).where(scripts.c.name == bindparam("of")))


# keeping -------------------------------------------------------------------------------------------------------------


def keep(connection: Connection, bundle: Bundle, rank: str, owners: Sequence[str]) -> None:
    """Let a version that was just published stand for its name, if it is the newest."""
    manifest = bundle.manifest
    held = _NAME.first(connection, of=manifest.name)
    if held is None:
        owned = {"name": manifest.name, "owners": owner_text(owners), "owned_since_us": 0}
        _ADD.add(connection, [{**owned, **_about(manifest, bundle.digest, rank)}])
    elif rank >= held.rank:
        connection.execute(
            update(names).where(names.c.name == manifest.name).values(**_about(manifest, bundle.digest, rank))
        )


def _about(manifest: Manifest, digest: str, rank: str) -> dict[str, Any]:
    words = [manifest.name, manifest.description, *(f"#{tag}" for tag in manifest.tags)]
    return {
        "folder": manifest.name.rpartition("/")[0], "digest": digest, "rank": rank, "kind": manifest.kind,
        "visibility": manifest.visibility, "language": manifest.language, "description": manifest.description,
        "licence": manifest.licence, "tags": list(manifest.tags), "links": manifest.links,
        "search": "\n".join([*words, ""]).lower(),
    }  # fmt: skip


def owner_text(owners: Sequence[str]) -> str:
    """Return owners as ``names.owners`` holds them."""
    return "".join(f"\n{owner}\n" for owner in sorted(set(owners)))


def owners_of(row: Row[Any]) -> list[str]:
    """Return the owners in a row of ``names``."""
    return [owner for owner in row.owners.split("\n") if owner]


def find(connection: Connection, name: str) -> Any:
    """Return the row of a name; None if nobody has published it."""
    return _NAME.first(connection, of=name)


def newest_below(connection: Connection, name: str, version: Version) -> Any:
    """Return the version of a script that comes right before ``version`` by number; None if there is none."""
    found = [(Version.parse(row.version), row) for row in _RANKED.all(connection, of=name)]
    below = [(each.precedence, row) for each, row in found if each.is_before(version)]
    return max(below, key=lambda pair: pair[0])[1] if below else None


def is_newest(connection: Connection, name: str, rank: str) -> bool:
    """Tell whether a version of this rank becomes what its name stands for."""
    held = _HIGHEST.first(connection, of=name).rank
    return held is None or rank >= held


def complete(core: Core, connection: Connection) -> int:
    """Read what an older server published into the columns and rows that it did not have; return how many there were.

    What cannot be read stays private and without a rank: nobody is shown it, and no agent would run it.
    """
    rows = connection.execute(
        select(scripts).where(scripts.c.rank == "").order_by(scripts.c.published_us, scripts.c.digest)
    ).all()
    done = 0
    for row in rows:
        try:
            bundle = core.repository.bundle(row.name, row.version, row.digest)
            rank = Version.parse(row.version).rank
        except OutriderError:
            continue
        owners = [row.author]
        connection.execute(
            update(scripts).where(scripts.c.digest == row.digest)
            .values(rank=rank, visibility=bundle.manifest.visibility, owners=owners)
        )  # fmt: skip
        keep(connection, bundle, rank, owners)
        done += 1
    return done


# finding -------------------------------------------------------------------------------------------------------------


def search(viewer: Viewer, words: str, *, folder: str, is_direct: bool, kind: str | None, tag: str | None) -> Any:
    """Return the query for the names that a viewer may see and that hold every one of ``words``; order by ``HELD``.

    Args:
        viewer: Who looks.
        words: Parts of the name, of the description or of tags (``#tag``), in any order; empty for all.
        folder: Names below this one only; empty for all.
        is_direct: Names right in it only.
        kind: ``script`` or ``library``; None for both.
        tag: One that the script has.

    Raises:
        ArgumentError: Too many words.
    """
    parts = words.lower().split()
    if len(parts) > MAX_WORDS or len(words) > MAX_QUERY_CHARACTERS:
        raise ArgumentError(f"at most {MAX_WORDS} words of {MAX_QUERY_CHARACTERS} characters", parameter="q")
    query = select(names).select_from(HELD.join(names, names.c.name == HELD.c.name)).where(names_for(viewer))
    if tag is not None:
        parts.append(f"\n#{tag.lower()}\n")
    query = query.where(*(HELD.c.search.contains(part, autoescape=True) for part in parts))
    if is_direct:
        query = query.where(names.c.folder == folder)
    elif folder:
        query = query.where(names.c.name.startswith(f"{folder}/", autoescape=True))
    if kind is not None:
        query = query.where(names.c.kind == kind)
    return query


def subfolders(connection: Connection, viewer: Viewer, folder: str) -> list[dict[str, Any]]:
    """Return the folders right below ``folder`` (empty: the top) and how many scripts a viewer sees in each."""
    query = select(names.c.folder, func.count()).where(names_for(viewer)).group_by(names.c.folder)
    if folder:
        query = query.where(names.c.folder.startswith(f"{folder}/", autoescape=True))
    counts: dict[str, int] = {}
    at = len(folder) + 1 if folder else 0
    for found, count in connection.execute(query):
        path = found[:at] + found[at:].partition("/")[0]
        counts[path] = counts.get(path, 0) + count
    return [{"folder": path, "scripts": count} for path, count in sorted(counts.items())]


def view(row: Row[Any], version: Row[Any]) -> dict[str, Any]:
    """Return a name as a list shows it, with its newest version."""
    return {
        "name": row.name, "version": version.version, "digest": row.digest, "tier": version.tier, "kind": row.kind,
        "language": row.language, "description": row.description, "tags": row.tags, "licence": row.licence,
        "links": row.links, "visibility": row.visibility, "owners": owners_of(row),
        "published": clock.text(version.published_us),
    }  # fmt: skip


# deprecating ---------------------------------------------------------------------------------------------------------


_DEPRECATION = Prepared(
    select(deprecations)
    .where(
        deprecations.c.name == bindparam("of"),
        or_(deprecations.c.version == bindparam("exact"), deprecations.c.version == ""),
    )
    .order_by(deprecations.c.version.desc())  # what is said of this version alone comes before what is said of all
    .limit(1)
)


def deprecation(connection: Connection, name: str, version: str) -> dict[str, Any] | None:
    """Return why people should not use a version any more, and what instead; None if they may."""
    row = _DEPRECATION.first(connection, of=name, exact=version)
    if row is None:
        return None
    return {
        "reason": row.reason, "replacement": row.replacement or None, "by": row.principal,
        "since": clock.text(row.created_us),
    }  # fmt: skip


def warnings(connection: Connection, name: str, version: str) -> list[str]:
    """Return what to tell whoever runs or schedules a version."""
    found = deprecation(connection, name, version)
    if found is None:
        return []
    instead = f"; use {found['replacement']}" if found["replacement"] else ""
    return [f"{name} {version} is deprecated: {found['reason']}{instead}"]


def deprecate(connection: Connection, name: str, version: str, reason: str, replacement: str, principal: str) -> None:
    """Keep a deprecation in place of the one that was."""
    undeprecate(connection, name, version)
    connection.execute(
        insert(deprecations).values(
            name=name, version=version, reason=reason, replacement=replacement, principal=principal,
            created_us=clock.now_us(),
        )
    )  # fmt: skip


def undeprecate(connection: Connection, name: str, version: str) -> bool:
    """Take a deprecation back; tell whether there was one."""
    gone = connection.execute(
        delete(deprecations).where(deprecations.c.name == name, deprecations.c.version == version)
    )
    return bool(gone.rowcount)
