"""A file of 1 GiB to a host and from it, whole and checked, beside scp over loopback in the same run, in turn."""

from __future__ import annotations

import os
import pwd
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import processes
from bench.measure import Better, Measure, Peer, quantile, spread
from bench.memory import pss_bytes
from bench.peers import own_sshd
from cli.demo.bringup import AGENT, Demo, Rhythm
from cli.demo.place import Place, free_port
from cli.demo.processes import Daemons

SIZE_BYTES = 1 << 30
ROUNDS = 3
TIMEOUT_S = 300.0  # of one copy
ROOT = Path(__file__).resolve().parents[1]
CEILING = "highest_tier: admin\naccept_server_word: [run, schedule, session]\n"
WHY = ("--tier", "admin", "--reason", "benchmark")


def measure() -> list[Measure]:
    """Copy both ways, ours and scp in turn, so that both meet the same machine."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="outrider-bench-", dir=memory if memory.is_dir() else None) as directory:
        here = Path(directory)
        _plant(here / "file")
        place = Place(here / ".demo", free_port())  # where outrider looks for one
        with Daemons() as daemons:
            demo = Demo(place, daemons, lambda _what, _text: None)
            demo.bring_up(Rhythm(every_s=86_400.0, splay_s=0.0))
            (place.agent / "ceiling.yaml").write_text(CEILING)
            pids = [daemon.process.pid for daemon in daemons.started if daemon.process]
            if not _has_scp():
                return _measures(here, pids, None)
            with tempfile.TemporaryDirectory(prefix="outrider-ssh-") as keys, own_sshd(Path(keys)) as port:
                return _measures(here, pids, _Scp(Path(keys), port))


class _Scp:
    """The peer."""

    def __init__(self, keys: Path, port: int) -> None:
        self._user = pwd.getpwuid(os.getuid()).pw_name
        self._options = [
            "scp", "-q", "-F", "none", "-P", str(port), "-i", str(keys / "user"), "-o", "StrictHostKeyChecking=no",
            "-o", f"UserKnownHostsFile={keys / 'known'}", "-o", "LogLevel=ERROR", "-o", "ConnectionAttempts=20",
        ]  # fmt: skip

    def put(self, source: Path, target: Path) -> None:
        """Copy to the host."""
        processes.run([*self._options, source, f"{self._user}@127.0.0.1:{target}"], timeout_s=TIMEOUT_S)

    def get(self, source: Path, target: Path) -> None:
        """Copy from the host."""
        processes.run([*self._options, f"{self._user}@127.0.0.1:{source}", target], timeout_s=TIMEOUT_S)


def _has_scp() -> bool:
    return bool(shutil.which("scp") and (shutil.which("sshd") or os.access("/usr/sbin/sshd", os.X_OK)))


def _plant(path: Path) -> None:
    block = os.urandom(1 << 20)
    with path.open("wb") as file:
        for _ in range(SIZE_BYTES >> 20):
            file.write(block)


def _measures(here: Path, pids: list[int], scp: _Scp | None) -> list[Measure]:
    source, target = here / "file", here / "copy"

    def outrider(*words: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        processes.run(
            [sys.executable, "-m", "cli", "file", *words, *WHY],
            timeout_s=TIMEOUT_S,
            cwd=here,
            environment=environment | {"HOME": str(here)},
        )

    ways: dict[str, tuple[Callable[[], None], Callable[[], None] | None]] = {
        "upload of 1 GiB": (
            lambda: outrider("put", str(source), f"{AGENT}:{target}"),
            None if scp is None else lambda: scp.put(source, target),
        ),
        "download of 1 GiB": (
            lambda: outrider("get", f"{AGENT}:{source}", str(target)),
            None if scp is None else lambda: scp.get(source, target),
        ),
    }
    return [_one(name, ours, theirs, target, pids) for name, (ours, theirs) in ways.items()]


def _one(
    name: str, ours: Callable[[], None], theirs: Callable[[], None] | None, target: Path, pids: list[int]
) -> Measure:
    before = sum(map(pss_bytes, pids))
    samples, peers = [], []
    for _ in range(ROUNDS):
        samples.append(_rate(ours, target))
        if theirs is not None:
            peers.append(_rate(theirs, target))
    grown_mb = (sum(map(pss_bytes, pids)) - before) / 1e6
    peer = Peer("scp", quantile(peers, 0.5)) if peers else Peer("scp", absent="scp or sshd is not installed")
    note = f"p50 of {ROUNDS}, hash compared from end to end; server and agent grew by {grown_mb:.1f} MB"
    return Measure(
        name,
        quantile(samples, 0.5),
        "MB/s",
        peer.value,
        Better.HIGHER,
        spread=spread(samples),
        peers=(peer,),
        note=note,
    )


def _rate(copy: Callable[[], None], target: Path) -> float:
    target.unlink(missing_ok=True)
    began = time.perf_counter()
    copy()
    elapsed_s = time.perf_counter() - began
    if target.stat().st_size != SIZE_BYTES:
        raise RuntimeError(f"{target} has {target.stat().st_size} bytes")
    return SIZE_BYTES / elapsed_s / 1e6
