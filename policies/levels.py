"""How far a version is from the one before it, for whoever uses the script: metadata, compatible or breaking. Pure.

A version number says the same to people; :func:`refuse_silent_break` holds it to that.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from protocol.errors import ConflictError
from protocol.manifest import Manifest
from protocol.parameters import Parameter
from protocol.versions import Version, may_break, next_breaking

FIRST: Final = "first"  # there is none before it
METADATA: Final = "metadata"  # nothing that runs or is asked for is another
COMPATIBLE: Final = "compatible"  # whoever used the one before can use this one in the same way
BREAKING: Final = "breaking"  # it takes less, tells less, or needs a higher tier than the one before


def level(before: Manifest, now: Manifest, *, is_code_same: bool) -> str:
    """Return the level of a change.

    It is about what a manifest promises; whether the code keeps it, only its tests can tell.

    Args:
        before: Of the version before.
        now: Of the version.
        is_code_same: Whether all files but the manifest are the same.
    """
    if broken(before, now):
        return BREAKING
    if is_code_same and _essence(before) == _essence(now):
        return METADATA
    return COMPATIBLE


def broken(before: Manifest, now: Manifest) -> list[str]:
    """Return what whoever used the version before can rely on no longer, in words; nothing if all of it still holds."""
    found = []
    if now.kind != before.kind:
        found.append(f"it is a {now.kind}, not a {before.kind}")
    if now.tier > before.tier:
        found.append(f"it needs tier {now.tier.label}, not {before.tier.label}")
    return found + _takes_less(before, now) + _tells_less(before, now)


def refuse_silent_break(before: Manifest, now: Manifest) -> None:
    """Return if the number of a version announces what it breaks, if it breaks anything.

    Raises:
        ConflictError: It does not; says what is broken and which number would do.
    """
    old, new = Version.parse(before.version), Version.parse(now.version)
    found = broken(before, now)
    if found and not may_break(old, new):
        told = "; ".join(found[:3]) + (f"; and {len(found) - 3} more" if len(found) > 3 else "")
        raise ConflictError(
            f"{now.version} breaks what {before.version} promised ({told}): make it {next_breaking(old)} or keep that"
        )


def _takes_less(before: Manifest, now: Manifest) -> list[str]:
    was_required = {name for name, item in before.parameters.items() if item.required}
    found = [
        f"the parameter {name} is required"
        for name, item in now.parameters.items()
        if item.required and name not in was_required
    ]
    for name, old in before.parameters.items():
        new = now.parameters.get(name)
        if new is None:
            found.append(f"the parameter {name} is gone")
        elif new.type != old.type:
            found.append(f"the parameter {name} is {new.type}, not {old.type}")
        elif new.is_locked and not old.is_locked:
            found.append(f"the parameter {name} is locked")
        elif _has_new_bound(old, new):
            found.append(f"the parameter {name} takes less")
    return found


def _has_new_bound(old: Parameter, new: Parameter) -> bool:
    if new.pattern is not None and new.pattern != old.pattern:
        return True
    for key in ("minimum", "min_length", "min_items"):
        least, was = getattr(new, key), getattr(old, key)
        if least is not None and (was is None or least > was):
            return True
    for key in ("maximum", "max_length", "max_items"):
        most, was = getattr(new, key), getattr(old, key)
        if most is not None and (was is None or most < was):
            return True
    if old.items is not None and new.items is not None and old.items.type != new.items.type:
        return True
    if old.items is not None and new.items is not None and _has_new_bound(old.items, new.items):
        return True
    before, after = set(map(repr, old.choices)), set(map(repr, new.choices))
    return bool(after) and (not before or not before <= after)


def _tells_less(before: Manifest, now: Manifest) -> list[str]:
    kept = {(item.name, item.type, item.unit) for item in now.metrics}
    found = [
        f"the metric {item.name} is gone or another"
        for item in before.metrics
        if (item.name, item.type, item.unit) not in kept
    ]
    if before.result is not None and before.result != now.result:
        new = now.result
        if new is None or new.type != before.result.type:
            found.append(f"its result is {'not promised' if new is None else new.type}, not {before.result.type}")
        else:
            found += [
                f"the field {name} of its result is gone or another"
                for name, kind in before.result.fields.items()
                if new.fields.get(name) != kind
            ]
    return found


def _essence(manifest: Manifest) -> Manifest:
    parameters = {name: replace(item, description="") for name, item in manifest.parameters.items()}
    return replace(
        manifest, version="", description="", tests=(), parameters=parameters, tags=(), licence="", links={},
        visibility="",
    )  # fmt: skip
