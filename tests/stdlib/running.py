"""Runs sources in the real sandbox, with the agent's gate and the policy of a tier."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any

from policies.decide import Effective, Layer, decide_effective
from policies.load import builtin
from protocol.tiers import Tier
from sandbox.budget import Budget
from sandbox.gate import Gate, Session
from sandbox.launch import Outcome, Program, Sandbox
from stdlib.catalogue import load
from stdlib.host import Host, RunContext

COMMANDS = {"df": ("/usr/bin/df",)}  # as a manifest would declare it


class Kept:
    """A recorder that keeps what it is told."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def check_room(self) -> None:
        """There is always room."""

    def record(self, **fields: Any) -> None:
        self.records.append(fields)

    async def intend(self, **fields: Any) -> None:
        self.records.append(fields)


def gate(tier: Tier, kept: Kept | None = None, host: Host | None = None) -> Gate:
    """The gate of one session at ``tier``."""
    policy = builtin(tier)
    allowed = Effective((Layer(policy.name, policy.rules, policy.limits),))
    return Gate(
        load(),
        lambda call, facts: decide_effective(allowed, call, facts),
        kept or Kept(),
        Session("s1", "r1", "tester"),
        Budget(policy.limits),
        host or Host(commands=COMMANDS),
        RunContext(),
    )


async def run(
    sandbox: Sandbox, language: str, source: str, tier: Tier, parameters: Mapping[str, Any] | None = None
) -> Outcome:
    """Run ``source`` once."""
    main = {"lua": "main.lua", "python": "main.py"}[language]
    program = Program(language, main, {main: source.encode()}, parameters or {})
    return await sandbox.run(program, gate(tier), builtin(tier).limits)


async def perform(name: str, *args: Any, host: Host | None = None, **named: Any) -> Any:
    """Bind, open and carry out one call, without a policy."""
    spec = load().find(name)
    assert spec is not None, name
    with spec.prepare(host or Host(commands=COMMANDS), RunContext(), spec.bind(list(args), named)) as prepared:
        value = prepared.perform()
        return await value if isinstance(value, Awaitable) else value
