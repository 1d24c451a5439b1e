"""How agents come in: one token for one host, one key for one agent, one link for each, and all refusals on record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from headquarters import Headquarters, expect, refused, script
from peer import ClosedError, Peer, Wire, join

from protocol import messages
from protocol.enrolment import make_request, make_token, parse_token, verify_answer
from protocol.errors import TrustError, UnauthenticatedError
from protocol.handshake import AgentHandshake
from protocol.ledger import GENESIS, Chain
from protocol.link import RequestFailed, ResponseReceived, StreamData, StreamFinished, StreamOpened
from protocol.messages import Kind
from protocol.signing import PrivateKey
from server import limits
from server.endpoint import joining


@pytest.fixture
async def peer(server: Headquarters) -> AsyncIterator[Peer]:
    """One enrolled agent, not connected yet."""
    made = await join(server)
    yield made
    await made.close()


async def refusals(server: Headquarters) -> list[tuple[str, str, str]]:
    found = await server.records(kind="refusal")
    return [(item["call"], item["principal"], item["data"]["reason"]) for item in found]


# enrolment ------------------------------------------------------------------------------------------------------------


async def test_a_host_is_enrolled_with_what_it_must_pin(server: Headquarters) -> None:
    text, key = await server.invite(labels={"env": "prod"}), PrivateKey.generate()
    answer = await server.enrol(text, key, "web-1", labels={"rack": "r1", "env": "test"})
    found = verify_answer(expect(answer, 201), parse_token(text), key.public, bytes(32))
    assert (found.server_key, found.threshold) == (server.key.public, 1)
    assert found.roots == (server.world.key("root").public,)
    agent = await server.get("/agents/web-1")
    assert (agent["id"], agent["key"], agent["connected"]) == (found.agent_id, key.public.to_text(), False)
    assert agent["labels"] == {"rack": "r1", "env": "prod"}, "what the invitation says wins over what the host says"
    (record,) = [item for item in await server.records() if item["call"] == "agent.enroll"]
    assert record["principal"] == "agent:web-1"


async def test_without_a_roster_there_is_nothing_to_pin(bare: Headquarters) -> None:
    text, key = await bare.invite(), PrivateKey.generate()
    answer = expect(await bare.enrol(text, key), 201)
    assert (answer["roots"], answer["roster"]) == (None, None)
    verify_answer(answer, parse_token(text), key.public, bytes(32))


async def test_the_invitations_name_wins(server: Headquarters) -> None:
    answer = await server.enrol(await server.invite(name="named"), PrivateKey.generate(), "wished")
    expect(answer, 201)
    assert [item["name"] for item in await server.pages("/agents")] == ["named"]


async def test_a_join_token_is_used_once(server: Headquarters) -> None:
    token = await server.invite()
    expect(await server.enrol(token, PrivateKey.generate(), "first"), 201)
    refused(await server.enrol(token, PrivateKey.generate(), "second"), 403, "untrusted", reason="replayed_token")
    assert [item["name"] for item in await server.pages("/agents")] == ["first"]
    assert await refusals(server) == [("agent.enroll", "unknown", "replayed_token")]


async def test_of_two_hosts_with_one_token_at_the_same_moment_one_gets_in(server: Headquarters) -> None:
    token = await server.invite()
    asked = [server.enrol(token, PrivateKey.generate(), f"host-{number}") for number in range(5)]
    codes = sorted(answer.status_code for answer in await asyncio.gather(*asked))
    assert codes == [201, 403, 403, 403, 403]
    assert len(await server.pages("/agents")) == 1


async def test_a_join_token_ends(server: Headquarters) -> None:
    token = await server.invite(ttl_s=60.0)
    server.clock.advance(seconds=61)
    told = refused(await server.enrol(token, PrivateKey.generate()), 403, "untrusted", reason="expired")
    assert "2026-11-23T12:01:00" in told["detail"]
    assert await refusals(server) == [("agent.enroll", "unknown", "expired")]


async def test_a_join_token_of_nobody_is_refused(server: Headquarters) -> None:
    """Unknown, of another server, or with a guessed secret: all the same answer."""
    real = parse_token(await server.invite())
    details = set()
    for token_id, secret in (("0" * 16, real.secret), (real.token_id, bytes(32)), (real.token_id, real.secret[::-1])):
        answer = await server.enrol(make_token(token_id, secret, real.server_key_id), PrivateKey.generate())
        details.add(refused(answer, 403, "untrusted", reason="bad_token")["detail"])
    assert len(details) == 1
    assert await server.pages("/agents") == []


async def test_a_request_that_was_touched_on_its_way_is_refused(server: Headquarters) -> None:
    """Another key in its place would make another host the agent."""
    token = parse_token(await server.invite())
    body = make_request(token, PrivateKey.generate(), hostname="host", nonce=bytes(32), name="web-1")
    for change in ({"name": "web-2"}, {"public_key": PrivateKey.generate().public.to_text()}, {"hostname": "other"}):
        refused(await server.api.post("/agent/v1/enroll", json=body | change), 403, "untrusted", reason="bad_token")
    expect(await server.api.post("/agent/v1/enroll", json=body), 201)


async def test_a_key_is_enrolled_once(server: Headquarters) -> None:
    """Also not again after its agent was removed: its ledger would go on under another name."""
    key = PrivateKey.generate()
    await server.add_agent("web-1", key)
    refused(await server.enrol(await server.invite(), key, "web-2"), 409, "conflict")
    expect(await server.ask("DELETE", "/agents/web-1"), 204)
    told = refused(await server.enrol(await server.invite(), key, "web-3"), 409, "conflict")
    assert told["detail"] == "this key is enrolled already"


async def test_a_name_is_given_once_and_free_again_after_removal(server: Headquarters) -> None:
    await server.add_agent("web-1")
    token = await server.invite()
    told = refused(await server.enrol(token, PrivateKey.generate(), "web-1"), 409, "conflict")
    assert "web-1" in told["detail"]
    expect(await server.enrol(token, PrivateKey.generate(), "web-2"), 201)
    expect(await server.ask("DELETE", "/agents/web-1"), 204)
    await server.add_agent("web-1")


async def test_a_host_cannot_take_a_name_that_means_another(server: Headquarters) -> None:
    """The server's ledger is called server, and an id names its own agent only."""
    other = await server.add_agent("web-1")
    for name in ("server", other, "0" * 32, "x" * 64):
        answer = await server.enrol(await server.invite(), PrivateKey.generate(), name)
        refused(answer, 422, "invalid_argument", parameter="name")
    for name in ("server", other, "0" * 32, "x" * 64, "-x", ".x", "a b", "a/b"):
        refused(await server.ask("PATCH", "/agents/web-1", {"name": name}), 422, "invalid_argument", parameter="name")
        refused(await server.ask("POST", "/invites", {"name": name}), 422, "invalid_argument", parameter="name")
    assert (await server.get(f"/agents/{other}"))["name"] == "web-1"


async def test_what_is_no_enrolment_is_refused(bare: Headquarters) -> None:
    wrong = [
        b"", b"{", b"[]", b"null", b"\xff", b"{}", b"[" * 60_000, b'{"token_id": 1}', b'{"token_id": "\\ud800"}',
        b'{"a": NaN}',
    ]  # fmt: skip
    for content in wrong:
        refused(await bare.api.post("/agent/v1/enroll", content=content), 422, "invalid_argument")


async def test_an_enrolment_is_bounded(bare: Headquarters) -> None:
    content = b" " * (joining.MAX_ENROLMENT_BYTES + 1)
    refused(await bare.api.post("/agent/v1/enroll", content=content), 413, "too_large")


async def test_the_secret_of_an_invitation_is_kept_nowhere(server: Headquarters) -> None:
    text = await server.invite()
    secret = parse_token(text).secret
    await server.enrol(text, PrivateKey.generate())
    for path in server.directory.iterdir():
        if path.is_file():
            raw = path.read_bytes()
            assert secret not in raw, path
            assert text.split(".")[2].encode() not in raw, path


async def test_a_wrong_invitation_is_not_made(bare: Headquarters) -> None:
    wrong: list[dict[str, Any]] = [
        {"labels": {"a b": "x"}}, {"labels": {"a": ""}}, {"labels": {"a": "x" * 64}}, {"ttl_s": 0.0}, {"ttl_s": 1e9},
        {"labels": {f"l{number}": "x" for number in range(65)}},
    ]  # fmt: skip
    for body in wrong:
        refused(await bare.ask("POST", "/invites", body), 422, "invalid_argument", parameter=next(iter(body)))


# the link -------------------------------------------------------------------------------------------------------------


async def test_an_agent_proves_itself_and_is_told_where_its_ledger_ends(server: Headquarters, peer: Peer) -> None:
    welcome = await peer.connect()
    assert (welcome.last_sequence, welcome.last_hash) == (0, GENESIS)
    assert welcome.server_time_us // 1_000_000 == int(server.clock.now().timestamp())
    assert (await server.get("/agents/web-1"))["connected"] is True
    assert (await server.get("/status"))["connected"] == 1
    await peer.close()
    agent = await server.get("/agents/web-1")
    assert (agent["connected"], agent["last_seen"] is None) == (False, False)


async def test_records_are_acknowledged_and_go_on_after_the_next_connection(server: Headquarters, peer: Peer) -> None:
    chain = Chain()
    blobs = [chain.append(kind="event", time_us=n + 1, mono_us=n)[1] for n in range(5)]
    await peer.connect()
    await peer.send_records(1, blobs[:3])
    await peer.close()
    welcome = await peer.connect()
    assert welcome.last_sequence == 3
    await peer.send_records(4, blobs[3:])
    assert [item["sequence"] for item in await server.records("web-1")] == [1, 2, 3, 4, 5]


async def test_a_batch_that_does_not_continue_the_ledger_ends_the_link_and_is_on_record(
    server: Headquarters, peer: Peer
) -> None:
    """The host's ledger was changed, or two hosts feed one: a person must look, and finds why."""
    await peer.connect()
    assert peer.link is not None
    chain = Chain(1, b"x" * 32)
    peer.link.send_records(1, [chain.append(kind="event", time_us=1, mono_us=1)[1]])
    await peer.flush()
    await peer.until(lambda: peer.closed)
    assert peer.closed is not None
    assert (peer.closed.code, peer.closed.reason) == (4422, "record 1 does not continue the chain that is held")
    await peer.close()
    assert await server.records("web-1") == []
    (record,) = await server.records(kind="refusal")
    assert (record["call"], record["outcome"]) == ("agent.records", "ledger_broken")
    assert record["arguments"] == {"agent": peer.agent}


async def told_at(peer: Peer, **changes: Any) -> TrustError:
    with pytest.raises(TrustError) as caught:
        await peer.connect(**changes)
    assert peer.wire is not None
    with pytest.raises(ClosedError) as closed:
        await peer.wire.receive()
    assert closed.value.code == 4403
    await peer.wire.served  # what it recorded is durable then
    return caught.value


async def test_an_unknown_agent_is_refused(server: Headquarters, peer: Peer) -> None:
    stranger = Peer(server, "0" * 32, PrivateKey.generate())
    assert (await told_at(stranger)).reason == "unknown_key"
    assert await refusals(server) == [("agent.link", "unknown", "unknown_key")]


async def test_a_known_agent_with_another_key_is_refused(server: Headquarters, peer: Peer) -> None:
    thief = Peer(server, peer.agent, PrivateKey.generate())
    assert (await told_at(thief)).reason == "unknown_key"
    assert (await told_at(peer, agent="0" * 32)).reason == "unknown_key"


async def test_a_removed_agent_is_let_in_no_more(server: Headquarters, peer: Peer) -> None:
    await peer.connect()
    expect(await server.ask("DELETE", "/agents/web-1"), 204)
    await peer.until(lambda: peer.closed)
    assert peer.closed is not None
    assert peer.closed.code == 4403
    await peer.close()
    assert (await told_at(peer)).reason == "unknown_key"


async def test_a_second_agent_with_the_same_key_is_refused_while_the_first_answers(
    server: Headquarters, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copied state directory must not become a second host that feeds the same ledger."""
    monkeypatch.setattr(limits, "DUPLICATE_PING_S", 60.0)  # it answers, however long this machine stands still
    await peer.connect()
    copy = Peer(server, peer.agent, peer.key)
    assert (await told_at(copy)).reason == "duplicate_agent"
    assert await refusals(server) == [("agent.link", "unknown", "duplicate_agent")]
    assert peer.closed is None
    assert isinstance(await peer.ask("status", {"facts": {}, "schedules_version": 1, "running": 0}), ResponseReceived)


async def test_a_link_that_answers_no_more_makes_way(
    server: Headquarters, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut the host is back long before TCP notices that the old connection is dead."""
    monkeypatch.setattr(limits, "DUPLICATE_PING_S", 0.01)
    await peer.connect()
    assert peer._reading is not None
    peer._reading.cancel()  # the old process is gone, its connection is not
    again = Peer(server, peer.agent, peer.key)
    await again.connect()
    assert peer.wire is not None
    closed = await peer.wire.drain()
    assert closed.code == 1001
    await peer.close()
    assert (await server.get("/agents/web-1"))["connected"] is True, "the end of the old link is not that of the new"
    await again.close()
    assert (await server.get("/agents/web-1"))["connected"] is False


async def test_an_agent_that_meets_another_server_proves_nothing_to_it(server: Headquarters, peer: Peer) -> None:
    with pytest.raises(TrustError) as caught:
        await peer.connect(server_key=PrivateKey.generate().public)
    assert caught.value.reason == "foreign_server"


async def test_what_is_no_handshake_is_refused(server: Headquarters, peer: Peer) -> None:
    for frame in (b"", b"\xc0", b"x" * 9_000, messages.pack(Kind.PING, 1), "text"):
        wire = Wire(server)
        await wire.send(frame)
        handshake = AgentHandshake(peer.key, peer.agent, server.key.public, bytes(32))
        handshake.hello()
        with pytest.raises(UnauthenticatedError):
            handshake.receive(await wire.receive())
        with pytest.raises(ClosedError) as closed:
            await wire.receive()
        assert closed.value.code in (1002, 1009)
        await wire.close()
    assert not server.core.unproved


async def test_a_stranger_who_says_nothing_is_sent_away(server: Headquarters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HANDSHAKE_TIMEOUT_S", 0.01)
    wire = Wire(server)
    kind, values = messages.unpack(await wire.receive())
    assert (kind, values[2]) == (Kind.REFUSED, "no proof in 0.01 s")
    with pytest.raises(ClosedError):
        await wire.receive()
    await wire.close()


async def test_strangers_hold_only_so_many_connections(
    server: Headquarters, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest make way, so that those who hold theirs keep no agent out."""
    monkeypatch.setattr(limits, "MAX_UNPROVED", 3)
    wires = [Wire(server) for _ in range(5)]
    for wire in wires[:2]:
        kind, _ = messages.unpack(await wire.receive())
        assert kind == Kind.REFUSED
        assert (await wire.drain()).code == 1013
    await peer.connect()
    assert len(server.core.unproved) == 2, "who has proved himself is none of them"
    assert (await wires[2].drain()).code == 1013
    for wire in wires:
        await wire.close()
    assert not server.core.unproved


async def test_a_flood_from_one_address_drives_out_itself(
    server: Headquarters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent needs two round trips; in that time a flood has come and gone many times over."""
    monkeypatch.setattr(limits, "MAX_UNPROVED", 3)
    honest = Wire(server, address="192.0.2.7")
    wires = [Wire(server) for _ in range(6)]
    for wire in wires[:4]:
        assert (await wire.drain()).code == 1013
    assert len(server.core.unproved) == 3
    await honest.send(b"no handshake, but read: it was not driven out")
    kind, values = messages.unpack(await honest.receive())
    assert (kind, "makes way" in values[2]) == (Kind.REFUSED, False)
    for wire in (honest, *wires):
        await wire.close()
    assert not server.core.unproved


async def test_a_link_that_breaks_the_protocol_is_ended_and_the_others_do_not_notice(
    server: Headquarters, peer: Peer
) -> None:
    other = await join(server, "web-2")
    await other.connect()
    await peer.connect()
    assert peer.wire is not None
    await peer.wire.send(b"\xc1")
    await peer.until(lambda: peer.closed)
    assert peer.closed is not None
    assert peer.closed.code == 1002
    assert isinstance(await other.ask("status", {"facts": {}, "schedules_version": 1, "running": 0}), ResponseReceived)
    await other.close()


async def test_an_agent_asks_only_what_agents_may_ask(server: Headquarters, peer: Peer) -> None:
    """No message from an agent makes the server execute or pick a path."""
    await peer.connect()
    await peer.wanted("schedules.set")  # the last of what is sent of itself
    answer = await peer.ask("bundle.get", {"digest": "sha256:" + "0" * 64})
    assert isinstance(answer, RequestFailed)
    assert answer.code == "not_found"
    assert peer.wire is not None
    assert peer._reading is not None
    peer._reading.cancel()  # its own link would refuse the answer to what it never asked
    await peer.wire.send(messages.pack(Kind.REQUEST, 900, "run.start", {"run_id": "x"}))
    kind, values = messages.unpack(await peer.wire.receive())
    assert (kind, values[0], values[1]) == (Kind.FAILURE, 900, "invalid_argument")


async def test_a_bundle_is_sent_from_where_it_broke_off(server: Headquarters, peer: Peer) -> None:
    bundle = await server.bring_in(script("return 1\n"))
    await server.post("/schedules", {"script": "checks/disk", "on": "*", "every": "1h"}, 201)
    await peer.connect()
    packed = bundle.pack()
    for offset, expected in ((None, packed), (0, packed), (100, packed[100:]), (len(packed), b"")):
        await peer.ask("bundle.get", {"digest": bundle.digest, "offset": offset})
        arrived = b""
        while not isinstance(event := await peer.seen.get(), StreamFinished):
            if isinstance(event, StreamOpened):
                assert event.header.get("offset", 0) == (offset or 0)
            arrived += event.data if isinstance(event, StreamData) else b""
        assert arrived == expected
    answer = await peer.ask("bundle.get", {"digest": bundle.digest, "offset": len(packed) + 1})
    assert isinstance(answer, RequestFailed)
    assert answer.code == "invalid_argument"


async def test_what_an_agent_says_about_itself_is_shown(server: Headquarters, peer: Peer) -> None:
    await peer.connect()
    await peer.ask("status", {"facts": {"kernel": "6.1"}, "schedules_version": 7, "running": 0})
    agent = await server.get("/agents/web-1")
    assert (agent["facts"], agent["schedules_version"]) == ({"kernel": "6.1"}, 7)


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"a": "x" * limits.MAX_FACTS_BYTES}, "too_large"),
        ({"a": {str(number): "y" * 20 for number in range(20_000)}}, "too_large"),
        ({"a": [b"\xff"]}, "invalid_argument"),
    ],
)
async def test_what_an_agent_says_about_itself_has_a_bound(
    server: Headquarters, peer: Peer, facts: dict[str, Any], code: str
) -> None:
    """Every list of hosts shows it: one host could have made each of them as large as a frame."""
    await peer.connect()
    answer = await peer.ask("status", {"facts": facts, "schedules_version": 7, "running": 0})
    assert isinstance(answer, RequestFailed)
    assert answer.code == code
    assert (await server.get("/agents/web-1"))["facts"] == {}


async def test_a_server_that_is_ending_lets_nobody_in(server: Headquarters) -> None:
    server.core.is_ending.set()
    with pytest.raises(ClosedError) as closed:
        await Wire(server).receive()
    assert closed.value.code == 1013
