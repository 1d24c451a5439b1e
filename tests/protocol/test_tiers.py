"""The order of tiers is the order of power."""

from __future__ import annotations

import pytest

from protocol.errors import ArgumentError
from protocol.tiers import Tier


def test_tiers_are_ordered_by_power() -> None:
    assert [tier.label for tier in sorted(Tier)] == ["compute", "observe", "inspect", "operate", "admin"]


@pytest.mark.parametrize("tier", list(Tier))
def test_a_label_reads_back(tier: Tier) -> None:
    assert Tier.parse(tier.label) is tier


@pytest.mark.parametrize("text", ["Observe", "observe ", "", None, 1, "root"])
def test_no_other_word_is_a_tier(text: object) -> None:
    with pytest.raises(ArgumentError, match="known: compute, observe, inspect, operate, admin"):
        Tier.parse(text)
