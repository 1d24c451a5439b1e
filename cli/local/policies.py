"""The policy of a local run: the tier's own, or a file in its place."""

from __future__ import annotations

from pathlib import Path

from policies.load import builtin, load_policy
from policies.model import Policy
from protocol.errors import ArgumentError, TooLargeError
from protocol.tiers import Tier

MAX_POLICY_BYTES = 256 * 1024  # chosen without measurement; the five of ours take a few KiB


def tier_policy(tier: Tier) -> Policy:
    """Return the policy of a tier."""
    return builtin(tier)


def file_policy(path: Path) -> Policy:
    """Return the policy in a file.

    Raises:
        ArgumentError: It cannot be read.
        DocumentError: It is wrong, at the place named.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_POLICY_BYTES + 1)
    except OSError as error:
        raise ArgumentError(f"cannot be read: {error.strerror}", where=str(path)) from None
    if len(data) > MAX_POLICY_BYTES:
        raise TooLargeError(f"is larger than {MAX_POLICY_BYTES} bytes", where=str(path))
    try:
        return load_policy(data.decode("utf-8"), str(path))
    except UnicodeDecodeError:
        raise ArgumentError("is not text in UTF-8", where=str(path)) from None


def find_policy(which: str) -> Policy:
    """Return the policy of a tier by its word, or the one in a file."""
    path = Path(which)
    if "/" in which or path.suffix in {".yaml", ".yml"} or path.is_file():
        return file_policy(path)
    return tier_policy(Tier.parse(which))
