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

from server.api.answers import (
    access,
    agents,
    blobs,
    forms,
    grants,
    people,
    recordings,
    records,
    reviews,
    runs,
    schedules,
    scripts,
    secrets,
    serving,
    sessions,
    trust,
    versions,
    webhooks,
)
from server.version import VERSION

COMMITTED = Path(__file__).with_name("openapi.json")
TITLE = "Outrider"
SUMMARY = "Signed scripts, sandboxed, on every host, with every call on the record."
PREFIX = "/api/v1"
_STREAM = "text/event-stream"
_BYTES = "application/octet-stream"
_LINES = "application/x-ndjson"

#: Every operation, and the form of its answer, or the media type of one that is no JSON document; None: nothing. What
#: is not here fails the server's start, and not a client later.
ANSWERS: dict[str, type[BaseModel] | str | None] = {
    "GET /me": people.Me,
    "GET /identity": serving.Identity,
    "GET /ids": serving.Found,
    "GET /status": serving.Status,
    "GET /agents": forms.Paged[agents.Agent],
    "GET /agents/{reference}": agents.Agent,
    "PATCH /agents/{reference}": agents.Agent,
    "DELETE /agents/{reference}": None,
    "POST /agents/{reference}/freeze": agents.Agent,
    "POST /invites": agents.Invitation,
    "GET /scripts": forms.Paged[scripts.Script],
    "POST /scripts": scripts.Published,
    "GET /grants": forms.Paged[grants.Grant],
    "GET /grants/{identity}": grants.Grant,
    "POST /grants": grants.Grant,
    "DELETE /grants/{identity}": None,
    "GET /webhooks": forms.Paged[webhooks.Webhook],
    "POST /webhooks": webhooks.WebhookWithSecret,
    "POST /webhooks/{identity}/rotate": webhooks.WebhookWithSecret,
    "DELETE /webhooks/{identity}": None,
    "GET /webhooks/{identity}/deliveries": forms.Paged[webhooks.Delivery],
    "POST /webhooks/{identity}/deliveries/{message}/replay": webhooks.Delivery,
    "GET /scripts/search": forms.Paged[scripts.FoundScript],
    "GET /scripts/folders": forms.Paged[scripts.Folder],
    "POST /scripts/transfer": scripts.Transferred,
    "POST /scripts/deprecate": scripts.DeprecatedNow,
    "GET /scripts/show": scripts.ShownScript,
    "GET /scripts/log": forms.Paged[versions.LoggedVersion],
    "GET /scripts/diff": versions.TwoVersions,
    "GET /scripts/diff/code": forms.Paged[versions.CodePart],
    "POST /scripts/withdraw": scripts.Script,
    "GET /reviews": forms.Paged[reviews.ListedReview],
    "GET /reviews/{identity}": reviews.ShownReview,
    "GET /reviews/{identity}/code": forms.Paged[versions.CodePart],
    "POST /reviews/{identity}/approve": reviews.ApprovedReview,
    "POST /reviews/{identity}/reject": reviews.Review,
    "GET /blobs": forms.Paged[blobs.Blob],
    "GET /blobs/{blob}": _BYTES,
    "HEAD /blobs/{blob}": None,
    "PUT /blobs/{blob}": blobs.Blob,
    "GET /blobs/{blob}/arrived": blobs.BlobArrived,
    "DELETE /blobs/{blob}": None,
    "POST /reviews/{identity}/revoke": reviews.Review,
    "POST /reviews/{identity}/comments": reviews.Comment,
    "POST /reviews/{identity}/try": runs.Runs,
    "GET /reviews/{identity}/bundle": reviews.ReviewedBundle,
    "GET /scripts/bundle": reviews.ReviewedBundle,
    "GET /secrets": forms.Paged[secrets.Secret],
    "POST /secrets": secrets.Secret,
    "GET /secrets/{name}/next": secrets.NextVersion,
    "DELETE /secrets/{name}": None,
    "GET /schedules": forms.Paged[schedules.Schedule],
    "POST /schedules": schedules.Schedule,
    "POST /schedules/preview": schedules.SchedulePreview,
    "GET /schedules/{identity}": schedules.Schedule,
    "GET /schedules/{identity}/next": schedules.Fires,
    "PATCH /schedules/{identity}": schedules.Schedule,
    "DELETE /schedules/{identity}": None,
    "GET /runs": forms.Paged[runs.Run],
    "POST /runs": runs.Runs,
    "GET /runs/{identity}": runs.Run,
    "POST /runs/{identity}/cancel": runs.Run,
    "GET /sessions": forms.Paged[sessions.Session],
    "POST /sessions": sessions.Session,
    "GET /sessions/{identity}": sessions.Session,
    "GET /recordings/search": forms.Paged[recordings.FoundText],
    "GET /recordings/{session}": recordings.Recording,
    "GET /recordings/{session}/events": forms.Paged[recordings.RecordedEvent],
    "POST /sessions/{identity}/calls": sessions.CallValue,
    "POST /sessions/{identity}/close": sessions.Session,
    "POST /sessions/{identity}/stream": _LINES,
    "POST /sessions/{identity}/command": _LINES,
    "PUT /sessions/{identity}/commands/{command}/stdin": sessions.Taken,
    "POST /sessions/{identity}/commands/{command}/signal": sessions.CallValue,
    "GET /sessions/{identity}/events": _STREAM,
    "PUT /sessions/{identity}/editing": None,
    "GET /sessions/{identity}/file": _BYTES,
    "PUT /sessions/{identity}/file": sessions.FileChanged,
    "POST /sessions/{identity}/uploads": sessions.NewUpload,
    "GET /sessions/{identity}/uploads/{upload}": sessions.Upload,
    "PUT /sessions/{identity}/uploads/{upload}": sessions.Upload,
    "DELETE /sessions/{identity}/uploads/{upload}": None,
    "POST /sessions/{identity}/uploads/{upload}/finish": sessions.FileChanged,
    "GET /access": forms.Paged[access.Access],
    "POST /access": access.Access,
    "GET /access/{identity}": access.Access,
    "DELETE /access/{identity}": access.Access,
    "GET /requests": forms.Paged[access.AccessRequest],
    "POST /requests": access.AccessRequest,
    "GET /requests/{identity}": access.AccessRequest,
    "POST /requests/{identity}/review": access.AccessRequest,
    "GET /consents": forms.Paged[access.Question],
    "POST /consents/{identity}": access.AnsweredQuestion,
    "GET /records": forms.Paged[records.Record],
    "GET /records/tail": _STREAM,
    "GET /records/verify": records.Proof,
    "GET /records/head": records.TreeHead,
    "GET /records/consistency": records.ConsistencyProof,
    "GET /records/inclusion": records.InclusionProof,
    "GET /records/{agent}/{sequence}": records.Record,
    "GET /roster": trust.Roster,
    "PUT /roster": trust.Roster,
    "GET /tokens": forms.Paged[people.Token],
    "POST /tokens": people.NewToken,
    "DELETE /tokens/{identity}": None,
    "GET /livez": serving.Alive,
    "GET /readyz": serving.Ready,
}
#: POSTs whose answer is not kept: a secret that is shown once, a stream, or what changes nothing.
_NOT_REPEATED = {
    "POST /invites",
    "POST /tokens",
    "POST /sessions/{identity}/stream",
    "POST /sessions/{identity}/command",
    "POST /schedules/preview",
}
_FOLLOWED = {"GET /records/tail", "GET /sessions/{identity}/events"}
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
    kinds: list[type[BaseModel]] = [forms.Problem, *(kind for kind in ANSWERS.values() if isinstance(kind, type))]
    references, made = models_json_schema(
        [(kind, "serialization") for kind in dict.fromkeys(kinds)], ref_template="#/components/schemas/{model}"
    )
    schemas = told.setdefault("components", {}).setdefault("schemas", {})
    schemas |= made["$defs"]
    for unused in ("Page", "HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    problem = references[forms.Problem, "serialization"]
    for path, methods in told["paths"].items():
        for method, operation in methods.items():
            name = f"{method.upper()} {path.removeprefix(PREFIX)}"
            kind = ANSWERS[name]
            _complete(operation, references[kind, "serialization"] if isinstance(kind, type) else kind, problem)
            if name == "GET /blobs/{blob}":
                operation["responses"]["206"] = {**operation["responses"]["200"], "description": "The range"}
            if name == "POST /sessions":
                lines = {_LINES: {"schema": {"type": "string"}}}
                operation["responses"]["202"] = {"description": "The owner is asked; it goes on", "content": lines}
            if name == "HEAD /blobs/{blob}":
                operation["responses"]["200"] = {"description": "It is here; Content-Length is its size"}
            if method == "post" and name not in _NOT_REPEATED:
                operation.setdefault("parameters", []).append(_KEY)
            if name in _FOLLOWED:
                operation["parameters"].append(_LAST)
    ready = told["paths"]["/readyz"]["get"]["responses"]
    ready["503"] = {"description": "Not ready", "content": ready["200"]["content"]}
    told["components"]["schemas"] = dict(sorted(schemas.items()))
    return told


def _complete(operation: dict[str, Any], form: Any, problem: Any) -> None:
    responses = operation["responses"]
    responses.pop("422", None)  # FastAPI's own form of it, which is not what is sent
    (success,) = responses.values()
    if isinstance(form, str):
        success["content"] = {form: {"schema": {"type": "string"}}}
    elif form is not None:
        success["content"] = {"application/json": {"schema": form}}
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
