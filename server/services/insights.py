"""What reading a version finds: calls, needs, risks. Made once, when it is published, and kept for its reviewers.

- A script is read together with the libraries that it pins. One that is not published here leaves open what the script
  can do, so it is told as dynamic, and nothing is kept until it is there.
- What was found by another release, or for other calls, is found anew.
- Everything that is kept is bounded: a version can be as large as a bundle, and a list shows hundreds of them.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, insert, select

from policies.compare import Asked, Grant
from protocol.bundle import Bundle
from protocol.errors import ArgumentError, UnavailableError
from protocol.limits import MAX_BUNDLE_BYTES
from protocol.tiers import Tier
from sandbox.analysis import Pinned
from server import reading
from server.core import Core
from server.services.remembered import Remembered
from server.services.visibility import Viewer, may_see
from server.store.prepared import Prepared
from server.store.tables import insights, scripts
from server.version import VERSION
from stdlib import tables

MAX_LIBRARIES: Final = 32  # of one script, all together; what an agent takes (agent.libraries)
MAX_AT_ONCE: Final = 2  # long scripts that are read on threads of the database: half of these
_TURNS: Final = threading.BoundedSemaphore(MAX_AT_ONCE)
_READ: Final = Remembered(32)  # some KiB each, and 8 MiB at the very worst
_KEPT = Prepared(select(insights).where(insights.c.digest == bindparam("of")))
_FORGET = Prepared(delete(insights).where(insights.c.digest == bindparam("of")))
_KEEP = Prepared(insert(insights), "digest", "made_by", "found")


@cache
def made_by() -> str:
    """Return what names this analysis and these calls."""
    told = json.dumps([VERSION, tables.load()], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def of(core: Core, connection: Connection, bundle: Bundle, author: str) -> dict[str, Any]:
    """Return what reading a version that its author has published finds; from what is kept, if it is.

    What is not is read here, on a thread that reads the database, and remembered: it depends on these files alone.

    Raises:
        UnavailableError: Others are being read; else long scripts would have all such threads, and nobody else one.
    """
    held = kept(connection, bundle.digest)
    if held is not None:
        return held
    pinned, missing = libraries_of(core, connection, bundle, author)
    key = (made_by(), bundle.digest, tuple(each.digest for each in pinned), tuple(missing))
    found: dict[str, Any] | None = _READ.find(key)
    if found is None:
        with _turn(is_short=reading.is_short(bundle, pinned)):
            found = reading.read(bundle, pinned, missing)[0]
        _READ.keep(key, found)
    return found


@contextmanager
def _turn(*, is_short: bool) -> Iterator[None]:
    """Let what is inside be read; a long script only if few are read now. UnavailableError if it cannot be now."""
    if is_short:
        yield
        return
    if not _TURNS.acquire(blocking=False):
        raise UnavailableError("others look at long scripts that must be read first; try again in a moment")
    try:
        yield
    finally:
        _TURNS.release()


def kept(connection: Connection, digest: str) -> dict[str, Any] | None:
    """Return what is kept of a version; None if there is nothing that still holds."""
    row = _KEPT.first(connection, of=digest)
    return dict(row.found) if row is not None and row.made_by == made_by() else None


def keep(connection: Connection, digest: str, found: dict[str, Any]) -> None:
    """Keep what was found, in place of what was; not if a library was missing, which may still come."""
    if found["missing"]:
        return
    _FORGET.change(connection, of=digest)
    _KEEP.add(connection, [{"digest": digest, "made_by": made_by(), "found": found}])


def refuse_syntax_error(wrong: tuple[str, str] | None) -> None:
    """Return if the code can be read.

    Raises:
        ArgumentError: It cannot; says where and why.
    """
    if wrong is not None:
        place, message = wrong
        raise ArgumentError(message, where=place)


def asked(bundle: Bundle, found: dict[str, Any]) -> Asked:
    """Return what a version asks for, as ``policies.compare`` compares it."""
    grants = (
        Grant(
            need["call"], tuple(need.get("paths", ())), tuple(need.get("commands", ())),
            tuple(need.get("targets", ())), is_literal=True, is_bounded=need["bounded"],
        )
        for need in found["needs"]
    )  # fmt: skip
    calls = (called["call"] for called in found["calls"] if called["tier"] != Tier.COMPUTE.label)
    return Asked.of(bundle.manifest, grants, calls, is_dynamic=bool(found["dynamic"]))


def libraries(core: Core, connection: Connection, bundle: Bundle, author: str) -> list[Bundle]:
    """Return the bundles of the libraries that a script pins, directly or not, as far as they are here."""
    pinned, _ = libraries_of(core, connection, bundle, author)
    return [Bundle.from_files(dict(each.files)) for each in pinned]


# libraries -----------------------------------------------------------------------------------------------------------


def libraries_of(core: Core, connection: Connection, bundle: Bundle, author: str) -> tuple[list[Pinned], list[str]]:
    """Return the libraries of a script, directly pinned or not, and why some cannot be read.

    What its author may not see is not there: what is read of it, and its name, would be told with the script.
    """
    manifest = bundle.manifest
    found: list[Pinned] = []
    missing: list[str] = []
    seen: set[str] = set()
    size_bytes = sum(map(len, bundle.files.values()))
    waiting = list(manifest.requires)
    while waiting:
        wanted = waiting.pop()
        if wanted.digest in seen:
            continue
        seen.add(wanted.digest)
        row = connection.execute(select(scripts).where(scripts.c.digest == wanted.digest)).first()
        if row is None or not may_see(connection, Viewer(author), row):
            missing.append(f"{wanted.name} {wanted.digest} is not published here")
            continue
        if row.name != wanted.name:
            missing.append(f"{wanted.name} {wanted.digest} has the digest of {row.name}")
            continue
        library = core.repository.bundle(row.name, row.version, row.digest)
        if _family(library.manifest.language) != _family(manifest.language):
            continue  # it can only be called, and then it is decided on as what it is
        size_bytes += sum(map(len, library.files.values()))
        if len(seen) > MAX_LIBRARIES or size_bytes > MAX_BUNDLE_BYTES:
            missing.append(f"more than {MAX_LIBRARIES} libraries or {MAX_BUNDLE_BYTES} bytes, which no agent runs")
            break
        found.append(Pinned(row.name, row.digest, library.manifest.main, library.files))
        waiting += library.manifest.requires
    return found, missing


def _family(language: str) -> str:
    return "lua" if language == "luajit" else language
