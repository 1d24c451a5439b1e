"""The calls that need not wait for the disk: each of them by name, and what all of them must be."""

from __future__ import annotations

import inspect

from agent.early_calls import EARLY
from protocol.tiers import Tier
from stdlib.catalogue import load


def test_it_is_exactly_these() -> None:
    """Whoever adds one has to say here, too, that it leaves nothing behind."""
    assert sorted(EARLY) == [
        "check.metric", "check.state", "check.status", "check.timestamp", "ctx.budget", "ctx.caller", "ctx.deadline",
        "ctx.dry_run", "ctx.reason", "emit", "log.debug", "log.error", "log.info", "log.warn", "progress", "sys.cpu",
        "sys.loadavg", "sys.memory", "sys.uptime", "time.mono", "time.now",
    ]  # fmt: skip


def test_none_of_them_changes_or_reaches_anything() -> None:
    catalogue = load()
    for name in EARLY:
        entry = catalogue.find(name)
        assert entry is not None, name
        assert not entry.changes, name
        assert entry.tier <= Tier.OBSERVE, name
        assert entry.gives == "value", f"{name}: what is held has an end of its own"
        assert not entry.has_target, name
        assert not entry.looks_up, f"{name}: it opens what the script names"
        assert not any(parameter.is_path for parameter in entry.parameters), name
        assert entry.command is None, name
        assert inspect.iscoroutinefunction(entry.implementation), f"{name}: on a thread it goes on to its end unseen"
