"""A reading client of MySQL and MariaDB (protocol 10): it logs in, asks fixed questions, reads the answers, bounded.

A password goes out only as an answer to a challenge; in clear to a server that has proved over TLS who it is; or
encrypted to the key of a server on this very host that runs as a user whom a database has here.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from protocol.errors import DeniedError, UnavailableError
from stdlib.network import passwords
from stdlib.network.connection import Connection
from stdlib.network.exact import Exact

MAX_BYTES: Final = 2 << 20  # of all that a server says; its status is about 20 KiB
MAX_ROWS: Final = 5000
MAX_COLUMNS: Final = 200
_LONG_PASSWORD, _PROTOCOL_41, _SSL, _TRANSACTIONS = 1, 0x200, 0x800, 0x2000
_SECURE_CONNECTION, _PLUGIN_AUTH, _LENENC_AUTH = 0x8000, 0x80000, 0x200000
_MAX_PACKET: Final = 1 << 24
_UTF8MB4: Final = 45
_DENIED: Final = (1044, 1045, 1142, 1227, 1698)  # access denied, of the manual's list of server errors
NATIVE: Final = "mysql_native_password"
SHA2: Final = "caching_sha2_password"
_MORE: Final = b"\1"

Row = list[str | None]
StartTls = Callable[[Connection], Awaitable[bool]]
"""Begins TLS and tells whether the server has proved who it is; raises if it had to and has not."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a server says first."""

    version: str
    capabilities: int
    nonce: bytes
    plugin: str

    @classmethod
    def parse(cls, data: bytes, name: str) -> Greeting:
        """Return it.

        Raises:
            UnavailableError: It is none of protocol 10 with proofs of this century.
        """
        try:
            end = data.index(b"\0", 1)
            version, at = data[1:end].decode("utf-8", "replace"), end + 1 + 4
            low = int.from_bytes(data[at + 9 : at + 11], "little")
            high = int.from_bytes(data[at + 14 : at + 16], "little")
            size = max(13, data[at + 16] - 8)
            nonce = data[at : at + 8] + data[at + 27 : at + 27 + size]
            plugin = data[at + 27 + size :].partition(b"\0")[0].decode("ascii", "replace")
        except (ValueError, IndexError):
            raise UnavailableError(f"{name}: no MySQL") from None
        capabilities = low | high << 16
        if data[:1] != b"\x0a" or len(nonce) < 20 or not capabilities & _PROTOCOL_41 & 0xFFFF:
            raise UnavailableError(f"{name}: no MySQL of this century")
        return cls(version, capabilities, nonce[:20], plugin or NATIVE)

    @property
    def offers_tls(self) -> bool:
        """Whether the server speaks TLS."""
        return bool(self.capabilities & _SSL)


class MySql:
    """One connection.

    Args:
        connection: Open.
        is_trusted: Tells whether the server may have the whole password without a proof; asked once it has spoken.
    """

    def __init__(self, connection: Connection, *, is_trusted: Callable[[], Awaitable[bool]]) -> None:
        self._connection = connection
        self._reader = Exact(connection, MAX_BYTES)
        self._is_trusted = is_trusted
        self._is_proven = False
        self._sequence = 0
        self.version = ""

    async def login(self, user: str, password: bytes, start_tls: StartTls | None, *, is_tls_needed: bool) -> None:
        """Log in.

        Args:
            user: Whose password it is.
            password: Empty for none.
            start_tls: Used where the server offers TLS; None never does.
            is_tls_needed: A server that offers none is refused.

        Raises:
            DeniedError: The server refuses this user.
            UnavailableError: It wants a proof that is not spoken here, or speaks something else.
        """
        greeting = Greeting.parse(await self._packet(), self._connection.name)
        self.version = greeting.version
        flags = _LONG_PASSWORD | _PROTOCOL_41 | _TRANSACTIONS | _SECURE_CONNECTION | _PLUGIN_AUTH
        if start_tls is not None and greeting.offers_tls:
            flags |= _SSL
            if not self._reader.is_empty:
                raise UnavailableError(f"{self._connection.name}: speaks before TLS has begun")
            await self._send(struct.pack("<IIB23x", flags, _MAX_PACKET, _UTF8MB4))
            self._is_proven = await start_tls(self._connection)
        elif is_tls_needed:
            raise UnavailableError(f"{self._connection.name}: offers no TLS")
        plugin = greeting.plugin if greeting.plugin in (NATIVE, SHA2) else NATIVE
        answer = _answer(plugin, password, greeting.nonce)
        head = struct.pack("<IIB23x", flags, _MAX_PACKET, _UTF8MB4)
        who = user.encode() + b"\0" + bytes([len(answer)]) + answer + plugin.encode() + b"\0"
        await self._send(head + who)
        await self._proved(plugin, password, greeting.nonce)

    async def _proved(self, plugin: str, password: bytes, nonce: bytes) -> None:
        for _ in range(6):  # a switch, a fast answer, a key, a full one
            data = await self._packet()
            if data[:1] == b"\0":
                return
            if data[:1] == b"\xfe":
                name, _, rest = data[1:].partition(b"\0")
                plugin, nonce = name.decode("ascii", "replace"), rest[:20]  # a NUL follows
                if plugin not in (NATIVE, SHA2) or len(nonce) != 20:
                    raise UnavailableError(f"{self._connection.name}: wants a proof of the kind {plugin:.40}")
                await self._send(_answer(plugin, password, nonce))
            elif data == _MORE + b"\3" and plugin == SHA2:
                continue  # the fast answer was right
            elif data == _MORE + b"\4" and plugin == SHA2:
                await self._prove_in_full(password, nonce)
            else:
                break
        raise UnavailableError(f"{self._connection.name}: does not come to an end with the proof")

    async def _prove_in_full(self, password: bytes, nonce: bytes) -> None:
        if self._is_proven:
            await self._send(password + b"\0")
            return
        if not await self._is_trusted():
            raise UnavailableError(
                f"{self._connection.name}: wants the whole password, which only goes over TLS to a server that proves"
                " who it is (tls, ca), or to one on this host that runs as root or as a database's user"
            )
        await self._send(b"\2")
        data = await self._packet()
        await self._send(_encrypted(data[1:], passwords.hidden(password, nonce), self._connection.name))

    async def ask(self, question: str) -> tuple[list[str], list[Row]]:
        """Return the names of the columns and the rows that answer one of our questions; errors as :meth:`login`."""
        self._sequence = 0
        await self._send(b"\3" + question.encode())
        first = await self._packet()
        if first[:1] in (b"\0", b"\xfb"):
            raise UnavailableError(f"{self._connection.name}: answers a question without rows")
        count, _ = _length(first, 0, self._connection.name)
        if count is None or not 0 < count <= MAX_COLUMNS:
            raise UnavailableError(f"{self._connection.name}: answers with {count} columns")
        names = [self._column(await self._packet()) for _ in range(count)]
        if not _is_end(await self._packet()):
            raise UnavailableError(f"{self._connection.name}: the columns of an answer have no end")
        rows: list[Row] = []
        while not _is_end(data := await self._packet()):
            if len(rows) >= MAX_ROWS:
                raise UnavailableError(f"{self._connection.name}: answers with more than {MAX_ROWS} rows")
            rows.append(self._row(data, count))
        return names, rows

    async def end(self) -> None:
        """Say that nothing more is asked."""
        self._sequence = 0
        await self._send(b"\1")

    def _column(self, data: bytes) -> str:
        """Return the name in a column's definition: the fifth of its texts."""
        return self._row(data, 5)[4] or ""

    def _row(self, data: bytes, count: int) -> Row:
        row: Row = []
        position = 0
        for _ in range(count):
            size, position = _length(data, position, self._connection.name)
            if size is None:
                row.append(None)
                continue
            if position + size > len(data):
                raise UnavailableError(f"{self._connection.name}: a row is not in its form")
            row.append(data[position : position + size].decode("utf-8", "replace"))
            position += size
        return row

    async def _send(self, body: bytes) -> None:
        await self._connection.send(len(body).to_bytes(3, "little") + bytes([self._sequence & 255]) + body)
        self._sequence += 1

    async def _packet(self) -> bytes:
        """Return the next packet; an error of the server's is raised."""
        head = await self._reader.read(4)
        size = int.from_bytes(head[:3], "little")
        if not 0 < size < _MAX_PACKET - 1:
            raise UnavailableError(f"{self._connection.name}: no MySQL")
        body = await self._reader.read(size)
        self._sequence = head[3] + 1
        if body[:1] == b"\xff":
            raise self._refusal(body)
        return body

    def _refusal(self, body: bytes) -> DeniedError | UnavailableError:
        number = int.from_bytes(body[1:3], "little")
        text = body[9:] if body[3:4] == b"#" else body[3:]
        told = f"{self._connection.name}: {text[:200].decode('utf-8', 'replace')}"
        return DeniedError(told, rule="the database") if number in _DENIED else UnavailableError(told)


def _answer(plugin: str, password: bytes, nonce: bytes) -> bytes:
    return (passwords.native if plugin == NATIVE else passwords.caching_sha2)(password, nonce)


def _is_end(data: bytes) -> bool:
    return data[:1] == b"\xfe" and len(data) < 9


def _length(data: bytes, position: int, name: str) -> tuple[int | None, int]:
    """Return a length-encoded integer, None for NULL, and the place behind it."""
    first = data[position : position + 1]
    if not first or first[0] == 0xFF:
        raise UnavailableError(f"{name}: an answer is not in its form")
    if first[0] < 0xFB:
        return first[0], position + 1
    if first[0] == 0xFB:
        return None, position + 1
    size = {0xFC: 2, 0xFD: 3, 0xFE: 8}[first[0]]
    field = data[position + 1 : position + 1 + size]
    if len(field) < size:
        raise UnavailableError(f"{name}: an answer is not in its form")
    return int.from_bytes(field, "little"), position + 1 + size


def _encrypted(key: bytes, plain: bytes, name: str) -> bytes:
    """Return what only the holder of a server's key reads."""
    from cryptography.exceptions import UnsupportedAlgorithm  # few runs need it
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    try:
        public = serialization.load_pem_public_key(key)
    except (ValueError, UnsupportedAlgorithm):
        raise UnavailableError(f"{name}: sends no key to encrypt the password for") from None
    if not isinstance(public, rsa.RSAPublicKey) or not 2048 <= public.key_size <= 8192:
        raise UnavailableError(f"{name}: sends a key that no password is encrypted for")
    oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303 - what the protocol says
    try:
        return public.encrypt(plain, oaep)
    except ValueError:
        raise UnavailableError(f"{name}: the password is too long for its key") from None
