"""How the agent of a state directory stands, read from outside without changing or holding anything."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

from agent.config import load_config
from agent.spool_checks import check_tables, counted, octets
from agent.statedir import StateDir
from agent.trusting import Trust
from protocol.errors import OutriderError, UnavailableError


def standing(state: StateDir) -> dict[str, Any]:
    """Return what ``outrider-agent status`` tells.

    Raises:
        NotFoundError: The directory is not there, or not enrolled.
        OutriderError: What it holds is damaged; says what.
    """
    state.check()
    config = load_config(state)
    trust = Trust(state, config, datetime.now(UTC))
    return {
        "running": state.is_in_use(), "server": config.server, "agent_id": config.agent_id,
        "frozen_by_owner": _frozen(trust), "roster_version": trust.roster_version, "highest_tier": _highest_tier(trust),
        **_spool(state),
    }  # fmt: skip


def _frozen(trust: Trust) -> str | None:
    freeze = trust.owner_freeze
    return None if freeze is None else f"since {freeze.since}: {freeze.reason or 'no reason given'}"


def _highest_tier(trust: Trust) -> str:
    try:
        return trust.ceiling().highest_tier.label
    except OutriderError as error:
        return f"nothing may run: {error}"


def _spool(state: StateDir) -> dict[str, Any]:
    """Return where the ledger stands; None for what no spool tells."""
    told: dict[str, Any] = {"newest_record": None, "acknowledged_record": None, "open_runs": None}
    if not state.spool.exists():
        return told
    try:
        with closing(sqlite3.connect(f"file:{state.spool}?mode=ro", uri=True, timeout=2.0)) as found:
            check_tables(found)
            told["newest_record"] = found.execute("SELECT max(sequence) FROM records").fetchone()[0] or 0
            row = found.execute("SELECT value FROM meta WHERE key = 'acknowledged'").fetchone()
            what = "what the server has acknowledged"
            told["acknowledged_record"] = counted(None if row is None else octets(row[0], what), what)
            told["open_runs"] = found.execute("SELECT count(*) FROM runs WHERE ended_us IS NULL").fetchone()[0]
    except (sqlite3.Error, UnicodeDecodeError, UnavailableError) as error:
        told["spool_problem"] = str(error)
    return told
