"""What reading a version finds: calls, needs, risks. Made once, when it is published, and kept for its reviewers.

- A script is read together with the libraries that it pins. One that is not published here leaves open what the script
  can do, so it is told as dynamic, and nothing is kept until it is there.
- What was found by another release, or for other calls, is found anew.
- Everything that is kept is bounded: a version can be as large as a bundle, and a list shows hundreds of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, insert, select

from policies.compare import Asked, Grant
from protocol.bundle import Bundle
from protocol.errors import ArgumentError
from protocol.limits import MAX_BUNDLE_BYTES
from protocol.manifest import Manifest
from protocol.tiers import Tier
from sandbox.analysis import Analysis, Need, Pinned, Tables, analyse, from_plain, joined, risks
from server.core import Core
from server.store.prepared import Prepared
from server.store.tables import insights, scripts
from server.version import VERSION
from stdlib import tables

MAX_LIBRARIES: Final = 32  # of one script, all together; what an agent takes (agent.libraries)
MAX_PLACES: Final = 50  # of one call
MAX_TOLD: Final = 200  # of each list
MAX_TEXT: Final = 500  # characters of one item
UNKNOWN_CALLS: Final = "calls nobody can tell"
_KEPT = Prepared(select(insights).where(insights.c.digest == bindparam("of")))
_FORGET = Prepared(delete(insights).where(insights.c.digest == bindparam("of")))
_KEEP = Prepared(insert(insights), "digest", "made_by", "found")


@cache
def known_calls() -> Tables:
    """Return what analysis knows of every call there is."""
    return from_plain(tables.load())


@cache
def made_by() -> str:
    """Return what names this analysis and these calls."""
    told = json.dumps([VERSION, tables.load()], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def of(core: Core, connection: Connection, bundle: Bundle) -> dict[str, Any]:
    """Return what reading a published version finds; from what is kept, if it is."""
    held = kept(connection, bundle.digest)
    return held if held is not None else read(core, connection, bundle)[0]


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


def read(core: Core, connection: Connection, bundle: Bundle) -> tuple[dict[str, Any], Analysis]:
    """Read a version now, with its libraries; return what is kept of it, and all that was found."""
    manifest = bundle.manifest
    pinned, missing = _libraries(core, connection, bundle)
    files = joined(manifest.language, bundle.files, pinned)
    found = analyse(manifest.language, files, manifest.main, known_calls())
    return _plain(manifest, found, missing), found


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


def libraries(core: Core, connection: Connection, bundle: Bundle) -> list[Bundle]:
    """Return the bundles of the libraries that a script pins, directly or not, as far as they are here."""
    pinned, _ = _libraries(core, connection, bundle)
    return [Bundle.from_files(dict(each.files)) for each in pinned]


# libraries -----------------------------------------------------------------------------------------------------------


def _libraries(core: Core, connection: Connection, bundle: Bundle) -> tuple[list[Pinned], list[str]]:
    """Return the libraries of a script, directly pinned or not, and why some cannot be read."""
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
        if row is None or row.name != wanted.name:
            told = "is not published here" if row is None else f"has the digest of {row.name}"
            missing.append(f"{wanted.name} {wanted.digest} {told}")
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


# what is kept --------------------------------------------------------------------------------------------------------


def _plain(manifest: Manifest, found: Analysis, missing: Sequence[str]) -> dict[str, Any]:
    dynamic = [*(f"manifest.yaml: requires {told}" for told in missing), *found.dynamic]
    tier = max(Tier) if missing else found.tier
    unknown = {**found.unknown, **{".".join(names): places for names, places in found.absent.items()}}
    said = [
        {
            "code": risk.code, "short": risk.short, "means": risk.means, "calls": list(risk.calls),
            "paths": few(risk.paths),
        }
        for risk in risks(found.calls, manifest.needs or found.needs)
    ]  # fmt: skip
    if dynamic or found.syntax_errors:
        means = f"may make calls that reading cannot tell, as far as {tier.label} allows"
        said.insert(0, {"code": "dynamic", "short": UNKNOWN_CALLS, "means": means, "calls": [], "paths": []})
    return {
        "tier": tier.label,
        "calls": [
            {"call": each.name, "tier": each.tier.label, "places": few(each.places, MAX_PLACES)}
            for each in found.calls.values()
        ],
        "needs": [_need(need) for need in found.needs],
        "dynamic": few(dynamic),
        "unknown": few(f"{name} ({', '.join(few(places, 5))})" for name, places in sorted(unknown.items())),
        "wrong": few(f"{place}: {message}" for place, message in (*found.syntax_errors, *found.wrong)),
        "risks": said,
        "missing": few(missing),
    }


def _need(need: Need) -> dict[str, Any]:
    told = need.to_plain()
    for key in ("paths", "commands", "targets"):
        items = told.get(key, [])
        if len(items) > MAX_TOLD or any(len(item) > MAX_TEXT for item in items):
            told[key] = [item for item in items if len(item) <= MAX_TEXT][:MAX_TOLD]
            told["bounded"] = False  # what is left out counts as anything
        if items:
            told[key] = [encodable(item) for item in told[key]]
    return told


def few(texts: Iterable[str], most: int = MAX_TOLD) -> list[str]:
    """Return the first of ``texts``, cut, and how many more there are."""
    held = list(texts)
    shown = [encodable(text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}...") for text in held[:most]]
    return shown if len(held) <= most else [*shown, f"and {len(held) - most} more"]


def encodable(text: str) -> str:
    """Return ``text`` as an answer can hold it: a path in a script may have half a surrogate pair in it."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def refuse_syntax_errors(found: Analysis) -> None:
    """Return if the code can be read.

    Raises:
        ArgumentError: It cannot; says where and why.
    """
    if found.syntax_errors:
        place, message = found.syntax_errors[0]
        raise ArgumentError(message, where=place)
