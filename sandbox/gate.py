"""The one gate: every effect of a session on its host passes here, in this order and no other.

    count -> find -> bind -> (never?) -> prepare -> decide -> intend (if it changes anything) -> perform -> record

- Every call that is asked for gives exactly one record: also an unknown one, one with wrong arguments, a denied one,
  one over its budget, and one that is cut short. A call that changes something gives an intent before it, which is
  durable before the effect begins. A call that is cut short before its effect began has no effect.
- The decision is made on the facts of what was really opened, never on the text of an argument. For a call that the
  policy allows on no facts at all, nothing is opened, looked up or asked.
- A verdict of ``ask`` waits for a person, with nothing of the call's open meanwhile; then the call is prepared and
  decided anew, so that a yes is good for exactly what was asked about. No answer, or nobody to ask, is a no.
- A call may give a stream or another thing that the gate holds for the run (``sandbox.held``). What it opened stays
  open with it, and its end is a record of its own, ``call.end``. Pulling a stream is no call: that was decided before.
- In a dry run, what changes anything is decided and recorded as ``dry`` and not performed; what stands for its result
  is given. A thing that such a call gave makes every later call on it a dry one.
- What cannot be recorded is not answered: the run ends. A call that changed nothing is answered once there is sure to
  be room for its record, which is made before the next call is looked at.
- An unexpected exception is logged in full here and reaches the script as a bare code.

The call table, the policy, the recorder, the host and the run's own state are injected; the gate knows no call by name
except that ``log.*`` has a budget of its own.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from kernel.visits import VISITS
from protocol.errors import (
    BudgetError,
    DeadlineError,
    DeniedError,
    InternalError,
    NotFoundError,
    OutriderError,
)
from protocol.redaction import Redactor
from sandbox.attempts import (
    ASK,
    DRY,
    RULE_ARGUMENTS,
    RULE_BUDGET,
    RULE_NOT_DECIDED,
    RULE_UNKNOWN,
    Attempt,
    Unanswered,
    proof,
)
from sandbox.budget import CALL_RATE, CALLS, OPEN_FILES, PROCESSES, Budget
from sandbox.channel import escaped, recordable
from sandbox.held import Held, Holder
from sandbox.parties import (
    Asker,
    CallEntry,
    CallSummary,
    CallTable,
    DryRun,
    PrepareAtOnce,
    PreparedCall,
    Recorder,
    Session,
)
from sandbox.passage import Passage
from sandbox.pump import Pump
from sandbox.replies import Reply, answered, given, refused
from sandbox.runtimes import HANDLE_KEY, STREAM

if TYPE_CHECKING:
    from policies.model import Facts, Verdict

MAX_SUMMARIES: Final = 10_000  # of one run; the default limit of calls. Beyond it, calls are counted only
MAX_CACHED_VERDICTS: Final = 256  # of one run; more different facts than that are decided anew each time

_ENDING: Final = frozenset({CALLS, CALL_RATE})  # the budgets that end the session; the others the script may catch
MAX_QUESTIONS: Final = 4  # of one call; what is opened may be another thing each time
_VALUE: Final = "value"
_AT_ONCE: Final = frozenset({type(None), bool, int, float, str, bytes, list, dict})  # of a value that nobody waits for
_log = logging.getLogger("outrider.sandbox.gate")


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
        never: The denial of a call name that is allowed on no facts; None if it depends on them. Pure.
        redactor: Takes secrets out of what goes back to the script and onto the record.
        on_close: Called when everything that was held is closed, and what it returns is awaited: the end of ``run``.
        dry_run: What changes anything is decided and recorded, and not performed; None: it is performed.
        asker: Asks a person where the policy says so. Without it the answer is no.
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
        never: Callable[[str], Verdict | None] = lambda _: None,
        redactor: Redactor | None = None,
        on_close: Callable[[], Awaitable[None] | None] | None = None,
        asker: Asker | None = None,
        dry_run: DryRun | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.budget = budget
        self.holder = Holder()
        self.decide_below = decide_below
        self.is_closed = False
        self.redactor = redactor or Redactor()
        self._on_close = on_close
        self._dry_run = dry_run
        self._asker = asker
        self.denial: DeniedError | None = None  # the newest call that was denied, for the reason of the run
        self.summaries: list[CallSummary] = []  # at most MAX_SUMMARIES
        self._table = table
        self._decide_by_policy = decide
        self._never = never
        self._possible: set[str] = set()  # calls that may be allowed, on some facts
        self._recorder = recorder
        self._session = session
        self._host = host
        self._run = run
        self._clock_ns = clock_ns
        self._verdicts: dict[tuple[str, Facts], Verdict] = {}
        #: Of each call of the catalogue that was allowed and held nothing: on which facts, and by which rule.
        self._passed: dict[str, tuple[tuple[Facts, ...], str]] = {}

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
        attempt = Attempt(name, {"args": args, "named": named}, self._clock_ns())
        try:
            value = await self._pass(attempt, args, named)
            reply = given(value) if type(value) is Held else answered(self.redactor.plain(value))
        except OutriderError as error:
            reply = refused(error, self.redactor)
        except asyncio.CancelledError:
            self._cut_short(attempt)
            raise
        except Exception:  # noqa: BLE001 - a fault of ours in one call; its text must reach neither script nor wire
            _log.error("call %s failed unexpectedly\n%s", name, self.redactor.text(traceback.format_exc()))
            reply = refused(InternalError(f"{name} failed; the agent's log says why"))
        is_early = answer is not None and reply.ok and not attempt.changes
        if is_early and answer is not None:
            self._recorder.check_room()
            answer(reply.body)
        outcome = DRY if attempt.is_dry else "ok"
        told = proof(reply.value) if attempt.changes and not attempt.is_dry else None
        self._record(attempt, outcome if reply.error is None else reply.error.code, len(reply.body), told)
        if attempt.rule == RULE_BUDGET and isinstance(reply.error, BudgetError) and reply.error.budget in _ENDING:
            raise reply.error
        if answer is not None and not is_early:
            answer(reply.body)
        return reply

    async def pull(
        self, stream: int, answer: Callable[[bytes], None], answer_bytes: Callable[[bytes], None] | None = None
    ) -> Reply:
        """Answer what comes next of a stream.

        Args:
            stream: Its number, as the worker claims.
            answer: Takes the encoded answer, once.
            answer_bytes: Takes in its place the bytes of an answer that is nothing else, which are not copied then.

        Raises:
            BudgetError: The session takes too many turns; it is to be ended.
            OutriderError: The end of the stream could not be recorded; the session is to be ended.

        Cancellation:
            Safe; the stream is closed with the run.
        """
        self.budget.spend_turn(self._clock_ns())
        held = self.holder.find(stream)
        if held is None or not isinstance(held.thing, Pump):
            reply = refused(NotFoundError("this run has no such stream that is still open"))
            answer(reply.body)
            return reply
        try:
            batch = await held.thing.pull()
        except OutriderError as error:
            reply = refused(error, self.redactor)
            await self._let_go(held, error.code)
            answer(reply.body)
            return reply
        held.size_bytes += batch.size_bytes
        held.items += batch.items
        if batch.is_bytes and answer_bytes is not None:
            content = batch.content
            answer_bytes(content)
        else:
            content = batch.body
            answer(content)
        if batch.is_end:
            await self._let_go(held, "ok")
        return Reply(True, None, None, content)

    async def push(self, handle: int, pieces: Sequence[bytes | memoryview]) -> None:
        """Give bytes to what a call opened to take them, such as a writer: that was decided then, as with a pull.

        They come in pieces, as they came here, so that nobody copies them.

        For sessions of people, whose bytes come over a link; no worker reaches this. What came of it is in the record
        of the handle's end, and a call puts it into effect or not.

        Raises:
            NotFoundError: The session holds nothing of that number that takes bytes.
            BudgetError: The session takes too many turns; it is to be ended.
            OutriderError: They could not be taken.
        """
        self.budget.spend_turn(self._clock_ns())
        held = self.holder.find(handle)
        take = None if held is None else getattr(held.thing, "take", None)
        if held is None or take is None:
            raise NotFoundError("this session holds nothing of that number that takes bytes")
        if inspect.iscoroutinefunction(take):
            await take(pieces)
        else:
            await VISITS.begin(partial(take, pieces))
        held.size_bytes += sum(map(len, pieces))
        held.items += 1

    async def release(self, handle: int) -> None:
        """Close what the worker needs no more; raises as :meth:`pull`. A number that means nothing is none."""
        self.budget.spend_turn(self._clock_ns())
        held = self.holder.find(handle)
        if held is not None:
            await self._let_go(held, "closed")

    async def close(self) -> None:
        """Close everything that is held: the session has ended. What a thread is still in is closed behind it."""
        closing = self.begin_closing()
        if closing is not None:
            await closing

    def begin_closing(self) -> Awaitable[None] | None:
        """Do as :meth:`close`; return what is to be awaited for it, or None if that was all, as mostly."""
        self.is_closed = True
        held = self.holder.shut()
        if held:
            return self._close(held)
        return None if self._on_close is None else self._on_close()

    async def _close(self, held: list[Held]) -> None:
        """Close all of it at once, so that what takes its time does not hold the end up for longer than one does."""
        if len(held) == 1:
            await self._cut_off(held[0])
        else:
            await asyncio.gather(*map(self._cut_off, held))
        ending = None if self._on_close is None else self._on_close()
        if ending is not None:
            await ending

    async def _cut_off(self, held: Held) -> None:
        try:
            await self._let_go(held, "cut short")
        except OutriderError:  # the session is over either way, and the rest must be closed too
            _log.exception("the end of %s could not be recorded", held.call)

    async def _let_go(self, held: Held, outcome: str) -> None:
        self.holder.drop(held)
        try:
            outcome = await held.close() or outcome
        finally:
            self.budget.release(held.budget)
            data = {"kind": held.kind, "items": held.items, **held.summary()}
            fields = {"arguments": {}, "verdict": "", "rule": "", "data": recordable(self.redactor.plain(data))}
            duration_us = (self._clock_ns() - held.started_ns) // 1000
            self._recorder.record(**self._names(held.call, "call.end", outcome, duration_us, held.size_bytes), **fields)

    async def _pass(self, attempt: Attempt, args: list[Any], named: dict[str, Any]) -> Any:
        entry = self._admit(attempt, args, named)
        while True:
            try:
                if entry.prepare_at_once is not None:
                    try:
                        return self._pass_at_once(entry.prepare_at_once, entry, attempt)
                    except BlockingIOError:  # on a thread then, from the beginning
                        attempt.verdict, attempt.rule = "deny", RULE_NOT_DECIDED
                if entry.is_blocking:
                    return await self._pass_on_thread(entry, attempt)
                if entry.gives != _VALUE:
                    return await self._pass_and_hold(entry, attempt)
                if entry.looks_up:
                    prepared, targets = await self._prepared(entry, attempt)
                    with targets:
                        return await self._perform(entry, attempt, prepared)
                with entry.prepare(self._host, self._run, attempt.arguments, Passage(self, attempt)) as prepared:
                    return await self._perform(entry, attempt, prepared)
            except Unanswered as unanswered:  # what was opened is closed again
                await self.ask(attempt, unanswered.facts)

    async def ask(self, attempt: Attempt, facts: tuple[Facts, ...]) -> None:
        """Ask a person about what a call would touch; each object is a question of its own.

        Raises:
            DeniedError: The answer is no.
        """
        for one in facts:
            verdict = self.verdict(attempt.name, one)
            attempt.rule, attempt.verdict = verdict.rule, "deny"
            attempt.questions += 1
            if self._asker is None or attempt.questions > MAX_QUESTIONS:
                self.denial = attempt.denial(one, verdict)
                raise self.denial
            answer = await self._asker(attempt.name, verdict.reason or attempt.name)
            if not answer.granted:
                self.denial = attempt.denial(one, verdict, answer.why)
                raise self.denial
            attempt.consented[one] = f"{verdict.rule}; {answer.by} said yes"

    async def _pass_and_hold(self, entry: CallEntry, attempt: Attempt) -> Any:
        prepared, targets = await self._prepared(entry, attempt)
        with targets:
            return await self._perform(entry, attempt, prepared, targets)

    async def _prepared(self, entry: CallEntry, attempt: Attempt) -> tuple[PreparedCall, ExitStack]:
        """Return a call that does not block, with its targets open, and what closes them; on a thread where that asks
        what may take its time.

        Cancellation:
            Safe: what a thread still opens is closed behind it.
        """

        def prepare() -> tuple[PreparedCall, ExitStack]:
            with ExitStack() as targets:
                passage = Passage(self, attempt)
                prepared = targets.enter_context(entry.prepare(self._host, self._run, attempt.arguments, passage))
                return prepared, targets.pop_all()

        looks_up = entry.looks_up
        if not (looks_up is True or (looks_up and any(attempt.arguments.get(name) for name in looks_up))):
            return prepare()
        attempt.check_visits()
        preparing = VISITS.begin(prepare)
        try:
            return await asyncio.shield(preparing)
        except asyncio.CancelledError:
            preparing.add_done_callback(_leave)
            raise

    async def _perform(
        self, entry: CallEntry, attempt: Attempt, prepared: PreparedCall, targets: ExitStack | None = None
    ) -> Any:
        held = self._allow(entry, attempt, prepared.facts)
        try:
            dry_run = self._dry_run
            if dry_run is not None and self._is_dry(dry_run, entry, attempt, prepared.facts):
                value = dry_run.result(entry, prepared)
            else:
                if entry.changes:
                    await self._intend(attempt)
                value = prepared.perform()
            if type(value) not in _AT_ONCE and isinstance(value, Awaitable):
                value = await value
            if targets is not None:
                loop = asyncio.get_running_loop()
                taken, held = held, ()
                thing = Pump(value, self.redactor) if entry.gives == STREAM else value
                value = self._hold(Held(attempt.name, thing, targets.pop_all(), taken, attempt.started_ns), loop)
            return value
        finally:
            if held:
                self.budget.release(held)

    def _pass_at_once(self, prepare: PrepareAtOnce, entry: CallEntry, attempt: Attempt) -> Any:
        """Pass a call that may block and changes nothing, here and now if that takes no waiting.

        Raises:
            BlockingIOError: It does.
        """
        with prepare(self._host, self._run, attempt.arguments, Passage(self, attempt)) as prepared:
            held = self._allow(entry, attempt, prepared.facts)
            try:
                return prepared.perform()
            finally:
                self.budget.release(held)

    async def _pass_on_thread(self, entry: CallEntry, attempt: Attempt) -> Any:
        """Pass a call that may block. Opening, deciding and performing share one visit to a thread where they can."""
        loop = asyncio.get_running_loop()
        visit = self._visit_for_value if entry.gives == _VALUE else self._visit_and_hold
        attempt.check_visits()
        return await VISITS.begin(partial(visit, entry, attempt, loop))

    def _visit_for_value(self, entry: CallEntry, attempt: Attempt, loop: asyncio.AbstractEventLoop) -> Any:
        with entry.prepare(self._host, self._run, attempt.arguments, Passage(self, attempt)) as prepared:
            held = self._allow(entry, attempt, prepared.facts)
            try:
                return self._perform_on_thread(entry, attempt, prepared, loop)
            finally:
                self.budget.release(held)

    def _visit_and_hold(self, entry: CallEntry, attempt: Attempt, loop: asyncio.AbstractEventLoop) -> Held:
        with ExitStack() as targets:
            prepared = targets.enter_context(
                entry.prepare(self._host, self._run, attempt.arguments, Passage(self, attempt))
            )
            held = self._allow(entry, attempt, prepared.facts)
            try:
                thing = self._perform_on_thread(entry, attempt, prepared, loop)
                if entry.gives == STREAM:
                    thing = Pump(thing, self.redactor)
                    thing.prime()
                taken, held = held, ()
                return self._hold(Held(attempt.name, thing, targets.pop_all(), taken, attempt.started_ns), loop)
            finally:
                self.budget.release(held)

    def _perform_on_thread(
        self, entry: CallEntry, attempt: Attempt, prepared: PreparedCall, loop: asyncio.AbstractEventLoop
    ) -> Any:
        """Carry out an allowed call, or not in a dry run; give what it gives."""
        dry_run = self._dry_run
        is_dry = dry_run is not None and self._is_dry(dry_run, entry, attempt, prepared.facts)
        if entry.changes and not is_dry:  # the recorder lives on the loop, and must have it on disk first
            asyncio.run_coroutine_threadsafe(self._intend(attempt), loop).result()
        attempt.check_goes_on()
        if dry_run is not None and is_dry:
            return dry_run.result(entry, prepared)
        return prepared.perform()

    def _hold(self, held: Held, loop: asyncio.AbstractEventLoop) -> Held:
        """Hold what a call gave until it is released or the run ends. Safe from any thread."""
        try:
            self.holder.add(held)
        except DeadlineError:  # the run ended while a thread was still at it
            self.budget.release(held.budget)
            asyncio.run_coroutine_threadsafe(held.close(), loop)
            raise
        return held

    def _admit(self, attempt: Attempt, args: list[Any], named: dict[str, Any]) -> CallEntry:
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
        if attempt.name not in self._possible:
            self._check_possible(attempt)
        for name in entry.lists:  # before they are opened: a thousand at once may be all that the agent can have open
            attempt.rule = RULE_BUDGET
            self.budget.check_room(OPEN_FILES, len(attempt.arguments.get(name) or ()))
            attempt.rule = RULE_NOT_DECIDED
        return entry

    def _check_possible(self, attempt: Attempt) -> None:
        verdict = self._never(attempt.name)
        if verdict is not None:
            attempt.rule = verdict.rule
            told = f"{verdict.reason}{attempt.asked_for()} ({verdict.rule})"
            self.denial = DeniedError(escaped(told), rule=verdict.rule)
            raise self.denial
        self._possible.add(attempt.name)

    def _allow(self, entry: CallEntry, attempt: Attempt, facts: tuple[Facts, ...]) -> tuple[str, ...]:
        """Return what the call holds from now on, if the policy allows it and the budget has room for it."""
        passed = self._passed.get(attempt.name)
        if passed is not None and passed[0] is facts:  # the very same; equal facts give equal verdicts
            attempt.rule = passed[1]
            attempt.verdict = "allow"
            return ()
        verdict: Verdict | None = None
        unanswered: list[Facts] = []
        wanted: list[str] = []
        for one in facts:
            verdict = self.verdict(attempt.name, one)
            if not verdict.allowed:
                if verdict.effect.name != ASK:
                    attempt.rule = verdict.rule
                    self.denial = attempt.denial(one, verdict)
                    raise self.denial
                if one not in attempt.consented:
                    unanswered.append(one)
            if one.path is not None:
                wanted.append(OPEN_FILES)
            elif one.command is not None:
                wanted.append(PROCESSES)
        if unanswered:  # after all denials, so that nobody is asked about what cannot be
            raise Unanswered(tuple(dict.fromkeys(unanswered)))
        if verdict is None:
            raise InternalError(f"{attempt.name} gave nothing to decide on")
        attempt.rule = RULE_BUDGET
        if not wanted and entry.gives != _VALUE:
            wanted.append(OPEN_FILES)
        held = tuple(wanted)
        if held:
            self.budget.hold(held)
        elif not attempt.consented:
            self._passed[attempt.name] = (facts, verdict.rule)
        attempt.rule = "; ".join(attempt.consented.values()) if attempt.consented else verdict.rule
        attempt.verdict = "allow"
        return held

    def _is_dry(self, dry_run: DryRun, entry: CallEntry, attempt: Attempt, facts: tuple[Facts, ...]) -> bool:
        """Tell, and note, whether an allowed call is not to be carried out."""
        only_reads = not entry.changes or all(dry_run.reads(attempt.name, one) for one in facts)
        attempt.is_dry = not only_reads or self._is_on_dry_thing(attempt)
        return attempt.is_dry

    def _is_on_dry_thing(self, attempt: Attempt) -> bool:
        for value in attempt.arguments.values():
            number = value.get(HANDLE_KEY) if isinstance(value, dict) else None
            held = self.holder.find(number) if isinstance(number, int) else None
            if held is not None and getattr(held.thing, "is_dry", False):
                return True
        return False

    def verdict(self, name: str, facts: Facts) -> Verdict:
        """Return the session's verdict; remembers the newest few."""
        key = (name, facts)
        verdict = self._verdicts.get(key)
        if verdict is None:
            verdict = self._decide_by_policy(name, facts)
            if len(self._verdicts) < MAX_CACHED_VERDICTS:
                self._verdicts[key] = verdict
        return verdict

    async def _intend(self, attempt: Attempt) -> None:
        attempt.check_goes_on()
        decided = {"verdict": attempt.verdict, "rule": attempt.rule}
        arguments = self.redactor.plain(attempt.arguments)
        await self._recorder.intend(**self._names(attempt.name, "intent", "", 0, 0), arguments=arguments, **decided)

    def _cut_short(self, attempt: Attempt) -> None:
        attempt.is_cut_short = True
        try:
            self._record(attempt, "cut short", 0)
        except OutriderError:  # the session ends anyway, and a cancellation must not be lost
            _log.exception("the end of call %s could not be recorded", attempt.name)

    def _record(self, attempt: Attempt, outcome: str, size_bytes: int, told: dict[str, str] | None = None) -> None:
        duration_us = (self._clock_ns() - attempt.started_ns) // 1000
        if len(self.summaries) < MAX_SUMMARIES:
            self.summaries.append(
                CallSummary(attempt.name, DRY if attempt.is_dry else attempt.verdict, attempt.rule, duration_us / 1000)
            )
        session = self._session
        self._recorder.record(  # word for word: to make a map of them and to hand that on takes twice as long
            kind="call",
            session=session.session,
            run=session.run,
            principal=session.principal,
            call=attempt.name,
            arguments=self.redactor.plain(attempt.arguments),
            verdict=attempt.verdict,
            rule=attempt.rule,
            outcome=outcome,
            duration_us=duration_us,
            bytes=size_bytes,
            data=told or {},
        )

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


def _leave(preparing: asyncio.Future[tuple[PreparedCall, ExitStack]]) -> None:
    """Close what was opened for a call that nobody waits for any more."""
    if not preparing.cancelled() and preparing.exception() is None:
        VISITS.begin(preparing.result()[1].close)
