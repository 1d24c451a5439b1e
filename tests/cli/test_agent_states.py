"""What ``outrider agent`` says of how a host is, and what is refused before any server is asked."""

from __future__ import annotations

from typing import Any

import pytest

from cli.main import run
from cli.nouns.agent import state, told_of_freeze

OWNERS = {"owner_freeze": "odd traffic"}


@pytest.mark.parametrize(
    ("agent", "word", "told"),
    [
        ({"frozen": True, "connected": True}, "frozen", "is frozen"),
        ({"frozen": True, "facts": OWNERS}, "frozen", "is frozen"),
        ({"frozen": False, "connected": True, "facts": {}}, "connected", "runs again"),
        ({"frozen": False, "connected": True, "facts": OWNERS}, "frozen by its owner", "stays frozen: its owner"),
    ],
)
def test_a_host_that_its_owner_has_frozen_does_not_run_again(agent: dict[str, Any], word: str, told: str) -> None:
    assert state(agent) == word
    assert told_of_freeze(agent).startswith(told)


def test_a_terminal_is_on_one_host(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tty", "web-*", "--reason", "T-1"]) == 2
    assert "a terminal is on one host" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["--approve", "--deny"]])
def test_a_review_is_a_yes_or_a_no(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["request", "review", "r_4eada1f0", "--reason", "known", *words]) == 2
    assert "either --approve or --deny" in capsys.readouterr().err
