"""Questions to the owner of this host: may this session open, may this call go through. No answer in time is a no.

- Whoever may answer: the owner through the control socket; an approver of the server only where the ceiling accepts the
  server's word for it (``accept_server_word: [consent]``). Anybody may say no. Nobody says yes to himself.
- Each question is on record when it is asked, and each answer with who gave it; what nobody waits for any more is
  withdrawn. A question that cannot be recorded is a no.
- What is asked is a text from a script or a server: bounded, and without what a terminal would obey.
- Questions are bounded, of one session and of all, so that nobody is worn down until he says yes.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from agent.clock import Clock
from agent.logs import LOG
from agent.recorder import Recorder
from policies.ceiling import MAX_CONSENT_TIMEOUT_S, Ceiling
from protocol.errors import DeniedError, NotFoundError, OutriderError
from sandbox.parties import Answer

WORD: Final = "consent"  # of the ceiling's accept_server_word
OWNER: Final = "owner"
SERVER: Final = "server"
MAX_PENDING: Final = 64  # questions that wait, of all sessions; more than a person can read
MAX_PENDING_OF_ONE: Final = 4  # of one session or run
MAX_ASKED_OF_ONE: Final = (
    32  # of one session or run in all, with all that it calls, so that nobody is asked until he gives in
)
MAX_TEXT_CHARS: Final = 500
_WHY_NOT: Final = {
    "denied": "{by} said no", "deadline": "nobody answered in time", "withdrawn": "the question was withdrawn",
    "unrecorded": "the answer could not be recorded",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Question:
    """What somebody waits to hear."""

    id: str
    text: str  # one line for people
    about: str  # ``session``, or the name of the call
    session: str
    run: str  # empty if no script asks
    principal: str  # who would profit
    asked_us: int
    expires_us: int  # then it is a no

    def to_plain(self) -> dict[str, Any]:
        """Return it as it goes to the owner and over the link."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Settled:
    """The end of a question, for those who follow them."""

    question: Question
    outcome: str  # granted, denied, deadline, withdrawn
    by: str


@dataclass(eq=False, slots=True)
class _Pending:
    question: Question
    answered: asyncio.Event
    outcome: str = "deadline"
    by: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """What the owner is told and not asked."""

    text: str
    session: str
    principal: str


Told = Question | Settled | Notice


class Consents:
    """The questions of one host.

    Args:
        ceiling: Of this host, as it stands now.
        recorder: For questions and answers.
        clock: For the deadline.
    """

    def __init__(self, ceiling: Callable[[], Ceiling], recorder: Recorder, clock: Clock) -> None:
        self._ceiling = ceiling
        self._recorder = recorder
        self._clock = clock
        self._pending: dict[str, _Pending] = {}
        self._asked: dict[str, int] = {}  # session, or first run of a chain -> how often it has asked
        self._followers: list[Callable[[Told], None]] = []

    @property
    def pending(self) -> list[Question]:
        """What waits for an answer, oldest first."""
        return [each.question for each in self._pending.values()]

    def follow(self, told: Callable[[Told], None]) -> Callable[[], None]:
        """Have ``told`` called with each question, end of one and notice; returns what ends that."""
        self._followers.append(told)
        return lambda: self._followers.remove(told)

    def notify(self, text: str, *, session: str, principal: str) -> None:
        """Tell the owner something that he is not asked about."""
        told = _shown(text)
        LOG.warning("for the owner of this host: %s", told)
        self._tell(Notice(told, session, principal))

    def withdraw(self, session: str) -> None:
        """Nobody waits any more for what a session has asked; whoever does hears a no."""
        for pending in self._pending.values():
            if pending.question.session == session and not pending.answered.is_set():
                pending.outcome = "withdrawn"
                pending.answered.set()

    def forget(self, session: str) -> None:
        """A session or run is over: it may not ask any more, and its count is let go."""
        self._asked.pop(session, None)

    async def ask(
        self,
        text: str,
        *,
        about: str,
        session: str,
        principal: str,
        run: str = "",
        timeout_s: float | None = None,
        chain: str = "",
    ) -> Answer:
        """Ask and return the answer.

        Args:
            text: What is asked, for people.
            about: ``session``, or the name of a call.
            session: Who asks.
            principal: Who would profit from a yes.
            run: If a script asks.
            timeout_s: Shorter than what the ceiling says, in seconds; None: as the ceiling says.
            chain: The run on whose account a script asks that another one called, and with whose questions it counts.

        Returns:
            A no if nobody answered, or nobody could be asked.

        Cancellation:
            Withdraws the question.
        """
        try:
            rules = self._ceiling().sessions
            wait_s = min(rules.consent_timeout_s, timeout_s or 1e9)
            pending = self._take(text, about, session, principal, run, wait_s, chain or session)
        except OutriderError as error:
            return Answer(False, "", f"nobody could be asked: {error}")
        question = pending.question
        try:
            self._tell(question)
            await self._clock.wait(pending.answered, (question.expires_us - question.asked_us) / 1_000_000)
        except asyncio.CancelledError:
            pending.outcome = "withdrawn"
            raise
        finally:
            self._settle(pending)
        if pending.outcome == "granted":
            return Answer(True, pending.by, "")
        return Answer(False, pending.by, _WHY_NOT[pending.outcome].format(by=pending.by))

    def answer(self, identity: str, *, granted: bool, by: str, channel: str) -> Question:
        """Answer a question.

        Args:
            identity: Of the question.
            granted: Yes or no.
            by: Who answers, for the record.
            channel: ``OWNER`` or ``SERVER``.

        Raises:
            NotFoundError: No such question waits.
            DeniedError: Whoever it is may not say yes.
            OutriderError: The ceiling cannot be read; nothing was answered.
        """
        pending = self._pending.get(identity)
        if pending is None or pending.answered.is_set():
            raise NotFoundError(f"no question {identity[:40]!r} waits for an answer here")
        if granted and channel != OWNER:
            if WORD not in self._ceiling().accept_server_word:
                raise DeniedError("only this host's owner may say yes here", rule="ceiling.yaml: accept_server_word")
            if by == pending.question.principal:
                raise DeniedError(f"{by} asks, and so cannot say yes", rule="consent: never one's own")
        pending.outcome = "granted" if granted else "denied"
        pending.by = f"{by[:100]} ({'on the host' if channel == OWNER else 'at the server'})"
        pending.answered.set()
        return pending.question

    def _take(
        self, text: str, about: str, session: str, principal: str, run: str, timeout_s: float, chain: str
    ) -> _Pending:
        of_one = sum(each.question.session == session for each in self._pending.values())
        asked = self._asked.get(chain, 0) + 1
        if len(self._pending) >= MAX_PENDING or of_one >= MAX_PENDING_OF_ONE or asked > MAX_ASKED_OF_ONE:
            raise DeniedError("too many questions were asked", rule="consent: bounds")
        asked_us = self._clock.time_us()
        question = Question(
            f"q_{secrets.token_hex(6)}", _shown(text), about, session, run, principal[:200], asked_us,
            asked_us + round(min(timeout_s, MAX_CONSENT_TIMEOUT_S) * 1_000_000),
        )  # fmt: skip
        self._record(question, "asked", {"expires_us": question.expires_us})
        self._asked[chain] = asked
        pending = self._pending[question.id] = _Pending(question, asyncio.Event())
        LOG.warning("question %s to the owner of this host: %s", question.id, question.text)
        return pending

    def _settle(self, pending: _Pending) -> None:
        del self._pending[pending.question.id]
        try:
            self._record(pending.question, pending.outcome, {"by": pending.by})
        except OutriderError as error:
            LOG.error("the answer to question %s could not be recorded: %s", pending.question.id, error)
            pending.outcome = "unrecorded"
        self._tell(Settled(pending.question, pending.outcome, pending.by))

    def _record(self, question: Question, outcome: str, more: dict[str, Any]) -> None:
        data = {"event": "consent", "question": question.id, "text": question.text, "about": question.about}
        self._recorder.append(
            [
                {
                    "kind": "event", "session": question.session, "run": question.run, "principal": question.principal,
                    "outcome": outcome, "data": data | more,
                }
            ],
            is_urgent=True,
        )  # fmt: skip

    def _tell(self, told: Told) -> None:
        for follower in list(self._followers):
            try:
                follower(told)
            except Exception:  # noqa: BLE001 - one that fails must not keep the others, or the question, from going on
                LOG.exception("somebody who follows the questions failed")


def _shown(text: str) -> str:
    """Return ``text`` as one bounded line that no terminal obeys; also what reorders letters is taken out."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text[:MAX_TEXT_CHARS])
