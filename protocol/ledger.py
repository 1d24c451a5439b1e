"""Records and the chain that holds them: a change or a gap anywhere shows.

A record is one MessagePack array; its hash is SHA-256 over the exact stored bytes, and each record carries the hash of
the one before. Nothing is ever re-encoded to be checked. A checkpoint is a signed statement of the chain's head.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from protocol import limits
from protocol.errors import ArgumentError, LedgerError, ProtocolError
from protocol.frames import RowEncoder, decode, encode
from protocol.signing import Envelope, PrivateKey, PublicKey, open_envelope, sign
from protocol.timestamps import stamp

VERSION = 1
GENESIS = bytes(32)  # the "hash before the first record"
HASH_BYTES = 32
Octets = bytes  # the field of a record that is called ``bytes`` hides the type
KINDS = frozenset({
    "call", "call.end", "intent", "run.start", "run.end", "session.open", "session.close", "refusal", "schedule.fire",
    "schedule.skip", "event", "checkpoint",
})  # fmt: skip
_NOTHING: Mapping[str, Any] = {}
REDACTED = frozenset({"password", "passwd", "secret", "token", "authorization", "cookie", "private_key", "api_key"})
_SECRET_WORD = re.compile(
    r"(?i)(^|[_-])(password|passwd|secret|token|authorization|cookie|api[_-]?key|private[_-]?key)$"
)
_MAX_REMEMBERED_CHARS = 64  # of a name; scripts choose the keys of maps
_MOST_ARGUMENT_BYTES = 16 << 20  # of all of a record's that are made a digest of; a frame of the link holds 1 MiB
_ARGUMENT_DEPTH = limits.MAX_DEPTH - 2  # an argument stands in the map of arguments, in the array of the record


class Record(NamedTuple):
    """One entry about one call or event; a tuple, as a server makes one of each record that arrives."""

    version: int  # of this form
    sequence: int  # from 1, without a hole
    time_us: int  # wall clock, microseconds since 1970 UTC
    mono_us: int  # monotonic clock of the host, microseconds
    session: str  # empty for what belongs to no session
    run: str  # empty for what belongs to no run
    principal: str  # who it was done for
    kind: str  # one of KINDS
    call: str  # name of the call, empty for other kinds
    arguments: dict[str, Any]  # bounded and redacted
    verdict: str  # allow, deny or ask; empty where nothing was decided
    rule: str  # what decided
    outcome: str  # ok, or the code of the error; the status of a run
    duration_us: int
    bytes: int  # moved by the call
    data: dict[str, Any]  # what the kind adds
    previous: Octets  # hash of the record before


_TYPES: dict[str, type] = {
    "version": int, "sequence": int, "time_us": int, "mono_us": int, "session": str, "run": str, "principal": str,
    "kind": str, "call": str, "arguments": dict, "verdict": str, "rule": str, "outcome": str, "duration_us": int,
    "bytes": int, "data": dict, "previous": bytes,
}  # fmt: skip
_FIELDS = Record._fields
_KINDS_OF_FIELDS = [_TYPES[name] for name in _FIELDS]
_ROWS = RowEncoder(_TYPES)


def encode_record(record: Record) -> bytes:
    """Return the exact bytes of ``record``.

    Raises:
        TooLargeError: Over ``limits.MAX_RECORD_BYTES``.
        ProtocolError: It holds a value that has no place in a record.
    """
    return encode(list(record), max_bytes=limits.MAX_RECORD_BYTES)


def decode_record(blob: bytes) -> Record:
    """Return the record in ``blob``.

    Raises:
        ProtocolError: Not a record.
    """
    values = decode(blob, max_bytes=limits.MAX_RECORD_BYTES)
    if type(values) is not list or len(values) != len(_FIELDS):
        raise ProtocolError("a record does not have its fields")
    if list(map(type, values)) != _KINDS_OF_FIELDS:
        names = (name for name, value in zip(_FIELDS, values, strict=True) if type(value) is not _TYPES[name])
        raise ProtocolError(f"the field {next(names)} of a record has the wrong type")
    record = Record(*values)
    if record.version != VERSION:
        raise ProtocolError(f"a record has version {record.version}, this program knows {VERSION}")
    if record.kind not in KINDS:
        raise ProtocolError(f"a record has the unknown kind {record.kind[:40]!r}")
    if len(record.previous) != HASH_BYTES or not 1 <= record.sequence <= limits.MAX_SEQUENCE:
        raise ProtocolError("a record has an impossible sequence or previous hash")
    return record


def record_hash(blob: bytes) -> bytes:
    """Return the hash of the exact bytes of a record."""
    return hashlib.sha256(blob).digest()


class Chain:
    """The writing end of a ledger: gives each record its place."""

    def __init__(self, next_sequence: int = 1, previous: bytes = GENESIS) -> None:
        self.next_sequence = next_sequence
        self.previous = previous  # hash of the newest record

    def append(
        self,
        *,
        kind: str,
        time_us: int,
        mono_us: int,
        session: str = "",
        run: str = "",
        principal: str = "",
        call: str = "",
        arguments: Mapping[str, Any] | None = None,
        verdict: str = "",
        rule: str = "",
        outcome: str = "",
        duration_us: int = 0,
        bytes: int = 0,
        data: Mapping[str, Any] | None = None,
    ) -> tuple[int, bytes, bytes]:
        """Return sequence, exact bytes and hash of the next record. The chain moves on only if that worked."""
        if kind not in KINDS:
            raise ArgumentError(f"{kind!r} is not a kind of record", parameter="kind")
        sequence = self.next_sequence
        blob = _ROWS.encode(
            [
                VERSION, sequence, time_us, mono_us, session, run, principal, kind, call,
                dict(arguments) if arguments else _NOTHING, verdict, rule, outcome, duration_us, bytes,
                dict(data) if data else _NOTHING, self.previous,
            ],
            max_bytes=limits.MAX_RECORD_BYTES,
        )  # fmt: skip
        self.previous = record_hash(blob)
        self.next_sequence = sequence + 1
        return sequence, blob, self.previous


def verify_chain(blobs: Iterable[bytes], first: int = 1, previous: bytes = GENESIS) -> tuple[int, bytes]:
    """Return the next sequence and the newest hash after ``blobs``, which go on from ``first`` and ``previous``.

    Raises:
        LedgerError: Names the first record that does not fit.
    """
    sequence = first
    for blob in blobs:
        try:
            record = decode_record(blob)
        except ProtocolError as error:
            raise LedgerError(f"record {sequence} cannot be read: {error.message}", sequence=sequence) from None
        if record.sequence != sequence:
            raise LedgerError(f"record {sequence} is missing: {record.sequence} follows", sequence=sequence)
        if record.previous != previous:
            raise LedgerError(f"record {sequence} does not follow from the one before it", sequence=sequence)
        previous = record_hash(blob)
        sequence += 1
    return sequence, previous


def bound_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``arguments`` fit for a record: secrets redacted, what is long cut and told by its digest."""
    bounded = {}
    for name, value in arguments.items():  # no comprehension: that is a function, made each time
        bounded[name if name.isascii() else _writable(name)] = _bounded(name, value)
    return bounded


def cut_arguments(bounded: Mapping[str, Any]) -> dict[str, Any]:
    """Return what stands for arguments that together are more than a record holds: how large they are, and a digest.

    Args:
        bounded: As :func:`bound_arguments` returned them.
    """
    try:
        raw = encode(bounded, max_bytes=_MOST_ARGUMENT_BYTES)
    except ProtocolError:
        return {"*": f"[cannot be written: {len(bounded)} arguments]"}
    names = ""
    for name in bounded:  # joining all of them only to cut them may take a megabyte
        names += f"{name[:128]}, "
        if len(names) > 128:
            break
    return {"*": {"cut": names[:128], "bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}}


def _bounded(name: str, value: Any) -> Any:
    if _is_secret(name) if len(name) > _MAX_REMEMBERED_CHARS else _is_known_secret(name):
        return "[redacted]"
    if _is_plain(value):
        return value
    if type(value) is dict:
        value = {_writable(str(key)): _bounded(str(key), item) for key, item in value.items()}
    elif type(value) in (list, tuple):
        value = [_bounded("", item) for item in value]
    if type(value) is str:
        raw = _utf8(value)
    elif type(value) is bytes:
        raw = value
    else:
        try:
            raw = encode(value, max_depth=_ARGUMENT_DEPTH)
        except ProtocolError:
            return f"[cannot be written: {type(value).__name__:.40}]"
    if len(raw) <= limits.MAX_RECORD_ARGUMENT_BYTES:
        return raw.decode("utf-8", "backslashreplace") if type(value) is str else value
    head = raw[:128] if type(value) is bytes else raw[:128].decode("utf-8", "replace")
    return {"cut": head, "bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}


def _is_secret(name: str) -> bool:
    """Tell whether the value of an argument of this name is kept out of records."""
    return name.lower() in REDACTED or _SECRET_WORD.search(name) is not None


_is_known_secret = lru_cache(maxsize=1024)(_is_secret)  # the names of parameters; those that a script makes up pass by


def _is_plain(value: Any) -> bool:
    """Tell, quickly because most are, whether ``value`` can be written as it is."""
    kind = type(value)
    if kind is int:
        return bool(-(1 << 63) <= value < 1 << 64)
    if kind is float:
        return math.isfinite(value)
    if kind is str:
        return len(value) <= limits.MAX_RECORD_ARGUMENT_BYTES and value.isascii()
    return value is None or kind is bool


def _writable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape" if _round_trips(text) else "replace")


def _round_trips(text: str) -> bool:
    """Tell whether ``text`` holds no surrogates but those that stand for undecodable bytes (PEP 383)."""
    return all(not 0xD800 <= ord(c) <= 0xDFFF or 0xDC80 <= ord(c) <= 0xDCFF for c in text)


def make_checkpoint(*, agent: str, sequence: int, hash: bytes, issued: datetime, key: PrivateKey) -> Envelope:
    """Return the signed statement that the chain of ``agent`` ends at ``sequence`` with ``hash``."""
    body = {"type": "checkpoint", "agent": agent, "sequence": sequence, "hash": hash.hex(), "issued": stamp(issued)}
    return sign("checkpoint", body, key)


def verify_checkpoint(envelope: Envelope, key: PublicKey, agent: str) -> tuple[int, bytes]:
    """Return sequence and hash that ``agent`` signed.

    Raises:
        TrustError: Not signed by ``key``.
        ArgumentError: Not a checkpoint of this agent.
    """
    body = open_envelope(envelope, "checkpoint", {key.key_id: key}).body
    sequence, digest = body.get("sequence"), body.get("hash")
    if body.get("agent") != agent or type(sequence) is not int or not isinstance(digest, str):
        raise ArgumentError("the checkpoint is not one of this agent")
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ArgumentError("the checkpoint's hash is not a SHA-256")
    return sequence, bytes.fromhex(digest)
