"""``net.forward``: a connection to a decided place, bounded in bytes and time, whose two ends are somebody else's.

The target is decided as for ``net.connect``: by its name, and again by every address that the name has. What it leads
to never changes afterwards. Bytes are counted in both directions; at the bound the connection is closed.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final

from policies.targets import NetTarget
from protocol.errors import DeadlineError
from protocol.tiers import Tier
from stdlib.call_specs import Permit
from stdlib.declaring import call
from stdlib.host import Host
from stdlib.net_probes import HostText, Port, Timeout, place
from stdlib.net_streams import NetConnection, ReadBytes, bytes_of
from stdlib.network.connection import Connection
from stdlib.network.meter import Meter
from stdlib.network.reach import Family, Timings, endpoints, within
from stdlib.parameters import Bounds, Data, Length

MAX_BYTES: Final = 1 << 50


class Tunnel(NetConnection):
    """One forwarded connection. Whoever moves its bytes counts them."""

    kind: ClassVar[str] = "tunnel"


@call(
    "net.forward",
    tier=Tier.ADMIN,
    changes=True,
    decides=place(),
    lua='local peer = net.forward("127.0.0.1", 6379, {max_bytes = 1048576}).ip',
    python='peer = net.forward("127.0.0.1", 6379, max_bytes=1048576).ip',
)
async def forward(
    system: Host,
    permit: Permit,
    host: HostText,
    port: Port,
    ttl: Annotated[float, Bounds(1, 86_400, "seconds")] | None = None,
    max_bytes: Annotated[int, Bounds(1, MAX_BYTES, "bytes")] | None = None,
    timeout: Timeout = 10.0,  # noqa: ASYNC109 - the name that scripts use
    family: Family = "any",
    peer: Annotated[str, Length(100)] = "",
) -> Tunnel:
    """Return a connection to ``port`` of ``host`` that is bounded: ``ip``, ``port``.

    After ``ttl`` seconds, or when ``max_bytes`` have gone in both directions together, it is closed. ``peer`` says for
    whom it is, for the record. Cloud metadata is reached only where a rule names it, and so is loopback. How much went
    is on record at its end.
    """
    timings, asked = Timings(system.monotonic), NetTarget.of(host, int(port))
    async with within(timeout, f"connecting to {asked}"):
        found = await endpoints(system, permit, asked, family=family, timings=timings)
        connection = await Connection.open(found, timings, timeout)
    ends_s = None if ttl is None else system.monotonic() + ttl
    return Tunnel(connection, {"ip": connection.ip, "port": int(port)}, Meter(max_bytes), ends_s)


def _time_left(system: Host, tunnel: Tunnel, timeout_s: float) -> float:
    if tunnel.ends_s is None:
        return timeout_s
    left_s = tunnel.ends_s - system.monotonic()
    if left_s <= 0:
        tunnel.close()
        raise DeadlineError("the time of this forward is over")
    return min(timeout_s, left_s)


@call(
    "tunnel.read",
    tier=Tier.ADMIN,
    under="net.forward",
    lua='local first = net.forward("127.0.0.1", 6379):read()',
    python='first = net.forward("127.0.0.1", 6379).read()',
)
async def read(
    system: Host,
    tunnel: Tunnel,
    length: ReadBytes = 64 << 10,
    timeout: Annotated[float, Bounds(0.01, 600, "seconds")] = 30.0,  # noqa: ASYNC109 - the name that scripts use
) -> bytes | None:
    """Return what comes next, at most ``length`` bytes; nothing once the peer has ended."""
    async with within(_time_left(system, tunnel, timeout), "reading"):
        data = await tunnel.connection.receive(int(length))
    tunnel.counted(received=len(data))
    return data or None


@call(
    "tunnel.write",
    tier=Tier.ADMIN,
    under="net.forward",
    lua='net.forward("127.0.0.1", 6379):write("hello")',
    python='net.forward("127.0.0.1", 6379).write("hello")',
)
async def write(
    system: Host,
    tunnel: Tunnel,
    data: Data,
    timeout: Annotated[float, Bounds(0.01, 600, "seconds")] = 30.0,  # noqa: ASYNC109 - the name that scripts use
) -> int:
    """Send all of ``data`` and return its length; after a ``deadline`` nobody knows how much went, so it is closed."""
    body = bytes_of(data)
    left_s = _time_left(system, tunnel, timeout)
    tunnel.counted(sent=len(body))
    try:
        async with within(left_s, "writing"):
            await tunnel.connection.send(body)
    except BaseException:
        tunnel.close()
        raise
    return len(body)


@call(
    "tunnel.finish",
    tier=Tier.ADMIN,
    under="net.forward",
    lua='net.forward("127.0.0.1", 6379):finish()',
    python='net.forward("127.0.0.1", 6379).finish()',
)
async def finish(tunnel: Tunnel) -> None:
    """Tell the peer that nothing more will come; reading goes on."""
    tunnel.connection.end_sending()


@call(
    "tunnel.counts",
    tier=Tier.ADMIN,
    under="net.forward",
    lua='local sent = net.forward("127.0.0.1", 6379):counts().sent',
    python='sent = net.forward("127.0.0.1", 6379).counts()["sent"]',
)
async def counts(tunnel: Tunnel) -> dict[str, Any]:
    """Return how many bytes were ``sent`` to the peer and ``received`` from it so far."""
    return {"sent": tunnel.meter.sent, "received": tunnel.meter.received}
