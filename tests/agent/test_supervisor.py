"""One agent from start to end, in this process: a real spool and sandbox, its server at the other end of a queue."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from peers import Server
from premises import AGENT, Premises, approved, script, until

from agent import limits, rows, websocket
from agent.config import Settings, save_config
from agent.identity import save_identity
from agent.notify import Notifier
from agent.results import About
from agent.scheduler import Scheduler
from agent.supervisor import Supervisor
from protocol.errors import ArgumentError, DocumentError, InternalError, OutriderError, TrustError
from protocol.frames import encode
from protocol.ledger import Record, decode_record, verify_chain, verify_checkpoint
from protocol.signing import Envelope, sign
from sandbox.jail.walls import WALLS


class Agent:
    """An agent that can be started and stopped as a service manager would."""

    def __init__(self, premises: Premises, server: Server, environment: dict[str, str]) -> None:
        self.premises = premises
        self.server = server
        self.environment = environment
        self.task: asyncio.Task[None] | None = None
        self.settings = Settings()
        premises.allow()
        premises.take_roster()
        save_identity(premises.state.identity, premises.key)
        premises.close()  # the agent opens the spool for itself

    def start(self, **more: Any) -> Supervisor:
        config = replace(self.premises.config, server_key=self.server.key.public, settings=self.settings)
        notifier = Notifier(dict(self.environment), os.getpid())
        supervisor = Supervisor(self.premises.state, config, notifier, clock=self.premises.clock, **more)
        self.task = asyncio.create_task(supervisor.run())
        return supervisor

    async def connected(self) -> None:
        """Return when the agent has introduced itself."""
        await until(lambda: any(request.method == "status" for request in self.server.requests))

    async def end(self) -> BaseException | None:
        """Return why it ended by itself, None if it was asked to."""
        assert self.task is not None
        await asyncio.wait([self.task])
        return self.task.exception()

    async def stop(self) -> BaseException | None:
        assert self.task is not None
        await until(lambda: self.task is not None and (self.task.done() or self._listens_for_signals()))
        if not self.task.done():
            os.kill(os.getpid(), signal.SIGTERM)
        return await self.end()

    def _listens_for_signals(self) -> bool:
        return signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, signal.SIG_IGN)

    def records(self) -> list[Record]:
        """Return what is on disk once the agent has ended."""
        self.premises.open()
        found = [decode_record(blob) for blob in self.premises.spool.read(0, 100_000, 1 << 40)]
        self.premises.close()
        return found


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """What systemd listens on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(5)
        yield listening


@pytest.fixture
async def agent(premises: Premises, manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Agent]:
    server = Server(premises)
    monkeypatch.setattr(websocket, "connect", lambda *_, **__: server.connect())
    monkeypatch.setattr(limits, "SHIP_AT_STOP_S", 60.0)  # the server acknowledges, however long that takes
    made = Agent(premises, server, {"NOTIFY_SOCKET": manager.getsockname()})
    yield made
    if made.task is not None and not made.task.done():
        await made.stop()
    await server.close()
    premises.open()  # for its fixture to close


def events(records: list[Record]) -> list[tuple[str, str]]:
    return [(record.data.get("event", ""), record.outcome) for record in records if record.kind == "event"]


# a life --------------------------------------------------------------------------------------------------------------


async def test_a_life_is_on_record_and_with_the_server_when_it_ends(agent: Agent, manager: socket.socket) -> None:
    agent.start()
    await agent.connected()
    assert await agent.stop() is None
    records = agent.records()
    assert events(records) == [("start", "ok"), ("stop", "ok")]
    assert records[-1].kind == "checkpoint"
    envelope = Envelope.from_json(records[-1].data["envelope"])
    assert verify_checkpoint(envelope, agent.premises.key.public, AGENT) == (records[-2].sequence, records[-1].previous)
    assert [decode_record(blob) for blob in agent.server.blobs] == records, "the server has all of it"
    told = [manager.recv(4096) for _ in range(3)]
    assert told[0].startswith(b"READY=1")
    assert told[1:] == [b"STATUS=connected", b"STOPPING=1"]


async def test_an_agent_tells_the_server_about_its_host(agent: Agent) -> None:
    agent.start()
    await agent.connected()
    (status,) = [request.body for request in agent.server.requests if request.method == "status"]
    assert {wall["name"] for wall in status["facts"]["walls"]} == set(WALLS)
    assert status["facts"]["sandbox"] == "ok"
    assert (status["schedules_version"], status["running"]) == (0, 0)


async def test_a_script_runs_on_the_servers_request(agent: Agent) -> None:
    """From the request to the record in the server's copy, every part in between real."""
    entry = approved(agent.premises.world, script("return 40 + 2\n"))
    agent.server.bundles[entry.bundle.digest] = entry
    agent.start()
    await agent.connected()
    body = {"run_id": "run_1", "digest": entry.bundle.digest, "parameters": {}, "principal": "oli", "reason": "test"}
    assert await agent.server.asked("run.start", body) == {"accepted": True}

    def ends() -> list[Record]:
        return [record for record in map(decode_record, agent.server.blobs) if record.kind == "run.end"]

    await until(ends)
    assert [(end.run, end.outcome, end.data["result"]) for end in ends()] == [("run_1", "ok", 42)]
    verify_chain(agent.server.blobs)


async def test_schedules_go_on_without_a_server_over_a_restart(agent: Agent) -> None:
    """The server is there once; then it is gone, the host restarts, and the check runs all the same."""
    entry = approved(agent.premises.world, script("return 7\n"))
    agent.server.bundles[entry.bundle.digest] = entry
    agent.start()
    await agent.connected()
    schedule = {"id": "sch_1", "digest": entry.bundle.digest, "every_s": 60.0}
    assert await agent.server.asked("schedules.set", {"version": 1, "schedules": [schedule]}) == {"version": 1}
    await until(lambda: any(agent.premises.state.cache.iterdir()))
    assert await agent.stop() is None
    agent.server.is_away = True
    supervisor = agent.start()
    await agent.premises.clock.settled()
    agent.premises.clock.move(60.0)
    await until(lambda: supervisor._sessions.running)
    await until(lambda: not supervisor._sessions.running)
    assert await agent.stop() is None
    (end,) = [record for record in agent.records() if record.kind == "run.end"]
    assert (end.outcome, end.data["result"], end.data["schedule"]) == ("ok", 7, "sch_1")


async def test_a_run_that_an_earlier_process_left_open_is_told_as_lost(agent: Agent) -> None:
    agent.premises.open()
    about = encode(asdict(About("checks/disk", "1.2.0", "sha256:" + 64 * "a", "observe", "oli")))
    await agent.premises.recorder.commit([{"kind": "run.start", "run": "run_1"}], [rows.open_run("run_1", about, 1)])
    agent.premises.close()
    agent.start()
    await agent.connected()
    assert await agent.stop() is None
    records = agent.records()
    assert [(record.kind, record.outcome) for record in records[1:3]] == [("run.end", "lost"), ("event", "ok")]
    assert records[2].data["lost"] == 1


# requests through the dispatcher -------------------------------------------------------------------------------------


async def test_what_the_server_says_about_trust_is_taken_or_refused_on_record(agent: Agent) -> None:
    world = agent.premises.world
    agent.start()
    await agent.connected()

    def roster(version: int) -> dict[str, Any]:
        return {"envelope": sign("roster", world.roster_body(version), world.key("root")).to_plain()}

    assert await agent.server.asked("roster.set", roster(3)) == {"version": 3}
    assert await agent.server.asked("roster.set", roster(3)) == {"version": 3}
    assert await agent.server.asked("roster.set", roster(2)) == "untrusted"
    assert await agent.server.asked("roster.set", {"envelope": {}}) == "invalid_argument"
    withdrawal = {"envelopes": [world.withdrawal().to_plain()]}
    assert await agent.server.asked("withdrawals.set", withdrawal) == {}
    assert await agent.server.asked("withdrawals.set", {"envelopes": [7]}) == "invalid_argument"
    wrong = {"version": 1, "schedules": [{"id": "sch_1"}]}
    assert await agent.server.asked("schedules.set", wrong) == "invalid_argument"
    assert await agent.server.asked("run.cancel", {"run_id": "run_9"}) == "not_found"
    assert await agent.server.asked("run.known", {"run_ids": ["run_9"]}) == {"known": []}
    assert await agent.stop() is None
    records = agent.records()
    assert events(records) == [("start", "ok"), ("roster", "ok"), ("stop", "ok")]
    refusals = [record for record in records if record.kind == "refusal"]
    assert [(record.data["request"], record.data["reason"]) for record in refusals] == [
        ("roster.set", "rollback"),
        ("roster.set", "invalid_argument"),
        ("withdrawals.set", "invalid_argument"),
        ("schedules.set", "invalid_argument"),
    ]
    assert agent.premises.state.withdrawals.exists()


async def test_a_freeze_stops_what_runs_and_keeps_out_what_comes(agent: Agent) -> None:
    entry = approved(agent.premises.world, script("while true do time.sleep(0.01) end\n"))
    agent.server.bundles[entry.bundle.digest] = entry
    agent.start()
    await agent.connected()
    body = {"digest": entry.bundle.digest, "parameters": {}, "principal": "oli", "reason": ""}
    await agent.server.asked("run.start", body | {"run_id": "run_1"})
    frozen = {"frozen": True, "reason": "an incident"}
    assert await agent.server.asked("freeze.set", frozen) == {"frozen": True}
    assert await agent.server.asked("freeze.set", frozen) == {"frozen": True}
    assert await agent.server.asked("run.start", body | {"run_id": "run_2"}) == "denied"
    assert await agent.stop() is None
    records = agent.records()
    (end,) = [record for record in records if record.kind == "run.end"]
    assert (end.outcome, end.data["reason"]) == ("killed", "the host was frozen: an incident")
    assert [outcome for event, outcome in events(records) if event == "freeze"] == ["frozen"], "said once"


SESSION = {
    "session": "s_1", "kind": "files", "tier": "observe", "principal": "oli", "reason": "", "grant": {},
}  # fmt: skip


async def opened(agent: Agent) -> Supervisor:
    """Return the agent with a session of a person open."""
    agent.premises.allow("highest_tier: observe\naccept_server_word: [session]\n")
    supervisor = agent.start()
    await agent.connected()
    assert set(await agent.server.asked("session.open", SESSION)) == {"longest_s", "idle_s"}
    return supervisor


async def test_a_freeze_that_the_disk_does_not_take_ends_sessions_all_the_same(agent: Agent) -> None:
    """It holds from then on; a terminal that goes on meanwhile would be the very thing that it is to end."""
    supervisor = await opened(agent)
    disk = supervisor._spool._writer._connection
    disk.execute("PRAGMA query_only=1")
    assert await agent.server.asked("freeze.set", {"frozen": True, "reason": "an incident"}) == "unavailable"
    still_open = supervisor._live.open_sessions
    disk.execute("PRAGMA query_only=0")
    assert still_open == []
    await until(lambda: supervisor._recorder.problem is None)
    assert await agent.stop() is None
    (closed,) = [record for record in agent.records() if record.kind == "session.close"]
    assert (closed.outcome, closed.data["reason"]) == ("killed", "the host was frozen: an incident")


async def test_a_freeze_whose_link_breaks_ends_sessions_all_the_same(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server that asked for it may not come back."""
    supervisor = await opened(agent)
    held, asked = asyncio.Event(), []
    commit = supervisor._recorder.commit

    async def slowly(*values: Any) -> None:
        asked.append(values)
        await held.wait()
        await commit(*values)

    monkeypatch.setattr(supervisor._recorder, "commit", slowly)
    agent.server.ask("freeze.set", {"frozen": True, "reason": ""})
    await until(lambda: asked)
    agent.server.is_away = True
    agent.server.pipe.cut()
    await until(lambda: supervisor._uplink.connection is None)
    held.set()
    await until(lambda: supervisor._live.open_sessions == [])


async def test_a_run_cancelled_in_the_same_breath_does_not_run(agent: Agent) -> None:
    """Both requests arrive in one reading; the second must find the first."""
    entry = approved(agent.premises.world, script("while true do time.sleep(0.01) end\n"))
    agent.server.bundles[entry.bundle.digest] = entry
    agent.start()
    await agent.connected()
    body = {"run_id": "run_1", "digest": entry.bundle.digest, "parameters": {}, "principal": "oli", "reason": ""}
    assert agent.server.link is not None
    start, cancel = agent.server.link.request("run.start", body), agent.server.ask("run.cancel", {"run_id": "run_1"})
    await until(lambda: len(agent.server.answers) == 2)
    assert agent.server.answers == {start: "denied", cancel: {}}


# keeping house -------------------------------------------------------------------------------------------------------


async def test_old_records_are_given_up_only_when_the_server_has_them(agent: Agent) -> None:
    agent.settings = Settings(keep_acknowledged_days=0)
    agent.server.acknowledges = False
    supervisor = agent.start()
    await agent.connected()
    await until(lambda: agent.server.blobs)

    async def a_round() -> int:
        agent.premises.clock.move(limits.HOUSEKEEPING_S + 1)
        await asyncio.sleep(0)
        await agent.premises.clock.settled()
        await supervisor._recorder.commit([{"kind": "event", "outcome": "ok", "data": {"event": "a test"}}])
        return decode_record(supervisor._spool.read(0, 1, 1)[0]).sequence

    for _ in range(2):
        assert await a_round() == 1, "sent, and not acknowledged"
    await until(lambda: len(agent.server.blobs) == 3)
    agent.server.acknowledge()
    await until(lambda: supervisor._spool.acknowledged == 3)
    assert await a_round() == 3, "the newest acknowledged one stays"
    agent.server.acknowledges = True
    agent.server.acknowledge()


async def test_a_clock_that_is_wrong_for_a_while_makes_no_order_and_no_fire_time_good_again(agent: Agent) -> None:
    """Forty days ahead for some minutes, all of them are old; set right, they would run once more."""
    supervisor = agent.start()
    await agent.connected()
    clock, spool, now_us = agent.premises.clock, supervisor._spool, agent.premises.clock.time_us()
    await supervisor._recorder.commit(
        [], [rows.use_nonce("used", now_us + 3_600_000_000), rows.mark_fire("sch_1", now_us, rows.FireState.STARTED),
             rows.open_run("run_1", b"", now_us), rows.close_run("run_1", now_us)]
    )  # fmt: skip

    async def passes(seconds: float) -> tuple[bool, bool, bool]:
        for _ in range(int(seconds // limits.HOUSEKEEPING_S)):
            clock.move(limits.HOUSEKEEPING_S + 1)
            await asyncio.sleep(0)
            await clock.settled()
        await supervisor._recorder.commit([{"kind": "event", "outcome": "ok", "data": {"event": "a test"}}])
        return spool.knows_nonce("used"), spool.is_decided("sch_1", now_us), spool.knows_run("run_1")

    right = agent.premises.now()
    clock.set(right + timedelta(days=40))
    assert await passes(600) == (True, True, True)
    clock.set(right)
    assert await passes(600) == (True, True, True)
    clock.set(right + timedelta(days=40))  # this time it is true
    assert await passes(2 * limits.STEADY_S) == (True, False, False), "the newest orders are known all the same"


# ending --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", [KeyError("inside"), ArgumentError("inside")])
async def test_a_part_that_ends_by_itself_ends_the_agent_loudly(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, inside: Exception
) -> None:
    """An agent without its scheduler would look alive and do nothing: the service manager starts a fresh one, and so
    hears of no wrong argument, after which it would not."""

    async def broken(_: Scheduler) -> None:
        raise inside

    monkeypatch.setattr(Scheduler, "run", broken)
    agent.start()
    error = await agent.end()
    assert isinstance(error, InternalError)
    assert "the scheduler ended" in str(error)
    assert "scheduler ended" in caplog.text
    assert events(agent.records())[-1] == ("stop", "ok"), "in order all the same"


async def test_a_spool_that_broke_ends_the_agent(agent: Agent) -> None:
    """A rule of ours is broken; the disk alone says what is true, and a new process reads it."""
    supervisor = agent.start()
    await agent.connected()
    for _ in range(2):
        supervisor._spool.submit(rows.Write((), (rows.use_nonce("once", 1),)))
    error = await agent.end()
    assert isinstance(error, InternalError)
    assert "spool" in str(error)


@pytest.mark.parametrize("gives_up", [True, False])
async def test_a_server_that_refuses_ends_only_who_wants_to_be_ended(agent: Agent, gives_up: bool) -> None:
    agent.server.refuses = TrustError("already connected", reason="duplicate_agent")
    supervisor = agent.start(end_when_refused=gives_up)
    if gives_up:
        error = await agent.end()
        assert isinstance(error, TrustError)
        assert error.reason == "duplicate_agent"
    else:
        await until(lambda: supervisor._uplink.state.refusal)
        assert not agent.server.requests
        agent.server.refuses = None
        agent.premises.clock.move(limits.BACKOFF_CAP_S)
        await agent.connected()


async def test_an_end_in_which_something_goes_wrong_writes_all_the_same(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor = agent.start()
    await agent.connected()

    async def broken() -> None:
        supervisor._recorder.record(kind="event", outcome="ok", data={"event": "last"})
        raise KeyError("inside")

    monkeypatch.setattr(supervisor._live, "shut", broken)
    assert isinstance(await agent.stop(), KeyError)
    with pytest.raises(InternalError, match="closed"):
        supervisor._spool.submit(rows.Write())
    for task in supervisor._background_tasks:
        task.cancel()
    await supervisor._confinement.close()
    assert events(agent.records())[-1] == ("last", "ok")


async def test_without_a_server_it_ends_in_order_too(agent: Agent) -> None:
    agent.server.is_away = True
    agent.start()
    await agent.premises.clock.settled()
    assert await agent.stop() is None
    assert events(agent.records()) == [("start", "ok"), ("stop", "ok")]


async def test_a_ceiling_that_is_wrong_is_told_at_the_start(agent: Agent, descriptors_kept: None) -> None:
    agent.premises.allow("frozn: true\n")
    with pytest.raises(DocumentError, match=r"ceiling\.yaml:1: frozn"):
        agent.start()


async def test_the_watchdog_is_fed_while_the_loop_turns(agent: Agent, manager: socket.socket) -> None:
    agent.environment |= {"WATCHDOG_USEC": "2000000"}
    agent.start()
    await agent.connected()
    agent.premises.clock.move(1.0)
    await agent.premises.clock.settled()
    assert await agent.stop() is None
    manager.setblocking(False)
    told = []
    while True:
        try:
            told.append(manager.recv(4096))
        except BlockingIOError:
            break
    assert b"WATCHDOG=1" in told


def test_an_enrolment_is_what_an_agent_needs(premises: Premises) -> None:
    """Nothing of what the fixtures above leave out is looked for at the start."""
    save_config(premises.state, premises.config)
    with pytest.raises(OutriderError, match=r"identity\.key"):
        asyncio.run(_made(premises))


async def _made(premises: Premises) -> Supervisor:
    return Supervisor(premises.state, premises.config, Notifier({}, 1), clock=premises.clock)
