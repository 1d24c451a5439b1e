"""What a call came to, for the session and encoded for its worker."""

from __future__ import annotations

from typing import Any, NamedTuple

from protocol.errors import OutriderError, TooLargeError
from protocol.redaction import Redactor
from sandbox.channel import error_body, handle_body, value_body
from sandbox.held import Held
from sandbox.pump import Pump


class Reply(NamedTuple):
    """What a call came to."""

    ok: bool
    value: Any  # None unless ``ok``
    error: OutriderError | None  # None if ``ok``
    body: bytes  # the encoded answer for the worker


def given(held: Held) -> Reply:
    """Return the answer that names what the run holds from now on."""
    fields = {} if isinstance(held.thing, Pump) else held.thing.fields()
    return Reply(True, held, None, handle_body(held.number, held.kind, fields))


def answered(value: Any) -> Reply:
    """Return the answer that holds a plain value; a refusal if no frame holds it."""
    try:
        return Reply(True, value, None, value_body(value))
    except TooLargeError:
        return refused(TooLargeError("the value is larger than a script can be given at once"))


def refused(error: OutriderError, redactor: Redactor | None = None) -> Reply:
    """Return the answer that a call failed, without what the redactor looks for."""
    extra = {key: getattr(error, key, None) for key in ("parameter", "path", "target", "rule")}
    fields = {key: value for key, value in extra.items() if isinstance(value, str) and value}
    told = str(error)
    if redactor is not None and not redactor.is_idle:
        told, fields = redactor.text(told), redactor.plain(fields)
    return Reply(False, None, error, error_body(error.code, told, **fields))
