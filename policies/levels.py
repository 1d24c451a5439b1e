"""How far a version is from the one before it, for whoever uses the script: metadata, compatible or breaking. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from protocol.manifest import Manifest, Parameter

FIRST: Final = "first"  # there is none before it
METADATA: Final = "metadata"  # nothing that runs or is asked for is another
COMPATIBLE: Final = "compatible"  # whoever used the one before can use this one in the same way
BREAKING: Final = "breaking"  # parameters that were taken are not, or a metric that was promised is not there


def level(before: Manifest, now: Manifest, *, is_code_same: bool) -> str:
    """Return the level of a change.

    It is about what a manifest promises; whether the code keeps it, only its tests can tell.

    Args:
        before: Of the version before.
        now: Of the version.
        is_code_same: Whether all files but the manifest are the same.
    """
    if _takes_less(before, now) or _tells_less(before, now):
        return BREAKING
    if is_code_same and _essence(before) == _essence(now):
        return METADATA
    return COMPATIBLE


def _takes_less(before: Manifest, now: Manifest) -> bool:
    was_required = {name for name, item in before.parameters.items() if item.required}
    if any(item.required and name not in was_required for name, item in now.parameters.items()):
        return True
    for name, old in before.parameters.items():
        new = now.parameters.get(name)
        if new is None or new.type != old.type or _has_new_bound(old, new):
            return True
    return False


def _has_new_bound(old: Parameter, new: Parameter) -> bool:
    if new.pattern is not None and new.pattern != old.pattern:
        return True
    if new.minimum is not None and (old.minimum is None or new.minimum > old.minimum):
        return True
    if new.maximum is not None and (old.maximum is None or new.maximum < old.maximum):
        return True
    before, after = set(map(repr, old.choices)), set(map(repr, new.choices))
    return bool(after) and (not before or not before <= after)


def _tells_less(before: Manifest, now: Manifest) -> bool:
    return not {(item.name, item.type, item.unit) for item in before.metrics} <= {
        (item.name, item.type, item.unit) for item in now.metrics
    }


def _essence(manifest: Manifest) -> Manifest:
    parameters = {name: replace(item, description="") for name, item in manifest.parameters.items()}
    return replace(manifest, version="", description="", tests=(), parameters=parameters)
