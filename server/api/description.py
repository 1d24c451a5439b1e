"""The description of the API (OpenAPI 3.1): what FastAPI reads from the handlers, the forms of answers, and the errors.

``python -m server.api.description`` writes it to ``openapi.json`` beside this file; a test notices when they differ.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from server.api import answers
from server.version import VERSION

COMMITTED = Path(__file__).with_name("openapi.json")
TITLE = "Outrider"
SUMMARY = "Signed scripts, sandboxed, on every host, with every call on the record."
PREFIX = "/api/v1"
_STREAM = None  # server-sent events

#: Every operation, and the form of its answer. What is not here fails the server's start, and not a client later.
ANSWERS: dict[str, type[BaseModel] | None] = {
    "GET /me": answers.Me,
    "GET /status": answers.Status,
    "GET /agents": answers.Paged[answers.Agent],
    "GET /agents/{reference}": answers.Agent,
    "PATCH /agents/{reference}": answers.Agent,
    "DELETE /agents/{reference}": None,
    "POST /agents/{reference}/freeze": answers.Agent,
    "POST /invites": answers.Invitation,
    "GET /scripts": answers.Paged[answers.Script],
    "POST /scripts": answers.Published,
    "GET /scripts/show": answers.ShownScript,
    "GET /scripts/log": answers.Paged[answers.LoggedVersion],
    "GET /scripts/diff": answers.TwoVersions,
    "GET /scripts/diff/code": answers.Paged[answers.CodePart],
    "POST /scripts/withdraw": answers.Script,
    "GET /reviews": answers.Paged[answers.ListedReview],
    "GET /reviews/{identity}": answers.ShownReview,
    "GET /reviews/{identity}/code": answers.Paged[answers.CodePart],
    "POST /reviews/{identity}/approve": answers.Review,
    "POST /reviews/{identity}/reject": answers.Review,
    "GET /secrets": answers.Paged[answers.Secret],
    "POST /secrets": answers.Secret,
    "GET /secrets/{name}/next": answers.NextVersion,
    "DELETE /secrets/{name}": None,
    "GET /schedules": answers.Paged[answers.Schedule],
    "POST /schedules": answers.Schedule,
    "GET /schedules/{identity}": answers.Schedule,
    "GET /schedules/{identity}/next": answers.Fires,
    "PATCH /schedules/{identity}": answers.Schedule,
    "DELETE /schedules/{identity}": None,
    "GET /runs": answers.Paged[answers.Run],
    "POST /runs": answers.Runs,
    "GET /runs/{identity}": answers.Run,
    "POST /runs/{identity}/cancel": answers.Run,
    "GET /records": answers.Paged[answers.Record],
    "GET /records/tail": _STREAM,
    "GET /records/verify": answers.Proof,
    "GET /records/{agent}/{sequence}": answers.Record,
    "GET /roster": answers.Roster,
    "PUT /roster": answers.Roster,
    "GET /tokens": answers.Paged[answers.Token],
    "POST /tokens": answers.NewToken,
    "DELETE /tokens/{identity}": None,
    "GET /livez": answers.Alive,
    "GET /readyz": answers.Ready,
}
#: POSTs whose answer is a secret that is shown once and so not kept.
_NOT_REPEATED = {"POST /invites", "POST /tokens"}
_PROBLEM = {"description": "Problem (RFC 9457)", "content": {"application/problem+json": {}}}
_KEY = {
    "name": "Idempotency-Key", "in": "header", "required": False, "schema": {"type": "string", "maxLength": 255},
    "description": "The same key and body again get the first answer and do nothing.",
}  # fmt: skip
_LAST = {
    "name": "Last-Event-ID", "in": "header", "required": False, "schema": {"type": "string"},
    "description": "The id of the last event that was seen.",
}  # fmt: skip


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the description of ``app``."""
    told = get_openapi(title=TITLE, version=VERSION, description=SUMMARY, routes=app.routes)
    kinds: list[type[BaseModel]] = [answers.Problem, *(kind for kind in ANSWERS.values() if kind is not None)]
    references, forms = models_json_schema(
        [(kind, "serialization") for kind in dict.fromkeys(kinds)], ref_template="#/components/schemas/{model}"
    )
    schemas = told.setdefault("components", {}).setdefault("schemas", {})
    schemas |= forms["$defs"]
    for unused in ("Page", "HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    problem = references[answers.Problem, "serialization"]
    for path, methods in told["paths"].items():
        for method, operation in methods.items():
            name = f"{method.upper()} {path.removeprefix(PREFIX)}"
            kind = ANSWERS[name]
            _complete(operation, None if kind is None else references[kind, "serialization"], problem)
            if method == "post" and name not in _NOT_REPEATED:
                operation.setdefault("parameters", []).append(_KEY)
            if name == "GET /records/tail":
                operation["parameters"].append(_LAST)
    ready = told["paths"]["/readyz"]["get"]["responses"]
    ready["503"] = {"description": "Not ready", "content": ready["200"]["content"]}
    told["components"]["schemas"] = dict(sorted(schemas.items()))
    return told


def _complete(operation: dict[str, Any], form: Any, problem: Any) -> None:
    responses = operation["responses"]
    responses.pop("422", None)  # FastAPI's own form of it, which is not what is sent
    ((status, success),) = responses.items()
    if form is not None:
        success["content"] = {"application/json": {"schema": form}}
    elif status == "200":
        success["content"] = {"text/event-stream": {"schema": {"type": "string"}}}
    responses["default"] = {**_PROBLEM, "content": {"application/problem+json": {"schema": problem}}}


def text(app: FastAPI) -> str:
    """Return the description as it is committed."""
    return json.dumps(describe(app), indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the description beside this file."""
    from server.app import routed  # which needs this module

    COMMITTED.write_text(text(routed()), encoding="utf-8")


if __name__ == "__main__":
    main()
