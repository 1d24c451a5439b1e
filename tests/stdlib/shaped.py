"""Holds what calls really gave against the shapes that are written down for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cli.local.declared_results import Fit, form_of
from stdlib.call_specs import CallSpec
from stdlib.handles import Handle


def misshapen(spec: CallSpec, value: Any) -> list[Any]:
    """The places where a value is not as its call's shape has it; the items of a stream are a list."""
    if isinstance(value, Handle):
        value = value.fields()
    elif spec.gives == "handle":
        return []  # what a script sees of it is kept elsewhere
    return list(Fit(spec.name).misfits(_as_in_manifests(value), form_of(spec), ()))


def _as_in_manifests(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, Mapping):
        return {name: _as_in_manifests(held) for name, held in value.items()}
    return [_as_in_manifests(held) for held in value] if isinstance(value, list | tuple) else value
