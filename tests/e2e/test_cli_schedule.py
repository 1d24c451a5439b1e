"""Schedules from the command line, and every way to write one wrongly."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from at_keyboard import Keyboard
from shell import Shell

from fleet import Fleet

NAME = "checks/cli-clock"


@pytest.fixture(scope="module")
def at_work(shared: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell with a script to schedule; its schedules are gone afterwards."""
    shell = Shell(tmp_path_factory.mktemp("schedules"), shared)
    shell.install(NAME, 'return param("n")\n', more="parameters:\n  n: {type: integer, default: 1}\n")
    yield shell
    for schedule in shell("schedule", "ls", "--json").data:
        shell("schedule", "rm", schedule["id"], "--yes")


def test_from_add_to_rm(at_work: Shell, shared: Fleet) -> None:
    added = at_work.program("schedule", "add", NAME, "--on", "host-1", "--every", "1s", "--arg", "n=7")
    assert added.status == 0
    match = re.fullmatch(rf"([0-9a-f]{{16}})  {NAME}  every 1s  on host-1\n", added.out)
    assert match, added.out
    identity = match[1]
    assert re.fullmatch(r"next: (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \w+(, )?){3}\n", added.err), added.err

    def ran() -> bool:
        return bool(at_work("runs", "ls", "--schedule", identity, "--status", "ok", "--json").data)

    shared.wait_for("a scheduled run", ran)
    run = at_work("runs", "ls", "--schedule", identity, "--status", "ok", "--json").data[-1]
    assert (run["script"], run["agent"]) == (NAME, "host-1")
    assert at_work("runs", "show", run["id"]).out.strip() == "7"

    paused = at_work("schedule", "pause", identity)
    assert (paused.status, paused.out, paused.err) == (0, "", f"{identity} is paused\n")
    listed = at_work("schedule", "ls")
    assert [identity, NAME, "1.0.0", "every 1s", "host-1", "paused"] in listed.rows
    assert at_work("schedule", "pause", identity, "--undo", "--json").data["enabled"] is True
    shown = at_work("schedule", "show", identity)
    assert re.search(r"^parameters +n=7$", shown.out, re.MULTILINE)

    asked = Keyboard(at_work, "schedule", "rm", identity)
    asked.sees(r"\[y/N\]: ")
    asked.type("n\r")
    assert asked.ends() == 1
    assert b"nothing was done" in asked.data
    assert at_work("schedule", "show", identity).status == 0
    unasked = at_work("schedule", "rm", identity)
    assert unasked.status == 2
    assert "--yes" in unasked.err
    assert at_work("schedule", "rm", identity, "--yes", "--json").data == {"removed": identity}
    assert at_work("schedule", "show", identity).status == 1


def test_cron_line_in_a_zone(at_work: Shell) -> None:
    at_work.environment["TZ"] = "UTC"
    words = ["schedule", "add", NAME, "--on", "host-1", "--cron", "30 6 * * *", "--zone", "Asia/Kathmandu", "--splay"]
    made = at_work(*words, "2m", "--json").data
    assert (made["cron"], made["zone"], made["splay_s"]) == ("30 6 * * *", "Asia/Kathmandu", 120.0)
    fires = at_work("schedule", "next", made["id"], "--count", "2", "--json").data["fires"]
    assert [fire[11:] for fire in fires] == ["00:45:00Z", "00:45:00Z"], "6:30 there, five hours and 45 minutes ahead"
    told = at_work("schedule", "next", made["id"], "--count", "1").out
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \w+\n", told), "with the zone it is written in"


def test_splay_is_shown_as_people_write_it(at_work: Shell) -> None:
    added = at_work("schedule", "add", NAME, "--on", "host-1", "--every", "10m", "--splay", "2m")
    assert "every 10m +2m" in added.out


def test_trial_shows_hosts_times_and_dry_runs_and_makes_nothing(at_work: Shell) -> None:
    before = len(at_work("schedule", "ls", "--json").data)
    words = ["schedule", "add", NAME, "--on", "*", "--every", "1m", "--splay", "10s", "--arg", "n=7", "--dry-run"]
    tried = at_work.program(*words)
    assert tried.status == 0, tried.err
    first, titles, *hosts = tried.out.splitlines()
    assert re.fullmatch(
        r"would run on \d+ agents; tried on [12]: ok(, ok)? \(cost [\d.]+ ms cpu, 0 calls\); "
        r"next: ((\d{4}-\d\d-\d\d )?\d\d:\d\d:00(, )?){5} \(UTC\)", first
    ), first  # fmt: skip
    assert titles.split() == ["HOST", "LINK", "TRIED", "RESULT", "RUN"]
    by_name = {line.split()[0]: line.split()[1:] for line in hosts}
    assert by_name["host-1"][:3] == ["up", "ok", "7"]
    assert by_name["gone-1"] == ["off", "-", "-", "-"]
    assert "each host fires up to 10s later" in tried.err
    told = at_work(*words, "--json").data
    assert {host["name"] for host in told["hosts"]} == set(by_name)
    assert told["tries"][0]["result"] == 7
    assert len(told["fires"]) == 5
    records = at_work("record", "ls", "--run", told["tries"][0]["id"], "--json").data
    assert [item["data"]["dry_run"] for item in records if item["kind"] == "run.start"] == [True]
    assert len(at_work("schedule", "ls", "--json").data) == before


def test_trial_where_nothing_can_be_tried(at_work: Shell) -> None:
    away = at_work("schedule", "add", NAME, "--on", "gone-1", "--every", "1h", "--dry-run")
    assert (away.status, away.out.startswith("would run on 1 agent; tried on none: no agent is connected; next: ")) == (
        0, True,
    )  # fmt: skip
    nobody = at_work("schedule", "add", NAME, "--on", "role=nothing", "--every", "1h", "--dry-run")
    assert nobody.status == 0
    assert nobody.out.startswith("would run on 0 agents; next: ")
    assert "no host matches role=nothing now" in nobody.err


def test_target_that_nobody_matches_now(at_work: Shell) -> None:
    """It is allowed, a host may come; but a mistyped name must not look like a success."""
    added = at_work("schedule", "add", NAME, "--on", "role=nothing", "--every", "1h")
    assert added.status == 0
    assert "no host matches role=nothing now" in added.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--every", "soon"], "--every: 'soon' is not a duration"),
        (["--every", "10"], "--every: '10' is not a duration"),
        (["--every", "1ms"], "--every: 1ms is out of range (1s to 366d)"),
        (["--every", "400d"], "--every: 400d is out of range (1s to 366d)"),
        (["--every", "1h", "--splay", "2d"], "--splay: 2d is out of range (at most 1d)"),
        (["--every", "1h", "--splay", "x"], "--splay: 'x' is not a duration"),
        (["--every", "1h", "--timeout", "0s"], "--timeout: 0s is out of range (1ms to 1d)"),
        (["--every", "1h", "--arg", "n"], "--arg: 'n' is not of the form key=value"),
        (["--every", "1h", "--arg", "n=x"], "the parameter 'n' must be an integer, not 'x'"),
        (["--every", "1h", "--arg", "m=1"], "--arg: the script has no parameter 'm' (known: n)"),
        (["--every", "1h", "--cron", "* * * * *"], "either --every or --cron"),
        ([], "either --every or --cron"),
        (["--cron", "61 * * * *"], "'61 * * * *': the minute '61' is not valid (0-59)"),
        (["--cron", "* * *"], "'* * *' has 3 fields, not five"),
        (["--cron", "0 0 30 2 *"], "names a day that never comes"),
        (["--cron", "* * * * *", "--zone", "Mars/Olympus"], "'Mars/Olympus' is not a time zone"),
        (["--cron", ""], "cron must be text of 1"),
        (["--every", "1h", "--overlap", "both"], "'both'"),
        (["--every", "1h", "--catch-up", "some"], "'some'"),
        (["--every", "1h", "--on", "host/1"], "'host/1' is not the name of an agent"),
        (["--every", "1h", "--on", "role="], "'role=' is not a label"),
    ],
)
def test_mistake_is_named_and_nothing_is_made(at_work: Shell, words: list[str], said: str) -> None:
    before = len(at_work("schedule", "ls", "--json").data)
    called = at_work("schedule", "add", NAME, "--on", "host-1", *words)
    assert (called.status, called.out) == (2, "")
    assert said in called.err
    tried = at_work("schedule", "add", NAME, "--on", "host-1", *words, "--dry-run")
    assert (tried.status, tried.out, tried.err) == (2, "", called.err), "a trial refuses what the real thing refuses"
    assert len(at_work("schedule", "ls", "--json").data) == before


def test_error_of_the_server_in_json_names_the_field(at_work: Shell) -> None:
    called = at_work("schedule", "add", NAME, "--on", "host-1", "--cron", "61 * * * *", "--json")
    assert (called.status, called.out) == (2, "")
    assert called.error["code"] == "invalid_argument"
    assert called.error["parameter"] == "cron"


def test_script_that_is_not_there_or_not_approved(at_work: Shell) -> None:
    missing = at_work("schedule", "add", "checks/nowhere", "--on", "host-1", "--every", "1h")
    assert (missing.status, missing.err) == (1, "there is no script 'checks/nowhere'  (see: outrider script ls)\n")
    at_work.publish(at_work.write("checks/cli-unapproved", "return 1\n"))
    refused = at_work("schedule", "add", "checks/cli-unapproved", "--on", "host-1", "--every", "1h")
    assert refused.status == 3
    assert "0 of 1 approvals" in refused.err


@pytest.mark.parametrize("verb", [["show"], ["next"], ["pause"], ["rm", "--yes"]])
@pytest.mark.parametrize(
    ("name", "status", "code"),
    [("nowhere", 1, "not_found"), ("a?bcdef", 2, "invalid_argument"), ("0" * 16, 1, "not_found")],
)
def test_schedule_that_is_not_there(at_work: Shell, verb: list[str], name: str, status: int, code: str) -> None:
    called = at_work("schedule", verb[0], name, *verb[1:], "--json")
    assert (called.status, called.out) == (status, "")
    assert called.error["code"] == code


def test_name_that_would_reach_something_else(at_work: Shell) -> None:
    called = at_work("schedule", "rm", "../agents/gone-1", "--yes")
    assert called.status == 2
    assert "'../agents/gone-1' is no id" in called.err
    assert at_work("agent", "show", "gone-1").status == 0
