"""Who edits what, for those who watch: the newest state of each, in memory, bounded."""

from __future__ import annotations

import pytest

from protocol.errors import RateError
from server.services import editing
from server.services.editing import Editing


def test_each_editor_has_one_state_and_a_watcher_sees_what_is_newer() -> None:
    board = Editing()
    ticket = board.bell.ticket()
    board.tell("s_1", "ana", "/a", {"text": "1"})
    board.tell("s_1", "tom", "/a", {"text": "t"})
    board.tell("s_1", "ana", "/a", {"text": "2"})
    board.tell("s_2", "ana", "/a", {"text": "other"})
    assert ticket.is_set()
    seen = board.after("s_1", 0)
    assert [(state["principal"], state["text"]) for state in seen] == [("tom", "t"), ("ana", "2")]
    assert board.after("s_1", seen[-1]["number"]) == []
    board.tell("s_1", "ana", "/a", None)
    (closed,) = board.after("s_1", seen[-1]["number"])
    assert closed["is_open"] is False
    assert "text" not in closed
    board.forget("s_1")
    assert board.after("s_1", 0) == []
    assert len(board.after("s_2", 0)) == 1


def test_nobody_who_edits_is_told_to_end() -> None:
    board = Editing()
    board.tell("s_1", "ana", "/a", None)
    assert board.after("s_1", 0) == []


def test_editors_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(editing, "MAX_EDITORS", 1)
    board = Editing()
    board.tell("s_1", "ana", "/a", {"text": "1"})
    board.tell("s_1", "ana", "/a", {"text": "2"})
    with pytest.raises(RateError):
        board.tell("s_1", "ana", "/b", {"text": "1"})
