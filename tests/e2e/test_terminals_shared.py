"""Terminals with several people: who may watch, type, hand over, pause and end, and what of that is on record."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from seated import SHELL, Seated, ended, new_session, recorded, recorded_output, seated, token

from fleet import Fleet, expect, is_kept
from protocol.terminal import INPUT_WINDOW_BYTES
from server.sessions.viewers import MAX_VIEWERS_OF_ONE


async def refused(me: Seated) -> str:
    return str((await me.hears("error"))["code"])


@pytest.mark.parametrize(
    ("role", "attempt"),
    [
        ("viewer", "observer"), ("author", "observer"), ("reviewer", "observer"), ("auditor", "peer"),
        ("auditor", "moderator"), ("support", "moderator"), ("support", "owner"), ("moderator", "peer"),
    ],
)  # fmt: skip
async def test_roles_say_as_what_somebody_may_come(host: Fleet, role: str, attempt: str) -> None:
    session = new_session(host)
    async with seated(host, session, **SHELL) as me:
        await me.sees("[#$] ")
        async with seated(host, session, attempt, token=token(host, "tom", role)) as tom:
            assert await refused(tom) == "denied"


async def test_others_watch_join_and_hand_over_the_keyboard_on_record(host: Fleet) -> None:
    session = new_session(host)
    async with seated(host, session, **SHELL) as me:
        await me.type("echo first-$((1+1))\r")
        await me.sees("first-2")
        async with (
            seated(host, session, "observer", token=token(host, "olga", "auditor")) as olga,
            seated(host, session, "peer", token=token(host, "tom", "support")) as tom,
        ):
            await olga.sees("first-2")
            await me.hears("people", what="joined", who="olga", role="observer")
            await me.hears("people", what="joined", who="tom", role="peer")
            await olga.type("echo olga\r")
            assert (await olga.hears("refused"))["code"] == "denied"
            await tom.type("echo tom\r")
            assert "admin has the keyboard" in (await tom.hears("refused"))["message"]
            await tom.say(type="keyboard", action="ask")
            await me.hears("people", what="asked", who="tom")
            await me.say(type="keyboard", action="give", to="tom")
            await tom.hears("people", what="keyboard", who="tom")
            await tom.type("echo from-$((1+1))-tom\r")
            await me.sees("from-2-tom")
            await olga.sees("from-2-tom")
            await me.type("x")
            await me.hears("refused")
        mine = (await me.hears("hello"))["you"]["id"]
        await me.hears("people", what="left", who="tom", keyboard=mine)  # told once, unlike that it is mine
        await me.type("exit\r")
        await me.hears("exit", code=0)
    await ended(host, session)
    presence = [event.values[0] for event in recorded(host, session) if event.word == "presence"]
    assert {(each["what"], each["who"]) for each in presence} >= {
        ("joined", "admin"), ("joined", "olga"), ("joined", "tom"), ("asked", "tom"), ("keyboard", "tom"),
        ("left", "tom"), ("keyboard", "admin"),
    }  # fmt: skip
    assert b"echo olga" not in recorded_output(host, session)
    host.wait_for("the records", lambda: sum(each["call"] == "session.leave" for each in host.records("server")) >= 3)
    typists = [
        each["data"]["by"] for each in host.records("host-1")
        if each["session"] == session and each["data"].get("event") == "terminal.keyboard"
    ]  # fmt: skip
    assert typists == ["admin", "tom", "admin"]


async def test_who_types_in_somebody_elses_terminal_needs_access_of_their_own(host: Fleet) -> None:
    """Else a role without any grant for the host would have its shell as soon as the owner leaves it alone."""
    session = new_session(host)
    defaults = "default-support"
    async with seated(host, session, **SHELL) as me:
        await me.sees("[#$] ")
        async with seated(host, session, "peer", token=token(host, "tom", "support")) as tom:
            await me.hears("people", what="joined", who="tom")
            expect(host.api.delete(f"/api/v1/access/{defaults}"), 200)
            assert (await tom.hears("error"))["code"] == "denied"
        async with seated(host, session, "peer", token=token(host, "tom", "support")) as tom:
            told = await tom.hears("error")
            assert (told["code"], "outrider request create" in told["message"]) == ("denied", True)
        async with seated(host, session, "moderator", token=token(host, "mo", "moderator")) as mo:
            await mo.say(type="keyboard", action="take")
            assert (await mo.hears("refused"))["code"] == "denied"
        body = {"who": "tom", "kinds": ["terminal"], "tier": "admin", "target": "host-1", "users": ["nobody"]}
        expect(host.api.post("/api/v1/access", json=body), 201)
        async with seated(host, session, "peer", token=token(host, "tom", "support")) as tom:
            assert "nobody" in (await tom.hears("error"))["message"]
    body = {"who": "role:support", "kinds": ["terminal", "command", "files", "forward"], "tier": "admin", "target": "*"}
    expect(host.api.post("/api/v1/access", json=body), 201)  # as it was for the tests after this one


async def test_a_token_that_is_revoked_ends_what_goes_on_by_it(host: Fleet) -> None:
    session = new_session(host)
    async with seated(host, session, **SHELL) as me:
        await me.sees("[#$] ")
        made = expect(host.api.post("/api/v1/tokens", json={"principal": "olga", "roles": ["auditor"]}), 201)
        async with seated(host, session, "observer", token=made["token"]) as olga:
            await olga.sees("[#$] ")
            assert host.api.delete(f"/api/v1/tokens/{made['id']}").status_code == 204
            assert (await olga.hears("error"))["code"] == "unauthenticated"


async def test_a_token_or_grant_that_runs_out_sends_its_viewer_away_at_that_moment(host: Fleet) -> None:
    late_s: list[float] = []
    while not is_kept(late_s, 1.0):
        late_s.append(await _sent_away_late_s(host))


async def _sent_away_late_s(host: Fleet) -> float:
    session = new_session(host)
    ends_s = 6
    scope = {"kinds": ["terminal"], "tier": "admin", "target": "host-1", "ttl_s": ends_s}
    async with seated(host, session, **SHELL) as me:
        await me.sees("[#$] ")
        expect(host.api.post("/api/v1/access", json=scope | {"who": "@brief"}), 201)
        brief = {"principal": "olga", "roles": ["auditor"], "ttl_s": ends_s}
        olgas = expect(host.api.post("/api/v1/tokens", json=brief), 201)
        toms = expect(host.api.post("/api/v1/tokens", json={"principal": "tom", "roles": ["moderator", "@brief"]}), 201)
        began = time.monotonic()
        async with (
            seated(host, session, "observer", token=olgas["token"]) as olga,
            seated(host, session, "moderator", token=toms["token"]) as tom,
        ):
            await me.hears("people", what="joined", who="tom")
            assert (await olga.hears("error"))["code"] == "unauthenticated"
            assert (await tom.hears("error"))["code"] == "denied"
            return time.monotonic() - began - ends_s


async def test_a_moderator_pauses_and_ends(host: Fleet) -> None:
    session = new_session(host)
    async with seated(host, session, **SHELL) as me:
        await me.sees("[#$] ")
        async with seated(host, session, "moderator", token=token(host, "mo", "moderator")) as mo:
            await mo.say(type="pause")
            await me.hears("people", what="paused", who="mo")
            await me.type("echo never\r")
            assert "paused by mo" in (await me.hears("refused"))["message"]
            await mo.say(type="end", reason="enough")
            await me.hears("exit")
            assert not [told for told in me.told if told["type"] == "link" and not told["up"]]  # nothing was lost
    closed = await ended(host, session)
    assert "ended by mo: enough" in closed["reason"]
    assert b"never" not in recorded_output(host, session)


async def test_a_paste_stops_where_it_is_while_it_is_paused_and_goes_on_whole(host: Fleet, tmp_path: Path) -> None:
    """More than the kernel and the agent hold together, so that some of it waits in each of the three places."""
    os.mkfifo(tmp_path / "go")
    reads = f"stty -echo; echo ready; read -r go <{tmp_path}/go; n=0; while read -r l; do n=$((n+1)); echo got-$n; done"
    session = new_session(host)
    async with seated(host, session, argv=["/bin/sh", "-c", reads]) as me:
        await me.sees("ready")
        async with seated(host, session, "moderator", token=token(host, "mo", "moderator")) as mo:
            for _ in range(6):
                await me.type((b"x" * 15 + b"\r") * 1024)

            def taken() -> bool:
                return any(each["type"] == "taken" and each["bytes"] >= 64 << 10 for each in me.told)

            await me.until(taken, "most of it to be taken")
            await mo.say(type="pause")
            await me.hears("people", what="paused")
            with open(tmp_path / "go", "w", encoding="ascii") as go:
                go.write("go\n")
            await me.sees("got-512\r\n")
            for number in range(5):
                await mo.say(type="say", text=f"still here {number}")
                await me.hears("notice", text=f"mo: still here {number}")
            assert b"got-3000" not in me.data
            await mo.say(type="resume")
            await me.sees("got-6144\r\n")


async def test_what_is_refused_while_it_is_paused_takes_nobodys_keyboard(host: Fleet) -> None:
    """More than may be under way at once: it must count as taken, or a client would type nothing ever again."""
    session = new_session(host)
    async with seated(host, session, **SHELL) as me:
        await me.sees("[#$] ")
        async with seated(host, session, "moderator", token=token(host, "mo", "moderator")) as mo:
            await mo.say(type="pause")
            await me.hears("people", what="paused")
            for _ in range(2 * INPUT_WINDOW_BYTES // 4096):
                await me.type(b"x" * 4096)
            await me.hears("taken", bytes=2 * INPUT_WINDOW_BYTES)
            await mo.say(type="resume")
            await me.hears("people", what="resumed")
            await me.type("echo on-$((1+1))\r")
            await me.sees("on-2")
        await me.type("exit\r")
        await me.hears("exit")
    assert b"xx" not in recorded_output(host, session)


async def test_a_pause_lets_who_has_the_keyboard_interrupt(host: Fleet) -> None:
    """A pause holds what is typed and not what runs: that must not go on only because nobody may stop it."""
    session = new_session(host)
    trap = "trap 'echo caught' INT; echo ready; while :; do read -r _ && break; done"
    async with seated(host, session, argv=["/bin/sh", "-c", trap]) as me:
        await me.sees("ready")
        async with seated(host, session, "moderator", token=token(host, "mo", "moderator")) as mo:
            await mo.say(type="pause")
            await me.hears("people", what="paused", who="mo")
            for name in ("TERM", "KILL", "HUP"):
                me.told.clear()
                await me.say(type="signal", name=name)
                assert "paused by mo" in (await me.hears("refused"))["message"]
            await me.say(type="signal", name="INT")
            await me.sees("caught")
            await mo.say(type="signal", name="INT")
            assert (await mo.hears("refused"))["code"] == "denied", "who has the keyboard, and nobody else"


async def test_nobody_moderates_a_session_of_their_own(host: Fleet) -> None:
    """Roles add up in one token: an admin's pause would be lifted by the one whom it stopped."""
    session = new_session(host)
    async with seated(host, session, **SHELL) as me:
        await me.sees("[#$] ")
        async with seated(host, session, "moderator") as again:
            told = await again.hears("error")
            assert (told["code"], told["message"]) == ("denied", "nobody moderates a session of their own")


async def test_who_talks_without_end_drives_nobody_out(host: Fleet) -> None:
    """An observer may say something to all. Said 5,000 times, it was more than those who watch were told in time."""
    session = new_session(host)
    auditor = token(host, "olga", "auditor")
    async with seated(host, session, **SHELL) as me:
        await me.sees("[#$] ")
        async with seated(host, session, "observer", token=auditor) as olga:
            for number in range(5_000):
                await olga.say(type="say" if number % 2 else "mark", text="x" * 1000)
            await olga.hears("refused", code="rate_limited")
            async with seated(host, session, "observer", token=auditor) as again:
                # Whoever comes again begins with what is left, which may be one.
                await again.until(lambda: again.told, "a greeting, or a refusal")
        await me.type("echo still-$((1+1))\r")
        await me.sees("still-2")
        said = [each for each in me.told if each["type"] in ("notice", "marker")]
        assert 1 <= len(said) < 200, "what two a second came to on a slow machine, whoever comes again"
    kept = [event for event in recorded(host, session) if event.word in ("notice", "marker")]
    assert len(kept) < 200


async def test_so_is_what_is_opened_beside_a_terminal(host: Fleet) -> None:
    """All who watch are told of each, and could be driven out by it."""
    session = new_session(host)
    body = {"agent": "host-1", "kind": "files", "tier": "inspect", "reason": "T-7", "beside": session}
    async with seated(host, session, **SHELL) as me:
        await me.sees("[#$] ")
        for _ in range(200):
            answer = await asyncio.to_thread(host.api.post, "/api/v1/sessions", json=body)
            if answer.status_code != 201:
                break
            await asyncio.to_thread(host.api.post, f"/api/v1/sessions/{answer.json()['id']}/close", json={})
        assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")


async def test_one_person_is_there_only_so_often(host: Fleet) -> None:
    session = new_session(host)
    auditor = token(host, "olga", "auditor")
    async with seated(host, session, **SHELL) as me, AsyncExitStack() as there:
        await me.sees("[#$] ")
        for _ in range(MAX_VIEWERS_OF_ONE):
            olga = await there.enter_async_context(seated(host, session, "observer", token=auditor))
            await olga.hears("hello")
        async with seated(host, session, "observer", token=auditor) as more:
            told = await more.hears("error")
            assert (told["code"], "olga is here 8 times" in told["message"]) == ("rate_limited", True)
        async with seated(host, session, "observer", token=token(host, "omar", "auditor")) as omar:
            await omar.hears("hello")
        joins = [each for each in host.records("server") if each["call"] == "session.join"]
        assert sum(each["arguments"]["session"] == session for each in joins) == MAX_VIEWERS_OF_ONE + 2


async def test_the_size_is_that_of_the_window_of_who_has_the_keyboard(host: Fleet) -> None:
    session = new_session(host)
    async with seated(host, session, size=(80, 24), **SHELL) as me:
        await me.sees("[#$] ")
        async with seated(host, session, "peer", size=(100, 30), token=token(host, "tim", "support")) as tim:
            await tim.hears("hello", size=[80, 24])
            await tim.resize(101, 31)
            await me.say(type="keyboard", action="give", to="tim")
            await tim.hears("size", size=[101, 31])
            await tim.type("stty size\r")
            await me.sees(r"31 101\r\n")
        await me.hears("size", size=[80, 24])
        await me.type("stty size\r")
        await me.sees(r"24 80\r\n")


async def test_of_many_sizes_the_last_counts_and_nobody_is_told_of_all(host: Fleet) -> None:
    """Each is told to all who watch: whoever has the keyboard could drive them out, and do what nobody sees."""
    session = new_session(host)
    async with seated(host, session, **SHELL) as me:
        await me.sees("[#$] ")
        async with seated(host, session, "observer", token=token(host, "olga", "auditor")) as olga:
            await olga.hears("hello")
            for cols in range(1, 3_001):
                await me.say(type="resize", size=[cols, 40])
            await me.say(type="resize", size=[123, 45])
            await olga.hears("size", size=[123, 45])
            assert len([each for each in olga.told if each["type"] == "size"]) < 1_000
            await me.type("stty size\r")
            await olga.sees(r"45 123\r\n")
