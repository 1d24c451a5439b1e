"""What a run may do: the tier's policy, narrowed by each approval, the manifest's needs and the ceiling. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from policies.ceiling import Ceiling, narrowing_layer
from policies.decide import Effective, Layer
from policies.load import builtin
from policies.model import LIMIT_FIELDS, Limits
from policies.needs import needs_layer
from policies.users import User
from protocol.document import Reader, load
from protocol.errors import ArgumentError, TrustError
from protocol.manifest import Manifest
from protocol.trust import Authorised


def effective_policy(
    proved: Authorised, manifest: Manifest, ceiling: Ceiling, *, timeout_s: float | None = None,
    left: Limits | None = None, user: User | None = None,
) -> Effective:  # fmt: skip
    """Return what a session of this script may do here; every layer must allow.

    Args:
        proved: What was proved about the script; its tier is the one that it was approved for.
        manifest: Of the script.
        ceiling: Of this host.
        timeout_s: Of this run, in seconds; narrows only.
        left: What the run that called it has left; narrows only.
        user: The agent's own.

    Raises:
        TrustError: ``malformed``: an approval's grant cannot be understood, so nothing is granted.
        ArgumentError: A need of the manifest is wrong.
    """
    policy = builtin(proved.tier)
    asked: dict[str, Any] = {LIMIT_FIELDS[name]: value for name, value in manifest.limits.items()}
    limits = policy.limits.narrowed(replace(policy.limits, **asked))
    if timeout_s is not None:
        limits = replace(limits, wall_s=min(limits.wall_s, timeout_s))
    if left is not None:
        limits = limits.narrowed(left)
    layers: list[Layer | None] = [Layer(policy.name, policy.rules, limits)]
    layers += [grant_layer(_rules(grant)) for grant in proved.grants]
    layers += [needs_layer(manifest), ceiling.layer]
    return Effective(tuple(layer for layer in layers if layer is not None), user)


def _rules(grant: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an approval's grant says about calls; its labels are about hosts and were looked at as proof."""
    return {key: value for key, value in grant.items() if key != "labels"}


def grant_layer(grant: Mapping[str, Any], name: str = "the approval") -> Layer | None:
    """Return the layer that a grant makes, of an approval or of a session's order; None for an empty one.

    Raises:
        TrustError: ``malformed``.
    """
    if not grant:
        return None
    try:
        reader = Reader(load(json.dumps(grant), name.removeprefix("the ")))
        layer = narrowing_layer(reader, name)
        reader.finish()
    except ArgumentError as error:
        raise TrustError(f"the grant of {name} cannot be understood: {error}", reason="malformed") from None
    return layer and replace(layer, declares=True)
