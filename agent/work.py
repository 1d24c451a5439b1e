"""One admitted run in the sandbox: program, gate and host put together, and what came of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial

from agent.admission import Admitted
from agent.blobs import HostBlobs
from agent.confinement import Confinement
from agent.consent import Consents
from agent.early_calls import EARLY
from agent.libraries import pins
from agent.nesting import Nesting
from agent.recorder import Recorder
from agent.results import Ending
from agent.runs import RunRequest
from agent.secrets import Secrets
from agent.shares import Shares
from kernel.visits import count_for
from policies.decide import never
from policies.dry import only_reads
from sandbox.budget import Budget
from sandbox.gate import Gate
from sandbox.launch import Outcome, Program
from sandbox.parties import Answer, CallTable, DryRun, Session
from stdlib.call_specs import CallSpec
from stdlib.host import Host, RunContext, host_of_run
from stdlib.own_temporaries import Decided
from stdlib.store import KeyValue, Store


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
        blobs: Where scripts put and get blobs; None if nowhere.
        consents: Asks the host's owner; None if nobody can be asked.
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
        blobs: HostBlobs | None = None,
        consents: Consents | None = None,
    ) -> None:
        self._host = host
        self._confinement = confinement
        self._table = table
        self._recorder = recorder
        self._state = state
        self._secrets = secrets
        self._nesting = nesting
        self._blobs = blobs
        self._consents = consents
        self._shares = Shares()

    async def run(self, request: RunRequest, admitted: Admitted, durable: Awaitable[None]) -> Ending:
        """Run it to its end.

        Args:
            request: What was asked for.
            admitted: What was decided about it.
            durable: Done when its beginning is on disk; before that, only calls that leave nothing behind
                (:mod:`agent.early_calls`) are made for the script.

        Raises:
            OutriderError: What ``durable`` raised; nothing but that was done for the script.
            UnavailableError: There is no sandbox; nothing ran.

        Cancellation:
            Kills the worker.
        """
        durable = asyncio.ensure_future(durable)
        sandbox = await self._confinement.ready()
        effective, manifest = admitted.effective, admitted.entry.bundle.manifest
        limits = effective.limits
        budget = Budget(limits)
        # The name that an author was proved to hold; what is in the worker has no say in it.
        name = admitted.proved.name
        count_for(*self._shares.of_run(name))
        context = RunContext(
            admitted.parameters,
            principal=request.principal,
            reason=request.reason,
            is_dry=request.dry_run,
            ends_s=time.monotonic() + limits.wall_s,
            left=budget.remaining,
            limits=limits,
            store=self._store(name, is_dry=request.dry_run),
            secrets=None if self._secrets is None or admitted.is_trial else self._secrets.of(name),
            blobs=None if self._blobs is None or admitted.is_trial else self._blobs.of(request.run_id, name),
        )
        if self._nesting is not None:
            context.scripts = self._nesting.caller(self.run, request, admitted, budget)

        asker = self._asker(request, name, durable)
        if asker is not None:
            context.ask = partial(asker, "consent.ask")
        decided = Decided(effective, context)

        def gate() -> Gate:  # made while the worker begins
            return Gate(
                self._table,
                decided.decide,
                self._recorder,
                Session(request.run_id, request.run_id, request.principal, request.reason),
                budget,
                host_of_run(self._host, context, commands=manifest.commands, scripts=pins(manifest)),
                context,
                decide_below=decided.below,
                never=partial(never, effective),
                redactor=context.redactor,
                on_close=context.end,
                asker=asker,
                dry_run=DryRun(only_reads(effective), CallSpec.dry_result) if request.dry_run else None,
            )

        program = Program(
            manifest.language, manifest.main, admitted.entry.bundle.files, admitted.parameters,
            admitted.required.libraries,
        )  # fmt: skip
        try:
            return _ending(await sandbox.run(program, gate, limits, durable, EARLY), context)
        finally:
            context.redactor.clear()
            if self._consents is not None:
                self._consents.forget(request.run_id)

    def _asker(
        self, request: RunRequest, name: str, durable: asyncio.Future[None]
    ) -> Callable[..., Awaitable[Answer]] | None:
        """Return what asks the host's owner in the name of a run, once that is on disk."""
        consents = self._consents
        if consents is None:
            return None

        async def ask(call: str, what: str, timeout_s: float | None = None) -> Answer:
            await asyncio.shield(durable)  # also a call that need not wait may need a word of the owner's
            return await consents.ask(
                f"the script {name} of {request.principal}: {what}", about=call, session=request.run_id,
                run=request.run_id, principal=request.principal, timeout_s=timeout_s, chain=request.chain,
            )  # fmt: skip

        return ask

    def _store(self, name: str, *, is_dry: bool) -> KeyValue | None:
        """Return what a script remembers; in a dry run it begins empty and is forgotten."""
        if self._state is None:
            return None
        return (Store() if is_dry else self._state).of(name)


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
        timestamp_ms=context.timestamp_ms if outcome.status == "ok" else None,  # as it is of the metrics
        rows=redactor.plain(context.rows),
        progress=redactor.plain(context.progress),
        usage=outcome.usage.to_plain(),
        walls_missing=outcome.missing_walls,
    )
