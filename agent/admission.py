"""Whether a run may begin here and now: every check that stands between a wish and a worker.

    frozen? -> bundle -> signatures -> tier under the ceiling -> order -> walls -> parameters -> permission

A dry run that a person ordered in their own signature may do without approvals, where the owner's ceiling says so
(:mod:`protocol.trials`); every other check is the same.

Each run decides all of it again. What the signatures prove is remembered only for the same statements, roster and
withdrawals, and until the first moment at which one of them ends (:mod:`protocol.proofs`). If the statements on disk do
not prove enough and there is a link, the server is asked once for newer ones.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from agent import rows
from agent.bundles import Bundles
from agent.cache import Entry
from agent.clock import Clock, to_datetime
from agent.confinement import Confinement, check_walls
from agent.libraries import Gathered, gather
from agent.logs import LOG
from agent.nonces import Nonces
from agent.orders import Nonce, check_covers, check_order
from agent.permission import effective_policy
from agent.recorder import Recorder
from agent.runs import RunRequest
from agent.spool import Spool
from agent.spool_checks import changed
from agent.trusting import Freeze, Trust, check_not_frozen
from policies.ceiling import Ceiling
from policies.decide import Effective, require_language
from policies.model import Limits
from protocol.errors import DeadlineError, TrustError, UnavailableError
from protocol.trust import Authorised
from stdlib.identities import own_user

_FREEZE_KEY: Final = "freeze"
#: What no newer statements change. Anything else may be a statement that a server spoiled, and would stay spoiled.
_SETTLED: Final = frozenset({"withdrawn", "stale"})


@dataclass(frozen=True, slots=True)
class Admitted:
    """A run that may begin."""

    entry: Entry
    proved: Authorised
    effective: Effective
    parameters: dict[str, Any]  # checked, with defaults
    nonce: Nonce | None  # of the order; to be marked as used in the commit that opens the run
    required: Gathered = field(default_factory=Gathered)  # the libraries that it pins, proved as it was
    is_trial: bool = False  # nobody need have approved it: it runs dry, and without what is kept for approved scripts


class Admission:
    """Decides for one agent.

    Args:
        agent_id: Orders must name it.
        trust: Roster, withdrawals, ceiling.
        bundles: Where bundles come from.
        confinement: Whose walls must stand.
        spool: Knows the freeze.
        nonces: Knows used orders.
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
        nonces: Nonces,
        recorder: Recorder,
        clock: Clock,
    ) -> None:
        self._agent_id = agent_id
        self._trust = trust
        self._bundles = bundles
        self._confinement = confinement
        self._recorder = recorder
        self._clock = clock
        self._nonces = nonces
        self.freeze: Freeze | None = _kept_freeze(spool)

    async def admit(self, request: RunRequest) -> Admitted:
        """Return what the run may do. An order to run is spent by this, whether the run begins or not: whoever calls
        this writes that down with what comes of it (:meth:`agent.nonces.Nonces.used`), or gives it back.

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
        entry, proved, tried_of = await self._prove_or_try(request)
        required = await gather(entry, self._prove)  # what a trial requires must be approved all the same
        await self._confinement.ready()
        ceiling, now, effective, parameters = self._within_ceiling(request, entry, proved, timeout_s=request.timeout_s)
        nonce = check_order(
            request, proved, self._trust.roster(), ceiling, agent_id=self._agent_id, now=now, tried_of=tried_of
        )
        self._nonces.spend(nonce)
        return Admitted(entry, proved, effective, parameters, nonce, required, tried_of is not None)

    def give_back(self, admitted: Admitted) -> None:
        """The order is as good as before: of the run that it was for, nothing was written down."""
        self._nonces.give_back(admitted.nonce)

    async def admit_called(self, request: RunRequest, left: Limits) -> Admitted:
        """Return what a script that another one calls may do, at its own tier; ``left`` is what its caller has left.

        Raises:
            OutriderError: As :meth:`admit`.
        """
        check_not_frozen(self._trust.ceiling(), self.freeze)
        entry, proved = await self._prove(request.digest)
        required = await gather(entry, self._prove)
        ceiling, now, effective, parameters = self._within_ceiling(request, entry, proved, left=left)
        check_covers(request, proved, self._trust.roster(), ceiling, now)
        return Admitted(entry, proved, effective, parameters, None, required)

    def _within_ceiling(
        self, request: RunRequest, entry: Entry, proved: Authorised,
        *, timeout_s: float | None = None, left: Limits | None = None,
    ) -> tuple[Ceiling, datetime, Effective, dict[str, Any]]:  # fmt: skip
        """Return the ceiling as it is now, the present, what may be done under it, and the parameters, all checked.

        To be called once all is here: the ceiling may have changed while the bundle came.
        """
        ceiling, now = self._trust.ceiling(), self._now()
        check_not_frozen(ceiling, self.freeze)
        self._trust.check_tier(proved, ceiling)
        check_walls(self._confinement.walls, ceiling.required_walls)
        manifest = entry.bundle.manifest
        parameters = manifest.check_parameters(request.parameters)
        effective = effective_policy(proved, manifest, ceiling, timeout_s=timeout_s, left=left, user=own_user())
        effective = self._trust.on_this_host(effective)
        require_language(effective, manifest.language)
        return ceiling, now, effective, parameters

    def check_still(self, request: RunRequest, admitted: Admitted) -> Admitted:
        """Return what a run that had to wait, maybe for hours, may do now: under the ceiling as it is by now, and for
        whom may order it still. The order itself came in time.

        Raises:
            DeniedError: The host was frozen meanwhile, or denies the script's language.
            TrustError: What proved it does so no longer, or the owner wants more by now.
            UnavailableError: A wall that the owner requires by now does not stand.
        """
        if admitted.is_trial:
            proved = self._trust.triable(request.digest, admitted.entry, self._now()).proved
        else:
            proved = self._trust.authorise(request.digest, admitted.entry, self._now())
        for digest, library in admitted.required.entries.items():
            self._trust.authorise(digest, library, self._now())
        ceiling, now, effective, _ = self._within_ceiling(request, admitted.entry, proved, timeout_s=request.timeout_s)
        if request.order is None:
            check_order(request, proved, self._trust.roster(), ceiling, agent_id=self._agent_id, now=now)
        else:
            check_covers(request, proved, self._trust.roster(), ceiling, now)
        return replace(admitted, proved=proved, effective=effective)

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

    async def _prove_or_try(self, request: RunRequest) -> tuple[Entry, Authorised, frozenset[str] | None]:
        """Return what is proved; and of a trial whose it is, else None."""
        try:
            return *await self._prove(request.digest), None
        except TrustError as error:
            if not (request.dry_run and request.order is not None and request.action == "run"):
                raise
            if not self._trust.ceiling().dry_runs:
                if error.reason != "not_approved":
                    raise
                raise TrustError(
                    f"{error.message}; this host's owner lets nobody try it before (ceiling.yaml: dry_runs)",
                    reason=error.reason,
                ) from None
        entry = await self._bundles.get(request.digest)
        found = self._trust.triable(request.digest, entry, self._now())
        return entry, found.proved, found.author_key_ids

    async def _prove(self, digest: str) -> tuple[Entry, Authorised]:
        entry = await self._bundles.get(digest)
        try:
            return entry, self._trust.authorise(digest, entry, self._now())
        except TrustError as error:
            if error.reason in _SETTLED:
                raise
            try:
                entry = await self._bundles.refresh(digest)
            except (UnavailableError, DeadlineError) as unanswered:  # what is on record is why it may not run
                LOG.warning("newer statements about %s could not be had: %s", digest, unanswered)
                raise error from None
        return entry, self._trust.authorise(digest, entry, self._now())

    def _now(self) -> datetime:
        return self._trust.present(to_datetime(self._clock.time_us()))


def _kept_freeze(spool: Spool) -> Freeze | None:
    """Return the freeze that the server asked for before; UnavailableError if what is kept of it is none."""
    try:
        kept = json.loads(spool.meta(_FREEZE_KEY) or b"null")
    except (ValueError, RecursionError):
        kept = 0
    if kept is not None and not isinstance(kept, str):
        raise changed("whether the host is frozen makes no sense")
    return None if kept is None else Freeze(kept)
