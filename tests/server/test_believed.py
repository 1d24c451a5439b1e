"""What the server believes of its host's clock, as a script of looks."""

from __future__ import annotations

import pytest

from server.believed import SLACK_S, STEADY_S, STEP_S, Believed

S = 1_000_000
LOOK_S = 60
NOW_US = 1_800_000_000 * S


class Looks:
    """A host's clocks, and a server that looks at them and keeps what it is told to."""

    def __init__(self, kept_us: int | None = None) -> None:
        self.believed = Believed()
        self.kept_us = kept_us
        self.host_us, self.lived_us = NOW_US, 0
        self.believed.begin(kept_us, 0)

    def pass_s(self, seconds: float) -> None:
        for _ in range(int(seconds // LOOK_S)):
            self.host_us += LOOK_S * S
            self.lived_us += LOOK_S * S
            following = self.believed.look(self.kept_us, self.host_us, self.lived_us)
            self.kept_us = self.kept_us if following is None else following

    def step_s(self, seconds: float) -> None:
        self.host_us += int(seconds * S)

    @property
    def ahead_s(self) -> float:
        """How far what is believed is ahead of the host."""
        return self.believed.behind_us(self.host_us, self.lived_us) / S


def test_a_host_is_believed_from_the_first_moment() -> None:
    looks = Looks()
    assert looks.ahead_s == 0
    looks.pass_s(STEADY_S)
    assert (looks.ahead_s, looks.kept_us) == (0, None), "nothing is kept before the clock is steady"
    looks.pass_s(LOOK_S)
    assert (looks.ahead_s, looks.kept_us) == (0, looks.host_us)


@pytest.mark.parametrize("back_s", [SLACK_S + 1, 3600, 400 * 86_400])
def test_time_goes_on_from_the_mark_when_the_clock_is_set_back(back_s: float) -> None:
    looks = Looks()
    looks.pass_s(STEADY_S + 10 * LOOK_S)
    looks.step_s(-back_s)
    assert looks.ahead_s == back_s
    looks.pass_s(2 * STEADY_S)
    assert looks.ahead_s == back_s, "also once the wrong time is steady"
    looks.step_s(back_s)
    assert looks.ahead_s == 0


def test_a_correction_within_the_slack_is_believed_and_many_of_them_are_not() -> None:
    """Else the clock could be set back by a minute, again and again."""
    looks = Looks()
    looks.pass_s(STEADY_S + LOOK_S)
    looks.step_s(-(SLACK_S - 1))
    assert looks.ahead_s == 0
    looks.pass_s(2 * STEADY_S)
    looks.step_s(-2)
    assert looks.ahead_s == SLACK_S + 1


def test_a_leap_ahead_makes_no_mark_before_it_is_steady() -> None:
    looks = Looks()
    looks.pass_s(STEADY_S + LOOK_S)
    looks.step_s(86_400)
    looks.pass_s(STEADY_S - LOOK_S)
    assert looks.ahead_s == 0
    looks.step_s(-86_400)
    assert looks.ahead_s == 0


def test_a_clock_that_creeps_back_holds_nothing_up() -> None:
    """Each look finds it a little less ahead than the step that would be noticed."""
    looks = Looks()
    looks.pass_s(STEADY_S + LOOK_S)
    began_us = looks.host_us
    for _ in range(600):
        looks.step_s(-(STEP_S - 1))
        looks.pass_s(LOOK_S)
    believed_us = looks.believed.at(looks.host_us, looks.lived_us)
    assert believed_us - began_us == 600 * LOOK_S * S


def test_a_new_start_goes_on_from_what_was_kept() -> None:
    looks = Looks(kept_us=NOW_US + 3600 * S)
    assert looks.ahead_s == 3600
    looks.pass_s(600)
    assert looks.ahead_s == 3600
    assert looks.kept_us == NOW_US + 4200 * S


def test_what_a_person_removed_is_forgotten_and_what_the_disk_refused_is_not() -> None:
    looks = Looks()
    looks.pass_s(STEADY_S + LOOK_S)
    looks.kept_us = None  # the first mark did not reach the disk
    looks.step_s(-3600)
    looks.pass_s(LOOK_S)
    assert looks.ahead_s == 3600
    looks.pass_s(LOOK_S)
    looks.kept_us = None  # a person removed it
    looks.pass_s(LOOK_S)
    assert looks.ahead_s == 0
