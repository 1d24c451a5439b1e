"""Who edits what, for those who watch: the newest state of each, in memory, bounded."""

from __future__ import annotations

import pytest

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


def test_of_too_many_the_oldest_goes_and_nobody_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """States of sessions that ended with nobody there once took all the room, until the server was started anew."""
    monkeypatch.setattr(editing, "MAX_EDITORS", 3)
    board = Editing()
    for number in range(5):
        board.tell(f"s_{number}", "ana", "/a", {"text": "1"})
        board.tell(f"s_{number}", "ana", "/a", None)
    assert [len(board.after(f"s_{number}", 0)) for number in range(5)] == [0, 0, 1, 1, 1]


def test_one_session_drives_out_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(editing, "MAX_OF_SESSION", 2)
    board = Editing()
    board.tell("s_1", "tom", "/t", {"text": "t"})
    for path in ("/a", "/b", "/c"):
        board.tell("s_2", "ana", path, {"text": path})
    assert [state["path"] for state in board.after("s_2", 0)] == ["/b", "/c"]
    assert len(board.after("s_1", 0)) == 1


def test_what_is_held_of_all_texts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four bytes a character, a thousand editors, and 256 Ki each were a gigabyte."""
    monkeypatch.setattr(editing, "MAX_CHARACTERS", 100)
    board = Editing()
    for number in range(20):
        board.tell(f"s_{number}", "ana", "/a", {"text": "x" * 40})
        board.tell(f"s_{number}", "ana", "/a", {"text": "y" * 40})
    held = [state for number in range(20) for state in board.after(f"s_{number}", 0)]
    assert [state["text"] for state in held] == ["y" * 40] * 2
    board.forget("s_19")
    board.forget("s_18")
    board.tell("s_1", "ana", "/b", {"text": "z" * 90})
    assert len(board.after("s_1", 0)) == 1, "what is gone is not counted"
