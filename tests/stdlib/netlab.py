"""A network of its own on loopback: servers that say what a test wants, name servers, certificates, and who decides."""

from __future__ import annotations

import asyncio
import datetime
import socket
import ssl
import struct
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from policies.decide import Effective, Layer, decide_effective
from policies.load import load_policy
from policies.model import Facts
from protocol.errors import DeadlineError, DeniedError
from stdlib.host import Host
from stdlib.network import connection, dns, hops, icmp

LOOPBACK = "127.0.0.1"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Granted:
    """Who decides: a policy that names these targets for every call; keeps what it was asked."""

    targets: Sequence[str] = (LOOPBACK, "[::1]", "localhost")
    asked: list[Facts] = field(default_factory=list)

    def require(self, facts: Facts) -> None:
        self.asked.append(facts)
        text = f"tier: admin\nallow: [{{call: '*', targets: {list(self.targets)!r}}}]\n"
        layer = Layer("test", load_policy(text, "test.yaml").rules)
        verdict = decide_effective(Effective((layer,)), "net.call", facts)
        if not verdict.allowed:
            raise DeniedError(f"{verdict.reason} ({verdict.rule})", rule=verdict.rule)

    def permits(self, facts: Facts) -> bool:
        try:
            self.require(facts)
        except DeniedError:
            return False
        return True

    async def settle(self, facts: Facts) -> None:
        self.require(facts)

    def below(self, directory: str) -> bool | None:
        return None

    @property
    def is_over(self) -> bool:
        return False

    @property
    def decided(self) -> list[str]:
        return [str(facts.target) for facts in self.asked]


def host(*answers: Sequence[str], **more: Any) -> Host:
    """A host whose resolver gives the first answer first, then the second, and the last one for ever."""
    left = list(answers)

    def getaddrinfo(name: str, port: int, family: int, kind: int, proto: int, flags: int) -> list[Any]:
        if flags & socket.AI_NUMERICHOST:
            return socket.getaddrinfo(name, port, family, kind, proto, flags)
        found = left.pop(0) if len(left) > 1 else left[0]
        rows = [row for text in found for row in socket.getaddrinfo(text, port, 0, kind, proto, socket.AI_NUMERICHOST)]
        kept = [row for row in rows if family in (0, row[0])]
        if not kept:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return kept

    return Host(getaddrinfo=getaddrinfo, **more) if answers else Host(**more)


@asynccontextmanager
async def serving(serve: Serve, *, tls: ssl.SSLContext | None = None, address: str = LOOPBACK) -> AsyncIterator[int]:
    """Serve every connection; give the port."""
    tasks: set[asyncio.Task[None]] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            tasks.add(task)
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(one, address, 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


def saying(data: bytes) -> Serve:
    """A server that says this at once and ends."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        if writer.can_write_eof():  # closing with something unread would be a reset, which may overtake what was said
            writer.write_eof()
            await reader.read()

    return serve


@dataclass
class Web:
    """A web server that gives prepared answers by path and keeps what was asked."""

    answers: dict[str, bytes] = field(default_factory=dict)
    requests: list[bytes] = field(default_factory=list)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
        self.requests.append(head + await reader.readexactly(size))
        writer.write(
            self.answers.get(head.split(b" ")[1].decode(), b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        )
        await writer.drain()


def answer(body: bytes = b"", code: str = "200 OK", *headers: str) -> bytes:
    """One plain HTTP answer."""
    lines = [f"HTTP/1.1 {code}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def once_connected(probe: Callable[[float], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    """What a probe tells that ends by its time, which it is given: more of it where it was up before there was anything
    to wait for, as on a machine that stood still.
    """
    for timeout_s in (0.05, 1.0):
        with suppress(DeadlineError):
            return await probe(timeout_s)
    return await probe(20.0)


# certificates --------------------------------------------------------------------------------------------------------


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _signs_certificates() -> x509.KeyUsage:
    uses = dict.fromkeys(
        ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
         "encipher_only", "decipher_only"), False,
    )  # fmt: skip
    return x509.KeyUsage(key_cert_sign=True, crl_sign=True, **uses)


class Authority:
    """An authority of the tests' own."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = _name("test authority")
        self.certificate = self._sign(self.name, self.key.public_key(), (), 30, is_authority=True)
        self.pem = self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def _sign(
        self, name: x509.Name, key: Any, sans: Sequence[str], days: int, *, is_authority: bool = False
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder().subject_name(name).issuer_name(self.name).public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=60)).not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )  # fmt: skip
        if is_authority:  # which Python wants of one from 3.13 on
            builder = builder.add_extension(_signs_certificates(), critical=True)
        if sans:
            names = [x509.IPAddress(ip_address(n)) if n[0].isdigit() else x509.DNSName(n) for n in sans]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def server(self, *sans: str, days: int = 30, is_own: bool = False) -> ssl.SSLContext:
        """TLS for a server of these names; one that signed its own certificate if ``is_own``."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "both.pem")
            path.write_bytes(b"".join(self.issued(*sans, days=days, is_own=is_own)))
            context.load_cert_chain(path)
        return context

    def issued(self, *sans: str, days: int = 30, is_own: bool = False) -> tuple[bytes, bytes]:
        """Return a new key and the certificate of a server of these names, in PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = Authority() if is_own else self
        certificate = issuer._sign(_name(sans[0]), key.public_key(), sans, days)
        plain = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return plain, certificate.public_bytes(serialization.Encoding.PEM)


# name servers --------------------------------------------------------------------------------------------------------


@dataclass
class Names:
    """A name server: question's name and type to what it answers; keeps what was asked."""

    answer: Callable[[bytes], bytes | None]  # question to message
    by_tcp: Callable[[bytes], bytes] | None = None
    asked: list[bytes] = field(default_factory=list)
    port: int = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Names]:
        names = self

        class Protocol(asyncio.DatagramProtocol):
            def connection_made(self, transport: Any) -> None:
                self.transport = transport

            def datagram_received(self, data: bytes, addr: Any) -> None:
                names.asked.append(data)
                said = names.answer(data)
                if said is not None:
                    self.transport.sendto(said, addr)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
            said = names.by_tcp(asked) if names.by_tcp else b""
            writer.write(len(said).to_bytes(2, "big") + said)
            await writer.drain()

        async with serving(serve) as port:
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Protocol, (LOOPBACK, port))
            self.port = port
            try:
                yield self
            finally:
                transport.close()


def message(
    asked: bytes, *records: tuple[int, bytes], code: int = 0, flags: int = 0x8180, name: bytes = b"\xc0\x0c"
) -> bytes:
    """An answer to ``asked`` with these records: type and data, all of the asked name."""
    end = asked.index(b"\0", 12) + 5
    body = b"".join(name + struct.pack("!HHIH", kind, 1, 300, len(data)) + data for kind, data in records)
    return asked[:2] + struct.pack("!HHHHH", flags | code, 1, len(records), 0, 0) + asked[12:end] + body


class _Watched:
    """The socket module, as one of ours sees it, with a list of all that it opens."""

    def __init__(self) -> None:
        opened: list[socket.socket] = []

        class Listed(socket.socket):
            def __init__(self, *args: Any, **more: Any) -> None:
                super().__init__(*args, **more)
                opened.append(self)

        self.opened, self.socket = opened, Listed

    def __getattr__(self, name: str) -> Any:
        return getattr(socket, name)


@contextmanager
def no_sockets_left() -> Iterator[None]:
    """Fail if what the calls open inside stays open."""
    watched = _Watched()
    with pytest.MonkeyPatch.context() as patch:
        for module in (connection, dns, hops, icmp):
            patch.setattr(module, "socket", watched)
        yield
    left = [item for item in watched.opened if item.fileno() >= 0]
    assert not left, f"left open: {left}"
