"""Policy files: read strictly, extended from the built-in tiers, wrong ones refused with file, line and key."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from pathlib import Path

from policies.argument_patterns import ArgumentPattern
from policies.model import Effect, Limits, Policy, Rule
from policies.paths import PathPattern
from policies.targets import TargetPattern
from policies.users import read_users
from protocol.document import Reader, load
from protocol.errors import ArgumentError
from protocol.names import check_pattern
from protocol.tiers import Tier

MAX_RULES = 1000  # of one file, chosen without measurement
MAX_ARGUMENT_PATTERNS = 500  # of one file: compiled they take 10 MiB, and with full tables 125 at most
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_CALL = re.compile(r"^(\*|[a-z][a-z0-9_]*(\.([a-z][a-z0-9_]*|\*))?)$")


@cache
def builtin(tier: Tier) -> Policy:
    """Return the policy of a tier as it is shipped."""
    path = Path(__file__).with_name(f"{tier.label}.yaml")
    return load_policy(path.read_text(encoding="utf-8"), path.name)


def load_policy(text: str, filename: str) -> Policy:
    """Return the policy in ``text``.

    Raises:
        DocumentError: Names file, line and key.
    """
    reader = Reader(load(text, filename))
    tier = Tier.parse(reader.text("tier"), where=reader.where("tier"))
    base = _base(reader, tier)
    rules = (*read_rules(reader), *(base.rules if base else ()))
    if len(rules) > MAX_RULES:
        raise reader.document_error(f"more than {MAX_RULES} rules")
    limits = read_limits(reader.section("limits"), base.limits if base else Limits())
    reader.text("description", "")
    reader.finish()
    return Policy(filename.removesuffix(".yaml"), tier, rules, limits)


def _base(reader: Reader, tier: Tier) -> Policy | None:
    if not reader.has("extends"):
        return None
    extended = Tier.parse(reader.text("extends"), where=reader.where("extends"))
    if extended > tier:
        raise reader.fail("extends", f"a policy of tier {tier.label} cannot extend {extended.label}, which may do more")
    if reader.document.filename == f"{extended.label}.yaml":
        raise reader.fail("extends", "a policy cannot extend itself")
    return builtin(extended)


def read_rules(reader: Reader) -> tuple[Rule, ...]:
    """Return the rules under ``allow``, ``deny`` and ``ask`` of a mapping."""
    found: list[Rule] = []
    patterns_left = MAX_ARGUMENT_PATTERNS
    for effect in (Effect.DENY, Effect.ASK, Effect.ALLOW):
        for inner in reader.items(effect.value):
            rules = _rules(inner, effect, patterns_left)
            patterns_left -= len(rules[0].arguments or ())
            found += rules
    return tuple(found)


def _rules(reader: Reader, effect: Effect, patterns_left: int) -> tuple[Rule, ...]:
    """Return the rule of an item; one for each call if it names several."""
    reader.require_said(empty=("calls", "arguments", "except", "users"))  # these say something, or are refused below
    key = "calls" if reader.has("calls") else "call"
    names = reader.strings("calls") if key == "calls" else [reader.text("call")]
    if not names:
        raise reader.fail(key, "names no call")
    for name in names:
        if not _CALL.match(name):
            raise reader.fail(key, f"{name!r:.60} is not a call such as fs.read, fs.* or *")
    rule = Rule(
        effect, names[0], reader.where(key).split(": ")[0], _patterns(reader, "paths"),
        _commands(reader), _targets(reader), reader.size("max_bytes", None),
        _patterns(reader, "programs"), _arguments(reader, effect, patterns_left) if reader.has("arguments") else None,
        _patterns(reader, "except"), reader.boolean("declared", False), _names(reader),
        users_of(reader), _variables(reader),
    )  # fmt: skip
    for key in ("max_bytes", "except", "declared", "environment"):
        if reader.has(key) and effect is not Effect.ALLOW:
            raise reader.fail(key, f"only a rule that allows can have {key}")
    if rule.arguments == () and effect is not Effect.ALLOW:
        raise reader.fail("arguments", f"names none, so that the rule would never {effect.value}")
    reader.finish()
    return tuple(replace(rule, call=name) for name in names)


def _commands(reader: Reader) -> tuple[str, ...]:
    """Return the names under ``commands``: of commands, units, accounts; what begins with a slash names none."""
    names = tuple(reader.strings("commands", []))
    path = next((name for name in names if name.startswith("/")), None)
    if path is not None:
        raise reader.fail("commands", f"{path!r:.60} is a path, which no command is called: write it under programs")
    return names


def _patterns(reader: Reader, key: str) -> tuple[PathPattern, ...]:
    found = []
    for pattern in reader.strings(key, []):
        try:
            found.append(PathPattern.parse(pattern))
        except ArgumentError as error:
            raise reader.fail(key, error.message) from None
    return tuple(found)


def _names(reader: Reader) -> tuple[str, ...]:
    found = []
    for text in reader.strings("names", []):
        try:
            found.append(check_pattern(text, parameter="names"))
        except ArgumentError as error:
            raise reader.fail("names", error.message) from None
    return tuple(found)


def _variables(reader: Reader) -> tuple[str, ...]:
    """Return the names of variables that a mapping has under ``environment``."""
    names = tuple(reader.strings("environment", []))
    for name in names:
        if not _VARIABLE.fullmatch(name):
            raise reader.fail("environment", f"{name!r:.60} is not the name of a variable such as PGDATABASE")
    return names


def users_of(reader: Reader) -> tuple[str, ...]:
    """Return what a mapping has under ``users``; DocumentError if that is no list of users, or one of nobody."""
    if not reader.has("users"):
        return ()
    try:
        return read_users(reader.strings("users"), parameter="users")
    except ArgumentError as error:
        raise reader.fail("users", error.message.removeprefix("users: ")) from None


def _targets(reader: Reader) -> tuple[TargetPattern, ...]:
    found = []
    for text in reader.strings("targets", []):
        try:
            found.append(TargetPattern.parse(text))
        except ArgumentError as error:
            raise reader.fail("targets", error.message) from None
    return tuple(found)


def _arguments(reader: Reader, effect: Effect, most: int) -> tuple[ArgumentPattern, ...]:
    found: list[ArgumentPattern] = []
    for text in reader.strings("arguments"):
        if len(found) == most:
            raise reader.fail("arguments", f"more than {MAX_ARGUMENT_PATTERNS} patterns of arguments in one file")
        try:
            found.append(ArgumentPattern.parse(text, lines=effect is not Effect.ALLOW))
        except ArgumentError as error:
            raise reader.fail("arguments", error.message) from None
    return tuple(found)


def read_limits(reader: Reader, base: Limits) -> Limits:
    """Return ``base`` with what the mapping sets."""
    limits = replace(
        base,
        wall_s=reader.duration("wall", base.wall_s),
        cpu_s=reader.duration("cpu", base.cpu_s),
        memory_bytes=reader.size("memory", base.memory_bytes),
        output_bytes=reader.size("output", base.output_bytes),
        calls=reader.integer("calls", base.calls),
        calls_per_s=reader.integer("calls_per_s", base.calls_per_s),
        open_files=reader.integer("open_files", base.open_files),
        processes=reader.integer("processes", base.processes),
        log_lines=reader.integer("log_lines", base.log_lines),
        metrics=reader.integer("metrics", base.metrics),
        rows=reader.integer("rows", base.rows),
    )
    reader.finish()
    if limits.wall_s <= 0 or limits.cpu_s <= 0 or limits.memory_bytes < 1 << 20:
        raise reader.document_error("wall and cpu must be above 0, memory at least 1MiB")
    return limits
