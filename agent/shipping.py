"""Which records go to the server next: in order, in batches, as soon as they are durable, few ahead of the answers.

- Only what is durable here is sent, so the server can never know a record that this host could forget.
- After a connection is made the server says what it holds. If that is not exactly a prefix of our own chain (same
  record, same hash), nothing is sent: one of the two was restored from a copy or tampered with, and a person must look.
"""

from __future__ import annotations

from agent import limits
from agent.spool import Spool
from protocol.errors import LedgerError
from protocol.link import Link


def check_resume(spool: Spool, last_sequence: int, last_hash: bytes) -> None:
    """Hold what the server says it has against our own chain.

    Args:
        spool: Ours.
        last_sequence: Newest record the server holds; 0 for none.
        last_hash: Its hash there.

    Raises:
        LedgerError: The ledger has forked. Nothing may be sent.
    """
    ours = spool.durable()
    if last_sequence > ours.sequence:
        raise LedgerError(
            f"ledger fork: the server holds records up to {last_sequence}, this host's ledger ends at {ours.sequence};"
            " was the state directory restored from a copy?",
            sequence=ours.sequence + 1,
        )
    known = spool.hash_of(last_sequence)
    is_gone = last_sequence < ours.sequence and spool.hash_of(last_sequence + 1) is None
    if known is None or is_gone:  # a server that holds nothing needs the first record, which may be long gone
        raise LedgerError(
            f"ledger fork: the server's ledger ends at {last_sequence}, but it has acknowledged records up to"
            f" {spool.acknowledged}, which this host has given up; was the server restored from a copy?",
            sequence=last_sequence + 1,
        )
    if known != last_hash:
        raise LedgerError(
            f"ledger fork: record {last_sequence} of the server is not ours; does another host use this agent's key?",
            sequence=last_sequence,
        )


class Shipper:
    """Feeds one link with records.

    Args:
        spool: Where they come from.
        link: Where they go.
        held: Newest record that the server holds already, checked by :func:`check_resume`.
    """

    def __init__(self, spool: Spool, link: Link, held: int) -> None:
        self._spool = spool
        self._link = link
        self._sent = held
        self._acknowledged = held
        spool.acknowledge(held)

    @property
    def unanswered(self) -> int:
        """Records sent and not acknowledged."""
        return self._sent - self._acknowledged

    def pump(self) -> None:
        """Hand over what is durable and not sent, up to the bound on what is under way."""
        while (room := limits.IN_FLIGHT_RECORDS - self.unanswered) > 0:
            blobs = self._spool.read(self._sent, min(room, limits.BATCH_RECORDS), limits.BATCH_BYTES)
            if not blobs:
                return
            self._link.send_records(self._sent + 1, blobs)
            self._sent += len(blobs)

    def acknowledged(self, through: int) -> None:
        """The server holds everything up to ``through`` durably."""
        self._acknowledged = max(self._acknowledged, through)
        self._spool.acknowledge(through)

    def is_level(self) -> bool:
        """Does the server hold everything that is durable here?"""
        return self._acknowledged >= self._spool.durable().sequence
