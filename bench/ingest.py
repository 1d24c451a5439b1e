"""Records a second that a server takes in from a host over the link, each on the server's disk before the host may
forget it.

The server is a process of its own with its own disk. The host's side is the agent's: its spool, its link, a real
WebSocket. The host comes back with a backlog, so that nothing but the way of the records takes time.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import tempfile
import time
from functools import partial
from pathlib import Path

from agent import limits, websocket
from agent.backoff import Backoff
from agent.clock import SystemClock
from agent.config import AgentConfig, load_config
from agent.identity import load_identity
from agent.recorder import Recorder
from agent.spool import Spool
from agent.statedir import StateDir
from agent.uplink import LinkState, Uplink
from bench.measure import Better, Measure, Peer
from bench.records import GROUP, fields, rows_per_s
from cli.api import Api
from cli.demo.place import HOST, Place, free_port
from cli.demo.processes import Daemon, Daemons
from cli.settings import Context, read_private, write_private
from protocol.errors import UnavailableError
from protocol.handshake import NONCE_BYTES, AgentHandshake

RECORDS = 20_000
TARGET_PER_S = 5_000.0  # chosen: a thousand hosts of five records a second each
DEADLINE_S = 120.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def measure() -> list[Measure]:
    """Bring a server up, enrol a host, and let it send what it has."""
    with tempfile.TemporaryDirectory(prefix="outrider-bench-") as directory, Daemons() as daemons:
        place = Place(Path(directory), free_port())
        place.make()
        server = _server(place, daemons)
        _enrol(place, daemons)
        state = StateDir(place.agent)
        elapsed_s, cpu_s, size = asyncio.run(_sent(state, load_config(state), server))
        peer = Peer("bare SQLite rows, same size and groups", rows_per_s(place.directory, size, limits.BATCH_RECORDS))
    cpu_us = cpu_s / RECORDS * 1e6
    note = f"a backlog of {RECORDS} of {size} bytes; {cpu_us:.0f} us of the server's processor time each"
    value, spread = RECORDS / elapsed_s, {"samples": float(RECORDS), "server_cpu_us": cpu_us}
    return [
        Measure(
            "records taken in over the link", value, "records/s", TARGET_PER_S, Better.HIGHER, spread, (peer,), note
        )
    ]


def _server(place: Place, daemons: Daemons) -> Daemon:
    arguments = ["server", "init", "--dir", str(place.server), "--listen", f"{HOST}:{place.port}"]
    daemons.tool("outrider-server init", arguments, place.log("server"))
    return daemons.start(Daemon("server", ["server", "run", "--dir", str(place.server)], place.log("server")))


def _enrol(place: Place, daemons: Daemons) -> None:
    (token,) = place.server.rglob("*admin*token*")
    api = Api(Context(place.url, read_private(token, 4096).strip(), None))

    def is_ready() -> bool:
        try:
            api.get("/readyz")
        except UnavailableError:
            return False
        return True

    daemons.wait_for("the server to be ready", is_ready)
    invite = place.directory / "join-token"
    write_private(invite, str(api.post("invites", {"ttl_s": 600, "name": "bench"})["token"]) + "\n")
    arguments = ["agent", "enroll", "--server", place.url, "--token-file", str(invite), "--dir", str(place.agent)]
    daemons.tool("outrider-agent enroll", arguments, place.log("agent"))


async def _sent(state: StateDir, config: AgentConfig, server: Daemon) -> tuple[float, float, int]:
    """Return the seconds from connecting to the last acknowledgement, those of the server's processor, and a size."""

    def broken(error: Exception) -> None:
        raise error

    key, clock = load_identity(state.identity), SystemClock()
    spool = Spool.open(state.spool, on_broken=broken)
    try:
        recorder = Recorder(spool, clock, agent_id=config.agent_id, key=key)
        for number in range(0, RECORDS, GROUP):
            await recorder.commit([fields(number + index) for index in range(min(GROUP, RECORDS - number))])
        connected = asyncio.Event()

        def changed(link: LinkState) -> None:
            if link.is_connected:
                connected.set()

        async def handle(_method: str, _body: object) -> asyncio.Future[dict[str, object]]:
            done: asyncio.Future[dict[str, object]] = asyncio.get_running_loop().create_future()
            done.set_result({})
            return done

        uplink = Uplink(
            partial(websocket.connect, config.server),
            lambda: AgentHandshake(key, config.agent_id, config.server_key, secrets.token_bytes(NONCE_BYTES)),
            spool=spool, handle=handle, clock=clock, backoff=Backoff(lambda: 0.5), on_change=changed,
            on_connected=lambda _connection: None,
        )  # fmt: skip
        cpu_s, began = _cpu_s(server), time.perf_counter()
        running = asyncio.create_task(uplink.run())
        await asyncio.wait_for(connected.wait(), DEADLINE_S)
        if uplink.connection is None or not await uplink.connection.drain(DEADLINE_S):
            raise UnavailableError(f"the server did not take {RECORDS} records in {DEADLINE_S:g} s")
        elapsed_s, cpu_s = time.perf_counter() - began, _cpu_s(server) - cpu_s
        uplink.stop()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return elapsed_s, cpu_s, len(spool.read(0, 1, 1 << 20)[0])
    finally:
        spool.close()


def _cpu_s(daemon: Daemon) -> float:
    """Return the processor time of a process and all its threads, in seconds."""
    if daemon.process is None:
        raise UnavailableError(f"the {daemon.name} does not run")
    numbers = Path(f"/proc/{daemon.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(numbers[11]) + int(numbers[12])) / _TICKS_PER_S  # utime and stime (proc_pid_stat(5))
