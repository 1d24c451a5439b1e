"""One admitted run in the sandbox: program, gate and host put together, and what came of it."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace
from functools import partial

from agent.admission import Admitted
from agent.confinement import Confinement
from agent.recorder import Recorder
from agent.results import Ending
from agent.runs import RunRequest
from policies.decide import decide_below, decide_effective
from policies.model import Facts, Verdict
from sandbox.budget import Budget
from sandbox.gate import CallTable, Gate, Session
from sandbox.launch import Outcome, Program
from stdlib.host import Host, RunContext


class Worker:
    """Runs what was admitted.

    Args:
        confinement: The sandbox.
        table: The calls.
        recorder: Each call is a record.
        host: As calls reach it; each run gets it with the commands that its manifest declares.
    """

    def __init__(self, confinement: Confinement, table: CallTable, recorder: Recorder, host: Host) -> None:
        self._host = host
        self._confinement = confinement
        self._table = table
        self._recorder = recorder

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
        context = RunContext(admitted.parameters)

        def decide(call: str, facts: Facts) -> Verdict:
            return decide_effective(effective, call, facts)

        gate = Gate(
            self._table,
            decide,
            self._recorder,
            Session(request.run_id, request.run_id, request.principal, request.reason),
            Budget(limits),
            replace(self._host, commands=manifest.commands),
            context,
            decide_below=partial(decide_below, effective),
            on_close=context.end,
        )
        program = Program(manifest.language, manifest.main, admitted.entry.bundle.files, admitted.parameters)
        return _ending(await sandbox.run(program, gate, limits, durable), context)


def _ending(outcome: Outcome, context: RunContext) -> Ending:
    return Ending(
        status=outcome.status,
        reason=outcome.reason,
        result=outcome.result,
        output=outcome.output,
        output_truncated=outcome.output_truncated,
        metrics=context.metrics if outcome.status == "ok" else [],  # half a measurement is none
        state=context.state,
        status_text=context.status_text or None,
        usage=outcome.usage.to_plain(),
        walls_missing=outcome.missing_walls,
    )
