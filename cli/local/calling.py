"""``script.call`` of a local run: scripts from ``--library`` folders, each at the tier of its own manifest.

As on a host, what is called runs under its own policy and within what its caller has left, at most so deep. Nothing is
signed here, so a manifest's tier stands for the tier that it would be approved for.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from cli.local.folder import Script
from cli.local.report import Ran
from cli.local.shelf import Shelf
from policies.model import Limits
from protocol.errors import BudgetError, DeniedError, NotFoundError, OutriderError, UnavailableError
from protocol.manifest import Manifest
from sandbox.budget import Budget

MAX_DEPTH: Final = 4  # agent.nesting.MAX_DEPTH

Work = Callable[[Script, Mapping[str, Any], Limits, int], Awaitable[Ran]]


class Caller:
    """Calls scripts for one local run.

    Args:
        manifest: Of the caller.
        shelf: Where scripts come from.
        budget: Of the caller; its time begins now.
        depth: Of the caller.
        work: Runs a script with parameters, within limits, at a depth.
    """

    def __init__(self, manifest: Manifest, shelf: Shelf, budget: Budget, depth: int, work: Work) -> None:
        self._pinned = {item.name: item for item in manifest.requires}
        self._shelf = shelf
        self._budget = budget
        self._depth = depth
        self._work = work
        self._until_s = time.monotonic() + budget.limits.wall_s

    async def call(self, name: str, parameters: Mapping[str, Any]) -> Any:
        """Run a script and return its result; raises as ``agent.nesting.Caller.call``."""
        if name not in self._pinned:
            raise NotFoundError(f"the manifest pins no script {name:.120} in requires")
        if self._depth >= MAX_DEPTH:
            raise BudgetError(f"scripts call each other at most {MAX_DEPTH} deep", budget="depth")
        bundle = self._shelf.bundle(self._pinned[name])
        script = Script(bundle.manifest, dict(bundle.files), is_bare=False)
        checked = bundle.manifest.check_parameters(parameters)
        left = self._budget.left(self._until_s - time.monotonic())
        ran = await self._work(script, checked, left, self._depth + 1)
        self._budget.spend_called(len(ran.calls), len(ran.output.encode()))
        if ran.status == "ok":
            return ran.result
        raise _failure(name, ran)


def _failure(name: str, ran: Ran) -> OutriderError:
    told = f"{name}: {ran.reason or ran.status}"
    if ran.status == "denied":
        return DeniedError(told, rule=f"script.call {name}")
    return BudgetError(told, budget="script") if ran.status == "killed" else UnavailableError(told)
