"""The demo's people (root, author, reviewer, operator), each with an own key, and the roster that says who may what."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cli.ages import rfc3339
from cli.keys import read_key, write_key
from protocol.bundle import Bundle
from protocol.signing import PrivateKey, sign

ROLES: Mapping[str, list[dict[str, str]]] = {
    "demo-author": [{"role": "author", "namespace": "checks"}],
    "demo-reviewer": [{"role": "reviewer", "tier": "inspect", "namespace": ""}],
    "demo-operator": [{"role": "operator", "tier": "inspect"}, {"role": "schedule"}],
}
LIFETIME = timedelta(days=90)


@dataclass(frozen=True)
class People:
    """Everyone's private key."""

    keys: Mapping[str, PrivateKey]

    def roster(self, version: int, now: datetime | None = None) -> dict[str, Any]:
        """Return the roster, signed by root, as JSON data."""
        issued = now or datetime.now(UTC)
        body = {
            "type": "roster",
            "version": version,
            "issued": rfc3339(issued),
            "expires": rfc3339(issued + LIFETIME),
            "roots": {"threshold": 1, "keys": [self.keys["root"].public.to_text()]},
            "keys": [
                {"name": name, "key": self.keys[name].public.to_text(), "roles": roles} for name, roles in ROLES.items()
            ],
        }
        return envelope("roster", body, self.keys["root"])

    def publication(self, bundle: Bundle) -> dict[str, Any]:
        """Return the author's statement about a bundle."""
        body = {**_names(bundle), "type": "publication", "issued": rfc3339(datetime.now(UTC))}
        return envelope("publication", body, self.keys["demo-author"])

    def approval(self, bundle: Bundle) -> dict[str, Any]:
        """Return the reviewer's statement about a bundle."""
        now = datetime.now(UTC)
        body = {
            **_names(bundle),
            "type": "approval",
            "grant": {},
            "issued": rfc3339(now),
            "expires": rfc3339(now + LIFETIME),
            "reason": "bundled check of the demo",
        }
        return envelope("approval", body, self.keys["demo-reviewer"])


def _names(bundle: Bundle) -> dict[str, Any]:
    manifest = bundle.manifest
    return {
        "name": manifest.name,
        "version": manifest.version,
        "digest": bundle.digest,
        "tier": manifest.tier.label,
    }


def envelope(kind: str, body: Mapping[str, Any], key: PrivateKey) -> dict[str, Any]:
    """Return a signed statement as JSON data."""
    return dict(json.loads(sign(kind, dict(body), key).to_json()))


def gather(directory: Path) -> People:
    """Return the people whose keys are in ``directory``; whoever has none yet gets one."""
    keys = {}
    for name in ("root", *ROLES):
        path = directory / name
        if not path.exists():
            write_key(path, PrivateKey.generate())
        keys[name] = read_key(path)
    return People(keys)
