"""``net.connect``, ``net.udp``, ``net.listen``, ``net.unix``: open connections, as handles that belong to one run.

What they lead to is decided when they are opened, and never changes: a datagram socket is connected as well, so that
the kernel drops what others send. Reading and writing is decided by the names of the methods alone. Everything waits
in the script: what it does not read stays in the kernel's buffer and slows the peer down.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import struct
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, ClassVar, Final

from policies.targets import NetTarget, read_address
from protocol.errors import ArgumentError, BudgetError, DeadlineError, UnavailableError
from protocol.tiers import Tier
from stdlib.call_specs import Decided, Permit
from stdlib.declaring import call
from stdlib.handles import Handle
from stdlib.host import Host
from stdlib.lending import begun
from stdlib.net_probes import AuthorityText, HostText, Port, Timeout, place
from stdlib.network.connection import Connection, close_socket, failure
from stdlib.network.meter import Meter
from stdlib.network.reach import Family, Timings, endpoints, facts, within
from stdlib.network.trust import secure
from stdlib.parameters import Bounds, Data, Hostname, Length
from stdlib.paths import Target

MAX_READ_BYTES: Final = 512 << 10
MAX_DATAGRAM_BYTES: Final = 65_507  # of UDP over IPv4
BACKLOG: Final = 16
_TIMEVAL: Final = struct.Struct("@ll")  # of SO_SNDTIMEO, socket(7): seconds and microseconds

ReadBytes = Annotated[int, Bounds(1, MAX_READ_BYTES, "bytes")]


class NetConnection(Handle):
    """One open connection."""

    kind: ClassVar[str] = "connection"

    def __init__(
        self, connection: Connection, fields: Mapping[str, Any], meter: Meter | None = None, ends_s: float | None = None
    ) -> None:
        self.connection = connection
        self.meter = meter or Meter()
        self.shared: Meter | None = None  # of others as well
        self.ends_s = ends_s  # on the host's monotonic clock; None: with its run
        self._fields = dict(fields)

    def fields(self) -> dict[str, Any]:
        """Return what scripts see of it."""
        return self._fields

    def counted(self, *, sent: int = 0, received: int = 0) -> None:
        """Count bytes before they go on; at the bound it is closed.

        Raises:
            BudgetError: They are more than may go.
        """
        try:
            if self.shared is not None:
                self.shared.count(sent, received)
            self.meter.count(sent, received)
        except BudgetError:
            self.close()
            raise

    def summary(self) -> dict[str, Any]:
        """Return what the record of its end tells."""
        return {**self._fields, "sent": self.meter.sent, "received": self.meter.received}

    def close(self) -> None:
        """Close it at once."""
        self.connection.close()


class Datagrams(Handle):
    """One datagram socket that is connected to one place."""

    kind: ClassVar[str] = "datagrams"

    def __init__(self, sock: socket.socket, fields: Mapping[str, Any]) -> None:
        self.socket = sock
        self._fields = dict(fields)
        self._loop = asyncio.get_running_loop()

    def fields(self) -> dict[str, Any]:
        """Return what scripts see of it."""
        return self._fields

    def close(self) -> None:
        """Close it at once."""
        close_socket(self.socket, self._loop)


class Listener(Datagrams):
    """One socket that listens."""

    kind: ClassVar[str] = "listener"


# opening -------------------------------------------------------------------------------------------------------------


@call(
    "net.connect",
    tier=Tier.ADMIN,
    changes=True,
    decides=place(),
    lua='local peer = net.connect("127.0.0.1", 6379).ip',
    python='peer = net.connect("127.0.0.1", 6379).ip',
)
async def connect(
    system: Host,
    permit: Permit,
    host: HostText,
    port: Port,
    tls: bool = False,
    timeout: Timeout = 10.0,  # noqa: ASYNC109 - the name that scripts use
    family: Family = "any",
    sni: HostText | None = None,
    ca: AuthorityText = "",
) -> NetConnection:
    """Return a connection to ``port`` of ``host``: ``ip``, ``port``, ``tls`` (the version, or nothing).

    With ``tls`` the peer must prove to be ``sni``, or ``host`` if that is not given, by the system's authorities or
    those in ``ca`` (PEM); if it cannot, the call is ``unavailable`` and says why.
    """
    timings, asked = Timings(system.monotonic), NetTarget.of(host, int(port))
    async with within(timeout, f"connecting to {asked}"):
        found = await endpoints(system, permit, asked, family=family, timings=timings)
        if tls:
            secured = await secure(
                found, sni or asked.host, ca=ca, timings=timings, timeout_s=timeout, now=system.clock()
            )
            connection = secured.connection
            if connection is None:
                raise UnavailableError(f"{asked}: {secured.cert['error']}")
        else:
            connection = await Connection.open(found, timings, timeout)
    return NetConnection(connection, {"ip": connection.ip, "port": int(port), "tls": connection.tls_version})


@call(
    "net.unix",
    tier=Tier.OPERATE,
    changes=True,
    lua='local peer = net.unix("/run/mysqld/mysqld.sock").path',
    python='peer = net.unix("/run/mysqld/mysqld.sock").path',
)
async def unix(path: Target, timeout: Timeout = 10.0) -> NetConnection:  # noqa: ASYNC109 - the name that scripts use
    """Return a connection to the Unix socket at ``path``, which is ``path`` of it as well.

    Raises:
        DeadlineError: Who listens there has not taken it within ``timeout`` seconds; too many wait already.
        UnavailableError: Nobody listens there, or the agent's own user may not connect to it.
    """
    async with within(timeout, f"connecting to {path.asked}"):
        connecting = begun(partial(_joined, timeout_s=timeout), path)
        try:
            sock = await asyncio.shield(connecting)
        except asyncio.CancelledError:
            connecting.add_done_callback(_close)
            raise
    return NetConnection(Connection(sock, path.real), {"path": path.real})


def _joined(path: Target, timeout_s: float) -> socket.socket:
    """Return a socket that is connected to the very one that was decided on, whatever its path names by now.

    On a thread: who mounts a file system may be asked whether the agent may write there, and a socket whose queue is
    full is waited for. One that does not wait (O_NONBLOCK) is refused then with EAGAIN, and nothing tells when to try
    again: that is unix(7), not the connect(2) of TCP.
    """
    if not stat.S_ISSOCK(path.status().st_mode):
        raise ArgumentError(f"path: {path.asked} is no Unix socket", parameter="path")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _TIMEVAL.pack(*_parts(timeout_s)))  # of connect, too
        sock.connect(f"/proc/self/fd/{path.fd}")
        sock.setblocking(False)
    except BlockingIOError:
        sock.close()
        raise DeadlineError(f"connecting to {path.asked} did not finish in {timeout_s:g} s") from None
    except OSError as error:
        sock.close()
        raise UnavailableError(f"{path.asked}: {os.strerror(error.errno or 0)}") from None
    except BaseException:
        sock.close()
        raise
    return sock


def _parts(duration_s: float) -> tuple[int, int]:
    """Return a duration, at least a microsecond of it, as struct timeval has it; none of it would be without end."""
    return divmod(max(1, round(duration_s * 1_000_000)), 1_000_000)


def _close(connecting: asyncio.Future[socket.socket]) -> None:
    """Close what nobody waits for any more."""
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().close()


@call(
    "net.udp",
    tier=Tier.ADMIN,
    changes=True,
    decides=place("udp"),
    lua='local peer = net.udp("127.0.0.1", 123).ip',
    python='peer = net.udp("127.0.0.1", 123).ip',
)
async def udp(
    system: Host,
    permit: Permit,
    host: HostText,
    port: Port,
    timeout: Timeout = 10.0,  # noqa: ASYNC109 - the name that scripts use
    family: Family = "any",
) -> Datagrams:
    """Return a datagram socket for ``port`` of ``host`` and nobody else: ``ip``, ``port``."""
    asked = NetTarget.of(host, int(port), "udp")
    async with within(timeout, f"looking up {asked}"):
        found = await endpoints(system, permit, asked, family=family)
    sock = socket.socket(found[0].family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.connect(found[0].sockaddr)
    except OSError as error:
        sock.close()
        raise failure(error, str(found[0].target)) from None
    return Datagrams(sock, {"ip": found[0].target.address, "port": int(port)})


def _place(address: str, port: int) -> NetTarget:
    """Return where to listen.

    Raises:
        ArgumentError: It is a name: nobody should wait for a resolver to learn which address is opened to others.
    """
    if address == "localhost":
        return NetTarget.of(address, port).at("127.0.0.1")
    if read_address(address) is None:
        raise ArgumentError("address: must be an address of this host, or localhost", parameter="address")
    return NetTarget.of(address, port)


def _listening(_system: Host, arguments: Mapping[str, Any]) -> Decided:
    return Decided((facts(_place(arguments["address"], int(arguments["port"]))),))


@call(
    "net.listen",
    tier=Tier.ADMIN,
    changes=True,
    decides=_listening,
    lua='local port = net.listen("127.0.0.1", 8080).port',
    python='port = net.listen("127.0.0.1", 8080).port',
)
async def listen(address: Annotated[str, Hostname()], port: Port) -> Listener:
    """Listen on ``port`` of an ``address`` of this host, or of ``localhost``; both are fields of what is returned.

    Loopback and the address that stands for all (``0.0.0.0``, ``::``) are guarded here as well: a rule must name them.
    """
    target = _place(address, int(port))
    opened = target.address or ""
    sock = socket.socket(socket.AF_INET6 if ":" in opened else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((opened, int(port)))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise failure(error, str(target)) from None
    return Listener(sock, {"address": opened, "port": int(port)})


# using ---------------------------------------------------------------------------------------------------------------


@call(
    "connection.read",
    tier=Tier.OPERATE,
    under="net.connect",
    lua='local first = net.connect("127.0.0.1", 6379):read()',
    python='first = net.connect("127.0.0.1", 6379).read()',
)
async def read(
    connection: NetConnection,
    length: ReadBytes = 64 << 10,
    timeout: Annotated[float, Bounds(0.01, 600, "seconds")] = 30.0,  # noqa: ASYNC109 - the name that scripts use
) -> bytes | None:
    """Return what comes next, at most ``length`` bytes, as soon as there is something; nothing once the peer has ended.

    What did not come in time comes to the next call.
    """
    async with within(timeout, "reading"):
        data = await connection.connection.receive(int(length))
    connection.counted(received=len(data))
    return data or None


@call(
    "connection.write",
    tier=Tier.OPERATE,
    under="net.connect",
    lua='net.connect("127.0.0.1", 6379):write("hello")',
    python='net.connect("127.0.0.1", 6379).write("hello")',
)
async def write(
    connection: NetConnection,
    data: Data,
    timeout: Annotated[float, Bounds(0.01, 600, "seconds")] = 30.0,  # noqa: ASYNC109 - the name that scripts use
) -> int:
    """Send all of ``data`` and return its length; after a ``deadline`` nobody knows how much went, so it is closed."""
    body = bytes_of(data)
    connection.counted(sent=len(body))
    try:
        async with within(timeout, "writing"):
            await connection.connection.send(body)
    except BaseException:
        connection.close()
        raise
    return len(body)


@call(
    "connection.finish",
    tier=Tier.OPERATE,
    under="net.connect",
    lua='net.connect("127.0.0.1", 6379):finish()',
    python='net.connect("127.0.0.1", 6379).finish()',
)
async def finish(connection: NetConnection) -> None:
    """Tell the peer that nothing more will come; reading goes on. Over TLS only closing can tell that."""
    connection.connection.end_sending()


@call(
    "datagrams.send",
    tier=Tier.ADMIN,
    under="net.udp",
    lua='net.udp("127.0.0.1", 123):send("hello")',
    python='net.udp("127.0.0.1", 123).send("hello")',
)
async def send(datagrams: Datagrams, data: Annotated[Data, Length(MAX_DATAGRAM_BYTES)]) -> int:
    """Send one datagram and return its length. Nobody knows whether it arrives."""
    body = bytes_of(data)
    try:
        await asyncio.get_running_loop().sock_sendall(datagrams.socket, body)
    except OSError as error:
        raise failure(error, _peer(datagrams)) from None
    return len(body)


@call(
    "datagrams.receive",
    tier=Tier.ADMIN,
    under="net.udp",
    lua='local peer = net.udp("127.0.0.1", 123)\npeer:send("hello")\nlocal reply = peer:receive()',
    python='peer = net.udp("127.0.0.1", 123)\npeer.send("hello")\nreply = peer.receive()',
)
async def receive(
    datagrams: Datagrams,
    timeout: Annotated[float, Bounds(0.01, 600, "seconds")] = 5.0,  # noqa: ASYNC109 - the name that scripts use
) -> bytes:
    """Return the next datagram of the peer."""
    try:
        async with within(timeout, "waiting for a datagram"):
            return await asyncio.get_running_loop().sock_recv(datagrams.socket, 65_535)
    except OSError as error:
        raise failure(error, _peer(datagrams)) from None


@call(
    "listener.accept",
    tier=Tier.ADMIN,
    under="net.listen",
    lua='local ip = net.listen("127.0.0.1", 8080):accept({timeout = 60}).ip',
    python='ip = net.listen("127.0.0.1", 8080).accept(timeout=60).ip',
)
async def accept(
    listener: Listener,
    timeout: Annotated[float, Bounds(0.01, 3600, "seconds")] = 30.0,  # noqa: ASYNC109 - the name that scripts use
) -> NetConnection:
    """Return the next connection that somebody makes: ``ip`` and ``port`` of the other side."""
    try:
        async with within(timeout, "waiting for a connection"):
            sock, peer = await asyncio.get_running_loop().sock_accept(listener.socket)
    except OSError as error:
        raise failure(error, _peer(listener)) from None
    return NetConnection(Connection(sock, f"{peer[0]}:{peer[1]}"), {"ip": peer[0], "port": peer[1]})


def _peer(handle: Datagrams) -> str:
    told = handle.fields()
    return f"{told.get('ip', told.get('address'))}:{told['port']}"


def bytes_of(data: object) -> bytes:
    """Return what a script gave as bytes; ArgumentError if it is neither text nor bytes."""
    if not isinstance(data, bytes):
        raise ArgumentError("data: must be text or bytes", parameter="data")
    return data
