"""A private script has a name that few may know: no door of the API tells it to anybody else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from headquarters import ROLES, Headquarters, expect, script
from peer import Peer, join
from test_access import DOORS, READS
from test_server_runs import end

from protocol.ledger import Chain
from server.services import discretion
from server.services.discretion import PLACEHOLDER, Discretion

NAME = "checks/unspoken"
KNOWING = ("auditor", "reviewer", "admin")
SECRET = script("return 1\n", name=NAME, more="visibility: private\n")


@pytest.fixture
async def full(server: Headquarters) -> Any:
    """A server on which a private script has done all that a script can do."""
    bundle = await server.bring_in(SECRET)
    peer = await join(server, env="prod")
    await peer.connect()
    started = asyncio.create_task(server.post("/runs", {"script": NAME, "target": "web-1", "wait_s": 10}, 201))
    body = await peer.wanted("run.start")
    chain = Chain()
    begin = chain.append(
        kind="run.start", call="run.start", time_us=9, mono_us=9, run=body["run_id"], principal="admin",
        arguments={"script": NAME, "version": "1.2.0", "digest": bundle.digest, f"{NAME}/x": [NAME]},
    )[1]  # fmt: skip
    last = end(chain, body["run_id"], result={"of": NAME}, output=f"{NAME}: ok\n")
    await peer.send_records(1, [begin, last])
    run = (await started)["runs"][0]
    schedule = await server.post("/schedules", {"script": NAME, "on": "env=prod", "every": "1h"}, 201)
    grant = await server.post("/grants", {"who": "hal", "scripts": NAME, "target": "web-1"}, 201)
    body = {"name": "token", "version": 1, "scripts": [NAME], "sealed": {peer.agent: "AAAA" * 40}}
    await server.ask("POST", "/secrets", body)
    review = (await server.pages("/reviews"))[0] if await server.pages("/reviews") else None
    state = {"run": run["id"], "schedule": schedule["id"], "grant": grant["id"], "review": review, "peer": peer}
    yield server, state
    await peer.close()


def doors(server: Headquarters, state: dict[str, Any]) -> list[str]:
    """Return everything that can be read, with what there is to be read."""
    peer: Peer = state["peer"]
    found = {path for method, path in DOORS if method == "GET"} | set(READS)
    given = {
        "/runs/{identity}": f"/runs/{state['run']}", "/schedules/{identity}": f"/schedules/{state['schedule']}",
        "/schedules/{identity}/next": f"/schedules/{state['schedule']}/next",
        "/grants/{identity}": f"/grants/{state['grant']}", "/agents/{reference}": f"/agents/{peer.agent}",
    }  # fmt: skip
    more = {f"/records/{peer.agent}/{number}" for number in (1, 2)} | {f"/records/server/{n}" for n in range(1, 20)}
    more |= {f"/runs?script={NAME}", "/records?order=newest", "/scripts?limit=500"}
    return sorted({given.get(path, path) for path in found} | more)


@pytest.mark.parametrize("role", [role for role in ROLES if role not in KNOWING])
async def test_no_door_names_it(full: tuple[Headquarters, dict[str, Any]], role: str) -> None:
    server, state = full
    read = 0
    for path in doors(server, state):
        answer = await server.api.get(f"/api/v1{path}", headers=server.authorization(role))
        assert answer.status_code < 500, path
        assert "unspoken" not in answer.text.replace(f"script={NAME}", ""), f"{role} reads {path}: {answer.text[:500]}"
        read += answer.status_code == 200
    assert read > 10
    if role != "viewer":
        assert PLACEHOLDER in (await server.api.get("/api/v1/records", headers=server.authorization(role))).text


@pytest.mark.parametrize("role", KNOWING)
async def test_who_may_see_it_or_answers_for_the_record_reads_it(
    full: tuple[Headquarters, dict[str, Any]], role: str
) -> None:
    server, state = full
    assert (await server.get(f"/runs/{state['run']}", role=role))["script"] == NAME
    assert [run["id"] for run in await server.pages("/runs", role=role, script=NAME)] == [state["run"]]
    assert NAME in str(await server.pages("/records", role=role))


async def test_that_it_ran_and_what_came_of_it_is_told_to_all(full: tuple[Headquarters, dict[str, Any]]) -> None:
    server, state = full
    (run,) = await server.pages("/runs", role="viewer")
    assert (run["id"], run["script"], run["status"]) == (state["run"], PLACEHOLDER, "ok")
    assert (run["result"], run["digest"]) == ({"of": PLACEHOLDER}, SECRET.digest)
    assert run == await server.get(f"/runs/{run['id']}", role="viewer")
    (schedule,) = await server.pages("/schedules", role="viewer")
    assert (schedule["script"], schedule["id"]) == (PLACEHOLDER, state["schedule"])
    changed = expect(
        await server.ask("PATCH", f"/schedules/{schedule['id']}", {"enabled": False}, role="operator"), 200
    )  # fmt: skip
    assert changed["script"] == PLACEHOLDER


async def test_asking_for_its_runs_is_as_asking_for_nothing(full: tuple[Headquarters, dict[str, Any]]) -> None:
    server, _ = full
    assert await server.pages("/runs", role="operator", script=NAME) == []
    assert await server.pages("/runs", role="operator", script="checks/nothing") == []


async def test_a_stream_of_records_does_not_name_it(full: tuple[Headquarters, dict[str, Any]]) -> None:
    server, state = full
    from server import access
    from server.api.records import _after

    def look(connection: Any) -> Any:
        caller = access.find(connection, server.token("operator"))
        return _after(connection, caller, 0, state["peer"].agent)

    found = await server.core.database.read(look)
    assert [record["kind"] for _, record in found] == ["run.start", "run.end"]
    assert "unspoken" not in str(found)


async def test_whoever_holds_a_grant_for_it_reads_its_name(full: tuple[Headquarters, dict[str, Any]]) -> None:
    server, state = full
    made = await server.post("/tokens", {"principal": "hal", "roles": ["viewer"]}, 201)
    headers = {"Authorization": f"Bearer {made['token']}"}
    assert expect(await server.api.get(f"/api/v1/runs/{state['run']}", headers=headers), 200)["script"] == NAME
    expect(await server.ask("DELETE", f"/grants/{state['grant']}"), 204)
    told = expect(await server.api.get(f"/api/v1/runs/{state['run']}", headers=headers), 200)
    assert told["script"] == PLACEHOLDER


async def test_an_owner_reads_it(full: tuple[Headquarters, dict[str, Any]]) -> None:
    server, state = full
    made = await server.post("/tokens", {"principal": "ann", "roles": ["author"]}, 201)
    headers = {"Authorization": f"Bearer {made['token']}"}
    assert expect(await server.api.get(f"/api/v1/runs/{state['run']}", headers=headers), 200)["script"] == NAME


async def test_a_name_of_which_a_version_is_open_is_no_secret(full: tuple[Headquarters, dict[str, Any]]) -> None:
    server, state = full
    expect(await server.publish(script("return 2\n", name=NAME, version="1.3.0")), 201)
    assert (await server.get(f"/runs/{state['run']}", role="viewer"))["script"] == NAME


# what is remembered of it ---------------------------------------------------------------------------------------------


async def test_a_script_that_becomes_private_is_hidden_with_the_next_answer(
    full: tuple[Headquarters, dict[str, Any]],
) -> None:
    """Whatever made it so: the database itself marks each change, also one that no code of ours made."""
    server, state = full
    path = f"/runs/{state['run']}"
    server.tamper("UPDATE scripts SET visibility = 'account' WHERE name = :of", of=NAME)
    for _ in range(2):  # the second is told from what is remembered
        assert (await server.get(path, role="viewer"))["script"] == NAME
    server.tamper("UPDATE scripts SET visibility = 'private' WHERE name = :of", of=NAME)
    assert (await server.get(path, role="viewer"))["script"] == PLACEHOLDER
    assert "unspoken" not in str(await server.pages("/records", role="operator"))


async def test_another_private_script_is_hidden_beside_one_that_is_remembered(
    full: tuple[Headquarters, dict[str, Any]],
) -> None:
    server, _ = full
    assert "unspoken" not in str(await server.pages("/records", role="operator"))
    await server.bring_in(script("return 3\n", name="checks/whispered", more="visibility: private\n"))
    assert "whispered" in str(await server.pages("/records", role="auditor"))
    assert "whispered" not in str(await server.pages("/records", role="operator"))


async def test_whoever_is_no_owner_any_more_reads_its_name_no_longer(full: tuple[Headquarters, dict[str, Any]]) -> None:
    server, state = full
    made = await server.post("/tokens", {"principal": "zoe", "roles": ["author"]}, 201)
    headers = {"Authorization": f"Bearer {made['token']}"}
    told = []
    for owner in ("zoe", "ann"):
        server.tamper("UPDATE names SET owners = :to WHERE name = :of", to=f"\n{owner}\n", of=NAME)
        told += [
            expect(await server.api.get(f"/api/v1/runs/{state['run']}", headers=headers), 200)["script"]
            for _ in range(2)
        ]
    assert told == [NAME, NAME, PLACEHOLDER, PLACEHOLDER]


async def test_who_is_not_told_what_is_looked_up_once(
    full: tuple[Headquarters, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, state = full
    looked: list[Any] = []
    real = discretion._hidden_from

    def looking(connection: Any, viewer: Any) -> Any:
        looked.append(viewer.principal)
        return real(connection, viewer)

    monkeypatch.setattr(discretion, "_hidden_from", looking)
    for role in ("viewer", "operator") * 3:
        await server.get(f"/runs/{state['run']}", role=role)
    assert looked == ["viewer", "operator"]


async def test_what_is_said_in_its_review_is_for_whoever_may_see_it(full: tuple[Headquarters, dict[str, Any]]) -> None:
    """On record with every comment and decision, which the record's readers read: what it does, and to which files."""
    server, _ = full
    bundle = script("return 2\n", name=NAME, version="1.3.0", more="visibility: private\n")
    review = expect(await server.publish(bundle), 201)["review"]
    said = {"text": "why /srv/sesame/ceo.csv?", "place": "sesame.lua:4"}
    expect(await server.ask("POST", f"/reviews/{review}/comments", said), 201)
    expect(await server.ask("POST", f"/reviews/{review}/reject", {"reason": "reads sesame"}, role="reviewer"), 200)
    for role in ROLES:
        if role != "viewer":  # who reads no records
            told = str(await server.pages("/records", role=role))
            assert ("sesame" in told) is (role in KNOWING), role
            assert "review.comment" in told


# texts ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a/b", "(private)"), ("a/b 1.0 is withdrawn", "(private) 1.0 is withdrawn"),
        ("a/b/main.lua", "(private)/main.lua"),
        ("see a/b, c/d.", "see (private), c/d."), ("/a/b", "/a/b"), ("x/a/b", "x/a/b"), ("a/bc", "a/bc"),
        ("review/a/b", "review/a/b"), ("'a/b'", "'(private)'"), ("a/b:1", "(private):1"),
        ("a/b@1.0.0", "(private)@1.0.0"),
        ("A/b", "A/b"), ("a", "a"), ("", ""), ("a/b-c", "a/b-c"), ("e/f/g", "(private)"), ("e/f", "e/f"),
    ],
)  # fmt: skip
def test_a_name_in_a_text(text: str, told: str) -> None:
    found = Discretion(frozenset({"a/b", "e/f/g"}))
    assert found.told(text) == told
    assert found.told({text: [text, 1, None, {"x": (text,)}]}) == {told: [told, 1, None, {"x": [told]}]}


def test_where_nothing_is_hidden_the_value_is_the_same() -> None:
    value = {"a/b": ["a/b"]}
    assert Discretion(frozenset()).told(value) is value
