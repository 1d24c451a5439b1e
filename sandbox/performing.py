"""The ways in which an admitted call is carried out: prepare -> decide -> intend (if it changes anything) -> perform.

All ways keep that order, and leave nothing open that no longer serves:

- at once, of a call that may block and changes nothing, if it takes no waiting now; else from the beginning,
- on a thread, of any other call that may block: opening, deciding and performing share one visit where they can,
- on the loop, of all others; opening may ask what takes its time, and that part is a visit then.

What gives a stream or a handle is held with what it opened. A verdict of ``ask`` waits for a person with nothing of
the call's open; then the call is prepared and decided anew, so that a yes is good for exactly what was asked about.

In a dry run, what changes anything is decided and not performed; what stands for its result is given. A thing that such
a call gave makes every later call on it a dry one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from kernel.visits import VISITS
from protocol.errors import DeadlineError
from protocol.redaction import Redactor
from sandbox.attempts import RULE_NOT_DECIDED, Attempt, Unanswered
from sandbox.budget import Budget
from sandbox.call_records import CallRecords
from sandbox.decisions import Decisions
from sandbox.held import Held, Holder
from sandbox.parties import VALUE, CallEntry, DryRun, PrepareAtOnce, PreparedCall
from sandbox.passage import Passage
from sandbox.pump import Pump
from sandbox.runtimes import HANDLE_KEY, STREAM

if TYPE_CHECKING:
    from policies.model import Facts

T = TypeVar("T")
_AT_ONCE: Final = frozenset({type(None), bool, int, float, str, bytes, list, dict})  # of a value that nobody waits for


class Performer:
    """Carries out the calls of one session.

    Args:
        decisions: Whether a call may go through.
        records: Where its intent goes.
        budget: Gets back what a call held.
        holder: Holds what a call gives that is no value.
        redactor: Takes secrets out of streams.
        host: Passed to calls that look at the host.
        run: Passed to calls that belong to the run.
        dry_run: What changes anything is not performed; None: it is.
    """

    def __init__(
        self,
        decisions: Decisions,
        records: CallRecords,
        budget: Budget,
        holder: Holder,
        redactor: Redactor,
        host: Any,
        run: Any,
        dry_run: DryRun | None,
    ) -> None:
        self._decisions = decisions
        self._records = records
        self._budget = budget
        self._holder = holder
        self._redactor = redactor
        self._host = host
        self._run = run
        self._dry_run = dry_run

    async def carry_out(self, entry: CallEntry, attempt: Attempt) -> Any:
        """Pass an admitted call, and return the value or the :class:`Held` that it gives.

        Raises:
            OutriderError: It is denied, or fails; a call that changes something may have done so.

        Cancellation:
            Safe. What has begun on a thread goes on to its end unseen, and what it opened is closed; nothing begins.
        """
        while True:
            try:
                if entry.prepare_at_once is not None:
                    try:
                        return self._at_once(entry.prepare_at_once, entry, attempt)
                    except BlockingIOError:  # on a thread then, from the beginning
                        attempt.verdict, attempt.rule = "deny", RULE_NOT_DECIDED
                if entry.is_blocking:
                    return await self._on_thread(entry, attempt)
                if entry.gives != VALUE:
                    return await self._and_hold(entry, attempt)
                if entry.looks_up:
                    prepared, targets = await self._prepared(entry, attempt)
                    with targets:
                        return await self._perform(entry, attempt, prepared)
                passage = Passage(self._decisions, self._holder, attempt)
                with entry.prepare(self._host, self._run, attempt.arguments, passage) as prepared:
                    return await self._perform(entry, attempt, prepared)
            except Unanswered as unanswered:  # what was opened is closed again
                await self._decisions.ask(attempt, unanswered.facts)

    # at once ---------------------------------------------------------------------------------------------------------

    def _at_once(self, prepare: PrepareAtOnce, entry: CallEntry, attempt: Attempt) -> Any:
        """Pass a call that may block and changes nothing, here and now if that takes no waiting.

        Raises:
            BlockingIOError: It does.
        """
        passage = Passage(self._decisions, self._holder, attempt)
        with prepare(self._host, self._run, attempt.arguments, passage) as prepared:
            held = self._decisions.allow(entry, attempt, prepared.facts)
            try:
                return prepared.perform()
            finally:
                self._budget.release(held)

    # on the loop -----------------------------------------------------------------------------------------------------

    async def _and_hold(self, entry: CallEntry, attempt: Attempt) -> Any:
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
                passage = Passage(self._decisions, self._holder, attempt)
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
        held = self._decisions.allow(entry, attempt, prepared.facts)
        try:
            dry_run = self._dry_run
            if dry_run is not None and self._is_dry(dry_run, entry, attempt, prepared.facts):
                value = dry_run.result(entry, prepared)
            else:
                if entry.changes:
                    await self._records.intend(attempt)
                value = prepared.perform()
            if type(value) not in _AT_ONCE and isinstance(value, Awaitable):
                value = await value
            if targets is not None:
                loop = asyncio.get_running_loop()
                taken, held = held, ()
                thing = Pump(value, self._redactor) if entry.gives == STREAM else value
                value = self._hold(Held(attempt.name, thing, targets.pop_all(), taken, attempt.started_ns), loop)
            return value
        finally:
            if held:
                self._budget.release(held)

    # on a thread -----------------------------------------------------------------------------------------------------

    async def _on_thread(self, entry: CallEntry, attempt: Attempt) -> Any:
        """Pass a call that may block. Opening, deciding and performing share one visit to a thread where they can."""
        loop = asyncio.get_running_loop()
        visit = self._visit_for_value if entry.gives == VALUE else self._visit_and_hold
        attempt.check_visits()
        return await VISITS.begin(partial(visit, entry, attempt, loop))

    def _visit_for_value(self, entry: CallEntry, attempt: Attempt, loop: asyncio.AbstractEventLoop) -> Any:
        passage = Passage(self._decisions, self._holder, attempt)
        with entry.prepare(self._host, self._run, attempt.arguments, passage) as prepared:
            held = self._decisions.allow(entry, attempt, prepared.facts)
            try:
                return self._perform_on_thread(entry, attempt, prepared, loop)
            finally:
                self._budget.release(held)

    def _visit_and_hold(self, entry: CallEntry, attempt: Attempt, loop: asyncio.AbstractEventLoop) -> Held:
        with ExitStack() as targets:
            passage = Passage(self._decisions, self._holder, attempt)
            prepared = targets.enter_context(entry.prepare(self._host, self._run, attempt.arguments, passage))
            held = self._decisions.allow(entry, attempt, prepared.facts)
            try:
                thing = self._perform_on_thread(entry, attempt, prepared, loop)
                if entry.gives == STREAM:
                    thing = Pump(thing, self._redactor)
                    thing.prime()
                taken, held = held, ()
                return self._hold(Held(attempt.name, thing, targets.pop_all(), taken, attempt.started_ns), loop)
            finally:
                self._budget.release(held)

    def _perform_on_thread(
        self, entry: CallEntry, attempt: Attempt, prepared: PreparedCall, loop: asyncio.AbstractEventLoop
    ) -> Any:
        """Carry out an allowed call, or not in a dry run; give what it gives."""
        dry_run = self._dry_run
        is_dry = dry_run is not None and self._is_dry(dry_run, entry, attempt, prepared.facts)
        if entry.changes and not is_dry:  # the recorder lives on the loop, and must have it on disk first
            attempt.check_goes_on()  # the loop of a session that ended may have stopped
            attempt.wait_for_intent(sent_to(loop, self._records.intend(attempt)))
        attempt.check_goes_on()
        if dry_run is not None and is_dry:
            return dry_run.result(entry, prepared)
        return prepared.perform()

    # of all ways -----------------------------------------------------------------------------------------------------

    def _hold(self, held: Held, loop: asyncio.AbstractEventLoop) -> Held:
        """Hold what a call gave until it is released or the run ends. Safe from any thread."""
        try:
            self._holder.add(held)
        except DeadlineError:  # the run ended while a thread was still at it
            self._budget.release(held.budget)
            sent_to(loop, held.close())
            raise
        return held

    def _is_dry(self, dry_run: DryRun, entry: CallEntry, attempt: Attempt, facts: tuple[Facts, ...]) -> bool:
        """Tell, and note, whether an allowed call is not to be carried out."""
        only_reads = not entry.changes or all(dry_run.reads(attempt.name, one) for one in facts)
        attempt.is_dry = not only_reads or self._is_on_dry_thing(attempt)
        return attempt.is_dry

    def _is_on_dry_thing(self, attempt: Attempt) -> bool:
        for value in attempt.arguments.values():
            number = value.get(HANDLE_KEY) if isinstance(value, dict) else None
            held = self._holder.find(number) if isinstance(number, int) else None
            if held is not None and getattr(held.thing, "is_dry", False):
                return True
        return False


def _leave(preparing: asyncio.Future[tuple[PreparedCall, ExitStack]]) -> None:
    """Close what was opened for a call that nobody waits for any more."""
    if not preparing.cancelled() and preparing.exception() is None:
        VISITS.begin(preparing.result()[1].close)


def sent_to(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
    """Have ``loop`` run ``coroutine``, from another thread.

    Raises:
        RuntimeError: The loop is closed, as the agent ends. Then nothing of it was done, and nothing is left of it.
    """
    try:
        return asyncio.run_coroutine_threadsafe(coroutine, loop)
    except RuntimeError:
        coroutine.close()
        raise
