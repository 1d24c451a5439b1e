"""Who deals with the gate and is handed in: the catalogue's calls, the recorder, whoever is asked, and in whose name.

Words only: the gate holds the rules.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from policies.model import Facts
    from protocol.tiers import Tier
    from sandbox.passage import Passage

VALUE: Final = "value"  # what most calls give: nothing that is held


class PreparedCall(Protocol):
    """A call whose targets are open and which only waits for the decision."""

    @property
    def facts(self) -> tuple[Facts, ...]:
        """What was really opened, at least one; every one of them must be allowed."""

    def perform(self) -> Any:
        """Carry it out and return the plain value, or an awaitable of it unless the call is blocking."""


class PrepareAtOnce(Protocol):
    """How a call's targets are opened without ever waiting."""

    def __call__(
        self, host: Any, run: Any, bound: dict[str, Any], passage: Passage
    ) -> AbstractContextManager[PreparedCall]: ...


class CallEntry(Protocol):
    """One call of the catalogue, as the gate needs it."""

    @property
    def tier(self) -> Tier:
        """The lowest tier that may have it."""

    @property
    def changes(self) -> bool:
        """Whether performing it changes anything; if so, an intent is durable before."""

    @property
    def is_blocking(self) -> bool:
        """Whether ``prepare`` and ``perform`` may block; if so, they run on a thread."""

    @property
    def looks_up(self) -> bool | tuple[str, ...]:
        """Whether ``prepare`` asks what may take its time, so that it is put on a thread with the entering of what it
        returns: always, or where one of these parameters is given. Of a call that does not block.
        """

    @property
    def lists(self) -> tuple[str, ...]:
        """Parameters that are lists of paths: ``prepare`` opens each of them."""

    @property
    def gives(self) -> str:
        """``value``, ``stream`` (performing it returns a ``pump.Source``) or ``handle`` (a ``held.Resource``)."""

    def bind(self, args: list[Any], named: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments by parameter name; ``ArgumentError`` names the one that does not fit."""

    def prepare(
        self, host: Any, run: Any, bound: dict[str, Any], passage: Passage
    ) -> AbstractContextManager[PreparedCall]:
        """Open the targets; leaving the context closes them."""

    @property
    def prepare_at_once(self) -> PrepareAtOnce | None:
        """As ``prepare``, but never waits: it, and ``perform`` of what it gives, raise ``BlockingIOError`` instead.

        Of a call that may block, changes nothing and gives a value, if that is first to be tried; else None.
        """


class CallTable(Protocol):
    """The catalogue, as the gate needs it."""

    def find(self, name: str) -> CallEntry | None:
        """Return the call of that name; None if there is none."""


class Recorder(Protocol):
    """Where records go. The fields are those of ``protocol.ledger.Record``; the recorder bounds and redacts them."""

    def check_room(self) -> None:
        """Return if one more record can be taken now, which then will not fail; else raise an ``OutriderError``."""

    def record(self, **fields: Any) -> None:
        """Append one record; an ``OutriderError`` if it cannot be kept."""

    async def intend(self, **fields: Any) -> None:
        """Append one record and return when it is durable; an ``OutriderError`` if it cannot be kept."""


@dataclass(frozen=True, slots=True)
class DryRun:
    """What makes a session a dry run."""

    reads: Callable[[str, Facts], bool]  # whether a call that may change something only reads, on these facts
    result: Callable[
        [Any, Any], Any
    ]  # of an entry and its PreparedCall: what stands for its result, or an awaitable of
    # it (not of a blocking call); a call may be denied there, too


@dataclass(frozen=True, slots=True)
class Session:
    """In whose name calls are made. These words come from the agent, never from a worker."""

    session: str  # its id
    run: str  # its id; empty for a session without a run
    principal: str  # who
    reason: str = ""  # why: a ticket, a schedule


class CallSummary(NamedTuple):
    """One line of a run's list of calls."""

    call: str
    verdict: str  # allow | deny | dry: allowed, and not carried out
    rule: str
    ms: float


class Answer(NamedTuple):
    """What a person said."""

    granted: bool
    by: str  # who; empty if nobody did
    why: str  # not; empty if granted


Asker = Callable[[str, str], Awaitable[Answer]]
"""Asks a person, within a deadline of its own. Takes the name of a call and what is asked, for people."""
