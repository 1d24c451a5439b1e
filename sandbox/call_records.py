"""What goes on record of the calls of one session: an intent before a change, one record of each call, one of each end.

- An intent is durable before the effect begins. A call that is cut short before that intends nothing any more.
- What is recorded is what the redactor lets through. The recorder bounds it, and says if it cannot be kept.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from protocol.errors import OutriderError
from protocol.redaction import Redactor
from sandbox.attempts import DRY, Attempt
from sandbox.channel import recordable
from sandbox.held import Held
from sandbox.parties import CallSummary, Recorder, Session

MAX_SUMMARIES: Final = 10_000  # of one run; the default limit of calls. Beyond it, calls are counted only

_log = logging.getLogger("outrider.sandbox.gate")


class CallRecords:
    """The records of one session.

    Args:
        recorder: Where they go.
        session: In whose name calls are made.
        redactor: Takes secrets out of them.
        clock_ns: Monotonic nanoseconds.
    """

    def __init__(self, recorder: Recorder, session: Session, redactor: Redactor, clock_ns: Callable[[], int]) -> None:
        self.summaries: list[CallSummary] = []  # at most MAX_SUMMARIES
        self._recorder = recorder
        self._session = session
        self._redactor = redactor
        self._clock_ns = clock_ns

    async def intend(self, attempt: Attempt) -> None:
        """Return when it is durable that a call is about to change something.

        Raises:
            DeadlineError: The session has ended.
            OutriderError: It cannot be kept.
        """
        attempt.check_goes_on()
        decided = {"verdict": attempt.verdict, "rule": attempt.rule}
        arguments = self._redactor.plain(attempt.arguments)
        await self._recorder.intend(**self._names(attempt.name, "intent", "", 0, 0), arguments=arguments, **decided)

    def call(self, attempt: Attempt, outcome: str, size_bytes: int, told: dict[str, str] | None = None) -> None:
        """Record a call.

        Args:
            attempt: What is known of it.
            outcome: ``ok``, ``dry``, ``cut short`` or the code of an error.
            size_bytes: Of the encoded answer.
            told: What a change tells of its result.

        Raises:
            OutriderError: It cannot be kept.
        """
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
            arguments=self._redactor.plain(attempt.arguments),
            verdict=attempt.verdict,
            rule=attempt.rule,
            outcome=outcome,
            duration_us=duration_us,
            bytes=size_bytes,
            data=told or {},
        )

    def cut_short(self, attempt: Attempt) -> None:
        """Record that the session ended in the middle of a call; what of it has not begun does not begin."""
        attempt.cut_short()
        try:
            self.call(attempt, "cut short", 0)
        except OutriderError:  # the session ends anyway, and a cancellation must not be lost
            _log.exception("the end of call %s could not be recorded", attempt.name)

    def end(self, held: Held, outcome: str) -> None:
        """Record the end of what a call gave; raises as :meth:`call`."""
        data = {"kind": held.kind, "items": held.items, **held.summary()}
        fields = {"arguments": {}, "verdict": "", "rule": "", "data": recordable(self._redactor.plain(data))}
        duration_us = (self._clock_ns() - held.started_ns) // 1000
        self._recorder.record(**self._names(held.call, "call.end", outcome, duration_us, held.size_bytes), **fields)

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
