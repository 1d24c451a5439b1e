"""The one gate: every effect of a session on its host passes here, in this order and no other.

    count -> find -> bind -> prepare -> decide -> intend (if it changes anything) -> perform -> record

- Every call that is asked for gives exactly one record: also an unknown one, one with wrong arguments, a denied one,
  one over its budget, and one that is cut short. A call that changes something gives an intent before it, which is
  durable before the effect begins. A call that is cut short before its effect began has no effect.
- The decision is made on the facts of what was really opened, never on the text of an argument.
- Nobody can be asked yet: a verdict of ``ask`` is denied, and the record says so.
- What cannot be recorded is not answered: the run ends. A call that changed nothing is answered once there is sure to
  be room for its record, which is made before the next call is looked at.
- An unexpected exception is logged in full here and reaches the script as a bare code.

The call table, the policy, the recorder, the host and the run's own state are injected; the gate knows no call by name
except that ``log.*`` has a budget of its own.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from protocol.errors import (
    BudgetError,
    DeadlineError,
    DeniedError,
    InternalError,
    NotFoundError,
    OutriderError,
    TooLargeError,
)
from sandbox.budget import CALL_RATE, CALLS, OPEN_FILES, PROCESSES, Budget
from sandbox.channel import error_body, escaped, value_body

if TYPE_CHECKING:
    from policies.model import Facts, Verdict
    from protocol.tiers import Tier

MAX_SUMMARIES: Final = 10_000  # of one run; the default limit of calls. Beyond it, calls are counted only
MAX_CACHED_VERDICTS: Final = 256  # of one run; more different facts than that are decided anew each time

RULE_UNKNOWN: Final = "catalogue: no such call"
RULE_ARGUMENTS: Final = "catalogue: the arguments do not fit"
RULE_BUDGET: Final = "limits"
RULE_NOT_DECIDED: Final = "catalogue: not decided, the target could not be opened"
_ENDING: Final = frozenset({CALLS, CALL_RATE})  # the budgets that end the session; the others the script may catch
NOBODY_TO_ASK: Final = "nobody to ask"

_log = logging.getLogger("outrider.sandbox.gate")


class PreparedCall(Protocol):
    """A call whose targets are open and which only waits for the decision."""

    @property
    def facts(self) -> Facts:
        """What was really opened; the decision is made on this."""

    def perform(self) -> Any:
        """Carry it out and return the plain value, or an awaitable of it unless the call is blocking."""


class CallEntry(Protocol):
    """One call of the catalogue, as the gate needs it."""

    @property
    def tier(self) -> Tier:
        """The lowest tier that may have it."""

    @property
    def changes(self) -> bool:
        """Whether performing it changes anything; if so, an intent is durable before."""

    @property
    def is_blocking(self) -> bool:
        """Whether ``prepare`` and ``perform`` may block; if so, they run on a thread."""

    def bind(self, args: list[Any], named: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments by parameter name; ``ArgumentError`` names the one that does not fit."""

    def prepare(self, host: Any, run: Any, bound: dict[str, Any]) -> AbstractContextManager[PreparedCall]:
        """Open the targets; leaving the context closes them."""


class CallTable(Protocol):
    """The catalogue, as the gate needs it."""

    def find(self, name: str) -> CallEntry | None:
        """Return the call of that name; None if there is none."""


class Recorder(Protocol):
    """Where records go. The fields are those of ``protocol.ledger.Record``; the recorder bounds and redacts them."""

    def check_room(self) -> None:
        """Return if one more record can be taken now, which then will not fail; else raise an ``OutriderError``."""

    def record(self, **fields: Any) -> None:
        """Append one record; an ``OutriderError`` if it cannot be kept."""

    async def intend(self, **fields: Any) -> None:
        """Append one record and return when it is durable; an ``OutriderError`` if it cannot be kept."""


@dataclass(frozen=True, slots=True)
class Session:
    """In whose name calls are made. These words come from the agent, never from a worker."""

    session: str  # its id
    run: str  # its id; empty for a session without a run
    principal: str  # who
    reason: str = ""  # why: a ticket, a schedule


class CallSummary(NamedTuple):
    """One line of a run's list of calls."""

    call: str
    verdict: str  # allow | deny
    rule: str
    ms: float


class Reply(NamedTuple):
    """What a call came to."""

    ok: bool
    value: Any  # None unless ``ok``
    error: OutriderError | None  # None if ``ok``
    body: bytes  # the encoded answer for the worker


@dataclass(slots=True)
class _Attempt:
    """What is known so far about a call that is passing."""

    name: str
    arguments: dict[str, Any]  # as given, until bound
    started_ns: int
    verdict: str = "deny"
    rule: str = RULE_NOT_DECIDED
    changes: bool = True  # anything on the host; until it is known that it does not
    is_cut_short: bool = False  # the session ended; what has not begun must not begin


class Gate:
    """The gate of one session.

    Args:
        table: The catalogue.
        decide: The session's effective policy: call name and facts to verdict. Pure; equal facts give equal verdicts.
        recorder: Where records go.
        session: In whose name.
        budget: What the session may use.
        host: Passed to calls that look at the host.
        run: Passed to calls that belong to the run (its parameters, metrics, state).
        clock_ns: Monotonic nanoseconds.
    """

    def __init__(
        self,
        table: CallTable,
        decide: Callable[[str, Facts], Verdict],
        recorder: Recorder,
        session: Session,
        budget: Budget,
        host: Any = None,
        run: Any = None,
        *,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.budget = budget
        self.denial: DeniedError | None = None  # the newest call that was denied, for the reason of the run
        self.summaries: list[CallSummary] = []  # at most MAX_SUMMARIES
        self._table = table
        self._decide_by_policy = decide
        self._recorder = recorder
        self._session = session
        self._host = host
        self._run = run
        self._clock_ns = clock_ns
        self._verdicts: dict[tuple[str, Facts], Verdict] = {}

    async def call(
        self, name: str, args: list[Any], named: dict[str, Any], answer: Callable[[bytes], None] | None = None
    ) -> Reply:
        """Pass one call.

        Args:
            name: Of the call.
            args: By position.
            named: By name.
            answer: Takes the encoded answer, once. A call that changed nothing is answered when there is sure to be
                room for its record, and recorded while the worker goes on; every other one is recorded first.

        Returns:
            The value, or the error that the script may catch.

        Raises:
            BudgetError: The session has no call left; it is to be ended.
            OutriderError: The record could not be kept; the session is to be ended.

        Cancellation:
            Safe: recorded as ``cut short``. What has begun on a thread goes on to its end unseen; nothing begins.
        """
        attempt = _Attempt(name, {"args": args, "named": named}, self._clock_ns())
        try:
            reply = _answer(await self._pass(attempt, args, named))
        except OutriderError as error:
            reply = _refusal(error)
        except asyncio.CancelledError:
            self._cut_short(attempt)
            raise
        except Exception:  # noqa: BLE001 - a fault of ours in one call; its text must reach neither script nor wire
            _log.exception("call %s failed unexpectedly", name)
            reply = _refusal(InternalError(f"{name} failed; the agent's log says why"))
        is_early = answer is not None and reply.ok and not attempt.changes
        if is_early and answer is not None:
            self._recorder.check_room()
            answer(reply.body)
        self._record(attempt, "ok" if reply.error is None else reply.error.code, len(reply.body))
        if attempt.rule == RULE_BUDGET and isinstance(reply.error, BudgetError) and reply.error.budget in _ENDING:
            raise reply.error
        if answer is not None and not is_early:
            answer(reply.body)
        return reply

    async def _pass(self, attempt: _Attempt, args: list[Any], named: dict[str, Any]) -> Any:
        entry = self._admit(attempt, args, named)
        if entry.is_blocking:
            return await self._pass_on_thread(entry, attempt)
        with entry.prepare(self._host, self._run, attempt.arguments) as prepared:
            held = self._allow(attempt, prepared.facts)
            try:
                if entry.changes:
                    await self._intend(attempt)
                value = prepared.perform()
                return await value if isinstance(value, Awaitable) else value
            finally:
                self.budget.release(held)

    async def _pass_on_thread(self, entry: CallEntry, attempt: _Attempt) -> Any:
        """Pass a call that may block. Opening, deciding and performing share one visit to a thread where they can."""

        def visit() -> Any:
            with entry.prepare(self._host, self._run, attempt.arguments) as prepared:
                held = self._allow(attempt, prepared.facts)
                try:
                    if entry.changes:  # the recorder lives on the loop, and must have it on disk before we go on
                        asyncio.run_coroutine_threadsafe(self._intend(attempt), loop).result()
                    _go_on(attempt)
                    return prepared.perform()
                finally:
                    self.budget.release(held)

        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, visit)

    def _admit(self, attempt: _Attempt, args: list[Any], named: dict[str, Any]) -> CallEntry:
        """Return the entry, with the arguments bound."""
        attempt.rule = RULE_BUDGET
        self.budget.spend_call(attempt.started_ns)
        if attempt.name.startswith("log."):
            self.budget.spend_log_line()
        attempt.rule = RULE_UNKNOWN
        entry = self._table.find(attempt.name)
        if entry is None:
            raise NotFoundError(f"there is no call named {attempt.name}")
        attempt.changes = entry.changes
        attempt.rule = RULE_ARGUMENTS
        attempt.arguments = entry.bind(args, named)
        attempt.rule = RULE_NOT_DECIDED
        return entry

    def _allow(self, attempt: _Attempt, facts: Facts) -> tuple[str, ...]:
        """Return what the call holds from now on, if the policy allows it and the budget has room for it."""
        verdict = self._verdict(attempt.name, facts)
        attempt.rule = verdict.rule
        if not verdict.allowed:
            self.denial = _denial(attempt.name, facts, verdict)
            raise self.denial
        attempt.rule = RULE_BUDGET
        wanted = (OPEN_FILES,) if facts.path is not None else (PROCESSES,) if facts.command is not None else ()
        self.budget.hold(wanted)
        attempt.rule = verdict.rule
        attempt.verdict = "allow"
        return wanted

    def _verdict(self, name: str, facts: Facts) -> Verdict:
        key = (name, facts)
        verdict = self._verdicts.get(key)
        if verdict is None:
            verdict = self._decide_by_policy(name, facts)
            if len(self._verdicts) < MAX_CACHED_VERDICTS:
                self._verdicts[key] = verdict
        return verdict

    async def _intend(self, attempt: _Attempt) -> None:
        _go_on(attempt)
        await self._recorder.intend(**self._fields(attempt, "intent", "", 0, 0))

    def _cut_short(self, attempt: _Attempt) -> None:
        attempt.is_cut_short = True
        try:
            self._record(attempt, "cut short", 0)
        except OutriderError:  # the session ends anyway, and a cancellation must not be lost
            _log.exception("the end of call %s could not be recorded", attempt.name)

    def _record(self, attempt: _Attempt, outcome: str, size_bytes: int) -> None:
        duration_us = (self._clock_ns() - attempt.started_ns) // 1000
        if len(self.summaries) < MAX_SUMMARIES:
            self.summaries.append(CallSummary(attempt.name, attempt.verdict, attempt.rule, duration_us / 1000))
        self._recorder.record(**self._fields(attempt, "call", outcome, duration_us, size_bytes))

    def _fields(
        self, attempt: _Attempt, kind: str, outcome: str, duration_us: int, size_bytes: int
    ) -> Mapping[str, Any]:
        return {
            "kind": kind,
            "session": self._session.session,
            "run": self._session.run,
            "principal": self._session.principal,
            "call": attempt.name,
            "arguments": attempt.arguments,
            "verdict": attempt.verdict,
            "rule": attempt.rule,
            "outcome": outcome,
            "duration_us": duration_us,
            "bytes": size_bytes,
        }


def _go_on(attempt: _Attempt) -> None:
    if attempt.is_cut_short:
        raise DeadlineError(f"{attempt.name} was cut short before it began")


def _denial(name: str, facts: Facts, verdict: Verdict) -> DeniedError:
    target = facts.path or facts.command
    why = verdict.reason or f"{name}{f' {target}' if target else ''} is denied"
    if verdict.effect.name == "ASK":
        why = f"{why}; {NOBODY_TO_ASK}"
    return DeniedError(escaped(f"{why} ({verdict.rule})"), rule=verdict.rule)  # it becomes the reason of the run


def _answer(value: Any) -> Reply:
    try:
        return Reply(True, value, None, value_body(value))
    except TooLargeError:
        return _refusal(TooLargeError("the value is larger than a script can be given at once"))


def _refusal(error: OutriderError) -> Reply:
    extra = {key: getattr(error, key, None) for key in ("parameter", "path", "rule")}
    fields = {key: value for key, value in extra.items() if isinstance(value, str) and value}
    return Reply(False, None, error, error_body(error.code, str(error), **fields))
