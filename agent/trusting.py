"""What this host trusts: the newest roster, the withdrawals, the freeze and the owner's ceiling, all kept on disk.

- The roster's version never goes back, over restarts too; a new one must follow from the one before.
- Time is never earlier than the roots said it was: a clock that is set back makes nothing good that has expired since.
- Withdrawals and revocations are only ever added: a server that forgets one does not lift it (:mod:`agent.withdrawn`).
- How many reviewers are enough, the roster says and the ceiling may raise; the server is not asked.
- A freeze by the server is lifted by the server; a freeze in the ceiling file, or by ``outrider-agent freeze``, by the
  host's owner alone.
- The ceiling is read again when its file changes, and each time while it has changed only just now. A ceiling that is
  wrong or unreadable means that nothing runs.
"""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from agent import approvals, limits, owner_freeze, temporaries, withdrawn
from agent.cache import Entry
from agent.config import AgentConfig
from agent.files import read_bounded, write_durably
from agent.linked_names import LinkedNames
from agent.other_names import OtherNames
from agent.own_files import guarded
from agent.statedir import StateDir
from policies.ceiling import DEFAULT, Ceiling, load_ceiling
from policies.decide import Effective
from protocol.errors import DeniedError, NotFoundError, OutriderError, TooLargeError, TrustError, UnavailableError
from protocol.limits import MAX_ENVELOPE_BYTES
from protocol.proofs import Proofs
from protocol.roster import Roster, TrustedRoster
from protocol.signing import Envelope
from protocol.trials import Triable, prove_triable
from protocol.trust import Authorised, authorise, check_manifest

_MAX_ROSTER_BYTES: Final = 2 * MAX_ENVELOPE_BYTES  # an envelope and its signatures, as JSON text
_MAX_CEILING_BYTES: Final = 256 * limits.KIB
#: Two changes of a file closer together than that may bear the same time: kernels count it in ticks of up to 10 ms, and
#: file systems in seconds (ext4 with small inodes) or in two of them (FAT).
_SAME_TIME_NS: Final = 2_500_000_000


@dataclass(frozen=True, slots=True)
class Freeze:
    """The server's word that nothing shall run."""

    reason: str


class Trust:
    """The trust of one enrolled agent.

    Args:
        state: Where it is kept.
        config: The pinned roots.
        now: The present, for the stored roster.

    Raises:
        TrustError: The stored roster is damaged.
        UnavailableError: Others could have written what is stored.
    """

    def __init__(self, state: StateDir, config: AgentConfig, now: datetime) -> None:
        self._state = state
        self._rosters = _stored_roster(state, config, now)
        self._withdrawn = self._withdrawn_on_disk = withdrawn.load(state.withdrawals)
        self._proofs = Proofs()
        self._own_files = OtherNames(os.path.realpath(state.path))
        self._temporaries = OtherNames(temporaries.place())
        self._links = LinkedNames()
        self._others: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())  # of both, as the next two were made with them
        self._unwritten = guarded(DEFAULT, state.path)  # where the owner has said nothing
        self._ceiling = self._unwritten
        self._ceiling_stamp: tuple[int, ...] | None = None  # of the file as it was read

    # what people said ----------------------------------------------------------------------------------------------

    @property
    def roster_version(self) -> int:
        """Of the newest roster; 0 while there is none."""
        current = self._rosters.current if self._rosters is not None else None
        return current.version if current is not None else 0

    def roster(self) -> Roster:
        """Return the newest roster.

        Raises:
            TrustError: ``unsigned``: there is none.
        """
        if self._rosters is None or self._rosters.current is None:
            raise TrustError("this host has no roster yet, so nothing signed can be proved", reason="unsigned")
        return self._rosters.current

    def good_roster(self, ceiling: Ceiling, now: datetime) -> Roster:
        """Return the newest roster if it still proves something on this host.

        Raises:
            TrustError: ``unsigned``: there is none; ``expired``; ``stale``: the owner wants a newer one.
        """
        roster = self.roster()
        if roster.is_expired(now):
            raise TrustError(f"the roster, version {roster.version}, has expired", reason="expired")
        _check_fresh(roster, ceiling, now)
        return roster

    def present(self, now: datetime) -> datetime:
        """Return ``now``, or when the roots signed the newest roster if this host's clock is behind that."""
        current = self._rosters.current if self._rosters is not None else None
        return now if current is None else max(now, current.issued)

    def set_roster(self, envelope: Envelope, now: datetime) -> None:
        """Take a new roster; durable when it returns. The same one again changes nothing.

        Raises:
            TrustError: It does not follow from what is trusted; nothing has changed.
            UnavailableError: It cannot be kept.
        """
        if self._rosters is None:
            raise TrustError(
                "this host pinned no roots, because the server had no roster when it was enrolled: outrider-agent pin",
                reason="unknown_key",
            )
        before = self._rosters.envelope
        if before is not None and before.payload == envelope.payload:
            return
        following = copy.copy(self._rosters)  # so that what the disk refuses is not trusted either
        following.update(envelope, self.present(now))
        write_durably(self._state.roster, envelope.to_json().encode())
        self._rosters = following

    def add_withdrawals(self, envelopes: Sequence[Envelope], now: datetime) -> None:
        """Keep the withdrawals and revocations that prove something; durable when it returns.

        Raises:
            TrustError: There is no roster to prove them by.
            TooLargeError: More than a host keeps; what there was room for is kept.
            UnavailableError: They cannot be kept, and hold until the agent ends. They are kept when more come, or they
                come again.
        """
        if not envelopes:
            return
        following, problem = self._withdrawn.adding(envelopes, self.roster(), self.present(now))
        if following is not self._withdrawn_on_disk:
            content = following.encoded()
            self._withdrawn = following  # what was proved to be taken back does not wait for the disk
            write_durably(self._state.withdrawals, content)
            self._withdrawn_on_disk = following
        if problem is not None:
            raise TooLargeError(problem)

    def with_approvals(self, entry: Entry, given: Sequence[Envelope], now: datetime) -> Entry:
        """Return an entry with those of ``given`` that count now; itself if it has them, or nothing can be proved."""
        if self.roster_version == 0:
            return entry
        return approvals.adding(entry, given, self.roster(), self.present(now))

    def authorise(self, digest: str, entry: Entry, now: datetime) -> Authorised:
        """Return what is proved about a bundle.

        Raises:
            TrustError: It must not run; ``reason`` says why.
            DocumentError: The ceiling is wrong; as :meth:`ceiling`.
        """
        entry.bundle.verify(digest)
        ceiling, now = self.ceiling(), self.present(now)
        roster = self.good_roster(ceiling, now)

        def prove() -> Authorised:
            return authorise(
                digest, entry.publication, entry.approvals, self._withdrawn.about(digest), roster, now,
                reviewers_needed=ceiling.reviewers, labels=ceiling.labels,
            )  # fmt: skip

        # None of these is ever changed: each is replaced by a new one.
        proved = self._proofs.find(digest, (entry, roster, self._withdrawn, ceiling), now, prove)
        check_manifest(proved, entry.bundle.manifest)
        self._check_not_held(digest, proved)
        return proved

    def _check_not_held(self, digest: str, proved: Authorised) -> None:
        if self._withdrawn.holds(digest, proved.name):  # proved once; the key that signed it may have left the roster
            raise TrustError(f"{proved.name} {proved.version} was withdrawn", reason="withdrawn")

    def triable(self, digest: str, entry: Entry, now: datetime) -> Triable:
        """Return what is proved about a bundle that nobody need have approved, for a trial of it.

        Raises:
            TrustError: It must not even be tried; ``not_approved``: the owner wants no trials here.
            DocumentError: The ceiling is wrong; as :meth:`ceiling`.
        """
        entry.bundle.verify(digest)
        ceiling, now = self.ceiling(), self.present(now)
        if not ceiling.dry_runs:
            raise TrustError(
                "the owner of this host lets nobody try here what is not approved (ceiling.yaml: dry_runs)",
                reason="not_approved",
            )
        roster = self.good_roster(ceiling, now)
        found = prove_triable(digest, entry.publication, self._withdrawn.about(digest), roster, now)
        check_manifest(found.proved, entry.bundle.manifest)
        self._check_not_held(digest, found.proved)
        return found

    # what the owner said -------------------------------------------------------------------------------------------

    def ceiling(self) -> Ceiling:
        """Return the ceiling as its file stands now, with the owner's freeze; without a file, the strictest one.

        Under each of them no call reaches the files of the agent itself (:mod:`agent.own_files`).

        Raises:
            DocumentError: It is wrong at a named place: nothing may run.
            UnavailableError: It cannot be read, or others could write it, or it cannot be told at which other places
                mounts show the agent's files and temporary ones: nothing may run.
        """
        others = self._own_files.now(), self._temporaries.now()
        if others != self._others:
            self._others, self._ceiling_stamp = others, None
            self._unwritten = guarded(DEFAULT, self._state.path, *others)
        ceiling = self._written_ceiling()
        if ceiling.frozen or not self._state.owner_freeze.exists():
            return ceiling
        freeze = owner_freeze.read(self._state)
        return ceiling if freeze is None else replace(ceiling, frozen=True, frozen_reason=freeze.reason)

    def on_this_host(self, effective: Effective) -> Effective:
        """Return what a session may do, its denials also about where the links lead that they name here.

        Raises:
            UnavailableError: That cannot be told: nothing may run.
        """
        return self._links.followed(effective)

    @property
    def owner_freeze(self) -> owner_freeze.OwnerFreeze | None:
        """The freeze that the owner set with ``outrider-agent freeze``."""
        return owner_freeze.read(self._state)

    def _written_ceiling(self) -> Ceiling:
        path = self._state.ceiling
        try:
            status = path.stat()
        except FileNotFoundError:
            self._ceiling_stamp = None
            return self._unwritten
        except OSError as error:
            raise UnavailableError(f"{path} cannot be read: {error.strerror}") from error
        # The time of the last change is also that of owner and mode: nobody else may come to be able to write it.
        stamp = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
        if stamp != self._ceiling_stamp:
            is_settled = time.time_ns() - status.st_ctime_ns > _SAME_TIME_NS  # asked before it is read
            content = read_bounded(path, _MAX_CEILING_BYTES)
            written = load_ceiling(content.decode("utf-8", "replace"), path.name)
            self._ceiling = guarded(written, self._state.path, *self._others)
            self._ceiling_stamp = stamp if is_settled else None  # else the next change might not be seen by its time
        return self._ceiling

    def check_tier(self, proved: Authorised, ceiling: Ceiling) -> None:
        """Return if the ceiling lets this script's tier run.

        Raises:
            TrustError: ``above_ceiling``.
        """
        if proved.tier > ceiling.highest_tier:
            raise TrustError(
                f"{proved.name} runs at tier {proved.tier.label}, the ceiling of this host is"
                f" {ceiling.highest_tier.label}",
                reason="above_ceiling",
            )


def _check_fresh(roster: Roster, ceiling: Ceiling, now: datetime) -> None:
    within_s = ceiling.roster_within_s
    if within_s is not None and now - roster.issued > timedelta(seconds=within_s):
        raise TrustError(
            f"the roster, version {roster.version}, is of {roster.issued:%F %T} UTC; the owner of this host wants a"
            " newer one (ceiling.yaml: roster_within)",
            reason="stale",
        )


def check_not_frozen(ceiling: Ceiling, freeze: Freeze | None) -> None:
    """Return if things may run at all.

    Raises:
        DeniedError: The host is frozen; ``rule`` says by whom.
    """
    if ceiling.frozen:
        why = f": {ceiling.frozen_reason}" if ceiling.frozen_reason else ""
        raise DeniedError(f"this host is frozen by its owner{why}", rule="ceiling.yaml: frozen")
    if freeze is not None:
        raise DeniedError(f"this host is frozen: {freeze.reason or 'no reason given'}", rule="freeze")


def _stored_roster(state: StateDir, config: AgentConfig, now: datetime) -> TrustedRoster | None:
    try:
        content = read_bounded(state.roster, _MAX_ROSTER_BYTES)
    except NotFoundError:
        return TrustedRoster({key.key_id: key for key in config.roots}, config.threshold) if config.roots else None
    try:
        return TrustedRoster.resume(Envelope.from_json(content), now)
    except TrustError as error:
        raise TrustError(f"{state.roster} is damaged: {error}", reason=error.reason) from None
    except OutriderError as error:
        raise UnavailableError(f"{state.roster} is damaged: {error}") from error
