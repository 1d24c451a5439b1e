"""Secrets through the API: boxes go in, reach exactly their hosts, and no value is ever here."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import pytest
from headquarters import Headquarters, expect, refused
from peer import Peer, join

from protocol import link as events
from protocol.sealing import Context, OpeningKey, attest, attested, seal
from protocol.signing import Envelope, PrivateKey, PublicKey
from server import limits

VALUE = b"correct horse battery"
OPENING = OpeningKey.generate()
SCRIPTS = ["checks/**"]


def body(*agents: str, name: str = "db", version: int = 1, **change: Any) -> dict[str, Any]:
    boxes = {
        agent: base64.b64encode(seal(VALUE, OPENING.public, Context(agent, name, version, tuple(SCRIPTS)))).decode()
        for agent in agents
    }
    return {"name": name, "version": version, "scripts": SCRIPTS, "sealed": boxes} | change


def status(**change: Any) -> dict[str, Any]:
    return {"facts": {}, "schedules_version": 1, "running": 0} | change


@pytest.fixture
async def peer(server: Headquarters) -> Any:
    made = await join(server, env="prod")
    await made.connect()
    await made.wanted("schedules.set")
    yield made
    await made.close()


def key_statement(agent: str, key: PrivateKey) -> dict[str, Any]:
    return attest(agent, OPENING.public, key, datetime.now(UTC)).to_plain()


async def test_a_box_reaches_its_host_and_opens_there(server: Headquarters, peer: Peer) -> None:
    other = await server.add_agent("other")
    shown = await server.post("/secrets", body(peer.agent), 201)
    assert [host["agent"] for host in shown["hosts"]] == [peer.agent]
    pushed = await peer.wanted("secrets.set", 2)
    (item,) = pushed["secrets"]
    assert OPENING.open(item["sealed"], Context(peer.agent, "db", 1, ("checks/**",))) == VALUE
    with server.core.database._engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT agent FROM secrets").fetchall()
    assert [row[0] for row in rows] == [peer.agent] != [other]


async def test_no_value_is_anywhere_on_the_server(server: Headquarters, peer: Peer) -> None:
    await server.post("/secrets", body(peer.agent), 201)
    await server.core.database.write(lambda _: None)
    for path in server.directory.rglob("*"):
        if path.is_file():
            assert VALUE not in path.read_bytes(), path


async def test_what_was_done_is_on_record_without_a_box(server: Headquarters, peer: Peer) -> None:
    await server.post("/secrets", body(peer.agent), 201)
    expect(await server.ask("DELETE", "/secrets/db"), 204)
    told = {item["call"]: item["arguments"] for item in await server.records() if item["call"].startswith("secret.")}
    assert told == {
        "secret.set": {"name": "db", "version": 1, "scripts": SCRIPTS, "agents": [peer.agent]},
        "secret.remove": {"name": "db", "agents": [peer.agent]},
    }


async def test_removal_reaches_the_host_and_versions_go_on(server: Headquarters, peer: Peer) -> None:
    await server.post("/secrets", body(peer.agent, version=3), 201)
    await peer.wanted("secrets.set", 2)
    expect(await server.ask("DELETE", "/secrets/db"), 204)
    assert await peer.wanted("secrets.set", 3) == {"secrets": []}
    assert await server.pages("/secrets") == []
    assert await server.get("/secrets/db/next") == {"version": 4}
    refused(await server.ask("DELETE", "/secrets/db"), 404, "not_found")
    refused(await server.ask("POST", "/secrets", body(peer.agent, version=3)), 409, "conflict")
    await server.post("/secrets", body(peer.agent, version=4), 201)


async def test_another_host_keeps_what_it_has(server: Headquarters) -> None:
    one, two = await server.add_agent("one"), await server.add_agent("two")
    await server.post("/secrets", body(one, two), 201)
    shown = await server.post("/secrets", body(two, version=2), 201)
    assert [(host["host"], host["version"]) for host in shown["hosts"]] == [("one", 1), ("two", 2)]
    assert shown["next_version"] == 3
    assert await server.pages("/secrets") == [shown]


@pytest.mark.parametrize("role", ["viewer", "auditor", "operator", "author", "reviewer"])
async def test_only_an_admin_changes_secrets(server: Headquarters, role: str) -> None:
    agent = await server.add_agent("one")
    refused(await server.ask("POST", "/secrets", body(agent), role=role), 403, "denied")
    refused(await server.ask("DELETE", "/secrets/db", role=role), 403, "denied")
    assert await server.get("/secrets", role=role) == {"items": [], "next": None}


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../db"}, {"name": "a/b"}, {"name": ""}, {"version": 0}, {"version": "1"}, {"version": 1 << 53},
        {"scripts": []}, {"scripts": ["*"]}, {"scripts": ["a/b"] * 17}, {"sealed": {}},
        {"sealed": {"agt_nobody": "AAAA"}}, {"sealed": None}, {"more": 1}, {"value": "secret"},
    ],
)  # fmt: skip
async def test_what_is_wrong_is_refused(server: Headquarters, change: dict[str, Any]) -> None:
    agent = await server.add_agent("one")
    refused(await server.ask("POST", "/secrets", body(agent) | change), 422, "invalid_argument")
    assert await server.pages("/secrets") == []


@pytest.mark.parametrize("text", ["", "no base64!", "A" * 20_000])
async def test_a_box_has_its_form(server: Headquarters, text: str) -> None:
    agent = await server.add_agent("one")
    answer = await server.ask("POST", "/secrets", body(agent) | {"sealed": {agent: text}})
    refused(answer, 422, "invalid_argument")


async def test_one_host_takes_so_many(server: Headquarters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_SECRETS_PER_AGENT", 2)
    agent = await server.add_agent("one")
    for name in ("a", "b"):
        await server.post("/secrets", body(agent, name=name), 201)
    refused(await server.ask("POST", "/secrets", body(agent, name="c")), 413, "too_large")
    await server.post("/secrets", body(agent, name="b", version=2), 201)


# the key of a host ---------------------------------------------------------------------------------------------------


def answered(event: events.Event) -> str:
    return event.code if isinstance(event, events.RequestFailed) else "ok"


async def test_a_host_tells_its_sealing_key(server: Headquarters, peer: Peer) -> None:
    assert answered(await peer.ask("status", status(sealing_key=key_statement(peer.agent, peer.key)))) == "ok"
    shown = await server.get(f"/agents/{peer.agent}")
    told = attested(Envelope.from_json(shown["sealing_key"]), shown["id"], PublicKey.from_text(shown["key"]))
    assert told == OPENING.public
    assert answered(await peer.ask("status", status())) == "ok"  # one that says nothing of it takes nothing away
    assert (await server.get(f"/agents/{peer.agent}"))["sealing_key"] == shown["sealing_key"]


async def test_a_key_that_the_host_did_not_attest_is_refused(server: Headquarters, peer: Peer) -> None:
    for statement in (
        key_statement(peer.agent, PrivateKey.generate()), key_statement("agt_other", peer.key), {"payload": ""},
    ):  # fmt: skip
        assert answered(await peer.ask("status", status(sealing_key=statement))) in ("untrusted", "invalid_argument")
    assert (await server.get(f"/agents/{peer.agent}"))["sealing_key"] is None
