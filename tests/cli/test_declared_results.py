"""Results that tests of a manifest declare, held against what the calls give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cli.local.declared_results import MOST, misfits
from cli.local.folder import read_script
from stdlib.catalogue import load
from stdlib.reference import result_of

BUNDLED = Path(__file__).parents[2] / "scripts"


def found(call: str, given: Any) -> list[tuple[tuple[Any, ...], str]]:
    (spec,) = (spec for spec in load() if spec.name == call)
    return list(misfits(spec, given))


@pytest.mark.parametrize(
    ("call", "given"),
    [
        ("fs.space", {"total": 1}), ("fs.space", [{"total": 1}, {"free": 2}]), ("fs.stat", None),
        ("fs.stat", {"size": 1, "mode": "0644"}),
        ("fs.stat", [None, {"size": 1}]), ("fs.read", "text"), ("fs.read", None), ("fs.exists", True),
        ("sys.uptime", 1), ("sys.uptime", 1.5), ("sys.memory", {"total": 1, "used_percent": 0.5}),
        ("sys.cpu", [[{"user": 1}]]),
        ("sys.cpu", [[]]), ("fs.walk", []), ("fs.walk", [{"path": "/a"}]), ("fs.walk", [[], [{"path": "/a"}]]),
        ("fs.walk", {"items": [{"path": "/a"}], "summary": {"seen": 1}}),
        ("fs.walk", [{"items": [], "summary": None}, [{"path": "/a"}]]),
        ("fs.lines", ["one", "two"]), ("fs.open", {"path": "/a"}), ("fs.open", [{}, {}]), ("state.get", {"any": [1]}),
        ("state.set", None), ("sys.sysctl", "1"), ("sys.sysctl", {"a": "b"}), ("check.metric", None),
    ],
)  # fmt: skip
def test_what_a_call_may_give(call: str, given: Any) -> None:
    assert found(call, given) == []


@pytest.mark.parametrize(
    ("call", "given", "path", "told"),
    [
        ("fs.space", "text", (), "must be map, not text"),
        ("fs.space", None, (), "must be map, not nothing"),
        ("fs.space", [{"total": 1}, 7], (1,), "must be map, not a whole number"),
        ("fs.space", {"total": True}, ("total",), "must be whole number, not a boolean"),
        ("fs.space", [], (), "declares no result"),
        ("fs.stat", "x", (), "must be map or nothing, not text"),
        ("fs.read", {"text": "x"}, (), "must be text or bytes or nothing, not a map"),
        ("fs.exists", 1, (), "must be boolean, not a whole number"),
        ("fs.exists", "yes", (), "must be boolean, not text"),
        ("sys.uptime", "1", (), "must be number, not text"),
        ("sys.loadavg", {"1m": "0.5"}, ("1m",), "must be number, not text"),
        ("sys.cpu", [{"user": 1}], (0,), "a result that is a list has a list around it"),
        ("sys.cpu", [[{"user": "1"}]], (0, 0, "user"), "must be whole number, not text"),
        ("sys.sysctl", {"a": 1}, ("a",), "must be text, not a whole number"),
        ("fs.walk", {"items": [7], "summary": 1}, ("items", 0), "must be map, not a whole number"),
        ("fs.walk", [[], {"items": {}, "summary": 1}], (1, "items"), "must be list of maps, not a map"),
        ("fs.walk", {"items": []}, (), "must be list of maps, not a map"),
        ("fs.stat", {"size": []}, ("size",), "must be whole number, not a list"),
        ("fs.stat", [None, {"sise": 1}], (1, "sise"), "did you mean 'size'?"),
        (
            "fs.space",
            {"totl": 1},
            ("totl",),
            "fs.space gives no field 'totl'; did you mean 'total'? (there are: total,",
        ),
        ("fs.walk", [{"path": "/a"}, {"pth": "/b"}], (1, "pth"), "did you mean 'path'?"),
        ("proc.list", [[{"pid": 1}, {"cmdline": "x"}]], (0, 1, "cmdline"), "proc.list gives no field 'cmdline'"),
        ("sys.audit_events", [{"zzz": 1}], (0, "zzz"), "(there are: time, serial, type, fields)"),
        ("fs.open", {"size": 1}, ("size",), "fs.open gives no field 'size'"),
        # below the first level
        (
            "fs.list",
            {"entries": [{"nam": "a"}]},
            ("entries", 0, "nam"),
            "no field 'nam' in entries; did you mean 'name'?",
        ),
        ("fs.list", {"entries": ["a"]}, ("entries", 0), "must be map, not text"),
        ("fs.list", {"entries": {"name": "a"}}, ("entries",), "must be list of maps, not a map"),
        (
            "net.listeners",
            {"listeners": [{}, {"local_port": "22"}]},
            ("listeners", 1, "local_port"),
            "whole number, not te",
        ),
        ("tty.screen", {"cursor": {"row": 0, "column": 1}}, ("cursor", "column"), "(there are: row, col, hidden)"),
        ("sys.pressure", {"io": {"some": {"avg1": 0.5}}}, ("io", "some", "avg1"), "in io.some; did you mean 'avg10'?"),
        ("sys.pressure", {"io": {"most": {}}}, ("io", "most"), "(there are: some, full)"),
        ("sys.hardware", {"pci": [{"adress": "0"}]}, ("pci", 0, "adress"), "did you mean 'address'?"),
        ("net.http", {"cert": {"sans": "a"}}, ("cert", "sans"), "must be list of text, not text"),
        ("net.http", {"cert": {"until": 1}}, ("cert", "until"), "in cert"),
        ("net.mysql_status", {"innodb": {"rows_red": 1}}, ("innodb", "rows_red"), "did you mean 'rows_read'?"),
        ("net.mysql_status", {"replication": {"last_error": 1}}, ("replication", "last_error"), "must be text"),
        ("sys.users", {"users": [{"groups": [1]}]}, ("users", 0, "groups", 0), "must be text, not a whole number"),
        ("net.sockets", {"states": {"listen": "3"}}, ("states", "listen"), "must be whole number, not text"),
        ("fs.walk", {"path": "/a"}, (), "must be list of maps, not a map"),
        ("fs.walk", ["/a"], (0,), "must be map, not text"),
        ("fs.lines", [1], (0,), "must be text or bytes, not a whole number"),
        ("fs.open", "x", (), "must be map, not text"),
        ("state.set", 1, (), "must be nothing, not a whole number"),
        ("path.split", ["a"], (), "carried out in the sandbox"),
    ],
)
def test_what_no_call_gives(call: str, given: Any, path: tuple[Any, ...], told: str) -> None:
    (misfit,) = found(call, given)
    assert misfit[0] == path
    assert told in misfit[1]


def test_all_that_does_not_fit_is_told_at_once_up_to_a_bound() -> None:
    """An author mends a test in one go; a manifest of nothing but mistakes is cut."""
    assert [path for path, _ in found("fs.list", {"entries": [{"nam": 1}, {"name": 2}], "mor": True})] == [
        ("entries", 0, "nam"), ("entries", 1, "name"), ("mor",),
    ]  # fmt: skip
    assert len(found("fs.list", {"entries": [{"nam": 1}] * 100})) == MOST


@pytest.mark.parametrize(
    ("call", "given"),
    [
        ("proc.environ", {"ANY": "x"}), ("sys.sysctl", {"a.b": "1"}), ("fs.xattr", {"user.x": "1"}),
        ("proc.cgroup", {"controllers": {"any": "/"}}), ("net.http", {"headers": {"x-any": "1"}, "cert": None}),
        ("sys.smart", {"nvme": {"any": {"thing": 1}}}),
    ],
)  # fmt: skip
def test_names_that_come_from_the_host_are_any(call: str, given: Any) -> None:
    assert found(call, given) == []


def test_every_type_of_a_result_is_known() -> None:
    """A type that is new in the catalogue must not break the checks of scripts that use it."""
    for spec in load():
        for given in (None, True, 1, 1.5, "x", {"a": 1}, [], [[]], [{"a": 1}], ["x"]):
            assert isinstance(list(misfits(spec, given)), list), (spec.name, result_of(spec))


def test_the_bundled_checks_declare_what_calls_give() -> None:
    count = 0
    for manifest in BUNDLED.rglob("manifest.yaml"):
        for test in read_script(manifest.parent).manifest.tests:
            for call, given in test.calls.items():
                assert found(call, given) == [], (manifest, call)
                count += 1
    assert count > 5
