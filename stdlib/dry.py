"""What a call gives in a dry run: decided and recorded, and not carried out.

A script goes on as if it had worked, so it gets what has the form of a result: a map with ``dry_run`` and, for the
calls whose results scripts look into, the other fields; 0, true, an empty text or list; nothing; a stream that is at
its end; a handle on which nothing is carried out either.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

from policies.model import Facts
from stdlib.handles import Handle

DRY_RUN: Final = "dry_run"  # true in every map that a dry call gives
CHANGED: Final[Mapping[str, Any]] = {
    "created": False, "old_hash": None, "new_hash": None, "journal": None, "no_undo": "a dry run",
}  # fmt: skip
RAN: Final[Mapping[str, Any]] = {
    "code": 0, "signal": None, "stdout": "", "stderr": "", "truncated": False, "ms": 0.0,
}  # fmt: skip
ENDED: Final[Mapping[str, Any]] = {"code": 0, "signal": None, "cpu": 0.0, "peak_bytes": 0, "stragglers": 0}
_EMPTY: Final[Mapping[Any, Any]] = {bool: True, int: 0, float: 0.0, str: "", bytes: b""}


class Unreal(Handle):
    """Stands for what a call would have opened; whatever is done with it is not carried out either."""

    is_dry = True

    def __init__(self, kind: str, facts: Facts) -> None:
        self.kind = kind  # type: ignore[misc]  # of this one alone
        self.facts = facts._replace(command=None)  # nothing runs that would count

    def fields(self) -> dict[str, Any]:
        """Return that it is none."""
        return {DRY_RUN: True}


def value_of(implementation: Any, said: Mapping[str, Any] | None) -> Any:
    """Return the value that stands for the result of a call.

    Args:
        implementation: Whose return type says which form it has.
        said: The other fields of a map.
    """
    returned = get_type_hints(implementation).get("return")
    if get_origin(returned) in (Union, types.UnionType):
        kinds = [item for item in get_args(returned) if item is not types.NoneType]
        returned = kinds[0] if kinds else None
    kind = get_origin(returned) or returned
    if kind is dict:
        return {**(said or {}), DRY_RUN: True}
    if kind is list:
        return []
    return _EMPTY.get(kind)
