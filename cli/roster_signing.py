"""Signatures on a roster that several people sign, each on a machine of their own: adding, gathering, counting.

Nothing here needs a network, a server or settings: files in, files out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from protocol import limits
from protocol.errors import ArgumentError, ConflictError, OutriderError, TooLargeError, TrustError
from protocol.roster import Roster, TrustedRoster, parse
from protocol.signing import Envelope, PublicKey, Signer, add_signature, pae, payload_type, peek


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the signing of a roster is."""

    roster: Roster
    good: frozenset[str]  # ids of keys whose signature is right: its own roots and those of the roster before it
    missing_own: int  # signatures of its own roots that it still needs
    missing_before: int | None  # of the roots before it; None where no roster before it was given

    @property
    def is_complete(self) -> bool:
        """Tell whether enough have signed, as far as this can be known here."""
        return not self.missing_own and not self.missing_before


def add(envelope: Envelope, key: Signer, before: Roster | None) -> Envelope:
    """Return ``envelope`` with one signature more.

    Raises:
        ArgumentError: It is no roster.
        ConflictError: The key is no root of it, nor of the roster before it, as far as that is known: its signature
            would prove nothing.
    """
    roster = parse(peek(envelope))
    known = {**roster.roots, **(before.roots if before else {})}
    if key.public.key_id not in known and (before is not None or roster.version == 1):
        which = "nor of the one before it" if before is not None else "and there is none before it"
        raise ConflictError(f"the key {key.public.key_id[:16]} is no root of this roster, {which}")
    return add_signature(envelope, key)


def gather(envelopes: Sequence[Envelope]) -> Envelope:
    """Return one envelope with the signatures of all; of one key the first counts.

    Raises:
        ConflictError: They are not about the same roster, byte by byte.
        TooLargeError: More signatures than an envelope holds.
    """
    first = envelopes[0]
    if any((each.payload_type, each.payload) != (first.payload_type, first.payload) for each in envelopes):
        raise ConflictError(
            "these files hold different rosters; everybody must sign copies of one file (roster sign --add)"
        )
    signatures = {item.key_id: item for each in reversed(envelopes) for item in reversed(each.signatures)}
    if len(signatures) > limits.MAX_SIGNATURES:
        raise TooLargeError(f"more than {limits.MAX_SIGNATURES} signatures")
    ordered = dict.fromkeys(item.key_id for each in envelopes for item in each.signatures)
    return Envelope(first.payload_type, first.payload, tuple(signatures[key_id] for key_id in ordered))


def standing(envelope: Envelope, before: Roster | None) -> Standing:
    """Return who signed a roster and how many are missing; a wrong signature counts as none.

    Raises:
        ArgumentError: It is no roster.
        TrustError: ``wrong_type``: it was signed as something else.
    """
    if envelope.payload_type != payload_type("roster"):
        raise TrustError(f"this is signed as something else ({envelope.payload_type[:80]!r})", reason="wrong_type")
    roster = parse(peek(envelope))
    older = dict(before.roots) if before is not None else {}
    good = _good(envelope, {**older, **roster.roots})
    return Standing(
        roster, good,
        max(0, roster.root_threshold - len(good & set(roster.roots))),
        None if before is None else max(0, before.root_threshold - len(good & set(older))),
    )  # fmt: skip


def _good(envelope: Envelope, known: dict[str, PublicKey]) -> frozenset[str]:
    signed, good = pae(envelope.payload_type, envelope.payload), set()
    for item in envelope.signatures:
        key = known.get(item.key_id)
        try:
            if key is not None:
                key.verify(item.value, signed)
                good.add(item.key_id)
        except OutriderError:
            continue
    return frozenset(good)


def check(envelope: Envelope, before: Envelope | None, now: datetime) -> Roster:
    """Return the roster in ``envelope`` if hosts would take it, after ``before`` if that is given.

    Raises:
        TrustError: They would not; ``reason`` says why.
        ArgumentError: It is no roster.
    """
    claimed = parse(peek(envelope))
    trusted = TrustedRoster.resume(before, now) if before is not None else None
    trusted = trusted or TrustedRoster(claimed.roots, claimed.root_threshold)
    if trusted.current is not None and claimed.version <= trusted.current.version:
        raise TrustError(
            f"roster version {claimed.version} does not follow version {trusted.current.version}", reason="rollback"
        )
    roster = trusted.update(envelope, now)
    if roster.is_expired(now):  # taken as a step to the next one, and good for nothing else
        raise TrustError(f"roster version {roster.version} expired at {roster.expires:%F %T} UTC", reason="expired")
    return roster


def read(text: str, where: str) -> Envelope:
    """Return the signed roster in a file's text.

    Raises:
        ArgumentError: It is none; names the file.
    """
    try:
        envelope = Envelope.from_json(text)
        parse(peek(envelope))
    except ArgumentError as error:
        raise ArgumentError(error.message, where=where) from None
    return envelope
