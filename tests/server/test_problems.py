"""Errors as problem documents: one form, stable codes, and nothing of our insides."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi import FastAPI
from headquarters import Headquarters, expect, refused
from structlog.testing import capture_logs

from protocol.errors import (
    DOORS,
    ArgumentError,
    BudgetError,
    DeniedError,
    InternalError,
    LedgerError,
    OutriderError,
    RateError,
    TrustError,
    UnauthenticatedError,
    UnavailableError,
)
from server.api.bodies import MAX_FIELDS
from server.api.problems import problem


def everyone() -> list[type[OutriderError]]:
    found, todo = [], [OutriderError]
    while todo:
        kind = todo.pop()
        found.append(kind)
        todo += kind.__subclasses__()
    return found


@pytest.mark.parametrize("code", sorted(DOORS))
def test_every_code_becomes_a_whole_document(code: str) -> None:
    kind = next(kind for kind in everyone() if kind.code == code)
    more: dict[str, Any] = {
        TrustError: {"reason": "unsigned"}, LedgerError: {"sequence": 3}, BudgetError: {"budget": "cpu"}
    }.get(kind, {})  # fmt: skip
    answer = problem(kind("it went wrong", **more), "r1")
    told = json.loads(bytes(answer.body))
    assert answer.status_code == told["status"] == DOORS[code].http_status
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(told) == {"type", "title", "status", "code", "detail", "request_id", *more}
    assert (told["type"], told["detail"]) == (f"urn:outrider:problem:{code}", "it went wrong")
    assert {name: told[name] for name in more} == more


def test_what_programs_branch_on_is_told() -> None:
    for error, attribute in (
        (TrustError("x", reason="withdrawn"), ("reason", "withdrawn")),
        (ArgumentError("x", parameter="cron"), ("parameter", "cron")),
        (ArgumentError("x", where="manifest.yaml:3: tier"), ("where", "manifest.yaml:3: tier")),
        (DeniedError("x", rule="role run"), ("rule", "role run")),
    ):
        assert json.loads(bytes(problem(error, "r").body))[attribute[0]] == attribute[1]


def test_the_detail_for_our_log_stays_here() -> None:
    answer = problem(UnavailableError("the disk is full", detail="/srv/outrider/server.sqlite"), "r")
    assert b"sqlite" not in bytes(answer.body)


def test_headers_say_what_clients_must_do() -> None:
    assert problem(UnauthenticatedError("who?"), "r").headers["www-authenticate"] == 'Bearer realm="outrider"'
    assert problem(RateError("slowly", retry_after_s=2.4), "r").headers["retry-after"] == "2"
    assert problem(RateError("slowly", retry_after_s=0.1), "r").headers["retry-after"] == "1"


async def test_what_is_not_there_is_a_problem_document_too(bare: Headquarters) -> None:
    for method, path in (("GET", "/nothing"), ("DELETE", "/me"), ("GET", "/me/")):
        told = refused(await bare.ask(method, path), 404, "not_found")
        assert told["detail"] == f"there is no {method} /api/v1{path}"
    refused(await bare.api.get("/nothing"), 404, "not_found")
    long = await bare.ask("GET", "/" + "x" * 5_000)
    assert len(long.text) < 1_000


async def test_a_failure_of_ours_tells_nothing_but_its_number(bare: Headquarters) -> None:
    """The log has the whole story under the same number."""
    app: FastAPI = bare.app

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("the secret is hunter2, in /srv/outrider")

    with capture_logs() as logs:
        answer = await bare.api.get("/broken")
    told = refused(answer, 500, "internal", detail="the server failed; its log says why")
    assert "hunter2" not in answer.text
    assert "RuntimeError" not in answer.text
    assert answer.headers["x-request-id"] == told["request_id"]
    (failure,) = [item for item in logs if item["log_level"] == "error"]
    assert failure["request_id"] == told["request_id"]
    assert "hunter2" in str(failure["exc_info"])


async def test_an_internal_error_is_logged_with_its_detail(bare: Headquarters) -> None:
    @bare.app.get("/broken")
    async def broken() -> None:
        raise InternalError("the database refused a command", detail="UNIQUE constraint failed: t.c")

    with capture_logs() as logs:
        answer = await bare.api.get("/broken")
    refused(answer, 500, "internal")
    assert "UNIQUE" not in answer.text
    assert [item["detail"] for item in logs if item["log_level"] == "error"] == ["UNIQUE constraint failed: t.c"]


async def test_every_wrong_field_is_named(bare: Headquarters) -> None:
    told = refused(
        await bare.ask("POST", "/runs", {"target": "", "parameters": 1, "wait_s": 61}), 422, "invalid_argument"
    )
    assert {item["where"] for item in told["errors"]} == {"target", "script", "parameters", "wait_s"}
    assert told["where"] == told["errors"][0]["where"]


async def test_many_wrong_fields_make_no_long_answer(bare: Headquarters) -> None:
    body = {f"k{number}": 1 for number in range(MAX_FIELDS)}
    assert len((await bare.ask("POST", "/runs", body)).json()["errors"]) == 20
    answer = await bare.ask("POST", "/runs", {"k" * 100_000: 1})
    assert len(answer.text) < 2_000


async def test_a_wrong_query_is_named(bare: Headquarters) -> None:
    for path, parameter in (
        ("/runs?limit=x", "limit"),
        ("/records?after_seq=-1", "after_seq"),
        ("/scripts/show", "name"),
    ):
        refused(await bare.ask("GET", path), 422, "invalid_argument", parameter=parameter)


async def test_head_of_an_error_is_no_failure(bare: Headquarters) -> None:
    assert (await bare.api.head("/nothing")).status_code == 404
    expect(await bare.api.get("/livez"), 200)
