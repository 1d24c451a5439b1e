"""What a call may ask of the gate while it passes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.attempts import ASK

if TYPE_CHECKING:
    from policies.model import Facts
    from sandbox.attempts import Attempt
    from sandbox.decisions import Decisions
    from sandbox.held import Holder


class Passage:
    """What a call may ask of the gate while it passes; a stream, as long as it is open. Safe from any thread."""

    __slots__ = ("_attempt", "_decisions", "_holder")

    def __init__(self, decisions: Decisions, holder: Holder, attempt: Attempt) -> None:
        self._decisions = decisions
        self._holder = holder
        self._attempt = attempt

    def thing(self, number: int, kind: str, parameter: str) -> Any:
        """Return what the run holds under ``number``; raises as :meth:`held.Holder.thing`."""
        return self._holder.thing(number, kind, parameter)

    def permits(self, facts: Facts) -> bool:
        """Tell whether this call would be allowed on one more object. What is not permitted is to be left out."""
        return self._decisions.verdict(self._attempt.name, facts).allowed

    def require(self, facts: Facts) -> None:
        """Return if this call is allowed on one more object, such as an address that a name stands for.

        Raises:
            DeniedError: It is not. The record of the call says so.
        """
        verdict = self._decisions.verdict(self._attempt.name, facts)
        if self._attempt.has_consent(facts, verdict):
            return
        self._attempt.rule = verdict.rule
        if not verdict.allowed:
            self._attempt.verdict = "deny"
            self._decisions.denial = self._attempt.denial(facts, verdict)
            raise self._decisions.denial

    async def settle(self, facts: Facts) -> None:
        """Do as :meth:`require`, and ask a person if the policy wants that. For calls that do not run on a thread."""
        verdict = self._decisions.verdict(self._attempt.name, facts)
        if verdict.effect.name == ASK and not self._attempt.has_consent(facts, verdict):
            await self._decisions.ask(self._attempt, (facts,))
        self.require(facts)

    def below(self, directory: str) -> bool | None:
        """Tell whether all (True) or nothing (False) below a real directory is permitted; None if it depends."""
        decide = self._decisions.decide_below
        return None if decide is None else decide(self._attempt.name, directory)

    @property
    def is_over(self) -> bool:
        """Whether the run has ended, so that whoever still works for it may stop."""
        return self._attempt.is_cut_short or self._holder.is_closed
