"""``semver.*``: Semantic Versioning 2.0.0 (semver.org), its grammar and its order."""

from __future__ import annotations

import re
from typing import Any

from sandbox.pure.declared import Refused, bounded, pure, shown, text, whole

MAX_CHARACTERS = 256
MAX_CONDITIONS = 32

_NUMBER = r"(?:0|[1-9][0-9]*)"
_MARK = rf"(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION = re.compile(
    rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})(?:-({_MARK}(?:\.{_MARK})*))?(?:\+([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?",
    re.ASCII,
)
_SIGNS = ("<=", ">=", "<", ">", "=")

Order = tuple[Any, ...]


def _parts(parameter: str, version: str) -> tuple[str | None, ...]:
    bounded(parameter, version, MAX_CHARACTERS)
    found = _VERSION.fullmatch(version)
    if found is None:
        raise Refused(parameter, f"{shown(version)} is no semantic version, such as 1.2.3 or 1.0.0-rc.1")
    return found.groups()


@pure("semver.parse", version=text)
def parse(version: str) -> dict[str, Any]:
    """Return the parts of a version."""
    major, minor, patch, prerelease, build = _parts("version", version)
    numbers = {"major": major, "minor": minor, "patch": patch}
    return {name: whole("version", int(digits or "")) for name, digits in numbers.items()} | {
        "prerelease": prerelease or "",
        "build": build or "",
    }


@pure("semver.valid", text=text)
def valid(text: str) -> bool:
    """Tell whether ``text`` is a version."""
    return len(text) <= MAX_CHARACTERS and _VERSION.fullmatch(text) is not None


def order(parameter: str, version: str) -> Order:
    """Return what sorts as versions do (semver.org, section 11). Build metadata plays no part."""
    major, minor, patch, prerelease, _ = _parts(parameter, version)
    numbers = tuple(int(digits or "") for digits in (major, minor, patch))
    if prerelease is None:
        return (*numbers, 1)  # 11.3: a version without a pre-release is the newer one
    marks = tuple((0, int(mark), "") if mark.isdigit() else (1, 0, mark) for mark in prerelease.split("."))
    return (*numbers, 0, marks)


@pure("semver.compare", first=text, second=text)
def compare(first: str, second: str) -> int:
    """Return -1, 0 or 1, as ``first`` is older than, equal to or newer than ``second``."""
    one, other = order("first", first), order("second", second)
    return (one > other) - (one < other)


@pure("semver.satisfies", version=text, conditions=text)
def satisfies(version: str, conditions: str) -> bool:
    """Tell whether ``version`` meets all ``conditions``, such as ``>=1.2.0 <2.0.0``."""
    own = order("version", version)
    listed = bounded("conditions", conditions, MAX_CONDITIONS * MAX_CHARACTERS).split()
    if not 1 <= len(listed) <= MAX_CONDITIONS:
        raise Refused("conditions", f"must be 1 to {MAX_CONDITIONS} conditions with spaces between them")
    wanted = [(_sign(condition), condition) for condition in listed]
    # All are read before one is judged, so that a wrong one is refused whatever stands before it.
    orders = [(sign, order("conditions", condition[len(sign) :])) for sign, condition in wanted]
    return all(_holds(own, sign, other) for sign, other in orders)


def _sign(condition: str) -> str:
    return next((sign for sign in _SIGNS if condition.startswith(sign)), "")


def _holds(own: Order, sign: str, other: Order) -> bool:
    holds = {"<": own < other, "<=": own <= other, ">": own > other, ">=": own >= other}
    return holds.get(sign, own == other)
