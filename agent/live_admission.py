"""Whether a person's session may be opened here, and what it may do. Every check of it in one place.

    frozen? -> tier under the ceiling -> order -> permission -> consent of the host's owner, and all of it once more

What a session may do is the tier's policy, narrowed by its grant and by the host's ceiling. The grant also names what
must be named, such as the targets of a forward: it is the operator's signature that says so, or the server's word
where the ceiling accepts that. As whom things are done is decided like the rest, by all that name users: the operator's
order, the server's access grant, the ceiling. The time that a session may last is the shorter of what was asked for and
what the owner says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from agent.clock import to_us
from agent.orders import Nonce, check_may_order, malformed_is_not_trusted
from agent.permission import grant_layer
from policies.ceiling import KINDS_OF_USERS, Ceiling, Consent, users_layer
from policies.decide import Effective, Layer
from policies.load import builtin
from policies.model import Effect, Limits, Rule
from policies.users import User, read_users
from protocol.errors import TrustError
from protocol.limits import MAX_CLOCK_SKEW_S
from protocol.roster import Roster
from protocol.signing import Envelope, open_envelope
from protocol.statements import SessionOrder
from protocol.tiers import Tier

MAX_CALLS: Final = 10_000_000  # of one session; a person who browses makes some thousands an hour
MAX_OPEN: Final = 256  # streams, handles and open paths at the same time
MAX_PROCESSES: Final = 16  # programs at the same time
WORD: Final = "session"  # of the ceiling's accept_server_word
#: What can be done in sessions of a kind, where that is less than all.
CALLS_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "files": ("fs.*", "file.*", "writer.*", "sys.user", "sys.users", "sys.group"),
    "forward": ("net.forward", "net.listen", "listener.*", "tunnel.*", "connection.*"),
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for. Nothing in it is believed yet."""

    session: str
    kind: str  # terminal, command, files, forward
    tier: str
    principal: str  # who asks, as the server says
    reason: str
    grant: Mapping[str, Any]
    idle_s: float | None = None
    longest_s: float | None = None
    order: Any = None  # the operator's signed order as it arrived, or None
    access: Mapping[str, Any] = field(default_factory=dict)  # what the server's access grant narrows it to
    users: tuple[Any, ...] | None = None  # names of those as whom things may be done; None: as anybody


@dataclass(frozen=True, slots=True)
class Opening:
    """A session that may be opened."""

    wish: Wish
    tier: Tier
    effective: Effective
    limits: Limits
    idle_s: float  # seconds in which nobody does anything, after which it is closed
    nonce: Nonce | None  # of the order; to be marked as used in the commit that opens it
    consent: Consent = Consent.NEVER  # whether the host's owner is told or asked before it opens


def admit(
    wish: Wish, roster: Roster | None, ceiling: Ceiling, *, agent_id: str, now: datetime, user: User | None = None
) -> Opening:
    """Return what the session may do. That the host is not frozen was checked before.

    Args:
        wish: What is asked for.
        roster: The newest one; None if this host has none, and then nothing signed is believed.
        ceiling: Of this host.
        agent_id: An order must name it.
        now: The present, read once.
        user: The agent's own.

    Raises:
        TrustError: ``above_ceiling``, ``operator_signature_required``, or why the order proves nothing.
        ArgumentError: There is no such tier, or the access grant names nobody that there could be.
    """
    tier = Tier.parse(wish.tier)
    if tier > ceiling.highest_tier:
        raise TrustError(
            f"the session is of tier {tier.label}, the ceiling of this host is {ceiling.highest_tier.label}",
            reason="above_ceiling",
        )
    nonce = _check_order(wish, tier, roster, ceiling, agent_id, now)
    policy, rules = builtin(tier), ceiling.sessions
    layers = [
        Layer(policy.name, policy.rules, None), _kind_layer(wish.kind), grant_layer(wish.grant, "the session"),
        grant_layer(wish.access, "the access grant"), _users_layer(wish), ceiling.layer,
        rules.users if wish.kind in KINDS_OF_USERS else None,
    ]  # fmt: skip
    effective = Effective(tuple(replace(layer, limits=None) for layer in layers if layer is not None), user)
    longest_s = min(rules.longest_s, wish.longest_s or rules.longest_s)
    idle_s = min(rules.idle_s, wish.idle_s or rules.idle_s)
    # A script's limits fit no session of a person; what a program may use of the host is decided where it is started.
    limits = Limits(
        wall_s=longest_s, cpu_s=longest_s, calls=MAX_CALLS, output_bytes=1 << 50, open_files=MAX_OPEN,
        processes=MAX_PROCESSES,
    )  # fmt: skip
    return Opening(wish, tier, effective, limits, idle_s, nonce, rules.consent_for(wish.kind))


def _kind_layer(kind: str) -> Layer | None:
    """Return what a kind of session is for; None for those in which a program can do everything anyway."""
    calls = CALLS_OF.get(kind)
    if calls is None:
        return None
    origin = f"sessions of kind {kind}"
    return Layer(origin, tuple(Rule(Effect.ALLOW, call, origin) for call in calls), narrows=True)


def _users_layer(wish: Wish) -> Layer | None:
    """Return the layer of the access grant's users: what is done in the session is done as one of them.

    Raises:
        ArgumentError: One of them can be nobody's name.
    """
    if wish.users is None:
        return None
    users = read_users(wish.users, parameter="users") if wish.users else ()
    return users_layer(users, "the access grant", "the access grant: users")


def _check_order(
    wish: Wish, tier: Tier, roster: Roster | None, ceiling: Ceiling, agent_id: str, now: datetime
) -> Nonce | None:
    if wish.order is None:
        if WORD in ceiling.accept_server_word:
            return None
        raise TrustError(
            "this host opens no session on the server's word alone: an operator must sign the order",
            reason="operator_signature_required",
        )
    if roster is None:
        raise TrustError("this host has no roster yet, so nothing signed can be proved", reason="unsigned")
    order = _open(wish, tier, roster, now)
    for what, said, asked in (
        ("kind", order.kind, wish.kind), ("tier", order.tier, tier), ("grant", order.grant, dict(wish.grant)),
        ("reason", order.reason, wish.reason),
    ):  # fmt: skip
        if said != asked:
            raise TrustError(f"the order has another {what}", reason="mix_and_match")
    if agent_id not in order.agents:
        raise TrustError("the order is not for this host", reason="mix_and_match")
    if order.issued > now + timedelta(seconds=MAX_CLOCK_SKEW_S) or now >= order.expires:
        raise TrustError(f"the order is good from {order.issued:%F %T} to {order.expires:%F %T} UTC", reason="expired")
    return Nonce(order.nonce, to_us(order.expires))


def _open(wish: Wish, tier: Tier, roster: Roster, now: datetime) -> SessionOrder:
    with malformed_is_not_trusted():
        opened = open_envelope(Envelope.from_json(wish.order), "session_order", roster.keys(), what="the order")
        order = SessionOrder.parse(opened.body)
        able = set(roster.operators(tier, now, issued=order.issued))
        check_may_order(opened, able, roster, f"a session at tier {tier.label}")
        return order
