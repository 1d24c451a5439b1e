"""Orders that were used: each is good for one run or one session, whoever sends it how often.

What is on disk is known there; what this process has let pass is known here before it is on disk, so that two wishes at
the same moment do not share an order. A nonce that reached the disk twice would end the agent.
"""

from __future__ import annotations

from agent import limits
from agent.clock import Clock
from agent.orders import Nonce
from agent.spool import Spool
from protocol.errors import TrustError


class Nonces:
    """The nonces of one agent.

    Args:
        spool: Knows those of earlier.
        clock: Tells which orders are too old to be used anyway.
    """

    def __init__(self, spool: Spool, clock: Clock) -> None:
        self._spool = spool
        self._clock = clock
        self._spent: dict[str, int] = {}  # that this process has let pass, with the end of their order in us

    def spend(self, nonce: Nonce | None) -> None:
        """Use an order up, whether what it was for then begins or not; None for what needed no order.

        Raises:
            TrustError: ``replayed_token``: it has been used already.
        """
        if nonce is None:
            return
        if nonce.text in self._spent or self._spool.knows_nonce(nonce.text):
            raise TrustError("the order has been used already", reason="replayed_token")
        if len(self._spent) >= limits.MAX_SPENT_IN_MEMORY:  # those on disk are known there, the expired are too old
            now_us = self._clock.time_us()
            self._spent = {
                text: expires_us
                for text, expires_us in self._spent.items()
                if expires_us > now_us and not self._spool.knows_nonce(text)
            }
        self._spent[nonce.text] = nonce.expires_us
