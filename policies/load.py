"""Policy files: read strictly, extended from the built-in tiers, wrong ones refused with file, line and key."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from pathlib import Path

from policies.model import Effect, Limits, Policy, Rule
from policies.paths import PathPattern
from protocol.document import Reader, load
from protocol.errors import ArgumentError
from protocol.tiers import Tier

MAX_RULES = 1000  # of one file, chosen without measurement
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
    return tuple(
        _rule(inner, effect)
        for effect in (Effect.DENY, Effect.ASK, Effect.ALLOW)
        for inner in reader.items(effect.value)
    )


def _rule(reader: Reader, effect: Effect) -> Rule:
    call = reader.text("call")
    if not _CALL.match(call):
        raise reader.fail("call", f"{call!r:.60} is not a call such as fs.read, fs.* or *")
    paths = []
    for pattern in reader.strings("paths", []):
        try:
            paths.append(PathPattern.parse(pattern))
        except ArgumentError as error:
            raise reader.fail("paths", error.message) from None
    rule = Rule(
        effect, call, reader.where("call").split(": ")[0], tuple(paths),
        tuple(reader.strings("commands", [])), tuple(reader.strings("targets", [])), reader.size("max_bytes", None),
    )  # fmt: skip
    if rule.max_bytes is not None and effect is not Effect.ALLOW:
        raise reader.fail("max_bytes", "only a rule that allows can have max_bytes")
    reader.finish()
    return rule


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
    )
    reader.finish()
    if limits.wall_s <= 0 or limits.cpu_s <= 0 or limits.memory_bytes < 1 << 20:
        raise reader.document_error("wall and cpu must be above 0, memory at least 1MiB")
    return limits
