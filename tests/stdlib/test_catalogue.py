"""The catalogue: declarations are complete, arguments are strict."""

from __future__ import annotations

import math
from typing import Any

import pytest

from protocol.errors import ArgumentError
from sandbox.pure import PURE
from stdlib.catalogue import load

CALLS = load()


def test_every_call_says_what_it_is() -> None:
    for spec in CALLS:
        assert spec.doc, spec.name
        assert spec.examples.get("lua"), spec.name
        assert spec.examples.get("python"), spec.name


def test_local_calls_are_those_that_the_worker_has() -> None:
    assert {spec.name for spec in CALLS if spec.is_local} == set(PURE)


def test_the_gate_never_gets_a_local_call() -> None:
    assert CALLS.find("param") is None
    assert CALLS.find("json.encode") is None


BAD: list[tuple[str, list[Any], dict[str, Any], str]] = [
    ("fs.stat", [], {}, "path"), ("fs.stat", ["etc"], {}, "path"), ("fs.stat", ["/a\0b"], {}, "path"),
    ("fs.stat", ["/" + "x" * 5000], {}, "path"), ("fs.stat", [1], {}, "path"), ("fs.stat", [b"/etc"], {}, "path"),
    ("fs.stat", ["/\ud800"], {}, "path"), ("fs.stat", ["/etc"], {"path": "/etc"}, "path"),
    ("fs.stat", ["/etc"], {"follow": True}, "follow"), ("fs.list", ["/etc", -1], {}, "offset"),
    ("fs.list", ["/etc"], {"limit": True}, "limit"), ("fs.list", ["/etc"], {"limit": 1 << 70}, "limit"),
    ("fs.list", ["/etc"], {"limit": 1.5}, "limit"), ("fs.list", ["/etc"], {"hidden": 1}, "hidden"),
    ("time.sleep", [math.nan], {}, "seconds"), ("time.sleep", [-1], {}, "seconds"),
    ("time.sleep", [math.inf], {}, "seconds"), ("check.metric", ["x", "float", 1], {}, "type"),
    ("check.metric", ["x", "int64", math.nan], {}, "value"), ("proc.command", ["df", "-h"], {}, "args"),
    ("proc.command", ["df", ["a\0b"]], {}, "args"), ("proc.command", ["df", [1]], {}, "args"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args", "named", "parameter"), BAD)
def test_a_wrong_argument_is_refused_by_name(name: str, args: list[Any], named: dict[str, Any], parameter: str) -> None:
    spec = CALLS.find(name)
    assert spec is not None
    with pytest.raises(ArgumentError) as caught:
        spec.bind(args, named)
    assert caught.value.parameter == parameter


def test_too_many_arguments_are_refused() -> None:
    spec = CALLS.find("sys.uptime")
    assert spec is not None
    with pytest.raises(ArgumentError, match="takes at most 0"):
        spec.bind([1], {})


def test_names_that_are_not_utf8_round_trip() -> None:
    spec = CALLS.find("fs.stat")
    assert spec is not None
    assert spec.bind(["/x\udcff"], {}) == {"path": "/x\udcff"}
