"""The first lines of a push, in whatever parts they come, and what git is told."""

from __future__ import annotations

import pytest

from protocol.errors import ArgumentError, TooLargeError
from server.push_lines import MAX_LINE_BYTES, NOTHING, Command, Commands, advertisement, packet, report, script_of

COMMIT = "1" * 40
LINE = f"{NOTHING} {COMMIT} refs/heads/review/checks/disk"
PUSH = packet(f"{LINE}\0 report-status side-band-64k agent=git/2".encode()) + b"0000PACKrest"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1_000])
def test_in_whatever_parts_it_comes(size: int) -> None:
    commands, rest = Commands(), b""
    for at in range(0, len(PUSH), size):
        rest += commands.feed(PUSH[at : at + size])
    assert rest == b"PACKrest"
    assert commands.listed == [Command(NOTHING, COMMIT, "refs/heads/review/checks/disk")]
    assert "report-status" in commands.capabilities
    assert script_of(commands.listed) == ("checks/disk", COMMIT)


def test_a_line_may_end_with_a_newline() -> None:
    commands = Commands()
    commands.feed(packet(f"{LINE}\n".encode()) + b"0000")
    assert len(commands.listed) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"0001", b"0002", b"0003", b"0004", b"-001", b" 12 ", b"00zz", packet(b"hello"), packet(LINE[:-60].encode()),
        packet(LINE.encode()) + packet(f"{LINE}\0late".encode()), packet(LINE.encode() + b" more"),
        packet(f"{NOTHING} {COMMIT} HEAD".encode()), packet(f"{NOTHING} {COMMIT} refs/x\xe4".encode()),
        packet(f"{NOTHING.upper()} {'A' * 40} refs/x".encode()), packet(f"shallow {COMMIT}".encode()),
    ],
)  # fmt: skip
def test_other_lines_are_refused(data: bytes) -> None:
    with pytest.raises(ArgumentError):
        Commands().feed(data)


def test_long_lines_and_many_are_refused_before_they_are_read() -> None:
    with pytest.raises(TooLargeError):
        Commands().feed(f"{MAX_LINE_BYTES + 5:04x}".encode())
    with pytest.raises(TooLargeError):
        Commands().feed(packet(LINE.encode()) * 17)


def test_an_answer_for_a_client_without_bands() -> None:
    commands = Commands()
    commands.feed(packet(f"{LINE}\0report-status".encode()) + b"0000")
    assert report(commands, None, ["said"]) == b"000eunpack ok\n0025ok refs/heads/review/checks/disk\n0000"
    silent = Commands()
    silent.feed(packet(LINE.encode()) + b"0000")
    assert report(silent, "no", ["said"]) == b""


def test_what_git_is_told_is_one_line_without_controls_and_bounded() -> None:
    commands = Commands()
    commands.feed(PUSH)
    told = report(commands, "bad\n0000ng refs/heads/main \x1b[2J" + "x" * 5_000, ["a\rb\nc"])
    assert b"\x1b" not in told
    assert b"a b c" in told
    assert told.count(b"ng refs") == 2, "one is ours, the other stands in its reason"
    assert told.count(b"\nng ") == 0 or told.count(b"unpack ok\n") == 1
    assert len(told) < 3_000
    assert told.endswith(b"0000")


def test_where_main_is() -> None:
    assert advertisement(None).startswith(b"001f# service=git-receive-pack\n0000")
    assert f"{COMMIT} refs/heads/main\0".encode() in advertisement(COMMIT)
    assert f"{NOTHING} capabilities^{{}}\0".encode() in advertisement(None)
