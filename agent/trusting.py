"""What this host trusts: the newest roster, the withdrawals, the freeze and the owner's ceiling, all kept on disk.

- The roster's version never goes back, over restarts too; a new one must follow from the one before.
- Withdrawals are only ever added: a server that forgets one does not lift it. One that proves nothing is not kept.
- A freeze by the server is lifted by the server; a freeze in the ceiling file by the host's owner alone.
- The ceiling is read again when its file changes. A ceiling that is wrong or unreadable means that nothing runs.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from agent import limits
from agent.cache import Entry
from agent.config import AgentConfig
from agent.files import read_bounded, write_durably
from agent.logs import LOG
from agent.statedir import StateDir
from policies.ceiling import DEFAULT, Ceiling, load_ceiling
from protocol.errors import DeniedError, NotFoundError, OutriderError, TooLargeError, TrustError, UnavailableError
from protocol.limits import MAX_ENVELOPE_BYTES
from protocol.proofs import Proofs
from protocol.roster import Roster, TrustedRoster
from protocol.signing import Envelope, peek
from protocol.statements import Withdrawal
from protocol.trust import Authorised, authorise, check_manifest, check_withdrawal

_MAX_WITHDRAWALS: Final = 10_000  # chosen without measurement; a fleet withdraws a few a year
_MAX_WITHDRAWALS_BYTES: Final = 16 * limits.MIB
_MAX_ROSTER_BYTES: Final = 2 * MAX_ENVELOPE_BYTES  # an envelope and its signatures, as JSON text
_MAX_CEILING_BYTES: Final = 256 * limits.KIB


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
        self._withdrawals: dict[tuple[str, str], Envelope] = {}  # by digest and name
        self._proofs = Proofs()
        self._ceiling: Ceiling = DEFAULT
        self._ceiling_stamp: tuple[int, ...] | None = None  # of the file as it was read
        self._load_withdrawals()

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

    def set_roster(self, envelope: Envelope, now: datetime) -> None:
        """Take a new roster; durable when it returns. The same one again changes nothing.

        Raises:
            TrustError: It does not follow from what is trusted; nothing has changed.
            UnavailableError: It cannot be kept.
        """
        if self._rosters is None:
            raise TrustError(
                "this host pinned no roots, because the server had no roster when it was enrolled: enrol it anew",
                reason="unknown_key",
            )
        before = self._rosters.envelope
        if before is not None and before.payload == envelope.payload:
            return
        following = copy.copy(self._rosters)  # so that what the disk refuses is not trusted either
        following.update(envelope, now)
        write_durably(self._state.roster, envelope.to_json().encode())
        self._rosters = following

    def add_withdrawals(self, envelopes: Sequence[Envelope], now: datetime) -> None:
        """Keep the withdrawals that prove something; durable when it returns.

        Raises:
            TrustError: There is no roster to prove them by.
            TooLargeError: More than a host keeps.
            UnavailableError: They cannot be kept.
        """
        added = {key: envelope for key, envelope in self._proved(envelopes, now) if key not in self._withdrawals}
        if not added:
            return
        together = self._withdrawals | added
        if len(together) > _MAX_WITHDRAWALS:
            raise TooLargeError(f"more than {_MAX_WITHDRAWALS} withdrawals")
        content = json.dumps([envelope.to_plain() for envelope in together.values()]).encode()
        if len(content) > _MAX_WITHDRAWALS_BYTES:  # it could not be read again at the next start
            raise TooLargeError(f"withdrawals of more than {_MAX_WITHDRAWALS_BYTES} bytes")
        write_durably(self._state.withdrawals, content)
        self._withdrawals = together

    def authorise(self, digest: str, entry: Entry, now: datetime) -> Authorised:
        """Return what is proved about a bundle.

        Raises:
            TrustError: It must not run; ``reason`` says why.
        """
        entry.bundle.verify(digest)
        roster = self.roster()

        def prove() -> Authorised:
            withdrawals = list(self._withdrawals.values())
            return authorise(digest, entry.publication, entry.approvals, withdrawals, roster, now)

        # Neither an entry nor a roster nor the map of withdrawals is ever changed: each is replaced by a new one.
        proved = self._proofs.find(digest, (entry, roster, self._withdrawals), now, prove)
        check_manifest(proved, entry.bundle.manifest)
        if (digest, proved.name) in self._withdrawals:  # proved once; the key that signed it may have left the roster
            raise TrustError(f"{proved.name} {proved.version} was withdrawn", reason="withdrawn")
        return proved

    def _proved(self, envelopes: Sequence[Envelope], now: datetime) -> list[tuple[tuple[str, str], Envelope]]:
        proved: list[tuple[tuple[str, str], Envelope]] = []
        if not envelopes:
            return proved
        roster = self.roster()
        for envelope in envelopes:
            try:
                withdrawal, _ = check_withdrawal(envelope, roster, now)
            except OutriderError as error:
                LOG.warning("a withdrawal proves nothing: %s", error)
                continue
            proved.append(((withdrawal.digest, withdrawal.name), envelope))
        return proved

    def _load_withdrawals(self) -> None:
        try:
            content = read_bounded(self._state.withdrawals, _MAX_WITHDRAWALS_BYTES)
        except NotFoundError:
            return
        try:
            for value in json.loads(content):
                envelope = Envelope.from_json(value)
                withdrawal = Withdrawal.parse(peek(envelope))
                self._withdrawals[withdrawal.digest, withdrawal.name] = envelope
        except (ValueError, TypeError, RecursionError, OutriderError) as error:
            # Going on would lift what was withdrawn.
            raise UnavailableError(f"{self._state.withdrawals} is damaged: {error}") from error

    # what the owner said -------------------------------------------------------------------------------------------

    def ceiling(self) -> Ceiling:
        """Return the ceiling as its file stands now; without a file, the strictest one.

        Raises:
            DocumentError: It is wrong at a named place: nothing may run.
            UnavailableError: It cannot be read, or others could write it: nothing may run.
        """
        path = self._state.ceiling
        try:
            status = path.stat()
        except FileNotFoundError:
            self._ceiling_stamp = None
            return DEFAULT
        except OSError as error:
            raise UnavailableError(f"{path} cannot be read: {error.strerror}") from error
        # The time of the last change is also that of owner and mode: nobody else may come to be able to write it.
        stamp = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
        if stamp != self._ceiling_stamp:
            content = read_bounded(path, _MAX_CEILING_BYTES)
            self._ceiling = load_ceiling(content.decode("utf-8", "replace"), path.name)
            self._ceiling_stamp = stamp
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


def check_not_frozen(ceiling: Ceiling, freeze: Freeze | None) -> None:
    """Return if things may run at all.

    Raises:
        DeniedError: The host is frozen; ``rule`` says by whom.
    """
    if ceiling.frozen:
        raise DeniedError("this host is frozen by its owner", rule="ceiling.yaml: frozen")
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
