"""Whether a grant lets somebody run a script who may not run scripts in general. Pure; no grant means no.

A grant says who, which scripts, on which agents, with which parameters, what (run, schedule) and until when. Everything
that is asked for must lie within one and the same grant: nothing is put together from two, and nothing is left out
quietly. It opens a door of the server and nothing more. A script runs at the tier that its reviewers approved, whoever
asked for it, which is why people can be let run what does more than they could do themselves; and the host's ceiling
says, as ever, whether it takes the server's word for who asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from protocol.errors import ArgumentError
from protocol.names import check_pattern, fits
from server.services.targets import Target

RUN: Final = "run"
SCHEDULE: Final = "schedule"
ACTIONS: Final = (RUN, SCHEDULE)
MAX_VALUES: Final = 64  # of one parameter
MAX_VALUE_CHARACTERS: Final = 4_096  # protocol.limits.MAX_TEXT_CHARACTERS
ROLE: Final = "role:"
GROUP: Final = "@"


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants to do."""

    action: str
    script: str
    target: str
    agents: Sequence[tuple[str, str, Mapping[str, str]]]  # id, name and labels of each that is meant now
    parameters: Mapping[str, Any]  # as given, without what the manifest fills in


@dataclass(frozen=True, slots=True)
class Permit:
    """One grant."""

    id: str
    who: str  # a principal, @group or role:NAME
    scripts: str  # as protocol.names has it: checks/disk, checks/**, **
    target: Target
    parameters: Mapping[str, tuple[str, ...] | None] | None  # name -> the texts allowed, None: any; None at all: any
    actions: tuple[str, ...]
    expires_us: int | None

    def is_for(self, principal: str, roles: Iterable[str], groups: Iterable[str], now_us: int) -> bool:
        """Tell whether this is somebody's, now."""
        if self.expires_us is not None and now_us >= self.expires_us:
            return False
        if self.who.startswith(GROUP):
            return self.who in groups
        if self.who.startswith(ROLE):
            return self.who.removeprefix(ROLE) in roles
        return self.who == principal

    def names(self, action: str, script: str) -> bool:
        """Tell whether this is about an action on a script at all."""
        return action in self.actions and fits(self.scripts, script)

    def objection(self, asked: Asked) -> str | None:
        """Return why this grant does not allow what is asked; None if it does."""
        if not self.names(asked.action, asked.script):
            return f"it is not about {asked.action} of {asked.script}"
        for identity, name, labels in asked.agents:
            if not self.target.matches(identity, name, labels):
                return f"{name} is not one of {self.target.text}"
        if asked.action == SCHEDULE and not self._bounds(asked.target):
            return f"a schedule can be on {self.target.text} or on one host of it"
        return self._parameters(asked.parameters)

    def _bounds(self, text: str) -> bool:
        """Tell whether a target can come to mean no other agents later: hosts come, and labels change."""
        return self.target.text in ("*", text) or Target.parse(text).is_exact

    def _parameters(self, given: Mapping[str, Any]) -> str | None:
        if self.parameters is None:
            return None
        for name, value in given.items():
            if name not in self.parameters:
                return f"the parameter {name} cannot be given"
            allowed = self.parameters[name]
            if allowed is not None and plain_text(value) not in allowed:
                return f"the parameter {name} must be one of {', '.join(allowed)}"
        return None


def plain_text(value: Any) -> str | None:
    """Return a value as a grant names it; None for what no grant can name."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def check_who(text: str) -> str:
    """Return ``text`` if it can name somebody.

    Raises:
        ArgumentError: It cannot.
    """
    name = text.removeprefix(GROUP).removeprefix(ROLE) if text.startswith((GROUP, ROLE)) else text
    if not name.strip() or len(text) > 100 or not text.isprintable():
        raise ArgumentError("who is a principal, @group or role:NAME", parameter="who")
    return text


def read(
    identity: str, who: str, scripts: str, target: str, parameters: Any, actions: Sequence[str], expires_us: int | None
) -> Permit:
    """Return the grant that plain data says.

    Raises:
        ArgumentError: It says none; names what is wrong.
    """
    if not actions or not set(actions) <= set(ACTIONS):
        raise ArgumentError(f"actions are {' and '.join(ACTIONS)}", parameter="actions")
    return Permit(
        identity, check_who(who), check_pattern(scripts, parameter="scripts"), Target.parse(target),
        _allowed(parameters), tuple(actions), expires_us,
    )  # fmt: skip


def _allowed(parameters: Any) -> dict[str, tuple[str, ...] | None] | None:
    if parameters is None:
        return None
    if not isinstance(parameters, dict) or len(parameters) > MAX_VALUES:
        raise ArgumentError("parameters are a mapping of names to allowed values", parameter="parameters")
    found: dict[str, tuple[str, ...] | None] = {}
    for name, values in parameters.items():
        if values is None:
            found[name] = None
            continue
        if not isinstance(values, list) or not 1 <= len(values) <= MAX_VALUES:
            raise ArgumentError(f"{name} must list 1 to {MAX_VALUES} values", parameter=f"parameters.{name}")
        if not all(isinstance(value, str) and len(value) <= MAX_VALUE_CHARACTERS for value in values):
            raise ArgumentError(f"the values of {name} must be texts", parameter=f"parameters.{name}")
        found[name] = tuple(values)
    return found
