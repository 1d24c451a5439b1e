"""What to do about the fire times of one schedule: pure, from the rule, the clock and what was decided before.

The rules:

- A fire time is decided once. Whatever the clock does, one that was decided is never decided again.
- A fire time is *on time* if it is seen within ``ON_TIME_S``, or if it is the newest due one and no older than
  ``NEWEST_ON_TIME_S``: a busy or stalled host runs late, it does not skip.
- What is due and not on time was missed (the agent was away, the host slept, the clock stepped forward), and the
  catch-up rule decides: ``none`` runs nothing of it, ``last`` the newest one if nothing is on time, ``all`` everything
  within ``CATCH_UP_HORIZON_S``, in order, one after the other.
- While a run of the same schedule is under way, a fire time that is on time waits (overlap ``queue``) or is skipped
  (``skip``).
- After a clock stepped back, fire times that were already decided pass by, and new ones are decided as they come.

Times are whole microseconds since 1970 in UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from agent import limits

Upcoming = Callable[
    [int, int], list[int]
]  # (after_us, count) -> the next fire times, ascending, fewer if there are none

_SECOND_US = 1_000_000
_ON_TIME_US = int(limits.ON_TIME_S * _SECOND_US)
_NEWEST_ON_TIME_US = int(limits.NEWEST_ON_TIME_S * _SECOND_US)
_HORIZON_US = int(limits.CATCH_UP_HORIZON_S * _SECOND_US)
_WINDOW_GROWTH = 8  # of the look back for the newest missed fire time; an empty window says how sparse they are
_MAX_LOOK_BACK_CHUNKS = 64


class Action(StrEnum):
    """What becomes of a fire time."""

    RUN = "run"
    QUEUE = "queue"
    SKIP = "skip"


class CatchUp(StrEnum):
    """What becomes of missed fire times."""

    NONE = "none"
    LAST = "last"
    ALL = "all"


class Overlap(StrEnum):
    """What becomes of a fire time while a run of the same schedule is under way."""

    SKIP = "skip"
    QUEUE = "queue"


@dataclass(frozen=True, slots=True)
class Situation:
    """What the plan is made for."""

    now_us: int
    decided_us: int  # all fire times up to here are decided; may lie after now_us if the clock stepped back
    is_running: bool  # a run of this schedule is under way or about to start
    queued: int  # fire times of this schedule that wait


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of one fire time, and why if it is skipped."""

    fire_us: int
    action: Action
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Missed:
    """A span of fire times that will not run."""

    first_us: int
    last_us: int  # the newest of them, or the end of the span where ``count`` is None
    count: int | None  # None where counting them would cost more than it tells


@dataclass(frozen=True, slots=True)
class Plan:
    """The decisions about everything that is due, and when to look again."""

    decisions: tuple[Decision, ...]
    missed: Missed | None
    decided_us: int
    next_us: int | None  # the next fire time; None if there is none, or if it is a run's end that is waited for


def plan(
    catch_up: CatchUp, overlap: Overlap, upcoming: Upcoming, situation: Situation, is_decided: Callable[[int], bool]
) -> Plan:
    """Decide about every fire time after ``situation.decided_us`` that is due.

    Args:
        catch_up: What becomes of missed fire times.
        overlap: What becomes of fire times during a run.
        upcoming: The schedule's fire times.
        situation: The moment and what is under way.
        is_decided: Has exactly this fire time been decided before? Asked for each candidate.
    """
    now_us = situation.now_us
    start_us = min(situation.decided_us, now_us)
    due, missed = _due(catch_up, upcoming, start_us, now_us)
    candidates = [fire_us for fire_us in due if not is_decided(fire_us)]
    chosen, late = _choose(catch_up, candidates, now_us)
    decisions, held_us = _place(catch_up, overlap, chosen, situation, now_us)
    if held_us is not None:  # the queue is full: what is held is decided when there is room
        return Plan(tuple(decisions), _join(missed, late), held_us - 1, None)
    decided_us = now_us
    if len(due) >= limits.MAX_FIRES_PER_PLAN:
        decided_us = due[-1]
    following = upcoming(decided_us, 1)
    return Plan(tuple(decisions), _join(missed, late), decided_us, following[0] if following else None)


def _due(catch_up: CatchUp, upcoming: Upcoming, start_us: int, now_us: int) -> tuple[list[int], Missed | None]:
    """Return the fire times worth looking at one by one, and the span before them that will not run."""
    span_us = _HORIZON_US if catch_up is CatchUp.ALL else _NEWEST_ON_TIME_US
    from_us = max(start_us, now_us - span_us)
    due = _due_after(upcoming, from_us, now_us)
    first = upcoming(start_us, 1) if from_us > start_us else []
    if not first or first[0] > from_us:
        return due, None
    if catch_up is CatchUp.LAST and not due:
        newest_us = _newest(upcoming, first[0], from_us)
        due = [newest_us]
        if first[0] == newest_us:
            return due, None
        return due, Missed(first[0], newest_us - 1, None)
    return due, Missed(first[0], from_us, None)


def _due_after(upcoming: Upcoming, from_us: int, now_us: int) -> list[int]:
    """Return the fire times from one moment to another. Most looks find none, so one is asked for before a thousand."""
    following = upcoming(from_us, 1)
    if not following or following[0] > now_us:
        return []
    return [fire_us for fire_us in upcoming(from_us, limits.MAX_FIRES_PER_PLAN) if fire_us <= now_us]


def _newest(upcoming: Upcoming, first_us: int, until_us: int) -> int:
    """Return the newest fire time up to ``until_us``, given the first one, by looking back further and further."""
    window_us = _NEWEST_ON_TIME_US
    while until_us - window_us > first_us:
        newest_us = max(_between(upcoming, until_us - window_us, until_us), default=None)
        if newest_us is not None:
            return newest_us
        window_us *= _WINDOW_GROWTH
    return max(_between(upcoming, first_us, until_us), default=first_us)


def _between(upcoming: Upcoming, from_us: int, until_us: int) -> Iterator[int]:
    for _ in range(_MAX_LOOK_BACK_CHUNKS):
        chunk = upcoming(from_us, limits.MAX_FIRES_PER_PLAN)
        for fire_us in chunk:
            if fire_us > until_us:
                return
            yield fire_us
        if len(chunk) < limits.MAX_FIRES_PER_PLAN:
            return
        from_us = chunk[-1]


def _choose(catch_up: CatchUp, candidates: list[int], now_us: int) -> tuple[list[int], list[int]]:
    """Split the candidates into those to run and those that were missed."""
    if catch_up is CatchUp.ALL:
        return candidates, []
    on_time = [fire_us for fire_us in candidates if now_us - fire_us <= _ON_TIME_US]
    newest = candidates[-1:]
    if newest and not on_time and (catch_up is CatchUp.LAST or now_us - newest[0] <= _NEWEST_ON_TIME_US):
        on_time = newest
    return on_time, [fire_us for fire_us in candidates if fire_us not in on_time]


def _place(
    catch_up: CatchUp, overlap: Overlap, chosen: list[int], situation: Situation, now_us: int
) -> tuple[list[Decision], int | None]:
    """Return a decision for each chosen fire time, and the first one that must be held back, if any."""
    decisions: list[Decision] = []
    busy, queued = situation.is_running, situation.queued
    for fire_us in chosen:
        caught_up = catch_up is CatchUp.ALL and (queued > 0 or now_us - fire_us > _ON_TIME_US)
        if not busy and not queued:
            decisions.append(Decision(fire_us, Action.RUN))
            busy = True
        elif (caught_up or overlap is Overlap.QUEUE) and queued < limits.MAX_QUEUED_FIRES:
            decisions.append(Decision(fire_us, Action.QUEUE))
            queued += 1
        elif caught_up:
            return decisions, fire_us
        else:
            decisions.append(Decision(fire_us, Action.SKIP, "overlap" if overlap is Overlap.SKIP else "queue_full"))
    return decisions, None


def _join(missed: Missed | None, late: list[int]) -> Missed | None:
    """Return one span for both: what was not looked at, and what was and is too late."""
    if not late:
        return missed
    if missed is None:
        return Missed(late[0], late[-1], len(late))
    return Missed(min(missed.first_us, late[0]), max(missed.last_us, late[-1]), None)
