"""The short way of a one-off run answers exactly as the long way, which the same request goes with another header."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from headquarters import Headquarters, expect, refused, script
from peer import Peer, join
from world import ROLES

from server.api import express

LONG = "application/json; charset=utf-8"
SHORT = "application/json"
RUN = b'{"script": "checks/disk", "target": "web-1", "reason": "r"}'


@pytest.fixture
async def peer(server: Headquarters) -> AsyncIterator[Peer]:
    await server.bring_in(script())
    made = await join(server)
    await made.connect()
    yield made
    await made.close()


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what went the short way: the callers."""
    found: list[str] = []
    real = express.runs.run

    async def noted(request: Any, core: Any, caller: Any, body: Any) -> Any:
        found.append(caller.principal)
        return await real(request, core, caller, body)

    monkeypatch.setattr(express.runs, "run", noted)
    return found


async def ask(server: Headquarters, content: bytes, kind: str, role: str = "admin", **more: str) -> httpx2.Response:
    headers = {**server.authorization(role), "Content-Type": kind, **more}
    return await server.api.post("/api/v1/runs", content=content, headers=headers)


def told(answer: httpx2.Response) -> tuple[int, Any]:
    body = answer.json()
    body.pop("request_id", None)
    return answer.status_code, body


async def test_a_run_goes_the_short_way(server: Headquarters, peer: Peer, taken: list[str]) -> None:
    short = expect(await ask(server, RUN, SHORT), 201)
    assert taken == ["admin"]
    long = expect(await ask(server, RUN, LONG), 201)
    assert short["runs"][0].keys() == long["runs"][0].keys()
    assert [body["reason"] for method, body in peer.asked if method == "run.start"] == ["r", "r"]


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"null", b"\xff", b'{"script": "x"}', b'{"script": 7, "target": "web-1"}',
        b'{"script": "x", "target": "web-1", "more": 1}', b'{"script": "x", "target": "web-1", "wait_s": NaN}',
        b'{"script": "x", "target": "web-1", "wait_s": 61}', b'{"script": "x", "target": "\xed\xa0\x80"}',
        b'{"script": "\\ud800", "target": "web-1"}', b'{"script": "x", "target": "a b"}', b"[" * 100_000,
        b'{"script": "x", "target": "web-1"}', b'{"script": "checks/disk", "target": "nobody"}',
        b'{"script": "checks/disk", "target": "web-1", "parameters": {"a": 1}}',
        b'{"script": "checks/disk", "target": "web-1", "parameters": {"a": ' + b"9" * 400 + b"}}",
    ],
)  # fmt: skip
async def test_every_refusal_is_that_of_the_long_way(server: Headquarters, peer: Peer, content: bytes) -> None:
    assert told(await ask(server, content, SHORT)) == told(await ask(server, content, LONG))
    calls = [record["call"] for record in await server.records(kind="refusal")]
    assert set(calls) <= {"POST /runs"}


@pytest.mark.parametrize("role", ["viewer", "auditor", "author", "reviewer"])
async def test_a_role_that_may_not_run_may_not_here_either(server: Headquarters, peer: Peer, role: str) -> None:
    """It goes the long way, where grants are looked at."""
    refused(await ask(server, RUN, SHORT, role), 403, "denied", rule="role run")
    assert not [body for method, body in peer.asked if method == "run.start"]
    (record,) = await server.records(kind="refusal")
    assert (record["call"], record["principal"]) == ("POST /runs", role)


async def test_without_a_valid_token_nothing_is_read(server: Headquarters, peer: Peer) -> None:
    answer = await server.api.post("/api/v1/runs", content=RUN, headers={"Content-Type": SHORT})
    refused(answer, 401, "unauthenticated")


async def test_a_revoked_token_is_refused_at_once(server: Headquarters, peer: Peer) -> None:
    """Whatever is kept in memory about callers: the request after the revocation is refused."""
    made = await server.post("/tokens", {"principal": "mia", "roles": ["operator"]}, 201)
    headers = {"Authorization": f"Bearer {made['token']}", "Content-Type": SHORT}
    for _ in range(3):
        expect(await server.api.post("/api/v1/runs", content=RUN, headers=headers), 201)
    expect(await server.ask("DELETE", f"/tokens/{made['id']}"), 204)
    refused(await server.api.post("/api/v1/runs", content=RUN, headers=headers), 401, "unauthenticated")


async def test_a_token_ends_in_its_time(server: Headquarters, peer: Peer) -> None:
    made = await server.post("/tokens", {"principal": "mia", "roles": ["operator"], "ttl_s": 60}, 201)
    headers = {"Authorization": f"Bearer {made['token']}", "Content-Type": SHORT}
    expect(await server.api.post("/api/v1/runs", content=RUN, headers=headers), 201)
    server.clock.advance(seconds=61)
    refused(await server.api.post("/api/v1/runs", content=RUN, headers=headers), 401, "unauthenticated")


async def test_a_script_that_was_withdrawn_is_refused_at_once(server: Headquarters, peer: Peer) -> None:
    expect(await ask(server, RUN, SHORT), 201)
    expect(await server.withdraw(script()), 200)
    refused(await ask(server, RUN, SHORT), 403, "untrusted", reason="withdrawn")


async def test_a_new_roster_counts_at_once(server: Headquarters, peer: Peer) -> None:
    """An author who is no longer in it makes nothing run."""
    expect(await ask(server, RUN, SHORT), 201)
    keys = [server.world.member(name) for name in ("bob", "root") if name in ROLES]
    expect(await server.put_roster(2, keys=keys), 200)
    answer = await ask(server, RUN, SHORT)
    assert (answer.status_code, answer.json()["code"]) == (403, "untrusted"), answer.text
