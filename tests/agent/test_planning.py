"""Deciding about fire times, as a table of situations, and under any walk of the clock."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import limits
from agent.planning import Action, CatchUp, Decision, Missed, Overlap, Plan, Situation, Upcoming, plan

S = 1_000_000
MINUTE = 60 * S
START = 1_800_000_000 * S


def every(step_us: int) -> Upcoming:
    def upcoming(after_us: int, count: int) -> list[int]:
        first = (after_us // step_us + 1) * step_us
        return [first + index * step_us for index in range(count)]

    return upcoming


def only(*fires: int) -> Upcoming:
    return lambda after_us, count: [fire for fire in sorted(fires) if fire > after_us][:count]


def make(
    *,
    late_us: int = 0,
    since_us: int = 30 * S,
    catch_up: CatchUp = CatchUp.NONE,
    overlap: Overlap = Overlap.SKIP,
    upcoming: Upcoming | None = None,
    is_running: bool = False,
    queued: int = 0,
    decided: frozenset[int] = frozenset(),
) -> Plan:
    now = START + late_us
    situation = Situation(now, now - since_us, is_running, queued)
    return plan(catch_up, overlap, upcoming or every(MINUTE), situation, decided.__contains__)


def runs(made: Plan) -> list[int]:
    return [decision.fire_us for decision in made.decisions if decision.action is Action.RUN]


def test_nothing_is_due_before_its_time() -> None:
    made = make(late_us=-1, since_us=30 * S)
    assert made == Plan((), None, START - 1, START)


def test_a_due_fire_time_runs() -> None:
    made = make()
    assert made.decisions == (Decision(START, Action.RUN),)
    assert made.next_us == START + MINUTE


def test_a_look_at_what_is_not_due_asks_for_few_fire_times() -> None:
    """An idle agent looks every few seconds at each of its schedules; a thousand fire times ahead cost it 8 ms each."""
    asked = []

    def upcoming(after_us: int, count: int) -> list[int]:
        asked.append(count)
        return every(MINUTE)(after_us, count)

    for catch_up in CatchUp:
        make(late_us=-1, since_us=30 * S, upcoming=upcoming, catch_up=catch_up)
    assert sum(asked) <= 3 * len(CatchUp)


@pytest.mark.parametrize("late_s", [0, 1, 30, 59])
def test_a_stalled_host_runs_late_and_does_not_skip(late_s: int) -> None:
    made = make(late_us=late_s * S, since_us=late_s * S + 1)
    assert runs(made) == [START]
    assert made.missed is None


def test_what_an_absent_host_missed_is_said_and_not_run() -> None:
    """Catch-up none: three hours away, hourly: all three missed, none run, one span in the record."""
    made = make(late_us=1800 * S, since_us=3 * 3600 * S, upcoming=every(3600 * S))
    assert made.decisions == ()
    assert made.missed is not None
    assert made.missed.first_us == START - 2 * 3600 * S


def test_last_runs_the_newest_missed_one_only() -> None:
    made = make(late_us=1800 * S, since_us=3 * 3600 * S, upcoming=every(3600 * S), catch_up=CatchUp.LAST)
    assert runs(made) == [START]
    assert made.missed is not None
    assert made.missed.last_us < START


def test_last_finds_a_sparse_fire_time_far_back() -> None:
    lonely = START - 200 * 86400 * S
    made = make(since_us=300 * 86400 * S, upcoming=only(lonely, START + MINUTE), catch_up=CatchUp.LAST)
    assert made.decisions == (Decision(lonely, Action.RUN),)
    assert made.missed is None


def test_last_after_a_month_of_seconds_is_cheap() -> None:
    """2.6 million missed fire times must not be counted one by one."""
    asked = 0
    times = every(S)

    def counting(after_us: int, count: int) -> list[int]:
        nonlocal asked
        asked += count
        return times(after_us, count)

    made = make(since_us=30 * 86400 * S, upcoming=counting, catch_up=CatchUp.LAST)
    assert runs(made) == [START - 2 * S]
    assert asked < 10_000


def test_last_is_satisfied_by_one_that_is_on_time() -> None:
    made = make(since_us=3 * 3600 * S, catch_up=CatchUp.LAST)
    assert runs(made) == [START]


def test_all_catches_up_in_order_one_after_the_other() -> None:
    made = make(since_us=5 * MINUTE - 1, catch_up=CatchUp.ALL)
    assert [decision.fire_us for decision in made.decisions] == [START - n * MINUTE for n in (4, 3, 2, 1, 0)]
    assert [decision.action for decision in made.decisions] == [Action.RUN] + 4 * [Action.QUEUE]


def test_all_holds_back_what_the_queue_has_no_room_for() -> None:
    """Nothing is lost: what is held stays undecided until there is room."""
    made = make(since_us=100 * MINUTE - 1, catch_up=CatchUp.ALL)
    assert len(made.decisions) == 1 + limits.MAX_QUEUED_FIRES
    assert made.decided_us == made.decisions[-1].fire_us + MINUTE - 1
    assert made.next_us is None


def test_nothing_older_than_the_horizon_is_caught_up() -> None:
    year_us = 365 * 86400 * S
    made = make(since_us=year_us, upcoming=every(3600 * S), catch_up=CatchUp.ALL)
    assert made.missed is not None
    assert made.missed.last_us <= START - limits.CATCH_UP_HORIZON_S * S
    assert made.decisions[0].fire_us > made.missed.last_us


def test_a_run_under_way_skips() -> None:
    made = make(is_running=True)
    assert made.decisions == (Decision(START, Action.SKIP, "overlap"),)


def test_a_run_under_way_queues() -> None:
    made = make(is_running=True, overlap=Overlap.QUEUE)
    assert made.decisions == (Decision(START, Action.QUEUE),)


def test_a_full_queue_skips_and_says_so() -> None:
    made = make(is_running=True, overlap=Overlap.QUEUE, queued=limits.MAX_QUEUED_FIRES)
    assert made.decisions == (Decision(START, Action.SKIP, "queue_full"),)


def test_a_decided_fire_time_passes_by() -> None:
    """The clock was set back by an hour: what ran in that hour does not run again."""
    now = START + 1
    situation = Situation(now, now + 3600 * S, False, 0)
    made = plan(CatchUp.ALL, Overlap.QUEUE, every(MINUTE), situation, lambda _: True)
    assert made.decisions == ()
    assert made.decided_us == now
    assert made.next_us == START + MINUTE


def test_a_clock_set_back_from_the_far_future_does_not_stop_the_schedule() -> None:
    situation = Situation(START - 1, START + 70 * 365 * 86400 * S, False, 0)
    made = plan(CatchUp.NONE, Overlap.SKIP, every(MINUTE), situation, lambda _: False)
    assert made.next_us == START


def test_a_schedule_without_a_next_time_waits_for_ever() -> None:
    assert make(upcoming=only()).next_us is None


def test_missed_fire_times_are_counted_where_that_is_cheap() -> None:
    made = make(late_us=30 * S, since_us=55 * S, upcoming=only(START - 20 * S, START, START + 28 * S))
    assert runs(made) == [START + 28 * S]
    assert made.missed == Missed(START - 20 * S, START, 2)


@settings(max_examples=200, deadline=None)
@given(
    catch_up=st.sampled_from(CatchUp),
    overlap=st.sampled_from(Overlap),
    step_s=st.sampled_from([1, 7, 60, 3600]),
    walk=st.lists(st.tuples(st.integers(-4000, 8000), st.booleans(), st.booleans()), min_size=1, max_size=25),
)
def test_no_walk_of_the_clock_decides_a_fire_time_twice(
    catch_up: CatchUp, overlap: Overlap, step_s: int, walk: list[tuple[int, bool, bool]]
) -> None:
    """Forward, backward, with and without runs that end, with restarts that forget everything but the marks."""
    now, cursor = START, START
    decided: set[int] = set()
    running, queued = False, 0
    for step, ends, restarts in walk:
        now += step * S
        if ends and running:
            running, queued = queued > 0, max(0, queued - 1)
        if restarts:
            running = False
        made = plan(catch_up, overlap, every(step_s * S), Situation(now, cursor, running, queued), decided.__contains__)
        for decision in made.decisions:
            assert decision.fire_us <= now
            assert decision.fire_us not in decided
            assert decision.fire_us % (step_s * S) == 0
            decided.add(decision.fire_us)
            running |= decision.action is Action.RUN
            queued += decision.action is Action.QUEUE
        assert queued <= limits.MAX_QUEUED_FIRES
        assert made.decided_us <= now
        cursor = made.decided_us


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 20_000), min_size=1, max_size=20))
def test_all_loses_nothing_however_late_it_looks(steps_s: list[int]) -> None:
    now, cursor = START, START
    decided: list[int] = []
    for step_s in steps_s:
        now += step_s * S
        while True:
            made = plan(CatchUp.ALL, Overlap.QUEUE, every(MINUTE), Situation(now, cursor, False, 0), lambda _: False)
            decided += [decision.fire_us for decision in made.decisions]
            cursor = made.decided_us
            if made.next_us is not None and made.next_us > now:
                break
    assert decided == list(range(START + MINUTE, now + 1, MINUTE))
