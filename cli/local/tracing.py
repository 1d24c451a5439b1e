"""What a run asked of the gate, and from that the narrowest needs and the lowest tier that let it through. Pure.

A trace is judged by one policy and by nothing that the manifest asks for: what a script needs is what is to be found.
Targets and names that a tier allows only where they are declared count as declared, since they would be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Final

from cli.local.patterns import MIN_DEPTH, patterns
from policies.decide import Effective, Layer, decide_below, decide_effective
from policies.load import builtin
from policies.model import Effect, Facts, Policy, Rule, Verdict
from policies.paths import literal
from policies.targets import NetTarget, TargetPattern
from protocol.manifest import Need
from protocol.tiers import Tier
from sandbox.analysis import Analysis
from stdlib.host import TEMPORARY_PREFIX
from stdlib.identities import own_user
from stdlib.own_temporaries import for_own, holder

_LISTING: Final = frozenset({"fs.list", "fs.walk", "fs.glob", "fs.watch", "fs.largest", "fs.disk_usage"})
_THROUGH: Final = frozenset(
    {"fs.walk", "fs.grep", "fs.largest", "fs.disk_usage", "fs.archive"}
)  # all below, and reading
_DECLARED: Final = "what the run declares"


@dataclass(frozen=True)
class Denied:
    """What the run asked for and did not get."""

    call: str
    what: str  # its path, command, target or name; empty for a call without one
    reason: str
    tier: Tier | None  # the lowest one that would allow it; None if none does

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON data."""
        tier = None if self.tier is None else self.tier.label
        return {"call": self.call, "what": self.what, "reason": self.reason, "tier": tier}


@dataclass
class Trace:
    """Judges the calls of one run and remembers them. Safe for the threads of one gate: it only ever adds.

    Args:
        policy: What may be done while tracing.
    """

    policy: Policy
    temporaries: list[str] = field(default_factory=list)  # what the run has made
    asked: dict[tuple[str, Facts], Verdict] = field(default_factory=dict)
    trees: dict[tuple[str, str], None] = field(default_factory=dict)  # call and directory, all below was allowed
    partly: dict[tuple[str, str], None] = field(default_factory=dict)  # the same, of what is below some was kept back

    def decide(self, call: str, facts: Facts) -> Verdict:
        """Return the policy's verdict."""
        verdict = _judge(self.policy, call, facts, self.temporaries)
        self.asked[call, facts] = verdict
        return verdict

    def below(self, call: str, directory: str) -> bool | None:
        """Return what the policy says of everything below a directory."""
        effective = Effective((Layer(self.policy.name, self.policy.rules),), own_user())
        own = holder(self.temporaries, directory)
        answer = decide_below(effective if own is None else for_own(effective, own), call, directory)
        if answer:
            self.trees[call, directory] = None
        elif answer is None:
            self.partly[call, directory] = None
        return answer


def _judge(policy: Policy, call: str, facts: Facts, temporaries: Sequence[str]) -> Verdict:
    layers = [Layer(policy.name, policy.rules)]
    if facts.target is not None or facts.name is not None:
        layers.append(Layer(_DECLARED, (_declaring(call, facts),), declares=True, grants=False))
    effective = Effective(tuple(layers), own_user())
    own = holder(temporaries, facts.path)
    return decide_effective(effective if own is None else for_own(effective, own), call, facts)


def _declaring(call: str, facts: Facts) -> Rule:
    targets = () if facts.target is None else (TargetPattern.parse(target_text(facts.target)),)
    named = () if facts.name is None else (facts.name,)
    return Rule(Effect.ALLOW, call, _DECLARED, targets=targets, named=named)


def target_text(target: NetTarget) -> str:
    """Return a target as a manifest names it."""
    host = f"[{target.host}]" if ":" in target.host else target.host
    return host if target.port is None else f"{host}:{target.port}"


# what it comes to ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Traced:
    """What a run needed."""

    needs: tuple[Need, ...]
    tier: Tier  # the lowest that allows all of it
    denied: tuple[Denied, ...]
    unreached: tuple[str, ...]  # calls that stand in the code and were not made


def traced(trace: Trace, analysis: Analysis, parameters: Mapping[str, Any]) -> Traced:
    """Return what a run came to.

    Args:
        trace: Of the run.
        analysis: Of its code: which paths are constant, which calls there are.
        parameters: What the run was given.
    """
    allowed = [(call, facts) for (call, facts), verdict in trace.asked.items() if verdict.allowed]
    touching = [(call, facts) for call, facts in allowed if lowest(call, facts, trace.temporaries) is not Tier.COMPUTE]
    tiers = [lowest(call, facts, trace.temporaries) or trace.policy.tier for call, facts in touching]
    made = {call for call, _ in trace.asked}
    return Traced(
        tuple(_needs(touching, trace, _constants(analysis), _values(parameters))),
        max([Tier.COMPUTE, *tiers]),
        tuple(_denied(trace)),
        tuple(name for name, called in analysis.calls.items() if called.tier is not Tier.COMPUTE and name not in made),
    )


def lowest(call: str, facts: Facts, temporaries: Sequence[str] = ()) -> Tier | None:
    """Return the lowest tier whose own policy allows a call; None if none does.

    Args:
        call: Its name.
        facts: What it touched.
        temporaries: Directories that the run itself has made.
    """
    return next((tier for tier in Tier if _judge(builtin(tier), call, facts, temporaries).allowed), None)


def merged(before: Sequence[Need], now: Sequence[Need]) -> tuple[Need, ...]:
    """Return needs that allow what either of two lists allows."""
    found: dict[tuple[Any, ...], Need] = {}
    for need in (*before, *now):
        kind = (need.call, bool(need.paths), bool(need.commands), bool(need.targets), bool(need.names))
        held = found.get(kind)
        found[kind] = need if held is None else _both(held, need)
    return tuple(found.values())


def _both(one: Need, other: Need) -> Need:
    lists = {
        key: tuple(dict.fromkeys((*getattr(one, key), *getattr(other, key))))
        for key in ("paths", "commands", "targets", "names")
    }
    return Need(one.call, **lists)


def _needs(
    touching: Sequence[tuple[str, Facts]], trace: Trace, constants: frozenset[str], values: frozenset[str]
) -> Iterable[Need]:
    listed = {facts.path for call, facts in touching if call in _LISTING and facts.path is not None}
    for call in dict.fromkeys(call for call, _ in touching):
        facts = [each for name, each in touching if name == call]
        paths = {each.path for each in facts if each.path is not None}
        trees = {path for name, path in trace.trees if name == call} | _through(call, trace, paths)
        own = {path for path in paths | trees if holder(trace.temporaries, path) is not None}
        paths, trees = paths - own, trees - own
        commands = {each.command for each in facts if each.command is not None}
        targets = {target_text(each.target) for each in facts if each.target is not None}
        names = {each.name for each in facts if each.name is not None}
        if paths or trees:
            found = patterns(paths, trees=trees, listed=listed, constants=constants, values=values)
            yield Need(call, paths=(*found, *_of_temporaries(own)))
        elif own:
            yield Need(call, paths=_of_temporaries(own))
        if commands:
            yield Need(call, commands=tuple(sorted(commands)))
        if targets:
            yield Need(call, targets=tuple(sorted(targets)))
        if names:
            yield Need(call, names=tuple(sorted(names)))
        if any(_is_bare(each) for each in facts):
            yield Need(call)


def _through(call: str, trace: Trace, allowed: Set[str]) -> set[str]:
    """Return directories that a call went through as a whole, although the tier keeps something below from everybody.

    Another day there is more in them; what is kept back stays so, whatever a manifest asks for.
    """
    if call not in _THROUGH:
        return set()
    return {path for name, path in trace.partly if name == call and path in allowed and path.count("/") >= MIN_DEPTH}


def _of_temporaries(paths: Iterable[str]) -> tuple[str, ...]:
    """Return the patterns for what a run made itself, whose names are others each time."""
    tops = {path[: path.index(f"/{TEMPORARY_PREFIX}")] for path in paths}
    return tuple(f"{literal(top)}/{TEMPORARY_PREFIX}*/**" for top in sorted(tops))


def _is_bare(facts: Facts) -> bool:
    return facts.path is None and facts.command is None and facts.target is None and facts.name is None


def _constants(analysis: Analysis) -> frozenset[str]:
    return frozenset(
        path.removesuffix("/**") or "/" for need in analysis.needs for path in need.paths if "{" not in path
    )  # fmt: skip


def _values(parameters: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(str(value) for value in parameters.values() if isinstance(value, str | int) and value != "")


def _denied(trace: Trace) -> Iterable[Denied]:
    for (call, facts), verdict in trace.asked.items():
        if not verdict.allowed:
            place = facts.path or facts.command or facts.name or (str(facts.target) if facts.target else "")
            yield Denied(call, place, verdict.reason, lowest(call, facts, trace.temporaries))
