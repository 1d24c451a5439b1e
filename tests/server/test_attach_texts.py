"""Texts of a viewer: the one that is read at a glance is read as the whole form reads it, or not at all."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.api import attach


def read(text: str) -> int | None:
    """Return the offset of a ``seen`` as it is read at a glance; None if it is not."""
    match = attach._SEEN.fullmatch(text.encode())
    return None if match is None else int(match[1])


@pytest.mark.parametrize("separators", [None, (",", ":")], ids=["spaced", "bare"])
@given(offset=st.integers(0, 10**16 - 1))
def test_what_clients_write_is_read_at_a_glance(separators: tuple[str, str] | None, offset: int) -> None:
    text = json.dumps({"type": "seen", "offset": offset}, separators=separators)
    assert read(text) == offset == attach._LATER.validate_json(text).offset


@pytest.mark.parametrize(
    "text",
    [
        '{"type": "seen", "offset": -1}',
        '{"type": "seen", "offset": 01}',
        '{"type": "seen", "offset": 1.5}',
        '{"type": "seen", "offset": 1, "more": 2}',
        '{"type": "seen", "offset": 1}\n',
        '{"type": "seen"}',
        '{"type": "seen", "offset": "1"}',
        '{"type": "seen", "offset": ١}',
        '{"type": "mark", "text": "seen"}',
        '{"type": "seen", "offset": 1' + "0" * 16 + "}",
    ],
)
def test_whatever_else_there_is_takes_the_long_way(text: str) -> None:
    assert read(text) is None
