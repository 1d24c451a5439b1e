"""How a run ended, told from what each side knows. Pure.

Who is believed, in this order: the agent, if it stopped the run (a limit, a broken rule, records that cannot be kept);
the kernel, if it says that the worker crashed; the worker's own result; the kernel, by the wait status. What a worker
says about a denied call counts only if the gate did deny one.
"""

from __future__ import annotations

import math
import os
import signal
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from protocol.errors import BudgetError, DeniedError, OutriderError
from protocol.redaction import Redactor
from protocol.units import format_size
from sandbox.budget import CPU, MEMORY, exceeded
from sandbox.channel import Finished
from sandbox.jail.walls import Wall, missing
from sandbox.parties import CallSummary

if TYPE_CHECKING:
    from policies.model import Limits

LOST: Final = "sandbox worker lost"
EXIT_NOT_LOCKED: Final = 71  # sandbox.worker.EXIT_NOT_LOCKED, which is not imported: it would load the runtimes

_KILLED_FROM: Final = 0.8  # of the limit of CPU time, from which on a kill is taken to be for that

#: Ends as probes of the address layout have them. Any script can come to them: deep nests overflow the interpreter's
#: stack, and some releases abort where they notice, which the jail takes for a forbidden system call.
_CRASHES: Final = frozenset({
    signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGABRT, signal.SIGFPE, signal.SIGSYS,
})  # fmt: skip

#: How the two runtimes report that the script's memory is used up. A script can say the same words of its own accord;
#: then its run counts as killed by a limit, which harms nobody.
_OUT_OF_MEMORY: Final = ("not enough memory", "MemoryError")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a run used."""

    wall_ms: float = 0.0  # from acceptance to the result; if there was none, until it was stopped or had left
    cpu_ms: float = 0.0  # user and system time of the worker, from its fork to its end
    peak_bytes: int = 0  # largest resident set of the worker, interpreter included
    calls: int = 0

    def to_plain(self) -> dict[str, float | int]:
        """Return it for records and JSON."""
        return {
            "wall_ms": self.wall_ms,
            "cpu_ms": self.cpu_ms,
            "peak_bytes": self.peak_bytes,
            "calls": self.calls,
        }


@dataclass(frozen=True, slots=True)
class Ended:
    """What the kernel says about a worker that is gone."""

    status: int  # as waitpid(2) gives it
    cpu_us: int
    peak_bytes: int


def has_crashed(ended: Ended | None) -> bool:
    """Tell whether a worker ended as one does that looks for the address layout; False if that is not known."""
    return ended is not None and os.WIFSIGNALED(ended.status) and os.WTERMSIG(ended.status) in _CRASHES


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known at the end of a run."""

    stopped: OutriderError | None  # why the agent ended it; None if it did not
    finished: Finished | None  # the worker's own result; None if it sent none
    ended: Ended | None  # None if the zygote is gone, or there was no worker
    not_started: str | None  # why there was no worker; None if there was one
    denial: DeniedError | None  # of the newest call that the gate denied


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended."""

    status: str  # ok | error | denied | killed
    reason: str | None  # None if ok; begins with the place where it is known
    result: Any  # plain; None unless ok
    output: bytes  # what the script printed, up to the limit
    output_truncated: bool
    usage: Usage
    where: str | None  # ``main.lua:4``
    calls: list[CallSummary]
    walls: tuple[Wall, ...]

    @property
    def missing_walls(self) -> list[str]:
        """The names of the walls that did not stand during this run."""
        return missing(self.walls)

    def without_secrets(self, redactor: Redactor) -> Outcome:
        """Return the outcome as it may leave the run."""
        if redactor.is_idle:
            return self
        return replace(
            self,
            reason=redactor.plain(self.reason),
            result=redactor.plain(self.result),
            output=redactor.octets(self.output),
        )


def judge(facts: Facts, limits: Limits) -> tuple[str, str | None]:
    """Return the status and the reason (without the place).

    A crash is told whatever the worker said before: who looks for the address layout would send a good result first.
    """
    if facts.not_started is not None:
        return "error", facts.not_started
    crash = by_wait_status(facts.ended, limits) if facts.ended is not None and has_crashed(facts.ended) else None
    if facts.stopped is not None:
        return "killed", str(facts.stopped) if crash is None else f"{facts.stopped}; {crash}"
    if crash is not None:
        return "killed", crash
    if facts.finished is not None:
        return _by_result(facts.finished, facts.denial, limits)
    if facts.ended is None:
        return "killed", LOST
    return "killed", by_wait_status(facts.ended, limits)


def _by_result(finished: Finished, denial: DeniedError | None, limits: Limits) -> tuple[str, str | None]:
    if finished.ok:
        return "ok", None
    message = finished.message or "the script failed"
    if finished.code == DeniedError.code and denial is not None:
        return "denied", str(denial)
    if finished.code is None and message.startswith(_OUT_OF_MEMORY):
        return "killed", f"{MEMORY}: not enough, the limit is {format_size(limits.memory_bytes)}"
    return "error", message


def by_wait_status(ended: Ended, limits: Limits) -> str:
    """Return why a worker ended that sent no result."""
    code = os.waitstatus_to_exitcode(ended.status)
    if code == EXIT_NOT_LOCKED:
        return "the worker could not be locked in, so it received nothing"
    if code >= 0:
        return f"the worker ended without a result (exit status {code})"
    if code == -signal.SIGSYS:
        return "the worker made a system call that is not allowed (SIGSYS)"
    over_cpu = cpu_error(ended, limits)
    if code in (-signal.SIGKILL, -signal.SIGXCPU) and over_cpu is not None:
        return str(over_cpu)
    return f"the worker was killed by {_signal_name(-code)}"


def cpu_error(ended: Ended, limits: Limits) -> BudgetError | None:
    """Return the verdict on the worker's CPU time.

    The kernel kills by whole seconds and by counting ticks; what it tells afterwards is exact. On a busy virtual
    machine the two were 11 % apart.
    """
    used_s = ended.cpu_us / 1_000_000
    if used_s < _KILLED_FROM * min(limits.cpu_s, math.ceil(limits.cpu_s)):
        return None
    return exceeded(CPU, used_s, limits.cpu_s)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
