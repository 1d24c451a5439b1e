"""Compares what calls return with what their text promises."""

from __future__ import annotations

import re
from typing import Any

from stdlib.catalogue import load

Fields = dict[str, type | tuple[type, ...]]
TEXT_OR_NOTHING = (str, type(None))


def names_in_text(call: str) -> set[str]:
    """The names that the text of a call gives to fields: whatever it quotes that is no parameter."""
    spec = load().find(call)
    assert spec is not None
    quoted = set(re.findall(r"``\{?([a-z0-9_, ]+)\}?``", spec.doc))
    return {name for item in quoted for name in item.split(", ")} - {item.name for item in spec.parameters}


def check_fields(value: dict[str, Any], fields: Fields) -> None:
    """Exactly these fields, of exactly these types: a bool is no number here."""
    assert set(value) == set(fields)
    for name, kind in fields.items():
        kinds = kind if isinstance(kind, tuple) else (kind,)
        assert type(value[name]) in kinds, (name, value[name])


def family(name: str) -> set[str]:
    """The names of all calls of a family."""
    return {spec.name for spec in load() if spec.family == name}
