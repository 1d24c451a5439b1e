"""What one run may use, and who says that it is used up: pure counters, no clock, no process.

Each budget has one name, and every refusal says that name, what was used and what the limit is. A counter never goes
past its limit: what would exceed it is refused first. Time, CPU and memory are measured elsewhere (the launcher, the
kernel); this module only judges the measurement, so that all budgets speak with one voice.
"""

from __future__ import annotations

from typing import Final

from policies.model import Limits
from protocol.errors import BudgetError

WALL: Final = "wall"
CPU: Final = "cpu"
MEMORY: Final = "memory"
CALLS: Final = "calls"
CALL_RATE: Final = "calls_per_s"
OUTPUT: Final = "output"
OPEN_FILES: Final = "open_files"
PROCESSES: Final = "processes"
LOG_LINES: Final = "log_lines"

_UNBOUNDED: Final = 1 << 62  # what a called script has of its own and not of its caller
_OWN: Final = ("memory_bytes", "calls_per_s", "open_files", "processes", "log_lines", "metrics", "rows")
_SECOND_NS: Final = 1_000_000_000
_UNITS: Final = {WALL: " s", CPU: " s", MEMORY: " bytes", OUTPUT: " bytes"}


def exceeded(budget: str, used: float, limit: float) -> BudgetError:
    """Return the one sentence that all budgets use, such as ``calls: 101 used, the limit is 100``."""
    unit = _UNITS.get(budget, "")
    return BudgetError(f"{budget}: {_told(used)}{unit} used, the limit is {_told(limit)}{unit}", budget=budget)


def _told(number: float) -> str:
    """Return a count whole, so that one too many can be told from enough, and a time as far as it matters."""
    return str(number) if isinstance(number, int) else f"{number:.6g}"


class Budget:
    """The counters of one run.

    Args:
        limits: What the run may use; already the minimum of all that limits it.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._second_began_ns: int | None = None  # the first call of the second that is being counted
        self._calls_in_second = 0
        self.calls = 0  # made, whatever became of them
        self.output_bytes = 0  # received from the worker
        self.log_lines = 0  # through ``log.*``, whatever became of them
        self._held = {OPEN_FILES: 0, PROCESSES: 0}  # held by calls that are being performed now

    def spend_call(self, now_ns: int) -> None:
        """Count one call, made at ``now_ns`` of a monotonic clock.

        Raises:
            BudgetError: It was one too many, of all or within one second; the run ends.
        """
        if self.calls >= self.limits.calls:
            raise exceeded(CALLS, self.calls + 1, self.limits.calls)
        self.spend_turn(now_ns)
        self.calls += 1

    def spend_turn(self, now_ns: int) -> None:
        """Count what costs a turn of the gate and is no call: a pull or a release; raises as :meth:`spend_call`."""
        if self._second_began_ns is None or now_ns - self._second_began_ns >= _SECOND_NS:
            self._second_began_ns, self._calls_in_second = now_ns, 0
        if self._calls_in_second >= self.limits.calls_per_s:
            raise exceeded(CALL_RATE, self._calls_in_second + 1, self.limits.calls_per_s)
        self._calls_in_second += 1

    def left(self, wall_s: float) -> Limits:
        """Return what a script may use that this one calls.

        Args:
            wall_s: What is left of the time, in seconds.

        Raises:
            BudgetError: Nothing is left.
        """
        calls = self.limits.calls - self.calls
        for budget, left in ((WALL, wall_s), (CALLS, calls)):
            if left <= 0:
                raise BudgetError(f"{budget}: nothing is left for a script that is called", budget=budget)
        output_bytes = self.limits.output_bytes - self.output_bytes
        own = dict.fromkeys(_OWN, _UNBOUNDED)
        return Limits(wall_s=wall_s, cpu_s=wall_s, calls=calls, output_bytes=output_bytes, **own)

    def spend_called(self, calls: int, output_bytes: int) -> None:
        """Count what a script used that this one called; it had no more than was left, so nothing is refused here."""
        self.calls = min(self.limits.calls, self.calls + calls)
        self.output_bytes = min(self.limits.output_bytes, self.output_bytes + output_bytes)

    def spend_output(self, size_bytes: int) -> None:
        """Count printed bytes.

        Raises:
            BudgetError: Too many. An honest worker stops sending at the limit, so this one is not honest.
        """
        if self.output_bytes + size_bytes > self.limits.output_bytes:
            raise exceeded(OUTPUT, self.output_bytes + size_bytes, self.limits.output_bytes)
        self.output_bytes += size_bytes

    def remaining(self) -> dict[str, int]:
        """Return what is left of each limit that is counted, by name."""
        return {
            "calls": self.limits.calls - self.calls,
            "output_bytes": self.limits.output_bytes - self.output_bytes,
            "log_lines": self.limits.log_lines - self.log_lines,
            "open_files": self.limits.open_files - self._held[OPEN_FILES],
            "processes": self.limits.processes - self._held[PROCESSES],
        }

    def spend_log_line(self) -> None:
        """Count one line of the log.

        Raises:
            BudgetError: One too many; the script may catch it and go on.
        """
        if self.log_lines >= self.limits.log_lines:
            raise exceeded(LOG_LINES, self.log_lines + 1, self.limits.log_lines)
        self.log_lines += 1

    def hold(self, kinds: tuple[str, ...]) -> None:
        """Hold one of each kind (OPEN_FILES, PROCESSES) on behalf of the script.

        Raises:
            BudgetError: More at once than the limit; nothing is held.
        """
        for kind in kinds if len(kinds) == 1 else set(kinds):
            limit = self.limits.open_files if kind == OPEN_FILES else self.limits.processes
            wanted = self._held[kind] + kinds.count(kind)
            if wanted > limit:
                raise exceeded(kind, wanted, limit)
        for kind in kinds:
            self._held[kind] += 1

    def check_room(self, kind: str, count: int) -> None:
        """Return if so many more of a kind can be held; raises as :meth:`hold`."""
        limit = self.limits.open_files if kind == OPEN_FILES else self.limits.processes
        if self._held[kind] + count > limit:
            raise exceeded(kind, self._held[kind] + count, limit)

    def release(self, kinds: tuple[str, ...]) -> None:
        """Give back what was held."""
        for kind in kinds:
            self._held[kind] -= 1

    def over_wall(self, used_s: float) -> BudgetError | None:
        """Return the verdict on wall-clock seconds since the run was accepted; None while within."""
        return exceeded(WALL, used_s, self.limits.wall_s) if used_s >= self.limits.wall_s else None

    def over_cpu(self, used_s: float) -> BudgetError | None:
        """Return the verdict on CPU seconds of the worker; None while within."""
        return exceeded(CPU, used_s, self.limits.cpu_s) if used_s >= self.limits.cpu_s else None
