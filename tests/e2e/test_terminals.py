"""Terminals over the whole way: server, link, agent, gate, shell and back, recorded; and what is refused."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import pytest
from seated import SHELL, ended, new_session, recorded, recorded_output, recordings, seated, token_of
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from fleet import Fleet
from server.sessions.recording import listed


async def test_a_shell_from_its_first_prompt_to_its_exit_status(host: Fleet) -> None:
    session = new_session(host)
    async with seated(host, session, size=(100, 30)) as me:
        hello = await me.hears("hello")
        assert (hello["owner"], hello["host"], hello["you"]["role"]) == ("admin", "host-1", "owner")
        assert hello["ends"]
        assert hello["idle_s"] == 1800
        assert hello["opened"] or await me.hears("link", up=True), "who comes is told when the host has opened it"
        await me.type("stty size; echo [$TERM] [$LANG] [$HOME] [$OUTRIDER_SESSION] $0; printf 'ä\\377\\n'\r")
        await me.sees(
            rf"30 100\r\n\[xterm-256color\] \[C\.UTF-8\] \[{os.path.expanduser('~')}\] \[{session}\] -\w+\r\n"
        )
        await me.sees(r"\xc3\xa4\xff")
        await me.type("exit 7\r")
        exit = await me.hears("exit")
        assert (exit["code"], exit["signal"]) == (7, None)
    assert (await ended(host, session))["status"] == "ended"
    events = recorded(host, session)
    assert events[0].word == "begin"
    assert events[-1].word == "exit"
    assert b"\xc3\xa4\xff" in recorded_output(host, session)
    assert all(segment.is_sealed for segment in listed(recordings(host) / session))


async def test_the_host_holds_digests_of_what_was_printed(host: Fleet) -> None:
    """Whoever alters a recording would have to alter a chain that the host has signed."""
    session = new_session(host)
    async with seated(host, session, argv=["/bin/sh", "-c", "seq 1 800000; echo done"]) as me:
        await me.hears("exit")
    await ended(host, session)
    output = recorded_output(host, session)
    records = [each for each in host.records("host-1", kind="event") if each["session"] == session]
    digests = [each["data"] for each in records if each["data"]["event"] == "terminal.output"]
    assert len(digests) > 1
    at = 0
    for each in digests:
        assert each["offset"] == at
        at += each["bytes"]
        assert hashlib.sha256(output[each["offset"] : at]).hexdigest() == each["sha256"]
    assert at == len(output)


async def test_opening_is_a_call_through_the_gate(host: Fleet) -> None:
    session = new_session(host)
    async with seated(host, session, argv=["/bin/true"]) as me:
        await me.hears("exit", code=0)
    await ended(host, session)
    calls = [each for each in host.records("host-1") if each["session"] == session]
    kinds = [(each["kind"], each["call"]) for each in calls if each["kind"] != "event"]
    assert kinds == [
        ("session.open", ""), ("intent", "tty.login"), ("call", "tty.login"), ("call.end", "tty.login"),
        ("session.close", ""),
    ]  # fmt: skip
    assert calls[1]["arguments"]["argv"] == ["/bin/true"]


@pytest.mark.parametrize(
    ("grant", "opens", "code"),
    [
        ({"allow": [{"call": "fs.*"}]}, SHELL, "denied"),
        ({"allow": [{"call": "tty.login", "commands": ["top"]}]}, SHELL, "denied"),
        ({}, {"user": "nobody-here"}, "not_found"),
        ({}, {"argv": ["/no/such"]}, "not_found"),
        ({}, {"argv": ["bin/sh"]}, "invalid_argument"),
        ({}, {"term": "../etc"}, "invalid_argument"),
        ({}, {"lang": "a b"}, "invalid_argument"),
    ],
)
async def test_what_the_host_refuses_is_said_and_closes_the_session(
    host: Fleet, grant: dict[str, Any], opens: dict[str, Any], code: str
) -> None:
    session = new_session(host, grant=grant)
    async with seated(host, session, **opens) as me:
        assert not (await me.hears("hello"))["opened"]
        exit = await me.hears("exit")
        assert exit["error"]["code"] == code
        assert not any(message["type"] == "link" and message["up"] for message in me.told)
    assert (await ended(host, session))["status"] == "ended"


async def test_a_session_of_another_kind_has_no_terminal(host: Fleet) -> None:
    session = new_session(host, kind="files", grant={})
    async with seated(host, session, **SHELL) as me:
        assert (await me.hears("error"))["code"] == "conflict"


async def test_without_a_token_there_is_no_terminal_and_none_is_in_the_address(host: Fleet) -> None:
    session = new_session(host)
    url = f"ws://127.0.0.1:{host.port}/api/v1/sessions/{session}/attach"
    wrong: list[dict[str, Any]] = [
        {}, {"additional_headers": {"Authorization": "Bearer ort_wrong"}},
        {"subprotocols": ["outrider.token.ort_wrong"]}, {"additional_headers": {"Authorization": "Basic eDp5"}},
    ]  # fmt: skip
    for how in wrong:
        with pytest.raises(InvalidStatus) as caught:
            async with connect(url, proxy=None, **how):
                pass
        assert caught.value.response.status_code == 401
    with pytest.raises(InvalidStatus):
        async with connect(f"{url}?token={token_of(host)}", proxy=None):
            pass
    words: Any = ["outrider.terminal.v1", f"outrider.token.{token_of(host)}"]
    async with connect(url, proxy=None, subprotocols=words) as socket:
        assert socket.subprotocol == "outrider.terminal.v1", "the token is not said back"


async def test_bad_messages_are_refused_one_by_one(host: Fleet) -> None:
    session = new_session(host)
    async with seated(host, session, **SHELL) as me:
        await me.sees("[#$] ")
        for text in ("{", "[]", '{"type":"shell"}', '{"type":"resize","size":[0,5]}', '{"type":"seen","offset":-1}',
                     '{"type":"resize","size":[10001,5]}', '{"type":"signal","name":"STOP"}',
                     '{"type":"end","more":1}'):  # fmt: skip
            me.told.clear()
            await me.socket.send(text)
            assert (await me.hears("refused"))["code"] == "invalid_argument", text
        await me.type("echo still-$((1+1))\r")
        await me.sees("still-2")
        await me.socket.send('{"type":"say","text":"' + "x" * 100_000 + '"}')
        await me.hears("error", code="too_large")
