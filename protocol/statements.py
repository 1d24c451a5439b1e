"""What people sign about scripts: publications, approvals, withdrawals and orders, each with one strict form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from protocol.errors import ArgumentError
from protocol.tiers import Tier
from protocol.timestamps import moment, stamp

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Publication:
    """An author says: this digest is this version of this script."""

    name: str
    version: str
    digest: str
    tier: Tier
    issued: datetime

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Publication:
        """Return the publication in a body that was proved; ArgumentError if it has another form."""
        _fields(body, "publication", {"name", "version", "digest", "tier", "issued"})
        return cls(*_subject(body), Tier.parse(body["tier"]), moment(body["issued"], parameter="issued"))

    def body(self) -> dict[str, Any]:
        """Return the body to sign."""
        return {
            "type": "publication", "name": self.name, "version": self.version, "digest": self.digest,
            "tier": self.tier.label, "issued": stamp(self.issued),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Approval:
    """A reviewer says: this digest may run at this tier, with these permissions, until then."""

    name: str
    version: str
    digest: str
    tier: Tier
    grant: dict[str, Any]  # narrows the tier's policy; empty: as the tier
    issued: datetime
    expires: datetime
    reason: str

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Approval:
        """Return the approval in a body that was proved; ArgumentError if it has another form."""
        _fields(body, "approval", {"name", "version", "digest", "tier", "grant", "issued", "expires", "reason"})
        if not isinstance(body["grant"], dict) or not isinstance(body["reason"], str):
            raise ArgumentError("the approval's grant or reason has the wrong form", parameter="grant")
        return cls(
            *_subject(body), Tier.parse(body["tier"]), body["grant"],
            moment(body["issued"], parameter="issued"), moment(body["expires"], parameter="expires"), body["reason"],
        )  # fmt: skip

    def body(self) -> dict[str, Any]:
        """Return the body to sign."""
        return {
            "type": "approval", "name": self.name, "version": self.version, "digest": self.digest,
            "tier": self.tier.label, "grant": self.grant, "issued": stamp(self.issued),
            "expires": stamp(self.expires), "reason": self.reason,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """An author or a reviewer says: this digest must not run any more."""

    name: str
    version: str
    digest: str
    reason: str
    issued: datetime

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Withdrawal:
        """Return the withdrawal in a body that was proved; ArgumentError if it has another form."""
        _fields(body, "withdrawal", {"name", "version", "digest", "reason", "issued"})
        if not isinstance(body["reason"], str):
            raise ArgumentError("the withdrawal's reason must be text", parameter="reason")
        return cls(*_subject(body), body["reason"], moment(body["issued"], parameter="issued"))


@dataclass(frozen=True, slots=True)
class Order:
    """An operator says: run this digest there, once or by this schedule."""

    action: str  # run or schedule
    agents: tuple[str, ...]  # ids of agents
    digest: str
    parameters: dict[str, Any]
    schedule: dict[str, Any] | None
    issued: datetime
    expires: datetime
    nonce: str

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Order:
        """Return the order in a body that was proved; ArgumentError if it has another form."""
        body = {"schedule": None, **body}
        _fields(body, "order", {"action", "agents", "digest", "parameters", "schedule", "issued", "expires", "nonce"})
        agents, schedule = body["agents"], body["schedule"]
        if (schedule is not None) != (body["action"] == "schedule"):
            raise ArgumentError("an order holds a schedule if that is what it orders, else none", parameter="schedule")
        if body["action"] not in ("run", "schedule") or not isinstance(body["nonce"], str):
            raise ArgumentError("the order's action or nonce has the wrong form", parameter="action")
        if not isinstance(agents, list) or not all(isinstance(item, str) for item in agents):
            raise ArgumentError("the order's agents must be a list of texts", parameter="agents")
        if not isinstance(body["parameters"], dict) or not isinstance(schedule, dict | None):
            raise ArgumentError("the order's parameters or schedule have the wrong form", parameter="parameters")
        return cls(
            body["action"], tuple(agents), _digest(body["digest"]), body["parameters"], schedule,
            moment(body["issued"], parameter="issued"), moment(body["expires"], parameter="expires"), body["nonce"],
        )  # fmt: skip


def _fields(body: Mapping[str, Any], kind: str, wanted: set[str]) -> None:
    if set(body) != wanted | {"type"} or body["type"] != kind:
        odd = ", ".join(sorted(set(body) ^ (wanted | {"type"}))) or "type"
        raise ArgumentError(f"the {kind} does not have its fields (look at: {odd:.120})", parameter=kind)


def _subject(body: Mapping[str, Any]) -> tuple[str, str, str]:
    for name in ("name", "version"):
        if not isinstance(body[name], str) or not 0 < len(body[name]) <= 200:
            raise ArgumentError(f"the statement's {name} must be text", parameter=name)
    return body["name"], body["version"], _digest(body["digest"])


def _digest(value: object) -> str:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise ArgumentError("not a digest (sha256: and 64 hexadecimal digits)", parameter="digest")
    return value
