"""Grants over the API: who has not the role gets exactly what was granted, and it is on the record."""

from __future__ import annotations

from typing import Any

import pytest
from headquarters import Headquarters, expect, headquarters, plain, refused, script
from world import NOW

from protocol.signing import sign
from protocol.timestamps import stamp
from server import access
from server.services import desired, grants

SERVICE = "parameters: {service: {type: string, default: nginx}, n: {type: integer}}\n"
GRANT = {"who": "@help", "scripts": "checks/disk", "target": "role=web", "parameters": {"service": ["nginx", "php"]}}
RUN = {"script": "checks/disk", "target": "web-1", "parameters": {"service": "php"}}


@pytest.fixture
async def granted(server: Headquarters) -> Headquarters:
    """A script, two hosts, and ``hal`` of the help desk, who may only look, and run what is granted."""
    await server.bring_in(script(more=SERVICE))
    await server.bring_in(script(name="checks/other"))
    await server.add_agent("web-1", role="web")
    await server.add_agent("mail-1", role="mail")
    made = server.core.database.submit(lambda c: access.make(c, "hal", ["viewer", "@help"], 9e6)).result()
    server.tokens["hal"] = made["token"]
    return server


async def give(server: Headquarters, **changes: Any) -> str:
    return str((await server.post("/grants", GRANT | changes, 201))["id"])


async def run(server: Headquarters, status: int, **changes: Any) -> Any:
    """Whether it may begin; that its host is away comes after that."""
    answer = await server.ask("POST", "/runs", RUN | changes, role="hal")
    assert answer.status_code == status, answer.text
    return answer.json()


AWAY = 409  # what the run would meet next: the hosts of these tests have no link


async def test_nothing_without_a_grant(granted: Headquarters) -> None:
    told = await run(granted, 403)
    assert "this needs one of: operator, admin" in told["detail"]
    nothing = await run(granted, 403, script="checks/nothing")
    assert nothing["detail"] == told["detail"], "whether there is such a script is not told"


async def test_what_is_granted_and_nothing_else(granted: Headquarters) -> None:
    identity = await give(granted)
    allowed = await granted.ask("POST", "/runs", RUN, role="hal")
    refused(allowed, AWAY, "not_connected")
    on_all = await granted.ask("POST", "/runs", RUN | {"target": "role=web"}, role="hal")
    assert expect(on_all, 201)["runs"][0]["principal"] == "hal"
    for changes, said in [
        ({"target": "mail-1"}, "mail-1 is not one of role=web"),
        ({"target": "*"}, "mail-1 is not one of role=web"),
        ({"parameters": {"service": "sshd"}}, "service must be one of nginx, php"),
        ({"parameters": {"n": 1}}, "n cannot be given"),
    ]:
        told = await run(granted, 403, **changes)
        assert said in told["detail"]
        assert told["rule"] == f"grant {identity}"
    await run(granted, 403, script="checks/other")
    (record,) = [item for item in await granted.records() if item["call"] == "run.start"]
    assert record["arguments"]["grant"] == identity


async def test_two_grants_are_not_put_together(granted: Headquarters) -> None:
    await give(granted, parameters={"service": None}, target="mail-1")
    await give(granted, parameters={}, target="web-1")
    await run(granted, 403, parameters={"service": "php"}, target="web-1")
    await run(granted, AWAY, parameters={}, target="web-1")


async def test_a_grant_ends(granted: Headquarters) -> None:
    identity = await give(granted, ttl_s=60.0)
    await run(granted, AWAY)
    granted.clock.advance(seconds=61)
    await run(granted, 403)
    assert (await granted.get(f"/grants/{identity}"))["in_force"] is False


async def test_a_grant_is_taken_away(granted: Headquarters) -> None:
    identity = await give(granted)
    expect(await granted.ask("DELETE", f"/grants/{identity}"), 204)
    await run(granted, 403)
    refused(await granted.ask("DELETE", f"/grants/{identity}"), 404, "not_found")
    calls = [item["call"] for item in await granted.records()]
    assert calls[-2:] != calls[-1:]
    assert {"grant.create", "grant.remove"} <= set(calls)


async def test_it_is_not_for_others(granted: Headquarters) -> None:
    await give(granted)
    for role in ("viewer", "auditor", "author", "reviewer"):
        refused(await granted.ask("POST", "/runs", RUN, role=role), 403, "denied")
    await give(granted, who="role:auditor")
    refused(await granted.ask("POST", "/runs", RUN, role="auditor"), AWAY, "not_connected")
    await give(granted, who="viewer")
    refused(await granted.ask("POST", "/runs", RUN, role="viewer"), AWAY, "not_connected")


async def test_a_private_script_can_be_granted(granted: Headquarters) -> None:
    await granted.bring_in(script(name="checks/hidden", more="visibility: private\n"))
    await give(granted, scripts="checks/hidden", parameters={})
    await run(granted, AWAY, script="checks/hidden", parameters={})


async def test_schedules_under_a_grant(granted: Headquarters) -> None:
    """They stop with it; one that could come to mean more is refused, and so is what an order says."""
    asked = {"script": "checks/disk", "on": "role=web", "every": "1m", "parameters": {"service": "php"}}
    identity = await give(granted)
    told = refused(await granted.ask("POST", "/schedules", asked, role="hal"), 403, "denied")
    assert "this needs one of: operator, admin" in told["detail"]
    expect(await granted.ask("DELETE", f"/grants/{identity}"), 204)
    identity = await give(granted, actions=["run", "schedule"], ttl_s=600.0)
    refused(await granted.ask("POST", "/schedules", asked | {"on": "web-*"}, role="hal"), 403, "denied")
    wrong = asked | {"parameters": {"service": "sshd"}}
    refused(await granted.ask("POST", "/schedules", wrong, role="hal"), 403, "denied")
    body = {"type": "order", "action": "schedule"}
    order = plain(sign("order", body | {"issued": stamp(NOW)}, granted.world.key("oli")))
    refused(await granted.ask("POST", "/schedules", asked | {"order": order}, role="hal"), 403, "denied")
    made = expect(await granted.ask("POST", "/schedules", asked, role="hal"), 201)
    assert made["enabled"] is True
    assert await granted.core.database.write(lambda c: grants.pause_ended(granted.core, c)) == []
    granted.clock.advance(seconds=601)
    assert await granted.core.database.write(lambda c: grants.pause_ended(granted.core, c)) == [made["id"]]
    assert await granted.core.database.write(lambda c: grants.pause_ended(granted.core, c)) == []
    assert (await granted.get(f"/schedules/{made['id']}"))["enabled"] is False


async def test_taking_a_grant_away_pauses_what_was_scheduled(granted: Headquarters) -> None:
    identity = await give(granted, actions=["schedule"], parameters={})
    made = expect(
        await granted.ask("POST", "/schedules", {"script": "checks/disk", "on": "web-1", "every": "1m"}, role="hal"),
        201,
    )
    expect(await granted.ask("DELETE", f"/grants/{identity}"), 204)
    assert (await granted.get(f"/schedules/{made['id']}"))["enabled"] is False


@pytest.mark.parametrize("role", ["viewer", "auditor", "operator", "author", "reviewer"])
async def test_only_administrators_give(granted: Headquarters, role: str) -> None:
    identity = await give(granted)
    refused(await granted.ask("POST", "/grants", GRANT, role=role), 403, "denied")
    refused(await granted.ask("DELETE", f"/grants/{identity}", role=role), 403, "denied")
    assert [item["id"] for item in await granted.pages("/grants", role=role)] == [identity]


@pytest.mark.parametrize(
    "changes", [{"who": "@"}, {"scripts": "*"}, {"target": "a b"}, {"actions": ["rm"]}, {"ttl_s": 0}, {"more": 1}]
)
async def test_what_is_no_grant(granted: Headquarters, changes: dict[str, Any]) -> None:
    refused(await granted.ask("POST", "/grants", GRANT | changes), 422, "invalid_argument")
    assert await granted.pages("/grants") == []


def test_tokens_with_groups(server: Headquarters) -> None:
    """A group opens nothing by itself, so a token needs a role beside it."""
    write = server.core.database.submit
    made = write(lambda c: access.make(c, "hal", ["viewer", "@help-desk_2"], 60)).result()
    caller = server.core.database.read_now(lambda c: access.find(c, made["token"]))
    assert (caller.roles, caller.groups) == (("viewer",), ("@help-desk_2",))
    for roles in (["@help"], ["viewer", "@"], ["viewer", "@Help"], ["viewer", "help"], []):
        with pytest.raises(Exception, match="is not a role"):
            write(lambda c, roles=roles: access.make(c, "hal", roles, 60)).result()


async def test_they_are_kept(granted: Headquarters) -> None:
    identity = await give(granted)
    async with headquarters(granted.directory, granted.world, granted.clock) as again:
        assert [item["id"] for item in await again.pages("/grants")] == [identity]


async def test_what_was_scheduled_under_a_grant_stays_within_it(granted: Headquarters) -> None:
    """On one host of it, which is taken out of it later; and on its name, which then is that of another host."""
    identity = await give(granted, actions=["schedule"], parameters={})
    asked = {"script": "checks/disk", "on": "web-1", "every": "1m"}
    expect(await granted.ask("POST", "/schedules", asked, role="hal"), 201)
    first = (await granted.get("/agents/web-1"))["id"]

    def sent(agent: str) -> int:
        told = granted.core.database.read_now(lambda c: desired.schedules_for(c, agent))
        return len(told["schedules"])

    async def relabel(**labels: str) -> None:
        expect(await granted.ask("PATCH", "/agents/web-1", {"labels": labels}), 200)

    assert sent(first) == 1
    await relabel(role="db")
    assert sent(first) == 0
    await relabel(role="web")
    assert sent(first) == 1
    expect(await granted.ask("DELETE", "/agents/web-1"), 204)
    other = await granted.add_agent("web-1", role="db")
    assert sent(other) == 0
    await relabel(role="web")
    assert sent(other) == 1
    granted.tamper("UPDATE grants SET expires_us = 1 WHERE id = :of", of=identity)
    assert sent(other) == 0, "it has ended, though nobody has looked yet"
