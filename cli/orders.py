"""Signed orders: what the operator wants done, in his own signature, so that a host need not take the server's word.

A host whose ceiling does not accept the server's word alone asks for one. It names the agents, the digest and the
parameters, and is good for minutes.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from cli.ages import rfc3339
from protocol.signing import PrivateKey, sign

LIFETIME_S = 600.0  # a run's order; chosen without measurement: long enough for a queue, short for a thief


def run_order(
    key: PrivateKey, agents: Sequence[str], digest: str, parameters: Mapping[str, Any], now: datetime | None = None
) -> dict[str, Any]:
    """Return the signed order to run ``digest`` once on ``agents`` (ids), as plain JSON data."""
    return _order(
        key, {"action": "run", "agents": sorted(agents), "digest": digest, "parameters": dict(parameters)}, now
    )


def _order(key: PrivateKey, body: Mapping[str, Any], now: datetime | None) -> dict[str, Any]:
    issued = now or datetime.now(UTC)
    full = {
        "type": "order",
        **body,
        "issued": rfc3339(issued),
        "expires": rfc3339(issued + timedelta(seconds=LIFETIME_S)),
        "nonce": secrets.token_hex(16),
    }
    return dict(json.loads(sign("order", full, key).to_json()))
