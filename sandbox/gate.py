"""The one gate: every effect of a session on its host passes here, in this order and no other.

    count -> find -> bind -> prepare -> decide -> intend (if it changes anything) -> perform -> record

- Every call that is asked for gives exactly one record: also an unknown one, one with wrong arguments, a denied one,
  one over its budget, and one that is cut short. A call that changes something gives an intent before it, which is
  durable before the effect begins. A call that is cut short before its effect began has no effect.
- The decision is made on the facts of what was really opened, never on the text of an argument.
- Nobody can be asked yet: a verdict of ``ask`` is denied, and the record says so.
- A call may give a stream or another thing that the gate holds for the run (``sandbox.held``). What it opened stays
  open with it, and its end is a record of its own, ``call.end``. Pulling a stream is no call: that was decided before.
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
import traceback
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
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
from protocol.redaction import Redactor
from sandbox.budget import CALL_RATE, CALLS, OPEN_FILES, PROCESSES, Budget
from sandbox.channel import error_body, escaped, handle_body, value_body
from sandbox.held import Held, Holder
from sandbox.pump import Pump
from sandbox.runtimes import STREAM

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
_VALUE: Final = "value"

_log = logging.getLogger("outrider.sandbox.gate")


class PreparedCall(Protocol):
    """A call whose targets are open and which only waits for the decision."""

    @property
    def facts(self) -> tuple[Facts, ...]:
        """What was really opened, at least one; every one of them must be allowed."""

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

    @property
    def gives(self) -> str:
        """``value``, ``stream`` (performing it returns a ``pump.Source``) or ``handle`` (a ``held.Resource``)."""

    def bind(self, args: list[Any], named: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments by parameter name; ``ArgumentError`` names the one that does not fit."""

    def prepare(
        self, host: Any, run: Any, bound: dict[str, Any], passage: Passage
    ) -> AbstractContextManager[PreparedCall]:
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


class Passage:
    """What a call may ask of the gate while it passes; a stream, as long as it is open. Safe from any thread."""

    __slots__ = ("_attempt", "_gate")

    def __init__(self, gate: Gate, attempt: _Attempt) -> None:
        self._gate = gate
        self._attempt = attempt

    def thing(self, number: int, kind: str, parameter: str) -> Any:
        """Return what the run holds under ``number``; raises as :meth:`held.Holder.thing`."""
        return self._gate.holder.thing(number, kind, parameter)

    def permits(self, facts: Facts) -> bool:
        """Tell whether this call would be allowed on one more object. What is not permitted is to be left out."""
        return self._gate.verdict(self._attempt.name, facts).allowed

    def require(self, facts: Facts) -> None:
        """Return if this call is allowed on one more object, such as an address that a name stands for.

        Raises:
            DeniedError: It is not. The record of the call says so.
        """
        verdict = self._gate.verdict(self._attempt.name, facts)
        self._attempt.rule = verdict.rule
        if not verdict.allowed:
            self._attempt.verdict = "deny"
            self._gate.denial = _denial(self._attempt.name, facts, verdict)
            raise self._gate.denial

    def below(self, directory: str) -> bool | None:
        """Tell whether all (True) or nothing (False) below a real directory is permitted; None if it depends."""
        decide = self._gate.decide_below
        return None if decide is None else decide(self._attempt.name, directory)

    @property
    def is_over(self) -> bool:
        """Whether the run has ended, so that whoever still works for it may stop."""
        return self._attempt.is_cut_short or self._gate.is_closed


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
        decide_below: What :meth:`Passage.below` tells of a call name and a real directory. Without it, it depends.
        redactor: Takes secrets out of what goes back to the script and onto the record.
        on_close: Awaited when everything that was held is closed: the end of ``run``.
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
        decide_below: Callable[[str, str], bool | None] | None = None,
        redactor: Redactor | None = None,
        on_close: Callable[[], Awaitable[None]] | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.budget = budget
        self.holder = Holder()
        self.decide_below = decide_below
        self.is_closed = False
        self.redactor = redactor or Redactor()
        self._on_close = on_close
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
            value = await self._pass(attempt, args, named)
            reply = _given(value) if type(value) is Held else _answer(self.redactor.plain(value))
        except OutriderError as error:
            reply = _refusal(error, self.redactor)
        except asyncio.CancelledError:
            self._cut_short(attempt)
            raise
        except Exception:  # noqa: BLE001 - a fault of ours in one call; its text must reach neither script nor wire
            _log.error("call %s failed unexpectedly\n%s", name, self.redactor.text(traceback.format_exc()))
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

    async def pull(self, stream: int, answer: Callable[[bytes], None]) -> Reply:
        """Answer what comes next of a stream.

        Args:
            stream: Its number, as the worker claims.
            answer: Takes the encoded answer, once.

        Raises:
            BudgetError: The session takes too many turns; it is to be ended.
            OutriderError: The end of the stream could not be recorded; the session is to be ended.

        Cancellation:
            Safe; the stream is closed with the run.
        """
        self.budget.spend_turn(self._clock_ns())
        held = self.holder.find(stream)
        if held is None or not isinstance(held.thing, Pump):
            reply = _refusal(NotFoundError("this run has no such stream that is still open"))
            answer(reply.body)
            return reply
        try:
            batch = await held.thing.pull()
        except OutriderError as error:
            reply = _refusal(error, self.redactor)
            await self._let_go(held, error.code)
            answer(reply.body)
            return reply
        held.size_bytes += len(batch.body)
        held.items += batch.items
        answer(batch.body)
        if batch.is_end:
            await self._let_go(held, "ok")
        return Reply(True, None, None, batch.body)

    async def release(self, handle: int) -> None:
        """Close what the worker needs no more; raises as :meth:`pull`. A number that means nothing is none."""
        self.budget.spend_turn(self._clock_ns())
        held = self.holder.find(handle)
        if held is not None:
            await self._let_go(held, "closed")

    async def close(self) -> None:
        """Close everything that is held: the session has ended. What a thread is still in is closed behind it."""
        self.is_closed = True
        for held in self.holder.shut():
            try:
                await self._let_go(held, "cut short")
            except OutriderError:  # the session is over either way, and the rest must be closed too
                _log.exception("the end of %s could not be recorded", held.call)
        if self._on_close is not None:
            await self._on_close()

    async def _let_go(self, held: Held, outcome: str) -> None:
        self.holder.drop(held)
        try:
            await held.close()
        finally:
            self.budget.release(held.budget)
            fields = {"arguments": {}, "verdict": "", "rule": "", "data": {"kind": held.kind, "items": held.items}}
            duration_us = (self._clock_ns() - held.started_ns) // 1000
            self._recorder.record(**self._names(held.call, "call.end", outcome, duration_us, held.size_bytes), **fields)

    async def _pass(self, attempt: _Attempt, args: list[Any], named: dict[str, Any]) -> Any:
        entry = self._admit(attempt, args, named)
        if entry.is_blocking:
            return await self._pass_on_thread(entry, attempt)
        if entry.gives == _VALUE:
            with entry.prepare(self._host, self._run, attempt.arguments, Passage(self, attempt)) as prepared:
                return await self._perform(entry, attempt, prepared)
        with ExitStack() as targets:
            prepared = targets.enter_context(
                entry.prepare(self._host, self._run, attempt.arguments, Passage(self, attempt))
            )
            return await self._perform(entry, attempt, prepared, targets)

    async def _perform(
        self, entry: CallEntry, attempt: _Attempt, prepared: PreparedCall, targets: ExitStack | None = None
    ) -> Any:
        held = self._allow(entry, attempt, prepared.facts)
        try:
            if entry.changes:
                await self._intend(attempt)
            value = prepared.perform()
            if isinstance(value, Awaitable):
                value = await value
            if targets is not None:
                loop = asyncio.get_running_loop()
                taken, held = held, ()
                thing = Pump(value, self.redactor) if entry.gives == STREAM else value
                value = self._hold(Held(attempt.name, thing, targets.pop_all(), taken, attempt.started_ns), loop)
            return value
        finally:
            self.budget.release(held)

    async def _pass_on_thread(self, entry: CallEntry, attempt: _Attempt) -> Any:
        """Pass a call that may block. Opening, deciding and performing share one visit to a thread where they can."""

        def visit() -> Any:
            with ExitStack() as targets:
                prepared = targets.enter_context(
                    entry.prepare(self._host, self._run, attempt.arguments, Passage(self, attempt))
                )
                held = self._allow(entry, attempt, prepared.facts)
                try:
                    if entry.changes:  # the recorder lives on the loop, and must have it on disk before we go on
                        asyncio.run_coroutine_threadsafe(self._intend(attempt), loop).result()
                    _go_on(attempt)
                    value = prepared.perform()
                    if entry.gives == STREAM:
                        value = Pump(value, self.redactor)
                        value.prime()
                    if entry.gives != _VALUE:
                        taken, held = held, ()
                        value = self._hold(
                            Held(attempt.name, value, targets.pop_all(), taken, attempt.started_ns), loop
                        )
                    return value
                finally:
                    self.budget.release(held)

        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, visit)

    def _hold(self, held: Held, loop: asyncio.AbstractEventLoop) -> Held:
        """Hold what a call gave until it is released or the run ends. Safe from any thread."""
        try:
            self.holder.add(held)
        except DeadlineError:  # the run ended while a thread was still at it
            self.budget.release(held.budget)
            asyncio.run_coroutine_threadsafe(held.close(), loop)
            raise
        return held

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

    def _allow(self, entry: CallEntry, attempt: _Attempt, facts: tuple[Facts, ...]) -> tuple[str, ...]:
        """Return what the call holds from now on, if the policy allows it and the budget has room for it."""
        verdict: Verdict | None = None
        for one in facts:
            verdict = self.verdict(attempt.name, one)
            if not verdict.allowed:
                attempt.rule = verdict.rule
                self.denial = _denial(attempt.name, one, verdict)
                raise self.denial
        if verdict is None:
            raise InternalError(f"{attempt.name} gave nothing to decide on")
        attempt.rule = RULE_BUDGET
        wanted = tuple([kind for one in facts if (kind := _held_for(one)) is not None])
        if not wanted and entry.gives != _VALUE:
            wanted = (OPEN_FILES,)
        self.budget.hold(wanted)
        attempt.rule = verdict.rule
        attempt.verdict = "allow"
        return wanted

    def verdict(self, name: str, facts: Facts) -> Verdict:
        """Return the session's verdict; remembers the newest few."""
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
        fields = self._names(attempt.name, kind, outcome, duration_us, size_bytes)
        fields["arguments"] = self.redactor.plain(attempt.arguments)
        fields["verdict"] = attempt.verdict
        fields["rule"] = attempt.rule
        return fields

    def _names(self, call: str, kind: str, outcome: str, duration_us: int, size_bytes: int) -> dict[str, Any]:
        return {
            "kind": kind,
            "session": self._session.session,
            "run": self._session.run,
            "principal": self._session.principal,
            "call": call,
            "outcome": outcome,
            "duration_us": duration_us,
            "bytes": size_bytes,
        }


def _held_for(facts: Facts) -> str | None:
    """Return the budget that an object counts against while a call has it open."""
    if facts.path is not None:
        return OPEN_FILES
    return PROCESSES if facts.command is not None else None


def _go_on(attempt: _Attempt) -> None:
    if attempt.is_cut_short:
        raise DeadlineError(f"{attempt.name} was cut short before it began")


def _denial(name: str, facts: Facts, verdict: Verdict) -> DeniedError:
    target = facts.path or facts.command
    why = verdict.reason or f"{name}{f' {target}' if target else ''} is denied"
    if verdict.effect.name == "ASK":
        why = f"{why}; {NOBODY_TO_ASK}"
    return DeniedError(escaped(f"{why} ({verdict.rule})"), rule=verdict.rule)  # it becomes the reason of the run


def _given(held: Held) -> Reply:
    """Return the answer that names what the run holds from now on."""
    fields = {} if isinstance(held.thing, Pump) else held.thing.fields()
    return Reply(True, held, None, handle_body(held.number, held.kind, fields))


def _answer(value: Any) -> Reply:
    try:
        return Reply(True, value, None, value_body(value))
    except TooLargeError:
        return _refusal(TooLargeError("the value is larger than a script can be given at once"))


def _refusal(error: OutriderError, redactor: Redactor | None = None) -> Reply:
    extra = {key: getattr(error, key, None) for key in ("parameter", "path", "rule")}
    fields = {key: value for key, value in extra.items() if isinstance(value, str) and value}
    told = str(error)
    if redactor is not None and not redactor.is_idle:
        told, fields = redactor.text(told), redactor.plain(fields)
    return Reply(False, None, error, error_body(error.code, told, **fields))
