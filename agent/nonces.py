"""Orders that were used: each is good for one run or one session, whoever sends it how often.

What is on disk is known there; what this process has let pass is known here before it is on disk, so that two wishes at
the same moment do not share an order. A nonce that reached the disk twice would end the agent.

An order that was let pass goes to the disk with whatever comes of it: the beginning of what it was for, or the refusal.
So nothing is let go here by what the clock says, which may be wrong, and nothing is forgotten by a new start.
"""

from __future__ import annotations

from agent import limits, rows
from agent.orders import Nonce
from agent.rows import Statement
from agent.spool import Spool
from protocol.errors import TrustError


class Nonces:
    """The nonces of one agent.

    Args:
        spool: Knows those that reached the disk.
    """

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._spent: set[str] = set()  # that this process has let pass, until the disk knows them
        self._look_at = 0  # so many, or MAX_SPENT_IN_MEMORY if that is more, and it is looked which the disk knows

    def spend(self, nonce: Nonce | None) -> None:
        """Use an order up, whether what it was for then begins or not; None for what needed no order.

        Whoever calls this writes :meth:`used` down with what came of it, or gives the order back.

        Raises:
            TrustError: ``replayed_token``: it has been used already.
        """
        if nonce is None:
            return
        if nonce.text in self._spent or self._spool.knows_nonce(nonce.text):
            raise TrustError("the order has been used already", reason="replayed_token")
        if len(self._spent) >= max(limits.MAX_SPENT_IN_MEMORY, self._look_at):
            self._spent = {text for text in self._spent if not self._spool.knows_nonce(text)}
            self._look_at = 2 * len(self._spent)  # what is left is on its way
        self._spent.add(nonce.text)

    def give_back(self, nonce: Nonce | None) -> None:
        """An order is as good as before: what it was for did not begin, and nothing at all was written down of it."""
        if nonce is not None:
            self._spent.discard(nonce.text)

    @staticmethod
    def used(nonce: Nonce | None) -> tuple[Statement, ...]:
        """Return what becomes durable with the beginning or the refusal of what the order was for."""
        return () if nonce is None else (rows.use_nonce(nonce.text, nonce.expires_us),)
