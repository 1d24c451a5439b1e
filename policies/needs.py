"""The layer that a manifest's ``needs`` make: a script gets no more than it asked for.

Calls of tier ``compute`` (``check.*``, ``log.*`` and their like) touch nothing and need no asking. A manifest without
needs asks for all that its tier allows, except where that is only for declared targets: those stand nowhere else.
"""

from __future__ import annotations

from policies.decide import Layer
from policies.load import builtin
from policies.model import Effect, Rule
from policies.paths import PathPattern
from policies.targets import each
from protocol.manifest import Manifest
from protocol.tiers import Tier

ORIGIN = "manifest.yaml: needs"


def needs_layer(manifest: Manifest) -> Layer | None:
    """Return the layer of a manifest's needs; None if it states none.

    Raises:
        ArgumentError: A path or target of it is no pattern.
    """
    if not manifest.needs:
        return None
    rules = tuple(
        Rule(
            Effect.ALLOW, need.call, ORIGIN, tuple(PathPattern.parse(path, where=ORIGIN) for path in need.paths),
            need.commands, tuple(each(need.targets, where=ORIGIN)), named=need.names,
        )
        for need in manifest.needs
    )  # fmt: skip
    return Layer("the manifest's needs", (*rules, *builtin(Tier.COMPUTE).rules), declares=True, grants=False)
