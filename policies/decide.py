"""The decision: (policy, call, facts) -> verdict. Pure; deny wins; no rule means deny."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce

from policies.model import Effect, Facts, Limits, Policy, Rule, Verdict
from protocol.errors import DeniedError

NO_RULE = "no rule"
_SHOWN = 120  # characters of a command in a reason


@dataclass(frozen=True, slots=True)
class Layer:
    """One source of permission: the tier, an approval, the manifest's needs, an operator's role, the host's ceiling."""

    name: str
    rules: tuple[Rule, ...]
    limits: Limits | None = None


@dataclass(frozen=True, slots=True)
class Effective:
    """What a session may do: every layer must allow."""

    layers: tuple[Layer, ...]

    @property
    def limits(self) -> Limits:
        """The smallest of each limit over all layers."""
        stated = [layer.limits for layer in self.layers if layer.limits is not None]
        return reduce(Limits.narrowed, stated) if stated else Limits()


def decide(policy: Policy, call: str, facts: Facts) -> Verdict:
    """Return the verdict of one policy."""
    return _decide(policy.rules, call, facts, policy.name)


def decide_effective(effective: Effective, call: str, facts: Facts) -> Verdict:
    """Return the verdict of all layers: the first denial, else the first question, else the first layer's allowance."""
    verdicts = [_decide(layer.rules, call, facts, layer.name) for layer in effective.layers]
    if not verdicts:
        return Verdict(Effect.DENY, NO_RULE, "no policy applies")
    for effect in (Effect.DENY, Effect.ASK):
        for verdict in verdicts:
            if verdict.effect is effect:
                return verdict
    return verdicts[0]


def require_language(effective: Effective, language: str) -> None:
    """Return if a script may run in the language that its manifest names. Lua 5.4 and Python need no rule.

    LuaJIT is decided like a call, ``language.luajit``, so that any layer can take it away.

    Raises:
        DeniedError: A layer denies it, or none allows it.
    """
    if language != "luajit":
        return
    verdict = decide_effective(effective, f"language.{language}", Facts())
    if not verdict.allowed:
        raise DeniedError(f"{verdict.reason or f'{language} is denied'} ({verdict.rule})", rule=verdict.rule)


def explain(effective: Effective, call: str, facts: Facts) -> Iterator[tuple[str, Verdict]]:
    """Yield each layer's name and its verdict, for people."""
    for layer in effective.layers:
        yield layer.name, _decide(layer.rules, call, facts, layer.name)


def _decide(rules: Iterable[Rule], call: str, facts: Facts, layer: str) -> Verdict:
    found: dict[Effect, Rule] = {}
    for rule in rules:
        if rule.effect not in found and rule.names(call) and _fits(rule, facts):
            found[rule.effect] = rule
    for effect in (Effect.DENY, Effect.ASK, Effect.ALLOW):
        rule_found = found.get(effect)
        if rule_found is not None:
            return Verdict(
                effect, rule_found.text, "" if effect is Effect.ALLOW else _reason(effect, call, facts, layer)
            )
    return Verdict(Effect.DENY, f"{layer}: {NO_RULE}", f"{layer} has no rule for {call}{_object(facts)}")


def _reason(effect: Effect, call: str, facts: Facts, layer: str) -> str:
    word = "denies" if effect is Effect.DENY else "wants somebody asked about"
    return f"{layer} {word} {call}{_object(facts)}"


def _object(facts: Facts) -> str:
    if facts.program is not None:
        line = " ".join((facts.program, *(facts.arguments or ())))
        return f" {facts.command} ({line[:_SHOWN]}{'...' if len(line) > _SHOWN else ''})"
    value = facts.path or facts.command or facts.target
    return f" {value}" if value else ""


def _fit(patterns: tuple[re.Pattern[str], ...], arguments: tuple[str, ...] | None) -> bool:
    """Tell whether each argument is known and fits one of the patterns as a whole."""
    return arguments is not None and all(any(p.fullmatch(argument) for p in patterns) for argument in arguments)


def _fits(rule: Rule, facts: Facts) -> bool:
    """Tell whether the facts fall under the rule.

    A rule that names paths is about those paths only: a call without a path is neither denied nor allowed by it.
    """
    if rule.paths and (facts.path is None or not any(pattern.matches(facts.path) for pattern in rule.paths)):
        return False
    if rule.commands and facts.command not in rule.commands:
        return False
    if rule.programs and (
        facts.program is None or not any(pattern.matches(facts.program) for pattern in rule.programs)
    ):
        return False
    if rule.arguments is not None and not _fit(rule.arguments, facts.arguments):
        return False
    if rule.targets and facts.target not in rule.targets:
        return False
    return rule.max_bytes is None or facts.bytes is None or facts.bytes <= rule.max_bytes
