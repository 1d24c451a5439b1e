"""Records in lists: both ways, page by page, while others arrive."""

from __future__ import annotations

from headquarters import Headquarters, refused
from ledgers import agent_with, chain_of, take_in

from protocol.ledger import Chain
from server.services import records


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


async def test_what_was_done_for_somebody_and_nobody_else(bare: Headquarters) -> None:
    """Also where the name stands elsewhere in a record, or is part of another one; page by page all of it."""
    agent, _, chain = await agent_with(bare, 2)
    about: list[tuple[str, dict[str, str]]]
    about = [("tom", {}), ("tommy", {}), ("ann", {"to": "tom"}), ("Tom", {}), ("tom", {})]
    blobs = [
        chain.append(kind="call", call="fs.read", time_us=1, mono_us=1, principal=who, arguments=arguments)[1]
        for who, arguments in about
    ]
    take_in(bare, agent, blobs, 3)
    found = await bare.pages("/records", agent=agent, principal="tom", limit=1)
    assert [record["sequence"] for record in found] == [3, 7]
    assert await bare.pages("/records", principal="to") == []
    assert await bare.pages("/records", principal="") != []  # what nobody asked for, such as that an agent began
    assert all(record["principal"] == "" for record in await bare.pages("/records", principal=""))


async def test_calls_of_a_family(bare: Headquarters) -> None:
    agent, _, chain = await agent_with(bare, 1)
    names = ("fs.read", "fs.read_stream", "fsx", "net.read", "FS.read")
    blobs = [chain.append(kind="call", call=name, time_us=1, mono_us=1)[1] for name in names]
    take_in(bare, agent, blobs, 2)

    async def named(pattern: str) -> set[str]:
        return {record["call"] for record in await bare.pages("/records", agent=agent, kind="call", call=pattern)}

    assert await named("fs.*") == {"fs.read", "fs.read_stream"}
    assert await named("fs.read") == {"fs.read"}
    assert await named("*.read") == {"fs.read", "net.read", "FS.read"}
    assert await named("[f]s.*") == await named("f?.*") == set()


def opening(chain: Chain, session: str, reason: str = "") -> bytes:
    return chain.append(kind="session.open", time_us=1, mono_us=1, session=session, data={"reason": reason})[1]


async def test_a_session_begins_at_its_own_record_and_not_where_another_one_names_it(bare: Headquarters) -> None:
    agent, _, chain = await agent_with(bare, 2)
    blobs = [opening(chain, "s_1"), opening(chain, "s_2", "as in s_1"), opening(chain, "s_11"), *chain_of(1, chain)]
    take_in(bare, agent, blobs, 3)

    def before(session: str, of: str = agent) -> int:
        return bare.core.database.read_now(lambda c: records.beginning_of(c, of, session))

    newest = bare.core.database.read_now(records.newest_position)
    assert [before(session) for session in ("s_1", "s_2", "s_11")] == [newest - 4, newest - 3, newest - 2]
    assert before("s_3") == newest
    assert before("s_1", "another") == newest
