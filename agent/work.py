"""One admitted run in the sandbox: program, gate and host put together, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from dataclasses import replace
from functools import partial

from agent.admission import Admitted
from agent.confinement import Confinement
from agent.libraries import pins
from agent.nesting import Nesting
from agent.recorder import Recorder
from agent.results import Ending
from agent.runs import RunRequest
from agent.secrets import Secrets
from policies.decide import decide_below, decide_effective
from policies.model import Facts, Verdict
from sandbox.budget import Budget
from sandbox.gate import CallTable, Gate, Session
from sandbox.launch import Outcome, Program
from stdlib.host import Host, RunContext
from stdlib.store import Store


class Worker:
    """Runs what was admitted.

    Args:
        confinement: The sandbox.
        table: The calls.
        recorder: Each call is a record.
        host: As calls reach it; each run gets it with what its manifest declares.
        state: What scripts remember; None if they cannot.
        secrets: What scripts may use; None if there are none.
        nesting: For scripts that call others; None if they cannot.
    """

    def __init__(
        self,
        confinement: Confinement,
        table: CallTable,
        recorder: Recorder,
        host: Host,
        state: Store | None = None,
        secrets: Secrets | None = None,
        nesting: Nesting | None = None,
    ) -> None:
        self._host = host
        self._confinement = confinement
        self._table = table
        self._recorder = recorder
        self._state = state
        self._secrets = secrets
        self._nesting = nesting

    async def run(self, request: RunRequest, admitted: Admitted, durable: Awaitable[None]) -> Ending:
        """Run it to its end.

        Args:
            request: What was asked for.
            admitted: What was decided about it.
            durable: Done when its beginning is on disk; the worker gets the script only after it.

        Raises:
            OutriderError: What ``durable`` raised; nothing ran.
            UnavailableError: There is no sandbox; nothing ran.

        Cancellation:
            Kills the worker.
        """
        sandbox = await self._confinement.ready()
        effective, manifest = admitted.effective, admitted.entry.bundle.manifest
        limits = effective.limits
        budget = Budget(limits)
        # The name that an author was proved to hold; what is in the worker has no say in it.
        name = admitted.proved.name
        context = RunContext(
            admitted.parameters,
            principal=request.principal,
            reason=request.reason,
            ends_s=time.monotonic() + limits.wall_s,
            left=budget.remaining,
            store=None if self._state is None else self._state.of(name),
            secrets=None if self._secrets is None else self._secrets.of(name),
        )
        if self._nesting is not None:
            context.scripts = self._nesting.caller(self.run, request, admitted, budget)

        def decide(call: str, facts: Facts) -> Verdict:
            return decide_effective(effective, call, facts)

        gate = Gate(
            self._table,
            decide,
            self._recorder,
            Session(request.run_id, request.run_id, request.principal, request.reason),
            budget,
            replace(self._host, commands=manifest.commands, scripts=pins(manifest)),
            context,
            decide_below=partial(decide_below, effective),
            redactor=context.redactor,
            on_close=context.end,
        )
        program = Program(
            manifest.language, manifest.main, admitted.entry.bundle.files, admitted.parameters,
            admitted.required.libraries,
        )  # fmt: skip
        try:
            return _ending(await sandbox.run(program, gate, limits, durable), context)
        finally:
            context.redactor.clear()


def _ending(outcome: Outcome, context: RunContext) -> Ending:
    outcome, redactor = outcome.without_secrets(context.redactor), context.redactor
    return Ending(
        status=outcome.status,
        reason=outcome.reason,
        result=outcome.result,
        output=outcome.output,
        output_truncated=outcome.output_truncated,
        metrics=redactor.plain(context.metrics) if outcome.status == "ok" else [],  # half a measurement is none
        state=context.state,
        status_text=redactor.text(context.status_text) or None,
        rows=redactor.plain(context.rows),
        progress=redactor.plain(context.progress),
        usage=outcome.usage.to_plain(),
        walls_missing=outcome.missing_walls,
    )
