"""One host for tests: a real state directory, a real spool, real keys, and a clock that only the test moves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from world import NOW, World

from agent.cache import Entry
from agent.clock import to_datetime, to_us
from agent.config import AgentConfig
from agent.recorder import Recorder
from agent.spool import Spool
from agent.statedir import StateDir
from agent.trusting import Trust
from protocol.bundle import Bundle
from protocol.ledger import Record, decode_record
from protocol.signing import PrivateKey, sign

AGENT = "agt_0123456789abcdef"
DEADLINE_S = 60.0
RETRY_S = 0.001


class MovedClock:
    """Time that stands still until the test moves it."""

    def __init__(self, now: datetime = NOW) -> None:
        self._time_us = to_us(now)
        self._mono_us = 1_000_000
        self._moved = asyncio.Event()
        self._asleep: list[asyncio.Event] = []  # what each of those waits for who wait for time to pass

    def time_us(self) -> int:
        return self._time_us

    def mono_us(self) -> int:
        return self._mono_us

    def set(self, now: datetime) -> None:
        """Step the wall clock; monotonic time does not notice, and nobody wakes."""
        self._time_us = to_us(now)

    async def advance(self, seconds: float) -> None:
        """Let time pass for whoever waits, and return when it waits again."""
        self.move(seconds)
        await self.settled()

    def move(self, seconds: float) -> None:
        """Let time pass for whoever waits."""
        self._time_us += round(seconds * 1_000_000)
        self._mono_us += round(seconds * 1_000_000)
        self._asleep.clear()
        self._moved.set()
        self._moved = asyncio.Event()

    async def settled(self) -> None:
        """Return when somebody waits for time to pass, and nobody who waits is about to wake."""
        await until(lambda: self._asleep and not any(event.is_set() for event in self._asleep))

    async def wait(self, event: asyncio.Event, timeout_s: float) -> bool:
        due_us = self._mono_us + round(timeout_s * 1_000_000)
        await asyncio.sleep(0)
        while not event.is_set() and self._mono_us < due_us:
            self._asleep.append(event)
            waits = [asyncio.ensure_future(item.wait()) for item in (event, self._moved)]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                if event in self._asleep:
                    self._asleep.remove(event)
                for item in waits:
                    item.cancel()
        return event.is_set()


class Premises:
    """What lies on one host's disk, and the parts that hold it. ``restart`` is a new process on the same disk."""

    def __init__(self, directory: Path, world: World, *, max_bytes: int = 1 << 30) -> None:
        self.world = world
        self.state = StateDir(directory)
        self.state.create()
        self.clock = MovedClock()
        self.key = PrivateKey.generate()
        self.config = AgentConfig(
            "http://127.0.0.1:1", PrivateKey.generate().public, AGENT, None, (world.key("root").public,), 1
        )
        self._max_bytes = max_bytes
        self.broken: list[Exception] = []
        self.open()

    def open(self) -> None:
        self.spool = Spool.open(
            self.state.spool, max_bytes=self._max_bytes, on_broken=self.broken.append, retry_s=RETRY_S
        )
        self.recorder = Recorder(self.spool, self.clock, agent_id=AGENT, key=self.key)
        self.trust = Trust(self.state, self.config, self.now())

    def close(self) -> None:
        self.spool.close()

    def restart(self) -> None:
        self.close()
        self.open()

    def now(self) -> datetime:
        return to_datetime(self.clock.time_us())

    async def records(self, kind: str | None = None) -> list[Record]:
        """Return what is on disk once everything appended so far is."""
        await self.recorder.commit([])
        found = [decode_record(blob) for blob in self.spool.read(0, 100_000, 1 << 40)]
        return [record for record in found if kind in (None, record.kind)]

    def allow(self, text: str = "highest_tier: observe\naccept_server_word: [run, schedule]\n") -> None:
        """Write the ceiling as the host's owner would."""
        self.state.ceiling.write_text(text)
        self.state.ceiling.chmod(0o644)

    def take_roster(self, version: int = 1, **changes: Any) -> None:
        body = self.world.roster_body(version, **changes)
        self.trust.set_roster(sign("roster", body, self.world.key("root")), self.now())


async def until(holds: Callable[[], object]) -> None:
    """Let everybody else go on until it holds."""
    end = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < end, "it never came to hold"
        await asyncio.sleep(0)


def script(source: str = "return 1\n", *, name: str = "checks/disk", tier: str = "observe", more: str = "") -> Bundle:
    manifest = (
        f"name: {name}\nversion: 1.2.0\nlanguage: lua\nmain: main.lua\ntier: {tier}\n"
        f"description: A script of the tests.\n{more}"
    )
    return Bundle.from_files({"manifest.yaml": manifest.encode(), "main.lua": source.encode()})


def approved(world: World, bundle: Bundle, **changes: Any) -> Entry:
    """Return the bundle with a publication by its author and an approval by a reviewer."""
    about = {"digest": bundle.digest, "name": bundle.manifest.name, "tier": bundle.manifest.tier.label}
    return Entry(bundle, world.publication(**about), (world.approval(**(about | changes)),))
