"""Runs from the wish to the end, in a real sandbox on a real spool: a beginning and an end each, or one refusal."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import Any

import pytest
from premises import Premises, approved, script, until
from works import Works, wish
from world import NOW

from agent import limits, rows
from agent.clock import to_us
from agent.confinement import Confinement
from agent.consent import OWNER, Consents
from agent.recorder import Recorder
from agent.rows import FireState
from agent.runs import Fire
from agent.trusting import Freeze
from protocol.errors import NotFoundError, RateError, UnavailableError
from protocol.frames import encode
from protocol.ledger import Record

pytestmark = pytest.mark.asyncio(loop_scope="module")

FOREVER = "while true do time.sleep(0.01) end\n"  # seldom enough to come to no bound of calls or processor time
FIRE_US = to_us(NOW)


def offered(works: Works, source: str = "return 1\n", *, tier: str = "observe", more: str = "") -> str:
    entry = approved(works.world, script(source, tier=tier, more=more))
    works.repository.put(entry)
    return entry.bundle.digest


async def kinds(works: Works, run_id: str = "run_1") -> list[str]:
    return [record.kind for record in await works.premises.records() if record.run == run_id]


def fire(*, was_queued: bool = False) -> Fire:
    return Fire("sch_1", FIRE_US, was_queued, {"id": "sch_1", "digest": "", "every_s": 60.0})


# a run ---------------------------------------------------------------------------------------------------------------


async def test_a_run_is_on_record_from_its_beginning_to_its_end(works: Works) -> None:
    source = 'check.metric("n", "int64", 4, "pieces")\ncheck.status("well")\nprint("hello")\nreturn {answer = 42}\n'
    end = await works.run(offered(works, source), reason="ticket 7")
    assert await kinds(works) == ["run.start", "call", "call", "run.end"]
    (start,) = await works.premises.records("run.start")
    assert (start.principal, start.session, start.data["reason"]) == ("oli", "run_1", "ticket 7")
    assert (start.data["script"], start.data["version"], start.data["tier"]) == ("checks/disk", "1.2.0", "observe")
    assert end.outcome == end.data["status"] == "ok"
    assert end.data["result"] == {"answer": 42}
    assert end.data["output"] == "hello\n"
    assert (end.data["status_text"], end.data["timestamp_ms"]) == ("well", None)
    assert [(metric["name"], metric["value"]) for metric in end.data["metrics"]] == [("n", 4)]
    assert end.data["usage"]["calls"] == 2
    assert end.duration_us > 0


@pytest.mark.parametrize(("rest", "told"), [("", 0), ("error('no')\n", None)])
async def test_when_metrics_were_taken_is_told_with_them(works: Works, rest: str, told: int | None) -> None:
    """Also the very beginning of time; and never of a run without metrics, as one that failed has none."""
    end = await works.run(offered(works, f'check.metric("n", "int64", 4)\ncheck.timestamp(0)\n{rest}'))
    assert (end.data["timestamp_ms"], len(end.data["metrics"])) == (told, 0 if rest else 1)


@pytest.mark.parametrize(
    ("source", "status", "says"),
    [
        ('error("no such disk")\n', "error", "no such disk"),
        ("this is not Lua\n", "error", "main.lua"),
        ('\nfs.read("/etc/shadow")\n', "denied", "fs.read"),
    ],
)
async def test_how_a_run_can_end_otherwise(works: Works, source: str, status: str, says: str) -> None:
    end = await works.run(offered(works, source))
    assert (end.outcome, end.data["status"]) == (status, status)
    assert says in end.data["reason"]
    assert end.data["result"] is None


async def test_a_run_that_takes_longer_than_it_may_is_killed(works: Works) -> None:
    """The script's own limit; nothing in the worker is trusted to stop."""
    end = await works.run(offered(works, "while true do end\n", more="limits: {wall: 50ms}\n"))
    assert (end.outcome, "wall" in end.data["reason"]) == ("killed", True)


async def test_the_timeout_of_a_run_narrows_its_limit(works: Works) -> None:
    end = await works.run(offered(works, FOREVER), timeout_s=0.05)
    assert (end.outcome, "wall" in end.data["reason"]) == ("killed", True)
    end = await works.run(offered(works, FOREVER, more="limits: {wall: 50ms}\n"), run_id="run_2", timeout_s=3600.0)
    assert end.outcome == "killed", "it never widens"


async def test_one_run_does_not_see_what_another_left(works: Works) -> None:
    digest = offered(works, "seen = (seen or 0) + 1\nreturn seen\n")
    assert (await works.run(digest)).data["result"] == 1
    assert (await works.run(digest, run_id="run_2")).data["result"] == 1


async def test_a_result_that_fills_a_record_still_reaches_the_ledger(works: Works) -> None:
    """An end that cannot be recorded would be told as lost at the next start, though the run was well."""
    deep = "local v = 1\nfor _ = 1, 12 do v = {v} end\nprint(('x'):rep(200000))\nreturn v\n"
    end = await works.run(offered(works, deep))
    assert end.outcome == "ok"
    assert end.data["truncated"]
    assert end.data["cut"] == ["output"]
    wide = "local v = {}\nfor n = 1, 24000 do v[n] = n end\nreturn v\n"
    end = await works.run(offered(works, wide), run_id="run_2")
    assert (end.outcome, end.data["result"], end.data["cut"]) == ("ok", None, ["result"])


@pytest.mark.parametrize(
    "parameters", [{f"p{n}": "x" * 1000 for n in range(100)}, {"n" * 70_000: 1}, {f"p{n}": n for n in range(20_000)}]
)
async def test_a_wish_that_is_larger_than_a_record_is_refused_on_record(
    works: Works, parameters: dict[str, Any]
) -> None:
    """Whoever tries things out on a host would leave no trace of it, and a schedule would try for ever."""
    digest = offered(works)
    refusal = await works.refusal(digest, parameters=parameters)
    (told,) = refusal.arguments.values()
    assert (set(told), told["bytes"] > 64 * limits.KIB) == ({"cut", "bytes", "sha256"}, True)
    await works.sessions.start(wish(digest, run_id="run_2", parameters=parameters, fire=fire()))
    assert [record.run for record in await works.premises.records("refusal")] == ["run_1", "run_2"]
    assert works.premises.spool.is_decided("sch_1", FIRE_US)


async def test_a_run_with_more_than_a_record_holds_is_on_record(works: Works) -> None:
    declared = "".join(f"  p{n}: {{type: string}}\n" for n in range(100))
    parameters = {f"p{n}": "x" * 1000 for n in range(100)}
    digest = offered(works, 'return #param("p99")\n', more=f"parameters:\n{declared}")
    end = await works.run(digest, parameters=parameters)
    assert (end.outcome, end.data["result"]) == ("ok", 1000)
    (start,) = await works.premises.records("run.start")
    assert [told["bytes"] for told in start.arguments.values()] == [len(encode(parameters))]


# durable first -------------------------------------------------------------------------------------------------------


async def test_a_run_is_accepted_when_its_beginning_is_on_the_disk(works: Works) -> None:
    """Whoever is told that it runs may rely on finding it on record, whatever is killed next."""
    await works.ask(offered(works))
    with closing(sqlite3.connect(f"file:{works.premises.state.spool}?mode=ro", uri=True)) as disk:
        assert disk.execute("SELECT run FROM runs").fetchall() == [("run_1",)]
        assert disk.execute("SELECT count(*) FROM records").fetchone()[0] >= 1
    await works.end()


async def held_back(
    works: Works, source: str, patch: pytest.MonkeyPatch, **more: Any
) -> tuple[asyncio.Task[None], asyncio.Future[None]]:
    """Begin a run whose beginning is on disk, as far as it hears, once the future is done; a later one has ended."""
    held: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    begin = works.premises.recorder.begin

    def begin_late(*values: Any) -> asyncio.Future[None]:
        durable = begin(*values)

        async def later() -> None:
            await held
            await durable

        return asyncio.ensure_future(later())

    patch.setattr(works.premises.recorder, "begin", begin_late)
    asking = asyncio.create_task(works.ask(offered(works, source), **more))
    await until(lambda: works.sessions._places.free < works.concurrent)
    patch.setattr(works.premises.recorder, "begin", begin)
    await works.run(offered(works, 'fs.exists("/")\nreturn 2\n'), run_id="run_2")
    return asking, held


async def test_nothing_is_done_for_a_script_before_its_beginning_is_on_the_disk(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a kill between the two would leave an effect without any record."""
    asking, held = await held_back(works, 'fs.exists("/")\nreturn 1\n', monkeypatch)
    assert await kinds(works) == ["run.start"]
    assert not asking.done()
    held.set_result(None)
    await asking
    await works.end()
    assert await kinds(works) == ["run.start", "call", "run.end"]


async def test_what_leaves_nothing_behind_need_not_wait_for_the_disk(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the script is at work while the disk is. What came of it is told to nobody before."""
    source = 'local up = sys.uptime()\ncheck.metric("up", "gauge", up, "s")\nreturn up > 0\n'
    asking, held = await held_back(works, source, monkeypatch)
    await until(lambda: works.premises.recorder.head.sequence >= 6)  # three of the other run
    assert await kinds(works) == ["run.start", "call", "call"]
    assert not asking.done()
    held.set_result(None)
    await asking
    end = await works.end()
    assert (end.outcome, end.data["result"], len(end.data["metrics"])) == ("ok", True, 1)


async def test_nobody_is_asked_before_the_beginning_is_on_the_disk(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is asked has heard of the run, also if it is about a call that need not wait."""
    premises = works.premises
    premises.allow("highest_tier: observe\naccept_server_word: [run, schedule]\nask: [{call: sys.uptime}]\n")
    consents = Consents(premises.trust.ceiling, premises.recorder, premises.clock)
    works.sessions._worker._consents = consents
    asking, held = await held_back(works, "return sys.uptime() > 0\n", monkeypatch)
    assert consents.pending == []
    held.set_result(None)
    await asking
    await until(lambda: consents.pending)
    consents.answer(consents.pending[0].id, granted=True, by="root", channel=OWNER)
    assert (await works.end()).data["result"] is True


@pytest.mark.parametrize("source", ["sys.uptime()\nwhile true do end\n", "sys.uptime()\nreturn 1\n"])
async def test_a_disk_that_refuses_while_the_script_is_at_work(
    works: Works, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """Whether it is still at it or has ended: it is told as one that was never allowed to go on."""
    asking, held = await held_back(works, source, monkeypatch)
    await until(lambda: works.premises.recorder.head.sequence >= 5)  # of both runs
    held.set_exception(UnavailableError("the spool cannot be written: disk I/O error"))
    with pytest.raises(UnavailableError, match="disk I/O error"):
        await asking
    end = await works.end()
    assert (end.outcome, "could not be recorded" in end.data["reason"]) == ("killed", True)
    assert end.data["result"] is None
    assert await kinds(works) == ["run.start", "call", "run.end"], "and what was done is on record"


async def test_a_beginning_that_the_disk_refuses_runs_nothing(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reaches the disk later all the same, so it gets an end that says that nothing ran."""
    begin = works.premises.recorder.begin

    def refused(*values: Any) -> asyncio.Future[None]:
        begin(*values)
        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        failed.set_exception(UnavailableError("the spool cannot be written: disk I/O error"))
        return failed

    with monkeypatch.context() as disk:
        disk.setattr(works.premises.recorder, "begin", refused)
        with pytest.raises(UnavailableError, match="disk I/O error"):
            await works.ask(offered(works, "sys.uptime()\n"))
    end = await works.end()
    assert (end.outcome, "could not be recorded" in end.data["reason"]) == ("killed", True)
    assert await kinds(works) == ["run.start", "run.end"]


async def test_what_cannot_be_recorded_at_all_leaves_no_trace_and_says_so(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A schedule then meets its fire time again."""

    def full(*_: Any, **__: Any) -> None:
        raise UnavailableError("the spool is behind")

    digest = offered(works)
    with monkeypatch.context() as disk:
        disk.setattr(Recorder, "begin", full)
        with pytest.raises(UnavailableError, match="behind"):
            await works.sessions.start(wish(digest, fire=fire(), principal="schedule:sch_1"))
        disk.setattr(Recorder, "append", full)
        works.premises.allow("frozen: true\n")
        with pytest.raises(UnavailableError, match="behind"):
            await works.sessions.start(wish(digest, run_id="run_2", fire=fire()))
    assert await works.premises.records() == []
    assert not works.premises.spool.is_decided("sch_1", FIRE_US)


# fire times ----------------------------------------------------------------------------------------------------------


async def test_a_fire_time_is_taken_with_the_beginning_of_its_run(works: Works) -> None:
    digest = offered(works)
    await works.sessions.start(wish(digest, fire=fire(), principal="schedule:sch_1"))
    assert works.premises.spool.is_decided("sch_1", FIRE_US)
    end = await works.end()
    assert (end.data["schedule"], end.data["fire_us"], end.principal) == ("sch_1", FIRE_US, "schedule:sch_1")


@pytest.mark.parametrize("was_queued", [False, True])
async def test_a_refused_fire_time_is_decided_too(works: Works, was_queued: bool) -> None:
    """Or it would be asked about again with every look at the clock, and leave as many refusals."""
    works.premises.allow("frozen: true\n")
    if was_queued:
        await works.premises.recorder.commit([], [rows.mark_fire("sch_1", FIRE_US, FireState.QUEUED)])
    await works.sessions.start(wish(offered(works), fire=fire(was_queued=was_queued)))
    (refusal,) = await works.premises.records("refusal")
    assert (refusal.data["schedule"], refusal.data["fire_us"]) == ("sch_1", FIRE_US)
    assert works.premises.spool.is_decided("sch_1", FIRE_US)
    assert works.premises.spool.queued_fires() == []


# the same wish again -------------------------------------------------------------------------------------------------


async def test_the_same_run_asked_for_again_starts_nothing(works: Works) -> None:
    """A server that lost its link asks again; it must be able to, and nothing may run twice."""
    digest = offered(works)
    await asyncio.gather(works.ask(digest), works.ask(digest))
    await works.ask(digest)
    await works.end()
    await works.ask(digest)
    await works.restart()
    await works.ask(digest)
    assert await kinds(works) == ["run.start", "run.end"]


async def test_a_refusal_is_told_to_everybody_who_asked(works: Works) -> None:
    works.premises.allow("frozen: true\n")
    digest = offered(works)
    asked = await asyncio.gather(works.ask(digest), works.ask(digest), return_exceptions=True)
    assert [type(each).__name__ for each in asked] == ["DeniedError", "DeniedError"]
    assert await kinds(works) == ["refusal"]


# places --------------------------------------------------------------------------------------------------------------


async def narrow(premises: Premises, confinement: Confinement, concurrent: int = 1) -> Works:
    premises.take_roster()
    premises.allow()
    return Works(premises, confinement, concurrent=concurrent)


async def test_more_runs_than_places_wait_for_one(premises: Premises, confinement: Confinement) -> None:
    """All of them are accepted and on record at once, and one after the other runs."""
    works = await narrow(premises, confinement)
    slow, quick = offered(works, FOREVER), offered(works)
    await works.ask(slow)
    await works.ask(quick, run_id="run_2")
    await until(lambda: works.sessions._places.free == 0)
    assert await kinds(works, "run_2") == ["run.start"]
    works.sessions.cancel("run_1")
    assert (await works.end("run_2")).outcome == "ok"


async def test_what_waited_and_may_no_longer_run_says_so_in_its_end(
    premises: Premises, confinement: Confinement
) -> None:
    works = await narrow(premises, confinement)
    slow, quick = offered(works, FOREVER), offered(works)
    await works.ask(slow)
    await works.ask(quick, run_id="run_2")
    premises.trust.add_withdrawals([works.world.withdrawal(digest=quick)], NOW)
    works.sessions.cancel("run_1")
    end = await works.end("run_2")
    assert (end.outcome, "withdrawn" in end.data["reason"]) == ("denied", True)


async def test_the_schedules_of_one_script_leave_room_for_others(
    premises: Premises, confinement: Confinement, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All begin and are on record; half of the places is the most that they get, and what they keep waiting is few."""
    monkeypatch.setattr(limits, "MAX_WAITING_RUNS", 4)
    works = await narrow(premises, confinement, 4)
    greedy = offered(works, FOREVER, more="limits: {wall: 60s}\n")

    def at(number: int) -> Fire:
        return Fire(f"sch_{number}", FIRE_US, False, {"id": f"sch_{number}", "digest": greedy, "every_s": 60.0})

    for number in range(4):
        await works.ask(greedy, run_id=f"greedy_{number}", fire=at(number))
    await until(lambda: works.sessions._places.free == 2)
    assert (await works.run(offered(works), run_id="by_hand")).outcome == "ok"
    other = approved(works.world, script("return 7\n", name="checks/other"))
    works.repository.put(other)
    assert (await works.run(other.bundle.digest, run_id="other", fire=at(9))).data["result"] == 7
    with pytest.raises(RateError, match="2 runs for schedules of the script checks/disk wait"):
        await works.ask(greedy, run_id="greedy_4", fire=at(4))
    assert await kinds(works, "greedy_4") == ["refusal"]
    works.sessions.stop_all("enough")
    for number in range(4):
        assert (await works.end(f"greedy_{number}")).outcome == "killed"
    assert works.sessions._places.free == 4


async def test_more_runs_than_may_wait_are_refused(
    premises: Premises, confinement: Confinement, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_WAITING_RUNS", 1)
    works = await narrow(premises, confinement)
    slow = offered(works, FOREVER)
    await works.ask(slow)
    await works.ask(slow, run_id="run_2")
    with pytest.raises(RateError):
        await works.ask(slow, run_id="run_3")
    assert await kinds(works, "run_3") == ["refusal"]
    works.sessions.stop_all("enough")
    assert (await works.end("run_2")).outcome == "killed"
    await works.end("run_1")
    await works.run(offered(works), run_id="run_4")


async def test_what_was_taken_up_is_known_from_then_on(works: Works) -> None:
    """A server that was killed asks; what it hears is what records will tell of."""
    accepted = works.sessions.accept(wish(offered(works)))
    assert works.sessions.knows("run_1"), "it is being decided about"
    await accepted
    await works.end()
    assert works.sessions.knows("run_1")
    assert not works.sessions.knows("run_2")


# stopping ------------------------------------------------------------------------------------------------------------


async def test_a_run_that_is_cancelled_ends_as_killed(works: Works) -> None:
    await works.ask(offered(works, FOREVER))
    works.sessions.cancel("run_1", "cancelled by oli")
    end = await works.end()
    assert (end.outcome, end.data["reason"]) == ("killed", "cancelled by oli")


async def test_a_run_cancelled_before_it_is_decided_about_never_begins(works: Works) -> None:
    """The order to stop may overtake the fetching of the bundle."""
    digest = offered(works)
    arrives = asyncio.Event()
    fetch = works.bundles.fetch
    assert fetch is not None

    async def slowly(wanted: str) -> Any:
        await arrives.wait()
        return await fetch(wanted)

    works.bundles.fetch = slowly
    asking = asyncio.create_task(works.refusal(digest))
    await until(lambda: works.sessions.running)
    works.sessions.cancel("run_1", "cancelled by oli")
    arrives.set()
    record = await asking
    assert (record.outcome, record.rule) == ("denied", "run.cancel")
    assert "cancelled by oli" in record.data["message"]


async def test_a_run_cancelled_as_it_begins_was_accepted_all_the_same(works: Works) -> None:
    """Its beginning is on record, so whoever asked must not hear that it was refused."""
    asking = asyncio.create_task(works.ask(offered(works)))
    await until(lambda: works.sessions.running and works.sessions._active["run_1"].work is not None)
    works.sessions.cancel("run_1")
    await asking
    assert (await works.end()).outcome == "killed"


@pytest.mark.parametrize("concurrent", [1, 2])
async def test_a_run_cancelled_before_its_beginning_is_durable_was_accepted(
    premises: Premises, confinement: Confinement, monkeypatch: pytest.MonkeyPatch, concurrent: int
) -> None:
    """The same a moment later: in the place or waiting for one, while the beginning goes to the disk."""
    works = await narrow(premises, confinement, concurrent)
    slow = offered(works, FOREVER)
    await works.ask(slow)
    held, begin = asyncio.Event(), premises.recorder.begin

    async def later(durable: asyncio.Future[None]) -> None:
        await held.wait()
        await durable

    with monkeypatch.context() as disk:
        disk.setattr(premises.recorder, "begin", lambda *values: asyncio.ensure_future(later(begin(*values))))
        accepted = works.sessions.accept(wish(slow, run_id="run_2"))
        await until(lambda: works.sessions._active["run_2"].work is not None)
        for _ in range(5):  # into the place, if there is one
            await asyncio.sleep(0)
        works.sessions.cancel("run_2")
        await until(lambda: works.sessions.running == 1)
        assert not accepted.done()
        held.set()
        await accepted
    works.sessions.cancel("run_1")
    assert [(await works.end(run)).outcome for run in ("run_1", "run_2")] == ["killed", "killed"]


async def test_a_wish_is_taken_up_at_once(works: Works) -> None:
    """So that a later request of the same link, to cancel it or to freeze, finds it."""
    accepted = works.sessions.accept(wish(offered(works, FOREVER)))
    works.sessions.cancel("run_1", "changed my mind")
    with pytest.raises(Exception, match="changed my mind"):
        await accepted
    assert await kinds(works) == ["refusal"]


async def test_a_run_that_is_not_under_way_cannot_be_cancelled(works: Works) -> None:
    await works.run(offered(works))
    with pytest.raises(NotFoundError, match="run_1"):
        works.sessions.cancel("run_1")


async def test_a_freeze_stops_what_runs_and_what_waits(works: Works) -> None:
    slow = offered(works, FOREVER)
    await works.ask(slow)
    await works.ask(slow, run_id="run_2")
    works.sessions.stop_all("the host was frozen: an incident")
    await works.admission.set_freeze(Freeze("an incident"))
    assert [(await works.end(run)).data["reason"] for run in ("run_1", "run_2")] == 2 * [
        "the host was frozen: an incident"
    ]


async def test_at_an_orderly_stop_runs_get_their_time(works: Works) -> None:
    await works.ask(offered(works, "for _ = 1, 50 do sys.uptime() end\nreturn 1\n"))
    await works.sessions.close()
    assert (await works.end()).outcome == "ok"
    with pytest.raises(UnavailableError, match="stopping"):
        await works.ask(offered(works), run_id="run_2")
    assert await kinds(works, "run_2") == ["refusal"]


async def test_what_does_not_end_in_its_time_is_killed_and_on_record(works: Works) -> None:
    await works.ask(offered(works, FOREVER))
    await works.sessions.close(grace_s=0.0)
    end = await works.end()
    assert (end.outcome, end.data["reason"]) == ("killed", "the agent was stopped")
    assert works.premises.spool.open_runs() == []


async def test_what_had_not_begun_at_a_stop_leaves_its_fire_time_open(works: Works) -> None:
    """The next start meets it again, and the catch-up rule has its say."""
    digest = offered(works)
    never = asyncio.Event()

    async def never_arrives(_: str) -> Any:
        await never.wait()

    works.bundles.fetch = never_arrives
    task = works.sessions.start(wish(digest, fire=fire()))
    await asyncio.sleep(0)
    await works.sessions.close()
    assert task.cancelled()
    assert await works.premises.records() == []
    assert not works.premises.spool.is_decided("sch_1", FIRE_US)
    for fetching in works.bundles._under_way.values():
        fetching.cancel()


# after a kill --------------------------------------------------------------------------------------------------------


async def test_a_run_that_was_open_when_the_agent_died_gets_an_end_once(works: Works) -> None:
    """Nobody must wait for ever for a run, and its end repeats what it was."""
    await works.ask(offered(works, FOREVER), principal="oli")
    dead = works.sessions
    await works.premises.recorder.commit([])
    works.premises.restart()
    dead.stop_all("the process is gone")  # in life its worker ends with it
    await until(lambda: not dead.running)
    works.open()
    assert works.sessions.end_lost() == 1
    end = await works.end()
    assert (end.outcome, end.principal, end.data["script"]) == ("lost", "oli", "checks/disk")
    await works.restart()
    assert works.sessions.end_lost() == 0
    assert [kind for kind in await kinds(works) if kind != "call"] == ["run.start", "run.end"]


@pytest.mark.parametrize("about", [b"", b"\xc1", encode([]), encode({}), encode({"session": 5}), encode({"other": 1})])
async def test_a_lost_run_that_somebody_changed_on_the_disk_is_told(works: Works, about: bytes) -> None:
    """An end that says something else than was begun would be a lie, signed by this host."""
    await works.premises.recorder.commit([], [rows.open_run("run_1", about, 5)])
    with pytest.raises(UnavailableError, match="what run 'run_1' was makes no sense"):
        works.sessions.end_lost()
    await works.premises.recorder.commit([], [rows.close_run("run_1", 6)])


async def test_results_survive_a_restart(works: Works) -> None:
    """A host that was weeks without a server still has every result to send."""
    for number in range(3):
        await works.run(offered(works, f"return {number}\n"), run_id=f"run_{number}")
    await works.restart()
    ends = await works.premises.records("run.end")
    assert [end.data["result"] for end in ends] == [0, 1, 2]
    assert works.sessions.end_lost() == 0


async def test_a_fault_of_ours_is_on_record_and_tells_nothing(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_: Any) -> Any:
        raise KeyError("something inside")

    monkeypatch.setattr(works.admission, "admit", broken)
    record: Record = await works.refusal(offered(works))
    assert record.outcome == "internal"
    assert "inside" not in record.data["message"]
