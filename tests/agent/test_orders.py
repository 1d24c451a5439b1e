"""Operators' orders: who may sign one, what it binds, how long it is good, and where the server's word is enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from premises import AGENT
from world import DIGEST, NOW, OTHER_DIGEST, World

from agent.clock import to_us
from agent.orders import Nonce, check_order
from agent.runs import Fire, RunRequest
from policies.ceiling import Ceiling
from protocol.errors import TrustError
from protocol.schedules import ScheduleSpec
from protocol.signing import sign
from protocol.timestamps import stamp
from protocol.trust import Authorised, authorise

STRICT = Ceiling()
SCHEDULE = {"id": "sch_1", "digest": DIGEST, "every_s": 60, "parameters": {"device": "sda"}}
EXPIRES = NOW + timedelta(hours=1)


def order(world: World, *signers: str, **changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": "order", "action": "run", "agents": [AGENT], "digest": DIGEST, "parameters": {"device": "sda"},
        "issued": stamp(NOW), "expires": stamp(EXPIRES), "nonce": "n1",
    } | changes  # fmt: skip
    return sign("order", body, *[world.key(name) for name in signers or ("oli",)]).to_plain()


def schedule_order(world: World, *signers: str, **changes: Any) -> dict[str, Any]:
    return order(world, *signers, **({"action": "schedule", "schedule": SCHEDULE} | changes))


def run(order: Any = None, **changes: Any) -> RunRequest:
    return replace(RunRequest("run_1", DIGEST, {"device": "sda"}, "oli", "", order=order), **changes)


def fired(order: Any = None, **changes: Any) -> RunRequest:
    spec = ScheduleSpec.from_wire(SCHEDULE | changes)
    return run(order, fire=Fire("sch_1", to_us(NOW), False, spec.to_wire()))


def proved(world: World, tier: str = "observe") -> Authorised:
    signed = world.publication(tier=tier), [world.approval(tier=tier)]
    return authorise(DIGEST, *signed, [], world.roster(), NOW)


def check(
    world: World, request: RunRequest, ceiling: Ceiling = STRICT, *, tier: str = "observe", now: datetime = NOW
) -> Nonce | None:
    roster = world.roster(expires=stamp(NOW + timedelta(days=300)))
    return check_order(request, proved(world, tier), roster, ceiling, agent_id=AGENT, now=now)


def refusal(world: World, request: RunRequest, **more: Any) -> str:
    with pytest.raises(TrustError) as caught:
        check(world, request, **more)
    return caught.value.reason


def test_an_order_in_good_form_lets_one_run_begin(world: World) -> None:
    assert check(world, run(order(world))) == Nonce("n1", to_us(EXPIRES))


def test_an_order_binds_numbers_with_a_fraction(world: World) -> None:
    """They stand in it as text, and mean this number and no other."""
    signed = order(world, parameters={"sample": {"$number": "0.5"}})
    assert check(world, run(signed, parameters={"sample": 0.5})) == Nonce("n1", to_us(EXPIRES))
    for other in (0.25, 0, "0.5", {"$number": "0.5"}):
        assert refusal(world, run(signed, parameters={"sample": other})) == "mix_and_match"
    assert refusal(world, run(order(world, parameters={"sample": {"$number": "0.50"}}))) == "malformed"


def test_an_order_of_a_dry_run_is_good_for_one_only(world: World) -> None:
    """Nobody who was to try a script out is taken for somebody who ordered what it does, and the other way round."""
    assert check(world, run(order(world, dry_run=True), dry_run=True)) is not None
    assert refusal(world, run(order(world), dry_run=True)) == "mix_and_match"
    assert refusal(world, run(order(world, dry_run=True))) == "mix_and_match"


def test_an_order_of_a_schedule_is_good_for_all_its_fire_times(world: World) -> None:
    """So it has nothing that could be used up."""
    for hours in (0, 0.5, 0.99):
        assert check(world, fired(schedule_order(world)), now=NOW + timedelta(hours=hours)) is None


@pytest.mark.parametrize("word", ["run", "schedule"])
def test_the_servers_word_alone_is_enough_only_for_what_the_owner_named(world: World, word: str) -> None:
    requests = {"run": run(), "schedule": fired()}
    ceiling = Ceiling(accept_server_word=frozenset({word}))
    assert check(world, requests.pop(word), ceiling) is None
    ((_, other),) = requests.items()
    assert refusal(world, other, ceiling=ceiling) == "operator_signature_required"


WRONG: list[tuple[str, Callable[[World], Any]]] = [
    ("operator_signature_required", lambda w: order(w, "ann")),  # known, but no operator
    ("unknown_key", lambda w: order(w, "mallory")),
    ("unsigned", lambda w: order(w) | {"signatures": []}),
    ("bad_signature", lambda w: order(w) | {"payload": order(w, nonce="n2")["payload"]}),
    ("wrong_type", lambda w: w.approval("oli").to_plain()),
    ("mix_and_match", lambda w: order(w, agents=["agt_another"])),
    ("mix_and_match", lambda w: order(w, agents=[])),
    ("mix_and_match", lambda w: order(w, digest=OTHER_DIGEST)),
    ("mix_and_match", lambda w: order(w, parameters={})),
    ("mix_and_match", lambda w: order(w, parameters={"device": "sdb"})),
    ("mix_and_match", lambda w: schedule_order(w)),
    ("mix_and_match", lambda w: order(w, dry_run=True)),
    ("malformed", lambda w: order(w, dry_run=1)),
    ("expired", lambda w: order(w, expires=stamp(NOW))),
    ("expired", lambda w: order(w, issued=stamp(NOW + timedelta(minutes=6)))),
    ("malformed", lambda w: order(w, more=1)),
    ("malformed", lambda w: order(w, agents=AGENT)),
    ("malformed", lambda w: order(w, action="reboot")),
    ("malformed", lambda w: order(w, schedule=SCHEDULE)),  # a run has none
    ("malformed", lambda _: {}),
    ("malformed", lambda _: "text"),
    ("malformed", lambda _: 7),
    ("bad_signature", lambda w: order(w) | {"payload": "e30="}),
]


@pytest.mark.parametrize(("reason", "wrong"), WRONG)
@pytest.mark.parametrize("words", [frozenset(), frozenset({"run"})])
def test_an_order_that_does_not_prove_this_run(
    world: World, reason: str, wrong: Callable[[World], Any], words: frozenset[str]
) -> None:
    """Also where none is needed: whoever sent it meant something else than what would run."""
    assert refusal(world, run(wrong(world)), ceiling=Ceiling(accept_server_word=words)) == reason


def test_a_clock_that_is_a_little_behind_refuses_no_fresh_order(world: World) -> None:
    assert check(world, run(order(world, issued=stamp(NOW + timedelta(minutes=4)))))


def test_an_operators_tier_bounds_what_he_may_order(world: World) -> None:
    """By the tier that was approved, not by what he says."""
    assert check(world, run(order(world)), tier="inspect")
    body = world.roster_body()
    body["keys"] = [
        world.member("oli") | {"roles": [{"role": "operator", "tier": "observe"}]} if item["name"] == "oli" else item
        for item in body["keys"]
    ]
    roster = world.roster(keys=body["keys"])
    with pytest.raises(TrustError, match="inspect"):
        check_order(run(order(world)), proved(world, "inspect"), roster, STRICT, agent_id=AGENT, now=NOW)


def test_who_may_order_runs_may_not_order_schedules(world: World) -> None:
    members = [world.member(name) for name in ("ann", "bob")]
    members.append(world.member("oli") | {"roles": [{"role": "operator", "tier": "operate"}]})
    roster = world.roster(keys=members)
    with pytest.raises(TrustError) as caught:
        check_order(fired(schedule_order(world)), proved(world), roster, STRICT, agent_id=AGENT, now=NOW)
    assert caught.value.reason == "operator_signature_required"


def test_a_key_that_left_the_roster_orders_nothing(world: World) -> None:
    """Also a schedule that it ordered when it was there stops."""
    roster = world.roster(keys=[world.member(name) for name in ("ann", "bob")])
    with pytest.raises(TrustError) as caught:
        check_order(fired(schedule_order(world)), proved(world), roster, STRICT, agent_id=AGENT, now=NOW)
    assert caught.value.reason == "unknown_key"


@pytest.mark.parametrize(
    "changes",
    [{"every_s": 61}, {"overlap": "queue"}, {"catch_up": "all"}, {"timeout_s": 5}, {"id": "sch_2"}, {"splay_s": 1}],
)
def test_an_order_binds_the_schedule_that_was_signed(world: World, changes: dict[str, Any]) -> None:
    """A server must not run hourly what an operator ordered for every night."""
    assert refusal(world, fired(schedule_order(world), **changes)) == "mix_and_match"


@pytest.mark.parametrize(
    "signed",
    [SCHEDULE | {"zone": "UTC"}, SCHEDULE | {"overlap": "skip", "enabled": True}, dict(reversed(SCHEDULE.items()))],
)
def test_defaults_and_order_of_keys_do_not_matter(world: World, signed: dict[str, Any]) -> None:
    assert check(world, fired(schedule_order(world, schedule=signed))) is None


def test_an_order_of_a_run_starts_no_schedule(world: World) -> None:
    assert refusal(world, fired(order(world))) == "mix_and_match"
