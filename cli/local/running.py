"""One script in the real sandbox on this machine, without a server; gate, policy and walls are the agent's."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from cli.local.calling import Caller
from cli.local.folder import Script
from cli.local.policies import tier_policy
from cli.local.report import CallMade, Ran
from cli.local.shelf import Shelf, pins
from policies.decide import Effective, Layer, never, require_language
from policies.dry import only_reads
from policies.model import LIMIT_FIELDS, Facts, Limits, Policy, Verdict
from policies.needs import needs_layer
from sandbox.budget import Budget
from sandbox.gate import Gate
from sandbox.launch import Outcome, Program, Sandbox
from sandbox.parties import CallTable, DryRun, Session
from stdlib.blobs import FolderBlobs
from stdlib.call_specs import CallSpec
from stdlib.host import Host, RunContext
from stdlib.identities import own_user
from stdlib.journal import Journal
from stdlib.own_temporaries import Decided
from stdlib.processes.start import Processes
from stdlib.secrets import GivenSecrets
from stdlib.store import Store


class Kept:
    """A recorder for runs that leave nothing behind: the report is made from the outcome."""

    def check_room(self) -> None:
        """There is always room for what is let go."""

    def record(self, **fields: Any) -> None:
        """Let the record go; a local run has no ledger."""

    async def intend(self, **fields: Any) -> None:
        """Let the intent go; a local run has no ledger."""


def effective(script: Script, policy: Policy) -> Effective:
    """Return what the script may do here: the policy, narrowed by what its manifest asks for."""
    asked: dict[str, Any] = {LIMIT_FIELDS[name]: value for name, value in script.manifest.limits.items()}
    limits = policy.limits.narrowed(replace(policy.limits, **asked))
    needs = needs_layer(script.manifest)
    layers = [Layer(policy.name, policy.rules, limits), *([needs] if needs is not None else [])]
    return Effective(tuple(layers), own_user())


class Judge(Protocol):
    """Decides on the calls of a run in place of policy and manifest; a trace does."""

    temporaries: list[str]  # what the run has made, as ``RunContext`` has it; given when it begins

    def decide(self, call: str, facts: Facts) -> Verdict:
        """Return the verdict on one call. Equal facts give equal verdicts."""

    def below(self, call: str, directory: str) -> bool | None:
        """Tell whether everything (True) or nothing (False) below a directory is allowed; None if it depends."""


@dataclass(frozen=True)
class Beside:
    """What a local run has beside its script."""

    state: Path | None = None  # the file of what scripts remember; None forgets it with the run
    secrets: Mapping[str, bytes] = field(default_factory=dict)  # values that it may use, by name
    shelf: Shelf = field(default_factory=Shelf)  # what it may require
    judge: Judge | None = None  # of its calls, not of those of what it calls; None: its policy and its manifest
    is_dry: bool = False  # what changes anything is decided, and not carried out


async def run(
    sandbox: Sandbox,
    script: Script,
    policy: Policy,
    table: CallTable,
    parameters: Mapping[str, Any],
    beside: Beside | None = None,
) -> Ran:
    """Run ``script`` once and return how it went. Its changes of files can be undone by itself, not later.

    Args:
        sandbox: Started.
        script: What to run.
        policy: What it may do; narrowed by its manifest.
        table: The calls.
        parameters: Checked.
        beside: Nothing without it.

    Raises:
        DeniedError: The policy does not let a script choose its language.
        ArgumentError: What it requires is not there.
    """
    beside = beside or Beside()
    store = Store(beside.state)
    try:
        return await _Runs(sandbox, table, beside, store).run(script, policy, parameters, None, 1)
    finally:
        store.close()


@dataclass(frozen=True)
class _Runs:
    """One script, and those that it calls."""

    sandbox: Sandbox
    table: CallTable
    beside: Beside
    store: Store

    async def run(
        self, script: Script, policy: Policy, parameters: Mapping[str, Any], left: Limits | None, depth: int
    ) -> Ran:
        allowed, manifest = effective(script, policy), script.manifest
        require_language(allowed, manifest.language)
        limits: Limits = allowed.limits if left is None else allowed.limits.narrowed(left)
        libraries = self.beside.shelf.libraries(manifest, script.files)
        budget = Budget(limits)
        context = RunContext(
            parameters,
            principal="local",
            is_dry=self.beside.is_dry,
            ends_s=time.monotonic() + limits.wall_s,
            left=budget.remaining,
            limits=limits,
            store=(Store() if self.beside.is_dry else self.store).of(manifest.name),  # a dry one forgets it
            secrets=GivenSecrets(self.beside.secrets),
            scripts=Caller(manifest, self.beside.shelf, budget, depth, self._called),
        )

        journal = Journal(tempfile.mkdtemp(prefix="outrider-journal-")).noting(context.changes)
        context.on_end(partial(shutil.rmtree, journal.directory))
        folder = Path(tempfile.mkdtemp(prefix="outrider-blobs-"))
        context.on_end(partial(shutil.rmtree, folder))
        context.blobs = FolderBlobs(folder)
        processes = Processes()  # started when a call first needs it
        context.on_end(processes.close)

        judge = self.beside.judge if depth == 1 else None
        decided = judge or Decided(allowed, context)
        if judge is not None:
            judge.temporaries = context.temporaries

        def gate() -> Gate:
            return Gate(
                self.table,
                decided.decide,
                Kept(),
                Session("local", "local", "local"),
                budget,
                Host(commands=manifest.commands, scripts=pins(manifest), journal=journal, processes=processes),
                context,
                decide_below=decided.below,
                never=(lambda _: None) if judge is not None else partial(never, allowed),
                redactor=context.redactor,
                on_close=context.end,
                dry_run=DryRun(only_reads(allowed), CallSpec.dry_result) if self.beside.is_dry else None,
            )

        program = Program(manifest.language, manifest.main, dict(script.files), dict(parameters), libraries)
        return _ran(await self.sandbox.run(program, gate, limits), context)

    async def _called(self, script: Script, parameters: Mapping[str, Any], left: Limits, depth: int) -> Ran:
        # A task of its own: what ends this run from inside must not end its caller's.
        policy = tier_policy(script.manifest.tier)
        task = asyncio.ensure_future(self.run(script, policy, parameters, left, depth))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait([task])
            raise


def _ran(outcome: Outcome, context: RunContext) -> Ran:
    outcome, redactor = outcome.without_secrets(context.redactor), context.redactor
    return Ran(
        status=outcome.status,
        reason=outcome.reason,
        result=outcome.result,
        output=outcome.output.decode("utf-8", "replace"),
        output_truncated=outcome.output_truncated,
        metrics=redactor.plain(context.metrics) if outcome.status == "ok" else [],  # an error clears all metrics
        state=context.state,
        status_text=redactor.text(context.status_text) or None,
        timestamp_ms=context.timestamp_ms if outcome.status == "ok" else None,
        rows=redactor.plain(context.rows),
        progress=redactor.plain(context.progress),
        calls=[CallMade(item.call, item.verdict, item.rule, item.ms) for item in outcome.calls],
        wall_ms=outcome.usage.wall_ms,
        cpu_ms=outcome.usage.cpu_ms,
        peak_bytes=outcome.usage.peak_bytes,
        walls_missing=outcome.missing_walls,
    )


def parameters_of(script: Script, given: Mapping[str, str]) -> dict[str, Any]:
    """Return typed parameters from ``--arg k=v``; a bare file takes them as text.

    Raises:
        ArgumentError: Unknown, missing or of the wrong form.
    """
    if script.is_bare:
        return dict(given)
    manifest = script.manifest
    return manifest.check_parameters({name: manifest.convert_parameter(name, text) for name, text in given.items()})
