"""``param``: the one local call that looks at the run, and so takes its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandbox.pure.declared import PURE, pure, text


@pure("param", name=text)
def _name(name: str) -> str:
    return name


_checked = PURE["param"]


def param(parameters: Mapping[str, Any], args: list[Any], named: dict[str, Any]) -> Any:
    """Return the run's parameter ``name``; None if the run has none of that name."""
    return parameters.get(_checked(parameters, args, named))


PURE["param"] = param
