"""``outrider run`` and ``outrider runs``: results, every way to end, targets, waiting."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from shell import Called, Shell

from fleet import Fleet

TALKER = """\
print("hello from the script")
check.metric("load", "double", 1234567.125, "jobs")
check.status("2 jobs wait")
check.timestamp(1700000000000)
return {a = 1}
"""
SCRIPTS = {
    "checks/run-talker": TALKER,
    "checks/run-quiet": "return nil\n",
    "checks/run-error": 'local a = 1\nerror("boom")\n',
    "checks/run-denied": '\nreturn fs.read("/etc/shadow")\n',
    "checks/run-endless": "while true do end\n",
    "checks/run-shout": 'return "\\27[31mred"\n',
}
PARAMETERS = """\
parameters:
  n: {type: integer, required: true}
  who: {type: string, pattern: "^[a-z]+$"}
  loud: {type: boolean, default: false}
"""


@pytest.fixture(scope="module")
def at_work(shared: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell with scripts to run."""
    shell = Shell(tmp_path_factory.mktemp("runs"), shared)
    for name, source in SCRIPTS.items():
        shell.install(name, source)
    shell.install(
        "checks/run-given", 'return {n = param("n"), who = param("who"), loud = param("loud")}\n', more=PARAMETERS
    )
    assert shell("agent", "label", "host-1", "role=runner").status == 0
    assert shell("agent", "label", "gone-1", "role=runner").status == 0
    yield shell
    for host in ("host-1", "gone-1"):
        shell("agent", "label", host, "role-")


def run(shell: Shell, *words: str) -> Called:
    return shell("run", *words)


def test_result_on_stdout_and_how_it_went_on_stderr(at_work: Shell) -> None:
    called = at_work.program("run", "host-1", "checks/run-talker", "--reason", "T-1")
    assert called.status == 0
    printed, titles, metric, *result = called.out.splitlines()
    assert printed == "hello from the script"
    assert titles.split() == ["METRIC", "VALUE", "UNIT", "TYPE", "TAKEN"]
    assert metric.split() == ["load", "1234567.125", "jobs", "double", "2023-11-14T22:13:20Z"]
    assert "".join(result).replace(" ", "") == '{"a":1}'
    assert re.fullmatch(
        r"ok  host-1  checks/run-talker  2 jobs wait  [\d.]+ ms, [\d.]+ ms cpu, \d calls\n", called.err
    ), called.err


def test_result_in_json(at_work: Shell) -> None:
    called = at_work("run", "host-1", "checks/run-talker", "--json")
    assert (called.status, called.err) == (0, "")
    (told,) = called.data["runs"]
    assert (told["status"], told["result"], told["status_text"]) == ("ok", {"a": 1}, "2 jobs wait")
    assert told["timestamp_ms"] == 1_700_000_000_000
    assert told["output"] == "hello from the script\n"
    assert told["metrics"][0]["name"] == "load"


def test_run_without_anything_to_say(at_work: Shell) -> None:
    called = run(at_work, "host-1", "checks/run-quiet")
    assert (called.status, called.out) == (0, "")
    assert re.fullmatch(r"ok  host-1  checks/run-quiet  [\d.]+ ms, [\d.]+ ms cpu, 0 calls\n", called.err), called.err


@pytest.mark.parametrize(
    ("script", "words", "status", "said"),
    [
        ("checks/run-error", [], 1, r"error  host-1  checks/run-error  main\.lua:2: boom"),
        ("checks/run-denied", [], 3, r"denied  host-1  checks/run-denied  main\.lua:2: .*fs\.read /etc/shadow"),
        (
            "checks/run-endless",
            ["--timeout", "200ms"],
            5,
            r"killed  host-1  \S+  (wall: .*0\.2 s|the run took too long)",
        ),
    ],
)
def test_bad_ends_have_their_status_and_say_why(
    at_work: Shell, script: str, words: list[str], status: int, said: str
) -> None:
    called = run(at_work, "host-1", script, *words)
    assert (called.status, called.out) == (status, "")
    assert re.match(said, called.err), called.err
    assert run(at_work, "host-1", script, *words, "--json").status == status


def test_parameters_have_their_types(at_work: Shell) -> None:
    words = ["--arg", "n=5", "--arg", "who=mia", "--arg", "loud=true"]
    told = run(at_work, "host-1", "checks/run-given", *words, "--json").data["runs"][0]
    assert told["result"] == {"n": 5, "who": "mia", "loud": True}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "the parameter 'n' of checks/run-given is required"),
        (["--arg", "n=five"], "the parameter 'n' must be an integer, not 'five'"),
        (["--arg", "n=1", "--arg", "who=UP"], "the parameter 'who' does not match ^[a-z]+$"),
        (["--arg", "n=1", "--arg", "loud=perhaps"], "'loud'"),
        (["--arg", "z=1"], "--arg: the script has no parameter 'z' (known: loud, n, who)"),
        (["--arg", "n"], "--arg: 'n' is not of the form key=value"),
        (["--arg", "n=1", "--arg", "n=2"], "--arg: 'n' is given twice"),
        (["--arg", "n=1", "--timeout", "soon"], "--timeout: 'soon' is not a duration"),
        (["--arg", "n=1", "--timeout", "2d"], "--timeout: 2d is out of range"),
        (["--arg", "n=1", "--wait", "5m"], "--wait: 5m is out of range (at most 1m)"),
        (["--arg", "n=1", "--key", "nowhere", "--sign"], "nowhere: there is no such key"),
        (["--arg", "n=1", "--within", "1h"], "--within says how long --when-back waits"),
        (["--arg", "n=1", "--when-back", "--within", "soon"], "--within: 'soon' is not a duration"),
        (["--arg", "n=1", "--when-back", "--within", "31d"], "--within: 31d is out of range (1s to 30d)"),
    ],
)
def test_bad_words(at_work: Shell, words: list[str], said: str) -> None:
    called = run(at_work, "host-1", "checks/run-given", *words)
    assert (called.status, called.out) == (2, "")
    assert said in called.err


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["host-1"], 2, "TARGET and SCRIPT"),
        (["host-1", "checks/run-quiet", "more"], 2, "TARGET and SCRIPT"),
        (["-l", "role=runner", "host-1", "checks/run-quiet"], 2, "no TARGET"),
        (["-l", "runner", "checks/run-quiet"], 2, "'-l'"),
        (["-l", "role=", "checks/run-quiet"], 2, "'role='"),
        (["nobody", "checks/run-quiet"], 1, "there is no agent 'nobody'"),
        (["host/1", "checks/run-quiet"], 2, "'host/1'"),
        (["nobody-*", "checks/run-quiet"], 1, "nobody-*"),
        (["host-1", "checks/nowhere"], 1, "there is no script 'checks/nowhere'"),
        (["host-1", "checks/run-quiet", "--version", "9.9.9"], 1, "9.9.9"),
    ],
)
def test_bad_targets(at_work: Shell, words: list[str], status: int, said: str) -> None:
    called = run(at_work, *words)
    assert (called.status, called.out) == (status, "")
    assert said in called.err
    told = run(at_work, *words, "--json")
    assert (told.status, told.out) == (status, "")
    assert said in told.error["message"]


def test_host_that_is_away(at_work: Shell) -> None:
    called = at_work("run", "gone-1", "checks/run-quiet")
    assert (called.status, called.out) == (6, "")
    assert re.fullmatch(
        r"gone-1 is not connected \(last seen (\d+ \w+ ago|now)\)\. Queue it with --when-back,"
        r" or see: outrider agent show gone-1\n",
        called.err,
    ), called.err
    told = run(at_work, "gone-1", "checks/run-quiet", "--json")
    assert (told.status, told.out) == (6, "")
    assert told.error["code"] == "not_connected"


def test_queued_for_a_host_that_is_away(at_work: Shell) -> None:
    called = run(at_work, "gone-1", "checks/run-quiet", "--when-back")
    assert (called.status, called.out) == (0, "")
    match = re.fullmatch(
        r"queued  gone-1  checks/run-quiet  waits for its host until [\d-]+ [\d:]+;"
        r" see: outrider runs show ([0-9a-f]{16})\n",
        called.err,
    )
    assert match, called.err
    listed = at_work("runs", "ls", "--host", "gone-1", "--status", "queued")
    (row,) = [row for row in listed.rows if row[0] == match[1]]
    assert row[5:] == ["queued", row[6]]
    assert row[6].startswith("waits for its host until ")
    cancelled = at_work("runs", "cancel", match[1])
    assert (cancelled.status, cancelled.out) == (0, "")
    assert "cancelled by admin before its host was back" in cancelled.err
    assert at_work("runs", "show", match[1]).status == 5


def test_of_several_hosts_those_that_are_away_are_queued(at_work: Shell) -> None:
    called = run(at_work, "-l", "role=runner", "checks/run-talker", "--when-back", "--within", "1h", "--json")
    assert called.status == 0, called.err
    told = {item["agent"]: item for item in called.data["runs"]}
    assert told["host-1"]["status"] == "ok"
    assert (told["gone-1"]["status"], bool(told["gone-1"]["waits_until"])) == ("queued", True)
    assert at_work("runs", "cancel", told["gone-1"]["id"]).status == 0
    started = at_work("run", "gone-1", "checks/run-quiet", "--when-back", "--no-wait")
    assert started.status == 0
    assert at_work("runs", "cancel", started.out.strip()).status == 0


@pytest.mark.parametrize("target", [["*-1"], ["-l", "role=runner"], ["-l", "role=runner,env!=test"]])
def test_of_several_hosts_some_ran_it(at_work: Shell, target: list[str]) -> None:
    called = run(at_work, *target, "checks/run-talker")
    assert called.status == 8
    rows = {row[0]: row for row in called.rows}
    assert rows["host-1"][1:4] == ["checks/run-talker", "ok", "2 jobs wait"]
    assert rows["gone-1"][2] == "refused"
    assert "not connected" in rows["gone-1"][3]


def test_started_and_looked_at_later(at_work: Shell) -> None:
    """Stdout is the id alone, for a shell's ``$(...)``."""
    started = at_work.program("run", "host-1", "checks/run-talker", "--no-wait")
    assert started.status == 0
    identity = started.out.strip()
    assert re.fullmatch(r"[0-9a-f]{16}", identity)
    assert f"outrider runs show {identity}" in started.err
    shown = at_work("runs", "show", identity, "--wait", "20s")
    assert shown.status == 0
    assert shown.out.startswith("hello from the script\n")
    assert "2 jobs wait" in shown.err
    listed = at_work("runs", "ls", "--host", "host-1", "--script", "checks/run-talker", "--limit", "5")
    (row,) = [row for row in listed.rows if row[0] == identity]
    assert row[2:7] == ["host-1", "checks/run-talker", "admin", "ok", "2 jobs wait"]


def test_what_could_not_be_started_is_told_to_who_does_not_wait(at_work: Shell) -> None:
    called = run(at_work, "gone-*", "checks/run-talker", "--no-wait")
    assert called.status == 6
    assert "not connected" in called.err
    assert re.fullmatch(r"[0-9a-f]{16}\n", called.out)


def test_waited_for_too_short_and_cancelled(at_work: Shell) -> None:
    called = run(at_work, "host-1", "checks/run-endless", "--wait", "50ms")
    assert (called.status, called.out) == (1, "")
    match = re.fullmatch(
        r"(queued|running)  host-1  checks/run-endless  see: outrider runs show ([0-9a-f]{16})\n", called.err
    )
    assert match, called.err
    cancelled = at_work("runs", "cancel", match[2])
    assert cancelled.status == 0, cancelled.err
    ended = at_work("runs", "show", match[2], "--wait", "20s", "--json")
    assert ended.status == 5
    assert ended.data["status"] == "killed"
    again = at_work("runs", "cancel", match[2])
    assert again.status == 1
    assert "ended already" in again.err


def test_exit_status_of_a_run_that_is_looked_at(at_work: Shell) -> None:
    told = run(at_work, "host-1", "checks/run-denied", "--json").data["runs"][0]
    shown = at_work("runs", "show", told["id"])
    assert shown.status == 3
    assert shown.err.startswith("denied  host-1")


@pytest.mark.parametrize("verb", ["show", "cancel"])
def test_run_that_is_not_there(at_work: Shell, verb: str) -> None:
    called = at_work("runs", verb, "nowhere", "--json")
    assert (called.status, called.out) == (1, "")
    assert called.error["code"] == "not_found"


def test_signed_order(at_work: Shell) -> None:
    """A host that does not take the server's word wants it; every other one takes it as well."""
    called = run(at_work, "host-1", "checks/run-quiet", "--sign", "--key", at_work.key("operator"), "--json")
    assert called.status == 0, called.err
    identity = called.data["runs"][0]["id"]
    (record,) = at_work("record", "ls", "--run", identity, "--kind", "run.start", "--json").data
    assert record["data"]["ordered"] is True


def test_what_a_script_returns_cannot_drive_a_terminal(at_work: Shell) -> None:
    called = run(at_work, "host-1", "checks/run-shout", "--json")
    assert "\x1b" not in called.out
    assert called.data["runs"][0]["result"] == "\x1b[31mred"
