"""People, their keys and what they sign, for the tests of trust."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from protocol.roster import Roster, parse
from protocol.signing import Envelope, PrivateKey, sign
from protocol.timestamps import stamp

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
DIGEST = "sha256:" + "ab" * 32
OTHER_DIGEST = "sha256:" + "cd" * 32

ROLES: Mapping[str, list[dict[str, str]]] = {
    "ann": [{"role": "author", "namespace": "checks"}],
    "bob": [{"role": "reviewer", "tier": "inspect"}],
    "cid": [{"role": "reviewer", "tier": "observe", "namespace": "checks"}],
    "dan": [{"role": "author", "namespace": "checksums"}],
    "eve": [{"role": "author", "namespace": ""}, {"role": "reviewer", "tier": "admin"}],
    "oli": [{"role": "operator", "tier": "operate"}, {"role": "schedule"}],
}


@dataclass
class World:
    """Everybody's keys and a way to make statements."""

    keys: dict[str, PrivateKey] = field(default_factory=dict)

    def key(self, name: str) -> PrivateKey:
        return self.keys.setdefault(name, PrivateKey.generate())

    def member(self, name: str, **extra: Any) -> dict[str, Any]:
        return {"name": name, "key": self.key(name).public.to_text(), "roles": ROLES[name], **extra}

    def roster_body(self, version: int = 1, **changes: Any) -> dict[str, Any]:
        return {
            "type": "roster",
            "version": version,
            "issued": stamp(NOW - timedelta(days=1)),
            "expires": stamp(NOW + timedelta(days=30)),
            "roots": {"threshold": 1, "keys": [self.key("root").public.to_text()]},
            "keys": [self.member(name) for name in ROLES],
        } | changes

    def roster(self, **changes: Any) -> Roster:
        return parse(self.roster_body(**changes))

    def publication(self, *signers: str, **changes: Any) -> Envelope:
        return self.statement("publication", signers or ("ann",), changes)

    def approval(self, *signers: str, **changes: Any) -> Envelope:
        more = {"grant": {}, "expires": stamp(NOW + timedelta(days=7)), "reason": "looks right"}
        return self.statement("approval", signers or ("bob",), more | changes)

    def withdrawal(self, *signers: str, **changes: Any) -> Envelope:
        body = {"reason": "it leaks"} | changes
        return self.statement("withdrawal", signers or ("bob",), body, without={"tier"})

    def statement(
        self,
        kind: str,
        signers: tuple[str, ...],
        changes: Mapping[str, Any],
        without: frozenset[str] | set[str] = frozenset(),
    ) -> Envelope:
        body: dict[str, Any] = {
            "type": kind, "name": "checks/disk", "version": "1.2.0", "digest": DIGEST, "tier": "observe",
            "issued": stamp(NOW - timedelta(hours=1)),
        }  # fmt: skip
        body = {key: value for key, value in body.items() if key not in without} | dict(changes)
        return sign(kind, body, *[self.key(name) for name in signers])
