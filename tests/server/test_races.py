"""Two people at the same moment: whoever is first, what stands in the end is what the stricter of them said."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from headquarters import Headquarters, expect, refused, script
from world import NOW, ROLES

from protocol.timestamps import stamp

RUN = {"target": "*", "script": "checks/disk"}


async def in_both_orders(number: int, *asked: object) -> list[object]:
    first, second = asked if number % 2 else reversed(asked)
    return await asyncio.gather(first, second)  # type: ignore[call-overload,no-any-return]  # both are awaitable


@pytest.mark.parametrize("number", range(4))
async def test_what_is_withdrawn_while_it_is_approved_does_not_run(server: Headquarters, number: int) -> None:
    bundle = script()
    expect(await server.publish(bundle), 201)
    await server.add_agent("web-1")
    await in_both_orders(number, server.approve(bundle), server.withdraw(bundle))
    assert (await server.get("/scripts/show", name="checks/disk"))["status"] == "withdrawn"
    refused(await server.ask("POST", "/runs", RUN), 403, "untrusted", reason="withdrawn")


@pytest.mark.parametrize("number", range(4))
async def test_a_reviewer_who_loses_the_role_while_approving_approves_nothing(
    server: Headquarters, number: int
) -> None:
    bundle = script()
    expect(await server.publish(bundle), 201)
    await server.add_agent("web-1")
    keys = [server.world.member(name) for name in ROLES if name != "bob"]
    await in_both_orders(number, server.approve(bundle), server.put_roster(2, keys=keys))
    assert (await server.get("/scripts/show", name="checks/disk"))["status"] != "approved"
    assert (await server.ask("POST", "/runs", RUN)).status_code == 403


async def test_of_two_approvals_that_say_the_same_at_once_one_is_kept(server: Headquarters) -> None:
    bundle = script()
    expect(await server.publish(bundle), 201)
    told = [
        server.world.approval(**server.about(bundle), issued=stamp(NOW - timedelta(seconds=number)))
        for number in range(4)
    ]  # fmt: skip
    answers = await asyncio.gather(*(server.approve(bundle, each) for each in told))
    assert sorted(answer.status_code for answer in answers) == [200, 403, 403, 403]
    assert len((await server.get("/scripts/show", name="checks/disk"))["approvals"]) == 1


async def test_two_people_are_counted_though_they_approve_at_once(server: Headquarters) -> None:
    expect(await server.put_roster(2, reviewers={"observe": 2}), 200)
    bundle = script()
    expect(await server.publish(bundle), 201)
    told = [server.world.approval(who, **server.about(bundle)) for who in ("bob", "cid")]
    for answer in await asyncio.gather(*(server.approve(bundle, each) for each in told)):
        expect(answer, 200)
    (review,) = await server.pages("/reviews")
    assert (review["state"], (await server.get("/scripts/show", name="checks/disk"))["status"]) == ("approved",) * 2
    records = [record for record in await server.records() if record["call"] == "review.approve"]
    assert sorted(record["arguments"]["reviewer"] for record in records) == ["bob", "cid"]
