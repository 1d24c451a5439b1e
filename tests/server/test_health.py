"""Whether the server lives and can serve, and its numbers."""

from __future__ import annotations

import asyncio
import re
import threading
from typing import Any

import pytest
from headquarters import Headquarters, expect, refused
from peer import join
from sqlalchemy import Connection, text

from protocol.ledger import Chain
from server import limits


@pytest.fixture(autouse=True)
def any_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that stands still for two seconds is no fault of the code."""
    monkeypatch.setattr(limits, "PROBE_TIMEOUT_S", 60.0)


async def test_it_lives(bare: Headquarters) -> None:
    for path in ("/livez", "/healthz"):
        assert expect(await bare.api.get(path), 200) == {"alive": True}


async def test_it_is_ready_when_a_write_reaches_the_disk(bare: Headquarters) -> None:
    told = expect(await bare.api.get("/readyz"), 200)
    assert told == {"ready": True, "checks": {"database": "ok", "roster": "none yet"}}
    expect(await bare.put_roster(), 200)
    assert expect(await bare.api.get("/readyz"), 200)["checks"]["roster"] == "ok"


def refuse(connection: Connection) -> None:
    """Nothing can be changed, but a transaction that changes nothing goes through, as on a full disk."""
    connection.execute(text("CREATE TRIGGER full BEFORE UPDATE ON meta BEGIN SELECT RAISE(ABORT, 'full'); END"))


def allow(connection: Connection) -> None:
    connection.execute(text("DROP TRIGGER full"))


async def test_it_is_not_ready_when_nothing_can_be_written(bare: Headquarters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PROBE_EVERY_S", 0.0)
    expect(await bare.api.get("/readyz"), 200)
    await bare.core.database.write(refuse)
    answer = await bare.api.get("/readyz")
    told = expect(answer, 503)
    assert told["ready"] is False
    assert told["checks"]["database"] != "ok"
    expect(await bare.api.get("/livez"), 200)
    await bare.core.database.write(allow)
    expect(await bare.api.get("/readyz"), 200)


async def test_it_is_not_ready_when_writes_take_too_long(bare: Headquarters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PROBE_TIMEOUT_S", 0.01)
    monkeypatch.setattr(limits, "PROBE_EVERY_S", 0.0)
    go_on = threading.Event()
    blocked = bare.core.database.submit(lambda _: go_on.wait(60))
    assert expect(await bare.api.get("/readyz"), 503)["checks"]["database"] == "no write in 0.01 s"
    go_on.set()
    await asyncio.wrap_future(blocked)
    monkeypatch.setattr(limits, "PROBE_TIMEOUT_S", 60.0)
    expect(await bare.api.get("/readyz"), 200)


async def test_strangers_cannot_keep_the_disk_busy_by_asking(
    bare: Headquarters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PROBE_EVERY_S", 3600.0)
    await asyncio.gather(*[bare.api.get("/readyz") for _ in range(20)])
    query = text("SELECT value FROM meta WHERE key = 'probe'")
    first = bare.core.database.read_now(lambda c: c.execute(query).scalar())
    assert first is not None
    await asyncio.gather(*[bare.api.get("/readyz") for _ in range(20)])
    assert bare.core.database.read_now(lambda c: c.execute(query).scalar()) == first


async def test_it_is_not_ready_while_it_ends(bare: Headquarters) -> None:
    """So that a proxy sends nothing more here."""
    bare.core.is_ending.set()
    assert expect(await bare.api.get("/readyz"), 503)["ready"] is False


# metrics --------------------------------------------------------------------------------------------------------------

SAMPLE = re.compile(
    r'(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(\{([a-zA-Z_]+="([^"\\\n]|\\.)*",?)*\})? (?P<value>[0-9.e+-]+|NaN|\+Inf)'
)


async def metrics(server: Headquarters) -> dict[str, float]:
    answer = await server.api.get("/metrics", headers=server.authorization("viewer"))
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.text.endswith("\n")
    found = {}
    for line in answer.text.splitlines():
        if not line.startswith("#"):
            assert SAMPLE.fullmatch(line), line
            name, _, value = line.rpartition(" ")
            found[name] = float(value)
    return found


async def test_numbers_are_in_prometheus_text_format(bare: Headquarters) -> None:
    answer = await bare.api.get("/metrics", headers=bare.authorization())
    lines = answer.text.splitlines()
    types = {line.split()[2]: line.split()[3] for line in lines if line.startswith("# TYPE")}
    helps = {line.split()[2] for line in lines if line.startswith("# HELP")}
    assert types["outrider_http_requests_total"] == "counter"
    assert types["outrider_http_request_seconds"] == "histogram"
    assert types["outrider_agents_connected"] == "gauge"
    assert set(types) == helps
    samples = await metrics(bare)
    assert samples['outrider_http_request_seconds_bucket{le="+Inf"}'] == samples["outrider_http_request_seconds_count"]


async def test_metrics_need_a_token(bare: Headquarters) -> None:
    refused(await bare.api.get("/metrics"), 401, "unauthenticated")


async def test_agents_records_and_runs_are_counted(server: Headquarters) -> None:
    peer = await join(server)
    await peer.connect()
    chain = Chain()
    blobs = [
        chain.append(kind="run.end", time_us=1, mono_us=1, run=f"r{n}", outcome=outcome)[1]
        for n, outcome in enumerate(["ok", "ok", "killed"])
    ]
    await peer.send_records(1, blobs)
    found = await metrics(server)
    assert (found["outrider_agents_connected"], found["outrider_records_total"]) == (1.0, 3.0)
    assert found['outrider_runs_total{status="ok"}'] == 2.0
    assert found['outrider_runs_total{status="killed"}'] == 1.0
    await peer.close()
    assert (await metrics(server))["outrider_agents_connected"] == 0.0


async def test_an_agent_makes_no_series_of_its_own(server: Headquarters) -> None:
    """Each label is kept in memory for ever, here and in Prometheus."""
    peer = await join(server)
    await peer.connect()
    chain = Chain()
    odd = [chain.append(kind="run.end", time_us=1, mono_us=1, run=f"r{n}", outcome=f"odd{n}")[1] for n in range(50)]
    await peer.send_records(1, odd)
    found = {name: value for name, value in (await metrics(server)).items() if name.startswith("outrider_runs_total")}
    assert found == {'outrider_runs_total{status="other"}': 50.0}
    await peer.close()


async def test_refusals_are_counted_by_code(bare: Headquarters) -> None:
    for _ in range(3):
        await bare.api.get("/api/v1/me")
    await bare.ask("POST", "/invites", {}, role="viewer")
    found: dict[str, Any] = await metrics(bare)
    assert found['outrider_refusals_total{code="unauthenticated"}'] == 3.0
    assert found['outrider_refusals_total{code="denied"}'] == 1.0


async def test_no_name_is_in_the_numbers(server: Headquarters) -> None:
    """Metrics are read by more people than the records are."""
    await server.add_agent("very-secret-host")
    await server.ask("GET", "/agents/very-secret-host")
    told = (await server.api.get("/metrics", headers=server.authorization())).text
    assert "secret" not in told
    assert "admin" not in told
