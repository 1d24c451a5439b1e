"""How an error becomes one clear line on stderr and an exit status.

The status comes from ``protocol.errors.DOORS`` alone. An error nobody foresaw is ours: it says so, and shows its
traceback when OUTRIDER_DEBUG is set.
"""

from __future__ import annotations

import json
import os
import re
import traceback
from collections.abc import Mapping
from typing import Any, Final

import click

from cli import exits
from cli.output import Output
from protocol.errors import (
    DOORS,
    ArgumentError,
    BudgetError,
    ConflictError,
    DeadlineError,
    DeniedError,
    DocumentError,
    InternalError,
    LedgerError,
    NotConnectedError,
    NotFoundError,
    OutriderError,
    ProtocolError,
    RateError,
    TooLargeError,
    TrustError,
    UnauthenticatedError,
    UnavailableError,
)

_SIMPLE: dict[str, type[OutriderError]] = {
    kind.code: kind
    for kind in (
        ArgumentError, DocumentError, NotFoundError, ConflictError, DeniedError, UnauthenticatedError, ProtocolError,
        TooLargeError, UnavailableError, NotConnectedError, DeadlineError, InternalError,
    )
}  # fmt: skip


def exit_status(error: OutriderError) -> int:
    """Return the exit status for an error that we raise on purpose."""
    return DOORS[error.code].exit_status


def from_problem(problem: Mapping[str, Any]) -> OutriderError:
    """Return the error that a problem document (RFC 9457) of the server tells of.

    A code that this version does not know becomes an internal error that keeps the server's text.
    """
    code = str(problem.get("code", "internal"))
    message = str(problem.get("detail") or problem.get("title") or "the server gave no reason")
    where = problem.get("where")
    place = where if isinstance(where, str) else None
    parameter = problem.get("parameter")
    if code == "untrusted":
        return TrustError(message, reason=str(problem.get("reason", "")), where=place)
    if code == "ledger_broken":
        sequence = problem.get("sequence")
        return LedgerError(message, sequence=sequence if isinstance(sequence, int) else 0)
    if code == "budget":
        return BudgetError(message, budget=str(problem.get("budget", "")))
    if code == "rate_limited":
        return RateError(message)
    kind = _SIMPLE.get(code, InternalError)
    if issubclass(kind, ArgumentError):
        return kind(message, where=place, parameter=parameter if isinstance(parameter, str) else None)
    if kind is InternalError:
        identity = problem.get("request_id")
        message = f"{message} (the server's log has request {identity})" if identity else message
    return kind(message, where=place)


def from_refusal(status: int, body: bytes | bytearray | None) -> OutriderError:
    """Return the error that the answer to a WebSocket's handshake tells of; what holds no problem is no Outrider's."""
    try:
        problem = json.loads(body or b"")
    except ValueError:
        problem = None
    if isinstance(problem, dict) and "code" in problem:
        return from_problem(problem)
    return ProtocolError(f"the server answered {status} and does not look like an Outrider server")


def show(output: Output, error: OutriderError) -> int:
    """Write the error and return its exit status."""
    if output.as_json:
        told: dict[str, Any] = {"code": error.code, "message": error.message, "where": error.where}
        for name in ("reason", "parameter", "rule", "budget", "sequence"):
            if hasattr(error, name):
                told[name] = getattr(error, name)
        output.say(json.dumps({"error": told}, ensure_ascii=False))
    else:
        output.say(f"{_word(error)}{error}{_hint(error)}")
    return exit_status(error)


def _word(error: OutriderError) -> str:
    return "refused: " if exit_status(error) == exits.DENIED else ""


#: What there is none of, in the server's words -> the command that lists what there is.
LISTS: Final[Mapping[str, str]] = {
    "agent": "agent ls", "script": "script ls", "schedule": "schedule ls", "review": "review ls --state all",
    "run": "runs ls", "session": "session ls", "grant": "grant ls", "access grant": "access ls",
    "request": "request ls", "webhook": "webhook ls", "secret": "secret ls", "blob": "blob ls",
    "question": "consent ls",
}  # fmt: skip
_NONE_OF: Final = re.compile(r"there is no ([a-z]+(?: grant)?) \S")


def _hint(error: OutriderError) -> str:
    missing = _NONE_OF.match(error.message) if isinstance(error, NotFoundError) else None
    if missing is not None and missing[1] in LISTS:
        return f"  (see: outrider {LISTS[missing[1]]})"
    if error.message.startswith(("no host is meant by ", "no host matches ")):
        return f"  (see: outrider {LISTS['agent']})"
    if error.message.endswith("an operator must sign the order"):
        return "  (with a key that the roster lets order: --key FILE; whose do: outrider roster show)"
    if getattr(error, "reason", None) == "not_approved":
        return "  (what waits for review: outrider review ls)"
    if isinstance(error, UnauthenticatedError) and not error.where:  # a place is a token's, given a moment ago
        return "  (sign in with: outrider login SERVER)"
    if getattr(error, "reason", None) == "unknown_key":
        return "  (whose key that is: outrider key show; which keys count: outrider roster show)"
    return ""


def show_usage(output: Output, error: click.ClickException) -> int:
    """Write what is wrong with the command line, and return its exit status."""
    if output.as_json:
        told = {"code": ArgumentError.code, "message": error.format_message(), "where": None, "parameter": None}
        output.say(json.dumps({"error": told}, ensure_ascii=False))
    else:
        error.show()
    return error.exit_code


def show_unforeseen(output: Output, error: Exception, answered: str | None = None) -> int:
    """Write an error nobody foresaw, and return its exit status.

    Args:
        output: Where to.
        error: What was raised.
        answered: The last request that a server answered; None if none did. Its answer may be what is wrong, from a
            server of another version for instance.
    """
    if os.environ.get("OUTRIDER_DEBUG"):
        output.say("".join(traceback.format_exception(error)).rstrip())
    what = f"{type(error).__name__}: {error}"
    whose = "this is a fault of outrider itself"
    if answered is not None:
        whose = f"the answer to {answered} is not as it should be (another version? see: outrider status), or {whose}"
    output.say(f"{whose}: {what}  (OUTRIDER_DEBUG=1 shows where; please report it)")
    return DOORS[InternalError.code].exit_status
