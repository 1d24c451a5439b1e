"""Schedules through the API: what is wrong is named, and every change reaches exactly the hosts it is for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from headquarters import Headquarters, expect, plain, refused, script
from peer import Peer, join
from world import NOW

from protocol.signing import sign
from protocol.timestamps import stamp
from server import limits

DISK = script(more="parameters: {device: {type: string, required: true}}\n")
GOOD = {"script": "checks/disk", "on": "web-*", "every": "1h", "parameters": {"device": "sda"}}
CRON = {key: value for key, value in GOOD.items() if key != "every"}


@pytest.fixture
async def ready(server: Headquarters) -> Headquarters:
    """A server with one approved script."""
    await server.bring_in(DISK)
    return server


@pytest.fixture
async def peer(ready: Headquarters) -> AsyncIterator[Peer]:
    """A connected agent."""
    made = await join(ready, env="prod")
    await made.connect()
    await made.wanted("schedules.set")
    yield made
    await made.close()


async def test_a_schedule_is_shown_as_it_will_be_kept(ready: Headquarters) -> None:
    made = await ready.post("/schedules", CRON | {"cron": "0 3 * * 1", "zone": "Europe/Berlin", "splay": "5m"}, 201)
    assert (made["cron"], made["zone"], made["splay_s"], made["enabled"]) == ("0 3 * * 1", "Europe/Berlin", 300.0, True)
    assert (made["digest"], made["version"], made["on"]) == (DISK.digest, "1.2.0", "web-*")
    assert (made["principal"], made["is_signed"], made["parameters"]) == ("admin", False, {"device": "sda"})
    assert await ready.get(f"/schedules/{made['id']}") == made
    assert await ready.pages("/schedules") == [made]
    fires = (await ready.get(f"/schedules/{made['id']}/next", count=2))["fires"]
    assert fires == ["2026-11-30T02:00:00Z", "2026-12-07T02:00:00Z"]
    (record,) = [item for item in await ready.records() if item["call"] == "schedule.add"]
    assert record["arguments"] == {
        "schedule": made["id"], "script": "checks/disk", "digest": DISK.digest, "on": "web-*",
    }  # fmt: skip


async def test_what_is_wrong_in_a_schedule_is_named(ready: Headquarters) -> None:
    wrong: list[tuple[dict[str, Any], str, str]] = [
        (CRON | {"cron": "99 * * * *"}, "cron", "the minute '99' is not valid (0-59)"),
        (CRON | {"cron": "* * * *"}, "cron", "has 4 fields, not five"),
        (CRON | {"cron": "* 24 * * *"}, "cron", "the hour '24'"),
        (CRON | {"cron": "0 0 30 2 *"}, "cron", "a day that never comes"),
        (CRON | {"cron": "@never"}, "cron", "is none of"),
        (CRON | {"cron": "* * * * * *"}, "cron", "has 6 fields"),
        (CRON | {"cron": "R * * * *"}, "cron", "the minute 'R'"),
        (CRON | {"cron": ""}, "cron", "text of 1 to"),
        (CRON | {"cron": "* * * * *", "zone": "Europe/Berln"}, "zone", "did you mean 'Europe/Berlin'?"),
        (CRON | {"cron": "* * * * *", "zone": "../etc/passwd"}, "zone", "is not a time zone"),
        (GOOD | {"zone": "Europe"}, "zone", "is not a time zone"),
        (CRON, "cron", "exactly one of cron and every_s"),
        (GOOD | {"cron": "* * * * *"}, "cron", "exactly one of cron and every_s"),
        (GOOD | {"every_s": 5.0}, "every", "only one of every and every_s"),
        (GOOD | {"splay": "1s", "splay_s": 1.0}, "splay", "only one of splay and splay_s"),
        (GOOD | {"every": "0s"}, "every_s", "1 to"),
        (GOOD | {"every": "400d"}, "every_s", "1 to"),
        (GOOD | {"timeout": "0s"}, "timeout_s", "0.001 to"),
        (GOOD | {"splay_s": -1.0}, "splay_s", "0 to"),
        (GOOD | {"overlap": "both"}, "overlap", "skip, queue"),
        (GOOD | {"catch_up": "some"}, "catch_up", "none, last, all"),
        (GOOD | {"on": "web 1"}, "target", "is not the name of an agent"),
        (GOOD | {"parameters": {}}, "device", "is required"),
        (GOOD | {"parameters": {"device": 1}}, "device", "must be a string"),
        (GOOD | {"parameters": {"device": "sda", "devise": "x"}}, "devise", "has no parameter"),
    ]  # fmt: skip
    for body, parameter, says in wrong:
        told = refused(await ready.ask("POST", "/schedules", body), 422, "invalid_argument")
        assert says in told["detail"], (body, told)
        assert told.get("parameter", told.get("where")) == parameter, (body, told)
        tried = refused(await ready.ask("POST", "/schedules/preview", body), 422, "invalid_argument")
        assert tried["detail"] == told["detail"], "a preview refuses what the real thing refuses"
    told = refused(await ready.ask("POST", "/schedules", GOOD | {"every": "1x"}), 422, "invalid_argument")
    assert (told["where"], told["detail"]) == ("every", "'1x' is not a duration (examples: 500ms, 10s, 2m)")
    assert await ready.pages("/schedules") == []
    assert [item for item in await ready.records() if item["call"] == "schedule.add"] == []


async def test_a_preview_tells_hosts_and_times_and_makes_nothing(ready: Headquarters, peer: Peer) -> None:
    """Whoever tries a schedule must not find that the trial has made one."""
    before = await ready.records()
    asked = CRON | {"cron": "0 3 * * 1", "zone": "Europe/Berlin", "splay": "5m"}
    told = expect(await ready.ask("POST", "/schedules/preview", asked, count=2), 200)
    assert [(host["name"], host["connected"]) for host in told["hosts"]] == [("web-1", True)]
    assert told["fires"] == ["2026-11-30T02:00:00Z", "2026-12-07T02:00:00Z"]
    assert (told["zone"], told["splay_s"], told["digest"]) == ("Europe/Berlin", 300.0, DISK.digest)
    for nobody in ("db-1", "role=none", "db-*"):
        assert expect(await ready.ask("POST", "/schedules/preview", GOOD | {"on": nobody}), 200)["hosts"] == []
    refused(await ready.ask("POST", "/schedules/preview", GOOD | {"script": "checks/none"}), 404, "not_found")
    assert await ready.pages("/schedules") == []
    assert await ready.records() == before
    await ready.post("/schedules", GOOD, 201)
    assert len((await peer.wanted("schedules.set", 2))["schedules"]) == 1, "the first to hear of anything is this one"


async def test_a_script_that_may_not_run_is_not_scheduled(ready: Headquarters) -> None:
    refused(await ready.ask("POST", "/schedules", GOOD | {"script": "checks/none"}), 404, "not_found")
    expect(await ready.publish(script(name="checks/cpu")), 201)
    answer = await ready.ask("POST", "/schedules", {"script": "checks/cpu", "on": "*", "every": "1h"})
    refused(answer, 403, "untrusted", reason="not_approved")
    expect(await ready.withdraw(DISK), 200)
    refused(await ready.ask("POST", "/schedules", GOOD), 403, "untrusted", reason="withdrawn")
    assert await ready.pages("/schedules") == []


async def test_a_new_version_does_not_slip_into_a_schedule(ready: Headquarters) -> None:
    made = await ready.post("/schedules", GOOD, 201)
    await ready.bring_in(script("return 2\n", version="2.0.0"))
    assert (await ready.get(f"/schedules/{made['id']}"))["digest"] == DISK.digest


async def test_a_change_reaches_the_host_at_once(ready: Headquarters, peer: Peer) -> None:
    versions = [(await peer.wanted("schedules.set"))["version"]]
    made = await ready.post("/schedules", GOOD, 201)
    body = await peer.wanted("schedules.set", 2)
    assert [item["id"] for item in body["schedules"]] == [made["id"]]
    versions.append(body["version"])
    paused = expect(await ready.ask("PATCH", f"/schedules/{made['id']}", {"enabled": False}), 200)
    assert paused["enabled"] is False
    body = await peer.wanted("schedules.set", 3)
    assert body["schedules"] == [], "a paused schedule is sent to nobody"
    versions.append(body["version"])
    expect(await ready.ask("PATCH", f"/schedules/{made['id']}", {"enabled": True}), 200)
    body = await peer.wanted("schedules.set", 4)
    assert [item["id"] for item in body["schedules"]] == [made["id"]]
    versions.append(body["version"])
    expect(await ready.ask("DELETE", f"/schedules/{made['id']}"), 204)
    body = await peer.wanted("schedules.set", 5)
    assert body["schedules"] == []
    versions.append(body["version"])
    assert versions == sorted(set(versions)), "each change is a newer version of what is wanted"
    calls = [item["call"] for item in await ready.records() if item["call"].startswith("schedule.")]
    assert calls == ["schedule.add", "schedule.enable", "schedule.enable", "schedule.remove"]


async def test_a_schedule_follows_names_and_labels(ready: Headquarters, peer: Peer) -> None:
    await ready.post("/schedules", GOOD | {"on": "env=test"}, 201)
    assert (await peer.wanted("schedules.set", 2))["schedules"] == []
    expect(await ready.ask("PATCH", "/agents/web-1", {"labels": {"env": "test"}}), 200)
    assert len((await peer.wanted("schedules.set", 3))["schedules"]) == 1
    await ready.post("/schedules", GOOD | {"on": "db-1"}, 201)
    await peer.wanted("schedules.set", 4)  # of two that wait to be sent there is one
    expect(await ready.ask("PATCH", "/agents/web-1", {"name": "db-1"}), 200)
    assert len((await peer.wanted("schedules.set", 5))["schedules"]) == 2


async def test_what_is_not_there_cannot_be_changed(ready: Headquarters) -> None:
    for method, path, body in (
        ("GET", "/schedules/x", None), ("GET", "/schedules/x/next", None), ("DELETE", "/schedules/x", None),
        ("PATCH", "/schedules/x", {"enabled": True}),
    ):  # fmt: skip
        refused(await ready.ask(method, path, body), 404, "not_found")
    for count in ("0", "101", "x"):
        refused(await ready.ask("GET", "/schedules/x/next", count=count), 422, "invalid_argument", parameter="count")


# an operator's own signature ------------------------------------------------------------------------------------------


def order(server: Headquarters, **changes: Any) -> dict[str, Any]:
    schedule = {"id": "s1", "digest": DISK.digest, "cron": "* * * * *", "parameters": {"device": "sda"}}
    body = {
        "type": "order", "action": "schedule", "agents": ["x"], "digest": DISK.digest, "parameters": {}, "nonce": "n",
        "schedule": schedule, "issued": stamp(NOW), "expires": stamp(NOW + timedelta(days=1)),
    }  # fmt: skip
    return plain(sign("order", body | changes, server.world.key("oli")))


async def test_a_signed_schedule_is_sent_as_it_was_signed(ready: Headquarters, peer: Peer) -> None:
    """The agent holds the signature against it; one changed byte and it would fire nothing."""
    envelope = order(ready)
    made = await ready.post("/schedules", CRON | {"order": envelope}, 201)
    assert (made["id"], made["is_signed"], made["cron"]) == ("s1", True, "* * * * *")
    (sent,) = (await peer.wanted("schedules.set", 2))["schedules"]
    assert sent["order"] == envelope
    answer = await ready.ask("POST", "/schedules", CRON | {"order": envelope})
    refused(answer, 422, "invalid_argument", parameter="order")


async def test_an_order_for_something_else_is_refused(ready: Headquarters) -> None:
    other = {"id": "s1", "digest": "sha256:" + "0" * 64, "cron": "* * * * *"}
    bad_cron = {"id": "s1", "digest": DISK.digest, "cron": "99 * * * *"}
    for changes in ({"schedule": other}, {"schedule": bad_cron}, {"action": "run", "schedule": None}, {"nonce": 7}):
        answer = await ready.ask("POST", "/schedules", CRON | {"order": order(ready, **changes)})
        refused(answer, 422, "invalid_argument")
    assert await ready.pages("/schedules") == []


async def test_fire_times_end_with_the_calendar(ready: Headquarters) -> None:
    """Far from now nothing breaks."""
    made = await ready.post("/schedules", CRON | {"cron": "0 0 29 2 *"}, 201)
    fires = (await ready.get(f"/schedules/{made['id']}/next", count=100))["fires"]
    assert len(fires) == 100
    assert fires[0] == "2028-02-29T00:00:00Z"
    assert datetime.fromisoformat(fires[-1]) > datetime(2400, 1, 1, tzinfo=UTC)


# room -----------------------------------------------------------------------------------------------------------------

WORDS = "parameters: {words: {type: array, items: {type: string}}, device: {type: string}}\n"


@pytest.mark.parametrize("is_ordered", [False, True], ids=["plain", "ordered"])
async def test_no_schedule_is_too_large_for_its_hosts_to_hear_of_any(
    ready: Headquarters, peer: Peer, is_ordered: bool
) -> None:
    """Else one person, with a grant for one script, keeps from a host what others pause there."""
    await ready.bring_in(script(name="checks/words", more=WORDS))
    other = await ready.post("/schedules", GOOD, 201)
    asked = GOOD | {"script": "checks/words", "parameters": {"words": ["x" * 4_000] * 300}}
    if is_ordered:  # which nobody holds against the manifest here
        nested: Any = "x"
        for _ in range(20):
            nested = [nested]
        signed = {"id": "s1", "digest": DISK.digest, "cron": "* * * * *", "parameters": {"device": nested}}
        asked = CRON | {"order": order(ready, schedule=signed)}
    refused(await ready.ask("POST", "/schedules", asked), 413, "too_large")
    await ready.ask("PATCH", f"/schedules/{other['id']}", {"enabled": False})
    await peer.until(lambda: _told(peer) == 0)


async def test_a_host_has_so_many_schedules_and_half_of_them_of_one_person(
    ready: Headquarters, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_SCHEDULES_OF_HOST", 6)
    await join(ready, "db-1")
    made = [await ready.post("/schedules", GOOD, 201, role="operator") for _ in range(3)]
    told = refused(await ready.ask("POST", "/schedules", GOOD, role="operator"), 409, "conflict")
    assert "web-1 would have 4 schedules" in told["detail"]
    for _ in range(3):
        await ready.post("/schedules", GOOD, 201)
    refused(await ready.ask("POST", "/schedules", GOOD), 409, "conflict")
    await ready.ask("PATCH", f"/schedules/{made[0]['id']}", {"enabled": False})
    await ready.post("/schedules", GOOD, 201, role="operator")
    refused(await ready.ask("PATCH", f"/schedules/{made[0]['id']}", {"enabled": True}), 409, "conflict")
    assert (await ready.get(f"/schedules/{made[0]['id']}"))["enabled"] is False
    await peer.until(lambda: _told(peer) == 6)
    await ready.post("/schedules", GOOD | {"on": "db-1"}, 201)


async def test_a_host_gets_no_labels_by_which_it_would_have_too_many(
    ready: Headquarters, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take none of them, nor any later change."""
    monkeypatch.setattr(limits, "MAX_SCHEDULES_OF_HOST", 4)
    await join(ready, "db-1")
    await ready.ask("PATCH", "/agents/db-1", {"labels": {"role": "db"}})
    for role in ("operator", "operator", "admin"):
        await ready.post("/schedules", GOOD | {"on": "role=db"}, 201, role=role)
    for role in ("operator", "admin"):
        await ready.post("/schedules", GOOD, 201, role=role)
    before = await ready.get("/agents/web-1")
    change = {"labels": before["labels"] | {"role": "db"}}
    told = refused(await ready.ask("PATCH", "/agents/web-1", change), 409, "conflict")
    assert "web-1 would have 5 schedules" in told["detail"]
    assert (await ready.get("/agents/web-1"))["labels"] == before["labels"]
    (other, *_) = (await ready.get("/schedules"))["items"]
    expect(await ready.ask("PATCH", f"/schedules/{other['id']}", {"enabled": False}), 200)
    expect(await ready.ask("PATCH", "/agents/web-1", change), 200)


async def test_of_a_host_schedules_have_so_many_bytes_together(
    ready: Headquarters, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_SCHEDULES_BYTES", 2_000)
    for role in ("admin", "operator"):
        for status in (201, 201, 409):
            body = GOOD | {"parameters": {"device": "x" * 200}}
            expect(await ready.ask("POST", "/schedules", body, role=role), status)
    await peer.until(lambda: _told(peer) == 4)


def _told(peer: Peer) -> int:
    """Return how many schedules a host has, by the last list that it was sent."""
    return len([body for method, body in peer.asked if method == "schedules.set"][-1]["schedules"])
