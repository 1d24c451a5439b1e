"""What is known of one call while it passes the gate, and the words that its record and its refusals use."""

from __future__ import annotations

from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from kernel.visits import stuck
from protocol.errors import BudgetError, DeadlineError, DeniedError
from sandbox.channel import escaped

if TYPE_CHECKING:
    from policies.model import Facts, Verdict

RULE_UNKNOWN: Final = "catalogue: no such call"
RULE_ARGUMENTS: Final = "catalogue: the arguments do not fit"
RULE_BUDGET: Final = "limits"
PROOFS: Final = ("old_hash", "new_hash", "journal")  # fields of results of changes that stand in their records
MAX_PROOF_CHARS: Final = 128  # of one of them: a SHA-256 in hexadecimal digits has 64
DRY: Final = "dry"  # the outcome of a call that a dry run did not carry out
RULE_NOT_DECIDED: Final = "catalogue: not decided, the target could not be opened"
VISITED: Final = "visits"  # the budget of threads that wait; see ``kernel.visits``
STUCK_S: Final = 10.0  # that all of somebody's threads are away, for a further call to be refused and not to wait
_SHOWN: Final = 120  # characters of what was asked for, in a reason
NOBODY_TO_ASK: Final = "nobody to ask"
ASK: Final = "ASK"


@dataclass(slots=True)
class Attempt:
    """What is known so far about a call that is passing."""

    name: str
    arguments: dict[str, Any]  # as given, until bound
    started_ns: int
    verdict: str = "deny"
    rule: str = RULE_NOT_DECIDED
    changes: bool = True  # anything on the host; until it is known that it does not
    is_cut_short: bool = False  # the session ended; what has not begun must not begin
    intending: Future[None] | None = None  # what a thread waits for before it changes anything
    is_dry: bool = False  # decided, and not carried out
    consented: dict[Facts, str] = field(default_factory=dict)  # what a person said yes to, and the rule that asked
    questions: int = 0

    def has_consent(self, facts: Facts, verdict: Verdict) -> bool:
        """Tell whether a person said yes to this; what they said for a rule of an object holds by its other names."""
        if facts in self.consented:
            return True
        said = self.consented.get(facts._replace(others=())) if facts.others else None
        return said is not None and said.startswith(f"{verdict.rule}; ")

    def asked_for(self) -> str:
        """Return a space and the first argument, if it is text: what the call is about, as the script wrote it."""
        first = next(iter(self.arguments.values()), None)
        text = " ".join(item for item in first if isinstance(item, str)) if isinstance(first, list) else first
        return f" {text[:_SHOWN]}" if isinstance(text, str) and text else ""

    def denial(self, facts: Facts, verdict: Verdict, answer: str = NOBODY_TO_ASK) -> DeniedError:
        """Return what refuses this call on ``facts``; ``answer`` is what came of asking. It becomes the reason of the
        run.
        """
        target = facts.path or facts.command
        why = verdict.reason or f"{self.name}{f' {target}' if target else ''} is denied"
        if verdict.effect.name == ASK:
            why = f"{why}; {answer}"
        return DeniedError(escaped(f"{why} ({verdict.rule})"), rule=verdict.rule)

    def cut_short(self) -> None:
        """Have nothing begin that has not begun: the session ended. On the loop's thread."""
        self.is_cut_short = True
        intending = self.intending
        if intending is not None:
            intending.cancel()

    def wait_for_intent(self, intending: Future[None]) -> None:
        """Wait, on a thread, until it is durable that the call is about to change something.

        Not for a session that ended: a loop that stops with it may never come to what was sent to it.

        Raises:
            DeadlineError: The session has ended.
            OutriderError: It cannot be kept.
        """
        self.intending = intending
        if self.is_cut_short:  # looked at after the other was set, and the loop does it the other way round
            intending.cancel()
        try:
            intending.result()
        except CancelledError:
            raise self._cut_short_error() from None

    def check_goes_on(self) -> None:
        """Return if what has not begun may begin.

        Raises:
            DeadlineError: The session has ended.
        """
        if self.is_cut_short:
            raise self._cut_short_error()

    def _cut_short_error(self) -> DeadlineError:
        return DeadlineError(f"{self.name} was cut short before it began")

    def check_visits(self) -> None:
        """Return if the call may take a thread.

        Raises:
            BudgetError: All that its run, script or session may have never came back.
        """
        full = stuck(STUCK_S)
        if full is not None:
            self.rule = RULE_BUDGET
            told = f"{full.held} visits of {full.name} to files that do not answer have not come back"
            raise BudgetError(f"{VISITED}: {told}, the limit is {full.most}", budget=VISITED)


class Unanswered(Exception):
    """A call needs a person's word before it can go on; never leaves the gate."""

    def __init__(self, facts: tuple[Facts, ...]) -> None:
        self.facts = facts


def proof(value: Any) -> dict[str, str] | None:
    """Return what the record of a change tells of its result: from what to what, and what takes it back.

    The arguments alone do not say it: a patch is a part, and a writer's pieces came another way.
    """
    if type(value) is not dict:
        return None
    return {name: told for name in PROOFS if type(told := value.get(name)) is str and len(told) <= MAX_PROOF_CHARS}
