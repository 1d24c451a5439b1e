"""What an act says on its pipe: messages that begin with a word, the last of them a value, an end or an error."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

from protocol.errors import (
    ArgumentError,
    BudgetError,
    ConflictError,
    DeadlineError,
    DeniedError,
    NotFoundError,
    OutriderError,
    ProtocolError,
    RateError,
    TooLargeError,
    TrustError,
    UnavailableError,
)
from protocol.pipes import Pipe
from server import limits

LAST: Final = frozenset({"value", "end", "exit", "error"})  # words after which nothing comes
_KINDS: Final[dict[str, type[OutriderError]]] = {
    kind.code: kind for kind in (NotFoundError, ConflictError, TooLargeError, UnavailableError, DeadlineError)
}


def failure_of(told: Any) -> OutriderError:
    """Return the error that an agent tells of; its text is data from another machine, and stays text."""
    given: Mapping[str, Any] = told if isinstance(told, dict) else {}
    code, message = str(given.get("code", "")), str(given.get("message", "the agent gave no reason"))
    message = message[: limits.MAX_RESULT_TEXT]
    if code == DeniedError.code:
        return DeniedError(message, rule=str(given.get("rule", "")))
    if code in ("invalid_argument", "invalid_document"):
        return ArgumentError(message, parameter=str(given["parameter"]) if given.get("parameter") else None)
    if code == TrustError.code:
        return TrustError(message, reason=str(given.get("reason", "refused_by_agent")))
    if code == BudgetError.code:
        return BudgetError(message, budget="")
    if code == RateError.code:
        return RateError(message)
    return _KINDS.get(code, UnavailableError)(message)


async def answer(pipe: Pipe) -> Any:
    """Return the one value that an act answers with; the pipe is done then.

    Raises:
        OutriderError: What it answers instead, or what became of the pipe.
    """
    try:
        message = await pipe.receive()
        match message:
            case ["value", value]:
                return value
            case ["error", told]:
                raise failure_of(told)
        raise ProtocolError("the agent's answer is no answer")
    finally:
        leave(pipe)


async def messages(pipe: Pipe) -> AsyncGenerator[list[Any], None]:
    """Yield what comes on a pipe, up to and with what ends it.

    Raises:
        ProtocolError: It is no message, or the pipe ends before its end.
        OutriderError: What became of the pipe.
    """
    try:
        while True:
            message = await pipe.receive()
            if not isinstance(message, list) or not message or not isinstance(message[0], str):
                raise ProtocolError("the agent broke off in the middle")
            yield message
            if message[0] in LAST:
                return
    finally:
        leave(pipe)


async def relayed(pipe: Pipe) -> AsyncGenerator[list[bytes | memoryview], None]:
    """Yield the bytes of a pipe as they come, in pieces: its messages, each with its length before it."""
    try:
        while pieces := await pipe.gather(limits.RELAY_BYTES):
            yield pieces
    finally:
        leave(pipe)


def leave(pipe: Pipe) -> None:
    """Let go of a pipe: one that is not at its end is given up, so that the agent stops."""
    pipe.finish()
    if pipe.is_open:
        pipe.reset("cancelled")
