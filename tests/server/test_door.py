"""What every request passes first: nobody without a token makes the server read, and no body is without a bound."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from headquarters import ROLES, Headquarters, expect, refused

from server import limits
from server.api.door import Door
from server.api.express import Express

JSON = {"Content-Type": "application/json"}


async def send(server: Headquarters, content: Any, **headers: str) -> httpx2.Response:
    """Ask for an invitation, which takes any object without unknown keys."""
    given = {**server.authorization(), **JSON, **headers}
    return await server.api.post("/api/v1/invites", headers=given, content=content)


async def test_without_a_token_nothing_is_told_but_that_one_is_needed(bare: Headquarters) -> None:
    for path in ("/api/v1/status", "/api/v1/nothing", "/api/", "/api/v1/openapi.json/", "/metrics"):
        answer = await bare.api.get(path)
        told = refused(answer, 401, "unauthenticated")
        assert told["type"] == "urn:outrider:problem:unauthenticated"
        assert told["request_id"] == answer.headers["x-request-id"]


async def test_a_refused_request_is_not_read(bare: Headquarters) -> None:
    """A stranger must not make us take in twelve megabytes to tell him that he may not."""

    async def body() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    for path in ("/api/v1/scripts", "/api/v1/nothing"):
        refused(await bare.api.post(path, content=body()), 401, "unauthenticated")


async def test_a_body_that_says_it_is_too_large_is_not_read(bare: Headquarters) -> None:
    async def body() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    for length in (str(limits.MAX_SMALL_BODY_BYTES + 1), "9" * 5000):
        refused(await send(bare, body(), **{"Content-Length": length}), 413, "too_large")


async def test_a_body_that_does_not_say_how_large_it_is_is_read_up_to_the_bound(bare: Headquarters) -> None:
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b" " * (1 << 20)

    # Also one that says less than it sends.
    for headers in ({}, {"Content-Length": "2"}):
        read = 0
        refused(await send(bare, body(), **headers), 413, "too_large")
        assert read <= limits.MAX_SMALL_BODY_BYTES // (1 << 20) + 1


async def test_the_largest_body_is_taken(bare: Headquarters) -> None:
    expect(await send(bare, b"{}".ljust(limits.MAX_SMALL_BODY_BYTES)), 201)
    refused(await send(bare, b"{}".ljust(limits.MAX_SMALL_BODY_BYTES + 1)), 413, "too_large")


@pytest.mark.parametrize("role", ROLES)
async def test_only_who_may_use_a_large_body_may_send_one(bare: Headquarters, role: str) -> None:
    """It is parsed before anybody asks whether they may do what it says."""
    large = {"/scripts": {"author", "admin"}, "/secrets": {"admin"}, "/reviews/x/comments": set(), "/runs": set()}
    for path, able in large.items():
        for size in (limits.MAX_SMALL_BODY_BYTES, limits.MAX_SMALL_BODY_BYTES + 1):
            answer = await bare.api.post(
                f"/api/v1{path}", content=b"{}".ljust(size),
                headers={**bare.authorization(role), "content-type": "application/json"},
            )  # fmt: skip
            is_refused = answer.status_code == 413
            assert is_refused is (size > limits.MAX_SMALL_BODY_BYTES and role not in able), (path, size, answer.text)
    for path, size in [("calls", limits.MAX_CALL_BODY_BYTES), ("calls", limits.MAX_CALL_BODY_BYTES + 1)]:
        answer = await bare.api.post(
            f"/api/v1/sessions/x/{path}", content=b'{"call":"fs.stat"}'.ljust(size),
            headers={**bare.authorization(role), "content-type": "application/json"},
        )  # fmt: skip
        may = role in ("operator", "support", "admin") and size == limits.MAX_CALL_BODY_BYTES
        assert (answer.status_code != 413) is may, (role, size, answer.text)


@pytest.mark.parametrize(
    "inner", [b"[],", b"0,", b'"a":0,', b'{"a":0},', b'"",', b'"\\\\",', b'"\\"",'],
    ids=["lists", "numbers", "members", "mappings", "texts", "backslashes", "quotes"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["scripts", "reviews/x/comments", "sessions/x/calls"])
async def test_no_body_holds_many_values(server: Headquarters, path: str, inner: bytes) -> None:
    """Millions of them in the space of one bundle would hold everybody up for seconds; 600,000 in a comment did."""
    body = b'{"bundle":"","text":[' + inner * limits.MAX_BODY_VALUES + b'0,"'
    headers = {**server.authorization(), "content-type": "application/json"}
    told = refused(await server.api.post(f"/api/v1/{path}", content=body, headers=headers), 413, "too_large")
    assert "too many values" in told["detail"]


async def test_commas_in_texts_are_no_values(bare: Headquarters) -> None:
    """A list of hosts that somebody pastes into a reason, or a table that is written to a file."""
    text = '\\", [{"a": 1}, \\' * (limits.MAX_BODY_VALUES + 1)
    body = {"call": "fs.write", "arguments": {"path": "/a", "data": text}}
    refused(await bare.ask("POST", "/sessions/x/calls", body), 404, "not_found")


@pytest.mark.parametrize(
    "body",
    [
        "{" + ",".join(f'"{number}":0' for number in range(15_000)) + "}",
        '{"argv":["x"],"env":{' + ",".join(f'"{number}":[0]' for number in range(9_000)) + "}}",
        '{"argv":' + "[" * 900 + "]" * 900 + "}",
        '{"argv":' + "[" * 900 + '"\\ud800"' + "]" * 900 + "}",
    ],
    ids=["fields", "entries", "levels", "no_text"],
)
async def test_what_is_wrong_in_very_many_places_is_told_once(bare: Headquarters, body: str) -> None:
    """Each would be an error of its own, made and thrown away; and what is nested deep is no failure of the server."""
    headers = {**bare.authorization(), "content-type": "application/json"}
    answer = await bare.api.post("/api/v1/sessions/x/command", content=body, headers=headers)
    assert len(refused(answer, 422, "invalid_argument")["errors"]) == 1


async def test_only_json_is_read(bare: Headquarters) -> None:
    """A form on somebody's page could be sent with a browser's help; JSON needs a script that is asked for."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        refused(await send(bare, b"{}", **{"Content-Type": kind}), 422, "invalid_argument")
    expect(await send(bare, b"{}", **{"Content-Type": "application/json; charset=utf-8"}), 201)


async def test_what_is_no_good_body_is_refused_in_full_form(bare: Headquarters) -> None:
    """Whatever is sent: a problem document, never a failure of ours."""
    wrong = [
        b"", b"{", b"[]", b"null", b"1", b'"x"', b"\xff\xfe", b"{}{}", b'{"a":' * 50_000,
        b'{"ttl_s": 1' + b"0" * 5_000 + b"}",
        b'{"ttl_s": NaN}', b'{"ttl_s": Infinity}', b'{"ttl_s": "60"}', b'{"name": 7}', b'{"name": "\\ud800"}',
        b'{"labels": {"a": 1}}', b'{"labels": null}', b'{"name": ""}',
    ]  # fmt: skip
    for content in wrong:
        told = refused(await send(bare, content), 422, "invalid_argument")
        assert len(told["detail"]) > 5, content


async def test_a_json_error_says_where(bare: Headquarters) -> None:
    told = refused(await send(bare, b'{"name": x}'), 422, "invalid_argument")
    assert told["where"] == "body, character 9"


async def test_unknown_fields_are_refused_by_name_in_every_body(server: Headquarters) -> None:
    """A field that is passed over is a wish that was not heard: ``reson`` would leave a run without its reason."""
    schemas = server.app.openapi()["components"]["schemas"]
    for path, methods in server.app.openapi()["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {})
            if "application/json" not in content:  # a blob's bytes are no fields
                continue
            schema = schemas[content["application/json"]["schema"]["$ref"].rsplit("/")[-1]]
            assert schema["additionalProperties"] is False, path
            where = path.removeprefix("/api/v1").replace("{reference}", "x").replace("{identity}", "x")
            told = refused(await server.ask(method.upper(), where, {"hocus": 1}), 422, "invalid_argument")
            assert "hocus" in {item["where"] for item in told["errors"]}, path


async def test_what_was_sent_is_not_repeated(bare: Headquarters) -> None:
    """It may be a secret in the wrong field, and errors are pasted into tickets."""
    answer = await send(bare, b'{"ttl_s": "hunter2", "name": {"hunter2": 1}}')
    refused(answer, 422, "invalid_argument")
    assert "hunter2" not in answer.text


async def test_every_answer_has_one_request_id_of_its_own(server: Headquarters) -> None:
    seen = []
    for path in ("/api/v1/me", "/api/v1/nothing", "/livez", "/api/v1/runs?limit=0", "/nothing", "/metrics"):
        answer = await server.api.get(path, headers={**server.authorization(), "X-Request-Id": "mine"})
        (identity,) = [value for name, value in answer.headers.multi_items() if name == "x-request-id"]
        seen.append(identity)
    assert len(set(seen)) == len(seen)
    assert "mine" not in seen, "a caller does not choose what our log calls a request"


async def test_requests_are_counted_with_bounded_labels(bare: Headquarters) -> None:
    """A stranger must not make series of metrics by inventing methods or paths."""
    for method in ("GET", "BREW", "PROPFIND"):
        await bare.api.request(method, "/api/v1/some/where")
    text = (await bare.api.get("/metrics", headers=bare.authorization())).text
    assert 'outrider_http_requests_total{method="GET",status="401"} 1.0' in text
    assert 'outrider_http_requests_total{method="other",status="401"} 2.0' in text
    assert "BREW" not in text
    assert "some/where" not in text


def test_the_door_stands_around_everything(bare: Headquarters) -> None:
    """Not one router at a time, where the next one could be forgotten."""
    assert [layer.cls for layer in bare.app.user_middleware] == [Door, Express], "the first is the outermost"
