"""What an approval narrows a script to, as people read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def narrowed(grant: object) -> str:
    """Return what an approval narrows the script to, as text."""
    if not isinstance(grant, Mapping):
        return ""
    rules, labels = grant.get("allow"), grant.get("labels")
    hosts = [f"hosts with {key}={value}" for key, value in labels.items()] if isinstance(labels, Mapping) else []
    if not isinstance(rules, Sequence) or isinstance(rules, str):
        rules = []
    return "; ".join([*hosts, *(_rule(rule) for rule in rules if isinstance(rule, Mapping))])


def _rule(rule: Mapping[str, Any]) -> str:
    more = [str(item) for name in ("paths", "commands", "targets", "names") for item in rule.get(name) or []]
    users = [str(item) for item in rule.get("users") or []]
    return " ".join([str(rule.get("call")), *more, *(["as", " or ".join(users)] if users else [])])
