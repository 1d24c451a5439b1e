"""Errors as problem documents (RFC 9457). The code is stable and for programs, the detail is for people."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse

from protocol.errors import DOORS, OutriderError, RateError, UnauthenticatedError

MEDIA_TYPE = "application/problem+json"
_TOLD = ("reason", "parameter", "rule", "budget", "sequence")  # attributes of errors that programs branch on


def problem(
    error: OutriderError, request_id: str, *, errors: Sequence[dict[str, str]] = (), scheme: str = "Bearer"
) -> JSONResponse:
    """Return the answer that tells of ``error``.

    Args:
        error: Its ``detail`` stays here; only ``message`` and ``where`` leave.
        request_id: What the server's log calls this request.
        errors: Each wrong field of the request, if there are several.
        scheme: How a caller without a token can show one.
    """
    body = told(error, request_id)
    body |= {"errors": list(errors)} if errors else {}
    headers = {"X-Request-Id": request_id}
    if isinstance(error, UnauthenticatedError):
        headers["WWW-Authenticate"] = f'{scheme} realm="outrider"'
    if isinstance(error, RateError):
        headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
    return JSONResponse(body, body["status"], headers, media_type=MEDIA_TYPE)


def told(error: OutriderError, request_id: str) -> dict[str, Any]:
    """Return the document that tells of ``error``; as :func:`problem`."""
    status = DOORS[error.code].http_status
    body: dict[str, Any] = {
        "type": f"urn:outrider:problem:{error.code}", "title": HTTPStatus(status).phrase, "status": status,
        "code": error.code, "detail": error.message, "request_id": request_id,
    }  # fmt: skip
    body |= {name: getattr(error, name) for name in _TOLD if getattr(error, name, None)}
    return body | ({"where": error.where} if error.where else {})
