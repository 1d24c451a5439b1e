"""Statements: one strict form each, so that what was signed is what is read."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.errors import ArgumentError
from protocol.statements import Approval, Order, Publication, Withdrawal

DIGEST, WHEN, LATER = "sha256:" + "0" * 64, "2026-11-23T12:00:00Z", "2026-12-23T12:00:00Z"
SUBJECT = {"name": "checks/disk", "version": "1.2.0", "digest": DIGEST, "issued": WHEN}
BODIES: dict[Any, dict[str, Any]] = {
    Publication: {"type": "publication", **SUBJECT, "tier": "observe"},
    Approval: {"type": "approval", **SUBJECT, "tier": "observe", "grant": {}, "expires": LATER, "reason": "good"},
    Withdrawal: {"type": "withdrawal", **SUBJECT, "reason": "leaks"},
    Order: {
        "type": "order", "action": "run", "agents": ["web-1"], "digest": DIGEST, "parameters": {}, "schedule": None,
        "issued": WHEN, "expires": LATER, "nonce": "n",
    },
}  # fmt: skip
EACH = pytest.mark.parametrize("kind", list(BODIES), ids=lambda kind: kind.__name__)


@EACH
def test_a_good_body_is_read(kind: Any) -> None:
    assert kind.parse(BODIES[kind]).digest == DIGEST


@pytest.mark.parametrize("kind", [Publication, Approval])
def test_what_is_written_reads_back(kind: Any) -> None:
    assert kind.parse(BODIES[kind]).body() == BODIES[kind]


@EACH
def test_no_field_may_be_missing_or_more(kind: Any) -> None:
    """A field that one version ignores and another obeys is a hole between them."""
    for name in BODIES[kind]:
        if (kind, name) == (Order, "schedule"):
            continue  # may be absent
        with pytest.raises(ArgumentError):
            kind.parse({key: value for key, value in BODIES[kind].items() if key != name})
    with pytest.raises(ArgumentError, match="look at: more"):
        kind.parse(BODIES[kind] | {"more": 1})


@EACH
def test_a_statement_of_another_type_is_refused(kind: Any) -> None:
    with pytest.raises(ArgumentError):
        kind.parse(BODIES[kind] | {"type": "roster"})


@EACH
@pytest.mark.parametrize("name", ["name", "version", "digest", "tier", "grant", "issued", "expires", "reason", "action",
                                  "agents", "parameters", "nonce"])  # fmt: skip
@pytest.mark.parametrize("value", [None, 3, "", ["x", 1], True])
def test_a_field_of_another_kind_is_refused(kind: Any, name: str, value: Any) -> None:
    if name not in BODIES[kind] or (value == "" and name in ("reason", "nonce")):
        return
    with pytest.raises(ArgumentError):
        kind.parse(BODIES[kind] | {name: value})


def test_an_order_holds_a_schedule_if_it_orders_one() -> None:
    """An order to run once must not be read as one to run every minute."""
    order = BODIES[Order]
    assert Order.parse(order | {"action": "schedule", "schedule": {"id": "s1"}}).schedule == {"id": "s1"}
    assert Order.parse({key: value for key, value in order.items() if key != "schedule"}).schedule is None
    for change in ({"schedule": {"id": "s1"}}, {"action": "schedule"}, {"action": "stop"}):
        with pytest.raises(ArgumentError):
            Order.parse(order | change)
    with pytest.raises(ArgumentError):
        Order.parse(order | {"action": "schedule", "schedule": ["s1"]})


def test_numbers_of_an_order_are_read_as_what_they_are() -> None:
    """Parameters with a fraction, and times of a schedule that have one."""
    order, half = BODIES[Order], {"$number": "0.5"}
    assert Order.parse(order | {"parameters": {"n": half, "of": [1, half]}}).parameters == {"n": 0.5, "of": [1, 0.5]}
    schedule = {"id": "s1", "every_s": {"$number": "1.5"}, "parameters": {"n": half}}
    read = Order.parse(order | {"action": "schedule", "schedule": schedule}).schedule
    assert read == {"id": "s1", "every_s": 1.5, "parameters": {"n": 0.5}}
    ordered = ({"parameters": {"n": {}}}, {"parameters": 1}, {"on": {}})
    for wrong in ({"parameters": {"n": {"more": 1}}}, *({"action": "schedule", "schedule": each} for each in ordered)):
        with pytest.raises(ArgumentError):
            Order.parse(order | wrong)
