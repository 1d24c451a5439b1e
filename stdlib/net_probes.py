"""``net.*`` probes: names, echo requests, TCP, TLS, the way to a host. See ``stdlib.network`` for the order of things.

Every probe is decided by name before it looks anything up, and by address before it sends anything there; it ends in
its ``timeout`` and leaves no socket behind, whatever way it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from policies.targets import NetTarget, read_address
from protocol.errors import ArgumentError
from protocol.tiers import Tier
from stdlib.call_specs import Decided, Permit
from stdlib.declaring import call
from stdlib.host import Host, RunContext
from stdlib.network import dns, hops, icmp
from stdlib.network.connection import Connection
from stdlib.network.dns_messages import Record
from stdlib.network.reach import Family, Timings, endpoints, facts, look_up, within, without_port
from stdlib.network.trust import Secured, secure
from stdlib.parameters import Bounds, Data, Hostname, Length
from stdlib.searching import searched

if TYPE_CHECKING:
    from protocol.regex import Regex

MAX_PINGS: Final = 15
MAX_HOPS: Final = 64
MAX_BANNER_BYTES: Final = 4096
MAX_EXPECT_BYTES: Final = 64 << 10  # read while waiting for a text
MAX_SEARCHED_BYTES: Final = 16 << 20  # in all searches of one probe

HostText = Annotated[str, Hostname()]
Port = Annotated[int, Bounds(1, 65_535)]
Timeout = Annotated[float, Bounds(0.01, 120, "seconds")]
AuthorityText = Annotated[str, Length(64 << 10)]


def place(protocol: str = "tcp") -> Any:
    """Return what decides on the ``host`` and, if there is one, the ``port`` of a call, before anything is sent."""

    def decides(_system: Host, arguments: Mapping[str, Any]) -> Decided:
        return Decided((facts(_asked(arguments["host"], arguments.get("port"), protocol)),))

    return decides


def _asked(host: str, port: Any, protocol: str) -> NetTarget:
    return NetTarget.of(host, None if port is None else int(port), protocol)


# names ---------------------------------------------------------------------------------------------------------------


def _resolving(_system: Host, arguments: Mapping[str, Any]) -> Decided:
    found = [facts(NetTarget.of(arguments["name"], None, "dns"))]
    if arguments["server"] is not None:
        found.append(facts(NetTarget.of(arguments["server"], int(arguments["port"]), "dns")))
    return Decided(tuple(found))


@call(
    "net.resolve",
    tier=Tier.INSPECT,
    decides=_resolving,
    lua='local found = net.resolve("www.example.org", {type = "AAAA"})',
    python='found = net.resolve("www.example.org", type="AAAA")',
)
async def resolve(
    system: Host,
    permit: Permit,
    name: HostText,
    type: Literal["any", "A", "AAAA", "CAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"] = "any",
    server: HostText | None = None,
    port: Port = 53,
    timeout: Timeout = 5.0,  # noqa: ASYNC109 - the name that scripts use
) -> dict[str, Any]:
    """Return what is known about ``name``: ``records``, ``server`` (who was asked; nothing for the system), ``ms``.

    A record has ``name``, ``type``, ``ttl`` (seconds) and ``value``, written as in zone files. Addresses (``any``,
    ``A``, ``AAAA``) come from the system's own resolver, without a ``ttl``; everything else, and all that is asked of a
    ``server``, from a name server. An address as ``name`` has records of type ``PTR`` only. No record of that type is
    an empty list; no such name is ``not_found``.
    """
    timings = Timings(system.monotonic)
    started = timings.clock()
    async with within(timeout, f"looking up {name}"):
        if server is None and type in ("any", "A", "AAAA"):
            records, told = await _addresses(system, name, type), None
        else:
            asked = _question(name, type)
            servers = dns.servers_of(system)
            if server is not None:
                servers = await endpoints(system, permit, _asked(server, port, "dns"))
            found: list[Record] = []
            for kind in ("A", "AAAA") if type == "any" else (type,):
                found += (await dns.ask(servers, asked, kind, timings, timeout)).records
            records = [{"name": r.name, "type": r.type, "ttl": r.ttl, "value": r.value} for r in found]
            told = servers[0].target.address
    return {"records": records, "server": told, "ms": timings.since(started)}


async def _addresses(system: Host, name: str, kind: str) -> list[dict[str, Any]]:
    family: Family = {"any": "any", "A": "4", "AAAA": "6"}[kind]  # type: ignore[assignment]  # a map of literals
    found = await look_up(system, NetTarget.of(name), family)
    return [
        {
            "name": name,
            "type": "AAAA" if ":" in (item.target.address or "") else "A",
            "ttl": None,
            "value": item.target.address,
        }
        for item in found
    ]


def _question(name: str, kind: str) -> str:
    address = read_address(name)
    if address is None:
        return NetTarget.of(name).host
    if kind != "PTR":
        raise ArgumentError(f"type: an address has no records of type {kind}", parameter="type")
    return address.reverse_pointer


# echo requests and the way -------------------------------------------------------------------------------------------


@call(
    "net.ping",
    tier=Tier.INSPECT,
    decides=place("icmp"),
    lua='local answered = net.ping("gateway.example.org", {count = 3}).available',
    python='answered = net.ping("gateway.example.org", count=3)["available"]',
)
async def ping(
    system: Host,
    permit: Permit,
    host: HostText,
    count: Annotated[int, Bounds(1, MAX_PINGS)] = 3,
    interval: Annotated[float, Bounds(0.01, 10, "seconds")] = 0.2,
    timeout: Timeout = 5.0,  # noqa: ASYNC109 - the name that scripts use
    family: Family = "any",
) -> dict[str, Any]:
    """Send ``count`` echo requests and return what came back in ``timeout`` seconds for all of them.

    ``sent``, ``received``, ``available`` (percent answered), ``min``, ``avg`` and ``max`` (milliseconds; nothing if
    none came back), ``ip``, ``method`` (``datagram`` or ``raw`` socket), ``error`` (what the network said, or nothing),
    ``tt_resolve`` (milliseconds).
    """
    timings = Timings(system.monotonic)
    started = timings.clock()
    async with within(timeout, f"looking up {host}"):
        found = await endpoints(system, permit, _asked(host, None, "icmp"), family=family, timings=timings)
    left_s = timeout - (timings.clock() - started)
    echoes = await icmp.ping(without_port(found[0]), int(count), interval, left_s, timings)
    times = sorted(echoes.times_ms.values())
    return {
        "sent": echoes.sent, "received": len(times), "available": 100.0 * len(times) / max(echoes.sent, 1),
        "min": times[0] if times else None, "avg": round(sum(times) / len(times), 3) if times else None,
        "max": times[-1] if times else None, "ip": found[0].target.address, "method": echoes.method,
        "error": echoes.error, "tt_resolve": timings.told["tt_resolve"],
    }  # fmt: skip


@call(
    "net.traceroute",
    tier=Tier.INSPECT,
    decides=place("udp"),
    lua='local hops = net.traceroute("www.example.org", {max = 20}).hops',
    python='hops = net.traceroute("www.example.org", max=20)["hops"]',
)
async def traceroute(
    system: Host,
    permit: Permit,
    host: HostText,
    max: Annotated[int, Bounds(1, MAX_HOPS)] = 30,
    timeout: Timeout = 60.0,  # noqa: ASYNC109 - the name that scripts use
    family: Family = "any",
) -> dict[str, Any]:
    """Return the way to ``host``: ``hops``, ``reached``, ``ip``, ``tt_resolve`` (milliseconds).

    A hop has ``ttl``, ``address`` and ``ms``; the last two are nothing if it is silent. One UDP datagram a hop, which
    needs no privilege; each is waited for up to a second.
    """
    timings = Timings(system.monotonic)
    async with within(timeout, f"the way to {host}"):
        found = await endpoints(system, permit, _asked(host, None, "udp"), family=family, timings=timings)
        way, reached = await hops.trace(without_port(found[0]), int(max), timings)
    return {"hops": way, "reached": reached, "ip": found[0].target.address, "tt_resolve": timings.told["tt_resolve"]}


# TCP and TLS ---------------------------------------------------------------------------------------------------------


@call(
    "net.tcp_check",
    tier=Tier.INSPECT,
    decides=place(),
    lua='local banner = net.tcp_check("mail.example.org", 25, {banner = true}).banner',
    python='banner = net.tcp_check("mail.example.org", 25, banner=True)["banner"]',
)
async def tcp_check(
    system: Host,
    run: RunContext,
    permit: Permit,
    host: HostText,
    port: Port,
    tls: bool = False,
    banner: bool = False,
    send: Annotated[Data, Length(4096)] = b"",
    expect: Annotated[str, Length(256)] = "",
    timeout: Timeout = 10.0,  # noqa: ASYNC109 - the name that scripts use
    family: Family = "any",
    sni: HostText | None = None,
    ca: AuthorityText = "",
) -> dict[str, Any]:
    """Connect to ``port`` of ``host``, wait for a ``banner`` line, ``send``, wait until ``expect`` came, and close.

    ``ip``, ``port``, ``tt_resolve``, ``tt_connect``, ``tt_tls``, ``tt_firstbyte`` and ``duration`` (milliseconds),
    ``banner`` (what came first, or nothing), ``match`` (whether the RE2 pattern ``expect`` came; nothing without one),
    ``tls`` (the version), ``cert`` (as ``net.tls_peer``). With ``tls`` the peer must prove to be ``sni``, or ``host``
    if that is not given, by the system's authorities or those in ``ca`` (PEM); if it cannot, nothing is sent,
    ``cert.error`` says why, and ``tls`` is nothing. In a dry run nothing is sent, as it may change something there, and
    ``match`` is nothing.
    """
    timings = Timings(system.monotonic)
    started = timings.clock()
    if expect:
        pattern_of(expect, "expect")  # before anything is sent
    if run.is_dry and send:
        send, expect = b"", ""
    asked = _asked(host, port, "tcp")
    secured: Secured | None = None
    async with within(timeout, f"connecting to {asked}"):
        found = await endpoints(system, permit, asked, family=family, timings=timings)
        if tls:
            secured = await secure(
                found, sni or asked.host, ca=ca, timings=timings, timeout_s=timeout, now=system.clock()
            )
            connection = secured.connection
        else:
            connection = await Connection.open(found, timings, timeout)
    heard: tuple[str | None, bool | None] = (None, None)
    ip = secured.ip if secured else None
    if connection is not None:
        async with connection:
            ip = connection.ip
            left_s = timeout - (timings.clock() - started)
            heard = await _converse(connection, banner, _bytes(send), expect, left_s, timings)
    return {
        "ip": ip, "port": int(port), **timings.told, "duration": timings.since(started), "banner": heard[0],
        "match": heard[1], "tls": connection and connection.tls_version, "cert": secured and secured.cert,
    }  # fmt: skip


async def _converse(
    connection: Connection, banner: bool, send: bytes, expect: str, left_s: float, timings: Timings
) -> tuple[str | None, bool | None]:
    """Return the banner, and whether what is expected came."""
    heard, first = bytearray(), b""
    started = timings.clock()

    async def hear(most: int) -> bool:
        data = await connection.receive(most)
        if data and timings.told["tt_firstbyte"] is None:
            timings.told["tt_firstbyte"] = timings.since(started)
        heard.extend(data)
        return bool(data)

    wanted = pattern_of(expect, "expect") if expect else None
    is_found, looked = False, 0

    async def is_there() -> bool:
        nonlocal is_found, looked
        looked += len(heard)  # a peer that says one byte at a time must not have all of it searched each time
        if wanted is not None and looked < MAX_SEARCHED_BYTES:
            (found,) = await searched([wanted], bytes(heard))
            is_found = found is not None
        return is_found

    with suppress(TimeoutError):  # then it did not come
        async with asyncio.timeout(left_s):
            if banner:
                while b"\n" not in heard and len(heard) < MAX_BANNER_BYTES and await hear(MAX_BANNER_BYTES):
                    first = bytes(heard[:MAX_BANNER_BYTES])
            if send:
                await connection.send(send)
            while wanted and not await is_there() and len(heard) < MAX_EXPECT_BYTES and await hear(16 << 10):
                first = first or bytes(heard[:MAX_BANNER_BYTES])
    shown = first.decode("utf-8", "replace").rstrip("\r\n") if first else None
    return shown, (is_found if wanted else None)


def pattern_of(text: str, parameter: str) -> Regex:
    """Return a compiled pattern; ArgumentError that names the parameter if it is none."""
    from protocol.regex import of_parameter  # the library is 3 MB, and few probes need it

    return of_parameter(text, parameter)


def _bytes(data: Any) -> bytes:
    """Return what the catalogue made of ``Data``."""
    if not isinstance(data, bytes):
        raise ArgumentError("send: must be text or bytes", parameter="send")
    return data


@call(
    "net.tls_peer",
    tier=Tier.INSPECT,
    decides=place(),
    lua='local days = net.tls_peer("www.example.org").end_in / 86400',
    python='days = net.tls_peer("www.example.org")["end_in"] / 86400',
)
async def tls_peer(
    system: Host,
    permit: Permit,
    host: HostText,
    port: Port = 443,
    sni: HostText | None = None,
    timeout: Timeout = 10.0,  # noqa: ASYNC109 - the name that scripts use
    family: Family = "any",
    ca: AuthorityText = "",
) -> dict[str, Any]:
    """Return what the certificate of a TLS server says, whether or not it is to be believed.

    ``subject`` and ``issuer`` (RFC 4514), ``sans`` (names and addresses), ``start`` and ``end`` (seconds since 1970
    UTC), ``end_in`` (seconds, negative when it is over), ``error`` (nothing if it proves that the server is ``sni``, or
    ``host`` if that is not given, by the system's authorities or those in ``ca``; else why not), ``ip``, ``tls`` (the
    version; nothing without proof), ``tt_resolve``, ``tt_connect``, ``tt_tls``, ``duration`` (milliseconds).
    """
    timings = Timings(system.monotonic)
    started = timings.clock()
    asked = _asked(host, port, "tcp")
    async with within(timeout, f"connecting to {asked}"):
        found = await endpoints(system, permit, asked, family=family, timings=timings)
        secured = await secure(found, sni or asked.host, ca=ca, timings=timings, timeout_s=timeout, now=system.clock())
    if secured.connection is not None:
        secured.connection.close()
    told = {name: value for name, value in timings.told.items() if name != "tt_firstbyte"}
    version = secured.connection and secured.connection.tls_version
    return {**secured.cert, "ip": secured.ip, "tls": version, **told, "duration": timings.since(started)}
