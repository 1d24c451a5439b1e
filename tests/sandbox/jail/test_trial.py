"""Trying in a child."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from sandbox.jail.trial import in_child


def test_lines_are_told_in_order() -> None:
    """Also those before an error."""

    def work(say: Callable[[str], None]) -> None:
        say("a")
        say("b\nc")
        raise OSError(1, "no way")

    assert in_child(work).told == ["a", "b c"]
    assert in_child(work).error == "no way"


def test_a_death_is_told() -> None:
    """By the signal, as a negative number."""
    assert in_child(lambda _say: os.kill(os.getpid(), signal.SIGKILL)).status == -signal.SIGKILL


def test_any_other_error_ends_the_child_too() -> None:
    """It must never go on as a copy of its parent."""
    done = in_child(lambda _say: int("x"))
    assert (done.status, done.error) == (0, "ValueError: invalid literal for int() with base 10: 'x'")
