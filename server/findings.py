"""What reading a script's code finds, as plain data of bounded size. Pure.

It is also what the process does that reads long scripts (:mod:`server.reading_program`), so little is loaded here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from policies.reached import tier_of_paths
from protocol.bundle import Bundle
from protocol.manifest import Need as Asked
from protocol.tiers import Tier
from sandbox.analysis import Analysis, Need, Pinned, Tables, analyse, from_plain, joined, risks
from stdlib import tables

MAX_PLACES: Final = 50  # of one call
MAX_TOLD: Final = 200  # of each list
MAX_TEXT: Final = 500  # characters of one item
UNKNOWN_CALLS: Final = "calls nobody can tell"


@cache
def known_calls() -> Tables:
    """Return what analysis knows of every call there is."""
    return from_plain(tables.load())


@dataclass(frozen=True, slots=True)
class Source:
    """What is read of a script."""

    language: str
    main: str
    files: Mapping[str, bytes]
    needs: tuple[Asked, ...]  # that its manifest states

    @classmethod
    def of(cls, bundle: Bundle) -> Source:
        """Return what is read of a bundle."""
        manifest = bundle.manifest
        return cls(manifest.language, manifest.main, bundle.files, manifest.needs)


def find(
    source: Source, pinned: Sequence[Pinned], missing: Sequence[str]
) -> tuple[dict[str, Any], tuple[str, str] | None]:
    """Read a script with its libraries.

    Args:
        source: The script.
        pinned: Libraries that it pins, directly or not.
        missing: Why others cannot be read.

    Returns:
        What is kept of it, and the first syntax error: its place, and what it is.
    """
    files = joined(source.language, source.files, pinned)
    found = analyse(source.language, files, source.main, known_calls())
    return _plain(source.needs, found, missing), next(iter(found.syntax_errors), None)


def _plain(needs: tuple[Asked, ...], found: Analysis, missing: Sequence[str]) -> dict[str, Any]:
    dynamic = [*(f"manifest.yaml: requires {told}" for told in missing), *found.dynamic]
    named = [_need(need) for need in found.needs]
    reached = tier_of_paths((need["call"], need.get("paths", ())) for need in named)
    tier = max(Tier) if missing else max(found.tier, reached)
    unknown = {**found.unknown, **{".".join(names): places for names, places in found.absent.items()}}
    said = [
        {
            "code": risk.code, "short": risk.short, "means": risk.means, "calls": list(risk.calls),
            "paths": few(risk.paths),
        }
        for risk in risks(found.calls, needs or found.needs)
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
        "needs": named,
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
