"""What a version of a script asks for against another: what it gained, and what it gave up. Pure.

Two :class:`Asked` are compared. A call, path, command, target or name is gained unless something that was asked for
before is certain to cover it: ``/etc/**`` after ``/etc/nginx/**`` is *widened*, ``/etc/nginx/x`` is nothing new. What
cannot be proved to be covered counts as gained, so a reviewer may look once too often and never once too seldom.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from policies.covers import name_covers, path_covers, path_fits, target_covers, unbound_covers_target
from protocol.manifest import Manifest
from protocol.parameters import Parameter
from protocol.tiers import Tier

ANYTHING, OTHERS = "anything", "and others"
ADDED, REMOVED, WIDENED, NARROWED, CHANGED = "added", "removed", "widened", "narrowed", "changed"
MAX_COMPARED: Final = 50_000  # pairs of two patterns in one comparison; past them all that differs counts as gained
MAX_NEAR: Final = 20  # grants of the other version that are told beside one that changed
MAX_CHARACTERS: Final = 2_000  # of one change as it is told
_ROLES: Final = ("paths", "commands", "targets", "names")
_SAID: Final = {"commands": "command", "limits": "limit", "requires": "library", "parameters": "parameter"}
_SIGNS: Final = {ADDED: "+", WIDENED: "+", REMOVED: "-", NARROWED: "-", CHANGED: "~"}


@dataclass(frozen=True, slots=True)
class Grant:
    """A call, or all of a family, and what it is bound to; an empty tuple binds it to nothing."""

    call: str
    paths: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    is_literal: bool = False  # read from code: in its paths nothing is a wildcard
    is_bounded: bool = True  # False: there may be others


@dataclass(frozen=True, slots=True)
class Asked:
    """What one version asks for."""

    tier: Tier
    language: str
    grants: tuple[Grant, ...]  # of the manifest's needs, or of the code where the manifest states none
    is_stated: bool  # by the manifest; else the script may make every call of its tier
    calls: frozenset[str] = frozenset()  # that the code makes, those of tier compute left out
    is_dynamic: bool = False  # reading cannot tell all of its calls
    commands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    requires: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Parameter] = field(default_factory=dict)

    @classmethod
    def of(cls, manifest: Manifest, inferred: Iterable[Grant], calls: Iterable[str], *, is_dynamic: bool) -> Asked:
        """Return what a manifest asks for; ``inferred``, ``calls`` and ``is_dynamic`` are what its code was found to
        do."""
        stated = tuple(Grant(need.call, need.paths, need.commands, need.targets, need.names) for need in manifest.needs)
        return cls(
            manifest.tier, manifest.language, stated or tuple(inferred), bool(stated), frozenset(calls), is_dynamic,
            manifest.commands, manifest.limits, {item.name: item.digest for item in manifest.requires},
            manifest.parameters,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Change:
    """One difference."""

    area: str  # tier, language, needs, calls, commands, limits, requires or parameters
    kind: str  # added, removed, widened, narrowed or changed
    subject: str  # a call, or the name of a command, limit, library or parameter
    now: str = ""
    before: str = ""

    @property
    def is_gain(self) -> bool:
        """Whether a reviewer must look: the script may do more, or other code comes in."""
        if self.area == "parameters":
            return self.kind in (WIDENED, CHANGED)
        return self.kind in (ADDED, WIDENED, CHANGED)

    def __str__(self) -> str:
        """Return it in one line, such as ``+ fs.write /etc/**``."""
        words = (_SIGNS[self.kind], _SAID.get(self.area), self.subject, self.now or self.before)
        said = " ".join(filter(None, words))
        return said if len(said) <= MAX_CHARACTERS else f"{said[: MAX_CHARACTERS - 3]}..."

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {
            "area": self.area, "kind": self.kind, "subject": self.subject, "now": self.now[:MAX_CHARACTERS],
            "before": self.before[:MAX_CHARACTERS], "gain": self.is_gain, "text": str(self),
        }  # fmt: skip


def compare(before: Asked, now: Asked) -> list[Change]:
    """Return all that differs, by area and subject."""
    budget = _Budget()
    changes = [
        *_tier(before, now),
        *_language(before, now),
        *_needs(before, now, budget),
        *_calls(before, now),
        *_commands(before.commands, now.commands),
        *_limits(before, now),
        *_named("requires", before.requires, now.requires),
        *_parameters(before.parameters, now.parameters),
    ]
    told = {change.subject for change in changes if change.area == "needs"}
    return [change for change in changes if change.area != "calls" or change.subject not in told]


def _tier(before: Asked, now: Asked) -> list[Change]:
    if before.tier == now.tier:
        return []
    kind = WIDENED if now.tier > before.tier else NARROWED
    return [Change("tier", kind, "tier", now.tier.label, before.tier.label)]


def _language(before: Asked, now: Asked) -> list[Change]:
    same = before.language == now.language
    return [] if same else [Change("language", CHANGED, "language", now.language, before.language)]


# needs ---------------------------------------------------------------------------------------------------------------


class _Budget:
    """Bounds the work of one comparison: a manifest may hold thousands of patterns."""

    def __init__(self) -> None:
        self._left = MAX_COMPARED

    def take(self, count: int) -> bool:
        self._left -= count
        return self._left >= 0


def _needs(before: Asked, now: Asked, budget: _Budget) -> list[Change]:
    changes = []
    if before.is_stated and not now.is_stated:
        changes.append(Change("needs", WIDENED, "every call", f"of {now.tier.label}", "the needs it stated"))
    elif now.is_stated and not before.is_stated:
        changes.append(Change("needs", NARROWED, "needs", "stated", f"every call of {before.tier.label}"))
    changes += _beyond(before.grants, now.grants, (WIDENED, ADDED), budget)
    return changes + _beyond(now.grants, before.grants, (NARROWED, REMOVED), budget)


def _beyond(old: Sequence[Grant], new: Sequence[Grant], kinds: tuple[str, str], budget: _Budget) -> list[Change]:
    """Return what of ``new`` nothing of ``old`` covers; by ``kinds``: where the call was there before, where not."""
    changes, same = [], frozenset(old)
    for grant in dict.fromkeys(new):
        if grant in same:
            continue
        said = dict.fromkeys(_told(atom, role) for role, atom in _atoms(grant) if not _is_covered(atom, old, budget))
        if not said:
            continue
        near = [item for item in old if _meets(item.call, grant.call)][:MAX_NEAR] if budget.take(len(old)) else []
        kind = kinds[0] if near else kinds[1]
        text = "" if not near and list(said) == [ANYTHING] else ", ".join(said)
        was = "; ".join(dict.fromkeys(_whole(item) for item in near))
        is_gain = kind in (WIDENED, ADDED)
        changes.append(Change("needs", kind, grant.call, text if is_gain else "", was if is_gain else text))
    return changes


def _atoms(grant: Grant) -> list[tuple[str, Grant]]:
    """Return a grant in parts that hold one item each of one list, together all of it."""
    parts = []
    for role in _ROLES:
        one: list[dict[str, Any]] = [{role: (item,)} for item in getattr(grant, role)]
        parts += [(role, replace(grant, is_bounded=True, **held)) for held in one]
    if not parts or not grant.is_bounded:
        parts.append(("", grant))
    return parts


def _told(atom: Grant, role: str) -> str:
    if role:
        return str(getattr(atom, role)[0])
    return ANYTHING if atom.is_bounded else OTHERS


def _whole(grant: Grant) -> str:
    items = [item for role in _ROLES for item in getattr(grant, role)]
    return ", ".join(items if grant.is_bounded else [*items, OTHERS]) or ANYTHING


def _meets(one: str, other: str) -> bool:
    return _call_covers(one, other) or _call_covers(other, one)


def _call_covers(old: str, new: str) -> bool:
    return old == new or (old.endswith(".*") and new.startswith(old[:-1]))


def _is_covered(atom: Grant, old: Sequence[Grant], budget: _Budget) -> bool:
    return budget.take(len(old)) and any(_grant_covers(item, atom, budget) for item in old)


def _grant_covers(old: Grant, new: Grant, budget: _Budget) -> bool:
    if not _call_covers(old.call, new.call):
        return False
    if not old.is_bounded:  # may have been anything before
        return True
    return new.is_bounded and all(_role_covers(role, old, new, budget) for role in _ROLES)


def _role_covers(role: str, old: Grant, new: Grant, budget: _Budget) -> bool:
    held, wanted = getattr(old, role), getattr(new, role)
    if not wanted:  # stated: anything; read from code: none
        return new.is_literal or not held
    if not held:
        return not old.is_literal and (role != "targets" or all(unbound_covers_target(item) for item in wanted))
    if not budget.take(len(held) * len(wanted)):
        return False
    known = frozenset(held)
    missing = [item for item in wanted if item not in known]
    return all(any(_item_covers(role, old, new, mine, item) for mine in held) for item in missing)


def _item_covers(role: str, old: Grant, new: Grant, mine: str, item: str) -> bool:
    if role == "commands":
        return False  # what is equal was found already
    if role == "names":
        return name_covers(mine, item)
    if old.is_literal:
        return False
    if role == "targets":
        return target_covers(mine, item)
    return path_fits(mine, item) if new.is_literal else path_covers(mine, item)


# everything else -----------------------------------------------------------------------------------------------------


def _calls(before: Asked, now: Asked) -> list[Change]:
    changes = [Change("calls", ADDED, call) for call in sorted(now.calls - before.calls)]
    changes += [Change("calls", REMOVED, call) for call in sorted(before.calls - now.calls)]
    if now.is_dynamic != before.is_dynamic:
        changes.append(Change("calls", ADDED if now.is_dynamic else REMOVED, "calls that nobody can tell"))
    return changes


def _commands(before: Mapping[str, tuple[str, ...]], now: Mapping[str, tuple[str, ...]]) -> list[Change]:
    # Quoted, so that two lists of words that differ never read the same.
    old, new = ({name: shlex.join(argv) for name, argv in held.items()} for held in (before, now))
    changes = _named("commands", old, new)
    return [
        replace(change, kind=_argv_kind(before[change.subject], now[change.subject]))
        if change.kind == CHANGED else change
        for change in changes
    ]  # fmt: skip


def _argv_kind(before: tuple[str, ...], now: tuple[str, ...]) -> str:
    """What is declared is a prefix: a shorter one lets more follow."""
    if now == before[: len(now)]:
        return WIDENED
    return NARROWED if before == now[: len(before)] else CHANGED


def _named(area: str, before: Mapping[str, str], now: Mapping[str, str]) -> list[Change]:
    changes = []
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name), now.get(name)
        if old is None:
            changes.append(Change(area, ADDED, name, new or ""))
        elif new is None:
            changes.append(Change(area, REMOVED, name, "", old))
        elif old != new:
            changes.append(Change(area, CHANGED, name, new, old))
    return changes


def _limits(before: Asked, now: Asked) -> list[Change]:
    changes = []
    for name in sorted(before.limits.keys() | now.limits.keys()):
        old, new = before.limits.get(name), now.limits.get(name)
        if old != new:
            # Without one of its own it has the tier's, of which nobody here knows whether it is more.
            is_more = new is None or (old is not None and new > old)
            kind = CHANGED if old is None else WIDENED if is_more else NARROWED
            texts = (f"{value:.15g}" if value is not None else "the tier's" for value in (new, old))
            changes.append(Change("limits", kind, name, *texts))
    return changes


def _parameters(before: Mapping[str, Parameter], now: Mapping[str, Parameter]) -> list[Change]:
    changes = []
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name), now.get(name)
        if old is None and new is not None:
            changes.append(Change("parameters", ADDED, name, _parameter(new)))
        elif new is None and old is not None:
            changes.append(Change("parameters", REMOVED, name, "", _parameter(old)))
        elif old is not None and new is not None and replace(old, description="") != replace(new, description=""):
            changes.append(Change("parameters", _parameter_kind(old, new), name, _parameter(new), _parameter(old)))
    return changes


def _parameter_kind(old: Parameter, new: Parameter) -> str:
    """Return whether more values are taken, fewer, or others."""
    if old.type != new.type:
        return CHANGED
    wider = [
        _is_lifted(old.pattern, new.pattern),
        bool(old.choices) and (not new.choices or bool(set(map(repr, new.choices)) - set(map(repr, old.choices)))),
        old.minimum is not None and (new.minimum is None or new.minimum < old.minimum),
        old.maximum is not None and (new.maximum is None or new.maximum > old.maximum),
    ]
    if any(wider):
        return WIDENED
    bounds = ("pattern", "choices", "minimum", "maximum")
    if all(getattr(old, name) == getattr(new, name) for name in (item.name for item in fields(Parameter))
           if name not in (*bounds, "description")):  # fmt: skip
        return NARROWED
    return CHANGED  # another default, other lengths or items, required or not, locked or not, whatever else is narrower


def _is_lifted(old: str | None, new: str | None) -> bool:
    """Another pattern may let through what the old one did not."""
    return old is not None and new != old


def _parameter(item: Parameter) -> str:
    said = [item.type, "required" if item.required else ""]
    said += [f"default {item.default!r}" if item.default is not None else ""]
    said += [f"pattern {item.pattern}" if item.pattern is not None else ""]
    said += [f"one of {', '.join(map(str, item.choices))}" if item.choices else ""]
    if item.minimum is not None or item.maximum is not None:
        said.append(f"{'' if item.minimum is None else item.minimum}..{'' if item.maximum is None else item.maximum}")
    return ", ".join(filter(None, said))
