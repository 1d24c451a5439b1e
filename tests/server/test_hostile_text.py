"""Text that is none, or is very long, at every door: refused by name, never a failure of the server."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from headquarters import Headquarters, refused
from test_access import DOORS, ENVELOPE, RUN

HALF = "\ud800"
#: What has room for names and values of anybody's choice.
ROOMY: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/grants"): {"who": "x", "scripts": "a/b", "target": "*", "parameters": {"n": ["x", None]}},
    ("POST", "/runs"): {**RUN, "parameters": {"n": [{"m": "x"}]}, "order": {"a": {"b": "x"}}},
    ("POST", "/sessions"): {"agent": "x", "kind": "files", "tier": "observe", "grant": {"a": ["x"]}, "order": ENVELOPE},
    ("POST", "/schedules"): {"script": "a/b", "on": "*", "every": "1h", "parameters": {"n": "x"}, "order": ENVELOPE},
    ("POST", "/scripts/withdraw"): {"envelope": {**ENVELOPE, "signatures": [{"keyid": "x", "sig": ""}]}},
    ("POST", "/invites"): {"labels": {"a": "b"}},
    ("PATCH", "/agents/x"): {"labels": {"a": "b"}},
    ("POST", "/sessions/x/calls"): {"call": "fs.stat", "arguments": {"a": {"$bytes": "x"}}},
}
BODIES = [(door, body) for door, (_, body) in DOORS.items() if body] + list(ROOMY.items())


def spoiled(value: Any) -> Iterator[Any]:
    """Yield ``value`` with half a surrogate pair in each place of a text, and as one more name of each mapping."""
    if isinstance(value, str):
        yield f"{value}{HALF}"
    elif isinstance(value, dict):
        yield {**value, HALF: "x"}
        for name in value:
            yield from ({**value, name: each} for each in spoiled(value[name]))
    elif isinstance(value, list):
        for number in range(len(value)):
            yield from ([*value[:number], each, *value[number + 1 :]] for each in spoiled(value[number]))


async def test_half_a_surrogate_pair_anywhere_in_any_body(server: Headquarters) -> None:
    """JSON can say it (\\ud800); no database, frame or answer can hold it."""
    tried = 0
    for (method, path), body in BODIES:
        for wrong in spoiled(copy.deepcopy(body)):
            answer = await server.api.request(
                method, f"/api/v1{path}".replace("s/x/signal", "s/1/signal").replace("s/x/finish", "s/1/finish"),
                content=json.dumps(wrong),
                headers={**server.authorization(), "content-type": "application/json"},
            )  # fmt: skip
            told = refused(answer, 422, "invalid_argument")
            assert "surrogate" in told["detail"], (path, wrong, told)
            tried += 1
    assert tried > 100
    assert await server.pages("/runs") == await server.pages("/grants") == []


async def test_the_place_of_what_is_no_text_is_told(server: Headquarters) -> None:
    body = json.dumps({**RUN, "parameters": {"n": [1, {"m": HALF}]}})
    headers = {**server.authorization(), "content-type": "application/json"}
    told = refused(await server.api.post("/api/v1/runs", content=body, headers=headers), 422, "invalid_argument")
    assert told["detail"].startswith("parameters.n[1].m holds half a surrogate pair")


@pytest.mark.parametrize("text", ["a" * 60_000, "%" * 20_000, "\0", "\u202e", "'\"--", "[" * 300, "*a" * 3_000])
async def test_a_strange_or_endless_text_in_any_query(server: Headquarters, text: str) -> None:
    """The database refuses long patterns by failing; a cursor, a moment and a target have their own forms."""
    tried = 0
    for path, methods in server.app.openapi()["paths"].items():
        given = methods.get("get", {}).get("parameters", ())
        where = path.removeprefix("/api/v1").replace("{sequence}", "1").replace("{upload}", "1")
        if not path.startswith("/api/"):
            continue
        names = [each["name"] for each in given if each["in"] == "query" and "string" in json.dumps(each["schema"])]
        required = {each["name"]: "x" for each in given if each["in"] == "query" and each.get("required")}
        for name in names:
            if where == "/records/tail":
                continue  # a name of nobody is refused; the stream of somebody never ends
            answer = await server.api.get(
                f"/api/v1{where.replace('{', '').replace('}', '')}", params={**required, name: text},
                headers=server.authorization(),
            )  # fmt: skip
            assert answer.status_code in (200, 404, 409, 422), (
                f"{path}?{name}: {answer.status_code} {answer.text[:300]}"
            )
            tried += 1
    assert tried > 40
