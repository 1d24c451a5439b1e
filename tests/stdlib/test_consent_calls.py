"""``consent.ask``: what a script hears, and that nobody to ask is a no."""

from __future__ import annotations

from typing import Any

import pytest
from running import perform

from protocol.errors import ArgumentError
from sandbox.parties import Answer
from stdlib.host import RunContext


async def test_without_anybody_to_ask_it_is_a_no() -> None:
    assert await perform("consent.ask", "May I?") == {"granted": False, "by": ""}


async def test_what_is_asked_and_answered() -> None:
    asked: list[Any] = []

    async def owner(text: str, timeout_s: float) -> Answer:
        asked.append((text, timeout_s))
        return Answer(True, "root (on the host)", "")

    answer = await perform("consent.ask", "May I?", 5.0, run=RunContext(ask=owner))
    assert answer == {"granted": True, "by": "root (on the host)"}
    assert asked == [("May I?", 5.0)]


@pytest.mark.parametrize("arguments", [("",), ("  ",), ("x" * 301,), ("May I?", 0.5), ("May I?", 601), (7,)])
async def test_a_question_has_its_form(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(ArgumentError):
        await perform("consent.ask", *arguments)
