"""Records from the command line: list, follow, show; and proof that a change in the database is found and placed."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from shell import DEADLINE_S, ROOT, Shell

from fleet import Fleet

SOURCE = 'return fs.stat("/etc").type, fs.list("/etc")\n'


@pytest.fixture(scope="module")
def at_work(shared: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A shell whose fleet has something on record."""
    shell = Shell(tmp_path_factory.mktemp("records"), shared)
    shell.install("checks/cli-record", SOURCE)
    assert shell("run", "host-1", "checks/cli-record", "--reason", "T-7").status == 0
    return shell


def test_list_in_a_pipe(at_work: Shell) -> None:
    listed = at_work.program("record", "ls", "--host", "host-1", "--call", "fs.stat", "--limit", "1")
    assert listed.status == 0
    titles, line = listed.out.splitlines()
    assert titles.split() == ["TIME", "HOST", "SEQ", "BY", "WHAT", "VERDICT", "RULE", "OUTCOME", "ARGUMENTS"]
    row = r"\d\d:\d\d:\d\d +host-1 +\d+ +admin +fs\.stat +allow +observe\.yaml:.* ok +path=/etc"
    assert re.fullmatch(row, line), line


def test_runs_and_events_say_what_they_are_about(at_work: Shell) -> None:
    told = at_work("record", "ls", "--host", "host-1", "--limit", "1000").out
    assert re.search(r"run\.end .* ok +.*script=checks/cli-record, status=ok", told)
    assert re.search(r"event start ", told)
    assert "None" not in told, "what is shown is not a program's own notation"


def test_list_in_json_is_filtered(at_work: Shell) -> None:
    runs = at_work("record", "ls", "--kind", "run.start", "--host", "host-1", "--limit", "1000", "--json").data
    (run,) = {record["run"] for record in runs if record["data"]["script"] == "checks/cli-record"}
    records = at_work("record", "ls", "--run", run, "--json").data
    assert {record["kind"] for record in records} == {"run.start", "call", "run.end"}
    assert all(record["agent"] == "host-1" for record in records)
    server = at_work("record", "ls", "--host", "server", "--call", "run.start", "--limit", "1000", "--json").data
    assert "T-7" in {record["arguments"]["reason"] for record in server}


def test_who_and_which_calls(at_work: Shell) -> None:
    told = at_work(
        "record", "ls", "--host", "server", "--by", "admin", "--call", "run.*", "--limit", "1000", "--json"
    ).data
    assert {record["principal"] for record in told} == {"admin"}
    assert "run.start" in {record["call"] for record in told}
    nobody = at_work("record", "ls", "--by", "adm")
    assert (nobody.status, nobody.err) == (0, "no record matches\n")


def test_times(at_work: Shell) -> None:
    assert at_work("record", "ls", "--since", "1h", "--limit", "1").status == 0
    nothing = at_work("record", "ls", "--until", "2020-01-01")
    assert (nothing.status, nothing.out, nothing.err) == (0, "", "no record matches\n")


def test_cut_list_says_that_there_is_more(at_work: Shell) -> None:
    cut = at_work("record", "ls", "--limit", "2")
    assert len(cut.rows) == 2
    assert cut.err == "the newest 2 records; there are more: --since, --limit\n"
    oldest = at_work("record", "ls", "--limit", "2", "--oldest-first")
    assert oldest.err == "the 2 records that came first; there are more: --since, --limit\n"
    assert len(at_work("record", "ls", "--limit", "2", "--json").data) == 2


def test_the_newest_come_first_unless_the_oldest_are_asked_for(at_work: Shell) -> None:
    """Who looks wants to know what just happened; who reads a history begins at its beginning."""
    words = ("record", "ls", "--host", "host-1", "--limit", "1000", "--json")
    oldest, newest = at_work(*words, "--oldest-first").data, at_work(*words).data  # more may have come in between
    assert [record["sequence"] for record in oldest] == list(range(1, len(oldest) + 1))
    assert newest[-len(oldest) :] == oldest[::-1]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["ls", "--since", "yesterday"], 2, "'yesterday' is not a time"),
        (["ls", "--until", "25:00"], 2, "'25:00' is not a time"),
        (["ls", "--kind", "calls"], 2, "there is no kind 'calls' (known: call, "),
        (["ls", "--limit", "0"], 2, "--limit"),
        (["ls", "--host", "nobody"], 1, "there is no agent 'nobody'"),
        (["tail", "--host", "nobody"], 1, "there is no agent 'nobody'"),
        (["tail", "-f", "--count", "1"], 2, "--follow and --count"),
        (["show", "host-1", "0"], 2, "SEQUENCE"),
        (["show", "host-1", "999999"], 1, "has no record 999999"),
        (["show", "nobody", "1"], 1, "there is no agent 'nobody'"),
        (["show", "../agents", "1"], 2, "neither a name nor an id"),
        (["verify", "--host", "nobody"], 1, "there is no agent 'nobody'"),
        (["verify", "--since", "yesterday"], 2, "'yesterday' is not a time"),
        (["verify", "--since", "9999-12-31"], 2, "is yet to come: nothing would be proved"),
    ],
)
def test_bad_words(at_work: Shell, words: list[str], status: int, said: str) -> None:
    called = at_work("record", *words, "--json")
    assert (called.status, called.out) == (status, "")
    assert said in called.error["message"]


def test_show_one(at_work: Shell) -> None:
    shown = at_work("record", "show", "host-1", "1")
    assert shown.status == 0
    assert re.search(r"^previous +0{64}$", shown.out, re.MULTILINE)
    data = at_work("record", "show", "host-1", "2", "--json").data
    assert (data["agent"], data["sequence"]) == ("host-1", 2)


@contextmanager
def following(shell: Shell, *words: str) -> Iterator[subprocess.Popen[str]]:
    """``record tail`` as a program whose stream of events is open."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "record", "tail", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL, text=True, cwd=shell.work, env={**shell.environment, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_follow_until_ctrl_c(at_work: Shell, shared: Fleet) -> None:
    with following(at_work, "--json", "--host", "host-1") as process:
        assert process.stdout is not None
        source = process.stdout.fileno()
        os.set_blocking(source, False)
        seen = b""

        def arrived() -> bool:
            nonlocal seen
            # What comes before the stream is open is not on it, so there must be something new at every look.
            assert at_work("run", "host-1", "checks/cli-record").status == 0
            with suppress(BlockingIOError):
                while data := os.read(source, 65536):
                    seen += data
            return any(b'"run.end"' in line for line in seen.split(b"\n")[:-1])

        shared.wait_for("records to come", arrived)
        lines = seen.split(b"\n")[:-1]  # the last may be on its way
        assert all(json.loads(line)["agent"] == "host-1" for line in lines)
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 130
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_follow_a_number_of_records(at_work: Shell, shared: Fleet) -> None:
    with following(at_work, "--count", "2") as process:
        shared.wait_for(
            "two records", lambda: at_work("run", "host-1", "checks/cli-record").status or process.poll() is not None
        )
        assert process.returncode == 0
        assert process.stdout is not None
        assert len(process.stdout.read().splitlines()) == 2


def test_verify_what_is_whole(at_work: Shell) -> None:
    verified = at_work("record", "verify")
    assert (verified.status, verified.err) == (0, "")
    lines = verified.out.splitlines()
    head = lines.pop()
    assert re.match(r"ok tree head \d+", head), head
    names = [
        re.match(r"ok ([\w.-]+(~\w+)?): [\d,]+ records?, chain whole, \d+ signed checkpoints?$", line) for line in lines
    ]
    assert all(names), lines
    assert {"host-1", "server"} <= {match[1] for match in names if match}
    one = at_work("record", "verify", "--host", "server", "--json").data
    assert one["ok"] is True
    assert [agent["agent"] for agent in one["agents"]] == ["server"]


def test_verify_only_what_came_since(at_work: Shell) -> None:
    verified = at_work("record", "verify", "--host", "host-1", "--since", "2026-01-01")
    assert (verified.status, verified.err) == (0, "")
    line, head = verified.out.splitlines()
    form = r"ok host-1: [\d,]+ records since 2026-01-01 00:00, chain whole, \d+ signed checkpoints?"
    assert re.fullmatch(form, line), line
    assert head.startswith("ok tree head ")
    everything = at_work("record", "verify", "--host", "host-1", "--json").data["agents"][0]
    (last,) = at_work("record", "ls", "--host", "host-1", "--limit", "1", "--json").data
    told = at_work("record", "verify", "--host", "host-1", "--since", last["time"], "--json").data
    assert told["ok"] is True
    assert 1 <= told["agents"][0]["records"] < everything["records"]
    assert told["agents"][0]["first"] > 1


def change_a_byte(database: sqlite3.Connection, agent: str, sequence: int) -> None:
    it = "WHERE agent = ? AND sequence = ?"
    (blob,) = database.execute(f"SELECT blob FROM records {it}", (agent, sequence)).fetchone()
    assert b"/etc" in blob
    database.execute(f"UPDATE records SET blob = ? {it}", (blob.replace(b"/etc", b"/usr"), agent, sequence))


def change_a_hash(database: sqlite3.Connection, agent: str, sequence: int) -> None:
    database.execute("UPDATE records SET hash = zeroblob(32) WHERE agent = ? AND sequence = ?", (agent, sequence))


def take_one_out(database: sqlite3.Connection, agent: str, sequence: int) -> None:
    database.execute("DELETE FROM records WHERE agent = ? AND sequence = ?", (agent, sequence))


def cut_the_end_off(database: sqlite3.Connection, agent: str, sequence: int) -> None:
    database.execute("DELETE FROM records WHERE agent = ? AND sequence >= ?", (agent, sequence))


@pytest.mark.parametrize("tamper", [change_a_byte, change_a_hash, take_one_out, cut_the_end_off])
def test_verify_finds_what_was_tampered_with_and_names_the_place(
    at_work: Shell, shared: Fleet, tamper: Callable[[sqlite3.Connection, str, int], None]
) -> None:
    """Whoever owns the database can change it, but not so that nobody notices. The chain is of a host that is away."""
    (record,) = at_work("record", "ls", "--host", "gone-1", "--call", "fs.list", "--json").data
    with changed(shared, tamper, record["agent_id"], record["sequence"]):
        found = at_work("record", "verify")
        assert found.status == 7, found
        lines = {line.split()[1].rstrip(":"): line for line in found.out.splitlines()}
        place = re.match(r"error gone-1: \D*(\d+)", lines["gone-1"])
        assert place is not None, lines
        assert int(place[1]) in {record["sequence"] - 1, record["sequence"], record["sequence"] + 1}, lines["gone-1"]
        assert lines["server"].startswith("ok "), "the other chains are whole"
        assert lines["host-1"].startswith("ok ")
        told = at_work("record", "verify", "--host", "gone-1", "--json")
        assert (told.status, told.data["ok"]) == (7, False)
        assert told.data["agents"][0]["error"]
        (server,) = at_work("record", "verify", "--host", "server", "--json").data["agents"]
        assert server["error"] is None
    assert at_work("record", "verify").status == 0, "as before"


def test_the_head_is_compared_with_the_last_one_that_was_seen(at_work: Shell, tmp_path: Path) -> None:
    """What was seen lies in a file of one's own, and stays as it was if the server cannot prove that it still holds."""
    shell = Shell(tmp_path, at_work.fleet)
    kept = tmp_path / ".local" / "state" / "outrider" / "tree-heads.json"
    first = shell("record", "verify", "--json").data
    assert (first["ok"], first["tree"]["error"], first["head"]["compared_with"]) == (True, None, None)
    assert kept.stat().st_mode & 0o777 == 0o600
    assert shell("run", "host-1", "checks/cli-record").status == 0
    told = shell("record", "verify", "--host", "host-1")
    found = re.search(r"^ok tree head (\d+) consistent with (\d+)$", told.out, re.MULTILINE)
    assert found is not None, told.out
    assert int(found[1]) > int(found[2]) == first["head"]["size"]

    (url,), seen = json.loads(kept.read_text()), json.loads(kept.read_text())
    for changes, said in (
        ({"root": "00" * 32}, "did not grow from that of"),
        ({"size": 10_000_000}, "it had signed 10000000 before"),
        ({"key": at_work.fleet.key("root").public.to_text()}, "the server signs tree heads with key"),
    ):
        kept.write_text(json.dumps({url: seen[url] | changes}))
        as_it_was = kept.read_text()
        broken = shell("record", "verify")
        assert broken.status == 7, broken.out
        assert re.search(rf"^error tree head: .*{said}", broken.out, re.MULTILINE), broken.out
        assert kept.read_text() == as_it_was

    kept.write_text(json.dumps(seen))
    kept.chmod(0o644)
    assert shell("record", "verify").status == 2, "others could have written it"
    kept.chmod(0o600)
    kept.write_text("[]")
    assert "is damaged" in shell("record", "verify").err


def take_records_back(database: sqlite3.Connection, agent: str, sequence: int) -> None:
    """Remove one record with everything that tells of it but the heads that were signed: chains, nodes, the tree."""
    del sequence
    database.execute("DELETE FROM records WHERE agent = ? AND call = 'fs.list'", (agent,))


def test_records_that_are_taken_back_show_in_the_tree(at_work: Shell, shared: Fleet, tmp_path: Path) -> None:
    shell = Shell(tmp_path, shared)
    assert shell("record", "verify").status == 0
    (record,) = at_work("record", "ls", "--host", "gone-1", "--call", "fs.list", "--json").data
    with changed(shared, take_records_back, record["agent_id"], record["sequence"]):
        found = shell("record", "verify")
        assert found.status == 7
        assert re.search(r"^error tree: record \d+ of all is missing$", found.out, re.MULTILINE), found.out


@contextmanager
def changed(
    made: Fleet, tamper: Callable[[sqlite3.Connection, str, int], None], agent: str, sequence: int
) -> Iterator[None]:
    """Change the server's database behind its back, and put the chain back afterwards."""
    with closing(sqlite3.connect(made.directory / "server" / "server.sqlite", timeout=10)) as database:
        kept = database.execute("SELECT * FROM records WHERE agent = ?", (agent,)).fetchall()
        with database:
            tamper(database, agent, sequence)
        try:
            yield
        finally:
            with database:
                database.execute("DELETE FROM records WHERE agent = ?", (agent,))
                database.executemany(f"INSERT INTO records VALUES ({', '.join('?' * len(kept[0]))})", kept)
