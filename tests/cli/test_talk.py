"""What is said beside a terminal's output, and what a program there asks for: when it is said, and who answers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cli import keyboard
from cli.talk import MOST_HELD, Talk
from cli.wishes import Wishes
from protocol.errors import UnavailableError

ASKS = {"number": 3, "action": "edit", "path": "/etc/hosts"}


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What reaches stderr."""
    lines: list[str] = []
    monkeypatch.setattr(keyboard, "say", lines.append)
    return lines


def test_talk_waits_while_a_program_has_the_screen(said: list[str]) -> None:
    talk = Talk()
    talk.say("before")
    talk.look_for_screen(b"\x1b[?25l\x1b[?1049h")
    for number in range(MOST_HELD + 5):
        talk.say(str(number))
    assert said == ["before"]
    talk.look_for_screen(b"\x1b[?1049l\x1b[?1049h")  # given back and taken again
    assert said == ["before"]
    talk.look_for_screen(b"text \x1b[?1049l")
    assert said == ["before", *(str(number) for number in range(5, MOST_HELD + 5))]


def test_talk_waits_while_something_else_has_the_terminal(said: list[str]) -> None:
    talk = Talk()
    talk.give_away()
    talk.say("\x1b[31mheld")
    assert said == []
    talk.take_back()
    assert said == ["\ufffd[31mheld"], "control characters are shown as such"


@pytest.mark.parametrize(("status", "outcome"), [(0, "done"), (1, "failed"), (None, "failed")])
async def test_what_is_wanted_is_edited_and_told(said: list[str], status: int | None, outcome: str) -> None:
    told: list[dict[str, Any]] = []
    talk = Talk()
    may_end = asyncio.Event()

    async def edit(path: str) -> int:
        assert path == "/etc/hosts"
        await may_end.wait()
        if status is None:
            raise UnavailableError("the server is gone")
        return status

    wishes = Wishes(talk, lambda **message: told.append(message), edit)
    wishes.host = "web-1"
    wishes.hear(ASKS, may_answer=True)
    wishes.answer(is_wanted=True)
    assert (wishes.is_editing, talk.may_show.is_set()) == (True, False)
    wishes.answer(is_wanted=True)
    assert said == ["[web-1 asks to open /etc/hosts in your editor: ~e opens it, ~n does not]"]
    may_end.set()
    await wishes.finish()
    assert (wishes.is_editing, talk.may_show.is_set()) == (False, True)
    assert told == [{"type": "edited", "number": 3, "outcome": outcome}]
    assert said[1:] == ["[nothing is asked]", *(["[the server is gone]"] if status is None else [])]


async def test_what_is_declined_withdrawn_or_not_ours_to_answer_is_not_edited(said: list[str]) -> None:
    told: list[dict[str, Any]] = []

    async def edit(_path: str) -> int:
        raise AssertionError("nobody wanted that")

    wishes = Wishes(Talk(), lambda **message: told.append(message), edit)
    wishes.host = "web-1"
    wishes.hear(ASKS, may_answer=True)
    wishes.answer(is_wanted=False)
    assert told == [{"type": "edited", "number": 3, "outcome": "declined"}]
    wishes.hear(ASKS, may_answer=True)
    wishes.hear({"number": 3, "action": "withdrawn"}, may_answer=True)
    wishes.answer(is_wanted=True)
    wishes.hear(ASKS, may_answer=False)
    wishes.answer(is_wanted=True)
    assert not wishes.is_editing
    assert said[-4:] == [
        "[it is not asked any more]", "[nothing is asked]",
        "[web-1 asks who types to edit /etc/hosts]", "[nothing is asked]",
    ]  # fmt: skip
    assert len(told) == 1
