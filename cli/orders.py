"""Signed orders: what the operator wants done, in his own signature, so that a host need not take the server's word.

A host whose ceiling does not accept the server's word alone asks for one. It names the agents, the digest and the
parameters, and is good for minutes; one for a run that waits for its hosts to be back, for as long as it waits.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from cli.ages import rfc3339
from protocol.signing import Signer, sign

LIFETIME_S = 600.0  # a run's order; chosen without measurement: long enough for a queue, short for a thief


def run_order(
    key: Signer, agents: Sequence[str], digest: str, parameters: Mapping[str, Any], now: datetime | None = None,
    *, dry_run: bool = False, waits_s: float = 0.0,
) -> dict[str, Any]:  # fmt: skip
    """Return the signed order to run ``digest`` once on ``agents`` (ids), as plain JSON data.

    ``waits_s`` is how long it may wait for a host to be back, in seconds.
    """
    body = {"action": "run", "agents": sorted(agents), "digest": digest, "parameters": dict(parameters)}
    return _signed(key, "order", body | ({"dry_run": True} if dry_run else {}), now, LIFETIME_S + waits_s)


def session_order(
    key: Signer, kind: str, agents: Sequence[str], tier: str, grant: Mapping[str, Any], reason: str,
    now: datetime | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return the signed order to open one session of ``kind`` on one of ``agents`` (ids), as plain JSON data."""
    body = {"kind": kind, "agents": sorted(agents), "tier": tier, "grant": dict(grant), "reason": reason}
    return _signed(key, "session_order", body, now)


def _signed(
    key: Signer, kind: str, body: Mapping[str, Any], now: datetime | None, lifetime_s: float = LIFETIME_S
) -> dict[str, Any]:
    issued = now or datetime.now(UTC)
    full = {
        "type": kind,
        **body,
        "issued": rfc3339(issued),
        "expires": rfc3339(issued + timedelta(seconds=lifetime_s)),
        "nonce": secrets.token_hex(16),
    }
    return dict(json.loads(sign(kind, full, key).to_json()))
