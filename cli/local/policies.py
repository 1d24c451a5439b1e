"""The policy of a local run: the tier's own, or a file in its place."""

from __future__ import annotations

from pathlib import Path

from cli.reading import text_of
from policies.load import builtin, load_policy
from policies.model import Policy
from protocol.tiers import Tier

MAX_POLICY_BYTES = 256 * 1024  # chosen without measurement; the five of ours take a few KiB


def tier_policy(tier: Tier) -> Policy:
    """Return the policy of a tier."""
    return builtin(tier)


def file_policy(path: Path) -> Policy:
    """Return the policy in a file.

    Raises:
        ArgumentError: It cannot be read, or is no text.
        TooLargeError: It is over its bound.
        DocumentError: It is wrong, at the place named.
    """
    return load_policy(text_of(path, MAX_POLICY_BYTES), str(path))


def find_policy(which: str) -> Policy:
    """Return the policy of a tier by its word, or the one in a file."""
    path = Path(which)
    if "/" in which or path.suffix in {".yaml", ".yml"} or path.is_file():
        return file_policy(path)
    return tier_policy(Tier.parse(which))
