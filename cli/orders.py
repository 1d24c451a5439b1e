"""Signed orders: what the operator wants done, in his own signature, so that a host need not take the server's word.

A host whose ceiling does not accept the server's word alone asks for one. It names the agents, the digest and the
parameters, those that the script has by default among them, since they are what the host will be asked to run with. It
is good for minutes; one for a run that waits for its hosts to be back, for as long as it waits, and one for a schedule
until it expires.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from cli.ages import rfc3339
from protocol.bundle import Bundle
from protocol.schedules import ScheduleSpec
from protocol.signed_numbers import to_signed
from protocol.signing import Signer, sign

LIFETIME_S = 600.0  # a run's order; chosen without measurement: long enough for a queue, short for a thief


def run_order(
    key: Signer, agents: Sequence[str], bundle: Bundle, parameters: Mapping[str, Any], now: datetime | None = None,
    *, dry_run: bool = False, waits_s: float = 0.0,
) -> dict[str, Any]:  # fmt: skip
    """Return the signed order to run a script once on ``agents`` (ids), as plain JSON data.

    Args:
        key: Of whoever orders.
        agents: Ids of the hosts.
        bundle: The version of the script, as it was proved.
        parameters: What was given; the rest is as the manifest has it.
        now: The present, if not by the clock.
        dry_run: Order a dry run, and nothing else.
        waits_s: How long it may wait for a host to be back, in seconds.

    Raises:
        ArgumentError: The script does not take these parameters.
    """
    body = {
        "action": "run", "agents": sorted(agents), "digest": bundle.digest,
        "parameters": to_signed(bundle.manifest.check_parameters(parameters)),
    }  # fmt: skip
    return _signed(key, "order", body | ({"dry_run": True} if dry_run else {}), now, LIFETIME_S + waits_s)


def schedule_order(
    key: Signer, agents: Sequence[str], spec: ScheduleSpec, lifetime_s: float, now: datetime | None = None
) -> dict[str, Any]:
    """Return the signed order to run a script by a schedule on ``agents`` (ids), as plain JSON data.

    Args:
        key: Of whoever orders.
        agents: Ids of the hosts; it counts on no other.
        spec: The schedule, whole: with the parameters that the script has by default.
        lifetime_s: Seconds until hosts do not take it any more.
        now: The present, if not by the clock.
    """
    parameters = to_signed(spec.parameters)
    body = {
        "action": "schedule", "agents": sorted(agents), "digest": spec.digest, "parameters": parameters,
        "schedule": to_signed(spec.to_wire()) | {"parameters": parameters},
    }  # fmt: skip
    return _signed(key, "order", body, now, lifetime_s)


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
