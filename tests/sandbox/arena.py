"""Doubles for the tests of the gate and the launcher: a table of calls, a recorder that keeps, and how to run."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from policies.model import Effect, Facts, Limits, Verdict
from protocol.errors import ArgumentError
from protocol.tiers import Tier
from sandbox.budget import Budget
from sandbox.gate import Gate
from sandbox.jail.walls import PRIVILEGES, USER_NS, WALLS
from sandbox.launch import Options, Outcome, Program, Sandbox
from sandbox.parties import Session

HERE = str(Path(__file__).parent)
LIMITS = Limits(wall_s=10.0, cpu_s=5.0)
IS_ROOT = os.geteuid() == 0
ALLOW = Verdict(Effect.ALLOW, "test.yaml:1 allow *")
DENY = Verdict(Effect.DENY, "test.yaml:2 deny *", "test denies it")


@dataclass
class Entry:
    """One call of the table: what it does, and when it was prepared and released."""

    perform: Callable[..., Any] = lambda *_: None
    changes: bool = False
    is_blocking: bool = False
    prepare_at_once: Any = None
    facts: Facts = field(default_factory=Facts)
    tier: Tier = Tier.OBSERVE
    gives: str = "value"
    looks_up: bool | tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    events: list[str] = field(default_factory=list)

    def bind(self, args: list[Any], named: dict[str, Any]) -> dict[str, Any]:
        if named.get("bad"):
            raise ArgumentError("bad: not allowed", parameter="bad")
        return {"args": args, **named}

    @contextmanager
    def prepare(self, host: Any, run: Any, bound: dict[str, Any], passage: Any) -> Iterator[Any]:
        self.events.append("open")
        try:
            yield Ready(self, bound)
        finally:
            self.events.append("close")


@dataclass
class Ready:
    entry: Entry
    bound: dict[str, Any]

    @property
    def facts(self) -> tuple[Facts, ...]:
        return (self.entry.facts,)

    def perform(self) -> Any:
        self.entry.events.append("perform")
        return self.entry.perform(*self.bound["args"])


class Table(dict[str, Entry]):
    """The call table: a dict."""

    def find(self, name: str) -> Entry | None:
        return self.get(name)


class Records:
    """A recorder that keeps everything, or refuses."""

    def __init__(self, refuse: Exception | None = None) -> None:
        self.kept: list[dict[str, Any]] = []
        self.refuse = refuse

    def check_room(self) -> None:
        if self.refuse is not None:
            raise self.refuse

    def record(self, **fields: Any) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.kept.append(fields)

    async def intend(self, **fields: Any) -> None:
        self.record(**fields)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [fields for fields in self.kept if fields["kind"] == kind]


def table() -> Table:
    """A few calls that every test may use."""

    async def add(*args: Any) -> Any:
        return sum(args)

    return Table({"t.add": Entry(add), "t.slow": Entry(lambda *_: "done", is_blocking=True)})


def gate(
    calls: Table | None = None,
    records: Records | None = None,
    limits: Limits = LIMITS,
    decide: Callable[[str, Facts], Verdict] = lambda _name, _facts: ALLOW,
    never: Callable[[str], Verdict | None] = lambda _name: None,
    on_close: Callable[[], Awaitable[None] | None] | None = None,
    clock_ns: Callable[[], int] = time.monotonic_ns,
) -> Gate:
    return Gate(
        table() if calls is None else calls,
        decide,
        Records() if records is None else records,
        Session("s1", "r1", "tester"),
        Budget(limits),
        never=never,
        on_close=on_close,
        clock_ns=clock_ns,
    )


BINDINGS = [{"name": name, "parameters": [], "local": False} for name in ("t.add", "t.slow", "t.never", "t.denied")]


def lua(source: str, **parameters: Any) -> Program:
    return Program("lua", "main.lua", {"main.lua": source.encode()}, parameters)


def python(source: str, **parameters: Any) -> Program:
    return Program("python", "main.py", {"main.py": source.encode()}, parameters)


def native(attack: str, *args: Any) -> Program:
    return Program("native", "main", {}, {"attack": attack, "args": list(args)})


def only(*walls: str) -> Options:
    """Options of a sandbox whose workers are native code, behind these walls alone.

    An ordinary user enters every other namespace through one of his own, so that one is up as well.
    """
    up = set(walls) | (set() if IS_ROOT else {USER_NS, PRIVILEGES})
    return Options(entry="native", import_path=(HERE,), walls_off=frozenset(WALLS) - up)


async def attack(
    options: Options, name: str, *args: Any, limits: Limits = LIMITS, calls: Gate | None = None
) -> Outcome:
    """Run one attack in a fresh sandbox."""
    sandbox = await Sandbox.start(bindings=[], options=options)
    try:
        return await sandbox.run(native(name, *args), calls or gate(limits=limits), limits)
    finally:
        await sandbox.close()


async def errno_behind(walls: tuple[str, ...], name: str, *args: Any) -> int:
    """Return the error that an attack met behind ``walls`` alone; 0 if it went through."""
    outcome = await attack(only(*walls), name, *args)
    assert outcome.status == "ok", outcome
    value: int = outcome.result["errno"]
    return value


PYTHON = sys.executable
