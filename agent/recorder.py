"""The agent's ledger: every record of this host goes through here, in one chain, onto the spool.

- A record gets its place in the chain and is queued for the disk in one step; if it cannot be queued, the chain has not
  moved. So what the disk holds is always a prefix of the chain, without a hole.
- ``intend`` and ``commit`` return when the records are durable. Before an effect that is what is waited for.
- While the disk refuses, nothing new is begun (:attr:`Recorder.problem` tells the gate): no record, no call. What has
  already happened is kept in memory and written when the disk is back.
- Arguments are bounded and secrets in them redacted here, so that no way into the ledger goes around that. More of them
  than a record holds are told by their digest: nothing is done, or refused, without a record because much was asked.
- After every ``CHECKPOINT_RECORDS`` records the agent signs where the chain stands.

Used from the event loop's thread only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from agent import limits
from agent.clock import Clock, to_datetime
from agent.rows import Statement, Stored, Write
from agent.spool import Head, Spool
from protocol.errors import TooLargeError, UnavailableError
from protocol.ledger import Chain, bound_arguments, cut_arguments, make_checkpoint
from protocol.signing import PrivateKey

Fields = dict[str, Any]


class Recorder:
    """Appends to the chain.

    Args:
        spool: Open; the chain goes on from its head.
        clock: Stamps each record.
        agent_id: As the server knows this host; stands in each checkpoint.
        key: Signs checkpoints.
    """

    def __init__(self, spool: Spool, clock: Clock, *, agent_id: str, key: PrivateKey) -> None:
        self._spool = spool
        self._clock = clock
        self._agent_id = agent_id
        self._key = key
        self._chain = Chain()  # its place is set anew for each write
        self._head = spool.head  # the newest record in the chain, durable or not

    @property
    def head(self) -> Head:
        """The newest record, durable or not."""
        return self._head

    @property
    def problem(self) -> str | None:
        """Why nothing may be begun at present; None while records can be written."""
        return self._spool.problem

    def check_room(self) -> None:
        """Return if one more record of any size can be queued now.

        Raises:
            UnavailableError: The disk refuses, or too much waits for it.
        """
        if not self._spool.has_room:
            why = self._spool.problem or "too much waits for the disk"
            raise UnavailableError(f"the record of a call cannot be kept: {why}")

    def record(self, **fields: Any) -> None:
        """Append one record of something that has happened. Every call comes through here, so it is short.

        Raises:
            UnavailableError: Too much waits for the disk already; nothing was appended.
        """
        stored = self._next(fields, self._head, self._clock.time_us(), self._clock.mono_us())
        self._spool.submit(Write((stored,)))
        self._moved_to(Head(stored.sequence, stored.hash))

    async def intend(self, **fields: Any) -> None:
        """Append one record of something about to happen; returns when it is durable.

        Raises:
            UnavailableError: It cannot be made durable now: the effect must not happen.
        """
        await self.commit([fields])

    def append(
        self, entries: Sequence[Fields], statements: Sequence[Statement] = (), *, is_urgent: bool = False
    ) -> None:
        """Append records, and changes of state that become durable together with them. Nobody waits here; if
        ``is_urgent``, somebody does at the other end of the link.

        Raises:
            UnavailableError: Too much waits for the disk already; nothing was appended.
        """
        write, head = self._chained(entries, statements)
        self._spool.submit(write, is_urgent=is_urgent)
        self._moved_to(head)

    async def commit(self, entries: Sequence[Fields], statements: Sequence[Statement] = ()) -> None:
        """Append records and changes of state; returns when all of it is durable.

        Raises:
            UnavailableError: The disk refuses. If it began to refuse only now, the records are still in the chain and
                reach the disk when it is back, but nothing may be done on the strength of them.
        """
        await self.begin(entries, statements)

    def begin(self, entries: Sequence[Fields], statements: Sequence[Statement] = ()) -> asyncio.Future[None]:
        """Append records and changes of state now; what is returned tells when all of it is durable.

        For whoever must know whether something was appended at all: it was, unless this raises. The future's
        UnavailableError means as in :meth:`commit` that it will reach the disk later.

        Raises:
            UnavailableError: The disk refuses, or too much waits for it; nothing was appended.
        """
        write, head = self._chained(entries, statements)
        waiter = self._spool.submit_waited(write)
        self._moved_to(head)
        return asyncio.shield(asyncio.wrap_future(waiter))

    def checkpoint(self) -> None:
        """Sign where the chain stands, as a record of its own."""
        body = make_checkpoint(
            agent=self._agent_id,
            sequence=self._head.sequence,
            hash=self._head.hash,
            issued=to_datetime(self._clock.time_us()),
            key=self._key,
        )
        self.append([{"kind": "checkpoint", "data": {"envelope": body.to_json()}}])

    def _chained(self, entries: Sequence[Fields], statements: Sequence[Statement]) -> tuple[Write, Head]:
        """Return the records at the places after the head, without moving it."""
        head, stored = self._head, []
        time_us, mono_us = self._clock.time_us(), self._clock.mono_us()
        for entry in entries:
            stored.append(self._next(dict(entry), head, time_us, mono_us))
            head = Head(stored[-1].sequence, stored[-1].hash)
        return Write(tuple(stored), tuple(statements)), head

    def _next(self, fields: Fields, head: Head, time_us: int, mono_us: int) -> Stored:
        """Return the record at the place after ``head``; ``fields`` are of this call alone."""
        chain = self._chain
        chain.next_sequence, chain.previous = head.sequence + 1, head.hash  # what could not be queued left no trace
        if fields.get("arguments"):
            fields["arguments"] = bound_arguments(fields["arguments"])
        fields["time_us"], fields["mono_us"] = time_us, mono_us
        try:
            sequence, blob, digest = chain.append(**fields)
        except TooLargeError:
            if not fields.get("arguments"):
                raise
            fields["arguments"] = cut_arguments(fields["arguments"])
            sequence, blob, digest = chain.append(**fields)
        return Stored(sequence, blob, digest, time_us)

    def _moved_to(self, head: Head) -> None:
        passed = head.sequence // limits.CHECKPOINT_RECORDS > self._head.sequence // limits.CHECKPOINT_RECORDS
        self._head = head
        if passed:
            try:
                self.checkpoint()
            except UnavailableError:  # the spool is full of what waits; the next thousand gets its checkpoint
                return
