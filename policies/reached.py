"""Which tier a script needs by the paths that its code names: of one call one place may need more than another."""

from __future__ import annotations

from collections.abc import Iterable

from policies.decide import decide
from policies.load import builtin
from policies.model import Facts
from protocol.tiers import Tier

_OPEN = frozenset("*?[{")  # a pattern, or what is put together while it runs


def tier_of_paths(needs: Iterable[tuple[str, Iterable[str]]]) -> Tier:
    """Return the lowest tier whose own policy lets calls reach paths; of each path alone what some tier allows at all.

    Args:
        needs: Calls with the paths that are named as they stand; ``/**`` at the end is for all below. Others are
            passed over.
    """
    tiers = [
        _lowest(call, base)
        for call, paths in needs
        for base in (path.removesuffix("/**") or "/" for path in paths)
        if not _OPEN.intersection(base)
    ]
    return max((tier for tier in tiers if tier is not None), default=Tier.COMPUTE)


def _lowest(call: str, path: str) -> Tier | None:
    return next((tier for tier in Tier if decide(builtin(tier), call, Facts(path=path)).allowed), None)
