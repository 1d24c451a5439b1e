"""The one root of all errors, and the one table from an error's code to what each door answers.

A class says whose fault it is and whether a retry can help. ``code`` is stable and may be relied on by programs;
``message`` may leave the process; ``detail`` may not (it goes to our own log only).
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, NamedTuple


class Fault(StrEnum):
    """Whose fault an error is; callers branch on this, never on text."""

    OURS = "ours"
    PEER = "peer"
    SCRIPT = "script"
    POLICY = "policy"
    WORLD = "world"


class OutriderError(Exception):
    """Root of every error that Outrider raises on purpose.

    Args:
        message: One sentence that names what and where; may leave the process.
        where: Place in a document, such as ``manifest.yaml:7: limits.wall``, or None.
        detail: Anything more, for our own log only.
    """

    code: ClassVar[str] = "internal"
    fault: ClassVar[Fault] = Fault.OURS
    retryable: ClassVar[bool] = False
    path: str | None = None  # on the host, as it was asked for, where it is about one
    target: str | None = None  # of the network, as it was asked for, where it is about one

    def __init__(self, message: str, *, where: str | None = None, detail: str | None = None) -> None:
        self.message = message  # without the place, so that a form can put it beside the field
        self.where = where
        self.detail = detail
        super().__init__(f"{where}: {message}" if where else message)


class ArgumentError(OutriderError):
    """An argument, document or request does not have the form it must have. ``parameter`` names the offender."""

    code = "invalid_argument"
    fault = Fault.SCRIPT

    def __init__(
        self, message: str, *, parameter: str | None = None, where: str | None = None, detail: str | None = None
    ) -> None:
        self.parameter = parameter
        super().__init__(message, where=where, detail=detail)


class DocumentError(ArgumentError):
    """A file that people write (manifest, policy, ceiling, configuration, roster) is wrong at a named place."""

    code = "invalid_document"


class NotFoundError(OutriderError):
    """The named thing does not exist, or the caller may not know that it does."""

    code = "not_found"
    fault = Fault.SCRIPT


class ConflictError(OutriderError):
    """The request contradicts what is already there (name taken, version published, key enrolled)."""

    code = "conflict"
    fault = Fault.SCRIPT


class DeniedError(OutriderError):
    """Policy, ceiling or role forbids it; ``rule`` names what decided."""

    code = "denied"
    fault = Fault.POLICY

    def __init__(self, message: str, *, rule: str = "", where: str | None = None, detail: str | None = None) -> None:
        self.rule = rule
        super().__init__(message, where=where, detail=detail)


class UnauthenticatedError(OutriderError):
    """No valid proof of who is asking."""

    code = "unauthenticated"
    fault = Fault.PEER


class TrustError(OutriderError):
    """A signature, roster, approval or digest does not prove what it must. ``reason`` is a stable word.

    Reasons in use: ``unsigned``, ``bad_signature``, ``wrong_digest``, ``wrong_namespace``, ``self_approval``,
    ``not_approved``, ``rollback``, ``expired``, ``unknown_key``, ``withdrawn``, ``above_ceiling``, ``mix_and_match``,
    ``wrong_type``, ``malformed``, ``bad_token``, ``replayed_token``, ``foreign_token``, ``foreign_server``,
    ``duplicate_agent``, ``operator_signature_required``, ``not_for_us``, ``revoked``, ``stale``.
    """

    code = "untrusted"
    fault = Fault.PEER

    def __init__(self, message: str, *, reason: str, where: str | None = None, detail: str | None = None) -> None:
        self.reason = reason
        super().__init__(message, where=where, detail=detail)


class ProtocolError(OutriderError):
    """The peer broke the wire protocol; the connection ends."""

    code = "protocol"
    fault = Fault.PEER


class TooLargeError(ProtocolError):
    """Something is over its bound; it was not read further."""

    code = "too_large"


class LedgerError(OutriderError):
    """The chain of records is broken; ``sequence`` is the first record that does not fit."""

    code = "ledger_broken"
    fault = Fault.PEER

    def __init__(self, message: str, *, sequence: int) -> None:
        self.sequence = sequence
        super().__init__(message)


class BudgetError(OutriderError):
    """A limit of the run was reached; ``budget`` names it."""

    code = "budget"
    fault = Fault.SCRIPT

    def __init__(self, message: str, *, budget: str) -> None:
        self.budget = budget
        super().__init__(message)


class UnavailableError(OutriderError):
    """This host or moment cannot do it (no such kernel feature, no such tool, disk full); says why."""

    code = "unavailable"
    fault = Fault.WORLD
    retryable = True


class NotConnectedError(UnavailableError):
    """The agent has no link to the server now."""

    code = "not_connected"


class DeadlineError(OutriderError):
    """It did not finish in its time."""

    code = "deadline"
    fault = Fault.WORLD
    retryable = True


class RateError(OutriderError):
    """Asked too often; ``retry_after_s`` says when to come back, in seconds."""

    code = "rate_limited"
    fault = Fault.PEER
    retryable = True

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class InternalError(OutriderError):
    """Ours. The text says nothing; the log says all."""


class Doors(NamedTuple):
    """What one error code becomes at each door."""

    http_status: int
    close_code: int  # WebSocket, RFC 6455 section 7.4; 4000 and up are ours
    exit_status: int  # of the operator's CLI; docs/exit-codes.md


DOORS: dict[str, Doors] = {
    "invalid_argument": Doors(422, 1008, 2),
    "invalid_document": Doors(422, 1008, 2),
    "not_found": Doors(404, 1008, 1),
    "conflict": Doors(409, 1008, 1),
    "denied": Doors(403, 1008, 3),
    "unauthenticated": Doors(401, 4401, 4),
    "untrusted": Doors(403, 4403, 3),
    "protocol": Doors(400, 1002, 1),
    "too_large": Doors(413, 1009, 2),
    "ledger_broken": Doors(409, 4422, 7),
    "budget": Doors(409, 1008, 5),
    "unavailable": Doors(503, 1013, 1),
    "not_connected": Doors(409, 1013, 6),
    "deadline": Doors(504, 1013, 1),
    "rate_limited": Doors(429, 1013, 1),
    "internal": Doors(500, 1011, 1),
}
