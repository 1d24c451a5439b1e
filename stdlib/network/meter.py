"""Counting the bytes of connections, up to a bound."""

from __future__ import annotations

from protocol.errors import BudgetError


class Meter:
    """Counts bytes in both directions. Several connections may share one."""

    def __init__(self, most: int | None = None) -> None:
        self.most = most  # bytes of both directions together; None: no bound
        self.sent = 0
        self.received = 0

    def count(self, sent: int, received: int) -> None:
        """Count bytes before they go on.

        Raises:
            BudgetError: They are more than may go; nothing of them is counted.
        """
        if self.most is not None and self.sent + self.received + sent + received > self.most:
            raise BudgetError(f"{self.most} bytes may go through here and no more", budget="forward")
        self.sent += sent
        self.received += received
