"""Terminals beside ssh, on the same host in the same run: echo of a key, output, Ctrl-C in a flood, and many at once.

A terminal's own peer is a terminal, ``ssh -tt``: what passes a pseudo-terminal of the kernel comes in pieces of 4 KiB.
``ssh host cat`` has none on its way, and its peer is ``outrider exec -- cat``.

Both clients run as programs in a terminal of their own, and both are asked in turns, so that what else the machine does
meets both. Everything of ours is recorded. ``OUTRIDER_BENCH_MB`` makes the file smaller than 200 MB.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import pwd
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect

from bench.measure import Better, Measure, Peer, quantile, spread
from bench.memory import pss_bytes
from bench.peers import own_sshd
from cli.demo.bringup import AGENT, Demo, Rhythm
from cli.demo.place import Place, free_port
from cli.demo.processes import Daemons

KEYS = 400
READY = b"all-is-ready"
WARM_KEYS = 50
INTERRUPTS = 8
INTERRUPT_TARGET_MS = 100.0
FLOOD_S = 1.0
FLOOD_LINE = "the-quick-brown-fox-jumps-over-the-lazy-dog-0123456789"
STOPPED = b"all-has-stopped"
MANY = 200
PER_HOST = 50  # an agent has at most 64 sessions
PATIENCE_S = 120.0
CEILING = "highest_tier: admin\naccept_server_word: [run, schedule, session]\n"
GRANT = {"allow": [{"call": "tty.login"}]}
SIZE_BYTES = int(os.environ.get("OUTRIDER_BENCH_MB", "200")) << 20


def measure() -> list[Measure]:
    """Bring a demo and an sshd up, and measure both."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="outrider-bench-")))
        place = Place(directory / "demo", free_port())
        demo = Demo(place, stack.enter_context(Daemons()), lambda _what, _text: None)
        demo.bring_up(Rhythm(every_s=86_400.0, splay_s=0.0))
        (place.agent / "ceiling.yaml").write_text(CEILING)
        ours = _ours(place, directory)
        ssh: Client | None
        absent: str | None
        try:
            ssh, absent = _ssh(directory, stack.enter_context(own_sshd(directory))), None
        except (OSError, subprocess.SubprocessError) as error:
            ssh, absent = None, f"ssh does not run here: {error}"
        made = [*_echo(ours, ssh, absent), _interrupt(ours, ssh, absent), *_output(ours, ssh, absent, directory)]
        return [*made, asyncio.run(_many(demo, place, directory, stack))]


Client = tuple[list[str], dict[str, str]]  # the words before what is to run, and the environment


def _ours(place: Place, directory: Path) -> Client:
    token = next(place.server.rglob("*admin*token*")).read_text().strip()
    environment = {**os.environ, "OUTRIDER_SERVER": place.url, "OUTRIDER_TOKEN": token, "HOME": str(directory)}
    return [sys.executable, "-m", "cli", "tty", AGENT, "--reason", "bench", "--"], environment


def _exec(ours: Client) -> Client:
    words, environment = ours
    return [*words[:3], "exec", AGENT, "--tier", "admin", "--reason", "bench", "--"], environment


def _ssh(directory: Path, port: int) -> Client:
    host = f"{pwd.getpwuid(os.getuid()).pw_name}@127.0.0.1"
    options = ["-F", "none", "-p", str(port), "-i", str(directory / "user"), "-o", "StrictHostKeyChecking=no",
               "-o", f"UserKnownHostsFile={directory / 'known'}", "-o", "LogLevel=ERROR",
               "-o", "ConnectionAttempts=20"]  # fmt: skip
    return [shutil.which("ssh") or "ssh", *options, host], dict(os.environ)


# a key ---------------------------------------------------------------------------------------------------------------


@contextmanager
def _typing(client: Client, *command: str) -> Iterator[int]:
    """A client in a terminal of its own, with cat at the other end, which the kernel there echoes for."""
    words, environment = client
    master, slave = os.openpty()
    process = subprocess.Popen(
        [*words, *command], stdin=slave, stdout=slave, stderr=subprocess.DEVNULL, env=environment,
        start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    try:
        seen = b""
        while READY not in seen:  # by then the client has made its own terminal raw, so that only the other end echoes
            part = _read(master, PATIENCE_S)
            if not part:
                raise RuntimeError(f"a client did not answer: {seen!r}")
            seen += part
        yield master
    finally:
        process.kill()
        process.wait()
        os.close(master)


def _read(master: int, timeout_s: float) -> bytes:
    ready, _, _ = select.select([master], [], [], timeout_s)
    return os.read(master, 65536) if ready else b""


def _key_ms(master: int) -> float | None:
    """Type a key and return how long its echo took, in ms; None if it did not come."""
    while _read(master, 0.02):
        pass
    began = time.perf_counter()
    os.write(master, b"k")
    ready, _, _ = select.select([master], [], [], 5.0)
    elapsed_ms = (time.perf_counter() - began) * 1000
    return elapsed_ms if ready and b"k" in os.read(master, 65536) else None


@contextmanager
def _in_turns(ours: Client, ssh: Client | None, script: str) -> Iterator[dict[str, int]]:
    """Have a script run in a terminal of ours and, if it is there, in one of ssh; give the masters by name."""
    clients = {"ours": (ours, ["/bin/sh", "-c", script])}
    if ssh is not None:
        clients["ssh"] = (_with(ssh, ("-tt",)), [f"/bin/sh -c '{script}'"])
    with ExitStack() as stack:
        yield {name: stack.enter_context(_typing(client, *command)) for name, (client, command) in clients.items()}


def _echo(ours: Client, ssh: Client | None, absent: str | None) -> list[Measure]:
    script = f"echo {READY.decode()}; exec cat"
    with _in_turns(ours, ssh, script) as masters:
        samples: dict[str, list[float]] = {name: [] for name in masters}
        for number in range(WARM_KEYS + KEYS):
            for name, master in masters.items():
                took_ms = _key_ms(master)
                if took_ms is not None and number >= WARM_KEYS:
                    samples[name].append(took_ms)
                if number % 60 == 59:
                    os.write(master, b"\x15")  # a line of the kernel's has an end
    found, theirs = spread(samples["ours"]), samples.get("ssh") or []
    made = []
    for name, fraction, within_ms in (("p50", 0.5, 1.0), ("p99", 0.99, 2.0)):
        value = quantile(theirs, fraction) if theirs else None
        made.append(
            Measure(
                f"echo of a key, {name}",
                found[name],
                "ms",
                None if value is None else value + within_ms,
                spread=found,
                peers=(Peer("ssh -tt", value, absent),),
                note=f"recorded; {KEYS} keys each, in turns",
            )
        )
    return made


# Ctrl-C in a flood ---------------------------------------------------------------------------------------------------


def _interrupt(ours: Client, ssh: Client | None, absent: str | None) -> Measure:
    """Have a program print without end, press Ctrl-C, and see how long it takes until the shell behind it speaks."""
    script = f"trap : INT; echo {READY.decode()}; while read x; do yes {FLOOD_LINE}; echo {STOPPED.decode()}; done"
    with _in_turns(ours, ssh, script) as masters:
        samples: dict[str, list[float]] = {name: [] for name in masters}
        for _ in range(INTERRUPTS):
            for name, master in masters.items():
                samples[name].append(_interrupt_ms(master))
    found, theirs = spread(samples["ours"]), samples.get("ssh") or []
    value = max(theirs) if theirs else None
    note = f"the longest of {INTERRUPTS}, each {FLOOD_S:g} s into a flood; p50 {found['p50']:.0f} ms"
    return Measure(
        "Ctrl-C in a flood, until it is seen to have stopped", max(samples["ours"]), "ms", INTERRUPT_TARGET_MS,
        spread=found, peers=(Peer("ssh -tt", value, absent),), note=note,
    )  # fmt: skip


def _interrupt_ms(master: int) -> float:
    os.write(master, b"\r")
    begun_s = time.perf_counter()
    pressed_s, seen = 0.0, b""
    while True:
        part = _read(master, PATIENCE_S)
        if not part:
            raise RuntimeError("a flood did not stop")
        now_s = time.perf_counter()
        seen = seen[-len(STOPPED) :] + part
        if pressed_s and STOPPED in seen:
            return (now_s - pressed_s) * 1000
        if not pressed_s and now_s - begun_s >= FLOOD_S:
            os.write(master, b"\x03")
            pressed_s = now_s


def _with(client: Client, more: tuple[str, ...]) -> Client:
    words, environment = client
    return [words[0], *more, *words[1:]], environment


# output --------------------------------------------------------------------------------------------------------------


def _output(ours: Client, ssh: Client | None, absent: str | None, directory: Path) -> list[Measure]:
    path = directory / "big"
    line = b"".join(
        b"%08d the quick brown fox jumps over the lazy dog 0123456789\n" % number for number in range(20_000)
    )
    with path.open("wb") as file:
        while file.tell() < SIZE_BYTES:
            file.write(line)
    size = path.stat().st_size
    own = _flood(ours, size, "cat", str(path))
    peers = []
    for name, more in (("ssh -tt host cat (a terminal)", ("-tt",)), ("ssh host cat (a pipe)", ())):
        value = _flood(_with(ssh, more), size, "cat", str(path)) if ssh is not None else None
        peers.append(Peer(name, value, absent))
    peers.append(Peer("cat in a terminal of the kernel, read and dropped", _bare_terminal(path)))
    note = f"{size >> 20} MiB, recorded"
    piped = _flood(_exec(ours), size, "cat", str(path))
    return [
        Measure(
            "output of a file by exec, a pipe from end to end",
            piped,
            "MB/s",
            peers[1].value,
            Better.HIGHER,
            peers=(peers[1],),
            note=f"{size >> 20} MiB, its hash on record",
        ),
        Measure(
            "output of a file, agent to viewer",
            own,
            "MB/s",
            peers[0].value,
            Better.HIGHER,
            peers=tuple(peers),
            note=note,
        ),
    ]


def _bare_terminal(path: Path) -> float:
    """Return MB/s of a file through a terminal whose reader does nothing else: what any of them can have at most."""
    master, slave = os.openpty()
    began = time.perf_counter()
    process = subprocess.Popen(["cat", str(path)], stdin=subprocess.DEVNULL, stdout=slave)
    os.close(slave)
    got = 0
    try:
        while data := os.read(master, 65536):
            got += len(data)
    except OSError as error:
        if error.errno != errno.EIO:  # Linux says so of a terminal whose other side is closed
            raise
    finally:
        os.close(master)
        process.wait()
    return got / 1e6 / (time.perf_counter() - began)


def _flood(client: Client, size: int, *command: str) -> float:
    words, environment = client
    began = time.perf_counter()
    process = subprocess.Popen(
        [*words, *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    )
    if process.stdout is None:
        raise RuntimeError("a pipe was asked for")
    got = 0
    while data := os.read(process.stdout.fileno(), 1 << 20):
        got += len(data)
    process.wait()
    if got < size:
        raise RuntimeError(f"{words[0]} gave {got} of {size} bytes")
    return got / 1e6 / (time.perf_counter() - began)


# many ----------------------------------------------------------------------------------------------------------------


async def _many(demo: Demo, place: Place, directory: Path, stack: ExitStack) -> Measure:
    """Open many terminals on one server, have each print for a while, and see what the server's memory does."""
    hosts = [AGENT, *(_another(demo, place, directory, number, stack) for number in range(1, MANY // PER_HOST))]
    server = next(daemon.process for daemon in demo.daemons.started if daemon.name == "server" and daemon.process)
    token = next(place.server.rglob("*admin*token*")).read_text().strip()
    before = pss_bytes(server.pid)
    sockets = [await _opened(demo, place, token, hosts[number // PER_HOST]) for number in range(MANY)]
    opened = pss_bytes(server.pid)
    rounds = []
    for _ in range(4):
        await asyncio.gather(*(_print(socket) for socket in sockets))
        rounds.append(pss_bytes(server.pid))
    for socket in sockets:
        await socket.close()
    growth = (rounds[-1] - rounds[0]) / 1e6
    note = (
        f"{MANY} terminals on {len(hosts)} hosts, 1 MB printed in each and watched; before {before / 1e6:.0f} MB, "
        f"open {opened / 1e6:.0f} MB, after each round {', '.join(f'{each / 1e6:.0f}' for each in rounds)} MB"
    )
    return Measure("server's memory, from the first of four rounds to the last", growth, "MB", 20.0, note=note)


def _another(demo: Demo, place: Place, directory: Path, number: int, stack: ExitStack) -> str:
    name, where = f"more-{number}", directory / f"more-{number}"
    where.mkdir(mode=0o700)
    token = str(demo.api.post("invites", {"ttl_s": 600})["token"])
    subprocess.run(
        [sys.executable, "-m", "agent", "enroll", "--server", place.url, "--token", token, "--name", name,
         "--dir", str(where)], check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    (where / "ceiling.yaml").write_text(CEILING)
    process = subprocess.Popen(
        [sys.executable, "-m", "agent", "run", "--dir", str(where)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    stack.callback(process.wait)
    stack.callback(process.terminate)
    ends = time.monotonic() + PATIENCE_S
    while not demo.api.get(f"agents/{name}")["connected"]:
        if time.monotonic() > ends:
            raise RuntimeError(f"{name} did not connect")
        time.sleep(0.1)
    return name


async def _opened(demo: Demo, place: Place, token: str, host: str) -> ClientConnection:
    """Open a session and attach to a shell in it."""
    body = {"agent": host, "kind": "terminal", "tier": "admin", "reason": "bench", "grant": GRANT}
    session = (await asyncio.to_thread(demo.api.post, "sessions", body))["id"]
    url = f"ws{place.url.removeprefix('http')}/api/v1/sessions/{session}/attach"
    socket = await connect(
        url, additional_headers={"Authorization": f"Bearer {token}"}, compression=None, proxy=None, ping_timeout=None
    )
    first = {"type": "attach", "role": "owner", "size": [80, 24], "open": {"argv": ["/bin/sh"]}}
    await socket.send(json.dumps(first))
    return socket


async def _print(socket: ClientConnection) -> None:
    await socket.send(b"seq 1 150000; echo all-$((1+1))\r")
    rest = b""
    async with asyncio.timeout(PATIENCE_S * 5):
        async for message in socket:
            if isinstance(message, bytes):
                end = int.from_bytes(message[:8], "big") + len(message) - 8
                await socket.send(json.dumps({"type": "seen", "offset": end}))
                rest = rest[-10:] + message[8:]
                if re.search(rb"all-2", rest):
                    return
