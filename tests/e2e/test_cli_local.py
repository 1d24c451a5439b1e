"""The nouns that need no server: policy, key, doctor, completion; and what all command lines have in common."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from shell import Shell


def test_policy_of_a_tier(outrider: Shell) -> None:
    shown = outrider.program("policy", "show", "inspect")
    assert (shown.status, shown.err) == (0, "")
    assert re.search(r"^allow +fs\.read .*/etc/\*\*", shown.out, re.MULTILINE)
    assert re.search(r"^allow +sys\.cpu .* observe\.yaml:\d+$", shown.out, re.MULTILINE), "with what it extends"
    data = outrider("policy", "show", "inspect", "--json").data
    assert data["name"] == "inspect"
    assert data["limits"]["wall_s"] > 0
    assert data["limits"]["log_lines"] == 1000
    assert re.search(r"^log lines +1000$", shown.out, re.MULTILINE)


def test_policy_explains_a_verdict_and_exits_by_it(outrider: Shell) -> None:
    allowed = outrider("policy", "explain", "inspect", "fs.read", "--path", "/etc/hostname", "--json")
    assert allowed.status == 0
    assert allowed.data["verdict"] == "allow"
    assert re.match(r"inspect\.yaml:\d+ allow fs\.read", allowed.data["rule"])
    denied = outrider("policy", "explain", "inspect", "fs.read", "--path", "/etc/shadow")
    assert denied.status == 3
    assert re.search(r"^rule +inspect\.yaml:\d+ deny", denied.out, re.MULTILINE), denied.out


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["--command", "df", "--argv", "/usr/bin/df -P '/var/log'"], 0),
        (["--command", "df", "--argv", "/bin/sh -c id"], 3),
        (["--command", "df"], 3),
    ],
)
def test_policy_explains_what_a_command_stands_for(outrider: Shell, words: list[str], status: int) -> None:
    called = outrider("policy", "explain", "inspect", "proc.command", *words)
    assert called.status == status
    assert ("tell it with --argv" in called.err) == ("--argv" not in words)


def test_policy_tells_targets_from_commands(outrider: Shell) -> None:
    path = outrider.work / "mine.yaml"
    path.write_text("tier: inspect\nallow:\n- {call: fs.stat, targets: [web:80]}\n")
    assert outrider("policy", "explain", "mine.yaml", "fs.stat", "--target", "web:80").status == 0
    assert outrider("policy", "explain", "mine.yaml", "fs.stat", "--target", "web:81").status == 3
    assert outrider("policy", "explain", "mine.yaml", "fs.stat", "--command", "web:80").status == 3


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--target", "web.example.org:443"], 0, ""),
        (["--target", "web.example.org:443", "--address", "192.0.2.1"], 0, ""),
        (["--target", "web.example.org:443", "--address", "169.254.169.254"], 3, "cloud metadata"),
        (["--target", "[::1]:443"], 3, "loopback"),
        (["--target", "2001:db8::1"], 0, ""),
        (["--target", "web:0"], 2, "--target: 0 is no port"),
        (["--target", "127.1"], 2, "--target: "),
        (["--target", "web", "--address", "x"], 2, "--address: "),
        (["--address", "192.0.2.1"], 2, "--address: needs --target"),
    ],
)
def test_policy_explains_targets(outrider: Shell, words: list[str], status: int, said: str) -> None:
    called = outrider("policy", "explain", "admin", "net.interfaces", *words)
    assert called.status == status
    assert said in called.out + called.err


def test_policy_explains_whether_luajit_may_be_chosen(outrider: Shell) -> None:
    assert outrider("policy", "explain", "observe", "language.luajit").status == 0


def test_policy_shows_what_a_command_may_be(outrider: Shell) -> None:
    shown = outrider("policy", "show", "inspect", "--json").data["rules"]
    rules = [rule for rule in shown if rule["commands"] == ["uptime"]]
    assert {rule["call"] for rule in rules} == {"proc.command", "proc.start"}, "the same for scripts and for people"
    for rule in rules:
        assert (rule["programs"], rule["arguments"]) == (["/usr/bin/uptime", "/bin/uptime"], ["-[ps]"])


def test_policy_shows_all_that_binds_a_rule(outrider: Shell) -> None:
    """What narrows a rule and is not shown lets it look wider than it is, and two that differ look the same."""
    rule = "{call: proc.exec, programs: [/bin/x], environment: [PGDATABASE]}"
    path = outrider.work / "bound.yaml"
    path.write_text(
        f"tier: admin\nallow:\n- {{call: fs.read, paths: [/a/**], except: [/a/b], max_bytes: 4KiB}}\n- {rule}\n"
    )
    read, run = outrider("policy", "show", "bound.yaml", "--json").data["rules"]
    assert (read["except"], read["max_bytes"], run["environment"]) == (["/a/b"], 4096, ["PGDATABASE"])


def test_policy_file_of_ones_own(outrider: Shell) -> None:
    path = outrider.work / "mine.yaml"
    path.write_text("tier: observe\nallow:\n- {call: fs.stat, paths: [/srv/**]}\n")
    assert outrider("policy", "explain", "mine.yaml", "fs.stat", "--path", "/srv/x").status == 0
    assert outrider("policy", "explain", "mine.yaml", "fs.stat", "--path", "/etc").status == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "obsrve"], "'obsrve' is not a tier"),
        (["show", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
        (["show", "wrong.yaml"], "wrong.yaml:3: allow[0].pths"),
        (["show", "broken.yaml"], "broken.yaml:2"),
        (["explain", "observe", "fs.raed"], "there is no call named 'fs.raed'; did you mean fs.read"),
        (["explain", "observe", "fs.stat", "--path", "etc"], "--path: 'etc' is not an absolute path"),
        (["explain", "observe", "fs.stat", "--path", "/etc/../root"], "--path: '/etc/../root'"),
        (["explain", "inspect", "proc.command", "--argv", "/bin/df"], "--argv: needs --command"),
        (["explain", "inspect", "proc.command", "--command", "df", "--argv", "df"], "--argv: must begin with"),
        (["explain", "inspect", "proc.command", "--command", "df", "--argv", "/bin/df '"], "is not a command line"),
    ],
)
def test_bad_policy_words(outrider: Shell, words: list[str], said: str) -> None:
    (outrider.work / "wrong.yaml").write_text("tier: observe\nallow:\n- {call: fs.stat, pths: [/]}\n")
    (outrider.work / "broken.yaml").write_text("tier: [\n")
    called = outrider("policy", *words)
    assert (called.status, called.out) == (2, "")
    assert said in called.err


def test_key_is_made_once_and_shown(outrider: Shell) -> None:
    made = outrider("key", "new", "mia.key", "--json")
    assert (made.status, made.err) == (0, "")
    path = outrider.work / "mia.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().strip() not in made.out, "only the public half is shown"
    assert (outrider.work / "mia.key.pub").read_text().strip() == made.data["public"]
    for file in ("mia.key", "mia.key.pub"):
        assert outrider("key", "show", file, "--json").data["key_id"] == made.data["key_id"]
    again = outrider("key", "new", "mia.key")
    assert again.status == 1
    assert again.err == "mia.key: there is a key already, and a key is never overwritten\n"


def test_key_in_the_usual_place(outrider: Shell) -> None:
    missing = outrider("key", "show")
    assert missing.status == 2
    assert "outrider key new" in missing.err
    assert outrider("key", "new").status == 0
    assert outrider("key", "show").status == 0


@pytest.mark.parametrize(("text", "mode", "said"), [("nonsense", 0o600, "is not a key"), ("", 0o600, "is not a key")])
def test_bad_key(outrider: Shell, text: str, mode: int, said: str) -> None:
    path = outrider.work / "bad.key"
    path.write_text(text)
    path.chmod(mode)
    called = outrider("key", "show", "bad.key")
    assert (called.status, called.out) == (2, "")
    assert called.err.startswith(f"bad.key: {said}")


def test_doctor_looks_at_walls_key_and_server(outrider: Shell) -> None:
    called = outrider.program("doctor", "--json")
    walls = {wall["name"]: wall["state"] for wall in called.data["walls"]}
    assert called.data["missing"] == [name for name, state in walls.items() if state != "up"]
    checks = {check["name"]: check for check in called.data["checks"]}
    assert checks["server"]["detail"] == f"{outrider.url} as admin"
    assert checks["key"]["state"] == "off"
    assert called.status == (0 if called.data["ok"] else 1)
    outrider.environment["OUTRIDER_TOKEN"] = "wrong"
    broken = outrider("doctor")
    assert broken.status == 1
    assert re.search(r"^server +error ", broken.out, re.MULTILINE)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_of_that_shell(outrider: Shell, shell: str, tmp_path: Path) -> None:
    printed = outrider("completion", shell)
    assert printed.status == 0
    assert "_OUTRIDER_COMPLETE" in printed.out
    assert outrider("completion", shell, "--json").data["script"].strip() == printed.out.strip()
    program = shutil.which(shell)
    if program is None:
        print(f"{shell} is not on this machine, so nobody reads its script here")
        return
    script = tmp_path / "script"
    script.write_text(printed.out)
    checked = subprocess.run([program, "-n", str(script)], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["agnt", "ls"], "Did you mean agent"),
        (["agent", "ls", "--limt", "3"], "--limt"),
        (["agent", "show"], "AGENT"),
        (["record", "show", "host-1", "x"], "SEQUENCE"),
        (["--context", "nowhere", "agent", "ls"], "there is no context 'nowhere'"),
        (["agent", "ls", "--token-file", "nowhere"], "nowhere: cannot be read"),
        (["agent", "ls", "--server", "outrider.example.net"], "is not a server"),
    ],
)
def test_with_json_every_error_is_one_line_of_json(outrider: Shell, words: list[str], said: str) -> None:
    """A program that asked for JSON must not have to read the usage text."""
    call = outrider.program if words[0] == "agnt" else outrider
    called = call(*words, "--json")
    assert (called.status, called.out) == (2, "")
    assert called.error["code"] == "invalid_argument"
    assert said in f"{called.error['where']}: {called.error['message']}"
