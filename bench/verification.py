"""Whether a script may run, as an agent asks before every run: the first time, and when nothing has changed since."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from agent.cache import Cache, Entry
from agent.config import AgentConfig
from agent.statedir import StateDir
from agent.trusting import Trust
from bench.measure import Better, Measure, Peer, quantile
from protocol import signing
from protocol.bundle import Bundle
from protocol.proofs import Proofs
from protocol.signing import PrivateKey, sign
from protocol.timestamps import stamp

RUNS = 200
SOURCE_BYTES = 20_000  # of a script
MEMBERS = 50  # of the roster
COLD_MS, CACHED_MS = 2.0, 0.2  # at most


def measure() -> list[Measure]:
    """Take both: a bundle of two files, one approval, a roster of fifty keys."""
    with tempfile.TemporaryDirectory() as directory:
        state = StateDir(Path(directory) / "agent")
        state.create()
        return _measured(state)


def _measured(state: StateDir) -> list[Measure]:
    now = datetime.now(UTC)
    people = {name: PrivateKey.generate() for name in ("root", "author", "reviewer")}
    config = AgentConfig("http://127.0.0.1:1", people["root"].public, "agt_1", None, (people["root"].public,), 1)
    trust = Trust(state, config, now)
    trust.set_roster(sign("roster", _roster(people, now), people["root"]), now)
    entry = _entry(people, now)
    digest = entry.bundle.digest
    Cache(state.cache).put(digest, entry)

    def cold() -> None:
        """A process that has seen nothing yet: read from the disk, every signature checked."""
        signing._verify_once.cache_clear()
        trust._proofs = Proofs()
        found = Cache(state.cache).get(digest)
        if found is None:
            raise RuntimeError("the bundle is not in the cache")
        trust.authorise(digest, found, now)

    cache = Cache(state.cache)

    def cached() -> None:
        found = cache.get(digest)
        if found is None:
            raise RuntimeError("the bundle is not in the cache")
        trust.authorise(digest, found, now)

    signed, raw = b"x" * 400, people["author"].public.raw
    signature = people["author"].sign(signed)

    def bare() -> None:
        """The two signatures that it cannot do without."""
        for _ in range(2):
            signing._verify(raw, signature, signed)

    peer = Peer("two bare Ed25519 verifications", quantile(_timed(bare), 0.5))
    return [
        _one("verification of a script of 20 kB, cold", cold, COLD_MS, peer),
        _one("the same when nothing has changed", cached, CACHED_MS, peer),
    ]


def _one(name: str, action: Callable[[], None], target_ms: float, peer: Peer) -> Measure:
    taken = _timed(action)
    note = f"processor time, p50 of {RUNS}; p99 {quantile(taken, 0.99):.2f} ms"
    return Measure(name, quantile(taken, 0.5), "ms", target_ms, Better.LOWER, peers=(peer,), note=note)


def _timed(action: Callable[[], None]) -> list[float]:
    """Return how many milliseconds of processor time each of ``RUNS`` took."""
    action()
    taken = []
    for _ in range(RUNS):
        began = time.process_time()  # which others on this machine do not lengthen
        action()
        taken.append((time.process_time() - began) * 1000)
    return taken


def _roster(people: dict[str, PrivateKey], now: datetime) -> dict[str, Any]:
    roles = {"author": {"role": "author", "namespace": "checks"}, "reviewer": {"role": "reviewer", "tier": "inspect"}}
    keys = [{"name": name, "key": people[name].public.to_text(), "roles": [role]} for name, role in roles.items()]
    keys += [
        {"name": f"p{at}", "key": PrivateKey.generate().public.to_text(), "roles": [roles["author"]]}
        for at in range(MEMBERS - len(keys))
    ]
    return {
        "type": "roster", "version": 1, "issued": stamp(now), "expires": stamp(now + timedelta(days=90)),
        "roots": {"threshold": 1, "keys": [people["root"].public.to_text()]}, "keys": keys,
    }  # fmt: skip


def _entry(people: dict[str, PrivateKey], now: datetime) -> Entry:
    manifest = (
        "name: checks/disk\nversion: 1.2.0\nlanguage: lua\nmain: main.lua\ntier: observe\ndescription: A script.\n"
        "needs: [{call: sys.uptime}]\nmetrics: [{name: reads, type: int64, unit: reads}]\n"
    )
    source = b"-- " + b"x" * SOURCE_BYTES + b"\nreturn 1\n"
    bundle = Bundle.from_files({"manifest.yaml": manifest.encode(), "main.lua": source})
    about = {"name": "checks/disk", "version": "1.2.0", "digest": bundle.digest, "tier": "observe"}
    issued = {"issued": stamp(now)}
    publication = sign("publication", {"type": "publication", **about, **issued}, people["author"])
    more = {"grant": {}, "expires": stamp(now + timedelta(days=30)), "reason": "for the bench"}
    approval = sign("approval", {"type": "approval", **about, **issued, **more}, people["reviewer"])
    return Entry(bundle, publication, (approval,))
