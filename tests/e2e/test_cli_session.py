"""``outrider tty`` and ``outrider session``, as somebody at a keyboard uses them: in a real terminal, and in pipes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from at_keyboard import DEADLINE_S, Keyboard
from shell import ROOT, Shell

from cli import exits
from fleet import expect
from protocol.identities import Kind, is_whole
from protocol.terminal import INPUT_WINDOW_BYTES


def newest(desk: Shell) -> str:
    return str(desk("session", "ls", "--limit", "1", "--json").data[0]["id"])


def shown(desk: Shell, session: str) -> dict[str, Any]:
    return dict(desk("session", "show", session, "--json").data)


def test_at_a_keyboard_from_the_banner_to_the_exit_status(desk: Shell) -> None:
    me = Keyboard(desk, "tty", "host-1", "--reason", "T-1", "--", "/bin/sh")
    me.sees(r"host-1  recording on · ends [^·]+ · idle 30m · ~\? for help\r\n")
    me.sees("[#$] ")
    me.type("echo typed-$((1+1))\r")
    me.sees("typed-2")
    me.type("~?")
    me.sees("~d  leave; the session goes on")
    me.type("exit 9\r")
    assert me.ends() == 9
    # Who typed is told at once; that the host has closed the session is on record a moment later.
    desk.fleet.wait_for("the session's end on record", lambda: shown(desk, newest(desk))["status"] == "ended")
    assert shown(desk, newest(desk))["recording"]["argv"] == ["/bin/sh"]


def test_a_reader_of_its_output_that_goes_away_is_no_fault_of_the_server(desk: Shell) -> None:
    """``outrider tty web-3 -- journalctl -f | head``: it told of a server that cannot be reached, and tried again."""
    words = ("tty", "host-1", "--reason", "T-1", "--", "/bin/sh", "-c", "while :; do echo much; done")
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        cwd=desk.work, env={**desk.environment, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline().strip() == b"much"
    process.stdout.close()
    assert process.stderr is not None
    told = process.stderr.read().decode()
    assert process.wait(DEADLINE_S) == exits.BROKEN_PIPE
    assert "cannot be reached" not in told
    session = newest(desk)
    assert f"the session goes on: outrider session join {session}, outrider session end {session}" in told
    assert desk("session", "end", session).status == 0


def test_left_and_joined_again_and_ended_with_an_escape(desk: Shell) -> None:
    me = Keyboard(desk, "tty", "host-1", "--reason", "T-1", "--", "/bin/sh")
    me.sees("[#$] ")
    me.type("echo before-$((1+1))\r")
    me.sees("before-2")
    me.type("~d")
    me.sees("it goes on: outrider session join")
    assert me.ends() == 0
    session = newest(desk)
    again = Keyboard(desk, "session", "join", session)
    again.sees("before-2")
    again.type("echo after-$((1+1))\r")
    again.sees("after-2")
    watcher = Keyboard(desk, "session", "watch", session)
    watcher.sees("observer")
    watcher.sees("after-2")
    again.sees("admin joined as observer")
    again.type("\r~.")
    assert again.ends() == 1
    assert b"ended by admin" in again.data
    assert b"link is lost" not in again.data
    assert watcher.ends() == 1
    desk.fleet.wait_for("why it ended", lambda: "ended by admin" in (shown(desk, session)["reason"] or ""))


def test_a_moderator_pauses_and_the_keyboard_outlives_what_was_typed_meanwhile(desk: Shell, tmp_path: Path) -> None:
    me = Keyboard(desk, "tty", "host-1", "--reason", "T-1", "--", "/bin/sh")
    me.sees("[#$] ")
    session = newest(desk)
    other = Shell(tmp_path, desk.fleet)
    told = {"principal": "mo", "roles": ["moderator"], "ttl_s": 600}
    other.environment["OUTRIDER_TOKEN"] = expect(desk.fleet.api.post("/api/v1/tokens", json=told), 201)["token"]
    moderator = Keyboard(other, "session", "join", session)
    moderator.sees(r"admin@host-1  moderator  recording on · .* · here: admin · ~\? for help\r\n")
    me.sees(r"\[mo joined as moderator\]")
    moderator.type("~z")
    moderator.sees(r"\[paused by mo\]")
    me.sees(r"\[paused by mo\]")
    late = Keyboard(desk, "session", "watch", session)
    late.sees(r" · paused by mo · ~\? for help\r\n")
    for _ in range(2 * INPUT_WINDOW_BYTES // 1024):
        me.type("x" * 1023 + "\r")
    me.sees(r"\[paused by mo\]")
    moderator.type("~z")
    me.sees(r"\[resumed by mo\]")
    me.type("\r~w")
    me.sees(r"\[here: admin \(owner, keyboard\), mo \(moderator\), admin \(observer\)\]")
    me.type("echo on-$((1+1))\r")
    me.sees("on-2")
    over = other("session", "end", session, "--reason", "seen enough")
    assert over.status == 0, "whoever moderates ends it, too"
    assert over.err in (f"{session} on host-1: {told}\n" for told in ("ended", "the host was told to end it"))
    me.sees("the session ended: seen enough")
    assert [each.ends() for each in (me, moderator, late)] == [1, 1, 1], "also where nobody has read what was shown"
    text = desk("session", "play", session, "--format", "text").out
    assert "* paused by mo\n" in text
    assert "* resumed by mo\n" in text


@pytest.mark.parametrize(
    ("words", "stdin"),
    [
        ((), ""),  # the user's own shell, which takes the terminal over after the end has come
        (("--", "/bin/sh"), ""),
        (("--", "/bin/sh"), "cat\nto the cat\n"),  # which takes one end for itself
        (("--", "/bin/bash", "-i"), "cat\nto the cat\n"),
    ],
)
def test_it_ends_with_what_is_piped_into_it(desk: Shell, words: tuple[str, ...], stdin: str) -> None:
    ended = desk.program("tty", "host-1", "--reason", "T-1", *words, stdin=stdin)
    assert ended.status == 0, ended
    assert ("to the cat" in ended.out) == bool(stdin)


def test_in_pipes_and_what_goes_wrong(desk: Shell) -> None:
    called = desk.program("tty", "host-1", "--reason", "T-1", "--", "/bin/sh", stdin="echo piped-$((1+1))\nexit 4\n")
    assert called.status == 4
    assert "piped-2" in called.out
    assert "recording on" in called.err
    killed = desk.program("tty", "host-1", "--reason", "T-1", "--", "/bin/sh", "-c", "kill -9 $$")
    assert killed.status == 137
    for words, status, said in (
        (["nowhere"], 1, "there is no agent 'nowhere'"),
        (["host-1", "--user", "nobody-here"], 1, "there is no user"),
        (["host-1", "--tier", "observe"], 3, "refused"),
        (["host-1", "--idle", "soon"], 2, "--idle"),
        (["host-1", "--", "/no/such"], 1, "/no/such"),
        (["host/1"], 2, "host/1"),
        ([], 2, "HOST"),
    ):
        wrong = desk.program("tty", "--reason", "T-1", *words)
        assert wrong.status == status, wrong.err
        assert said in wrong.err
        assert wrong.out == ""
        assert "recording on" not in wrong.err, "nothing is recorded that the host did not open"
    desk.fleet.wait_for("the last one's end on record", lambda: shown(desk, newest(desk))["status"] != "open")
    gone = desk.program("session", "join", newest(desk))
    assert gone.status == 1
    assert "is not open" in gone.err


@pytest.fixture(scope="module")
def recorded(desk: Shell) -> str:
    """A session that has been: a prompt, programs, a marker, a resize."""
    me = Keyboard(desk, "tty", "host-1", "--reason", "T-9", "--", "/bin/sh")
    me.sees("[#$] ")
    me.type(f"sleep 1000 & echo a-rare-Word; echo x >{desk.fleet.directory}/changed\r")
    me.sees("a-rare-Word\r\n")
    me.sees("[#$] ")

    def is_told() -> bool:  # one that is over before anybody could look is told of without its words
        return "sleep 1000" in re.findall(r"\+ \d+ (.*)", desk("session", "play", newest(desk), "--format", "text").out)

    desk.fleet.wait_for("what runs to be on the timeline", is_told)
    me.type("kill $!; wait\r")
    me.sees("[#$] ")
    me.type("~m")
    me.type("\rexit\r")
    assert me.ends() == 0
    desk.fleet.wait_for("the session's end on record", lambda: shown(desk, newest(desk))["status"] == "ended")
    return newest(desk)


def test_a_recording_is_proved_by_what_the_host_signed(desk: Shell, recorded: str) -> None:
    desk.fleet.wait_for(
        "the digest", lambda: "what the host printed" in desk("session", "show", recorded, "--verify").out
    )
    where = next((desk.fleet.directory / "server" / "recordings" / recorded).glob("*.zst"))
    from server.sessions.recording import zstd

    kept = where.read_bytes()
    where.write_bytes(zstd.compress(zstd.decompress(kept).replace(b"rare", b"many")))
    wrong = desk("session", "show", recorded, "--verify")
    assert (wrong.status, "are not what the host printed" in wrong.out) == (7, True)
    where.write_bytes(kept)


def test_played_as_text_with_what_happened_between(desk: Shell, recorded: str) -> None:
    lines = desk("session", "play", recorded, "--format", "text").out.splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d  ", line) for line in lines)
    text = "\n".join(line[10:] for line in lines)
    assert re.search(r"^a-rare-Word$", text, re.MULTILINE)
    assert re.search(r"^\* admin joined as owner$", text, re.MULTILINE)
    assert re.search(r"^\+ \d+ sleep 1000$", text, re.MULTILINE)
    assert re.search(r"^- \d+ sleep \(signal 15\)$", text, re.MULTILINE)
    assert re.search(
        r"^\* programs: (told by the kernel|looked for every 0\.2 s); changes of files: ", text, re.MULTILINE
    )
    if "changes of files: on " in text:
        did = re.findall(rf"^~ {desk.fleet.directory}/changed: (.*)$", text, re.MULTILINE)
        assert ", ".join(did) == "created, written"  # told in two, where a look comes between
    assert re.search(r"^\* marker \(admin\)$", text, re.MULTILINE), "and whose it is"
    assert "* ended: status 0" in text
    items = [json.loads(line) for line in desk("session", "play", recorded, "--format", "json").out.splitlines()]
    assert items[0]["kind"] == "begin"
    assert [item["time_s"] for item in items] == sorted(item["time_s"] for item in items)


def test_played_as_it_was_seen(desk: Shell, recorded: str) -> None:
    began = time.monotonic()
    called = desk.program("session", "play", recorded, "--speed", "1000x", "--skip-idle")
    assert called.status == 0
    assert "a-rare-Word" in called.out
    assert time.monotonic() - began < DEADLINE_S


def test_named_by_its_beginning(desk: Shell, recorded: str) -> None:
    assert is_whole(recorded, Kind.SESSION)
    for many in range(6, len(recorded)):
        called = desk("session", "show", recorded[:many], "--json")
        if called.status == 0:
            break
        assert f"{recorded[:many]!r} is the beginning of more than one session: " in called.err
        assert recorded in called.err
    assert called.data["id"] == recorded
    assert "a-rare-Word" in desk("session", "play", recorded[:12], "--format", "text").out
    none = desk("session", "play", "s_nowhere")
    assert (none.status, none.err) == (
        1, "there is no session 's_nowhere', in full or as a beginning  (see: outrider session ls)\n"
    )  # fmt: skip


def test_exported_for_players(desk: Shell, recorded: str, tmp_path: Path) -> None:
    path = tmp_path / "x.cast"
    assert desk("session", "export", recorded, "-o", str(path)).status == 0
    header, *events = [json.loads(line) for line in path.read_text().splitlines()]
    assert (header["version"], header["width"], header["height"]) == (2, 80, 24)
    assert all(
        len(event) == 3 and event[1] in "orm" and isinstance(event[2], str) and isinstance(event[0], float | int)
        for event in events
    )
    assert "a-rare-Word" in "".join(event[2] for event in events if event[1] == "o")
    assert [event[0] for event in events] == sorted(event[0] for event in events)
    newer = [json.loads(line) for line in desk("session", "export", recorded, "--v3").out.splitlines()]
    assert newer[0]["version"] == 3
    assert newer[-1][1:] == ["x", "0"]


def test_found_by_what_was_shown(desk: Shell, recorded: str) -> None:
    found = desk("session", "search", "A-RARE-word", "--json").data
    assert {item["session"] for item in found} == {recorded}
    assert desk("session", "search", "never-printed-anywhere").err == "nothing found\n"
    assert desk("session", "search", "x").status == 2


def test_what_was_typed_is_in_no_recording_by_default_and_who_looked_is_on_record(desk: Shell, recorded: str) -> None:
    items = [json.loads(line) for line in desk("session", "play", recorded, "--format", "json").out.splitlines()]
    assert not [item for item in items if item["kind"] == "input"]
    records = desk.fleet.records("server")
    assert {"session.join", "recording.play", "recording.search"} <= {each["call"] for each in records}


def test_what_is_not_there(desk: Shell) -> None:
    for words in (["show"], ["play"], ["export"], ["end"], ["watch"], ["join"]):
        called = desk("session", *words, "s_nowhere")
        assert called.status == 1
        assert "there is no session 's_nowhere'" in called.err


def test_only_some_roles_play_back(desk: Shell, recorded: str) -> None:
    for role, status in (("viewer", 3), ("author", 3), ("reviewer", 3), ("auditor", 0), ("moderator", 0)):
        made = desk.fleet.api.post("/api/v1/tokens", json={"principal": role, "roles": [role], "ttl_s": 600}).json()
        kept = desk.environment["OUTRIDER_TOKEN"]
        desk.environment["OUTRIDER_TOKEN"] = made["token"]
        try:
            assert desk("session", "export", recorded).status == status, role
        finally:
            desk.environment["OUTRIDER_TOKEN"] = kept
