"""Runs sources in the real sandbox, with the agent's gate and the policy of a tier."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Awaitable, Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from shaped import misshapen

from policies.decide import Effective, Layer, decide_below, decide_effective, never
from policies.dry import only_reads
from policies.load import builtin
from policies.model import Facts, Policy
from protocol.columns import Columns
from protocol.errors import ArgumentError, DeniedError
from protocol.ledger import Chain, bound_arguments
from protocol.tiers import Tier
from sandbox.budget import Budget
from sandbox.gate import Gate
from sandbox.launch import Outcome, Program, Sandbox
from sandbox.parties import CallTable, DryRun, Session
from stdlib.blobs import FolderBlobs
from stdlib.call_specs import CallSpec
from stdlib.catalogue import load
from stdlib.host import Host, RunContext
from stdlib.identities import own_user
from stdlib.journal import Journal
from stdlib.processes.start import Processes
from stdlib.secrets import GivenSecrets
from stdlib.store import Store

JOURNAL = tempfile.mkdtemp(prefix="outrider-tests-")  # of this process alone: numbers of processes come again
atexit.register(shutil.rmtree, JOURNAL, ignore_errors=True)
COMMANDS = {"df": ("/usr/bin/df",)}  # as a manifest would declare it


class Kept:
    """A recorder that keeps what it is told, if it can stand in the agent's ledger."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self._chain = Chain()

    def check_room(self) -> None:
        """There is always room."""

    def record(self, **fields: Any) -> None:
        arguments = bound_arguments(fields.get("arguments") or {})
        self._chain.append(**fields | {"arguments": arguments, "time_us": 1, "mono_us": 1})
        self.records.append(fields)

    async def intend(self, **fields: Any) -> None:
        self.record(**fields)


def gate(
    tier: Tier, kept: Kept | None = None, host: Host | None = None, *, context: RunContext | None = None,
    table: CallTable | None = None, is_dry: bool = False, policy: Policy | None = None,
) -> Gate:  # fmt: skip
    """The gate of one session at ``tier``, or with a policy in place of the tier's own."""
    policy = policy or builtin(tier)
    budget = Budget(policy.limits)
    context = context or RunContext(
        left=budget.remaining, store=Store().of("tests/own"), secrets=GivenSecrets({"db-password": b"hunter2!"}),
        blobs=FolderBlobs(Path(JOURNAL) / "blobs"),
    )  # fmt: skip
    host, processes = with_processes(host or Host(commands=COMMANDS, journal=Journal(JOURNAL)))
    context.on_end(processes.close)
    if host.journal is not None:
        host = replace(host, journal=host.journal.noting(context.changes))
    allowed = Effective((Layer(policy.name, policy.rules, policy.limits),), own_user())
    return Gate(
        table or load(),
        lambda call, facts: decide_effective(allowed, call, facts),
        kept or Kept(),
        Session("s1", "r1", "tester"),
        budget,
        host,
        context,
        decide_below=partial(decide_below, allowed),
        never=partial(never, allowed),
        redactor=context.redactor,
        on_close=context.end,
        dry_run=DryRun(only_reads(allowed), CallSpec.dry_result) if is_dry else None,
    )


def with_processes(host: Host) -> tuple[Host, Processes]:
    """The host, and what starts its programs: to be closed by the caller, unless it came with the host."""
    if host.processes is not None:
        return host, Processes()
    processes = Processes()
    return replace(host, processes=processes), processes


async def run(
    sandbox: Sandbox, language: str, source: str, tier: Tier, parameters: Mapping[str, Any] | None = None, **more: Any
) -> Outcome:
    """Run ``source`` once; what else is given is for :func:`gate`."""
    main = "main.py" if language == "python" else "main.lua"
    program = Program(language, main, {main: source.encode()}, parameters or {})
    return await sandbox.run(program, gate(tier, **more), builtin(tier).limits)


class AllPermitted:
    """The passage of a call without a policy. ``denied`` are the real paths that are not permitted all the same."""

    is_over = False

    def __init__(self, things: Mapping[int, Any] | None = None, denied: Collection[str] = ()) -> None:
        self.things = dict(things or {})
        self.denied = denied
        self.asked: list[Facts] = []

    def thing(self, number: int, kind: str, parameter: str) -> Any:
        thing = self.things.get(number)
        if thing is None or thing.kind != kind:
            raise ArgumentError(f"{parameter}: is no {kind}", parameter=parameter)
        return thing

    def permits(self, facts: Facts) -> bool:
        self.asked.append(facts)
        return facts.path not in self.denied

    def require(self, facts: Facts) -> None:
        if not self.permits(facts):
            raise DeniedError(f"{facts.path} is denied", rule="test")

    async def settle(self, facts: Facts) -> None:
        self.require(facts)

    def below(self, directory: str) -> bool | None:
        return None if self.denied else True


async def perform(
    name: str, /, *args: Any, host: Host | None = None, run: RunContext | None = None,
    passage: AllPermitted | None = None, **named: Any,
) -> Any:  # fmt: skip
    """Bind, open and carry out one call, without a policy. A stream is read to its end and returned as a list."""
    spec = load().find(name)
    assert spec is not None, name
    bound = spec.bind(list(args), named)
    host, processes = with_processes(host or Host(commands=COMMANDS))
    async with processes:
        with spec.prepare(host, run or RunContext(), bound, passage or AllPermitted()) as prepared:
            value = prepared.perform()
            if spec.gives == "stream":
                value = await collected(value)
            elif isinstance(value, Awaitable):
                value = await value
            wrong = misshapen(spec, value)
            assert not wrong, f"stdlib/shapes.py says otherwise: {wrong}"
            return value


async def collected(source: Any) -> list[Any]:
    """Read a source of a stream to its end, and close it."""
    items: list[Any] = []
    try:
        found = [item async for item in source] if hasattr(source, "__aiter__") else list(source)
    finally:
        if hasattr(source, "aclose"):
            await source.aclose()
        elif hasattr(source, "close"):
            source.close()
    for item in found:
        items += item.rows() if isinstance(item, Columns) else item if isinstance(item, list) else [item]
    return items
