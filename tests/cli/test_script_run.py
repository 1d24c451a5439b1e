"""``outrider script run``: the documented JSON form and exit statuses, in the real sandbox."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripts_here import write_bundle

FORM = {
    "status": str, "reason": (str, type(None)), "result": object, "output": str, "metrics": list, "calls": list,
    "usage": dict,
}  # fmt: skip
BOTH = [
    pytest.param("ok.lua", 'print("hi")\nreturn {1, "x", true}', id="lua"),
    pytest.param("ok.py", 'def main():\n    print("hi")\n    return [1, "x", True]', id="python"),
]


def ran(outrider: Callable[..., Any], path: Path, *words: str) -> tuple[int, dict[str, Any]]:
    called = outrider("script", "run", str(path), "--json", *words)
    assert called.err == "", called.err
    return called.status, called.data


def bare(home: Path, name: str, source: str) -> Path:
    path = home / name
    path.write_text(source)
    return path


@pytest.mark.parametrize(("name", "source"), BOTH)
def test_exact_form_of_a_good_run(outrider: Callable[..., Any], home: Path, name: str, source: str) -> None:
    status, told = ran(outrider, bare(home, name, source))
    assert status == 0
    assert list(told) == list(FORM)
    assert all(isinstance(told[key], kind) for key, kind in FORM.items())
    assert (told["status"], told["reason"], told["result"], told["output"]) == ("ok", None, [1, "x", True], "hi\n")
    assert (told["metrics"], told["calls"]) == ([], [])
    assert list(told["usage"]) == ["wall_ms", "cpu_ms", "peak_bytes"]
    assert told["usage"]["wall_ms"] > 0
    assert told["usage"]["peak_bytes"] > 1_000_000


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("m.lua", 'local s = fs.space("/")\ncheck.metric("total", "int64", s.total, "bytes")'),
        ("m.py", 's = fs.space("/")\ncheck.metric("total", "int64", s["total"], "bytes")\n'),
    ],
)
def test_calls_and_metrics(outrider: Callable[..., Any], home: Path, name: str, source: str) -> None:
    status, told = ran(outrider, bare(home, name, source))
    assert status == 0, told
    (metric,) = told["metrics"]
    assert (metric["name"], metric["type"], metric["unit"]) == ("total", "int64", "bytes")
    assert metric["value"] > 0
    assert [set(call) for call in told["calls"]] == [{"call", "verdict", "rule", "ms"}] * 2
    space = next(call for call in told["calls"] if call["call"] == "fs.space")
    assert space["verdict"] == "allow"
    assert space["rule"].startswith("observe.yaml:")
    assert space["ms"] > 0


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("peek.lua", '\nlocal text = fs.read("/etc/shadow")\nreturn text'),
        ("peek.py", '\ntext = fs.read("/etc/shadow")\n'),
    ],
)
def test_denied_names_call_rule_and_place(outrider: Callable[..., Any], home: Path, name: str, source: str) -> None:
    status, told = ran(outrider, bare(home, name, source))
    assert (status, told["status"], told["result"]) == (3, "denied", None)
    assert f"{name}:2" in told["reason"]
    assert "fs.read /etc/shadow" in told["reason"]
    (call,) = told["calls"]
    assert (call["call"], call["verdict"]) == ("fs.read", "deny")
    assert call["rule"]


def test_who_is_denied_something_is_told_how_to_see_what_is_needed(outrider: Callable[..., Any], home: Path) -> None:
    folder = write_bundle(home / "a bundle", "return fs.list('/etc')", more="needs: [{call: sys.uptime}]\n")
    called = outrider("script", "run", str(folder))
    assert called.status == 3
    assert called.err.endswith(f"\nwhat it needs: outrider script trace '{folder}' --write-needs\n")
    path = bare(home, "c.lua", "return fs.read('/etc/shadow')")
    assert outrider("script", "run", str(path)).err.endswith(f"\nwhat it needs: outrider script trace {path}\n")
    assert "what it needs" not in outrider("script", "run", str(path), "--json").err


def test_a_denial_that_the_script_catches_is_no_denied_run(outrider: Callable[..., Any], home: Path) -> None:
    path = bare(home, "c.lua", 'local ok, e = pcall(fs.read, "/etc/shadow")\nreturn {ok, e.code}')
    status, told = ran(outrider, path)
    assert (status, told["status"], told["result"]) == (0, "ok", [False, "denied"])
    assert told["calls"][0]["verdict"] == "deny"


@pytest.mark.parametrize(
    ("name", "source", "where"),
    [
        ("e.lua", '\n\nerror("broken")', "e.lua:3"),
        ("e.py", '\n\nraise ValueError("broken")', "e.py:3"),
        ("s.lua", "local x = 1\nx = = 2", "s.lua:2"),
        ("s.py", "x = 1\ndef main(:\n    pass", "s.py:2"),
    ],
)
def test_errors_name_the_place(outrider: Callable[..., Any], home: Path, name: str, source: str, where: str) -> None:
    status, told = ran(outrider, bare(home, name, source))
    assert (status, told["status"]) == (1, "error")
    assert where in told["reason"]


def test_an_unknown_call_is_an_error_and_on_the_list(outrider: Callable[..., Any], home: Path) -> None:
    status, told = ran(outrider, bare(home, "u.lua", 'local x = fs.shred("/etc/hostname")'))
    assert (status, told["status"]) == (1, "error")
    assert "fs.shred" in told["reason"]


@pytest.mark.parametrize(
    ("limits", "source", "budget"),
    [
        ("{wall: 300ms, cpu: 10s}", "while true do end", "wall"),
        ("{calls: 3}", "for i = 1, 10 do sys.uptime() end", "calls"),
        ("{memory: 8MiB}", 'local t = {} for i = 1, 1e7 do t[i] = "x" .. i end', "memory"),
    ],
)
def test_killed_by_a_limit_names_the_budget(
    outrider: Callable[..., Any], home: Path, limits: str, source: str, budget: str
) -> None:
    folder = write_bundle(home / "bundle", source, more=f"limits: {limits}\n")
    status, told = ran(outrider, folder)
    assert (status, told["status"]) == (5, "killed"), told
    assert budget in told["reason"]


def test_when_values_were_taken_is_told_if_the_script_says_it(outrider: Callable[..., Any], home: Path) -> None:
    code, told = ran(outrider, bare(home, "a.lua", "check.timestamp(0)\n"))
    assert (code, told["timestamp_ms"]) == (0, 0)
    assert "timestamp_ms" not in ran(outrider, bare(home, "b.lua", "return 1\n"))[1]


@pytest.mark.parametrize(
    ("source", "titles", "last"),
    [
        ("check.timestamp(1700000000000)\n", ["METRIC", "VALUE", "UNIT", "TYPE", "TAKEN"], "2023-11-14T22:13:20Z"),
        ("check.timestamp(9007199254740992)\n", ["METRIC", "VALUE", "UNIT", "TYPE", "TAKEN"], "9007199254740992"),
        ("", ["METRIC", "VALUE", "UNIT", "TYPE"], "uint32"),
    ],
)
def test_the_table_says_when_values_were_taken_if_it_was_not_just_now(
    outrider: Callable[..., Any], home: Path, source: str, titles: list[str], last: str
) -> None:
    path = bare(home, "a.lua", f'check.metric("n", "uint32", 4, "pieces")\n{source}')
    called = outrider("script", "run", str(path))
    head, row = called.out.splitlines()
    assert (called.status, head.split(), row.split()[-1]) == (0, titles, last), called.err


def test_tier_of_a_bare_file_is_observe_unless_given(outrider: Callable[..., Any], home: Path) -> None:
    path = bare(home, "t.lua", 'local text = fs.read("/etc/hostname")\nreturn #text > 0')
    assert ran(outrider, path)[0] == 3
    status, told = ran(outrider, path, "--tier", "inspect")
    assert (status, told["result"]) == (0, True), told


def test_the_lowest_tier_can_be_asked_for(outrider: Callable[..., Any], home: Path) -> None:
    """Of a bare file and of a bundle; its number is zero, and so it was taken for none."""
    source = "sys.uptime()\nreturn true"
    for path in (bare(home, "c.lua", source), write_bundle(home / "bundle", source)):
        assert ran(outrider, path)[0] == 0
        status, told = ran(outrider, path, "--tier", "compute")
        assert (status, told["status"], told["calls"][0]["rule"]) == (3, "denied", "compute: no rule")


def test_policy_in_place_of_the_tier(outrider: Callable[..., Any], home: Path) -> None:
    policy = home / "mine.yaml"
    policy.write_text("tier: inspect\nallow:\n  - call: fs.read\n    paths: [/etc/hostname]\n")
    allowed = bare(home, "a.lua", 'local text = fs.read("/etc/hostname")\nreturn true')
    denied = bare(home, "d.lua", "local x = sys.uptime()\nreturn true")
    assert ran(outrider, allowed, "--policy", str(policy))[0] == 0
    status, told = ran(outrider, denied, "--policy", str(policy))
    assert (status, told["calls"][0]["verdict"]) == (3, "deny")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tier: inspect\nallow:\n  - call: fs.read\n    path: [/etc]\n", "mine.yaml:4"),
        ("tier: everything\n", "mine.yaml:1"),
        ("tier: observe\n  allow: [\n", "mine.yaml:"),
    ],
)
def test_wrong_policy_names_file_line_and_key(outrider: Callable[..., Any], home: Path, text: str, said: str) -> None:
    (home / "mine.yaml").write_text(text)
    called = outrider(
        "script", "run", str(bare(home, "a.lua", "return 1")), "--policy", str(home / "mine.yaml"), "--json"
    )
    assert called.status == 2
    assert said in json.loads(called.err)["error"]["where"]


def test_parameters_of_a_bare_file_are_text(outrider: Callable[..., Any], home: Path) -> None:
    path = bare(home, "p.lua", 'return {param("a"), param("b"), param("none") == nil}')
    assert ran(outrider, path, "--arg", "a=1", "--arg", "b=x=y")[1]["result"] == ["1", "x=y", True]


def test_parameters_of_a_bundle_are_typed(outrider: Callable[..., Any], home: Path) -> None:
    more = "parameters: {n: {type: integer, required: true, minimum: 1}, s: {type: string, default: d}}\n"
    folder = write_bundle(home / "bundle", 'return {param("n"), param("s")}', more=more)
    assert ran(outrider, folder, "--arg", "n=7")[1]["result"] == [7, "d"]
    for words, said in (
        ([], "required"),
        (["--arg", "n=x"], "integer"),
        (["--arg", "n=0"], "n"),
        (["--arg", "z=1"], "z"),
    ):
        called = outrider("script", "run", str(folder), *words)
        assert called.status == 2
        assert said in called.err


def test_a_manifest_narrows_what_its_tier_allows(outrider: Callable[..., Any], home: Path) -> None:
    folder = write_bundle(home / "bundle", "local x = sys.uptime()", more="needs: [{call: sys.loadavg}]\n")
    assert ran(outrider, folder)[0] == 3


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("limits: {wall: 10 parsecs}", "manifest.yaml:6: limits.wall: '10 parsecs' is not a duration"),
        ("surprise: 1", "manifest.yaml:6"),
        ("tests: [", "manifest.yaml:"),
        ("needs: [{call: fs..read}]", "manifest.yaml:6"),
    ],
)
def test_a_wrong_manifest_names_the_place(outrider: Callable[..., Any], home: Path, line: str, said: str) -> None:
    folder = write_bundle(home / "bundle", "return 1", more=line + "\n")
    called = outrider("script", "run", str(folder))
    assert called.status == 2
    assert said in called.err
    assert called.out == ""


@pytest.mark.parametrize(
    "words",
    [["missing.lua"], ["text.txt"], ["."], ["ok.lua", "--tier", "root"], ["ok.lua", "--arg", "x"], []],
)
def test_usage_errors_exit_2(outrider: Callable[..., Any], home: Path, words: list[str]) -> None:
    bare(Path.cwd(), "ok.lua", "return 1")
    bare(Path.cwd(), "text.txt", "return 1")
    called = outrider("script", "run", *words)
    assert called.status == 2
    assert called.out == ""
    assert called.err


def test_for_people_data_is_on_stdout_and_talk_on_stderr(outrider: Callable[..., Any], home: Path) -> None:
    called = outrider("script", "run", str(bare(home, "h.lua", 'print("hi")\nreturn 7')))
    assert called.out == "hi\n7\n"
    assert called.err.startswith("ok")
    called = outrider("script", "run", str(bare(home, "h.lua", "sys.uptime()")), "--verbose")
    assert "sys.uptime" in called.out
    assert "seccomp" in called.err


def test_nothing_of_the_environment_reaches_the_script(home: Path) -> None:
    """A secret in the caller's environment or memory must not be there for the worker to find."""
    path = bare(home, "env.py", "result = 1")
    done = subprocess.run(
        [sys.executable, "-m", "cli", "script", "run", str(path), "--json"],
        capture_output=True, text=True, timeout=60, cwd=home, env={**os.environ, "OUTRIDER_TOKEN": "ort_secret"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "ort_secret" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("language", "source", "told"),
    [
        ("lua", 'for i = 1, 9 do log.info("x") end', "main.lua:1: log_lines: 4 used, the limit is 3"),
        ("python", 'for i in range(9):\n    log.info("x")\n', "main.py:2: log_lines: 4 used, the limit is 3"),
        ("lua", 'for i = 1, 9 do pcall(log.info, "x") end return ctx.budget().log_lines', None),
    ],
)
def test_lines_of_the_log_are_a_limit(
    outrider: Callable[..., Any], home: Path, language: str, source: str, told: str | None
) -> None:
    """A manifest narrows it, and what is over it fails by name and number, and not the run of who catches it."""
    folder = write_bundle(home / "x", source, language=language, more="limits: {log_lines: 3}\n")
    status, ran_so = ran(outrider, folder)
    assert (status, ran_so["status"], ran_so["reason"]) == ((1, "error", told) if told else (0, "ok", None))
    assert [call["verdict"] for call in ran_so["calls"][:5]] == ["allow"] * 3 + ["deny"] * (1 if told else 2)
    assert told or ran_so["result"] == 0


@pytest.mark.parametrize(("limit", "call"), [("rows", "emit, {a = 1}"), ("metrics", 'check.metric, "m", "gauge", 1')])
def test_what_a_run_reports_is_a_limit(outrider: Callable[..., Any], home: Path, limit: str, call: str) -> None:
    """Of a policy, so also of a manifest. What is over it fails, and not the run of who catches that."""
    loop = f"local failure\nfor _ = 1, 4 do _, failure = pcall({call}) end\n"
    source = f"{loop}return {{failure.message, ctx.budget().{limit}}}"
    folder = write_bundle(home / "x", source, more=f"limits: {{{limit}: 3}}\n")
    status, ran_so = ran(outrider, folder)
    assert (status, ran_so["result"]) == (0, [f"{limit}: 4 used, the limit is 3", 0]), ran_so["reason"]
    assert len(ran_so[limit]) == 3
