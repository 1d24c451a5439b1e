"""Scripts that scripts call: each a session of its own, at its own approved tier, inside the budget of its caller.

- What is called is proved as every script is, again on every call, and its policy is its own: its tier, its approvals,
  its needs and the host's ceiling. The caller's permissions neither add to it nor take from it; that a script may call
  it at all is decided by the caller's policy, on the name that its manifest pins.
- An operator's signed order must cover the tier of what is called too.
- Time, calls and output are those of the caller: what is left of them bounds the called script, and what it used is
  gone for the caller. It needs no place of its own among the workers, as its caller holds one and waits; so a place
  stands for at most ``MAX_DEPTH`` workers, and callers never wait for each other.
- It has its own ``run.start`` and ``run.end``, which name its caller's run. When the caller is stopped, so is it.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from agent import rows
from agent.admission import Admission, Admitted
from agent.clock import Clock
from agent.libraries import pins
from agent.logs import LOG
from agent.recorder import Recorder
from agent.results import About, Ending, end_data
from agent.runs import RunRequest
from protocol.errors import BudgetError, DeniedError, InternalError, NotFoundError, OutriderError, UnavailableError
from protocol.frames import encode
from sandbox.budget import Budget

MAX_DEPTH: Final = 4  # scripts in one chain, the first one included

Work = Callable[[RunRequest, Admitted, Awaitable[None]], Awaitable[Ending]]


@dataclass(frozen=True, slots=True)
class Nesting:
    """What calls between scripts need of the agent."""

    admission: Admission
    recorder: Recorder
    clock: Clock

    def caller(self, work: Work, request: RunRequest, admitted: Admitted, budget: Budget) -> Caller:
        """Return what the calls of one run go through.

        Args:
            work: Runs what was admitted.
            request: Of the calling run.
            admitted: What was decided about it.
            budget: Of the calling run; its time begins now.
        """
        return Caller(self, work, request, admitted, budget)


class Caller:
    """Calls scripts for one run; one at a time, as a script waits for each call."""

    def __init__(self, nesting: Nesting, work: Work, request: RunRequest, admitted: Admitted, budget: Budget) -> None:
        self._nesting = nesting
        self._work = work
        self._request = request
        self._admitted = admitted
        self._budget = budget
        self._until_s = time.monotonic() + budget.limits.wall_s

    async def call(self, name: str, parameters: Mapping[str, Any]) -> Any:
        """Run the script that the calling manifest pins as ``name``, and return its result.

        Raises:
            NotFoundError: The manifest pins nothing under this name.
            BudgetError: Too deep, nothing is left of the caller's budget, or the script was killed.
            DeniedError: The script was denied what it needs.
            UnavailableError: The script failed.
            OutriderError: It may not run; says why.

        Cancellation:
            Kills the script.
        """
        digest = pins(self._admitted.entry.bundle.manifest).get(name)
        if digest is None:
            raise NotFoundError(f"the manifest pins no script {name:.120} in requires")
        if self._request.depth >= MAX_DEPTH:
            raise BudgetError(f"scripts call each other at most {MAX_DEPTH} deep", budget="depth")
        request = replace(
            self._request, run_id=f"run_{secrets.token_hex(12)}", digest=digest, parameters=dict(parameters),
            reason=f"called by {self._request.run_id}", timeout_s=None, parent=self._request.run_id,
            depth=self._request.depth + 1, first=self._request.chain,
        )  # fmt: skip
        admitted = await self._nesting.admission.admit_called(
            request, self._budget.left(self._until_s - time.monotonic())
        )
        ending = await self._run(request, admitted)
        if ending.status == "ok":
            return ending.result
        raise _failure(name, ending)

    async def _run(self, request: RunRequest, admitted: Admitted) -> Ending:
        about = _about(request, admitted)
        durable = self._begin(request, admitted, about)
        # A task of its own: what ends this run from inside must not end the caller's.
        task = asyncio.ensure_future(self._work(request, admitted, asyncio.shield(durable)))
        ending = Ending("killed", "its caller was stopped")
        try:
            ending = await asyncio.shield(task)
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait([task])
            raise
        except OutriderError as error:
            ending = Ending("error", str(error))
        except Exception as error:
            ending = Ending("error", "the agent failed; its log says why")
            raise InternalError(f"{about.script} failed; the agent's log says why", detail=repr(error)) from error
        finally:
            self._budget.spend_called(int(ending.usage["calls"]), len(ending.output))
            self._end(request, about, ending)
        return ending

    def _begin(self, request: RunRequest, admitted: Admitted, about: About) -> asyncio.Future[None]:
        record = {
            "kind": "run.start",
            "session": request.run_id,
            "run": request.run_id,
            "principal": request.principal,
            "arguments": admitted.parameters,
            "data": about.to_plain()
            | {"reason": request.reason, "ordered": request.order is not None}
            | ({"dry_run": True} if request.dry_run else {}),
        }
        now_us = self._nesting.clock.time_us()
        opening = rows.open_run(request.run_id, encode(asdict(about)), now_us)
        return self._nesting.recorder.begin([record], [opening])

    def _end(self, request: RunRequest, about: About, ending: Ending) -> None:
        record = {
            "kind": "run.end",
            "session": request.run_id,
            "run": request.run_id,
            "principal": about.principal,
            "outcome": ending.status,
            "duration_us": round(ending.usage["wall_ms"] * 1000),
            "data": end_data(about, ending),
        }
        closing = rows.close_run(request.run_id, self._nesting.clock.time_us())
        try:
            self._nesting.recorder.append([record], [closing])
        except OutriderError as error:  # still open on disk: the next start tells its end
            LOG.error("the end of run %s could not be recorded: %s", request.run_id, error)


def _about(request: RunRequest, admitted: Admitted) -> About:
    proved = admitted.proved
    return About(
        proved.name, proved.version, proved.digest, proved.tier.label, request.principal, parent=request.parent
    )


def _failure(name: str, ending: Ending) -> OutriderError:
    told = f"{name}: {ending.reason or ending.status}"
    if ending.status == "denied":
        return DeniedError(told, rule=f"script.call {name}")
    if ending.status == "killed":
        return BudgetError(told, budget="script")
    return UnavailableError(told)
