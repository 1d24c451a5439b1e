"""What goes over the link: the kinds of message, the methods of requests, and the strict form of each.

A frame is one MessagePack array ``[kind, field, ...]``. A field's form is checked by one table; what has no row is
refused. Bodies of requests are mappings whose keys are all known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any

from protocol import limits
from protocol.errors import ArgumentError, ProtocolError
from protocol.frames import SHORT_BLOBS, blob_at, blob_head, decode, encode, number_at

_ID = re.compile(r"[A-Za-z0-9_.:@+-]{1,128}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CODE = re.compile(r"[a-z_]{1,40}")


class Kind(IntEnum):
    """The first item of each frame. Numbers are never used again for something else."""

    HELLO = 1
    CHALLENGE = 2
    PROOF = 3
    WELCOME = 4
    REFUSED = 5
    OPEN = 10
    DATA = 11
    CREDIT = 12
    FINISH = 13
    RESET = 14
    PING = 15
    PONG = 16
    REQUEST = 20
    RESPONSE = 21
    FAILURE = 22
    RECORDS = 30
    ACKNOWLEDGE = 31


_DATA = bytes([0x93, Kind.DATA])  # a data frame begins so: an array of three, and its kind

Check = Callable[[Any], bool]


def _number(low: int, high: int) -> Check:
    return lambda value: type(value) is int and low <= value <= high


def _text(most: int = limits.MAX_ERROR_TEXT_BYTES) -> Check:
    return lambda value: type(value) is str and len(value) <= most


def _matching(form: re.Pattern[str]) -> Check:
    return lambda value: type(value) is str and form.fullmatch(value) is not None


def _octets(low: int, high: int) -> Check:
    return lambda value: type(value) is bytes and low <= len(value) <= high


def _of(kind: type) -> Check:
    return lambda value: type(value) is kind


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _blobs(value: Any) -> bool:
    return (
        type(value) is list
        and 1 <= len(value) <= limits.MAX_RECORD_BATCH
        and all(type(blob) is bytes and 0 < len(blob) <= limits.MAX_RECORD_BYTES for blob in value)
    )


def _ids(value: Any) -> bool:
    return (
        type(value) is list
        and 1 <= len(value) <= limits.MAX_RUNS_ASKED
        and all(type(each) is str and _ID.fullmatch(each) for each in value)
    )


_U53 = _number(0, limits.MAX_SEQUENCE)
_NONCE, _KEY, _SIGNATURE, _HASH = _octets(32, 32), _octets(32, 32), _octets(64, 64), _octets(32, 32)

#: kind -> name and form of each field, in wire order.
FIELDS: dict[Kind, tuple[tuple[str, Check], ...]] = {
    Kind.HELLO: (("version", _number(1, 1)), ("agent", _matching(_ID)), ("key", _KEY), ("nonce", _NONCE)),
    Kind.CHALLENGE: (("key", _KEY), ("nonce", _NONCE), ("signature", _SIGNATURE)),
    Kind.PROOF: (("signature", _SIGNATURE),),
    Kind.WELCOME: (("last_sequence", _U53), ("last_hash", _HASH), ("server_time_us", _U53)),
    Kind.REFUSED: (("code", _matching(_CODE)), ("reason", _text(40)), ("message", _text())),
    # credit 0: the peer may not send on it
    Kind.OPEN: (
        ("stream", _U53),
        ("purpose", _matching(_ID)),
        ("header", _of(dict)),
        ("credit", _number(0, limits.MAX_CREDIT_BYTES)),
    ),
    Kind.DATA: (("stream", _U53), ("data", _octets(1, limits.MAX_STREAM_DATA_BYTES))),
    Kind.CREDIT: (("stream", _U53), ("credit", _number(1, limits.MAX_CREDIT_BYTES))),
    Kind.FINISH: (("stream", _U53),),
    Kind.RESET: (("stream", _U53), ("code", _matching(_CODE))),
    Kind.PING: (("number", _U53),),
    Kind.PONG: (("number", _U53),),
    Kind.REQUEST: (("id", _U53), ("method", _matching(_ID)), ("body", _of(dict))),
    Kind.RESPONSE: (("id", _U53), ("body", _of(dict))),
    Kind.FAILURE: (("id", _U53), ("code", _matching(_CODE)), ("message", _text())),
    Kind.RECORDS: (("first", _number(1, limits.MAX_SEQUENCE)), ("blobs", _blobs)),
    Kind.ACKNOWLEDGE: (("through", _U53),),
}

_ENVELOPE = _of(dict)
_DURATION = _or_none(lambda value: type(value) in (int, float) and 0 < value <= 86_400)

#: method -> name and form of each key of its body; a key may be missing only if None is one of its forms.
REQUESTS_OF_SERVER: dict[str, dict[str, Check]] = {
    "run.start": {
        "run_id": _matching(_ID), "digest": _matching(_DIGEST), "parameters": _of(dict), "principal": _text(200),
        "reason": _text(1000), "timeout_s": _DURATION, "order": _or_none(_ENVELOPE),
        "dry_run": _or_none(_of(bool)),
    },
    "run.cancel": {"run_id": _matching(_ID)},
    "run.known": {"run_ids": _ids},
    "schedules.set": {"version": _U53, "schedules": _of(list)},
    "roster.set": {"envelope": _ENVELOPE},
    "withdrawals.set": {"envelopes": _of(list)},
    "approvals.add": {"envelopes": _of(list)},
    "secrets.set": {"secrets": _of(list)},
    "freeze.set": {"frozen": _of(bool), "reason": _text(1000)},
    "session.open": {
        "session": _matching(_ID), "kind": _matching(_ID), "tier": _matching(_CODE), "principal": _text(200),
        "reason": _text(1000), "grant": _of(dict), "idle_s": _DURATION, "longest_s": _DURATION,
        "order": _or_none(_ENVELOPE), "access": _or_none(_of(dict)), "users": _or_none(_of(list)),
    },
    "session.close": {"session": _matching(_ID), "reason": _text(1000)},
    "consent.answer": {"question": _matching(_ID), "granted": _of(bool), "by": _text(200)},
    "session.call": {"session": _matching(_ID), "call": _matching(_ID), "arguments": _of(dict)},
}  # fmt: skip
REQUESTS_OF_AGENT: dict[str, dict[str, Check]] = {
    "bundle.get": {"digest": _matching(_DIGEST), "offset": _or_none(_U53)},
    "blob.offer": {
        "hash": _matching(_DIGEST), "size": _U53, "name": _text(limits.MAX_BLOB_NAME_CHARACTERS), "run": _text(128),
        "script": _text(limits.MAX_NAME_CHARACTERS),
    },
    "blob.ask": {"hash": _matching(_DIGEST)},
    "status": {
        "facts": _of(dict), "schedules_version": _U53, "running": _U53, "sealing_key": _or_none(_ENVELOPE),
    },
    "consent.ask": {
        "id": _matching(_ID), "text": _text(1000), "about": _matching(_ID), "session": _matching(_ID),
        "run": _text(128), "principal": _text(200), "asked_us": _U53, "expires_us": _U53, "may_server": _of(bool),
    },
    "consent.settled": {"id": _matching(_ID), "outcome": _matching(_CODE), "by": _text(200)},
}  # fmt: skip


def pack(kind: Kind, *values: Any) -> bytes:
    """Return the frame of a message; what does not fit its form is our own mistake and refused too."""
    _check(kind, list(values))
    if kind is Kind.DATA:
        number, data = values
        return data_frame(data_head(number), data)
    return encode([int(kind), *values])


def data_head(number: int) -> bytes:
    """Return what stands at the beginning of each data frame of a stream."""
    return _DATA + encode(number)


def data_frame(head: bytes, data: bytes | memoryview) -> bytes:
    """Return a data frame, which nearly all frames are, in one step; of 1 to ``limits.MAX_STREAM_DATA_BYTES`` bytes."""
    size = len(data)
    return b"".join((head, SHORT_BLOBS[size] if size < len(SHORT_BLOBS) else blob_head(size), data))  # copied once


def data_pieces(head: bytes, data: bytes | memoryview) -> tuple[bytes, bytes | memoryview]:
    """Return the same frame in two pieces, of which the second is ``data`` as it is."""
    return head + blob_head(len(data)), data


def unpack(frame: bytes) -> tuple[Kind, list[Any]]:
    """Return kind and fields of a frame.

    Raises:
        ProtocolError: Unknown kind, or a field that does not have its form.
        TooLargeError: Over the bounds.
    """
    values = data_of(frame)
    if values is not None:
        return Kind.DATA, list(values)
    value = decode(frame)
    if type(value) is not list or not value or type(value[0]) is not int:
        raise ProtocolError("a frame is not a message")
    try:
        kind = Kind(value[0])
    except ValueError:
        raise ProtocolError(f"a message has the unknown kind {value[0]}") from None
    _check(kind, value[1:])
    return kind, value[1:]


def data_of(frame: bytes) -> tuple[int, bytes] | None:
    """Return stream and bytes of a data frame without a decoder; None if it is not plainly one."""
    place = data_at(frame)
    return None if place is None else (place[0], frame[place[1] :])


def data_at(frame: bytes) -> tuple[int, int] | None:
    """Return the stream of a data frame, and where its bytes begin, which are all the rest; None if not plainly one.

    What this takes, the decoder would take for the same; what it does not take, the decoder says what is wrong with.
    """
    if frame[:2] != _DATA:
        return None
    number = number_at(frame, 2)
    place = blob_at(frame, number[1]) if number is not None else None
    if number is None or place is None or place[1] != len(frame):
        return None
    begin, end = place
    if not 0 < end - begin <= limits.MAX_STREAM_DATA_BYTES or number[0] > limits.MAX_SEQUENCE:
        return None
    return number[0], begin


def _check(kind: Kind, values: list[Any]) -> None:
    forms = FIELDS[kind]
    if len(values) != len(forms):
        raise ProtocolError(f"a message of kind {kind.name} has {len(values)} fields, not {len(forms)}")
    for (name, is_right), value in zip(forms, values, strict=True):
        if not is_right(value):
            raise ProtocolError(f"the field {name} of a message of kind {kind.name} does not have its form")


def check_request(method: str, body: Mapping[str, Any], table: Mapping[str, Mapping[str, Check]]) -> None:
    """Return if ``body`` is one that ``method`` takes.

    Raises:
        ArgumentError: Unknown method or key, a missing key, or a value that does not have its form; names it.
    """
    forms = table.get(method)
    if forms is None:
        raise ArgumentError(f"the request {method[:60]!r} is unknown", parameter="method")
    unknown = sorted(set(body) - set(forms))
    if unknown:
        raise ArgumentError(f"{method} has no key {unknown[0][:60]!r}", parameter=unknown[0])
    for name, is_right in forms.items():
        if not is_right(body.get(name)):
            problem = "does not have its form" if name in body else "is missing"
            raise ArgumentError(f"the key {name!r} of {method} {problem}", parameter=name)


def requests_of(side: str) -> Mapping[str, Mapping[str, Check]]:
    """Return the requests that ``side``, agent or server, may make."""
    return {"agent": REQUESTS_OF_AGENT, "server": REQUESTS_OF_SERVER}[side]


def told(message: str) -> str:
    """Return an error's text as it may cross the wire: cut, and without what cannot be written."""
    return message[: limits.MAX_ERROR_TEXT_BYTES // 4].encode("utf-8", "replace").decode()
