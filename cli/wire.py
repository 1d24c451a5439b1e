"""Values of calls as they cross to the server: bytes in JSON, messages of a stream, names of any bytes."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator
from typing import Any, Final

from cli.failures import from_problem
from protocol.errors import ProtocolError, TooLargeError
from protocol.frames import LENGTH_BYTES, blob_at, decode
from protocol.limits import MAX_CHANNEL_FRAME_BYTES

KEY: Final = "$bytes"
_BYTES: Final = b"\x92\xa5bytes"  # how such a message begins: a list of two, and its word
MAX_MESSAGE_BYTES: Final = MAX_CHANNEL_FRAME_BYTES + 1024  # protocol.pipes.MAX_MESSAGE_BYTES


def encoded(value: Any) -> Any:
    """Return a value as JSON can hold it: bytes, and texts that stand for a name that is not UTF-8, as base64."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            value = os.fsencode(value)
    if isinstance(value, bytes):
        return {KEY: base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {name: encoded(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [encoded(item) for item in value]
    return value


def decoded(value: Any) -> Any:
    """Return what JSON of the server stands for; raises ProtocolError for bytes that are no base64."""
    if isinstance(value, dict):
        if set(value) == {KEY}:
            try:
                return base64.b64decode(value[KEY], validate=True)
            except (ValueError, TypeError):
                raise ProtocolError("the server sent bytes that are no base64") from None
        return {name: decoded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [decoded(item) for item in value]
    return value


def name_of(value: Any) -> str:
    """Return a name of a file, which comes as bytes if it is not UTF-8, as Python has names."""
    return os.fsdecode(value) if isinstance(value, bytes) else str(value)


def shown(name: str) -> str:
    """Return a name of a file for people: what is not UTF-8 as escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def messages(read: Callable[[int], bytes], *, views: bool = False) -> Iterator[Any]:
    """Yield the messages in a stream of bytes, up to the one that ends it.

    Args:
        read: Returns exactly so many bytes of it, fewer only at its end.
        views: Whether the bytes of a message ``["bytes", data]`` are a view of what was read, so that nobody copies
            them.

    Raises:
        ProtocolError: They are none, or end in the middle.
        OutriderError: The error that ends them.
    """
    while True:
        length = int.from_bytes(_exactly(read, LENGTH_BYTES), "big")
        if length > MAX_MESSAGE_BYTES:
            raise TooLargeError(f"the server sent a message of {length} bytes")
        body = _exactly(read, length)
        if views and body.startswith(_BYTES) and (place := blob_at(body, len(_BYTES))) and place[1] == length:
            yield ["bytes", memoryview(body)[place[0] :]]
            continue
        message = decode(body, max_bytes=MAX_MESSAGE_BYTES)
        if not isinstance(message, list) or not message:
            raise ProtocolError("the server sent what is no message")
        if message[0] == "error":
            told = message[1] if len(message) > 1 and isinstance(message[1], dict) else {}
            raise from_problem({"detail": told.get("message"), **told})
        yield message
        if message[0] in ("value", "end", "exit"):
            return


def _exactly(read: Callable[[int], bytes], size: int) -> bytes:
    data = read(size)
    if len(data) < size:
        raise BrokenStreamError("the answer broke off in the middle")
    return data


class BrokenStreamError(ProtocolError):
    """What was coming ended before its end."""
