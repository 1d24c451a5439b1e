"""The records: those of agents are taken in exactly as they were hashed; the server writes its own ledger beside them.

- A batch of an agent is taken only if it continues the chain that is held; otherwise all of it is refused.
- What is derived from records (runs, what to search by, the tree) is written in the same transaction as their bytes.
- The server's own ledger is the agent called ``server``: publications, approvals, tokens, refusals. Its records are
  appended by commands in the writer, and every thousandth is followed by a checkpoint signed with the server's key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update

from protocol.errors import LedgerError, ProtocolError, TooLargeError
from protocol.ledger import GENESIS, Chain, Record, bound_arguments, decode_record, make_checkpoint, record_hash
from protocol.signing import PrivateKey
from server import clock, limits, record_tree
from server.store.prepared import Prepared
from server.store.tables import agents, meta, records, runs, sessions

SERVER = "server"
_CLOSED = {"ok": "ended", "killed": "killed", "lost": "lost"}  # outcome of session.close -> status of the session
TOLD = ("ok", "error", "denied", "killed")  # what a run came to by its own record of it; no later one changes that
ENDED = (*TOLD, "lost", "refused")  # what a run can come to

_HEAD = Prepared(
    select(records.c.sequence, records.c.hash, records.c.kind)
    .where(records.c.agent == SERVER)
    .order_by(records.c.sequence.desc())
    .limit(1)
)
_ADD = Prepared(insert(records), "agent", "sequence", "blob", "hash", "time_us", "kind", "call", "run")
_HELD = Prepared(select(agents.c.last_sequence, agents.c.last_hash).where(agents.c.id == bindparam("of")))
_MOVE = Prepared(
    update(agents)
    .where(agents.c.id == bindparam("of"))
    .values(last_sequence=bindparam("sequence"), last_hash=bindparam("hash"), last_seen_us=bindparam("seen_us"))
)
_MINE = (runs.c.id == bindparam("run"), runs.c.agent == bindparam("of"))
_START = Prepared(
    update(runs)
    .where(*_MINE, runs.c.finished_us.is_(None))
    .values(status=bindparam("to"), started_us=bindparam("at_us"))
)
_END = Prepared(
    update(runs)
    .where(*_MINE, *(runs.c.status != told for told in TOLD))
    .values(
        status=bindparam("to"), reason=bindparam("why"), finished_us=bindparam("at_us"), ending=bindparam("told"),
        started_us=func.coalesce(runs.c.started_us, bindparam("at_us")),
    )
)  # fmt: skip
_UNKNOWN = (
    "id", "agent", "script", "version", "digest", "status", "principal", "purpose", "schedule", "fire_us", "created_us",
    "started_us",
)  # fmt: skip
_ADD_BEGUN = Prepared(insert(runs), *_UNKNOWN)
_ADD_ENDED = Prepared(insert(runs), *_UNKNOWN, "reason", "finished_us", "ending")
_KNOWN = Prepared(select(runs.c.id).where(runs.c.id == bindparam("run")))
_END_KEY = "own_ledger"  # in the table meta: where the server's own chain ends
_MOVE_END = Prepared(update(meta).where(meta.c.key == _END_KEY).values(value=bindparam("end")))


def record_row(agent: str, record: Record, blob: bytes, digest: bytes) -> dict[str, Any]:
    """Return the row that keeps a record."""
    return {
        "agent": agent, "sequence": record.sequence, "blob": blob, "hash": digest, "time_us": record.time_us,
        "kind": record.kind, "call": record.call, "run": record.run,
    }  # fmt: skip


class OwnLedger:
    """The server's own chain.

    Args:
        key: Signs checkpoints.
    """

    def __init__(self, key: PrivateKey) -> None:
        self._key = key
        #: Told of every event within its commit: call, arguments and principal.
        self.listeners: list[Callable[[Connection, str, Mapping[str, Any], str], None]] = []

    def append(
        self,
        connection: Connection,
        *,
        kind: str = "event",
        call: str,
        principal: str,
        arguments: Mapping[str, Any] | None = None,
        outcome: str = "ok",
        rule: str = "",
        run: str = "",
        data: Mapping[str, Any] | None = None,
    ) -> int:
        """Append one record within the caller's command; return its sequence."""
        chain = self._chain(connection)
        fields: dict[str, Any] = {
            "kind": kind, "call": call, "principal": principal[:200], "outcome": outcome, "rule": rule[:1000],
            "run": run, "arguments": bound_arguments(arguments or {}), "data": data or {},
            "verdict": "deny" if kind == "refusal" else "allow",
        }  # fmt: skip
        sequence = self._append(connection, chain, fields)
        if sequence % limits.CHECKPOINT_RECORDS == 0:
            self._checkpoint(connection, chain)
        if kind == "event":
            for listener in self.listeners:
                listener(connection, call, fields["arguments"], fields["principal"])
        return sequence

    def checkpoint(self, connection: Connection) -> None:
        """Sign where the chain stands, if anything was added since the last signature."""
        newest = _HEAD.first(connection)
        if newest is not None and newest.kind != "checkpoint":
            self._checkpoint(connection, self._chain(connection))

    def _checkpoint(self, connection: Connection, chain: Chain) -> None:
        envelope = make_checkpoint(
            agent=SERVER, sequence=chain.next_sequence - 1, hash=chain.previous, issued=clock.now(), key=self._key
        )
        self._append(connection, chain, {"kind": "checkpoint", "data": {"envelope": envelope.to_json()}})

    def _append(self, connection: Connection, chain: Chain, fields: dict[str, Any]) -> int:
        stamps: dict[str, Any] = {"time_us": clock.now_us(), "mono_us": clock.mono_us()}
        try:
            sequence, blob, digest = chain.append(**stamps, **fields)
        except TooLargeError:  # what was asked is never a reason for not recording that it was
            sequence, blob, digest = chain.append(**stamps, **(fields | {"arguments": {}, "data": {"cut": True}}))
        row = {
            "agent": SERVER, "sequence": sequence, "blob": blob, "hash": digest, "time_us": stamps["time_us"],
            "kind": fields["kind"], "call": fields.get("call", ""), "run": fields.get("run", ""),
        }  # fmt: skip
        _ADD.add(connection, [row])
        record_tree.grow(connection)
        end = _end(sequence, digest)
        if not _MOVE_END.change(connection, end=end):
            connection.execute(insert(meta).values(key=_END_KEY, value=end))
        return sequence

    def _chain(self, connection: Connection) -> Chain:
        """Return the chain as the transaction sees it: an undone command leaves no trace in it."""
        head = _HEAD.first(connection)
        return Chain() if head is None else Chain(head.sequence + 1, bytes(head.hash))


def check_own_end(connection: Connection, sequence: int, digest: bytes) -> None:
    """Return if the server's own chain ends where it was last written.

    Raises:
        LedgerError: Its newest records were taken away or written anew.
    """
    kept = connection.execute(select(meta.c.value).where(meta.c.key == _END_KEY)).scalar()
    if kept != (_end(sequence, digest) if sequence else None):
        raise LedgerError(
            f"the ledger ends at {sequence}, but that is not where it was written to", sequence=sequence + 1
        )


def _end(sequence: int, digest: bytes) -> str:
    return f"{sequence} {digest.hex()}"


# records of agents ---------------------------------------------------------------------------------------------------


def read_batch(blobs: Sequence[bytes], first: int, previous: bytes) -> list[tuple[Record, bytes, bytes]]:
    """Return record, bytes and hash of each blob, after checking that they continue the chain.

    Raises:
        LedgerError: Names the first record that does not fit.
    """
    found: list[tuple[Record, bytes, bytes]] = []
    sequence = first
    for blob in blobs:
        try:
            record = decode_record(blob)
        except ProtocolError as error:
            raise LedgerError(f"record {sequence} cannot be read: {error.message}", sequence=sequence) from None
        if record.sequence != sequence or record.previous != previous:
            raise LedgerError(f"record {sequence} does not continue the chain that is held", sequence=sequence)
        previous = record_hash(blob)
        found.append((record, blob, previous))
        sequence += 1
    return found


Batch = list[tuple[Record, bytes, bytes]]
"""Records that continue a chain: each with its bytes and its hash."""


def checked_batch(blobs: Sequence[bytes], first: int, previous: bytes) -> Batch:
    """Return what :func:`read_batch` does, after looking at the times too: what is left to ask is who holds the chain.

    Raises:
        LedgerError: As there, or a record has a time that cannot be.
    """
    batch = read_batch(blobs, first, previous)
    for record, _, _ in batch:
        if not _is_time(record.time_us):
            raise LedgerError(f"record {record.sequence} has an impossible time", sequence=record.sequence)
    return batch


def ingest(
    connection: Connection, agent: str, first: int, blobs: Sequence[bytes], checked: Batch | None = None
) -> list[Record]:
    """Take a batch of an agent in; return its records.

    Args:
        connection: In a command of the writer.
        agent: Whose they are.
        first: Sequence of the first.
        blobs: The records.
        checked: What :func:`checked_batch` made of them, if that was asked already.

    Raises:
        LedgerError: It does not continue the chain that is held.
    """
    held = _HELD.first(connection, of=agent)
    if held is None:
        raise LedgerError("records came from an agent that is not enrolled", sequence=first)
    if first != held.last_sequence + 1:
        raise LedgerError(f"record {held.last_sequence + 1} is missing: {first} was sent", sequence=first)
    previous = bytes(held.last_hash) if held.last_sequence else GENESIS
    is_checked = checked is not None and checked[0][0].previous == previous
    batch = checked if checked is not None and is_checked else checked_batch(blobs, first, previous)
    _ADD.add(connection, [record_row(agent, *each) for each in batch])
    record_tree.grow(connection)
    newest, _, digest = batch[-1]
    _MOVE.change(connection, of=agent, sequence=newest.sequence, hash=digest, seen_us=clock.now_us())
    for record, _, _ in batch:
        if record.kind == "run.start":
            _run_started(connection, agent, record)
        elif record.kind == "run.end":
            _run_ended(connection, agent, record)
        elif record.kind == "refusal" and record.run:
            _run_refused(connection, agent, record)
        elif record.kind == "session.open":
            _session_opened(connection, agent, record)
        elif record.kind == "session.close":
            _session_closed(connection, agent, record)
        elif record.kind == "refusal" and record.session and not record.run:
            _session_refused(connection, agent, record)
    return [record for record, _, _ in batch]


def _run_started(connection: Connection, agent: str, record: Record) -> None:
    if not _START.change(connection, run=record.run, of=agent, to="running", at_us=record.time_us):
        _add_unknown(connection, agent, record, _ADD_BEGUN, {"status": "running"})


def end_of_run(record: Record) -> dict[str, Any]:
    """Return what a record ``run.end`` makes of the run's row: an end, whatever the agent calls it."""
    data = record.data
    status = _text(data.get("status")) or record.outcome
    return {
        "status": status if status in ENDED else "error",
        "reason": _text(data.get("reason")),
        "finished_us": record.time_us,
        "ending": plain(data),
    }


def _run_ended(connection: Connection, agent: str, record: Record) -> None:
    ended = end_of_run(record)
    changed = _END.change(
        connection, run=record.run, of=agent, to=ended["status"], why=ended["reason"], at_us=record.time_us,
        told=ended["ending"],
    )  # fmt: skip
    if not changed:
        _add_unknown(connection, agent, record, _ADD_ENDED, ended)


def _run_refused(connection: Connection, agent: str, record: Record) -> None:
    """Whoever asked heard of it, unless the server that asked has ended since."""
    connection.execute(
        update(runs)
        .where(runs.c.id == record.run, runs.c.agent == agent, runs.c.status == "queued")
        .values(
            status="refused", reason=_text(record.data.get("message")), finished_us=record.time_us,
            ending={"code": record.outcome},
        )
    )  # fmt: skip


def _session_opened(connection: Connection, agent: str, record: Record) -> None:
    """A session that this server knows nothing of was asked for by one whose disk was lost; its records tell of it."""
    connection.execute(
        update(sessions)
        .where(sessions.c.id == record.session, sessions.c.agent == agent, sessions.c.ended_us.is_(None))
        .values(status="open", opened_us=record.time_us, about=plain(record.data))
    )


def _session_closed(connection: Connection, agent: str, record: Record) -> None:
    connection.execute(
        update(sessions)
        .where(
            sessions.c.id == record.session, sessions.c.agent == agent, sessions.c.status.not_in(("ended", "killed"))
        )
        .values(
            status=_CLOSED.get(record.outcome, "ended"), reason=_text(record.data.get("reason")),
            ended_us=record.time_us, about=plain(record.data),
        )
    )  # fmt: skip


def _session_refused(connection: Connection, agent: str, record: Record) -> None:
    """One that had been opened before stays as it is: somebody asked for its id again."""
    connection.execute(
        update(sessions)
        .where(
            sessions.c.id == record.session, sessions.c.agent == agent, sessions.c.opened_us.is_(None),
            sessions.c.ended_us.is_(None),
        )
        .values(status="refused", reason=_text(record.data.get("message")), ended_us=record.time_us)
    )  # fmt: skip


def _add_unknown(connection: Connection, agent: str, record: Record, add: Prepared, values: dict[str, Any]) -> None:
    """Add a run that an agent began by itself, by schedule. A run of another agent with this id is left alone."""
    if _KNOWN.first(connection, run=record.run) is not None:
        return
    data = record.data
    fire_us = data.get("fire_us")
    about = {
        "id": record.run, "agent": agent, "principal": record.principal, "purpose": "",
        "script": _text(data.get("script")) or "", "version": _text(data.get("version")) or "",
        "digest": _text(data.get("digest")) or "", "schedule": _text(data.get("schedule")),
        "fire_us": fire_us if _is_time(fire_us) else None, "created_us": record.time_us, "started_us": record.time_us,
    }  # fmt: skip
    add.add(connection, [about | values])


def _is_time(value: Any) -> bool:
    """Tell whether ``value`` is a moment that can be kept and shown; any other would break every list it is in."""
    return type(value) is int and 0 <= value <= limits.MAX_TIME_US


def _text(value: Any) -> str | None:
    return value[: limits.MAX_RESULT_TEXT] if isinstance(value, str) else None


def plain(value: Any) -> Any:
    """Return a value of a record as JSON can hold it: bytes as text where they are UTF-8, else in hexadecimal."""
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return {"hex": value.hex()}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return str(value)
    return value
