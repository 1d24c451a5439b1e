"""Reads of an exact length from a connection, for protocols of counted messages; bounded in all."""

from __future__ import annotations

from protocol.errors import UnavailableError
from stdlib.network.connection import Connection


class Exact:
    """The bytes that come over a connection.

    Args:
        connection: Open; nobody else reads from it.
        most_bytes: Of everything together, however it is cut.
    """

    def __init__(self, connection: Connection, most_bytes: int) -> None:
        self.connection = connection
        self._left = most_bytes
        self._have = bytearray()

    @property
    def is_empty(self) -> bool:
        """Whether nothing has come that was not read: so it must be before TLS begins, or it could be anybody's."""
        return not self._have

    async def read(self, size: int) -> bytes:
        """Return the next ``size`` bytes.

        Raises:
            UnavailableError: The peer has ended before, or says too much.
        """
        if size > self._left:
            raise UnavailableError(f"{self.connection.name}: says more than is read here")
        self._left -= size
        while len(self._have) < size:
            part = await self.connection.receive()
            if not part:
                raise UnavailableError(f"{self.connection.name}: closed in the middle of an answer")
            self._have += part
        data = bytes(self._have[:size])
        del self._have[:size]
        return data
