"""What a manifest's test expects of a run."""

from __future__ import annotations

from typing import Any

import pytest

from cli.local.expectations import broken_promises, differences, equal
from cli.local.report import Ran
from protocol.manifest import Result

RAN = Ran(
    status="ok",
    result={"a": [1, 2.5]},
    state="available",
    metrics=(
        {"name": "reads", "type": "int64", "value": 4, "unit": "reads", "dimension": None},
        {"name": "used", "type": "double", "value": 0.1 + 0.2, "unit": "percent", "dimension": "root"},
    ),
)


@pytest.mark.parametrize(
    "expect",
    [
        {},
        {"status": "ok"},
        {"state": "available"},
        {"result": {"a": [1, 2.5]}},
        {"metrics": {"reads": 4}},
        {"metrics": {"root.used": 0.3}},
        {"metrics": {"reads": {"value": 4, "type": "int64", "unit": "reads"}}},
    ],
)
def test_what_is_met(expect: dict[str, Any]) -> None:
    assert differences(expect, RAN) == []


@pytest.mark.parametrize(
    ("expect", "said"),
    [
        ({"status": "error"}, "status is ok, not error"),
        ({"state": "unavailable"}, "state is available"),
        ({"result": {"a": [1, 2.6]}}, "result is"),
        ({"result": {"a": [1, 2.5], "b": 1}}, "result is"),
        ({"metrics": {"reads": 5}}, "metric reads: value is 4, not 5"),
        ({"metrics": {"reads": True}}, "metric reads"),
        ({"metrics": {"reads": {"unit": "bytes"}}}, "unit is 'reads'"),
        ({"metrics": {"writes": 1}}, "there is no metric writes (there are: reads, used)"),
        ({"metrics": {"home.used": 0.3}}, "there is no metric home.used"),
    ],
)
def test_what_is_not_met_is_said(expect: dict[str, Any], said: str) -> None:
    (found,) = differences(expect, RAN)
    assert said in found


def test_a_run_that_failed_tells_its_reason_first() -> None:
    ran = Ran(status="denied", reason="fs.read: no rule  main.lua:4")
    assert differences({"metrics": {"reads": 4}}, ran) == ["status is denied, not ok: fs.read: no rule  main.lua:4"]


@pytest.mark.parametrize(
    ("expected", "found", "same"),
    [
        (1, 1.0, True), (1, True, False), (True, True, True), ("1", 1, False), (None, None, True), (0, None, False),
        ([1], [1, 2], False), ({}, [], False), (0, 1e-12, False), (1_000_000, 1_000_000.4, True), ("a", "a", True),
    ],
)  # fmt: skip
def test_equality_of_plain_values(expected: Any, found: Any, same: bool) -> None:
    assert equal(expected, found) is same


@pytest.mark.parametrize(
    ("promised", "result", "count"),
    [
        (None, object(), 0),
        (Result("object", {"free": "integer", "name": "string"}), {"free": 3.0, "name": "a", "more": 1}, 0),
        (Result("object", {"free": "integer"}), {"free": 3.5}, 1),
        (Result("object", {"free": "integer"}), {}, 1),
        (Result("object"), [], 0),
        (Result("array"), {}, 0),
        (Result("array"), [1], 0),
        (Result("integer"), True, 1),
        (Result("boolean"), True, 0),
        (Result("null"), None, 0),
        (Result("string"), None, 1),
    ],
)
def test_promised_result(promised: Result | None, result: Any, count: int) -> None:
    assert len(broken_promises(promised, Ran(status="ok", result=result))) == count


def test_nothing_is_promised_of_a_failure() -> None:
    assert broken_promises(Result("object"), Ran(status="error")) == []
