"""The one gate: every effect of a session on its host passes here, in this order and no other.

    count -> find -> bind -> (never?) -> prepare -> decide -> intend (if it changes anything) -> perform -> record

Whether a call may go through is ``decisions``; the ways in which it is carried out are ``performing``; what goes on
record of it is ``call_records``. Here they are put in order, and here is what a session does with what calls gave it.

- Every call that is asked for gives exactly one record: also an unknown one, one with wrong arguments, a denied one,
  one over its budget, and one that is cut short. A call that changes something gives an intent before it, which is
  durable before the effect begins. A call that is cut short before its effect began has no effect.
- The decision is made on the facts of what was really opened, never on the text of an argument.
- A call may give a stream or another thing that the gate holds for the run (``sandbox.held``). What it opened stays
  open with it, and its end is a record of its own, ``call.end``. Pulling a stream is no call: that was decided before.
- What cannot be recorded is not answered: the run ends. A call that changed nothing is answered once there is sure to
  be room for its record, which is made before the next call is looked at.
- An unexpected exception is logged in full here and reaches the script as a bare code.

The call table, the policy, the recorder, the host and the run's own state are injected; no call is known by name except
that ``log.*`` has a budget of its own.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from kernel.visits import VISITS
from protocol.errors import BudgetError, InternalError, NotFoundError, OutriderError
from protocol.redaction import Redactor
from sandbox.attempts import DRY, RULE_BUDGET, Attempt, proof
from sandbox.budget import CALL_RATE, CALLS, Budget
from sandbox.call_records import CallRecords
from sandbox.decisions import Decisions
from sandbox.held import Held, Holder, awaited_for_a_while
from sandbox.parties import Asker, CallTable, DryRun, Recorder, Session
from sandbox.performing import Performer
from sandbox.pump import Pump
from sandbox.replies import Reply, answered, given, refused

if TYPE_CHECKING:
    from policies.model import Facts, Verdict

_ENDING: Final = frozenset({CALLS, CALL_RATE})  # the budgets that end the session; the others the script may catch
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
        on_close: Called when everything that was held is closed, and what it returns is awaited: the end of ``run``. As
            what was held, it goes on behind the session's end if it takes long.
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
        self.redactor = redactor or Redactor()
        self.decisions = Decisions(table, decide, budget, never, decide_below, asker)
        self.records = CallRecords(recorder, session, self.redactor, clock_ns)
        self._performer = Performer(
            self.decisions, self.records, budget, self.holder, self.redactor, host, run, dry_run
        )  # fmt: skip
        self._recorder = recorder
        self._session = session
        self._on_close = on_close
        self._clock_ns = clock_ns

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
            entry = self.decisions.admit(attempt, args, named)
            value = await self._performer.carry_out(entry, attempt)
            reply = given(value) if type(value) is Held else answered(self.redactor.plain(value))
        except OutriderError as error:
            reply = refused(error, self.redactor)
        except asyncio.CancelledError:
            self.records.cut_short(attempt)
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
        self.records.call(attempt, outcome if reply.error is None else reply.error.code, len(reply.body), told)
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
        """Close everything that is held: the session has ended. What takes long to close is closed behind it, so that
        there is an end whatever never answers.
        """
        closing = self.begin_closing()
        if closing is not None:
            await closing

    def begin_closing(self) -> Awaitable[None] | None:
        """Do as :meth:`close`; return what is to be awaited for it, or None if that was all, as mostly."""
        held = self.holder.shut()
        if held:
            return self._close(held)
        ending = None if self._on_close is None else self._on_close()
        return None if ending is None else self._end(ending)

    async def _close(self, held: list[Held]) -> None:
        """Close all of it at once, so that what takes its time does not hold the end up for longer than one does."""
        if len(held) == 1:
            await self._cut_off(held[0])
        else:
            await asyncio.gather(*map(self._cut_off, held))
        ending = None if self._on_close is None else self._on_close()
        if ending is not None:
            await self._end(ending)

    async def _end(self, ending: Awaitable[None]) -> None:
        ended = await awaited_for_a_while(ending)
        if ended.done():
            ended.result()
        else:
            _log.warning("what ends with %s takes long, and goes on behind it", self._session.session)

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
            self.records.end(held, outcome)
