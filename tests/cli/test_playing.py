"""A recording as text: what was printed, and on the same timeline what happened."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from cli.playing import happened, merged, text


def item(kind: str, time_s: float = 0.0, data: bytes = b"", **about: Any) -> dict[str, Any]:
    return {"time_s": time_s, "kind": kind, "data": base64.b64encode(data).decode(), "about": about}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (item("process", what="started", pid=7, argv=["ls", "-l"]), "+ 7 ls -l"),
        (item("process", what="started", pid=7, argv=[]), "+ 7 (was over before anybody could look)"),
        (item("process", what="ended", pid=7, argv=["ls"], code=0), "- 7 ls"),
        (item("process", what="ended", pid=7, argv=["ls"], code=2), "- 7 ls (2)"),
        (item("process", what="ended", pid=7, argv=["ls"], signal=9), "- 7 ls (signal 9)"),
        (item("file", what="file", pid=7, did=["created", "written"], path="/a"), "~ /a: created, written"),
        (item("file", what="file", pid=7, did=["renamed"], path="/a", to="/b"), "~ /a: renamed to /b"),
        (item("untold", what="untold", count=9), "* 9 more programs and changes of files came too fast to be told"),
        (
            item("sources", processes="told", files=["/"], unseen=["/mnt: nfs4"]),
            "* programs: told by the kernel; changes of files: on /, not on /mnt: nfs4",
        ),
        (
            item("sources", processes="looked for", files=[], unseen=[], why={"files": "Operation not permitted"}),
            "* programs: looked for every 0.2 s; changes of files: not seen (Operation not permitted)",
        ),
        (item("process", what="client", action="edit", path="/a", number=1), "* the host proposed to edit /a"),
        (item("call", call="fs.read", verdict="allow", outcome="ok"), "> fs.read allow ok"),
        (
            item(
                "call",
                call="fs.write",
                verdict="allow",
                outcome="ok",
                arguments={
                    "path": "/a",
                    "data": {"cut": "x", "bytes": 9000, "sha256": "5f3c"},
                    "if_hash": "77",
                    "mode": None,
                    "n": 1,
                    "atomic": True,
                    "encoding": "",
                    "note": "n" * 101,
                },
            ),
            "> fs.write path=/a data=sha256:5f3c (9000 bytes) if_hash=77 note=" + "n" * 100 + "... allow ok",
        ),
        (item("gap", **{"from": 1, "to": 5}), "* 4 bytes were lost"),
        (item("begin", session="s"), None),
    ],
)
def test_what_happened_in_words(given: dict[str, Any], told: str | None) -> None:
    assert happened(given) == told


def test_what_a_host_names_is_one_line_and_drives_no_terminal() -> None:
    hostile = "x\n00:00:00  + 1 rm -rf /\x1b]0;y\x07\u202e\u00e4"
    lines = list(
        text(iter([item("process", what="started", pid=7, argv=["sh", "-c", hostile]), item("file", path=hostile)]), 0)
    )
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)
    assert lines[0].endswith("  + 7 sh -c x\\n00:00:00  + 1 rm -rf /\\x1b]0;y\\x07\\u202e\u00e4")


def test_two_timelines_become_one() -> None:
    one = [item("output", 1.0), item("output", 3.0)]
    other = [item("call", 4.0, session="s"), item("call", 2.0, session="s")]
    assert [each["time_s"] for each in merged(iter(one), other, "s")] == [1.0, 2.0, 3.0, 4.0]


def test_calls_of_sessions_opened_from_here_come_after_the_opening_and_others_never() -> None:
    """The clock of the host may be behind; and what somebody else did there meanwhile is of another timeline."""
    one = [item("output", 1.0), item("presence", 3.0, what="opened", session="e"), item("output", 5.0)]
    made = [("e", 2.0), ("x", 2.5), ("s", 2.7), ("e", 4.0), ("x", 4.5), ("e", 6.0), ("x", 7.0)]
    found = list(merged(iter(one), [item("call", at, session=session) for session, at in made], "s"))
    told = [(each["kind"], each["about"].get("session"), each["time_s"]) for each in found]
    assert told == [
        ("output", None, 1.0), ("call", "s", 2.7), ("presence", "e", 3.0), ("call", "e", 3.0), ("call", "e", 4.0),
        ("output", None, 5.0), ("call", "e", 6.0),
    ]  # fmt: skip
