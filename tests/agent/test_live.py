"""Sessions of people on one host: opened durably, used through the gate, closed for sure, on record in every case."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from premises import AGENT, Premises, until
from test_live_admission import order

from agent import live, rows
from agent.clock import lived_s
from agent.consent import OWNER, Consents, Question
from agent.live import LINGER_S, LiveSession, LiveSessions, lost_record
from agent.live_admission import Wish
from agent.live_calls import serve_call
from agent.nonces import Nonces
from agent.trusting import Freeze
from protocol.errors import ConflictError, DeniedError, NotFoundError, RateError, TrustError, UnavailableError
from protocol.frames import decode
from protocol.link import Link, Role, StreamOpened
from protocol.pipes import Pipe, Pipes
from protocol.timestamps import stamp
from stdlib.catalogue import load as load_catalogue
from stdlib.host import Host

WISH = Wish("s_1", "files", "inspect", "oli", "T-1", {})
CEILING = "highest_tier: inspect\naccept_server_word: [session]\nsessions: {longest: 1h, idle: 10m}\n"


class Floor:
    """The sessions of one host, and a server's link that opens pipes into them."""

    def __init__(self, premises: Premises) -> None:
        self.premises = premises
        self.freeze: Freeze | None = None
        self.consents = Consents(premises.trust.ceiling, premises.recorder, premises.clock)
        self.open()

    def open(self) -> None:
        premises = self.premises
        self.live = LiveSessions(
            AGENT, trust=premises.trust, freeze=lambda: self.freeze, table=load_catalogue(),
            recorder=premises.recorder, spool=premises.spool,
            nonces=Nonces(premises.spool), clock=premises.clock, host=Host(),
            acts={"call": serve_call, "wait": self.wait},
            consents=self.consents,
        )  # fmt: skip
        self.server = Link(Role.SERVER, next_record=1)
        self.agent = Link(Role.AGENT, next_record=1)
        self.theirs = Pipes(self.server, lambda: None, asyncio.Event)
        self.ours = Pipes(self.agent, lambda: None, asyncio.Event)

    async def wait(self, session: LiveSession, pipe: Pipe) -> None:
        await pipe.read()

    def settle(self) -> None:
        """Let frames cross until both ends are silent."""
        moved = True
        while moved:
            moved = False
            for sender, receiver, pipes in (
                (self.server, self.agent, self.ours),
                (self.agent, self.server, self.theirs),
            ):
                for frame in sender.take():
                    moved = True
                    for event in receiver.receive(frame):
                        if isinstance(event, StreamOpened):
                            self.live.accept(pipes.accept(event))
                        else:
                            pipes.on(event)

    def pipe(self, act: str = "call", session: str = "s_1", **header: Any) -> Pipe:
        pipe = self.theirs.open("session", {"session": session, "act": act, **header})
        self.settle()
        return pipe

    async def messages(self, pipe: Pipe) -> list[Any]:
        """Return everything that comes on a pipe."""

        async def all_of_it() -> list[Any]:
            got = []
            while (message := await pipe.receive()) is not None:
                got.append(message)
            return got

        task = asyncio.ensure_future(all_of_it())

        def done() -> bool:
            self.settle()
            return task.done()

        await until(done)
        return task.result()

    async def kinds(self) -> list[str]:
        return [record.kind for record in await self.premises.records()]


@pytest.fixture
async def floor(premises: Premises) -> AsyncIterator[Floor]:
    premises.allow(CEILING)
    premises.take_roster()
    made = Floor(premises)
    yield made
    await made.live.shut()


# opening -------------------------------------------------------------------------------------------------------------


async def test_a_session_is_on_disk_before_its_first_call_and_so_is_its_end(floor: Floor) -> None:
    session = await floor.live.open(WISH)
    assert (await session.call("fs.stat", {"path": "/etc"}))["type"] == "directory"
    await floor.live.close("s_1", "done")
    opened, call, closed = await floor.premises.records()
    assert (opened.kind, opened.session, opened.principal) == ("session.open", "s_1", "oli")
    assert opened.data == {
        "kind": "files", "tier": "inspect", "longest_s": 3600.0, "idle_s": 600.0, "reason": "T-1", "ordered": False,
    }  # fmt: skip
    assert (call.call, call.session, call.run, call.principal) == ("fs.stat", "s_1", "", "oli")
    assert (closed.kind, closed.outcome, closed.data["reason"], closed.data["calls"]) == (
        "session.close",
        "ok",
        "done",
        1,
    )
    with pytest.raises(NotFoundError):
        await floor.live.close("s_1", "again")


async def test_asked_again_after_a_lost_link_it_is_the_same_session(floor: Floor) -> None:
    session = await floor.live.open(WISH)
    assert await floor.live.open(WISH) is session
    with pytest.raises(ConflictError):
        await floor.live.open(replace(WISH, tier="observe"))
    await floor.live.close("s_1", "done")
    with pytest.raises(ConflictError):
        await floor.live.open(WISH)


async def test_an_order_opens_one_session_over_restarts_too(floor: Floor) -> None:
    signed = order(floor.premises.world)
    await floor.live.open(replace(WISH, order=signed))
    for restart in (False, True):
        if restart:
            await floor.live.shut()
            floor.premises.restart()
            floor.open()
        with pytest.raises(TrustError) as caught:
            await floor.live.open(replace(WISH, session="s_2", order=signed))
        assert caught.value.reason == "replayed_token"


async def test_two_at_the_same_moment_do_not_share_an_order(floor: Floor) -> None:
    signed = order(floor.premises.world)
    wishes = [replace(WISH, session=f"s_{number}", order=signed) for number in (1, 2)]
    both = await asyncio.gather(*map(floor.live.open, wishes), return_exceptions=True)
    (refused,) = [each for each in both if isinstance(each, TrustError)]
    assert refused.reason == "replayed_token"
    assert not floor.premises.broken, "what reached the disk twice would end the agent"


async def test_a_session_and_a_run_of_one_id_do_not_meet(floor: Floor) -> None:
    """A hostile server picks both ids, and may pick them at the same moment."""
    now_us = floor.premises.clock.time_us()
    begun = floor.premises.recorder.begin([], [rows.open_run("s_1", b"", now_us)])
    await floor.live.open(WISH)
    await begun
    assert not floor.premises.broken
    assert {left.run for left in floor.premises.spool.open_runs()} == {"s_1", "session/s_1"}


@pytest.mark.parametrize("tier", ["operate", "root"])
async def test_a_refusal_is_on_record_and_opens_nothing(floor: Floor, tier: str) -> None:
    with pytest.raises(Exception, match="tier"):
        await floor.live.open(replace(WISH, tier=tier))
    (record,) = await floor.premises.records()
    assert (record.kind, record.verdict, record.session, record.principal) == ("refusal", "deny", "s_1", "oli")
    assert not floor.live.open_sessions


async def test_a_frozen_host_opens_nothing(floor: Floor) -> None:
    floor.freeze = Freeze("odd")
    with pytest.raises(DeniedError, match="odd"):
        await floor.live.open(WISH)
    floor.freeze = None
    floor.premises.allow(CEILING + "frozen: true\n")
    with pytest.raises(DeniedError, match="owner"):
        await floor.live.open(WISH)


async def test_a_freeze_that_comes_while_one_opens_ends_it(floor: Floor) -> None:
    opening = asyncio.ensure_future(floor.live.open(WISH))
    await asyncio.sleep(0)
    floor.freeze = Freeze("odd")
    with pytest.raises(DeniedError, match="odd"):
        await opening
    assert not floor.live.open_sessions
    assert await floor.kinds() == ["session.open", "session.close"]


async def test_a_close_that_comes_while_one_opens_ends_it(floor: Floor) -> None:
    """The grant that it stands on may have been revoked in that moment, and nobody asks again."""
    opening = asyncio.ensure_future(floor.live.open(WISH))
    await asyncio.sleep(0)
    await floor.live.close("s_1", "its grant is over")
    with pytest.raises(ConflictError, match="its grant is over"):
        await opening
    assert not floor.live.open_sessions
    assert await floor.kinds() == ["session.open", "session.close"]


async def test_sessions_and_their_acts_are_bounded(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MAX_SESSIONS", 2)
    monkeypatch.setattr(live, "MAX_ACTS", 2)
    for number in (1, 2):
        await floor.live.open(replace(WISH, session=f"s_{number}"))
    with pytest.raises(RateError):
        await floor.live.open(replace(WISH, session="s_3"))
    pipes = [floor.pipe("wait") for _ in range(3)]
    with pytest.raises(ConflictError, match="rate_limited"):
        await pipes[2].read()
    assert [pipe.is_open for pipe in pipes] == [True, True, False]


async def test_one_person_does_not_take_all_sessions(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who opens as many as there may be would keep everybody else from the host, whoever must look at it."""
    monkeypatch.setattr(live, "MAX_SESSIONS", 4)
    monkeypatch.setattr(live, "MAX_SESSIONS_OF_ONE", 2)
    at_once = [floor.live.open(replace(WISH, session=f"s_{number}")) for number in range(4)]
    opened = await asyncio.gather(*at_once, return_exceptions=True)
    assert [isinstance(each, RateError) for each in opened] == [False, False, True, True]
    assert "2 sessions of oli are open" in str(opened[3])
    await floor.live.open(replace(WISH, session="s_8", principal="ana"))
    await floor.live.close("s_0", "done")
    await floor.live.open(replace(WISH, session="s_9"))


# consent -------------------------------------------------------------------------------------------------------------


async def asked_to_open(floor: Floor, **changes: Any) -> tuple[asyncio.Future[LiveSession], Question]:
    floor.premises.allow(CEILING.replace("{longest", "{consent: ask, longest"))
    opening = asyncio.ensure_future(floor.live.open(replace(WISH, **changes)))
    await until(lambda: floor.consents.pending or opening.done())
    assert not floor.live.open_sessions
    return opening, floor.consents.pending[0]


async def test_the_owner_is_asked_before_a_session_opens(floor: Floor) -> None:
    opening, question = await asked_to_open(floor)
    assert question.text == "oli wants to open a session (files, tier inspect): T-1"
    floor.consents.answer(question.id, granted=True, by="root", channel=OWNER)
    assert (await opening).id == "s_1"
    record = (await floor.premises.records("session.open"))[0]
    assert record.data["consented"] == "root (on the host)"


async def test_a_no_opens_nothing_and_is_on_record(floor: Floor) -> None:
    opening, question = await asked_to_open(floor)
    floor.consents.answer(question.id, granted=False, by="root", channel=OWNER)
    with pytest.raises(DeniedError, match="said no"):
        await opening
    refusal = (await floor.premises.records("refusal"))[-1]
    assert (refusal.session, refusal.rule) == ("s_1", "ceiling.yaml: sessions.consent")
    assert not floor.live.open_sessions


async def test_an_order_that_the_owner_said_no_to_is_not_good_after_the_next_start(floor: Floor) -> None:
    """He was asked once. Who has the order has the agent begin anew, and asks him again when he expects something."""
    signed = order(floor.premises.world, nonce="asked once")
    opening, question = await asked_to_open(floor, order=signed)
    floor.consents.answer(question.id, granted=False, by="root", channel=OWNER)
    with pytest.raises(DeniedError, match="said no"):
        await opening
    await floor.premises.recorder.commit([])
    floor.open()  # a new process knows what is on disk
    with pytest.raises(TrustError, match="used already"):
        await floor.live.open(replace(WISH, order=signed, session="s_2"))


async def test_an_opening_that_is_cancelled_while_the_owner_is_asked_used_its_order_up(floor: Floor) -> None:
    signed = order(floor.premises.world, nonce="asked once")
    opening, _ = await asked_to_open(floor, order=signed)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await floor.premises.recorder.commit([])
    floor.open()
    with pytest.raises(TrustError, match="used already"):
        await floor.live.open(replace(WISH, order=signed, session="s_2"))


async def test_an_order_is_as_good_as_before_if_the_beginning_left_no_trace(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed = order(floor.premises.world, nonce="the disk was full")

    def refuse(*_: Any, **__: Any) -> Any:
        raise UnavailableError("the spool cannot be written")

    monkeypatch.setattr(floor.premises.recorder, "begin", refuse)
    with pytest.raises(UnavailableError):
        await floor.live.open(replace(WISH, order=signed))
    monkeypatch.undo()
    await floor.live.open(replace(WISH, order=signed))


async def test_what_was_true_when_it_was_asked_must_be_true_when_it_opens(floor: Floor) -> None:
    """An order that ran out, a freeze, or a lower ceiling while the owner thought: his yes is about none of them."""
    expires = stamp(floor.premises.now() + timedelta(seconds=30))
    for number, (spoil, words) in enumerate((
        (lambda: setattr(floor, "freeze", Freeze("odd")), "frozen"),
        (lambda: floor.premises.allow("highest_tier: observe\naccept_server_word: [session]\n"), "above|ceiling"),
        (lambda: floor.premises.clock.set(floor.premises.now() + timedelta(seconds=31)), "order is good"),
    )):  # fmt: skip
        signed = order(floor.premises.world, expires=expires, nonce=f"asked {number}")
        opening, question = await asked_to_open(floor, order=signed)
        spoil()
        floor.consents.answer(question.id, granted=True, by="root", channel=OWNER)
        with pytest.raises((DeniedError, TrustError), match=words):
            await opening
        floor.freeze = None
    assert not floor.live.open_sessions


async def test_a_session_that_waits_for_consent_can_be_given_up_and_is_asked_once(floor: Floor) -> None:
    opening, _ = await asked_to_open(floor)
    with pytest.raises(ConflictError):
        await floor.live.open(WISH)
    await floor.live.close("s_1", "not needed any more")
    with pytest.raises(DeniedError, match="withdrawn"):
        await opening
    opening, _ = await asked_to_open(floor, session="s_2")
    await floor.live.close_all("frozen")
    with pytest.raises(DeniedError, match="withdrawn"):
        await opening


async def test_an_owner_who_wants_to_be_told_is_told(floor: Floor) -> None:
    heard: list[Any] = []
    floor.consents.follow(heard.append)
    floor.premises.allow(CEILING.replace("{longest", "{consent: notify, longest"))
    await floor.live.open(WISH)
    assert [notice.text for notice in heard] == ["oli opened a session (files, tier inspect): T-1"]


async def test_a_call_that_the_ceiling_asks_about_asks_the_owner(floor: Floor) -> None:
    floor.premises.allow(CEILING + "ask: [{call: fs.stat}]\n")
    session = await floor.live.open(WISH)
    call = asyncio.ensure_future(session.call("fs.stat", {"path": "/etc"}))
    await until(lambda: floor.consents.pending)
    question = floor.consents.pending[0]
    assert "fs.stat /etc" in question.text
    floor.consents.answer(question.id, granted=True, by="root", channel=OWNER)
    assert (await call)["type"] == "directory"
    record = (await floor.premises.records("call"))[-1]
    assert record.rule.endswith("root (on the host) said yes")


async def test_a_denial_by_a_name_that_is_a_link_here_holds(floor: Floor, tmp_path: Path) -> None:
    """As of /var/run, which is /run: whoever goes there directly meets the denial as well."""
    (tmp_path / "real").mkdir()
    (tmp_path / "named").symlink_to("real")
    floor.premises.allow(f"{CEILING}deny: [{{call: fs.stat, paths: ['{tmp_path}/named/**']}}]\n")
    session = await floor.live.open(WISH)
    for name in ("named", "real"):
        with pytest.raises(DeniedError, match=r"ceiling.yaml:\d+ deny"):
            await session.call("fs.stat", {"path": f"{tmp_path}/{name}"})


# calls on pipes ------------------------------------------------------------------------------------------------------


async def test_a_plain_value_comes_as_one_message(floor: Floor) -> None:
    await floor.live.open(WISH)
    (message,) = await floor.messages(floor.pipe(call="fs.exists", arguments={"path": "/etc"}))
    assert message == ["value", True]


async def test_a_stream_comes_in_pieces_and_its_end_is_on_record(floor: Floor, tmp_path: Any) -> None:
    for number in range(3000):
        (tmp_path / f"f{number}").touch()
    await floor.live.open(WISH)
    messages = await floor.messages(floor.pipe(call="fs.walk", arguments={"root": str(tmp_path)}))
    names = {entry["path"] for word, items in messages[:-1] for entry in items if word == "items"}
    assert len(names) == 3000
    assert messages[-1][0] == "end"
    assert (await floor.kinds())[-2:] == ["call", "call.end"]


async def test_an_error_comes_as_a_message_with_its_code(floor: Floor) -> None:
    await floor.live.open(WISH)
    for call, arguments, code in (
        ("fs.list", {"path": "/no/such"}, "not_found"),
        ("fs.read", {"path": "/etc/shadow"}, "denied"),
        ("fs.list", {"path": "etc"}, "invalid_argument"),
        ("fs.open", {"path": "/etc/passwd"}, "invalid_argument"),
    ):
        ((word, error),) = await floor.messages(floor.pipe(call=call, arguments=arguments))
        assert (word, error["code"]) == ("error", code)
    assert floor.live.find("s_1").gate.holder.shut() == [], "what could not be given is closed"


@pytest.mark.parametrize(
    "header", [{"session": "s_2"}, {"act": "no"}, {"session": 7}, {"call": None, "arguments": {}}, {"call": "fs.stat"}]
)
async def test_a_pipe_that_means_nothing_is_given_up(floor: Floor, header: dict[str, Any]) -> None:
    await floor.live.open(WISH)
    pipe = floor.pipe(**header)

    def given_up() -> bool:
        floor.settle()
        return not pipe.is_open

    await until(given_up)


# ends ----------------------------------------------------------------------------------------------------------------


async def test_closing_ends_what_is_under_way(floor: Floor) -> None:
    await floor.live.open(WISH)
    pipe = floor.pipe("wait")
    watch = floor.pipe(call="fs.watch", arguments={"path": "/etc"})
    await asyncio.sleep(0)
    await floor.live.close("s_1", "enough")
    floor.settle()
    assert not pipe.is_open
    assert not watch.is_open
    assert (await floor.kinds())[-1] == "session.close"


@pytest.mark.parametrize(
    ("field", "after_s", "words"),
    [("ends_s", 0.0, "longest"), ("used_s", 600.0, "nobody did anything"), ("lonely_since_s", LINGER_S, "no link")],
)
async def test_time_ends_a_session(floor: Floor, field: str, after_s: float, words: str) -> None:
    session = await floor.live.open(WISH)
    watching = asyncio.ensure_future(floor.live.watch())
    await floor.premises.clock.settled()
    await floor.premises.clock.advance(live.LOOK_EVERY_S)
    assert floor.live.open_sessions == [session]
    setattr(session, field, session.opened_s - after_s)
    await floor.premises.clock.advance(live.LOOK_EVERY_S)
    assert floor.live.open_sessions == []
    watching.cancel()
    record = (await floor.premises.records())[-1]
    assert record.outcome == "killed"
    assert words in record.data["reason"]


async def test_what_a_host_sleeps_through_counts(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session for ten minutes that goes on in the morning is one of ten hours, which nobody gave."""
    session = await floor.live.open(WISH)
    watching = asyncio.ensure_future(floor.live.watch())
    await floor.premises.clock.settled()
    monkeypatch.setattr(live, "lived_s", lambda: lived_s() + session.opening.limits.wall_s)
    await floor.premises.clock.advance(live.LOOK_EVERY_S)
    assert floor.live.open_sessions == []
    watching.cancel()


@pytest.mark.parametrize("days", [-400, -1, 1, 400])
async def test_the_wall_clock_neither_ends_a_session_nor_makes_it_longer(floor: Floor, days: int) -> None:
    session = await floor.live.open(WISH)
    watching = asyncio.ensure_future(floor.live.watch())
    await floor.premises.clock.settled()
    floor.premises.clock.set(floor.premises.now() + timedelta(days=days))
    await floor.premises.clock.advance(live.LOOK_EVERY_S)
    assert floor.live.open_sessions == [session]
    session.ends_s = session.opened_s
    await floor.premises.clock.advance(live.LOOK_EVERY_S)
    assert floor.live.open_sessions == []
    watching.cancel()


async def test_a_link_that_comes_back_keeps_the_session(floor: Floor) -> None:
    session = await floor.live.open(WISH)
    floor.live.linked(is_linked=False)
    assert session.lonely_since_s is not None
    floor.live.linked(is_linked=True)
    assert session.lonely_since_s is None


async def test_a_session_that_opens_when_its_link_is_gone_waits_for_one_as_any_other(floor: Floor) -> None:
    """The owner thought about it longer than the link lasted."""
    floor.live.linked(is_linked=False)
    session = await floor.live.open(WISH)
    assert session.lonely_since_s == session.opened_s
    floor.live.linked(is_linked=True)
    assert session.lonely_since_s is None


async def test_an_agent_that_stops_closes_all_and_opens_none(floor: Floor) -> None:
    await floor.live.open(WISH)
    await floor.live.shut()
    assert (await floor.kinds())[-1] == "session.close"
    with pytest.raises(UnavailableError):
        await floor.live.open(replace(WISH, session="s_2"))


async def test_what_a_killed_agent_left_open_gets_its_end(floor: Floor) -> None:
    await floor.live.open(WISH)
    await floor.premises.recorder.commit([])
    (left,) = floor.premises.spool.open_runs()
    record = lost_record(left.run, decode(left.about))
    assert (record["session"], record["outcome"], record["principal"]) == ("s_1", "lost", "oli")
    assert record["data"]["kind"] == "files"


async def test_an_end_goes_on_when_whoever_asked_for_it_is_gone(floor: Floor) -> None:
    """A link that is lost in the middle must not leave what the session held, nor a session without an end."""
    await floor.live.open(WISH)
    asking = asyncio.ensure_future(floor.live.close("s_1", "done"))
    while floor.live.open_sessions:
        await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await until(lambda: not floor.live._endings)
    assert (await floor.kinds())[-1] == "session.close"


async def test_who_is_in_it_is_told_once_before_it_ends(floor: Floor) -> None:
    session = await floor.live.open(WISH)
    told: list[str] = []
    session.warn = told.append
    now_s = session.opened_s
    live._warn(session, now_s + 539.0)
    assert told == []
    live._warn(session, now_s + 545.0)
    live._warn(session, now_s + 550.0)
    assert told == ["this session ends in 55 s: unless somebody types"]
    session.used_s = now_s + 551.0  # somebody did
    live._warn(session, now_s + 552.0)
    session.used_s = now_s + 3500.0
    live._warn(session, now_s + 3550.0)
    assert told[1:] == ["this session ends in 50 s: its longest time is over then"]
