"""Values of calls as they cross to the server: bytes in JSON, messages of a stream, names of any bytes."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator
from typing import Any, Final

from cli.failures import from_problem
from protocol.errors import ProtocolError, TooLargeError
from protocol.frames import BLOBS, LENGTH_BYTES, decode
from protocol.limits import MAX_CHANNEL_FRAME_BYTES

KEY: Final = "$bytes"
_BYTES: Final = b"\x92\xa5bytes"  # how such a message begins: a list of two, and its word
_HEAD_BYTES: Final = len(_BYTES) + 5  # of it, up to the data
_BROKEN: Final = "the answer broke off in the middle"
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


def messages(read: Callable[[int], bytes], part: Callable[[int], bytes] | None = None) -> Iterator[Any]:
    """Yield the messages in a stream of bytes, up to the one that ends it.

    Args:
        read: Returns exactly so many bytes of it, fewer only at its end.
        part: Returns what has come of it, at most so many bytes, none only at its end. With this a message ``["bytes",
            data]`` of much data is yielded as several, each as it comes, so that nobody copies them into one.

    Raises:
        ProtocolError: They are none, or end in the middle.
        OutriderError: The error that ends them.
    """
    while True:
        length = int.from_bytes(_exactly(read, LENGTH_BYTES), "big")
        if length > MAX_MESSAGE_BYTES:
            raise TooLargeError(f"the server sent a message of {length} bytes")
        body = _exactly(read, min(length, _HEAD_BYTES) if part is not None else length)
        if len(body) < length and part is not None:
            if (begin := _begin_of_data(body, length)) is not None:
                yield ["bytes", memoryview(body)[begin:]]
                left = length - len(body)
                while left:
                    data = part(left)
                    if not data:
                        raise BrokenStreamError(_BROKEN)
                    left -= len(data)
                    yield ["bytes", data]
                continue
            body += _exactly(read, length - len(body))
        message = decode(body, max_bytes=MAX_MESSAGE_BYTES)
        if not isinstance(message, list) or not message:
            raise ProtocolError("the server sent what is no message")
        if message[0] == "error":
            told = message[1] if len(message) > 1 and isinstance(message[1], dict) else {}
            raise from_problem({"detail": told.get("message"), **told})
        yield message
        if message[0] in ("value", "end", "exit"):
            return


def _begin_of_data(head: bytes, length: int) -> int | None:
    """Return where the data begin of a message ``["bytes", data]`` that begins so; None if it is another one."""
    width = BLOBS.get(head[len(_BYTES)]) if head.startswith(_BYTES) else None
    if width is None:
        return None
    begin = len(_BYTES) + 1 + width
    return begin if begin + int.from_bytes(head[len(_BYTES) + 1 : begin], "big") == length else None


def _exactly(read: Callable[[int], bytes], size: int) -> bytes:
    data = read(size)
    if len(data) < size:
        raise BrokenStreamError(_BROKEN)
    return data


class BrokenStreamError(ProtocolError):
    """What was coming ended before its end."""
