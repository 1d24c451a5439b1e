"""``outrider exec``: commands on real hosts, as if they ran here: outputs, input, status, signals, time, many hosts."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from at_keyboard import Keyboard
from shell import ROOT, Called, Shell, outrider_on

from fleet import CEILING, Fleet, fleet

outrider = outrider_on("hosts")
WHY = ("--reason", "T-7")


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("exec")) as made:
        made.add_agent("host-1", ceiling=CEILING)
        made.add_agent("host-2", ceiling=CEILING)
        made.add_agent("low-1", ceiling=CEILING.replace("admin", "inspect"))
        yield made


def run(outrider: Shell, *words: str, stdin: str = "") -> Called:
    return outrider.program("exec", *words, stdin=stdin)


def test_outputs_come_apart_and_the_status_is_its_own(outrider: Shell) -> None:
    called = run(outrider, "host-1", *WHY, "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (called.status, called.out, called.err) == (7, "out\n", "err\n")


def test_a_named_command_needs_no_more_than_inspect(outrider: Shell, hosts: Fleet) -> None:
    """Policy decides on the parsed words: df may be run by whoever may look, sh may not."""
    assert "Filesystem" in run(outrider, "low-1", "--", "df", "-P", "/").out
    newest = hosts.api.get("/api/v1/sessions", params={"limit": 1}).json()["items"][0]
    assert (newest["tier"], newest["kind"]) == ("inspect", "command")
    refused = run(outrider, "low-1", "--tier", "inspect", "--", "sh", "-c", "id")
    assert refused.status == 3
    assert "proc.start sh" in refused.err
    assert run(outrider, "low-1", "--tier", "inspect", "--", "df", "--output=source").status == 3
    assert run(outrider, "low-1", "--tier", "inspect", "--cwd", "/tmp", "--", "df").status == 2
    assert (
        "above" in run(outrider, "low-1", *WHY, "--", "id").err
        or "ceiling" in run(outrider, "low-1", *WHY, "--", "id").err
    )


def test_input_goes_through_byte_for_byte_and_ends(outrider: Shell) -> None:
    data = os.urandom(3_000_000)
    done = subprocess.run(
        [sys.executable, "-m", "cli", "exec", "host-1", *WHY, "--", "cat"], input=data, capture_output=True, timeout=60,
        env={**outrider.environment, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()


def test_without_input_it_reads_the_end_at_once(outrider: Shell) -> None:
    assert run(outrider, "host-1", *WHY, "-n", "--", "wc", "-c", stdin="not for it").out.strip() == "0"


def test_time_ends_it_and_all_that_came_of_it(outrider: Shell) -> None:
    called = run(outrider, "host-1", *WHY, "--timeout", "300ms", "--", "sh", "-c", "sleep 60 & wait")
    assert called.status == 124
    assert "--timeout" in called.err


def test_a_signal_that_ended_it_is_its_status(outrider: Shell) -> None:
    assert run(outrider, "host-1", *WHY, "--", "sh", "-c", "kill -9 $$").status == 137


@pytest.mark.parametrize(("presses", "status"), [(1, 3), (2, 137)])
def test_ctrl_c_reaches_the_command_and_a_second_one_kills_it(outrider: Shell, presses: int, status: int) -> None:
    """One that cleans up at SIGINT gets the time for it; one that ignores it is killed."""
    then = "exit 3" if presses == 1 else "echo no"
    script = f"trap '{then}' INT; echo ready; while :; do sleep 0.1; done"
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "exec", "host-1", *WHY, "--", "sh", "-c", script], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**outrider.environment, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    for number in range(presses):
        if number:
            assert process.stdout.readline() == b"no\n"
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == status


def test_a_reader_that_goes_away_ends_it(outrider: Shell, hosts: Fleet, tmp_path: Path) -> None:
    """A flood that nobody reads must neither fill memory nor run on."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "exec", "host-1", *WHY, "--", "sh", "-c", f"echo $$ > {tmp_path}/pid; yes"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env={**outrider.environment, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.read(1_000_000)[:2] == b"y\n"
    process.stdout.close()
    process.wait(60)
    pid = (tmp_path / "pid").read_text().strip()
    hosts.wait_for("it to be gone", lambda: not Path(f"/proc/{pid}").exists())


def test_its_end_is_on_record_with_its_hash_and_without_secrets(outrider: Shell, hosts: Fleet) -> None:
    called = run(outrider, "host-1", *WHY, "--", "sh", "-c", "echo password=hunter2; yes | head -c 100000")
    assert called.status == 0

    def its_end() -> list[dict[str, Any]]:  # that of another command may come to the record behind it
        ends = [each for each in hosts.records("host-1", kind="call.end") if each["call"] == "proc.spawn"]
        return [each for each in ends if each["data"]["stdout"]["bytes"] == len(called.out)]

    hosts.wait_for("its end to be on record", lambda: len(its_end()) == 1)
    (end,) = its_end()
    told = end["data"]["stdout"]
    assert told["sha256"] == hashlib.sha256(called.out.encode()).hexdigest()
    assert "hunter2" not in json.dumps(end)
    assert told["first"].startswith("password=[redacted]")
    assert end["data"]["code"] == 0


def test_many_hosts_are_told_apart_and_share_a_status(outrider: Shell, tmp_path: Path) -> None:
    called = run(outrider, "host-*", *WHY, "--", "sh", "-c", "printf 'a\\nb'")
    assert called.status == 0
    assert sorted(called.out.splitlines()) == ["host-1: a", "host-1: b", "host-2: a", "host-2: b"]
    assert "2 hosts: 2 ok" in called.err
    mark = tmp_path / "mark"
    some = run(outrider, "host-*", *WHY, "--max-concurrency", "1", "--", "sh", "-c", f"mkdir {mark}")
    assert some.status == 8
    assert "1 ok, 1 failed" in some.err
    assert run(outrider, "host-*", *WHY, "--", "sh", "-c", "exit 4").status == 4
    stopped = run(
        outrider, "host-*", *WHY, "--max-concurrency", "1", "--max-errors", "0", "--", "sh", "-c", "exit 4"
    )  # fmt: skip
    assert (stopped.status, "1 not begun" in stopped.err) == (1, True)


def test_rows_of_json(outrider: Shell) -> None:
    called = run(outrider, "host-*", "--json", *WHY, "--", "sh", "-c", "echo hi; printf '\\377'")
    rows: list[dict[str, Any]] = [json.loads(line) for line in called.out.splitlines()]
    of_one = [row for row in rows if row["host"] == "host-1"]
    assert of_one[-1]["exit"]["status"] == 0
    assert of_one[-1]["exit"]["stdout"]["bytes"] == 4
    assert any("base64" in row for row in of_one) or any(row.get("data", "").startswith("hi") for row in of_one)


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (("host-1",), 2, "TARGET and a command"),
        (("host-1", "--", "id"), 2, "--reason"),
        (("host-9", *WHY, "--", "id"), 1, "host-9"),
        (("host-x*", *WHY, "--", "id"), 1, "no host matches"),
        (("-l", "role", *WHY, "--", "id"), 2, "role=mail"),
        (("host-1", *WHY, "--", "no-such-program"), 1, "no-such-program"),
        (("host-1", *WHY, "--", "./relative"), 2, "absolute"),
        (("host-1", *WHY, "--", "/etc/passwd"), 3, "Permission denied"),
        (("host-1", *WHY, "--user", "nobody-here", "--", "id"), 1, "nobody-here"),
        (("host-1", *WHY, "--timeout", "soon", "--", "id"), 2, "--timeout"),
        (("host-*", *WHY, "--max-errors", "many", "--", "id"), 2, "--max-errors"),
        (("host-1", *WHY, "--env", "x", "--", "id"), 2, "--env"),
    ],
)  # fmt: skip
def test_bad_words_are_named(outrider: Shell, words: tuple[str, ...], status: int, says: str) -> None:
    called = run(outrider, *words)
    assert (called.status, says in called.err) == (status, True), called.err


def test_the_same_by_api(hosts: Fleet) -> None:
    body = {"agent": "host-1", "kind": "command", "tier": "admin", "reason": "T-7"}
    session = hosts.api.post("/api/v1/sessions", json=body).json()["id"]
    lines = []
    with hosts.api.stream(
        "POST", f"/api/v1/sessions/{session}/command", json={"argv": ["sh", "-c", "echo hi; read x"], "stdin": True}
    ) as answer:
        for line in answer.iter_lines():
            lines.append(json.loads(line))
            if lines[-1][0] == "stdout":
                where = f"/api/v1/sessions/{session}/commands/{lines[0][1]['command']}"
                assert hosts.api.post(f"{where}/signal", json={"signal": "BOOM"}).status_code == 422
                assert hosts.api.post(f"{where}/signal", json={"signal": "TERM"}).json() == {"value": True}
    assert [line[0] for line in lines] == ["started", "stdout", "exit"]
    assert lines[1][1] == {"$bytes": "aGkK"}
    assert lines[2][1]["signal"] == 15
    gone = hosts.api.post(f"{where}/signal", json={"signal": "TERM"})
    assert gone.status_code == 404


# in a terminal -------------------------------------------------------------------------------------------------------


def test_in_a_terminal_with_keys_size_and_recording(outrider: Shell) -> None:
    script = "trap 'exit 7' INT; test -t 0 && test -t 1 && stty size; while :; do read x; done"
    me = Keyboard(outrider, "exec", "-t", "host-1", "--reason", "T-1", "--", "/bin/sh", "-c", script)
    me.sees(r"host-1  recording on")
    me.sees(r"\d+ \d+\r\n")
    me.type("\x03")
    assert me.ends() == 7

    def newest() -> dict[str, Any]:
        (found,) = outrider("session", "ls", "--limit", "1", "--json").data
        return dict(found)

    outrider.fleet.wait_for("the session's end to be on record", lambda: newest()["status"] != "open")
    assert (newest()["kind"], newest()["status"]) == ("terminal", "ended")
    assert outrider("session", "show", newest()["id"], "--json").data["recording"]["argv"][0] == "/bin/sh"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("-t", "host-*", "--", "true"), "--tty is for one host"),
        (("-t", "--timeout", "1s", "host-1", "--", "true"), "it goes without --timeout"),
        (("-t", "-n", "--env", "A=1", "host-1", "--", "true"), "it goes without --env, -n"),
        (("-t", "-l", "role=mail", "--", "true"), "it goes without -l"),
    ],
)
def test_a_terminal_is_for_one_program_on_one_host(outrider: Shell, words: tuple[str, ...], says: str) -> None:
    called = outrider("exec", *words)
    assert called.status == 2
    assert says in called.err
