"""What people sign: publications, approvals, revocations, withdrawals and orders, each with one strict form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Self

from protocol.errors import ArgumentError
from protocol.signed_numbers import from_signed
from protocol.tiers import Tier
from protocol.timestamps import moment, stamp

#: An author's publication beside the manifest that it is about, for whoever hands it over by git.
STATEMENT = ".publication.json"
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
        labels = body["grant"].get("labels", {})
        if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
            raise ArgumentError("the labels of the approval's grant must be texts", parameter="grant")
        return cls(
            *_subject(body), Tier.parse(body["tier"]), body["grant"],
            moment(body["issued"], parameter="issued"), moment(body["expires"], parameter="expires"), body["reason"],
        )  # fmt: skip

    @property
    def labels(self) -> dict[str, str]:
        """Labels that a host must have for this approval to count there; empty: any host."""
        return dict(self.grant.get("labels", {}))

    def body(self) -> dict[str, Any]:
        """Return the body to sign."""
        return {
            "type": "approval", "name": self.name, "version": self.version, "digest": self.digest,
            "tier": self.tier.label, "grant": self.grant, "issued": stamp(self.issued),
            "expires": stamp(self.expires), "reason": self.reason,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class _TakenBack:
    """What somebody takes back, and why."""

    name: str
    version: str
    digest: str
    reason: str
    issued: datetime

    kind: ClassVar[str]  # the type in the body

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Self:
        """Return the statement in a body that was proved; ArgumentError if it has another form."""
        _fields(body, cls.kind, {"name", "version", "digest", "reason", "issued"})
        if not isinstance(body["reason"], str):
            raise ArgumentError(f"the {cls.kind}'s reason must be text", parameter="reason")
        return cls(*_subject(body), body["reason"], moment(body["issued"], parameter="issued"))


@dataclass(frozen=True, slots=True)
class Withdrawal(_TakenBack):
    """An author or a reviewer says: this digest must not run any more."""

    kind = "withdrawal"


@dataclass(frozen=True, slots=True)
class Revocation(_TakenBack):
    """A reviewer takes back what they approved up to this moment."""

    kind = "revocation"


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
    dry_run: bool = False  # signed: an order for a dry run is good for nothing else

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Order:
        """Return the order in a body that was proved; ArgumentError if it has another form."""
        body = {"schedule": None, "dry_run": False, **body}
        _fields(
            body, "order",
            {"action", "agents", "digest", "parameters", "schedule", "dry_run", "issued", "expires", "nonce"},
        )  # fmt: skip
        agents, schedule = body["agents"], body["schedule"]
        if (schedule is not None) != (body["action"] == "schedule"):
            raise ArgumentError("an order holds a schedule if that is what it orders, else none", parameter="schedule")
        if body["action"] not in ("run", "schedule") or not isinstance(body["nonce"], str):
            raise ArgumentError("the order's action or nonce has the wrong form", parameter="action")
        if type(body["dry_run"]) is not bool:
            raise ArgumentError("the order's dry_run must be true or false", parameter="dry_run")
        if not isinstance(agents, list) or not all(isinstance(item, str) for item in agents):
            raise ArgumentError("the order's agents must be a list of texts", parameter="agents")
        if not isinstance(body["parameters"], dict) or not isinstance(schedule, dict | None):
            raise ArgumentError("the order's parameters or schedule have the wrong form", parameter="parameters")
        return cls(
            body["action"], tuple(agents), _digest(body["digest"]), from_signed(body["parameters"]),
            None if schedule is None else _schedule(schedule),
            moment(body["issued"], parameter="issued"), moment(body["expires"], parameter="expires"), body["nonce"],
            body["dry_run"],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class SessionOrder:
    """An operator says: open this kind of session for me there, with these permissions."""

    kind: str  # terminal, command, files, forward
    agents: tuple[str, ...]  # ids of agents
    tier: Tier
    grant: dict[str, Any]  # narrows the tier's policy, and names what must be named; empty: as the tier
    reason: str
    issued: datetime
    expires: datetime  # until when the session may be opened
    nonce: str

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> SessionOrder:
        """Return the order in a body that was proved; ArgumentError if it has another form."""
        _fields(body, "session_order", {"kind", "agents", "tier", "grant", "reason", "issued", "expires", "nonce"})
        agents = body["agents"]
        for name in ("kind", "reason", "nonce"):
            if not isinstance(body[name], str):
                raise ArgumentError(f"the order's {name} must be text", parameter=name)
        if not isinstance(agents, list) or not all(isinstance(item, str) for item in agents):
            raise ArgumentError("the order's agents must be a list of texts", parameter="agents")
        if not isinstance(body["grant"], dict):
            raise ArgumentError("the order's grant must be a map", parameter="grant")
        return cls(
            body["kind"], tuple(agents), Tier.parse(body["tier"]), body["grant"], body["reason"],
            moment(body["issued"], parameter="issued"), moment(body["expires"], parameter="expires"), body["nonce"],
        )  # fmt: skip


def _schedule(signed: dict[str, Any]) -> dict[str, Any]:
    """Return the schedule of an order; whatever else is wrong with it shows where it is read."""
    parameters = signed.get("parameters", {})
    if not isinstance(parameters, dict):
        raise ArgumentError("the parameters of the order's schedule must be a map", parameter="schedule")
    fields = from_signed({name: value for name, value in signed.items() if name != "parameters"})
    return fields | ({"parameters": from_signed(parameters)} if "parameters" in signed else {})


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
