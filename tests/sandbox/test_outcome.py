"""Who is believed about the end of a run."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from arena import LIMITS

from protocol.errors import BudgetError, DeniedError, OutriderError, ProtocolError
from sandbox import outcome, worker
from sandbox.channel import Finished
from sandbox.outcome import Ended, Facts, judge

OK = Finished(True, 1, None, None, None, 0)
DENIED = DeniedError("fs.read /x: no rule", rule="r")
GONE = Ended(0, 1000, 2**20)


def facts(
    stopped: OutriderError | None = None,
    finished: Finished | None = None,
    ended: Ended | None = GONE,
    not_started: str | None = None,
    denial: DeniedError | None = None,
) -> Facts:
    return Facts(stopped, finished, ended, not_started, denial)


def failed(message: str, code: str | None = None) -> Finished:
    return Finished(False, None, message, "main.lua:1", code, 0)


def died(number: int, cpu_us: int = 0) -> Ended:
    return Ended(int(number), cpu_us, 0)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (facts(finished=OK), ("ok", None)),
        (facts(finished=failed("no")), ("error", "no")),
        (facts(finished=failed("x", "denied"), denial=DENIED), ("denied", "fs.read /x: no rule")),
        (facts(finished=failed("claims", "denied")), ("error", "claims")),
        (facts(finished=failed("no", "not_found"), denial=DENIED), ("error", "no")),
        (facts(BudgetError("wall: used", budget="wall"), OK), ("killed", "wall: used")),
        (facts(ProtocolError("two calls"), OK), ("killed", "two calls")),
        (facts(ended=None), ("killed", "sandbox worker lost")),
        (facts(not_started="no process", ended=None), ("error", "no process")),
        (facts(), ("killed", "the worker ended without a result (exit status 0)")),
        (facts(ended=died(71 << 8)), ("killed", "the worker could not be locked in, so it received nothing")),
        (facts(ended=died(signal.SIGSYS)), ("killed", "the worker made a system call that is not allowed (SIGSYS)")),
        (facts(ended=died(signal.SIGSEGV)), ("killed", "the worker was killed by SIGSEGV")),
        (facts(ended=died(signal.SIGKILL)), ("killed", "the worker was killed by SIGKILL")),
        (facts(ended=died(signal.SIGKILL, 5_000_000)), ("killed", "cpu: 5 s used, the limit is 5 s")),
        (facts(ended=died(40)), ("killed", "the worker was killed by signal 40")),
        (facts(finished=OK, ended=died(signal.SIGSEGV)), ("killed", "the worker was killed by SIGSEGV")),
        (facts(finished=failed("no"), ended=died(signal.SIGABRT)), ("killed", "the worker was killed by SIGABRT")),
        (facts(finished=OK, ended=died(signal.SIGKILL)), ("ok", None)),
        (
            facts(BudgetError("wall: used", budget="wall"), ended=died(signal.SIGBUS)),
            ("killed", "wall: used; the worker was killed by SIGBUS"),
        ),
        (facts(finished=failed("not enough memory")), ("killed", "memory: not enough, the limit is 64MiB")),
        (facts(finished=failed("MemoryError")), ("killed", "memory: not enough, the limit is 64MiB")),
    ],
)
def test_the_table(known: Facts, expected: tuple[str, Any]) -> None:
    """The agent first, then the worker, then the kernel; a claimed denial only if there was one."""
    assert judge(known, LIMITS) == expected


def test_the_exit_status_is_the_worker_s() -> None:
    """Written down twice, as importing the worker would load both interpreters into the agent."""
    assert outcome.EXIT_NOT_LOCKED == worker.EXIT_NOT_LOCKED
    assert os.waitstatus_to_exitcode(71 << 8) == worker.EXIT_NOT_LOCKED


@pytest.mark.parametrize(("used", "is_told"), [(0.78, False), (0.89, True), (1.1, True)])
def test_a_kill_near_the_limit_of_cpu_time_is_for_that(used: float, is_told: bool) -> None:
    """The kernel counts ticks to kill and tells exact time afterwards; on a busy machine they are 11 % apart."""
    cpu_us = round(used * LIMITS.cpu_s * 1_000_000)
    _, reason = judge(facts(ended=died(signal.SIGKILL, cpu_us)), LIMITS)
    assert reason is not None
    assert reason.startswith("cpu:") is is_told
    assert ("SIGKILL" in reason) is not is_told
