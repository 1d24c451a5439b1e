"""Whether somebody who may do so ordered exactly this: the operator's own signature, or the server's word alone.

What the ceiling accepts on the server's word needs no order. An order that came is checked all the same: one that does
not fit is refused, not passed over. An order to run is good for one run; an order of a schedule for all its fire times
until it expires. Pure.

An order for a dry run is also taken from a reviewer of the script, where the host's owner lets reviewers try things.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent.clock import to_us
from agent.runs import RunRequest
from policies.ceiling import Ceiling
from protocol.errors import ArgumentError, OutriderError, TrustError
from protocol.limits import MAX_CLOCK_SKEW_S
from protocol.roster import Roster
from protocol.schedules import ScheduleSpec, same_schedule
from protocol.signing import Envelope, Opened, open_envelope
from protocol.statements import Order
from protocol.trials import check_not_own
from protocol.trust import Authorised


@dataclass(frozen=True, slots=True)
class Nonce:
    """What an order to run must not be used for again."""

    text: str
    expires_us: int  # after it the order is refused for its age


def check_order(
    request: RunRequest, proved: Authorised, roster: Roster, ceiling: Ceiling, *, agent_id: str, now: datetime,
    tried_of: frozenset[str] | None = None,
) -> Nonce | None:  # fmt: skip
    """Return what must be marked as used before the run, or None.

    Args:
        request: What is asked for.
        proved: About the script.
        roster: The newest one.
        ceiling: Of this host.
        agent_id: Of this host.
        now: The present.
        tried_of: Of a trial: the keys of its authors, who order none of it. The server's word is never enough for one.

    Raises:
        TrustError: ``operator_signature_required`` if there is no order and the ceiling wants one; else why the order
            does not prove what it must.
    """
    if request.order is None:
        if request.action in ceiling.accept_server_word and tried_of is None:
            return None
        raise TrustError(
            f"this host does not {request.action} on the server's word alone: an operator must sign the order",
            reason="operator_signature_required",
        )
    order, signers = _open(request, proved, roster, ceiling, now)
    if tried_of is not None:
        check_not_own(tried_of, signers, roster)
    _check_subject(order, request, agent_id)
    skew = timedelta(seconds=MAX_CLOCK_SKEW_S)
    if order.issued > now + skew or now >= order.expires:
        raise TrustError(f"the order is good from {order.issued:%F %T} to {order.expires:%F %T} UTC", reason="expired")
    return Nonce(order.nonce, to_us(order.expires)) if order.action == "run" else None


def check_covers(request: RunRequest, proved: Authorised, roster: Roster, ceiling: Ceiling, now: datetime) -> None:
    """Return if whoever ordered a run may order this now: what it calls, or it itself when it has waited. Without an
    order there is nobody to ask about.

    Raises:
        TrustError: ``operator_signature_required``: not at this tier.
    """
    if request.order is not None:
        _open(request, proved, roster, ceiling, now)


def _open(
    request: RunRequest, proved: Authorised, roster: Roster, ceiling: Ceiling, now: datetime
) -> tuple[Order, frozenset[str]]:
    """Return an order and the keys of those who signed it."""
    with malformed_is_not_trusted():
        opened = open_envelope(Envelope.from_json(request.order), "order", roster.keys(), what="the order")
        order = Order.parse(opened.body)
        may = roster.operators if request.action == "run" else roster.schedulers
        able = set(may(proved.tier, now, issued=order.issued))
        if ceiling.dry_runs and request.dry_run and order.dry_run and request.action == "run":
            able |= set(roster.reviewers(proved.name, proved.tier, now, issued=order.issued))
        check_may_order(opened, able, roster, f"a {request.action} at tier {proved.tier.label}")
        return order, opened.key_ids


@contextmanager
def malformed_is_not_trusted() -> Iterator[None]:
    """The context in which an order is read: whatever is wrong with its form is ``TrustError``."""
    try:
        yield
    except ArgumentError as error:
        raise TrustError(f"the order is malformed: {error.message}", reason="malformed") from None
    except TrustError:
        raise
    except OutriderError as error:
        raise TrustError(f"the order cannot be read: {error.message}", reason="malformed") from None


def check_may_order(opened: Opened, able: Set[str], roster: Roster, what: str) -> None:
    """Return if one of those who signed an order is among the keys that may; ``what`` is ordered, for people.

    Raises:
        TrustError: ``operator_signature_required``: none of them is.
    """
    if not opened.key_ids & able:
        names = ", ".join(sorted(roster.name_of(key_id) or "?" for key_id in opened.key_ids))
        raise TrustError(f"{names} may not order {what}", reason="operator_signature_required")


def _check_subject(order: Order, request: RunRequest, agent_id: str) -> None:
    if order.action != request.action:
        raise TrustError(f"the order is to {order.action}, not to {request.action}", reason="mix_and_match")
    if agent_id not in order.agents:
        raise TrustError("the order is not for this host", reason="mix_and_match")
    if order.digest != request.digest:
        raise TrustError(f"the order is about {order.digest}, not {request.digest}", reason="mix_and_match")
    if order.dry_run is not request.dry_run:
        told = "a dry run" if order.dry_run else "a run that changes things"
        raise TrustError(f"the order is for {told}, which this is not", reason="mix_and_match")
    if order.parameters != dict(request.parameters):
        raise TrustError("the order has other parameters", reason="mix_and_match")
    if request.fire is not None and not same_schedule(order.schedule or {}, _spec(request)):
        raise TrustError("the order is about another schedule", reason="mix_and_match")


def _spec(request: RunRequest) -> ScheduleSpec:
    return ScheduleSpec.from_wire(dict(request.fire.spec) if request.fire is not None else {})
