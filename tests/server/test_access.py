"""Tokens: only what is valid now opens a door, only the doors of its roles, and nobody learns why not."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import pytest
from headquarters import ROLES, Headquarters, expect, refused
from sqlalchemy import text

from protocol.errors import ArgumentError, UnauthenticatedError
from server import access


async def whoami(server: Headquarters, *authorization: str | bytes) -> Any:
    headers = [(b"authorization", item.encode() if isinstance(item, str) else item) for item in authorization]
    return await server.api.get("/api/v1/me", headers=headers)


async def test_a_token_says_whose_it_is(bare: Headquarters) -> None:
    made = await bare.post("/tokens", {"principal": "mia", "roles": ["viewer", "author"], "ttl_s": 60}, 201)
    me = expect(await whoami(bare, f"Bearer {made['token']}"), 200)
    assert (me["principal"], sorted(me["roles"]), me["expires"]) == ("mia", ["author", "viewer"], made["expires"])


async def test_the_word_bearer_may_be_written_in_any_case(bare: Headquarters) -> None:
    """RFC 9110 section 11.1: the name of a scheme is case-insensitive."""
    for word in ("bearer", "BEARER"):
        expect(await whoami(bare, f"{word} {bare.token()}"), 200)


def damaged(token: str) -> list[tuple[str | bytes, ...]]:
    """Every way in which a header can be wrong that we know of."""
    other = "A" if token[-1] != "A" else "B"
    return [
        (), ("",), ("Bearer",), ("Bearer ",), (f"Basic {token}",), (token,), (f"Bearer{token}",),
        (f"Bearer {token[:-1]}",), (f"Bearer {token}x",), (f"Bearer {token[:-1]}{other}",),
        (f"Bearer {token.upper()}",),
        (f"Bearer {token[4:]}",), (f"Bearer {token} {token}",), (f"Bearer {token}", f"Bearer {token}"),
        ("Bearer " + "ort_" + "x" * 10_000,), ("Bearer ort_",), (b"Bearer ort_\xff\xfe" + b"a" * 41,),
        ("Bearer ort_' OR 1=1 --",), ("Bearer %",),
    ]  # fmt: skip


async def test_a_damaged_header_is_refused(bare: Headquarters) -> None:
    for headers in damaged(bare.token()):
        answer = await whoami(bare, *headers)
        refused(answer, 401, "unauthenticated")
        assert answer.headers["www-authenticate"].startswith("Bearer"), headers
        assert bare.token() not in answer.text, headers


async def test_an_ended_an_unknown_and_a_revoked_token_are_refused_alike(bare: Headquarters) -> None:
    """Else a thief could tell which of his tokens were real."""
    made = [await bare.post("/tokens", {"principal": "mia", "roles": ["viewer"], "ttl_s": 60}, 201) for _ in range(2)]
    expect(await bare.ask("DELETE", f"/tokens/{made[0]['id']}"), 204)
    details = {refused(await whoami(bare, f"Bearer {made[0]['token']}"), 401, "unauthenticated")["detail"]}
    bare.clock.advance(seconds=61)
    for token in (made[1]["token"], "ort_" + "A" * 43):
        details.add(refused(await whoami(bare, f"Bearer {token}"), 401, "unauthenticated")["detail"])
    assert len(details) == 1


async def test_a_token_is_valid_until_its_last_moment(bare: Headquarters) -> None:
    made = await bare.post("/tokens", {"principal": "mia", "roles": ["viewer"], "ttl_s": 60}, 201)
    bare.clock.advance(seconds=59)
    expect(await whoami(bare, f"Bearer {made['token']}"), 200)
    bare.clock.advance(seconds=1)
    refused(await whoami(bare, f"Bearer {made['token']}"), 401, "unauthenticated")


async def test_revoking_works_once_and_is_on_record(bare: Headquarters) -> None:
    made = await bare.post("/tokens", {"principal": "mia", "roles": ["viewer"]}, 201)
    expect(await bare.ask("DELETE", f"/tokens/{made['id']}"), 204)
    refused(await bare.ask("DELETE", f"/tokens/{made['id']}"), 404, "not_found")
    grant, revoke = [item for item in await bare.records() if item["call"].startswith("access.")]
    assert (grant["call"], grant["principal"]) == ("access.grant", "admin")
    assert grant["arguments"] == {"id": made["id"], "principal": "mia", "roles": ["viewer"]}
    assert (revoke["call"], revoke["arguments"]) == ("access.revoke", {"id": made["id"]})


async def test_the_text_of_a_token_is_kept_nowhere(bare: Headquarters) -> None:
    """Who copies the database must not be able to log in with it."""
    made = await bare.post("/tokens", {"principal": "mia", "roles": ["admin"]}, 201)
    listed = expect(await bare.ask("GET", "/tokens"), 200)
    assert made["token"] not in str(listed)
    (mine,) = [item for item in listed["items"] if item["id"] == made["id"]]
    assert set(mine) == {"id", "principal", "roles", "created", "expires", "revoked"}
    await bare.core.database.write(lambda c: None)
    for path in bare.directory.iterdir():
        if path.is_file():
            assert made["token"].encode() not in path.read_bytes(), path.name


def test_tokens_are_long_and_never_alike(bare: Headquarters) -> None:
    def make(connection: Any) -> list[str]:
        return [access.make(connection, "mia", ["viewer"], 60)["token"] for _ in range(20)]

    tokens = bare.core.database.submit(make).result()
    assert len(set(tokens)) == 20
    assert all(re.fullmatch(r"ort_[A-Za-z0-9_-]{43}", token) for token in tokens)


def test_a_wrong_token_is_not_made(bare: Headquarters) -> None:
    wrong: list[tuple[str, list[str], str]] = [
        ("mia", ["root"], "roles"), ("mia", [], "roles"), ("mia", ["viewer", "Admin"], "roles"),
        ("", ["viewer"], "principal"), ("  ", ["viewer"], "principal"), ("x" * 101, ["viewer"], "principal"),
        ("a\nb", ["viewer"], "principal"), ("a\u202eb", ["viewer"], "principal"),
    ]  # fmt: skip
    for principal, roles, parameter in wrong:
        command = partial(access.make, principal=principal, roles=roles, ttl_s=60)
        with pytest.raises(ArgumentError) as caught:
            bare.core.database.submit(command).result()
        assert caught.value.parameter == parameter, (principal, roles)


async def test_a_wrong_request_for_a_token_is_refused(bare: Headquarters) -> None:
    wrong: list[dict[str, Any]] = [{"ttl_s": 0}, {"ttl_s": -1}, {"ttl_s": 1e12}, {"roles": ["root"]}, {"roles": []}]
    for body in wrong:
        answer = await bare.ask("POST", "/tokens", {"principal": "mia", "roles": ["viewer"], **body})
        refused(answer, 422, "invalid_argument")
    assert not [item for item in await bare.records() if item["call"] == "access.grant"]


def test_a_principal_cannot_be_looked_for_by_half_a_hash(bare: Headquarters) -> None:
    bare.token()
    count = bare.core.database.read_now(lambda c: c.execute(text("SELECT count(*) FROM tokens")).scalar())
    assert count == 1
    with pytest.raises(UnauthenticatedError):
        bare.core.database.read_now(lambda c: access.find(c, "ort_%"))


# roles ----------------------------------------------------------------------------------------------------------------

ID = "0" * 12
ENVELOPE = {"payloadType": "x", "payload": "", "signatures": []}
RUN = {"target": "*", "script": "checks/disk"}
BLOB = "0" * 64
SUPPORT = {"operator", "support", "admin"}
WATCH = {"auditor", "operator", "support", "moderator", "admin"}
#: Every door of the API but the reading ones, and the roles that open it. Compared with the application as a whole.
DOORS: dict[tuple[str, str], tuple[set[str], Any]] = {
    ("PATCH", "/agents/x"): ({"admin"}, {"labels": {}}),
    ("DELETE", "/agents/x"): ({"admin"}, None),
    ("POST", "/agents/x/freeze"): ({"admin"}, {"frozen": True}),
    ("POST", "/invites"): ({"admin"}, {}),
    ("POST", "/scripts"): ({"author", "admin"}, {"publication": ENVELOPE, "bundle": ""}),
    ("POST", "/scripts/withdraw"): (set(ROLES), {"envelope": ENVELOPE}),
    ("POST", "/reviews/x/approve"): ({"reviewer", "admin"}, {"approval": ENVELOPE}),
    ("POST", "/reviews/x/reject"): ({"reviewer", "admin"}, {"reason": "no"}),
    ("POST", "/secrets"): ({"admin"}, {"name": "x", "version": 1, "scripts": ["a/b"], "sealed": {"x": "AAAA"}}),
    ("DELETE", "/secrets/x"): ({"admin"}, None),
    ("POST", "/scripts/transfer"): ({"author", "admin"}, {"envelope": ENVELOPE}),
    ("POST", "/scripts/deprecate"): ({"author", "admin"}, {"name": "a/b", "reason": "x"}),
    ("POST", "/grants"): ({"admin"}, {"who": "x", "scripts": "a/b", "target": "*"}),
    ("DELETE", "/grants/x"): ({"admin"}, None),
    ("GET", "/webhooks"): ({"admin"}, None),
    ("POST", "/webhooks"): ({"admin"}, {"url": "https://example.org/"}),
    ("POST", "/webhooks/x/rotate"): ({"admin"}, {}),
    ("DELETE", "/webhooks/x"): ({"admin"}, None),
    ("GET", "/webhooks/x/deliveries"): ({"admin"}, None),
    ("POST", "/webhooks/x/deliveries/x/replay"): ({"admin"}, {}),
    ("POST", "/schedules"): ({"operator", "admin"}, {"script": "a/b", "on": "*", "every": "1h"}),
    ("POST", "/schedules/preview"): ({"operator", "admin"}, {"script": "a/b", "on": "*", "every": "1h"}),
    ("PATCH", "/schedules/x"): ({"operator", "admin"}, {"enabled": False}),
    ("DELETE", "/schedules/x"): ({"operator", "admin"}, None),
    ("POST", "/runs"): ({"operator", "admin"}, RUN),
    ("POST", "/runs/x/cancel"): ({"operator", "admin"}, None),
    ("POST", "/sessions"): ({"operator", "support", "admin"}, {"agent": "x", "kind": "files", "tier": "observe"}),
    ("POST", "/sessions/x/calls"): ({"operator", "support", "admin"}, {"call": "fs.stat"}),
    ("POST", "/sessions/x/close"): ({"operator", "support", "moderator", "admin"}, {}),
    ("POST", "/access"): ({"admin"}, {"who": "mia", "kinds": ["files"], "tier": "observe", "target": "*"}),
    ("DELETE", "/access/x"): ({"admin"}, None),
    ("POST", "/requests"): (
        {"operator", "support", "admin"},
        {"kinds": ["files"], "tier": "observe", "target": "*", "ttl_s": 60, "reason": "T-1"},
    ),
    ("POST", "/requests/x/review"): ({"approver", "admin"}, {"approved": False, "reason": "no"}),
    ("GET", "/consents"): (set(ROLES) - {"viewer"}, None),
    ("POST", "/consents/x"): ({"approver", "admin"}, {"granted": True}),
    ("POST", "/reviews/x/comments"): (set(ROLES), {"text": "why?"}),
    ("POST", "/reviews/x/try"): ({"reviewer", "admin"}, {"target": "x", "order": ENVELOPE}),
    ("GET", "/records/head"): (set(ROLES) - {"viewer"}, None),
    ("GET", "/records/consistency"): (set(ROLES) - {"viewer"}, None),
    ("GET", "/records/inclusion"): (set(ROLES) - {"viewer"}, None),
    ("POST", "/reviews/x/revoke"): ({"reviewer", "admin"}, {"envelope": ENVELOPE}),
    ("GET", "/sessions/x/events"): (set(ROLES) - {"viewer"}, None),
    ("GET", "/sessions/x/file"): (SUPPORT, None),
    ("PUT", "/sessions/x/file"): (SUPPORT, None),
    ("POST", "/sessions/x/uploads"): (SUPPORT, {"path": "/x"}),
    ("GET", "/sessions/x/uploads/x"): (SUPPORT, None),
    ("PUT", "/sessions/x/uploads/x"): (SUPPORT, None),
    ("DELETE", "/sessions/x/uploads/x"): (SUPPORT, None),
    ("POST", "/sessions/x/uploads/x/finish"): (SUPPORT, {}),
    ("POST", "/sessions/x/stream"): (SUPPORT, {"call": "fs.walk"}),
    ("PUT", "/sessions/x/editing"): (SUPPORT, {"path": "/x"}),
    ("POST", "/sessions/x/command"): (SUPPORT, {"argv": ["true"]}),
    ("PUT", "/sessions/x/commands/x/stdin"): (SUPPORT, None),
    ("POST", "/sessions/x/commands/x/signal"): (SUPPORT, {"signal": "INT"}),
    ("GET", "/recordings/search"): (WATCH, None),
    ("GET", "/recordings/x"): (WATCH, None),
    ("GET", "/recordings/x/events"): (WATCH, None),
    ("GET", f"/blobs/sha256:{BLOB}"): (set(ROLES) - {"viewer"}, None),
    ("GET", f"/blobs/sha256:{BLOB}/arrived"): ({"operator", "admin"}, None),
    ("PUT", f"/blobs/sha256:{BLOB}"): ({"operator", "admin"}, None),
    ("DELETE", f"/blobs/sha256:{BLOB}"): ({"operator", "admin"}, None),
    ("PUT", "/roster"): ({"admin"}, {"envelope": ENVELOPE}),
    ("GET", "/tokens"): ({"admin"}, None),
    ("POST", "/tokens"): ({"admin"}, {"principal": "mia", "roles": ["viewer"]}),
    ("DELETE", "/tokens/x"): ({"admin"}, None),
    ("GET", "/records"): (set(ROLES) - {"viewer"}, None),
    ("GET", "/records/verify"): (set(ROLES) - {"viewer"}, None),
    ("GET", "/records/server/1"): (set(ROLES) - {"viewer"}, None),
}
READS = {
    "/identity", "/me", "/status", "/agents", "/agents/{reference}", "/scripts", "/scripts/show", "/reviews",
    "/reviews/{identity}", "/reviews/{identity}/code", "/scripts/log", "/scripts/diff", "/scripts/diff/code",
    "/schedules", "/schedules/{identity}", "/schedules/{identity}/next", "/runs", "/runs/{identity}", "/roster",
    "/scripts/search", "/scripts/folders", "/grants", "/grants/{identity}",
    "/access", "/access/{identity}", "/requests", "/requests/{identity}",
    "/secrets", "/secrets/{name}/next", "/blobs", "/reviews/{identity}/bundle", "/scripts/bundle",
    "/sessions", "/sessions/{identity}", "/ids",
}  # fmt: skip


async def test_a_door_opens_for_its_roles_only(server: Headquarters) -> None:
    for door, (able, body) in DOORS.items():
        for role in ROLES:
            answer = await server.ask(*door, body, role=role)
            is_refused = answer.status_code == 403 and answer.json()["code"] == "denied"
            assert is_refused is (role not in able), f"{door} {role}: {answer.status_code} {answer.text}"
            assert answer.status_code < 500, f"{door} {role}: {answer.text}"


def test_every_door_of_the_api_is_in_this_table(bare: Headquarters) -> None:
    """A new route without a role would be open to every token."""
    served = {
        (method.upper(), path.removeprefix("/api/v1"))
        for path, methods in bare.app.openapi()["paths"].items()
        for method in methods
        if path.startswith("/api/")
    }
    variable = ("x", f"sha256:{BLOB}")
    listed = {
        (method, "/".join(part if part not in variable else "{}" for part in path.split("/"))) for method, path in DOORS
    }
    listed |= {("GET", "/".join("{}" if "{" in part else part for part in path.split("/"))) for path in READS}
    listed |= {("GET", "/records/tail"), ("GET", "/records/{}/{}"), ("HEAD", "/blobs/{}")}
    listed -= {("GET", "/records/server/1")}
    assert {(m, "/".join("{}" if "{" in part else part for part in p.split("/"))) for m, p in served} == listed


async def test_a_refusal_for_a_role_says_which_would_do_and_is_on_record(server: Headquarters) -> None:
    told = refused(await server.ask("POST", "/runs", RUN, role="viewer"), 403, "denied", rule="role run")
    assert "operator, admin" in told["detail"]
    (record,) = await server.records(kind="refusal")
    assert (record["call"], record["principal"], record["outcome"]) == ("POST /runs", "viewer", "denied")
    assert (record["verdict"], record["rule"]) == ("deny", "role run")
