"""Records in lists: both ways, page by page, while others arrive."""

from __future__ import annotations

from headquarters import Headquarters, refused
from ledgers import agent_with, chain_of, take_in


async def test_records_are_listed_in_both_orders_page_by_page(bare: Headquarters) -> None:
    agent, _, _ = await agent_with(bare, 7)
    oldest = await bare.pages("/records", agent=agent, limit=3)
    newest = await bare.pages("/records", agent=agent, limit=3, order="newest")
    assert [record["sequence"] for record in oldest] == list(range(1, 8))
    assert newest == oldest[::-1]


async def test_a_cursor_goes_back_in_the_other_order(bare: Headquarters) -> None:
    agent, _, _ = await agent_with(bare, 7)
    first = await bare.get("/records", agent=agent, limit=3, order="newest")
    back = await bare.get("/records", agent=agent, limit=3, order="oldest", cursor=first["next"])
    assert [record["sequence"] for record in first["items"]] == [7, 6, 5]
    assert [record["sequence"] for record in back["items"]] == [6, 7]


async def test_records_that_arrive_do_not_move_a_page_of_the_newest(bare: Headquarters) -> None:
    agent, _, chain = await agent_with(bare, 7)
    first = await bare.get("/records", agent=agent, limit=3, order="newest")
    take_in(bare, agent, chain_of(2, chain), 8)
    second = await bare.get("/records", agent=agent, limit=3, order="newest", cursor=first["next"])
    assert [record["sequence"] for record in second["items"]] == [4, 3, 2]


async def test_an_order_that_there_is_not(bare: Headquarters) -> None:
    refused(await bare.ask("GET", "/records", order="biggest"), 422, "invalid_argument", parameter="order")
