"""The decision: (policy, call, facts) -> verdict. Pure; deny wins; no rule means deny.

A guarded target (``policies.targets``: loopback, cloud metadata and their like) is reached only if a layer that may
grant it names it; a rule without targets lets it pass and does not name it. What a script asks for is no grant.

Every call has a user of the host: the one as whom it starts a program, else the agent's own. Where that is not known,
an allowance that names users does not have it, and a denial or a question that names users does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import reduce
from itertools import chain

from policies.argument_patterns import ArgumentPattern, is_readable
from policies.model import UNKNOWN, Effect, Facts, Limits, Policy, Rule, Verdict
from policies.paths import PathPattern
from policies.targets import NetTarget, allowed_by
from policies.users import User
from protocol.errors import DeniedError
from protocol.names import fits

NO_RULE = "no rule"
_SHOWN = 120  # characters of a command in a reason
_SHOWN_USERS = 8  # in a reason
_SHOWN_OTHERS = 8


@dataclass(frozen=True, slots=True)
class Layer:
    """One source of permission: the tier, an approval, the manifest's needs, an operator's role, the host's ceiling."""

    name: str
    rules: tuple[Rule, ...]
    limits: Limits | None = None
    declares: bool = False  # whether the targets that it names are declared, for rules that allow no others
    grants: bool = True  # whether its naming of a guarded target allows that; a wish does not
    narrows: bool = False  # whether it only narrows, so that names wait for their address where it names networks


@dataclass(frozen=True, slots=True)
class Effective:
    """What a session may do: every layer must allow."""

    layers: tuple[Layer, ...]
    user: User | None = None  # the agent's own, as whom every call is made that starts no program as somebody else

    @property
    def limits(self) -> Limits:
        """The smallest of each limit over all layers."""
        stated = [layer.limits for layer in self.layers if layer.limits is not None]
        return reduce(Limits.narrowed, stated) if stated else Limits()


def decide(policy: Policy, call: str, facts: Facts) -> Verdict:
    """Return the verdict of one policy."""
    return decide_effective(Effective((Layer(policy.name, policy.rules),)), call, facts)


def decide_effective(effective: Effective, call: str, facts: Facts) -> Verdict:
    """Return the verdict of all layers: the first denial, else the first question, else the first layer's allowance."""
    verdicts = [verdict for _, verdict in explain(effective, call, facts)]
    if not verdicts:
        return Verdict(Effect.DENY, NO_RULE, "no policy applies")
    for verdict in verdicts:
        if verdict.effect is Effect.DENY:
            return verdict
    guarded = facts.target.guarded if facts.target is not None else ""
    user = facts.user or effective.user
    if guarded and not any(layer.grants and _is_named(layer, call, facts, user) for layer in effective.layers):
        told = f"{facts.target} is {guarded}, which only a rule that names it allows, and a manifest cannot"
        return Verdict(Effect.DENY, f"guarded targets: {guarded}", told)
    # Last, so that a yes lets through what the rules let through but for the question, and nothing else.
    return next((verdict for verdict in verdicts if verdict.effect is Effect.ASK), verdicts[0])


def never(effective: Effective, call: str) -> Verdict | None:
    """Return the denial of a call that is allowed on no facts at all; None if it depends on them.

    For who must not open, look up or ask for anything on behalf of such a call: what there is is not told either.
    """
    for layer in effective.layers:
        about = [rule for rule in layer.rules if rule.names(call)]
        for rule in about:
            if rule.effect is Effect.DENY and replace(rule, call="", origin="") == _UNCONDITIONAL:
                return Verdict(Effect.DENY, rule.text, f"{layer.name} denies {call}")
        if all(rule.effect is Effect.DENY for rule in about):
            return Verdict(Effect.DENY, f"{layer.name}: {NO_RULE}", f"{layer.name} has no rule for {call}")
    return None if effective.layers else Verdict(Effect.DENY, NO_RULE, "no policy applies")


_UNCONDITIONAL = Rule(Effect.DENY, "", "")


def decide_below(effective: Effective, call: str, directory: str) -> bool | None:
    """Tell whether ``call`` is allowed on everything (True) or nothing (False) below a real directory.

    None if it depends; then each object is to be decided on. A question counts as a denial, as nobody asks about each.
    """
    verdicts = [_decide_below(layer.rules, call, directory, effective.user) for layer in effective.layers]
    if not verdicts or False in verdicts:
        return False
    return None if None in verdicts else True


def _decide_below(rules: Iterable[Rule], call: str, directory: str, user: User | None) -> bool | None:
    is_allowed: bool | None = False
    is_partly_denied = False
    for rule in rules:
        pathless = replace(rule, paths=(), exceptions=())
        if not rule.names(call) or not _fits(pathless, Facts(path=directory), user, declared=False):
            continue
        reach = _reach(rule.paths, directory) if rule.paths else True
        excepted = _reach(rule.exceptions, directory)
        if excepted is not False and reach is not False:
            reach = None if excepted is None else False
        if rule.effect is Effect.ALLOW:
            is_allowed = True if True in (reach, is_allowed) else None if None in (reach, is_allowed) else False
        elif reach:
            return False
        else:
            is_partly_denied = is_partly_denied or reach is None
    return None if is_allowed and is_partly_denied else is_allowed


def _reach(patterns: tuple[PathPattern, ...], directory: str) -> bool | None:
    """Tell whether everything (True) or nothing (False) below a directory fits one of them; None if it depends."""
    reaches = [pattern.below(directory) for pattern in patterns]
    return True if True in reaches else None if None in reaches else False


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
    user = facts.user or effective.user
    declared = (facts.target is not None or facts.name is not None) and any(
        layer.declares and _is_named(layer, call, facts, user) for layer in effective.layers
    )
    for layer in effective.layers:
        yield layer.name, _decide(layer, call, facts, user, declared)


def _is_named(layer: Layer, call: str, facts: Facts, user: User | None) -> bool:
    """Tell whether a rule of the layer lets the call's target, or what it names, through by naming it. One that wants
    somebody asked does, too: then a person says whether.
    """
    return any(
        rule.effect is not Effect.DENY
        and (rule.targets or rule.named)
        and rule.names(call)
        and _fits(replace(rule, effect=Effect.ALLOW), facts, user, True)
        for rule in layer.rules
    )


def _decide(layer: Layer, call: str, facts: Facts, user: User | None, declared: bool) -> Verdict:
    found: dict[Effect, Rule] = {}
    for rule in layer.rules:
        if rule.effect not in found and rule.names(call) and _fits(rule, facts, user, declared, layer.narrows):
            found[rule.effect] = rule
    for effect in (Effect.DENY, Effect.ASK, Effect.ALLOW):
        rule_found = found.get(effect)
        if rule_found is not None:
            about = user if rule_found.users else facts.user
            return Verdict(
                effect,
                rule_found.text,
                "" if effect is Effect.ALLOW else _reason(effect, call, facts, about, layer.name),
            )
    for_others = _for_others(layer, call, facts, declared)
    if for_others:
        who = user or "a user that is not known"
        told = f"{layer.name} allows {call}{_object(facts)} as {_users_of(for_others)} only, not as {who}"
        return Verdict(Effect.DENY, f"{for_others[0].text}: users", told)
    return Verdict(
        Effect.DENY, f"{layer.name}: {NO_RULE}", f"{layer.name} has no rule for {call}{_object(facts)}{_hint(facts)}"
    )


def _for_others(layer: Layer, call: str, facts: Facts, declared: bool) -> list[Rule]:
    """Return the rules of a layer that would let a call through for other users than its own."""
    return [
        rule
        for rule in layer.rules
        if rule.effect is Effect.ALLOW and rule.users and rule.names(call)
        and _fits(replace(rule, users=()), facts, None, declared, layer.narrows)
    ]  # fmt: skip


def _users_of(rules: Iterable[Rule]) -> str:
    """Return whom rules name, in their order, as many as a person reads."""
    names = list(dict.fromkeys(name for rule in rules for name in rule.users))
    return " or ".join(names if len(names) <= _SHOWN_USERS else [*names[:_SHOWN_USERS], "..."])


def _reason(effect: Effect, call: str, facts: Facts, user: User | None, layer: str) -> str:
    word = "denies" if effect is Effect.DENY else "wants somebody asked about"
    return f"{layer} {word} {call}{_object(facts)}{f' as {user}' if user is not None else ''}"


def _object(facts: Facts) -> str:
    if facts.program is not None:
        line = " ".join((facts.program, *(facts.arguments or ())))
        return f" {facts.command} ({line[:_SHOWN]}{'...' if len(line) > _SHOWN else ''})"
    value = facts.path or facts.command or facts.target or facts.name
    others = f" (also {', '.join(facts.others[:_SHOWN_OTHERS])})" if facts.others else ""
    return f" {value}{others}" if value else ""


def _hint(facts: Facts) -> str:
    """Return what people miss about targets: most of them must be declared, and some must be named."""
    if facts.variables:
        return (
            f", given {', '.join(facts.variables[:_SHOWN_OTHERS])}: rules that name programs name these (environment)"
        )
    if facts.name is not None:
        return "; is it among the names of the manifest's needs?"
    if facts.target is None:
        return ""
    guarded = facts.target.guarded
    return f"; it is {guarded} and must be named" if guarded else "; is it among the targets of the manifest's needs?"


def _fits(rule: Rule, facts: Facts, user: User | None, declared: bool, narrows: bool = False) -> bool:
    """Tell whether the facts fall under the rule.

    A rule that names paths is about those paths only: a call without a path is neither denied nor allowed by it.
    """
    if rule.users and not _fits_user(rule, user):
        return False
    if rule.paths and (facts.path is None or not any(pattern.matches(facts.path) for pattern in rule.paths)):
        return False
    if facts.path is not None and any(pattern.matches(facts.path) for pattern in rule.exceptions):
        return False
    if rule.commands and not _fits_command(rule, facts):
        return False
    if rule.programs and not _fits_program(rule, facts.program):
        return False
    if rule.arguments is not None and not _fits_arguments(rule, rule.arguments, facts):
        return False
    if facts.variables and not _fits_variables(rule, facts.variables):
        return False
    if rule.declared and not declared:
        return False
    if rule.named and (facts.name is None or not any(fits(pattern, facts.name) for pattern in rule.named)):
        return False
    if not _fits_target(rule, facts.target, narrows):
        return False
    return rule.max_bytes is None or facts.bytes is None or facts.bytes <= rule.max_bytes


def _fits_command(rule: Rule, facts: Facts) -> bool:
    """Tell whether what is named falls under the rule: an allowance must have the name that was given."""
    if facts.command in rule.commands:
        return True
    return rule.effect is not Effect.ALLOW and any(name in rule.commands for name in facts.others)


def _fits_arguments(rule: Rule, patterns: tuple[ArgumentPattern, ...], facts: Facts) -> bool:
    """Tell whether the arguments fall under the rule: an allowance must have all of them as they were given.

    What denies or asks is about each of them, whatever stands beside it: else one argument more would go around it. Of
    one that no pattern can read the worst is held.
    """
    if facts.arguments is None:
        return False
    if rule.effect is Effect.ALLOW:
        return all(any(pattern.fits(argument) for pattern in patterns) for argument in facts.arguments)
    return any(
        not is_readable(argument) or any(pattern.fits(argument) for pattern in patterns)
        for argument in chain(facts.arguments, *facts.also)
    )


def _fits_program(rule: Rule, program: str | None) -> bool:
    """Tell whether the program falls under the rule; of one that is not known the worst is held."""
    if program is None:
        return False
    if program == UNKNOWN:
        return rule.effect is not Effect.ALLOW
    return any(pattern.matches(program) for pattern in rule.programs)


def _fits_variables(rule: Rule, variables: tuple[str, ...]) -> bool:
    """Tell whether an allowance lets a program be given variables: one that says which programs, or with which
    arguments, has to name them, as LD_PRELOAD and its like make another program of it.
    """
    is_bound = rule.effect is Effect.ALLOW and (rule.programs or rule.arguments is not None)
    return not is_bound or all(name in rule.variables for name in variables)


def _fits_user(rule: Rule, user: User | None) -> bool:
    """Tell whether the user falls under the rule; every call has one, so of one that is not known the worst is held."""
    if rule.effect is Effect.ALLOW:
        return user is not None and user.is_allowed_by(rule.users)
    return user is None or user.is_named_by(rule.users)


def _fits_target(rule: Rule, target: NetTarget | None, narrows: bool) -> bool:
    """Tell whether the target falls under the rule; what denies or asks is about every form of an address."""
    if target is None:
        return not rule.targets
    if not rule.targets:
        return True
    if rule.effect is Effect.ALLOW:
        return allowed_by(rule.targets, target, narrows=narrows)
    return any(pattern.covers(target) for pattern in rule.targets)
