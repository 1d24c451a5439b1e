"""The words of permission: limits, rules, facts, verdicts. All of it frozen."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Final, NamedTuple

from policies.argument_patterns import ArgumentPattern
from policies.paths import PathPattern
from policies.targets import NetTarget, TargetPattern
from policies.users import User
from protocol.tiers import Tier

__all__ = ["LIMIT_FIELDS", "UNKNOWN", "Effect", "Facts", "Limits", "Policy", "Rule", "Tier", "Verdict"]


class Effect(StrEnum):
    """What a rule or a verdict says."""

    ALLOW = "allow"
    DENY = "deny"
    ASK = "ask"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may use. Every field is a maximum."""

    wall_s: float = 30.0
    cpu_s: float = 2.0
    memory_bytes: int = 64 << 20
    calls: int = 10_000
    calls_per_s: int = 20_000  # more than a quick machine answers; an owner may want less
    output_bytes: int = 256 << 10
    open_files: int = 32
    processes: int = 8
    log_lines: int = 1_000  # through ``log.*``; chosen without measurement
    metrics: int = 1_000  # through ``check.metric``; their texts together have a bound of their own
    rows: int = 1_000  # through ``emit``; the same of their bytes, as they are in the one record of a run's end

    def narrowed(self, other: Limits) -> Limits:
        """Return the smaller of each."""
        return Limits(**{item.name: min(getattr(self, item.name), getattr(other, item.name)) for item in fields(self)})


#: The words of ``limits`` in policies, ceilings, manifests and grants, and the fields that they set.
LIMIT_FIELDS: Final = {
    "wall": "wall_s", "cpu": "cpu_s", "memory": "memory_bytes", "output": "output_bytes", "calls": "calls",
    "calls_per_s": "calls_per_s", "open_files": "open_files", "processes": "processes", "log_lines": "log_lines",
    "metrics": "metrics", "rows": "rows",
}  # fmt: skip


UNKNOWN: Final = "?"  # a program that is there and cannot be told: what denies or asks is about it, what allows is not


class Facts(NamedTuple):  # made, compared and hashed for each call; a frozen class takes three times as long
    """What a call would touch, taken from what was really opened and never from the text of an argument."""

    path: str | None = None  # absolute, resolved; undecodable bytes as surrogates (PEP 383)
    command: str | None = None  # the name that the manifest gives it
    program: str | None = None  # of the command: absolute, resolved, or UNKNOWN; decides what that name stands for
    arguments: tuple[str, ...] | None = None  # of the command, without the program; of ``net.http``: the method
    target: NetTarget | None = None  # one place in the network: what was asked for and what is connected to
    bytes: int | None = None  # how much it would move at most
    name: str | None = None  # of the script that would be called, or of the secret that would be used
    user: User | None = None  # as whom a program would start; None: the agent's own (``Effective.user``)
    others: tuple[str, ...] = ()  # more names of what ``command`` names: only a denial or a question fits by these
    also: tuple[tuple[str, ...], ...] = ()  # so for ``arguments``: lists that say a part of it, or it otherwise
    variables: tuple[str, ...] = ()  # of the program's environment: names of those that may make another one of it


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a policy. A rule that names paths, commands, programs, targets or names fits only calls with such a
    fact; every call has a user.
    """

    effect: Effect
    call: str  # a name, family.* or *
    origin: str  # such as observe.yaml:12
    paths: tuple[PathPattern, ...] = ()
    commands: tuple[str, ...] = ()
    targets: tuple[TargetPattern, ...] = ()
    max_bytes: int | None = None  # allow only up to this much
    programs: tuple[PathPattern, ...] = ()  # what the command may stand for
    arguments: tuple[ArgumentPattern, ...] | None = None  # allow: each fits one as a whole; deny, ask: any does
    exceptions: tuple[PathPattern, ...] = ()  # of an allowance: paths that it is not about
    declared: bool = False  # allow only targets and names that the manifest's needs or an approval name
    named: tuple[str, ...] = ()  # patterns of ``protocol.names``: scripts that may be called, secrets that may be used
    users: tuple[str, ...] = ()  # of the host, as one of whom the call is made
    variables: tuple[str, ...] = ()  # of an allowance: those that a program may be given that it names

    @property
    def text(self) -> str:
        """The rule as a person reads it in a verdict."""
        return f"{self.origin} {self.effect} {self.call}"

    def names(self, call: str) -> bool:
        """Tell whether this rule is about ``call``."""
        if self.call in ("*", call):
            return True
        return self.call.endswith(".*") and call.startswith(self.call[:-1])


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy file, with what it extends already inside."""

    name: str
    tier: Tier
    rules: tuple[Rule, ...]
    limits: Limits


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one call."""

    effect: Effect
    rule: str  # what decided: layer, file and line
    reason: str = ""  # one sentence; empty when allowed

    @property
    def allowed(self) -> bool:
        """Whether the call may go on now."""
        return self.effect is Effect.ALLOW
