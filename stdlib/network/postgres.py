"""A reading client of PostgreSQL (protocol 3.0): it logs in, asks fixed questions, and reads the answers, bounded.

Everything runs in transactions that are read-only, under a timeout of the server's own. A password goes out only as an
answer to a challenge, or in clear to a server that has proved over TLS who it is.
"""

from __future__ import annotations

import base64
import secrets
import struct
from dataclasses import dataclass
from typing import Final

from kernel.visits import begun_apart
from protocol.errors import DeniedError, UnavailableError
from stdlib.network import passwords
from stdlib.network.connection import Connection
from stdlib.network.exact import Exact

MAX_BYTES: Final = 1 << 20  # of all that a server says
MAX_ROWS: Final = 1000
_SSL_REQUEST: Final = struct.pack("!ii", 8, 80877103)
_VERSION: Final = 196608  # 3.0
_SASL: Final = b"SCRAM-SHA-256"
_LOGIN: Final = ("28000", "28P01")  # invalid authorization, invalid password: appendix A of the documentation

Row = list[str | None]


@dataclass(frozen=True, slots=True)
class Login:
    """Who asks."""

    user: str
    password: bytes
    database: str
    statement_timeout_ms: int


async def offers_tls(connection: Connection) -> bool:
    """Ask whether the server speaks TLS; if so, it is to begin at once.

    Raises:
        UnavailableError: It is no PostgreSQL, or says something before TLS that could be anybody's.
    """
    await connection.send(_SSL_REQUEST)
    reader = Exact(connection, 1)
    answer = await reader.read(1)
    if not reader.is_empty or answer not in (b"S", b"N"):
        raise UnavailableError(f"{connection.name}: no PostgreSQL")
    return answer == b"S"


class Postgres:
    """One connection, after TLS has begun or not.

    Args:
        connection: Open.
        is_proven: Whether the server has proved over TLS who it is.
    """

    def __init__(self, connection: Connection, *, is_proven: bool) -> None:
        self._connection = connection
        self._reader = Exact(connection, MAX_BYTES)
        self._is_proven = is_proven

    async def login(self, login: Login) -> None:
        """Log in.

        Raises:
            DeniedError: The server refuses this user.
            UnavailableError: It wants a proof that is not spoken here, or speaks something else.
        """
        options = f"-c default_transaction_read_only=on -c statement_timeout={login.statement_timeout_ms}"
        said = {
            "user": login.user, "database": login.database, "application_name": "outrider",
            "client_encoding": "UTF8", "options": options,
        }  # fmt: skip
        body = b"".join(f"{key}\0{value}\0".encode() for key, value in said.items()) + b"\0"
        await self._connection.send(struct.pack("!ii", len(body) + 8, _VERSION) + body)
        scram: passwords.Scram | None = None
        while True:
            kind, data = await self._message()
            if kind == b"E":
                raise self._refusal(data)
            if kind == b"R":
                scram = await self._prove(login, data, scram)
            elif kind == b"Z":
                return

    async def _prove(self, login: Login, data: bytes, scram: passwords.Scram | None) -> passwords.Scram | None:
        code, rest = int.from_bytes(data[:4], "big"), data[4:]
        if code == 0:
            if scram is not None:
                raise UnavailableError(f"{self._connection.name}: ends SCRAM without its own proof")
        elif code == 3 and self._is_proven:
            await self._send(b"p", login.password + b"\0")
        elif code == 3:
            raise UnavailableError(f"{self._connection.name}: wants the password in clear, without TLS that proves it")
        elif code == 5 and len(rest) == 4:
            await self._send(b"p", passwords.md5(login.user.encode(), login.password, rest) + b"\0")
        elif code == 10 and _SASL in rest.split(b"\0"):
            scram = passwords.Scram(login.password, base64.b64encode(secrets.token_bytes(18)).decode())
            await self._send(b"p", _SASL + b"\0" + struct.pack("!i", len(scram.first)) + scram.first)
        elif code == 11 and scram is not None:
            await self._send(b"p", await begun_apart(scram.final, rest))  # as long as the server wants it to take
        elif code == 12 and scram is not None:
            scram.check(rest)
            return None
        else:
            raise UnavailableError(f"{self._connection.name}: wants a proof of an unknown kind ({code})")
        return scram

    async def ask(self, question: str) -> list[Row]:
        """Return the rows that answer one of our questions.

        Raises:
            DeniedError: The user may not see that.
            UnavailableError: The server cannot answer it, or says too much.
        """
        await self._send(b"Q", question.encode() + b"\0")
        rows: list[Row] = []
        refusal: DeniedError | UnavailableError | None = None  # raised when the server is ready for the next question
        while True:
            kind, data = await self._message()
            if kind == b"E":
                refusal = self._refusal(data)
            elif kind == b"D":
                if len(rows) >= MAX_ROWS:
                    raise UnavailableError(f"{self._connection.name}: answers with more than {MAX_ROWS} rows")
                rows.append(self._row(data))
            elif kind == b"Z" and refusal is not None:
                raise refusal
            elif kind == b"Z":
                return rows

    async def end(self) -> None:
        """Say that nothing more is asked."""
        await self._send(b"X", b"")

    def _row(self, data: bytes) -> Row:
        count, position = int.from_bytes(data[:2], "big"), 2
        row: Row = []
        for _ in range(count):
            size = int.from_bytes(data[position : position + 4], "big", signed=True)
            position += 4
            if size < -1 or position + max(size, 0) > len(data):
                raise UnavailableError(f"{self._connection.name}: a row is not in its form")
            row.append(None if size < 0 else data[position : position + size].decode("utf-8", "replace"))
            position += max(size, 0)
        return row

    async def _send(self, kind: bytes, body: bytes) -> None:
        await self._connection.send(kind + struct.pack("!i", len(body) + 4) + body)

    async def _message(self) -> tuple[bytes, bytes]:
        """Return the next message; what the server only mentions is passed over."""
        while True:
            head = await self._reader.read(5)
            size = int.from_bytes(head[1:], "big")
            if size < 4 or not head[:1].isalpha():
                raise UnavailableError(f"{self._connection.name}: no PostgreSQL")
            kind, body = head[:1], await self._reader.read(size - 4)
            if kind not in (b"N", b"S", b"K", b"A", b"T", b"C", b"I"):
                return kind, body

    def _refusal(self, body: bytes) -> DeniedError | UnavailableError:
        fields = {part[:1]: part[1:].decode("utf-8", "replace") for part in body.split(b"\0") if part}
        told = f"{self._connection.name}: {fields.get(b'M', 'refused')[:200]}"
        if fields.get(b"C", "") in _LOGIN or fields.get(b"C") == "42501":  # insufficient_privilege
            return DeniedError(told, rule="the database")
        return UnavailableError(told)
