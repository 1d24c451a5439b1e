"""Access grants and requests: what no grant allows is refused, what one allows ends with it, nobody helps himself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from headquarters import Headquarters, refused
from peer import Peer, join
from sqlalchemy import Connection

from protocol import link as events
from protocol.errors import DeniedError
from server.access import Caller
from server.services import access_grants, live, requests

NEW = {"agent": "web-1", "kind": "files", "tier": "inspect", "reason": "T-1"}
ASKED = {"kinds": ["forward"], "tier": "admin", "target": "web-1", "targets": ["localhost:5432"], "ttl_s": 3600,
         "reason": "T-1"}  # fmt: skip
FORWARD = {
    "agent": "web-1", "kind": "forward", "tier": "admin", "reason": "T-1",
    "grant": {"allow": [{"call": "net.forward", "targets": ["localhost:5432"]}]},
}  # fmt: skip


@pytest.fixture
async def peer(server: Headquarters) -> AsyncIterator[Peer]:
    made = await join(server)
    await made.connect()
    await made.wanted("schedules.set")
    yield made
    await made.close()


async def without_defaults(server: Headquarters) -> None:
    for grant in await server.pages("/access"):
        await server.ask("DELETE", f"/access/{grant['id']}")


async def grant(server: Headquarters, **changes: Any) -> dict[str, Any]:
    body = {"who": "support", "kinds": ["files"], "tier": "inspect", "target": "*", **changes}
    return dict(await server.post("/access", body, 201))


async def open_(server: Headquarters, *, role: str = "support", **changes: Any) -> Any:
    return await server.ask("POST", "/sessions", NEW | changes, role=role)


def told(peer: Peer, method: str = "session.open") -> dict[str, Any]:
    return [body for asked, body in peer.asked if asked == method][-1]


async def test_what_the_roles_could_before_is_a_grant_that_is_shipped(server: Headquarters, peer: Peer) -> None:
    assert {item["who"] for item in await server.pages("/access")} == {"role:operator", "role:support", "role:admin"}
    session = (await open_(server)).json()
    assert (session["status"], session["access"]) == ("open", "default-support")
    assert (told(peer)["access"], told(peer)["users"], told(peer)["longest_s"]) == (None, None, None)


async def test_without_a_grant_nobody_opens_anything_and_is_told_how_to_ask(server: Headquarters, peer: Peer) -> None:
    await without_defaults(server)
    for role in ("support", "operator", "admin"):
        detail = refused(await open_(server, role=role), 403, "denied")["detail"]
        assert "outrider request create --on web-1 --kind files --tier inspect --for 2h --reason" in detail
    assert not [body for method, body in peer.asked if method == "session.open"]
    assert (await server.records(kind="refusal"))[-1]["principal"] == "admin"


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"kind": "terminal"}, "files"), ({"tier": "operate"}, "inspect"), ({"agent": "web-1"}, "db-")],
)
async def test_a_grant_is_for_what_it_says(
    server: Headquarters, peer: Peer, changes: dict[str, Any], word: str
) -> None:
    await without_defaults(server)
    await grant(server, target="db-*" if word == "db-" else "*")
    assert word in refused(await open_(server, **changes), 403, "denied")["detail"]


@pytest.mark.parametrize("who", ["support", "role:support"])
async def test_who_it_is_for(server: Headquarters, peer: Peer, who: str) -> None:
    await without_defaults(server)
    await grant(server, who=who)
    assert (await open_(server)).status_code == 201
    refused(await open_(server, role="operator"), 403, "denied")


async def test_what_a_grant_bounds_goes_to_the_host(server: Headquarters, peer: Peer) -> None:
    await without_defaults(server)
    await grant(server, paths=["/var/log/**"], ttl_s=600)
    assert (await open_(server)).status_code == 201
    assert told(peer)["access"] == {"allow": [{"calls": ["fs.*", "file.*", "writer.*"], "paths": ["/var/log/**"]}]}
    assert 0 < told(peer)["longest_s"] <= 600
    await grant(server, kinds=["terminal"], users=["deploy"])
    assert (await open_(server, kind="terminal")).status_code == 201
    assert told(peer)["users"] == ["deploy"]


async def test_of_grants_that_last_as_long_the_one_for_all_users_counts(server: Headquarters, peer: Peer) -> None:
    """Whichever had the later id counted, which is chance: what opened on one day did not on another."""
    await without_defaults(server)
    wide = await grant(server, kinds=["terminal"], tier="admin")
    narrow = [await grant(server, kinds=["terminal"], tier="admin", users=["deploy"]) for _ in range(5)]
    asked = {"kind": "terminal", "tier": "admin"}
    session = (await open_(server, **asked)).json()
    assert session["access"] == wide["id"]
    caller = Caller("t", "support", ("support",), 1)

    def join_as(user: str) -> Callable[[Connection], None]:
        return lambda connection: access_grants.check_joining(
            connection, caller, live.find(connection, session["id"]), user
        )

    for user in ("root", "deploy"):
        await server.core.database.read(join_as(user))
    await server.ask("DELETE", f"/access/{wide['id']}")
    await server.core.database.read(join_as("deploy"))
    with pytest.raises(DeniedError, match="it is for deploy, not for root"):
        await server.core.database.read(join_as("root"))
    assert len(narrow) == 5


async def test_of_grants_that_fit_the_longest_is_stood_on(server: Headquarters, peer: Peer) -> None:
    await without_defaults(server)
    await grant(server, ttl_s=60)
    longer = await grant(server, ttl_s=6000)
    assert (await open_(server)).json()["access"] == longer["id"]


async def test_loopback_must_be_named_by_a_grant_and_not_by_the_session(server: Headquarters, peer: Peer) -> None:
    detail = refused(await open_(server, **FORWARD), 403, "denied")["detail"]
    assert "localhost:5432 must be named by a grant" in detail
    assert "--targets localhost:5432" in detail
    for text in ("127.0.0.1", "127.0.0.0/8:22", "169.254.169.254:80", "[::1]:80", "metadata.google.internal:80",
                 "[::ffff:127.0.0.1]:80", "[64:ff9b::7f00:1]:80"):  # fmt: skip
        hidden = {"allow": [{"call": "net.forward", "targets": ["example.org:80", text]}]}
        refused(await open_(server, **FORWARD | {"grant": hidden}), 403, "denied")
    plain = {"allow": [{"call": "net.forward", "targets": ["*", "10.0.0.0/8:80", "db.example.org:5432"]}]}
    assert (await open_(server, **FORWARD | {"grant": plain})).status_code == 201


async def test_a_grant_names_what_lies_within_it(server: Headquarters, peer: Peer) -> None:
    await grant(server, kinds=["forward"], tier="admin", targets=["localhost:5432"])
    assert (await open_(server, **FORWARD)).status_code == 201
    assert told(peer)["access"]["allow"][0]["targets"] == ["localhost:5432"]
    for text, status in (("127.0.0.1:5432", 201), ("localhost:5433", 403), ("localhost", 403), ("127.0.0.0/8:22", 403)):
        body = FORWARD | {"grant": {"allow": [{"call": "net.forward", "targets": [text]}]}}
        assert (await open_(server, **body)).status_code == status, text


# ends ----------------------------------------------------------------------------------------------------------------


async def closed(peer: Peer, session: str) -> None:
    await peer.until(lambda: ("session.close", session) in [(m, b.get("session")) for m, b in peer.asked])


async def test_revoking_ends_what_stands_on_it_and_nothing_else(server: Headquarters, peer: Peer) -> None:
    made = await grant(server)
    await server.ask("DELETE", "/access/default-support")
    mine = (await open_(server)).json()
    other = (await open_(server, role="admin")).json()
    assert mine["access"] == made["id"]
    answer = await server.ask("DELETE", f"/access/{made['id']}", reason="left the team")
    assert answer.json()["revoked_by"] == "admin"
    await closed(peer, mine["id"])
    assert told(peer, "session.close")["session"] == mine["id"]
    assert (await server.get(f"/sessions/{other['id']}"))["status"] == "open"
    refused(await server.ask("DELETE", f"/access/{made['id']}"), 409, "conflict")
    (record,) = [item for item in await server.records() if item["call"] == "access.revoke"
                 and item["arguments"]["access"] == made["id"]]  # fmt: skip
    assert record["arguments"]["reason"] == "left the team"


async def test_a_grant_that_is_revoked_while_its_host_opens_the_session_ends_it(
    server: Headquarters, peer: Peer
) -> None:
    """The host does not know of it yet when it is told to close it."""
    await without_defaults(server)
    made = await grant(server)
    peer.answers = {"session.open": lambda _: None, "session.close": lambda _: ("not_found", "there is no session")}
    opening = asyncio.create_task(open_(server))
    session = (await peer.wanted("session.open"))["session"]
    await server.ask("DELETE", f"/access/{made['id']}")
    await closed(peer, session)
    peer.asked.clear()
    peer.answers = {}
    assert peer.link is not None
    (number,) = [
        event.id
        for event in (peer.seen.get_nowait() for _ in range(peer.seen.qsize()))
        if isinstance(event, events.RequestReceived) and event.method == "session.open"
    ]
    peer.link.respond(number, {})
    await peer.flush()
    refused(await opening, 403, "denied", rule="access: over")
    await closed(peer, session)


async def test_a_grant_that_ends_between_opening_and_use_lets_nothing_through(server: Headquarters, peer: Peer) -> None:
    """Also if nothing has closed the session yet: each use asks anew."""
    await without_defaults(server)
    await grant(server, ttl_s=60)
    session = (await open_(server)).json()["id"]
    server.clock.advance(seconds=61)
    body = {"call": "fs.stat", "arguments": {"path": "/etc"}}
    answer = refused(await server.ask("POST", f"/sessions/{session}/calls", body, role="support"), 403, "denied")
    assert answer["rule"] == "access: over"
    assert not [b for method, b in peer.asked if method == "session.call"]


@pytest.mark.parametrize("change", [{"labels": {"role": "db"}}, {"name": "db-9"}])
async def test_a_session_ends_when_its_host_is_none_of_the_grant_any_more(
    server: Headquarters, peer: Peer, change: dict[str, Any]
) -> None:
    """Taken out of it by another label or name; who opened one went on in it, as long as they liked."""
    await without_defaults(server)
    await server.ask("PATCH", "/agents/web-1", {"labels": {"role": "web"}})
    await grant(server, target="web-*" if "name" in change else "role=web")
    session = (await open_(server)).json()["id"]
    body = {"call": "fs.stat", "arguments": {"path": "/etc"}}
    assert (await server.ask("PATCH", "/agents/web-1", {"labels": {"role": "web", "env": "prod"}})).status_code == 200
    assert (await server.get(f"/sessions/{session}"))["status"] == "open"
    assert (await server.ask("PATCH", "/agents/web-1", change)).status_code == 200
    await closed(peer, session)
    answer = refused(await server.ask("POST", f"/sessions/{session}/calls", body, role="support"), 403, "denied")
    assert "which" in answer["detail"]
    assert not [b for method, b in peer.asked if method == "session.call"]


async def test_a_host_that_was_away_is_told_when_it_is_back(server: Headquarters, peer: Peer) -> None:
    made = await grant(server)
    await server.ask("DELETE", "/access/default-support")
    session = (await open_(server)).json()["id"]
    await peer.close()
    await server.ask("DELETE", f"/access/{made['id']}")
    await peer.connect()
    await closed(peer, session)


# keeping -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"kinds": []}, "kinds"), ({"kinds": ["shell"]}, "kinds"), ({"tier": "root"}, "tier"),
        ({"target": "a b"}, "target"),
        ({"who": " "}, "who"), ({"paths": ["etc"]}, "paths"), ({"kinds": ["terminal"], "paths": ["/etc"]}, "paths"),
        ({"targets": ["x:y"]}, "target"), ({"users": ["root"]}, "users"), ({"ttl_s": 0}, "ttl_s"),
        ({"kinds": ["forward"], "targets": ["a:b:c"]}, "target"),
    ],
)  # fmt: skip
async def test_a_grant_that_means_nothing_is_named(server: Headquarters, changes: dict[str, Any], word: str) -> None:
    body = {"who": "support", "kinds": ["files"], "tier": "inspect", "target": "*", **changes}
    answer = refused(await server.ask("POST", "/access", body), 422, "invalid_argument")
    assert word in str(answer)


# requests ------------------------------------------------------------------------------------------------------------


async def test_what_is_approved_is_a_grant_for_a_time(server: Headquarters, peer: Peer) -> None:
    refused(await open_(server, **FORWARD), 403, "denied")
    asked = await server.post("/requests", ASKED, 201, role="support")
    assert (asked["state"], asked["principal"]) == ("open", "support")
    answer = await server.post(
        f"/requests/{asked['id']}/review", {"approved": True, "reason": "known"}, role="approver"
    )
    assert (answer["state"], answer["decided_by"]) == ("approved", "approver")
    made = await server.get(f"/access/{answer['grant']}")
    assert (made["who"], made["request"], made["by"], made["targets"]) == (
        "support", asked["id"], "approver", ["localhost:5432"],
    )  # fmt: skip
    session = (await open_(server, **FORWARD)).json()
    assert session["access"] == made["id"]
    assert told(peer)["longest_s"] <= 3600
    refused(await open_(server, role="operator", **FORWARD), 403, "denied")
    server.clock.advance(seconds=3601)
    refused(await open_(server, **FORWARD), 403, "denied")


async def test_nobody_reviews_his_own_request(server: Headquarters) -> None:
    asked = await server.post("/requests", ASKED, 201)
    answer = refused(
        await server.ask("POST", f"/requests/{asked['id']}/review", {"approved": True, "reason": "me"}), 403, "denied"
    )
    assert answer["rule"] == "request: never one's own"
    assert await server.pages("/requests", reviewable=True) == []
    assert [item["id"] for item in await server.pages("/requests", role="approver", reviewable=True)] == [asked["id"]]
    assert len(await server.pages("/access")) == 3


async def test_a_request_is_decided_once_and_not_for_ever(
    server: Headquarters, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = await server.post("/requests", ASKED, 201, role="support")
    path, body = f"/requests/{asked['id']}/review", {"approved": False, "reason": "no ticket"}
    await server.post(path, body)
    refused(await server.ask("POST", path, body | {"approved": True}), 409, "conflict")
    old = await server.post("/requests", ASKED, 201, role="support")
    server.clock.advance(days=8)
    assert (await server.get(f"/requests/{old['id']}"))["state"] == "expired"
    refused(await server.ask("POST", f"/requests/{old['id']}/review", body | {"approved": True}), 409, "conflict")
    assert [item["id"] for item in await server.pages("/requests", state="expired")] == [old["id"]]
    monkeypatch.setattr(requests, "MAX_OPEN_OF_ONE", 1)
    await server.post("/requests", ASKED, 201, role="support")
    refused(await server.ask("POST", "/requests", ASKED, role="support"), 429, "rate_limited")


async def test_two_reviews_at_once_make_one_grant(server: Headquarters) -> None:
    asked = await server.post("/requests", ASKED, 201, role="support")
    path, body = f"/requests/{asked['id']}/review", {"approved": True, "reason": "known"}
    answers = await asyncio.gather(*(server.ask("POST", path, body, role=role) for role in ("approver", "admin")))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    assert len(await server.pages("/access")) == 4
