"""Whether a call of one session may go through: count -> find -> bind -> (never?); and, once it is prepared, decide.

- A call is counted before anything else is done for it, and refused over its budget, unknown or with wrong arguments.
  For one that the policy allows on no facts at all, nothing is opened, looked up or asked.
- The decision is made on the facts of what was really opened. All of them must be allowed; of any that the policy wants
  a person to be asked about, a person is asked once nothing else denies it, and the call is decided anew after a yes.
- What is allowed holds of the budget, from then on, what it has open.

``attempt.rule`` is kept as it goes, so that the record of a call that fails anywhere says how far it came.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from protocol.errors import DeniedError, InternalError, NotFoundError
from sandbox.attempts import (
    ASK,
    RULE_ARGUMENTS,
    RULE_BUDGET,
    RULE_NOT_DECIDED,
    RULE_UNKNOWN,
    Attempt,
    Unanswered,
)
from sandbox.budget import OPEN_FILES, PROCESSES, Budget
from sandbox.channel import escaped
from sandbox.parties import VALUE, Asker, CallEntry, CallTable

if TYPE_CHECKING:
    from policies.model import Facts, Verdict

MAX_CACHED_VERDICTS: Final = 256  # of one run; more different facts than that are decided anew each time
MAX_QUESTIONS: Final = 4  # of one call; what is opened may be another thing each time


class Decisions:
    """What one session may do.

    Args:
        table: The catalogue.
        decide: The session's effective policy: call name and facts to verdict. Pure; equal facts give equal verdicts.
        budget: What the session may use.
        never: The denial of a call name that is allowed on no facts; None if it depends on them. Pure.
        decide_below: What :meth:`Passage.below` tells of a call name and a real directory. Without it, it depends.
        asker: Asks a person where the policy says so. Without it the answer is no.
    """

    def __init__(
        self,
        table: CallTable,
        decide: Callable[[str, Facts], Verdict],
        budget: Budget,
        never: Callable[[str], Verdict | None],
        decide_below: Callable[[str, str], bool | None] | None,
        asker: Asker | None,
    ) -> None:
        self.denial: DeniedError | None = None  # the newest call that was denied, for the reason of the run
        self.decide_below = decide_below
        self._table = table
        self._decide_by_policy = decide
        self._budget = budget
        self._never = never
        self._asker = asker
        self._possible: set[str] = set()  # calls that may be allowed, on some facts
        self._verdicts: dict[tuple[str, Facts], Verdict] = {}
        #: Of each call of the catalogue that was allowed and held nothing: on which facts, and by which rule.
        self._passed: dict[str, tuple[tuple[Facts, ...], str]] = {}

    def admit(self, attempt: Attempt, args: list[Any], named: dict[str, Any]) -> CallEntry:
        """Return the entry, with the arguments bound.

        Raises:
            BudgetError: It is one too many, or opens too much.
            NotFoundError: There is no such call.
            ArgumentError: The arguments do not fit.
            DeniedError: It is allowed on no facts.
        """
        attempt.rule = RULE_BUDGET
        self._budget.spend_call(attempt.started_ns)
        if attempt.name.startswith("log."):
            self._budget.spend_log_line()
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
            self._budget.check_room(OPEN_FILES, len(attempt.arguments.get(name) or ()))
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

    def allow(self, entry: CallEntry, attempt: Attempt, facts: tuple[Facts, ...]) -> tuple[str, ...]:
        """Return what the call holds from now on, if the policy allows it and the budget has room for it.

        Raises:
            DeniedError: The policy does not.
            Unanswered: A person is to be asked first.
            BudgetError: There is no room.
        """
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
        if not wanted and entry.gives != VALUE:
            wanted.append(OPEN_FILES)
        held = tuple(wanted)
        if held:
            self._budget.hold(held)
        elif not attempt.consented:
            self._passed[attempt.name] = (facts, verdict.rule)
        attempt.rule = "; ".join(attempt.consented.values()) if attempt.consented else verdict.rule
        attempt.verdict = "allow"
        return held

    def verdict(self, name: str, facts: Facts) -> Verdict:
        """Return the session's verdict; remembers the newest few."""
        key = (name, facts)
        verdict = self._verdicts.get(key)
        if verdict is None:
            verdict = self._decide_by_policy(name, facts)
            if len(self._verdicts) < MAX_CACHED_VERDICTS:
                self._verdicts[key] = verdict
        return verdict

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
