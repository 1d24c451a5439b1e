"""One script in the real sandbox on this machine, without a server; gate, policy and walls are the agent's."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from cli.local.folder import Script
from cli.local.report import CallMade, Ran
from policies.decide import Effective, Layer, decide_below, decide_effective, require_language
from policies.model import Limits, Policy
from policies.needs import needs_layer
from sandbox.budget import Budget
from sandbox.gate import CallTable, Gate, Session
from sandbox.launch import Outcome, Program, Sandbox
from stdlib.host import Host, RunContext
from stdlib.journal import Journal

_LIMITS = {
    "wall": "wall_s", "cpu": "cpu_s", "memory": "memory_bytes", "output": "output_bytes", "calls": "calls",
    "calls_per_s": "calls_per_s", "open_files": "open_files", "processes": "processes",
}  # fmt: skip


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
    asked: dict[str, Any] = {_LIMITS[name]: value for name, value in script.manifest.limits.items()}
    limits = policy.limits.narrowed(replace(policy.limits, **asked))
    needs = needs_layer(script.manifest)
    layers = [Layer(policy.name, policy.rules, limits), *([needs] if needs is not None else [])]
    return Effective(tuple(layers))


async def run(sandbox: Sandbox, script: Script, policy: Policy, table: CallTable, parameters: Mapping[str, Any]) -> Ran:
    """Run ``script`` once and return how it went. Its changes of files can be undone by itself, not later.

    Raises:
        DeniedError: The policy does not let a script choose its language.
    """
    allowed = effective(script, policy)
    require_language(allowed, script.manifest.language)
    limits: Limits = allowed.limits
    context = RunContext(parameters)
    manifest = script.manifest
    journal = Journal(tempfile.mkdtemp(prefix="outrider-journal-"))
    context.on_end(partial(shutil.rmtree, journal.directory))

    def gate() -> Gate:
        return Gate(
            table,
            lambda call, facts: decide_effective(allowed, call, facts),
            Kept(),
            Session("local", "local", "local"),
            Budget(limits),
            Host(commands=manifest.commands, journal=journal),
            context,
            decide_below=partial(decide_below, allowed),
            on_close=context.end,
        )

    outcome = await sandbox.run(
        Program(manifest.language, manifest.main, dict(script.files), dict(parameters)), gate, limits
    )
    return _ran(outcome, context)


def _ran(outcome: Outcome, context: RunContext) -> Ran:
    return Ran(
        status=outcome.status,
        reason=outcome.reason,
        result=outcome.result,
        output=outcome.output.decode("utf-8", "replace"),
        output_truncated=outcome.output_truncated,
        metrics=context.metrics if outcome.status == "ok" else [],  # an error clears all metrics
        state=context.state,
        status_text=context.status_text or None,
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
