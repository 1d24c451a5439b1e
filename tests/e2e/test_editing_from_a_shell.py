"""``edit FILE`` in a shell on a host, and the editor of the person who types there."""

from __future__ import annotations

import hashlib
import json
import re
import socket
from contextlib import suppress
from pathlib import Path

import pytest
from at_keyboard import Keyboard
from seated import new_session, seated
from shell import Shell

from agent.wishes import name_of
from fleet import Fleet, expect

#: What terminals and their programs have obeyed, and what would be our own if anything printed could be.
HOSTILE = (
    b"\x1b]1337;File=name=L2V0Yy9wYXNzd2Q=;inline=1:AAAA\x07\x1b]52;c;ZWRpdA==\x07\x1b]7777;outrider;edit;/etc/passwd\x07"
    b"\x1bPoutrider;edit;/etc/passwd\x1b\\\x1b_outrider edit /etc/passwd\x1b\\\x1b^edit\x1b\\"
    b'{"do": "edit", "path": "/etc/passwd"}\r\n'
    b'{"type": "client", "action": "edit", "path": "/etc/passwd", "number": 1}\r\n'
    b'["event", 1, {"what": "client", "action": "edit", "path": "/etc/passwd", "number": 1}]\r\n~e\r~e\r\n~e'
    b"\x1b[5n\x1b[c\x1b[>c\x1b[6n\x1b[21t\x1b]0;~e\x07"
)


@pytest.fixture
def me(host: Fleet, tmp_path: Path) -> Shell:
    made = Shell(tmp_path, host)
    made.environment["EDITOR"] = "sed -i s/before/after/"
    return made


def shell(me: Shell) -> Keyboard:
    typing = Keyboard(me, "tty", "host-1", "--reason", "T-1", "--", "/bin/sh")
    typing.sees("[#$] ")
    return typing


def test_a_file_is_opened_here_saved_there_and_the_shell_goes_on(me: Shell, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("before\n")
    typing = shell(me)
    typing.type(f"cd {tmp_path}; outrider-edit config; echo status-$?\r")
    typing.sees(rf"host-1 asks to open {re.escape(str(path))} in your editor: ~e opens it, ~n does not")
    typing.type("~e")
    typing.sees(r"-before")
    typing.sees(r"\+after")
    typing.sees(r"Save this\?")
    typing.type("y\r")
    typing.sees("saved; undo: outrider file undo host-1")
    typing.sees("status-0")
    assert path.read_text() == "after\n"
    typing.type("echo typed-$((1+1))\r")
    typing.sees("typed-2")
    typing.type("exit\r")
    assert typing.ends() == 0
    (session,) = [each for each in me("session", "ls", "--json", "--limit", "9").data if each["kind"] == "terminal"]

    def played() -> str | None:  # who saved is told at once; that it was called is on record a moment later
        out = me("session", "play", session["id"], "--format", "text").out
        return out if re.search("^[0-9:]+  > fs.patch ", out, re.MULTILINE) else None

    text = me.fleet.wait_for("the save on record", played)
    assert f"* the host proposed to edit {path}" in text
    files = [each for each in me("session", "ls", "--json", "--limit", "9").data if each["kind"] == "files"]
    assert {each["principal"] for each in files} == {"admin"}, "decided on and on record as the person's own"
    for each in files:
        assert f"* admin opened session {each['id']} (files, {each['tier']}) from here" in text
    was = hashlib.sha256(b"before\n").hexdigest()
    opened = text[text.index("(files, admin) from here") :]
    assert f"> fs.read_stream path={path} allow ok" in opened, "which file was opened"
    saved = text[text.index("(files, operate) from here") :]
    assert re.search(rf"> fs\.patch path={re.escape(str(path))} diff=.* if_hash={was} allow ok", saved), (
        "and saved, over what"
    )
    (operate,) = [each["id"] for each in files if each["tier"] == "operate"]
    alone = me("session", "play", operate)
    assert (alone.status, alone.err, alone.out.count("\n")) == (0, "", 1)
    assert f"if_hash={was} allow ok" in alone.out
    (item,) = [json.loads(line) for line in me("session", "play", operate, "--format", "json").out.splitlines()]
    assert (item["kind"], item["about"]["call"], item["about"]["session"]) == ("call", "fs.patch", operate)


def test_no_session_is_put_on_the_timeline_of_a_terminal_of_somebody_else(
    host: Fleet, me: Shell, tmp_path: Path
) -> None:
    path = tmp_path / "config"
    path.write_text("before\n")
    typing = shell(me)
    (session,) = [
        each
        for each in me("session", "ls", "--json", "--limit", "1").data
        if (each["kind"], each["status"]) == ("terminal", "open")
    ]
    other = Shell(tmp_path, host)
    told = {"principal": "oli", "roles": ["support"], "ttl_s": 600}
    other.environment["OUTRIDER_TOKEN"] = expect(host.api.post("/api/v1/tokens", json=told), 201)["token"]
    refused = other("file", "edit", "--yes", "--beside", session["id"], "--reason", "T-1", f"host-1:{path}")
    assert refused.status == 2, refused.err
    assert "you are in no terminal" in refused.err
    typing.type("exit\r")
    typing.ends()
    assert "opened session" not in me("session", "play", session["id"], "--format", "text").out
    over = me("file", "edit", "--yes", "--beside", session["id"], "--reason", "T-1", f"host-1:{path}")
    assert over.status == 0, "one that is over is no reason not to edit"
    never = me("file", "edit", "--yes", "--beside", "s_never", "--reason", "T-1", f"host-1:{path}")
    assert never.status != 0
    assert "there is no session 's_never'" in never.err


def test_declined_or_withdrawn_nothing_is_opened(me: Shell, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("before\n")
    typing = shell(me)
    typing.type("~e")
    typing.sees(r"nothing is asked")
    typing.type(f"$OUTRIDER_EDIT {path}; echo status-$?\r")
    typing.sees("~n does not")
    typing.sees("waiting for who types here")
    typing.type("~n")
    typing.sees("outrider-edit: declined")
    typing.sees("status-1")
    typing.type(f"sleep 1; $OUTRIDER_EDIT {path}; echo status-$?\r")
    typing.sees("~n does not")
    typing.sees("waiting for who types here")
    typing.type("\x03")
    typing.sees("it is not asked any more")
    typing.type("\r~e")
    typing.sees("nothing is asked")
    typing.type("\rexit\r")
    typing.ends()
    assert path.read_text() == "before\n"


async def test_nothing_that_is_printed_asks_for_anything(host: Fleet, tmp_path: Path) -> None:
    evil = tmp_path / "evil"
    evil.write_bytes(HOSTILE)
    session = new_session(host)
    async with seated(host, session, argv=["/bin/sh"]) as one:
        await one.sees("[#$] ")
        await one.type(f"cat {evil}; echo over-$((1+1))\r")
        await one.sees("over-2")
        assert all(part in one.shown for part in HOSTILE.split(b"\r\n")), "it was shown as it is"
        assert not [told for told in one.told if told["type"] == "client"]
        await one.type("exit\r")
        await one.hears("exit")


def test_what_is_printed_opens_no_editor_of_who_watches(me: Shell, tmp_path: Path) -> None:
    """The client itself: whatever comes as output is shown, and nothing of it is obeyed."""
    (tmp_path / "evil").write_bytes(HOSTILE)
    me.environment["EDITOR"] = f"touch {tmp_path}/opened"
    typing = shell(me)
    typing.type(f"cat {tmp_path}/evil; echo over-$((1+1))\r")
    typing.sees("over-2")
    typing.type("~e")
    typing.sees("nothing is asked")
    typing.type("\rexit\r")
    typing.ends()
    assert not (tmp_path / "opened").exists()


async def test_somebody_else_on_the_host_cannot_ask(host: Fleet) -> None:
    """Root itself, from outside of the session: the session's people hear of it no word."""
    session = new_session(host)
    async with seated(host, session, argv=["/bin/sh"]) as one:
        await one.sees("[#$] ")
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.settimeout(30)
            stranger.connect(name_of(session))
            with suppress(ConnectionError):
                stranger.sendall(b'{"do": "edit", "path": "/etc/passwd"}\n')
                assert stranger.recv(100) == b""
        await one.type("echo over-$((1+1))\r")
        await one.sees("over-2")
        assert not [told for told in one.told if told["type"] == "client"]
        await one.type("exit\r")
        await one.hears("exit")


async def test_only_who_types_answers(host: Fleet, tmp_path: Path) -> None:
    session = new_session(host)
    made = expect(host.api.post("/api/v1/tokens", json={"principal": "olga", "roles": ["auditor"]}), 201)
    async with seated(host, session, argv=["/bin/sh"]) as one:
        await one.sees("[#$] ")
        async with seated(host, session, "observer", token=made["token"]) as olga:
            await olga.hears("hello")
            await one.type(f"$OUTRIDER_EDIT {tmp_path}/x; echo status-$?\r")
            await olga.hears("client", action="edit", number=1)
            await olga.say(type="edited", number=1, outcome="done")
            assert (await olga.hears("refused"))["code"] == "denied"
            await one.say(type="edited", number=1, outcome="declined")
            await one.sees("status-1")
            await one.type("exit\r")
            await one.hears("exit")
