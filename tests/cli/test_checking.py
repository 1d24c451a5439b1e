"""What ``outrider script check`` says about a script that it has read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripts_here import write_bundle

from cli.local.checking import Findings, read
from cli.local.folder import read_bundle, read_script
from cli.local.shelf import Shelf
from protocol.tiers import Tier
from stdlib.catalogue import load

TABLES = load().tables()


def check(folder: Path, source: str, *, language: str = "lua", tier: str = "observe", more: str = "") -> Findings:
    return read(read_script(write_bundle(folder, source, language=language, tier=tier, more=more)), TABLES)


def problems(found: Findings) -> list[str]:
    return [str(finding) for finding in found.problems]


@pytest.mark.parametrize(
    ("source", "language", "said"),
    [
        ("x =", "lua", "main.lua:1: unexpected symbol"),
        ("\nfs.spcae('/')", "lua", "main.lua:2: there is no call named fs.spcae; did you mean fs.space?"),
        ("qqqq()", "lua", "main.lua:1: there is no call named qqqq"),
        ("math.nosuch(2)", "lua", "main.lua:1: the module math has no nosuch here"),
        ("import math\nmath.nosuch(2)", "python", "main.py:2: the module math has no nosuch here"),
        ("fs.stat()", "lua", "main.lua:1: fs.stat: path is missing"),
        ("fs.list('/', limt=5)", "python", "main.py:1: fs.list has no parameter 'limt' (did you mean 'limit'?)"),
        ("return {fs}", "lua", "main.lua:1: fs is used as a value or with a computed name, so nobody can tell"),
        ("fs.read('/etc/hostname')", "lua", "manifest.yaml: tier: its calls need inspect, it states observe"),
        ("proc.command('df')", "lua", "manifest.yaml: commands: the command 'df' of proc.command is not declared"),
    ],
)
def test_problems_name_the_place(tmp_path: Path, source: str, language: str, said: str) -> None:
    assert any(problem.startswith(said) for problem in problems(check(tmp_path, source, language=language)))


def test_nothing_is_said_about_a_script_that_is_right(tmp_path: Path) -> None:
    source = "function string.trim(s) return s end\nlocal s = fs.space('/')\nreturn string.trim('x'), s.total"
    found = check(tmp_path, source, more="needs: [{call: fs.space}]\n")
    assert (problems(found), found.remarks) == ([], [])


def test_needs_are_compared_with_what_is_called(tmp_path: Path) -> None:
    needs = "needs: [{call: fs.read, paths: [/etc/host*]}, {call: sys.cpu}]\n"
    found = check(tmp_path, "fs.read('/etc/hosts') fs.read('/etc/passwd')\nfs.stat('/')", tier="inspect", more=needs)
    assert problems(found) == ["main.lua:2: calls fs.stat, which its needs leave out"]
    assert [str(remark) for remark in found.remarks] == [
        "manifest.yaml: needs: fs.read is given /etc/passwd, which the paths of its need leave out",
        "manifest.yaml: needs: asks for sys.cpu, which it never calls",
    ]


@pytest.mark.parametrize(
    ("tier", "said"),
    [
        ("observe", ["manifest.yaml: tier: its calls need inspect where they reach, it states observe"]),
        ("inspect", []),
        ("operate", ["manifest.yaml: tier: its calls need inspect only, it states operate"]),
    ],
)
def test_the_tier_is_also_that_of_the_paths(tmp_path: Path, tier: str, said: list[str]) -> None:
    """What a trace has raised must not be called too high. It may do without: so it is a remark, and no problem."""
    found = check(tmp_path, "fs.list('/var/spool/postfix')", tier=tier, more="needs: [{call: fs.list}]\n")
    assert (problems(found), [str(remark) for remark in found.remarks]) == ([], said)
    assert found.inferred_tier is Tier.INSPECT


def test_the_tier_of_something_dynamic_is_what_it_may_be(tmp_path: Path) -> None:
    found = check(tmp_path, "return fs[param('x')]('/')")
    assert found.inferred_tier is not None
    assert found.inferred_tier >= max(spec.tier for spec in load() if spec.family == "fs")
    assert check(tmp_path, "x =").inferred_tier is None


def test_a_script_is_read_together_with_its_libraries(tmp_path: Path) -> None:
    """Alone, it seems to call nothing: what it calls was left to it by the library."""
    folder = write_bundle(tmp_path / "lib", "files = fs")
    library = read_bundle(folder)
    pins = f"requires: [{{name: {library.manifest.name}, digest: '{library.digest}'}}]\n"
    source = f"require('{library.manifest.name}')\nreturn files.read('/etc/hosts')"
    script = read_script(write_bundle(tmp_path / "script", source, tier="inspect", more=pins))
    alone = read(script, TABLES)
    assert any("what it pins cannot be read, so nobody can tell" in problem for problem in problems(alone))
    assert alone.inferred_tier is Tier.ADMIN
    found = read(script, TABLES, Shelf([library]))
    assert (problems(found), found.inferred_tier) == ([], Tier.INSPECT)
    assert "fs.read" in {called.name for called in found.calls}


@pytest.mark.parametrize(("source", "status"), [("return fs.space('/')", 0), ("return fs.spcae('/')", 1)])
def test_text_and_json_of_a_check(outrider: Callable[..., Any], home: Path, source: str, status: int) -> None:
    """Calls with their lines, needs and tier; the exit status says whether it passes."""
    folder = write_bundle(home / "probe", f"\n{source}")
    told = outrider("script", "check", str(folder))
    assert told.status == status
    data = outrider("script", "check", str(folder), "--json").data
    assert data["ok"] is (status == 0)
    if status == 0:
        assert "fs.space  observe  main.lua:2  path=/" in told.out
        assert "needs fs.space  paths: /\n" in told.out
        use = {"where": "main.lua:2", "arguments": {"path": {"kind": "constant", "values": ["/"]}}, "open": False}
        assert data["calls"] == [{"call": "fs.space", "tier": "observe", "places": ["main.lua:2"], "uses": [use]}]
        assert data["inferred_needs"] == [{"call": "fs.space", "paths": ["/"], "bounded": True}]
        assert (data["inferred_tier"], data["dynamic"], data["risks"]) == ("observe", [], [])
    else:
        assert data["problems"][0]["where"] == "main.lua:2"


@pytest.mark.parametrize(
    ("calls", "said"),
    [
        ("fs.spcae: 1", "manifest.yaml:{line}: tests[0].calls.fs.spcae: there is no call named fs.spcae"),
        ("fs.space: much", "manifest.yaml:{line}: tests[0].calls.fs.space: must be map, not text"),
        (
            "fs.list: {entries: [{name: a}, {naem: b}]}",
            "manifest.yaml:{line}: tests[0].calls.fs.list.entries[1].naem: fs.list gives no field 'naem' in",
        ),
        ("fs.space: {total: 1.5}", "manifest.yaml:{line}: tests[0].calls.fs.space.total: must be whole number, not a"),
        (
            "fs.walk: [[{path: /a}], [7]]",
            "manifest.yaml:{line}: tests[0].calls.fs.walk[1][0]: must be map, not a whole",
        ),
        (
            "sys.cpu: [{user: 1}]",
            "tests[0].calls.sys.cpu[0]: must be list of maps, not a map; a",
        ),
    ],
)
def test_a_test_that_declares_what_a_call_never_gives_is_a_problem(tmp_path: Path, calls: str, said: str) -> None:
    """Else a test can be green with results that no host will ever give."""
    found = check(tmp_path, "return fs.space('/')", more=f"tests:\n  - calls:\n      {calls}\n    expect: {{}}\n")
    lines = (tmp_path / "manifest.yaml").read_text().splitlines()
    line = next(number for number, text in enumerate(lines, 1) if text.strip() == calls)
    (problem,) = problems(found)
    assert said.format(line=line) in problem


@pytest.mark.parametrize(
    ("language", "source"),
    [
        (
            "lua",
            'for _ = 1, 2 do local f = fs.grep({"/var/log/a"}, "x") for _ in f do end print(f:summary().matches) end',
        ),
        (
            "python",
            'def main():\n    for _ in range(2):\n        f = fs.grep(["/var/log/a"], "x")\n        [i for i in f]\n'
            '        print(f.summary()["matches"])\n',
        ),
    ],
)
def test_a_test_declares_what_a_stream_says_at_its_end(
    outrider: Callable[..., Any], tmp_path: Path, language: str, source: str
) -> None:
    """Else no script that looks at a summary could have a test."""
    given = "[{items: [{path: /a, line: 1, text: x}], summary: {matches: 1}}, {items: [], summary: {matches: 0}}]"
    more = f"tests:\n  - name: two\n    calls: {{fs.grep: {given}}}\n    expect: {{status: ok}}\n"
    folder = write_bundle(tmp_path / "b", source, language=language, tier="inspect", more=more)
    told = outrider("script", "check", str(folder))
    assert told.status == 0, told.out + told.err
    folder = write_bundle(
        tmp_path / "c", source, language=language, tier="inspect", more=more.replace("0}}]", "0}}, []]")
    )
    assert outrider("script", "check", str(folder)).status == 0
