"""How long a copy tries again: for so long without progress, with a session that is open."""

from __future__ import annotations

from typing import Any

import pytest

from cli.files.patience import Patience
from protocol.errors import ConflictError, DeniedError, NotConnectedError, NotFoundError

GONE = NotConnectedError("gone")


class Session:
    """Answers as told, one answer a try."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.opened = 0

    def call(self, name: str, **_: Any) -> bool:
        answer = self.answers.pop(0) if self.answers else True
        if isinstance(answer, Exception):
            raise answer
        return True

    def open(self) -> None:
        self.opened += 1


class Time:
    """A clock that waiting moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def patience(session: Session, total_s: float) -> tuple[Patience, Time, list[str]]:
    time = Time()
    said: list[str] = []
    made: Any = session
    return Patience(made, total_s, said.append, time.sleep, lambda: time.now_s), time, said


def test_it_waits_until_the_host_answers() -> None:
    tries, time, said = patience(Session(GONE, GONE), 60)
    tries.wait(GONE)
    assert 0.5 < time.now_s < 5
    assert said == ["gone; trying again for 60 s"]


@pytest.mark.parametrize(
    "over", [ConflictError("ended"), NotFoundError("no session s_1 is open on this host")], ids=["server", "host"]
)
def test_a_session_that_is_over_is_opened_again(over: Exception) -> None:
    """A host that was started again knows at once that it is, and the server only when it has told."""
    session = Session(over)
    tries, _, _ = patience(session, 60)
    tries.wait(GONE)
    assert session.opened == 1


def test_it_ends_when_the_time_is_over() -> None:
    tries, time, _ = patience(Session(*[GONE] * 1000), 60)
    with pytest.raises(NotConnectedError):
        tries.wait(GONE)
    assert 50 < time.now_s <= 60


def test_progress_gives_all_the_time_anew() -> None:
    tries, time, said = patience(Session(), 10)
    for _ in range(50):
        tries.wait(GONE)
        tries.progressed()
    assert time.now_s > 9
    assert len(said) == 50


def test_what_cannot_get_better_is_not_waited_for() -> None:
    tries, time, said = patience(Session(), 0)
    with pytest.raises(NotConnectedError):
        tries.wait(GONE)
    assert (time.now_s, said) == (0, [])
    tries, _, _ = patience(Session(DeniedError("frozen")), 60)
    with pytest.raises(DeniedError):
        tries.wait(GONE)
