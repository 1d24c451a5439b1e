"""Runs are what their agents' records say, and nothing that other agents say."""

from __future__ import annotations

from headquarters import Headquarters
from ledgers import take_in

from protocol.ledger import Chain
from server import limits


async def test_a_run_is_what_its_agents_records_say(bare: Headquarters) -> None:
    agent, chain = await bare.add_agent("web-1"), Chain()
    began = {"script": "checks/disk", "version": "1.2.0", "digest": "sha256:x", "schedule": "s1", "fire_us": 60_000_000}
    take_in(
        bare,
        agent,
        [chain.append(kind="run.start", time_us=61_000_000, mono_us=1, run="r1", principal="s", data=began)[1]],
    )
    run = await bare.get("/runs/r1")
    assert (run["status"], run["script"], run["schedule"]) == ("running", "checks/disk", "s1")
    assert (run["fire_time"], run["started"]) == ("1970-01-01T00:01:00.000000Z", "1970-01-01T00:01:01.000000Z")
    ended = {"status": "error", "reason": "main.lua:1: x", "result": [1], "output": "out", "usage": {"wall_ms": 1.5}}
    take_in(
        bare,
        agent,
        [chain.append(kind="run.end", time_us=62_000_000, mono_us=2, run="r1", outcome="error", data=ended)[1]],
        2,
    )
    run = await bare.get("/runs/r1")
    assert (run["status"], run["reason"], run["result"], run["output"]) == ("error", "main.lua:1: x", [1], "out")
    assert run["finished"] == "1970-01-01T00:01:02.000000Z"


async def test_an_agent_tells_nothing_about_the_runs_of_another(bare: Headquarters) -> None:
    """Its records are kept, but what it claims about a foreign run is no truth about that run."""
    mine, other = await bare.add_agent("web-1"), await bare.add_agent("web-2")
    take_in(bare, mine, [Chain().append(kind="run.start", time_us=5, mono_us=1, run="r1", data={"script": "a/b"})[1]])
    before = await bare.get("/runs/r1")
    forged = Chain()
    claims = [("run.start", {"script": "x/y"}), ("run.end", {"status": "ok", "result": "forged"})]
    take_in(
        bare, other, [forged.append(kind=kind, time_us=9, mono_us=1, run="r1", data=data)[1] for kind, data in claims]
    )
    assert await bare.get("/runs/r1") == before
    assert len(await bare.records("web-2")) == 2


async def test_odd_claims_about_a_run_are_kept_as_far_as_they_can_be(bare: Headquarters) -> None:
    agent, chain = await bare.add_agent("web-1"), Chain()
    odd = {
        "script": 7,
        "version": None,
        "schedule": ["x"],
        "fire_us": 1 << 62,
        "status": {"a": 1},
        "reason": "r" * 9_999,
    }
    blobs = [
        chain.append(kind=kind, time_us=5, mono_us=1, run="r1", outcome="ok", data=odd)[1]
        for kind in ("run.start", "run.end")
    ]
    take_in(bare, agent, blobs)
    run = await bare.get("/runs/r1")
    assert (run["script"], run["schedule"], run["fire_time"], run["status"]) == ("", None, None, "ok")
    assert len(run["reason"]) == limits.MAX_RESULT_TEXT
    assert (await bare.get("/runs"))["items"] == [run]


async def test_what_a_run_came_to_is_what_its_agent_said_first(bare: Headquarters) -> None:
    """Somebody who has a host later cannot make what was seen of it look otherwise; all of it stays on record."""
    agent, chain = await bare.add_agent("web-1"), Chain()

    def end(status: str, reason: str, time_us: int) -> bytes:
        told = {"status": status, "reason": reason}
        return chain.append(kind="run.end", time_us=time_us, mono_us=1, run="r1", outcome="ok", data=told)[1]

    begin = chain.append(kind="run.start", time_us=5, mono_us=1, run="r1", data={"script": "a/b"})[1]
    take_in(bare, agent, [begin, end("lost", "the agent was killed", 6), end("denied", "no rule", 7)])
    seen = await bare.get("/runs/r1")
    assert (seen["status"], seen["reason"]) == ("denied", "no rule"), "what was lost can be told later"
    take_in(bare, agent, [end("ok", "all is well", 8), end("lost", "x", 9)], 4)
    assert await bare.get("/runs/r1") == seen
    assert len(await bare.records("web-1")) == 5


async def test_an_end_is_an_end_whatever_an_agent_calls_it(bare: Headquarters) -> None:
    agent, chain = await bare.add_agent("web-1"), Chain()
    for number, status in enumerate(("queued", "running", "no such word")):
        about = {"time_us": 5, "mono_us": 1, "run": f"r{number}"}
        begin = chain.append(kind="run.start", **about)[1]
        take_in(bare, agent, [begin, chain.append(kind="run.end", data={"status": status}, **about)[1]], 2 * number + 1)
    assert {run["status"] for run in await bare.pages("/runs")} == {"error"}
    assert (await bare.get("/status"))["runs_under_way"] == 0
