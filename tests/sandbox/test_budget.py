"""What one run may use."""

from __future__ import annotations

from dataclasses import replace

import pytest
from arena import LIMITS

from protocol.errors import BudgetError
from sandbox.budget import OPEN_FILES, PROCESSES, Budget, exceeded


def test_one_call_too_many_is_named_with_its_numbers() -> None:
    """The text is relied on; the counter stays at the limit."""
    budget = Budget(replace(LIMITS, calls=2))
    budget.spend_call(0)
    budget.spend_call(0)
    with pytest.raises(BudgetError, match=r"^calls: 3 used, the limit is 2$") as caught:
        budget.spend_call(0)
    assert (caught.value.budget, budget.calls) == ("calls", 2)


def test_calls_are_bounded_within_a_second() -> None:
    """Counted from the first call of each second; the next second begins anew, whatever the clock began with."""
    budget = Budget(replace(LIMITS, calls_per_s=2))
    second = 1_000_000_000
    budget.spend_call(-5)
    budget.spend_call(second - 6)
    with pytest.raises(BudgetError, match=r"^calls_per_s: 3 used, the limit is 2$") as caught:
        budget.spend_call(second - 6)
    assert (caught.value.budget, budget.calls) == ("calls_per_s", 2)
    budget.spend_call(second - 5)
    budget.spend_call(second - 5)
    assert budget.calls == 4


def test_output_is_bounded() -> None:
    """What would exceed it is not counted in part."""
    budget = Budget(replace(LIMITS, output_bytes=10))
    budget.spend_output(10)
    with pytest.raises(BudgetError, match=r"^output: 11 bytes used, the limit is 10 bytes$"):
        budget.spend_output(1)
    assert budget.output_bytes == 10


def test_log_lines_are_bounded() -> None:
    """A log is not an output channel; a script that is called has lines of its own."""
    budget = Budget(replace(LIMITS, log_lines=1))
    budget.spend_log_line()
    with pytest.raises(BudgetError, match=r"^log_lines: 2 used, the limit is 1$") as caught:
        budget.spend_log_line()
    assert (caught.value.budget, budget.log_lines, budget.remaining()["log_lines"]) == ("log_lines", 1, 0)
    assert LIMITS.narrowed(budget.left(1.0)).log_lines == LIMITS.log_lines


@pytest.mark.parametrize(("kind", "limit"), [(OPEN_FILES, "open_files"), (PROCESSES, "processes")])
def test_what_is_held_is_bounded_and_given_back(kind: str, limit: str) -> None:
    """More at once is refused; one after the other is not."""
    budget = Budget(replace(LIMITS, **{limit: 1}))
    budget.hold((kind,))
    with pytest.raises(BudgetError, match=f"^{limit}: 2 used, the limit is 1$"):
        budget.hold((kind,))
    budget.release((kind,))
    budget.hold((kind,))


def test_a_limit_of_none_at_all() -> None:
    """Zero means none, never unlimited."""
    budget = Budget(replace(LIMITS, calls=0, processes=0))
    for spend in (lambda: budget.spend_call(0), lambda: budget.hold((PROCESSES,))):
        with pytest.raises(BudgetError):
            spend()


def test_time_is_judged() -> None:
    """The measurement comes from elsewhere."""
    budget = Budget(replace(LIMITS, wall_s=2.0, cpu_s=0.5))
    assert budget.over_wall(1.99) is None
    assert str(budget.over_wall(2.5)) == "wall: 2.5 s used, the limit is 2 s"
    assert budget.over_cpu(0.49) is None
    assert str(budget.over_cpu(0.5)) == "cpu: 0.5 s used, the limit is 0.5 s"


def test_every_verdict_speaks_alike() -> None:
    """One sentence for all budgets."""
    assert str(exceeded("output", 2**20 + 1, 2**20)) == "output: 1048577 bytes used, the limit is 1048576 bytes"
    assert str(exceeded("cpu", 2.0000001, 2)) == "cpu: 2 s used, the limit is 2 s"
    assert str(exceeded("memory", 2, 1)) == "memory: 2 bytes used, the limit is 1 bytes"
