"""The catalogue: declarations are complete, arguments are strict."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from running import AllPermitted

from protocol.errors import ArgumentError
from sandbox.pure import PURE
from stdlib import call_specs
from stdlib.catalogue import load
from stdlib.host import Host, RunContext

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


def test_what_reaches_below_its_paths_says_so() -> None:
    """Whoever reads a script is told from these which files it may come to."""
    told = {spec.name: spec.below for spec in load() if spec.below}
    always = {"fs.walk", "fs.glob", "fs.largest", "fs.disk_usage", "fs.archive", "fs.extract"}
    assert told == dict.fromkeys(always, True) | dict.fromkeys(["fs.grep", "fs.watch", "fs.remove"], "recursive")
    for spec in load():
        for item in spec.parameters:
            assert item.name != "recursive" or spec.below == "recursive", spec.name


PATHS = sorted(
    (spec.name, item.name) for spec in load() for item in spec.parameters if item.is_path and not spec.is_local
)
OTHERS: dict[str, Any] = {
    "patterns": ["*"], "regex": "x", "mode": "0600", "target": "x", "blob_hash": "0" * 64, "data": "x",
    "diff": "@@ -1 +1 @@\n-a\n+b\n",
    "uid": 0, "gid": 0, "size": 1, "atime": 1, "mtime": 1, "path": "/tmp/x", "source": "/tmp/x",
}  # fmt: skip


@pytest.mark.parametrize(("name", "parameter"), PATHS)
def test_what_cannot_be_opened_is_named_by_its_parameter(name: str, parameter: str) -> None:
    """A part of a path that is longer than any."""
    spec = load().find(name)
    assert spec is not None
    (item,) = (item for item in spec.parameters if item.name == parameter)
    good = {other.name: OTHERS[other.name] for other in spec.parameters if other.is_required and other is not item}
    for bad in (f"/tmp/{'a' * 256}", f"/tmp/{'a' * 256}/b"):
        bound = spec.bind([], {**good, parameter: [bad] if "list" in item.kind else bad})
        with pytest.raises(ArgumentError) as raised:  # noqa: SIM117 - the context raises as it is entered
            with spec.prepare(Host(), RunContext(), bound, AllPermitted()):
                pass
        assert raised.value.parameter == parameter
        assert raised.value.message.startswith(f"{parameter}: ")


def test_a_path_that_cannot_be_closed_keeps_no_other_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """And of several failures none is forgotten."""
    closed: list[str] = []
    really = call_specs.place

    @contextmanager
    def failing(path: str, **named: Any) -> Iterator[Any]:
        with really(path, **named) as target:
            yield target
        closed.append(path)
        raise OSError(path)

    spec = CALLS.find("fs.rename")
    assert spec is not None
    monkeypatch.setattr(call_specs, "place", failing)
    bound = spec.bind(["/tmp/a", "/tmp/b"], {})
    with (
        pytest.raises(OSError, match="/tmp/a") as raised,
        spec.prepare(Host(), RunContext(), bound, AllPermitted()),
    ):
        pass
    assert closed == ["/tmp/b", "/tmp/a"]
    assert str(raised.value.__context__) == "/tmp/b"
