"""Whether a run may begin here and now: every check that stands between a wish and a worker.

    frozen? -> bundle -> signatures -> tier under the ceiling -> order -> walls -> parameters -> permission

Each run decides all of it again. What the signatures prove is remembered only for the same statements, roster and
withdrawals, and until the first moment at which one of them ends (:mod:`protocol.proofs`). If the statements on disk do
not prove enough and there is a link, the server is asked once for newer ones.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from agent import limits, rows
from agent.bundles import Bundles
from agent.cache import Entry
from agent.clock import Clock, to_datetime
from agent.confinement import Confinement, check_walls
from agent.libraries import Gathered, gather
from agent.logs import LOG
from agent.orders import Nonce, check_covers, check_order
from agent.permission import effective_policy
from agent.recorder import Recorder
from agent.runs import RunRequest
from agent.spool import Spool
from agent.trusting import Freeze, Trust, check_not_frozen
from policies.decide import Effective, require_language
from policies.model import Limits
from protocol.errors import DeadlineError, TrustError, UnavailableError
from protocol.trust import Authorised

_FREEZE_KEY: Final = "freeze"
_RENEWABLE: Final = frozenset({"not_approved", "expired", "unknown_key", "self_approval"})  # newer statements may help


@dataclass(frozen=True, slots=True)
class Admitted:
    """A run that may begin."""

    entry: Entry
    proved: Authorised
    effective: Effective
    parameters: dict[str, Any]  # checked, with defaults
    nonce: Nonce | None  # of the order; to be marked as used in the commit that opens the run
    required: Gathered = field(default_factory=Gathered)  # the libraries that it pins, proved as it was


class Admission:
    """Decides for one agent.

    Args:
        agent_id: Orders must name it.
        trust: Roster, withdrawals, ceiling.
        bundles: Where bundles come from.
        confinement: Whose walls must stand.
        spool: Knows used orders and the freeze.
        recorder: For the freeze.
        clock: Read once for each decision.
    """

    def __init__(
        self,
        agent_id: str,
        *,
        trust: Trust,
        bundles: Bundles,
        confinement: Confinement,
        spool: Spool,
        recorder: Recorder,
        clock: Clock,
    ) -> None:
        self._agent_id = agent_id
        self._trust = trust
        self._bundles = bundles
        self._confinement = confinement
        self._spool = spool
        self._recorder = recorder
        self._clock = clock
        self._spent: dict[str, int] = {}  # nonces that this process has let pass, with the end of their order in us
        kept = json.loads(spool.meta(_FREEZE_KEY) or b"null")
        self.freeze: Freeze | None = None if kept is None else Freeze(kept)

    async def admit(self, request: RunRequest) -> Admitted:
        """Return what the run may do. An order to run is spent by this, whether the run begins or not.

        Raises:
            DeniedError: The host is frozen, or denies the script's language.
            TrustError: What is asked for is not proved; ``reason`` says what is missing.
            NotConnectedError: The bundle is not here and there is no link.
            UnavailableError: A wall that the owner requires does not stand, or records cannot be written.
            ArgumentError: The parameters, the order or the ceiling do not have their form.
        """
        if self._recorder.problem is not None:
            raise UnavailableError(f"the spool cannot be written: {self._recorder.problem}")
        check_not_frozen(self._trust.ceiling(), self.freeze)
        entry, proved = await self._prove(request.digest)
        required = await gather(entry, self._prove)
        await self._confinement.ready()
        # Read again: the file may have changed while the bundle came.
        ceiling, now = self._trust.ceiling(), self._now()
        check_not_frozen(ceiling, self.freeze)
        self._trust.check_tier(proved, ceiling)
        check_walls(self._confinement.walls, ceiling.required_walls)
        manifest = entry.bundle.manifest
        parameters = manifest.check_parameters(request.parameters)
        effective = effective_policy(proved, manifest, ceiling, timeout_s=request.timeout_s)
        require_language(effective, manifest.language)
        nonce = check_order(request, proved, self._trust.roster(), ceiling, agent_id=self._agent_id, now=now)
        self._spend(nonce)
        return Admitted(entry, proved, effective, parameters, nonce, required)

    async def admit_called(self, request: RunRequest, left: Limits) -> Admitted:
        """Return what a script that another one calls may do, at its own tier; ``left`` is what its caller has left.

        Raises:
            OutriderError: As :meth:`admit`.
        """
        check_not_frozen(self._trust.ceiling(), self.freeze)
        entry, proved = await self._prove(request.digest)
        required = await gather(entry, self._prove)
        ceiling, now = self._trust.ceiling(), self._now()
        check_not_frozen(ceiling, self.freeze)
        self._trust.check_tier(proved, ceiling)
        check_walls(self._confinement.walls, ceiling.required_walls)
        manifest = entry.bundle.manifest
        parameters = manifest.check_parameters(request.parameters)
        effective = effective_policy(proved, manifest, ceiling, left=left)
        require_language(effective, manifest.language)
        check_covers(request, proved, self._trust.roster(), now)
        return Admitted(entry, proved, effective, parameters, None, required)

    def check_still(self, request: RunRequest, admitted: Admitted) -> None:
        """Return if a run that had to wait may still begin.

        Raises:
            DeniedError: The host was frozen meanwhile.
            TrustError: What proved it does so no longer.
        """
        ceiling = self._trust.ceiling()
        check_not_frozen(ceiling, self.freeze)
        self._trust.check_tier(self._trust.authorise(request.digest, admitted.entry, self._now()), ceiling)
        for digest, library in admitted.required.entries.items():
            self._trust.authorise(digest, library, self._now())

    async def set_freeze(self, freeze: Freeze | None) -> None:
        """Begin or end the server's freeze; durable when it returns.

        Raises:
            UnavailableError: It cannot be made durable. A freeze holds all the same, until the agent ends.
        """
        if freeze is not None:
            self.freeze = freeze
        record = {
            "kind": "event",
            "outcome": "frozen" if freeze is not None else "unfrozen",
            "data": {"event": "freeze", "reason": freeze.reason if freeze is not None else ""},
        }
        value = json.dumps(None if freeze is None else freeze.reason).encode()
        await self._recorder.commit([record], [rows.set_meta(_FREEZE_KEY, value)])
        self.freeze = freeze

    async def _prove(self, digest: str) -> tuple[Entry, Authorised]:
        entry = await self._bundles.get(digest)
        try:
            return entry, self._trust.authorise(digest, entry, self._now())
        except TrustError as error:
            if error.reason not in _RENEWABLE:
                raise
            try:
                entry = await self._bundles.refresh(digest)
            except (UnavailableError, DeadlineError) as unanswered:  # what is on record is why it may not run
                LOG.warning("newer statements about %s could not be had: %s", digest, unanswered)
                raise error from None
        return entry, self._trust.authorise(digest, entry, self._now())

    def _spend(self, nonce: Nonce | None) -> None:
        if nonce is None:
            return
        if nonce.text in self._spent or self._spool.knows_nonce(nonce.text):
            raise TrustError("the order has been used already", reason="replayed_token")
        if len(self._spent) >= limits.MAX_SPENT_IN_MEMORY:  # those on disk are known there, the expired are too old
            now_us = self._clock.time_us()
            self._spent = {
                text: expires_us
                for text, expires_us in self._spent.items()
                if expires_us > now_us and not self._spool.knows_nonce(text)
            }
        self._spent[nonce.text] = nonce.expires_us

    def _now(self) -> datetime:
        return to_datetime(self._clock.time_us())
