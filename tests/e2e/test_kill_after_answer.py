"""Kill -9 of the server after it has told the end of a run: what somebody was told stays true, and is told only once.

The end is told when the agent has it on its disk, which may be before the server has it on its own. The test keeps the
server from writing by holding the lock of its database, so that the kill falls in between for certain.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from fleet import Fleet, expect, fleet, script_bundle

ROUNDS = 4
SLOW = 'time.sleep(1.0)\nprint("slept")\ncheck.metric("n", "uint64", 7, "")\nreturn {7, "x"}\n'
TRIES = 10


@contextmanager
def lock(made: Fleet) -> Iterator[sqlite3.Connection]:
    """Keep the server from writing."""
    (path,) = (made.directory / "server").rglob("*.sqlite")
    with closing(sqlite3.connect(path, isolation_level=None, timeout=30.0)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        finally:
            connection.execute("ROLLBACK")


def ask(made: Fleet, script: str, key: str) -> dict[str, Any]:
    body = {"target": "host-1", "script": script, "parameters": {}, "reason": "test", "wait_s": 60}
    answer = expect(made.api.post("/api/v1/runs", json=body, headers={"Idempotency-Key": key}), 201)
    (told,) = answer["runs"]
    return dict(told)


@contextmanager
def locked_before_its_end(
    made: Fleet, key: str, threads: ThreadPoolExecutor
) -> Iterator[tuple[sqlite3.Connection, Future[dict[str, Any]], str]]:
    """Keep the server from writing that a run has ended which its disk calls running; yields its answer and its key.

    One that has ended before the lock is held is none, and another one is begun.
    """
    for number in range(TRIES):
        asked = threads.submit(ask, made, "checks/slow", f"{key}.{number}")

        def begun(asked: Future[dict[str, Any]] = asked) -> Any:
            return list(made.pages("/api/v1/runs", status="running")) or asked.done()

        made.wait_for("the run to be on record", begun)
        with lock(made) as disk:
            if disk.execute("SELECT count(*) FROM runs WHERE status = 'running'").fetchone() == (1,):
                yield disk, asked, f"{key}.{number}"
                return
        asked.result(60)
    raise AssertionError(f"{TRIES} runs of a second each were over before the lock was held")


def back(made: Fleet, run: str) -> dict[str, Any]:
    """Return the run once it has ended again; till then it is open, and nothing else."""
    seen: Counter[str] = Counter()

    def look() -> dict[str, Any] | None:
        found = expect(made.api.get(f"/api/v1/runs/{run}"), 200)
        seen[found["status"]] += 1
        assert found["status"] in ("queued", "running", "ok"), found
        assert (found["finished"] is None) is (found["status"] != "ok"), found
        return found if found["status"] == "ok" else None

    return dict(made.wait_for("the agent to send it again", look))


def check_records(made: Fleet, runs: set[str]) -> None:
    records = made.records("host-1")
    assert [record["sequence"] for record in records] == list(range(1, len(records) + 1))
    for kind in ("run.start", "run.end"):
        counted = Counter(record["run"] for record in records if record["kind"] == kind)
        assert {run: counted[run] for run in runs} == dict.fromkeys(runs, 1), kind
    assert expect(made.api.get("/api/v1/records/verify"), 200)["ok"]


@pytest.mark.timeout(180)
def test_what_was_told_is_not_lost_with_the_server(tmp_path: Path) -> None:
    with fleet(tmp_path) as made, ThreadPoolExecutor(2) as threads:
        made.add_agent("host-1")
        made.publish_and_approve(script_bundle("checks/slow", SLOW))

        # Nobody reads that it has not happened, while it is not on disk.
        with locked_before_its_end(made, "k1", threads) as (disk, asked, _):
            first = asked.result(60)
            assert (first["status"], first["result"], first["output"]) == ("ok", [7, "x"], "slept\n")
            assert disk.execute("SELECT status FROM runs WHERE id = ?", (first["id"],)).fetchone() == ("running",)
            reading = threads.submit(made.api.get, f"/api/v1/runs/{first['id']}")
            assert not reading.done()
        assert expect(reading.result(60), 200) == first

        # The server is killed in between.
        with locked_before_its_end(made, "k2", threads) as (disk, asked, key):
            told = asked.result(60)
            assert told["status"] == "ok"
            assert disk.execute("SELECT status FROM runs WHERE id = ?", (told["id"],)).fetchone() == ("running",)
            made.server.kill()
        made.start_server()
        assert back(made, told["id"]) == told
        assert ask(made, "checks/slow", key) == told, "asked again, it is the same run"
        check_records(made, {first["id"], told["id"]})


@pytest.mark.timeout(180)
def test_a_kill_with_the_answer_changes_nothing_of_it(tmp_path: Path) -> None:
    """Of a run so short that its beginning comes with its end: before that, the server knows only that it was asked."""
    with fleet(tmp_path) as made:
        made.add_agent("host-1")
        made.publish_and_approve(script_bundle("checks/short", "return 7\n"))
        runs = set()
        for number in range(ROUNDS):
            made.wait_for("the agent to be connected", lambda: made.connected("host-1"))
            told = ask(made, "checks/short", f"k{number}")
            made.server.kill()
            assert told["status"] == "ok"
            # An agent that is lost again and again comes back later and later, in the end after more than the repeat
            # waits. One that is started anew looks for the server at once, and sends what is on its disk all the same.
            made.agents["host-1"].stop()
            made.start_server()
            made.agents["host-1"].start()
            repeated = ask(made, "checks/short", f"k{number}")
            assert repeated == told
            assert back(made, told["id"]) == told
            runs.add(told["id"])
        check_records(made, runs)
