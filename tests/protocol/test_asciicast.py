"""Recordings as asciicast, held against what its documents say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from protocol.asciicast import Cast, described
from protocol.recording import Event

ABOUT = {
    "session": "s_1", "host": "web-3", "principal": "tom", "reason": "T-1", "opened_us": 1_700_000_000_000_000,
    "argv": ["top"], "term": "screen", "size": [100, 30],
}  # fmt: skip
EVENTS = [
    Event(0, "begin", [ABOUT]),
    Event(500_000, "output", [0, "ä".encode()[:1]]),
    Event(600_000, "output", [1, "ä".encode()[1:] + b"\x1b[31m\xff\r\n"]),
    Event(700_000, "input", ["", b"ls\r"]),
    Event(1_000_000, "resize", [10_000, 50]),
    Event(1_500_000, "presence", [{"what": "joined", "who": "ana", "role": "observer"}]),
    Event(1_600_000, "process", [{"what": "started", "argv": ["ls"]}]),
    Event(1_700_000, "marker", ["here", "ana"]),
    Event(1_800_000, "gap", [5, 9]),
    Event(2_000_000, "exit", [{"code": 3, "signal": None}]),
]


def cast(version: int, **more: Any) -> tuple[dict[str, Any], list[list[Any]]]:
    made = Cast(ABOUT, version=version, **more)
    return json.loads(made.header()), [json.loads(line) for line in made.lines(EVENTS)]


def test_version_2_has_times_since_the_beginning() -> None:
    header, events = cast(2)
    assert header == {
        "version": 2, "width": 100, "height": 30, "timestamp": 1_700_000_000, "title": "tom@web-3: T-1",
        "command": "top", "env": {"TERM": "screen"},
    }  # fmt: skip
    assert events == [
        [0.6, "o", "ä\x1b[31m\ufffd\r\n"], [1.0, "r", "10000x50"], [1.5, "m", "ana joined as observer"],
        [1.7, "m", "here"], [1.8, "m", "4 bytes were lost"],
    ]  # fmt: skip


def test_version_3_has_times_since_the_event_before_and_the_exit_status() -> None:
    header, events = cast(3)
    assert header["term"] == {"cols": 100, "rows": 30, "type": "screen"}
    assert [event[0] for event in events] == [0.6, 0.4, 0.5, 0.2, 0.1, 0.2]
    assert events[-1][1:] == ["x", "3"]


@pytest.mark.parametrize("version", [2, 3])
def test_what_was_typed_is_in_it_only_if_asked_for(version: int) -> None:
    assert not any(event[1] == "i" for event in cast(version)[1])
    assert [event[2] for event in cast(version, with_input=True)[1] if event[1] == "i"] == ["ls\r"]


def test_a_header_of_a_recording_that_says_little() -> None:
    header = json.loads(Cast({}).header())
    assert (header["version"], header["width"], header["height"]) == (2, 80, 24)


def test_people_in_words() -> None:
    told = [{"what": what, "who": "ana", "role": "peer"} for what in ("joined", "left", "keyboard", "asked", "paused")]
    assert [described(each) for each in told] == [
        "ana joined as peer", "ana left", "ana has the keyboard", "ana asked for the keyboard", "paused by ana",
    ]  # fmt: skip
    assert described({"what": "keyboard", "who": None}) == "nobody has the keyboard"
