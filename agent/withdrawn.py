"""What was taken back, kept on disk: withdrawals of scripts and revocations of approvals. Nothing is ever let go.

- One that proves nothing is not kept. One that is kept stays, whatever becomes of the key that signed it.
- Each signer has a share of the room, so that one stolen key cannot fill it and keep everybody else's out.
- A file that is damaged stops the start: going on without it would lift what was withdrawn.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from agent import limits
from agent.files import read_bounded
from agent.logs import LOG
from protocol.errors import NotFoundError, OutriderError, TooLargeError, UnavailableError
from protocol.roster import Roster
from protocol.signing import Envelope, peek
from protocol.statements import Revocation, Withdrawal
from protocol.taking_back import REVOCATION, check_revocation, check_withdrawal

MAX_KEPT: Final = 10_000  # chosen without measurement; a fleet withdraws a few a year
MAX_OF_ONE_KEY: Final = 1_000  # of them, as above
MAX_BYTES: Final = 16 * limits.MIB


class About(NamedTuple):
    """What a statement takes back; a second one about the same adds nothing, but for a later revocation."""

    digest: str
    name: str
    revoked_by: str = ""  # key of the reviewer; empty for a withdrawal


class Withdrawn:
    """One state of what is kept. It never changes: :meth:`adding` returns another one."""

    def __init__(self, kept: dict[About, Envelope]) -> None:
        self._kept = kept
        self._by_digest: dict[str, list[Envelope]] = {}
        for about, envelope in kept.items():
            self._by_digest.setdefault(about.digest, []).append(envelope)

    def about(self, digest: str) -> list[Envelope]:
        """Return what is kept about a digest."""
        return self._by_digest.get(digest, [])

    def holds(self, digest: str, name: str) -> bool:
        """Tell whether this script was withdrawn; its signer was looked at when it came."""
        return About(digest, name) in self._kept

    def adding(self, envelopes: Sequence[Envelope], roster: Roster, now: datetime) -> tuple[Withdrawn, str | None]:
        """Return this and what of ``envelopes`` proves something, and why there was no room for some of it, if so."""
        kept, shares, problem = dict(self._kept), self._shares(), None
        for envelope in envelopes:
            try:
                about, proved = _proved(envelope, roster, now)
            except OutriderError as error:
                LOG.warning("what takes a script back proves nothing: %s", error)
                continue
            known = kept.get(about)
            if known is not None and (not about.revoked_by or _issued(known) >= _issued(proved)):
                continue
            signers = {item.key_id for item in proved.signatures}
            if known is None and len(kept) >= MAX_KEPT:
                problem = f"more than {MAX_KEPT} withdrawals"
            elif known is None and any(shares[key_id] >= MAX_OF_ONE_KEY for key_id in signers):
                problem = f"more than {MAX_OF_ONE_KEY} withdrawals by {roster.name_of(min(signers))}"
            else:
                kept[about] = proved
                shares.update(signers if known is None else ())
        return (self if kept == self._kept else Withdrawn(kept)), problem

    def _shares(self) -> Counter[str]:
        return Counter(item.key_id for envelope in self._kept.values() for item in envelope.signatures)

    def encoded(self) -> bytes:
        """Return what is written down.

        Raises:
            TooLargeError: It could not be read again at the next start.
        """
        content = json.dumps([envelope.to_plain() for envelope in self._kept.values()]).encode()
        if len(content) > MAX_BYTES:
            raise TooLargeError(f"withdrawals of more than {MAX_BYTES} bytes")
        return content


def _proved(envelope: Envelope, roster: Roster, now: datetime) -> tuple[About, Envelope]:
    """Return what a statement takes back, and it with nothing but the signatures that were proved."""
    is_revocation = envelope.payload_type == REVOCATION
    statement: Revocation | Withdrawal
    if is_revocation:
        statement, key_ids = check_revocation(envelope, roster)
    else:
        statement, key_ids = check_withdrawal(envelope, roster, now)
    signatures = {item.key_id: item for item in envelope.signatures if item.key_id in key_ids}
    proved = replace(envelope, signatures=tuple(signatures.values()))
    return About(statement.digest, statement.name, min(key_ids) if is_revocation else ""), proved


def _issued(envelope: Envelope) -> datetime:
    return Revocation.parse(peek(envelope)).issued


def load(path: Path) -> Withdrawn:
    """Return what is kept in a file; nothing if there is none.

    Raises:
        UnavailableError: It is damaged, or others could have written it.
    """
    try:
        content = read_bounded(path, MAX_BYTES)
    except NotFoundError:
        return Withdrawn({})
    kept: dict[About, Envelope] = {}
    try:
        for value in json.loads(content):
            envelope = Envelope.from_json(value)
            kept[_claimed(envelope)] = envelope
    except (ValueError, TypeError, RecursionError, OutriderError) as error:
        raise UnavailableError(f"{path} is damaged: {error}") from error
    return Withdrawn(kept)


def _claimed(envelope: Envelope) -> About:
    """Return what a statement takes back, which was proved when it came."""
    body = peek(envelope)
    if envelope.payload_type == REVOCATION:
        revocation = Revocation.parse(body)
        return About(revocation.digest, revocation.name, min(item.key_id for item in envelope.signatures))
    withdrawal = Withdrawal.parse(body)
    return About(withdrawal.digest, withdrawal.name)
