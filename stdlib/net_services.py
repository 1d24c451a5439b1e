"""Typed readings of services that speak a protocol of their own."""

from __future__ import annotations

from typing import Any, Final

from policies.targets import NetTarget
from protocol.errors import UnavailableError
from protocol.tiers import Tier
from stdlib.call_specs import Permit
from stdlib.declaring import call
from stdlib.host import Host
from stdlib.net_probes import AuthorityText, HostText, Port, Timeout, place
from stdlib.network.connection import Connection
from stdlib.network.reach import Timings, endpoints, within
from stdlib.network.readings import redis
from stdlib.network.trust import secure

MAX_INFO_BYTES: Final = 256 << 10
MAX_LINE_BYTES: Final = 1024


@call(
    "net.redis_info",
    tier=Tier.INSPECT,
    decides=place(),
    lua='local used = net.redis_info("redis.example.org").used_memory',
    python='used = net.redis_info("redis.example.org")["used_memory"]',
)
async def redis_info(
    system: Host,
    permit: Permit,
    host: HostText,
    port: Port = 6379,
    tls: bool = False,
    timeout: Timeout = 10.0,  # noqa: ASYNC109 - the name that scripts use
    ca: AuthorityText = "",
) -> dict[str, Any]:
    """Return what a Redis server says about itself in ``INFO``; what its version does not say is nothing.

    ``version``, ``role``, ``uptime_in_seconds``, ``connected_clients``, ``blocked_clients``, ``connected_slaves``,
    ``used_memory`` (bytes), ``bgsave_in_progress``, ``changes_since_last_save``, ``bgrewriteaof_in_progress``,
    ``total_connections_received``, ``total_commands_processed``, ``expired_keys``, ``evicted_keys``,
    ``pubsub_patterns``. A server that wants a password is ``unavailable``.
    """
    asked = NetTarget.of(host, int(port))
    timings = Timings(system.monotonic)
    async with within(timeout, f"asking {asked}"):
        found = await endpoints(system, permit, asked, timings=timings)
        if tls:
            secured = await secure(found, asked.host, ca=ca, timings=timings, timeout_s=timeout, now=system.clock())
            connection = secured.connection
            if connection is None:
                raise UnavailableError(f"{asked}: {secured.cert['error']}")
        else:
            connection = await Connection.open(found, timings, timeout)
        async with connection:
            await connection.send(b"*1\r\n$4\r\nINFO\r\n")
            text = await _bulk(connection)
    return redis(text)


async def _bulk(connection: Connection) -> str:
    """Return the one bulk string of an answer (RESP).

    Raises:
        UnavailableError: The server refuses, or speaks something else.
    """
    data = bytearray()
    while b"\r\n" not in data:
        part = await connection.receive(MAX_LINE_BYTES) if len(data) < MAX_LINE_BYTES else b""
        if not part:
            raise UnavailableError(f"{connection.name}: no Redis")
        data += part
    line, _, rest = bytes(data).partition(b"\r\n")
    if line.startswith(b"-"):
        raise UnavailableError(f"{connection.name}: {line[1:200].decode('ascii', 'replace')}")
    if not line.startswith(b"$") or not line[1:].isdigit() or len(line) > 8 or int(line[1:]) > MAX_INFO_BYTES:
        raise UnavailableError(f"{connection.name}: no Redis")
    wanted, body = int(line[1:]), bytearray(rest)
    while len(body) < wanted:
        part = await connection.receive()
        if not part:
            raise UnavailableError(f"{connection.name}: the answer is cut off")
        body += part
    return bytes(body[:wanted]).decode("utf-8", "replace")
