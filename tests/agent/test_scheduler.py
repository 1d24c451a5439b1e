"""Schedules at work on a real spool: every fire time at most once, over restarts and whatever the clock does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from premises import AGENT, Premises, until
from world import DIGEST, NOW, OTHER_DIGEST

from agent import limits, rows
from agent.clock import to_us
from agent.recorder import Recorder
from agent.rows import FireState
from agent.runs import RunRequest
from agent.scheduler import Scheduler
from protocol.errors import ArgumentError, UnavailableError

S = 1_000_000
START_US = to_us(NOW)


class Runs:
    """Starts runs as ``agent.sessions`` does, durably, and lets the test end them."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.requests: list[RunRequest] = []
        self.ends: list[asyncio.Event] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.recorded = 0  # beginnings on the disk
        self.takes_no_time = True
        self.refuses_to_record = False

    def start(self, request: RunRequest) -> asyncio.Task[None]:
        self.requests.append(request)
        end = asyncio.Event()
        self.ends.append(end)
        if self.takes_no_time:
            end.set()
        self.tasks.append(asyncio.create_task(self._run(request, end)))
        return self.tasks[-1]

    def are_still(self) -> bool:
        """Has every run begun, and ended if it was let end? A commit takes time that the test's clock does not know."""
        failed = sum(task.done() and not task.cancelled() and task.exception() is not None for task in self.tasks)
        ended = all(task.done() or not end.is_set() for task, end in zip(self.tasks, self.ends, strict=True))
        return ended and self.recorded + failed == len(self.tasks)

    async def _run(self, request: RunRequest, end: asyncio.Event) -> None:
        fire = request.fire
        assert fire is not None
        if self.refuses_to_record:
            raise UnavailableError("the spool is behind")
        if fire.was_queued:
            statements = [rows.settle_fire(fire.schedule, fire.fire_us, FireState.STARTED)]
        else:
            statements = [
                rows.mark_fire(fire.schedule, fire.fire_us, FireState.STARTED),
                rows.advance_schedule(fire.schedule, fire.fire_us),
            ]
        await self.recorder.commit([{"kind": "run.start", "data": {"fire_us": fire.fire_us}}], statements)
        self.recorded += 1
        await end.wait()


class Host:
    """A scheduler that runs, and can be killed and started again on the same disk."""

    def __init__(self, premises: Premises) -> None:
        self.premises = premises
        self.clock = premises.clock
        self.begin()

    def begin(self) -> None:
        self.runs = Runs(self.premises.recorder)
        self.scheduler = Scheduler(AGENT, self.premises.spool, self.premises.recorder, self.runs, self.premises.clock)
        self.task = asyncio.create_task(self.scheduler.run())

    async def end(self) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task
        for end in self.runs.ends:
            end.set()

    async def restart(self, away_s: float = 0.0) -> None:
        """End the process, let time pass, start a new one."""
        await self.end()
        await self.premises.recorder.commit([])
        self.clock.set(self.premises.now() + timedelta(seconds=away_s))
        self.premises.restart()
        self.begin()
        await self.clock.settled()
        await self.still()

    async def still(self) -> None:
        """Return when runs that take no time have ended and the scheduler has done what follows from it."""
        while True:
            await until(self.runs.are_still)
            await asyncio.sleep(0)  # so that the scheduler is told
            await self.clock.settled()
            if self.runs.are_still():
                return

    async def passes(self, seconds: float) -> None:
        """Let time pass, and everything end that ends in it."""
        await self.clock.advance(seconds)
        await self.still()

    async def schedule(self, *, version: int = 1, **changes: Any) -> None:
        body = {"id": "sch_1", "digest": DIGEST, "every_s": 60.0} | changes
        await self.scheduler.set(version, [{name: value for name, value in body.items() if value is not None}])
        await self.still()

    async def fired(self) -> list[int]:
        """Return all fire times that ever started, as seconds after the beginning."""
        return [(record.data["fire_us"] - START_US) // S for record in await self.premises.records("run.start")]

    async def skipped(self) -> list[tuple[str, Any]]:
        return [(record.outcome, record.data) for record in await self.premises.records("schedule.skip")]


@pytest.fixture
async def host(premises: Premises) -> AsyncIterator[Host]:
    made = Host(premises)
    await made.clock.settled()
    yield made
    await made.end()


async def test_a_schedule_fires_on_time_and_again(host: Host) -> None:
    await host.schedule()
    assert await host.fired() == [], "the moment at which it was made is not a fire time of it"
    for _ in range(18):
        await host.passes(10)
    assert await host.fired() == [60, 120, 180]


async def test_a_run_says_which_schedule_and_which_instant(host: Host) -> None:
    """An operator's order is checked against exactly this."""
    await host.schedule(parameters={"device": "sda"}, timeout_s=5.0, order={"signed": "so"})
    await host.passes(60.7)
    (request,) = host.runs.requests
    assert (request.digest, request.parameters, request.timeout_s) == (DIGEST, {"device": "sda"}, 5.0)
    assert request.principal == "schedule:sch_1"
    assert request.order == {"signed": "so"}
    assert request.fire is not None
    assert (request.fire.schedule, request.fire.fire_us) == ("sch_1", START_US + 60 * S)
    assert request.fire.spec["every_s"] == 60.0


async def test_schedules_run_after_a_restart_without_a_server(host: Host) -> None:
    await host.schedule(parameters={"device": "sda"})
    await host.restart()
    assert host.scheduler.version == 1
    assert host.scheduler.digests == {DIGEST}
    await host.passes(60)
    assert await host.fired() == [60]
    assert host.runs.requests[0].parameters == {"device": "sda"}


async def test_a_schedule_that_somebody_copied_on_the_disk_fires_once(host: Host) -> None:
    """Two of one id would take each fire time twice, which ends the agent, each time that it starts."""
    await host.schedule()
    (kept,) = host.premises.spool.schedules()
    await host.premises.recorder.commit([], [rows.put_schedule("sch_2", kept.body, kept.decided_us)])
    await host.restart()
    await host.passes(60)
    assert await host.fired() == [60]
    assert host.premises.broken == []


@pytest.mark.parametrize("catch_up", ["none", "last", "all"])
async def test_no_fire_time_runs_twice_over_restarts(host: Host, catch_up: str) -> None:
    """Killed right after each fire time, started again within the same second, under every catch-up rule."""
    await host.schedule(catch_up=catch_up)
    for _ in range(4):
        await host.passes(60)
        await host.restart()
        await host.restart(0.5)
        await host.passes(0.5)
        host.clock.set(host.premises.now() - timedelta(seconds=1))
    fired = await host.fired()
    assert fired == sorted(set(fired))
    assert fired == [60, 120, 180, 240]


@pytest.mark.parametrize("catch_up", ["none", "last", "all"])
async def test_a_clock_set_back_repeats_nothing(host: Host, catch_up: str) -> None:
    """A host whose clock is corrected by an hour runs what comes, not what it ran in that hour."""
    await host.schedule(catch_up=catch_up)
    for _ in range(3):
        await host.passes(60)
    host.clock.set(NOW)
    await host.restart()
    for _ in range(24):
        await host.passes(10)
    assert await host.fired() == [60, 120, 180, 240]


async def test_none_runs_nothing_of_what_was_missed_and_says_so(host: Host) -> None:
    await host.schedule(every_s=3600.0)
    await host.restart(away_s=3 * 3600 + 1800)
    assert await host.fired() == []
    ((outcome, data),) = await host.skipped()
    assert outcome == "missed"
    assert (data["first_us"] - START_US) // S == 3600
    assert (data["last_us"] - START_US) // S >= 3 * 3600
    await host.restart()
    assert len(await host.skipped()) == 1, "said once, not at every start"


async def test_last_runs_the_newest_of_what_was_missed(host: Host) -> None:
    await host.schedule(every_s=3600.0, catch_up="last")
    await host.restart(away_s=3 * 3600 + 1800)
    assert await host.fired() == [3 * 3600]
    await host.restart()
    assert await host.fired() == [3 * 3600]


async def test_all_runs_everything_that_was_missed_in_order(host: Host) -> None:
    await host.schedule(every_s=3600.0, catch_up="all")
    await host.restart(away_s=5 * 3600 + 1800)
    assert await host.fired() == [hours * 3600 for hours in (1, 2, 3, 4, 5)]


async def test_all_goes_on_where_a_kill_broke_it_off(host: Host) -> None:
    """Queued and not started when the process died: started once by the next one."""
    await host.schedule(every_s=3600.0, catch_up="all")
    await host.end()
    await host.premises.recorder.commit([])
    host.premises.restart()
    host.clock.set(NOW + timedelta(hours=3, minutes=30))
    host.begin()
    host.runs.takes_no_time = False
    await host.still()
    assert await host.fired() == [3600]
    await host.restart()
    assert await host.fired() == [3600, 7200, 10800]


async def test_overlap_skip_says_what_it_skips(host: Host) -> None:
    host.runs.takes_no_time = False
    await host.schedule()
    for _ in range(3):
        await host.passes(60)
    assert await host.fired() == [60]
    assert [(outcome, (data["fire_us"] - START_US) // S) for outcome, data in await host.skipped()] == [
        ("overlap", 120),
        ("overlap", 180),
    ]


async def test_overlap_queue_runs_one_after_the_other(host: Host) -> None:
    host.runs.takes_no_time = False
    await host.schedule(overlap="queue")
    for _ in range(3):
        await host.passes(60)
    assert await host.fired() == [60]
    for number in range(3):
        host.runs.ends[number].set()
        await host.still()
    assert await host.fired() == [60, 120, 180]
    assert await host.skipped() == []


async def test_what_was_queued_when_the_host_went_down_follows_the_catch_up_rule(host: Host) -> None:
    host.runs.takes_no_time = False
    await host.schedule(overlap="queue", catch_up="none")
    for _ in range(3):
        await host.passes(60)
    await host.fired()
    await host.restart()
    assert await host.fired() == [60]
    assert [outcome for outcome, _ in await host.skipped()] == ["missed", "missed"]
    await host.restart()
    assert len(await host.skipped()) == 2


async def test_a_removed_schedule_fires_no_more_and_its_queue_is_said_to_be_gone(host: Host) -> None:
    host.runs.takes_no_time = False
    await host.schedule(overlap="queue")
    await host.passes(60)
    await host.passes(60)
    await host.scheduler.set(2, [])
    host.runs.ends[0].set()
    await host.passes(60)
    assert await host.fired() == [60]
    assert [outcome for outcome, _ in await host.skipped()] == ["removed"]
    await host.restart()
    assert host.scheduler.digests == set()


async def test_what_was_set_unheard_and_removed_does_not_fire_after_a_restart(host: Host) -> None:
    """The link broke while it was written, so nobody here knows of it; the next list does not have it."""
    setting = asyncio.create_task(host.schedule())
    await until(lambda: host.premises.spool._writer._pending or host.premises.spool.schedules())
    setting.cancel()
    await asyncio.wait([setting])
    assert host.scheduler.digests == set()
    await host.scheduler.set(2, [])
    await host.restart()
    await host.passes(60.0)
    assert (host.scheduler.digests, await host.fired()) == (set(), [])


async def test_what_cannot_be_used_and_is_removed_is_gone(host: Host) -> None:
    """Its time zone was missing, say, and came back with an update; it would run, and for ever."""
    await host.premises.recorder.commit([], [rows.put_schedule("sch_1", b"odd", START_US)])
    await host.restart()
    await host.scheduler.set(1, [])
    assert host.premises.spool.schedules() == []


async def test_a_schedule_that_comes_back_does_not_fire_again(host: Host) -> None:
    """Its decided fire times outlive it."""
    await host.schedule(catch_up="all")
    await host.passes(60)
    await host.scheduler.set(2, [])
    host.clock.set(NOW)
    await host.schedule(version=3, catch_up="all")
    await host.passes(60)
    assert await host.fired() == [60]


async def test_a_schedule_that_is_switched_off_needs_no_bundle_and_does_not_fire(host: Host) -> None:
    await host.schedule(enabled=False)
    await host.passes(120)
    assert host.scheduler.digests == set()
    assert await host.fired() == []


async def test_what_a_schedule_did_not_do_while_it_was_off_is_not_caught_up(host: Host) -> None:
    """Whoever switches a check off for a night does not want the night's runs in the morning."""
    await host.schedule(catch_up="all")
    await host.schedule(version=2, catch_up="all", enabled=False)
    await host.passes(600)
    await host.schedule(version=3, catch_up="all")
    await host.restart()
    await host.passes(60)
    assert await host.fired() == [660]
    assert await host.skipped() == []


async def test_what_is_queued_when_a_schedule_is_switched_off_is_said_to_be_gone(host: Host) -> None:
    host.runs.takes_no_time = False
    await host.schedule(overlap="queue")
    await host.passes(60)
    await host.passes(60)
    await host.schedule(version=2, overlap="queue", enabled=False)
    await host.schedule(version=3, overlap="queue")
    host.runs.ends[0].set()
    await host.still()
    assert await host.fired() == [60]
    assert [outcome for outcome, _ in await host.skipped()] == ["disabled"]


async def test_an_older_wish_changes_nothing(host: Host) -> None:
    """A server restored from a copy must not bring back schedules of last week."""
    await host.schedule(version=5)
    await host.schedule(version=4, digest=OTHER_DIGEST)
    assert host.scheduler.digests == {DIGEST}
    await host.restart()
    assert (host.scheduler.version, host.scheduler.digests) == (5, {DIGEST})


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"every_s": None, "cron": "61 * * * *"}, "minute"),
        ({"every_s": None, "cron": "0 0 * * *", "zone": "Mars/Olympus"}, "zone"),
        ({"every_s": 0.01}, "every_s"),
        ({"overlap": "pile up"}, "overlap"),
        ({"colour": "red"}, "colour"),
        ({"id": "sch_2"}, "twice"),
    ],
)
async def test_one_wrong_schedule_changes_none(host: Host, wrong: dict[str, Any], says: str) -> None:
    """The error says which one of the list it is, and what is wrong with it."""
    await host.schedule()
    good = {"id": "sch_2", "digest": OTHER_DIGEST, "every_s": 60.0}
    bad = {name: value for name, value in (good | {"id": "sch_3"} | wrong).items() if value is not None}
    with pytest.raises(ArgumentError, match=f"schedule '{bad['id']}': .*{says}"):
        await host.scheduler.set(2, [good, bad])
    assert (host.scheduler.version, host.scheduler.digests) == (1, {DIGEST})
    await host.restart()
    assert (host.scheduler.version, host.scheduler.digests) == (1, {DIGEST})


@pytest.mark.parametrize("odd", [None, 7, "sch_1", [], {}])
async def test_what_is_no_schedule_at_all_is_refused_in_words(host: Host, odd: Any) -> None:
    with pytest.raises(ArgumentError, match=r"schedule '\?': the field 'id' is missing"):
        await host.scheduler.set(1, [odd])


async def test_more_schedules_than_a_host_takes(host: Host) -> None:
    many = [{"id": f"sch_{number}", "digest": DIGEST, "every_s": 60.0} for number in range(limits.MAX_SCHEDULES + 1)]
    with pytest.raises(ArgumentError, match=str(limits.MAX_SCHEDULES)):
        await host.scheduler.set(1, many)
    assert host.scheduler.digests == set()


@pytest.mark.parametrize("overlap", ["skip", "queue"])
async def test_a_run_that_could_not_be_recorded_is_met_again(host: Host, overlap: str) -> None:
    """Nothing ran, so nothing may be lost either."""
    host.runs.refuses_to_record = True
    await host.schedule(overlap=overlap)
    await host.passes(60)
    assert await host.fired() == []
    host.runs.refuses_to_record = False
    await host.passes(limits.LONGEST_NAP_S)
    assert await host.fired() == [60]


async def test_a_run_that_could_not_be_recorded_is_not_tried_all_the_time(host: Host) -> None:
    """A host whose disk is behind must not spend its processor on asking again."""
    host.runs.refuses_to_record = True
    await host.schedule()
    await host.passes(60)
    assert len(host.runs.requests) == 1
    await host.passes(limits.LONGEST_NAP_S)
    assert len(host.runs.requests) == 2


async def test_a_queued_run_that_could_not_be_recorded_is_met_again(host: Host) -> None:
    """It is marked as queued on the disk, so it must not be taken for decided."""
    host.runs.takes_no_time = False
    await host.schedule(overlap="queue")
    await host.passes(60)
    await host.passes(60)
    host.runs.refuses_to_record = True
    host.runs.ends[0].set()
    await until(lambda: len(host.runs.tasks) == 2 and host.runs.tasks[1].done())
    host.runs.refuses_to_record, host.runs.takes_no_time = False, True
    await host.still()
    await host.passes(limits.LONGEST_NAP_S)
    assert await host.fired() == [60, 120]


async def test_nothing_is_decided_while_the_spool_cannot_be_written(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be marked as taken must not run: after a kill it would run again."""
    await host.schedule()
    with monkeypatch.context() as disk:
        disk.setattr(Recorder, "problem", "disk I/O error")
        await host.passes(60)
        assert host.runs.requests == []
    await host.passes(limits.LONGEST_NAP_S)
    assert await host.fired() == [60], "met again, and not missed"


async def test_a_splayed_schedule_fires_at_the_same_offset_after_a_restart(host: Host) -> None:
    """The offset is the host's own constant: a fleet that restarts does not fire together, and nobody fires twice."""
    await host.schedule(splay_s=30.0)
    for restarts in (False, True, True):
        await host.passes(60)
        if restarts:
            await host.restart()
    fires = [record.data["fire_us"] - START_US for record in await host.premises.records("run.start")]
    offset_us = fires[0]
    assert 0 < offset_us < 30 * S
    assert fires == [offset_us, offset_us + 60 * S, offset_us + 120 * S]
