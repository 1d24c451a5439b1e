"""The description of the API: every operation is in it in full, and what is served is what is committed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi import FastAPI
from headquarters import Headquarters, expect
from jsonschema import Draft202012Validator

from server.api import description
from server.app import routed

METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    """The description that every server gives."""
    return routed().openapi()


def operations(described: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    }


async def test_what_is_served_is_what_is_committed(bare: Headquarters) -> None:
    """A change of the API shows in review. After one: python -m server.api.description."""
    assert description.COMMITTED.read_text(encoding="utf-8") == description.text(bare.app)
    served = expect(await bare.api.get("/api/v1/openapi.json"), 200)  # to anybody: it holds no secret
    assert served == json.loads(description.COMMITTED.read_text(encoding="utf-8"))
    assert served["openapi"].startswith("3.1")


#: What is no JSON document, and its media type.
STREAMS = {
    "GET /api/v1/blobs/{blob}": "application/octet-stream",
    "GET /api/v1/records/tail": "text/event-stream",
    "GET /api/v1/sessions/{identity}/events": "text/event-stream",
    "GET /api/v1/sessions/{identity}/file": "application/octet-stream",
    "POST /api/v1/sessions/{identity}/stream": "application/x-ndjson",
    "POST /api/v1/sessions/{identity}/command": "application/x-ndjson",
}


def test_every_operation_is_there_with_its_answer(described: dict[str, Any]) -> None:
    assert {name.replace(description.PREFIX, "") for name in operations(described)} == set(description.ANSWERS)
    for name, operation in operations(described).items():
        success = min(code for code in operation["responses"] if code.startswith("2"))
        content = operation["responses"][success].get("content", {})
        if success == "204" or name.startswith("HEAD"):
            assert not content, name
        elif name in STREAMS:
            assert list(content) == [STREAMS[name]], name
        else:
            assert set(content["application/json"]["schema"]) == {"$ref"}, name


def test_every_operation_tells_how_it_fails(described: dict[str, Any]) -> None:
    for name, operation in operations(described).items():
        assert set(operation["responses"]) - {"200", "201", "202", "204", "206", "503"} == {"default"}, name
        content = operation["responses"]["default"]["content"]
        assert content["application/problem+json"]["schema"] == {"$ref": "#/components/schemas/Problem"}, name
    assert "HTTPValidationError" not in described["components"]["schemas"], "that is not what is sent"


def test_every_operation_is_explained_and_needs_a_token(described: dict[str, Any]) -> None:
    for name, operation in operations(described).items():
        assert operation["description"], name
        assert bool(operation.get("security")) is ("/api/" in name), name
    assert described["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"


def test_every_start_takes_an_idempotency_key(described: dict[str, Any]) -> None:
    for name, operation in operations(described).items():
        takes = "Idempotency-Key" in {parameter["name"] for parameter in operation.get("parameters", [])}
        is_none = name.endswith(("/invites", "/tokens", "/preview"))  # secrets, and what changes nothing
        assert takes is (name.startswith("POST") and not is_none and name not in STREAMS), name


def test_every_reference_leads_somewhere_and_every_form_is_used(described: dict[str, Any]) -> None:
    found: set[str] = set()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                found.add(value["$ref"])
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    walk(described)
    assert found == {f"#/components/schemas/{name}" for name in described["components"]["schemas"]}
    for schema in described["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_names_of_operations_are_unique(described: dict[str, Any]) -> None:
    """Generated clients have one function for each."""
    names = [operation["operationId"] for operation in operations(described).values()]
    assert len(set(names)) == len(names)


def test_a_route_without_a_form_cannot_be_described() -> None:
    app = FastAPI()

    @app.get(f"{description.PREFIX}/new")
    async def new() -> dict[str, str]:
        return {}

    with pytest.raises(KeyError, match="GET /new"):
        description.describe(app)


def test_the_committed_file_is_json_that_people_can_compare() -> None:
    text = description.COMMITTED.read_text(encoding="utf-8")
    assert json.loads(text)["info"]["title"] == "Outrider"
    assert max(map(len, text.splitlines())) < 400
