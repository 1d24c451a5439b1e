"""Writing needs and tier into a ``manifest.yaml`` that a person keeps: only those lines change, comments stay. Pure.

What comes out is read again, and must say what the old text said, with the new needs and tier and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import yaml

from protocol.errors import ArgumentError
from protocol.manifest import Need, parse
from protocol.tiers import Tier

MANIFEST = "manifest.yaml"


def with_needs(text: str, needs: Sequence[Need], tier: Tier) -> str:
    """Return the text of a manifest with other needs and another tier.

    Raises:
        DocumentError: It is no manifest.
        ArgumentError: It is written in a form in which single keys cannot be replaced.
    """
    before = parse(text)
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    places = _places(text)
    block = _block(needs)
    if before.tier is not tier:
        first, after = places["tier"]
        lines[first:after] = [f"tier: {tier.label}\n"] + [""] * (after - first - 1)
    if "needs" in places:
        first, after = places["needs"]
        lines[first:after] = [block]
    else:
        _, after = places["tier"]
        lines.insert(after, block)
    made = "".join(lines)
    if parse(made) != replace(before, needs=tuple(needs), tier=tier):
        raise ArgumentError("cannot be changed in place; write the needs by hand", where=MANIFEST)
    return made


def _places(text: str) -> dict[str, tuple[int, int]]:
    """Return the lines of each key, from the first to the one behind its last."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(node, yaml.MappingNode) or node.flow_style:
        raise ArgumentError("is written on one line; write the needs by hand", where=MANIFEST)
    lines = text.splitlines()
    found = {}
    for key, value in node.value:
        after = value.end_mark.line + (value.end_mark.column > 0)
        while after > key.start_mark.line + 1 and _is_outside(lines, after - 1):
            after -= 1
        found[key.value] = (key.start_mark.line, after)
    return found


def _is_outside(lines: Sequence[str], at: int) -> bool:
    """Tell whether a line behind a value belongs to what comes next: it is blank, or a comment at the margin."""
    return at >= len(lines) or not lines[at].strip() or lines[at].startswith("#")


def _block(needs: Sequence[Need]) -> str:
    if not needs:
        return "needs: []\n"
    return "needs:\n" + "".join(f"  - {_flow(need)}\n" for need in needs)


def _flow(need: Need) -> str:
    told: dict[str, Any] = {"call": need.call}
    for key in ("paths", "commands", "targets", "names"):
        if getattr(need, key):
            told[key] = list(getattr(need, key))
    return "{" + ", ".join(f"{key}: {_value(value)}" for key, value in told.items()) + "}"


def _value(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(json.dumps(item, ensure_ascii=False) for item in value) + "]"
    return str(value)
