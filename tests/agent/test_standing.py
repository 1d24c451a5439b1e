"""How an agent stands, told from outside: true while it runs, and whatever is damaged."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from premises import AGENT, Premises

from agent import rows
from agent.config import save_config
from agent.standing import standing
from agent.statedir import StateDir
from protocol.errors import NotFoundError, UnavailableError


@pytest.fixture
def enrolled(premises: Premises) -> Premises:
    premises.allow("highest_tier: inspect\n")
    save_config(premises.state, premises.config)
    return premises


async def test_a_running_agent_is_looked_at_without_being_held(enrolled: Premises) -> None:
    enrolled.take_roster(4)
    await enrolled.recorder.commit([{"kind": "event"}] * 3, [rows.open_run("run_1", b"", 1)])
    enrolled.spool.acknowledge(2)
    await enrolled.recorder.commit([])
    with enrolled.state.locked():
        told = standing(enrolled.state)
    assert told == {
        "running": True, "server": "http://127.0.0.1:1", "agent_id": AGENT, "frozen_by_owner": None,
        "roster_version": 4,
        "highest_tier": "inspect", "newest_record": 3, "acknowledged_record": 2, "open_runs": 1,
    }  # fmt: skip
    assert not standing(enrolled.state)["running"]
    await enrolled.recorder.commit([{"kind": "event"}])


def test_a_ceiling_that_is_wrong_is_what_people_must_see(enrolled: Premises) -> None:
    enrolled.allow("frozn: true\n")
    assert "nothing may run: ceiling.yaml:1: frozn" in standing(enrolled.state)["highest_tier"]


def test_before_the_first_start_there_is_no_ledger(enrolled: Premises) -> None:
    enrolled.close()
    for path in enrolled.state.path.glob("spool.sqlite*"):
        path.unlink()
    told = standing(enrolled.state)
    assert (told["newest_record"], told["running"]) == (None, False)
    assert not enrolled.state.spool.exists(), "looking makes nothing"
    enrolled.open()


def test_a_damaged_spool_is_said_beside_the_rest(enrolled: Premises) -> None:
    enrolled.close()
    content = enrolled.state.spool.read_bytes()
    enrolled.state.spool.write_bytes(b"no database" * 100)
    told = standing(enrolled.state)
    assert (told["agent_id"], "spool_problem" in told) == (AGENT, True)
    enrolled.state.spool.write_bytes(content)
    enrolled.open()


@pytest.mark.parametrize(
    "sql", ["INSERT INTO meta VALUES ('acknowledged', 'x')", "INSERT INTO meta VALUES ('acknowledged', x'ff')",
            "DROP TABLE runs", "DROP TABLE meta; CREATE VIEW meta AS SELECT 'acknowledged' AS key, x'ff' AS value"]
)  # fmt: skip
def test_a_spool_that_somebody_changed_is_said_beside_the_rest(enrolled: Premises, sql: str) -> None:
    enrolled.close()
    content = enrolled.state.spool.read_bytes()
    with closing(sqlite3.connect(enrolled.state.spool)) as found:
        found.executescript(sql)
    told = standing(enrolled.state)
    assert told["agent_id"] == AGENT
    assert "somebody changed the spool" in told["spool_problem"]
    enrolled.state.spool.write_bytes(content)
    enrolled.open()


def test_what_is_not_enrolled_is_named(premises: Premises) -> None:
    with pytest.raises(NotFoundError, match="enroll"):
        standing(premises.state)
    with pytest.raises(NotFoundError, match="nowhere"):
        standing(StateDir(premises.state.path / "nowhere"))
    premises.state.path.chmod(0o777)
    with pytest.raises(UnavailableError, match="written by others"):
        standing(premises.state)
    premises.state.path.chmod(0o700)
