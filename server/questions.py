"""What the owners of hosts are asked now, as far as this server knows. In memory: hosts tell again with a new link.

A host can make this server hold only so many questions of bounded size, and none for longer than it waits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from protocol.errors import NotFoundError, RateError
from server import clock

MAX_PER_AGENT: Final = 64  # agent.consent.MAX_PENDING


@dataclass(frozen=True, slots=True)
class Question:
    """One question of one host."""

    agent: str
    agent_name: str
    body: dict[str, Any]  # as protocol.messages has it

    def view(self) -> dict[str, Any]:
        """Return it as the API shows it."""
        return {
            "id": self.body["id"], "agent": self.agent_name, "agent_id": self.agent, "text": self.body["text"],
            "about": self.body["about"], "session": self.body["session"], "run": self.body["run"] or None,
            "principal": self.body["principal"], "asked": clock.text(self.body["asked_us"]),
            "expires": clock.text(self.body["expires_us"]), "may_grant": self.body["may_server"],
        }  # fmt: skip


@dataclass
class Pending:
    """The questions that wait now."""

    _held: dict[tuple[str, str], Question] = field(default_factory=dict)  # by agent and id

    def add(self, question: Question) -> None:
        """Take one up; the same one again takes its own place.

        Raises:
            RateError: The host has too many.
        """
        key = question.agent, question.body["id"]
        if key not in self._held and sum(agent == question.agent for agent, _ in self._held) >= MAX_PER_AGENT:
            raise RateError(f"{MAX_PER_AGENT} questions of this host wait already")
        self._held[key] = question

    def drop(self, agent: str, identity: str | None = None) -> None:
        """Forget one question of an agent, or all of them."""
        for key in [key for key in self._held if key[0] == agent and identity in (None, key[1])]:
            del self._held[key]

    def find(self, identity: str) -> Question:
        """Return a question that has not run out.

        Raises:
            NotFoundError: None of this id waits.
        """
        for question in self.listing():
            if question.body["id"] == identity:
                return question
        raise NotFoundError(f"no question {identity[:40]!r} waits for an answer")

    def listing(self) -> list[Question]:
        """Return what waits, oldest first."""
        now_us = clock.now_us()
        for agent, identity in [key for key, each in self._held.items() if each.body["expires_us"] <= now_us]:
            self.drop(agent, identity)
        return sorted(self._held.values(), key=lambda each: (each.body["asked_us"], each.body["id"]))
