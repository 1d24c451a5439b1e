"""Patterns of names: a namespace ends at a slash, and nothing else is a pattern."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.errors import ArgumentError
from protocol.names import check_pattern, fits


@pytest.mark.parametrize(
    ("pattern", "name", "is_fit"),
    [
        ("checks/**", "checks/disk", True),
        ("checks/**", "checks/deep/er", True),
        ("checks/**", "checks", False),
        ("checks/**", "checksum/disk", False),
        ("checks/disk", "checks/disk", True),
        ("checks/disk", "checks/disk2", False),
        ("checks/disk", "checks/disk/x", False),
        ("**", "anything/at-all", True),
    ],
)
def test_what_a_pattern_names(pattern: str, name: str, is_fit: bool) -> None:
    assert fits(pattern, name) is is_fit


@pytest.mark.parametrize(
    "pattern",
    ["", "*", "checks/*", "/checks/**", "checks/**/x", "Checks/**", "a//b", "a/../b", "a\n", "a" * 201, None, 5],
)
def test_what_is_no_pattern(pattern: Any) -> None:
    with pytest.raises(ArgumentError) as caught:
        check_pattern(pattern, parameter="scripts")
    assert caught.value.parameter == "scripts"
