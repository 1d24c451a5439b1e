"""What a run emits, and what it may know of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from running import gate, perform, run

from policies.model import Limits
from protocol.errors import ArgumentError, BudgetError
from protocol.tiers import Tier
from sandbox.budget import Budget
from sandbox.gate import Gate
from sandbox.launch import Outcome, Program, Sandbox
from sandbox.parties import Session
from stdlib.catalogue import load
from stdlib.host import MAX_METRICS_CHARACTERS, MAX_ROWS_BYTES, Host, RunContext
from stdlib.run import MAX_ROW_DEPTH


async def told(sandbox: Sandbox, language: str, source: str, context: RunContext) -> Outcome:
    """Run a script with a context of the test's own."""
    from running import Kept

    from policies.load import builtin
    from policies.model import Effect, Verdict

    def allow(_call: str, _facts: Any) -> Verdict:
        return Verdict(Effect.ALLOW, "test")

    limits = builtin(Tier.COMPUTE).limits
    main = "main.py" if language == "python" else "main.lua"
    opened = Gate(load(), allow, Kept(), Session("s", "r", "p"), Budget(limits), Host(), context, on_close=context.end)
    return await sandbox.run(Program(language, main, {main: source.encode()}, {}), opened, limits)


@pytest.mark.parametrize("language", ["lua", "python"])
async def test_rows_and_progress_stay_whatever_way_the_run_ends(sandbox: Sandbox, language: str) -> None:
    """A run that fails half way has found what it has found."""
    source = {
        "lua": 'emit({path = "/a", list = {1, 2}})\nemit({b = true})\nprogress(10, "a")\nprogress(50)\nerror("no")',
        "python": 'emit({"path": "/a", "list": [1, 2]})\nemit({"b": True})\nprogress(10, "a")\nprogress(50)\n1 / 0',
    }[language]
    context = RunContext()
    outcome = await told(sandbox, language, source, context)
    assert outcome.status == "error"
    assert context.rows == [{"path": "/a", "list": [1, 2]}, {"b": True}]
    assert context.progress == {"pct": 50.0, "text": ""}


@pytest.mark.parametrize(
    ("call", "given", "limit"),
    [("emit", [{"a": 1}], "rows"), ("check.metric", ["free", "gauge", 1], "metrics")],
)
async def test_a_run_reports_as_much_as_its_limits_say_and_no_more(call: str, given: list[Any], limit: str) -> None:
    context = RunContext(limits=Limits(**{limit: 3}))
    for left in (3, 2, 1):
        assert (await perform("ctx.budget", run=context))[limit] == left
        await perform(call, *given, run=context)
    with pytest.raises(BudgetError) as refused:
        await perform(call, *given, run=context)
    assert (refused.value.message, refused.value.budget) == (f"{limit}: 4 used, the limit is 3", limit)
    assert (await perform("ctx.budget", run=context))[limit] == 0
    assert len(getattr(context, limit)) == 3


async def test_rows_are_bounded_in_bytes_together() -> None:
    """They are in the one record of the run's end, beside the result."""
    context = RunContext()
    await perform("emit", {"a": "x" * (MAX_ROWS_BYTES - 1000)}, run=context)
    with pytest.raises(BudgetError, match="32 KiB together"):
        await perform("emit", {"a": "x" * 2000}, run=context)
    await perform("emit", {"a": "x" * 900}, run=context)
    assert context.rows_bytes <= MAX_ROWS_BYTES


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


@pytest.mark.parametrize("row", [{"a": b"\xff"}, {"a": [b"\xff"]}, nested(MAX_ROW_DEPTH + 1), [1], "x", 1, None])
async def test_what_is_no_row_is_refused(row: Any) -> None:
    context = RunContext()
    with pytest.raises(ArgumentError) as caught:
        await perform("emit", row, run=context)
    assert caught.value.parameter == "row"
    assert context.rows == []


async def test_an_empty_table_of_lua_is_an_empty_row() -> None:
    context = RunContext()
    await perform("emit", [], run=context)
    await perform("emit", nested(MAX_ROW_DEPTH), run=context)
    assert context.rows == [{}, nested(MAX_ROW_DEPTH)]


async def test_metrics_are_bounded_in_their_texts_together() -> None:
    """The agent holds them until the run ends, and a thousand of 64 KiB are more than its end could be told with."""
    context = RunContext()
    most = MAX_METRICS_CHARACTERS // 65_536
    for _ in range(most - 1):
        await perform("check.metric", "name", "string", "v" * 65_532, run=context)
    await perform("check.metric", "n" * 100, "string", "v" * 65_186, "u" * 50, "d" * 200, run=context)
    with pytest.raises(BudgetError) as refused:
        await perform("check.metric", "n", "string", "", run=context)
    assert refused.value.budget == "metrics"
    assert len(context.metrics) == most


async def test_progress_shows_no_control_characters() -> None:
    """It may be shown live on a terminal."""
    context = RunContext()
    await perform("progress", 1, "\x1b[2J", run=context)
    assert context.progress == {"pct": 1.0, "text": "\\u001b[2J"}
    for wrong in (-1, 101, float("nan"), "5"):
        with pytest.raises(ArgumentError):
            await perform("progress", wrong, run=context)


async def test_a_run_knows_itself() -> None:
    left: Mapping[str, int] = {"calls": 7}
    context = RunContext(principal="mia", reason="T-1", ends_s=12.0, left=lambda: left)
    host = Host(monotonic=lambda: 10.5)
    assert await perform("ctx.deadline", run=context, host=host) == 1.5
    assert await perform("ctx.deadline", run=context, host=Host(monotonic=lambda: 20.0)) == 0.0
    assert await perform("ctx.deadline", run=RunContext()) is None
    assert await perform("ctx.caller", run=context) == "mia"
    assert await perform("ctx.reason", run=context) == "T-1"
    assert await perform("ctx.budget", run=context) == {"calls": 7, "metrics": 1000, "rows": 1000}
    assert await perform("ctx.dry_run", run=context) is False


def test_a_budget_tells_what_is_left() -> None:
    budget = Budget(gate(Tier.OBSERVE).budget.limits)
    before = budget.remaining()
    budget.spend_call(0)
    budget.spend_output(10)
    budget.spend_log_line()
    budget.hold(("open_files",))
    after = budget.remaining()
    spent = {name: before[name] - after[name] for name in before}
    assert spent == {"calls": 1, "output_bytes": 10, "log_lines": 1, "open_files": 1, "processes": 0}


@pytest.mark.parametrize("language", ["lua", "python"])
async def test_none_of_it_needs_a_tier(sandbox: Sandbox, language: str) -> None:
    source = {"lua": "return ctx.budget().calls", "python": 'result = ctx.budget()["rows"]'}[language]
    outcome = await run(sandbox, language, f"emit({{}})\nprogress(1)\nctx.deadline()\n{source}", Tier.COMPUTE)
    assert outcome.status == "ok", outcome.reason
