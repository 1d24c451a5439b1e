"""The WebSocket of a terminal or a forward here."""

from __future__ import annotations

from typing import Any, Final

from websockets.asyncio.client import ClientConnection
from websockets.protocol import State

from protocol.whole_messages import WholeMessages

READ_BYTES: Final = 64 << 10  # at once; asyncio's own 256 KiB are mapped and unmapped for each key


class Wired(WholeMessages, ClientConnection):
    """One connection."""

    most = 16 << 10  # bytes of a message that is offered; more where a forward says so

    def connection_made(self, transport: Any) -> None:
        """Take up a connection."""
        if hasattr(transport, "max_size"):
            transport.max_size = READ_BYTES
        super().connection_made(transport)

    @property
    def may_send(self) -> bool:
        """Whether what is sent goes at once, and does not wait for the server to read."""
        return not self.paused and self.state is State.OPEN and not self.transport.is_closing()
