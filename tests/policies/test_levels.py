"""The level of a change: what whoever uses a script has to know before taking the next version."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policies.levels import BREAKING, COMPATIBLE, METADATA, level, refuse_silent_break
from protocol.errors import ConflictError
from protocol.manifest import Manifest, Metric, Need, Result, Test
from protocol.parameters import Parameter
from protocol.tiers import Tier

BASE = Manifest(
    "checks/a", "1.0.0", "lua", "main.lua", Tier.OBSERVE,
    parameters={
        "n": Parameter("n", "integer", minimum=1, maximum=9), "s": Parameter("s", "string", choices=("a", "b")),
    },
    metrics=(Metric("load", "double", ""),),
)  # fmt: skip


def with_n(**changes: object) -> Manifest:
    return replace(BASE, parameters={**BASE.parameters, "n": replace(BASE.parameters["n"], **changes)})  # type: ignore[arg-type]  # any field


def with_s(**changes: object) -> Manifest:
    return replace(BASE, parameters={**BASE.parameters, "s": replace(BASE.parameters["s"], **changes)})  # type: ignore[arg-type]  # any field


CASES = [
    (replace(BASE, version="1.0.1", description="better", tests=(Test("t", {}, {}, {}),)), METADATA),
    (with_n(description="how many"), METADATA),
    (replace(BASE, needs=(Need("fs.stat"),)), COMPATIBLE),
    (replace(BASE, tier=Tier.ADMIN), BREAKING), (replace(BASE, tier=Tier.COMPUTE), COMPATIBLE),
    (replace(BASE, tags=("a",), licence="MIT", links={"code": "https://a.org"}, visibility="private"), METADATA),
    (replace(BASE, kind="library"), BREAKING), (replace(BASE, result=Result("object")), COMPATIBLE),
    (with_n(is_locked=True, default=3), BREAKING), (with_s(min_length=1), BREAKING), (with_s(max_length=9), BREAKING),
    (replace(BASE, parameters={**BASE.parameters, "x": Parameter("x", "string")}), COMPATIBLE),
    (replace(BASE, parameters={**BASE.parameters, "x": Parameter("x", "string", required=True)}), BREAKING),
    (replace(BASE, parameters={"n": BASE.parameters["n"]}), BREAKING),
    (with_n(type="number"), BREAKING), (with_n(required=True), BREAKING), (with_n(default=3), COMPATIBLE),
    (with_n(minimum=2), BREAKING), (with_n(maximum=8), BREAKING), (with_n(minimum=0, maximum=None), COMPATIBLE),
    (with_n(minimum=0, maximum=8), BREAKING),
    (with_s(choices=("a",)), BREAKING), (with_s(choices=("a", "b", "c")), COMPATIBLE), (with_s(choices=()), COMPATIBLE),
    (with_s(choices=("a", "c")), BREAKING), (with_s(choices=(), pattern="[ab]"), BREAKING),
    (replace(BASE, metrics=()), BREAKING), (replace(BASE, metrics=(Metric("load", "double", "s"),)), BREAKING),
    (replace(BASE, metrics=(*BASE.metrics, Metric("n", "gauge", ""))), COMPATIBLE),
]  # fmt: skip


@pytest.mark.parametrize(("now", "said"), CASES)
def test_the_level_of_a_change(now: Manifest, said: str) -> None:
    assert level(BASE, now, is_code_same=True) == said


def test_other_code_is_never_only_metadata() -> None:
    assert level(BASE, replace(BASE, version="1.0.1"), is_code_same=False) == COMPATIBLE


RESULT = replace(BASE, result=Result("object", {"free": "integer"}))
LIST = replace(BASE, parameters={"l": Parameter("l", "array", items=Parameter("l", "integer"))})


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (RESULT, replace(BASE, result=Result("object", {"free": "integer", "used": "integer"})), COMPATIBLE),
        (RESULT, replace(BASE, result=Result("object", {"free": "number"})), BREAKING),
        (RESULT, replace(BASE, result=Result("array")), BREAKING),
        (RESULT, BASE, BREAKING),
        (LIST, replace(BASE, parameters={"l": Parameter("l", "array", items=Parameter("l", "string"))}), BREAKING),
        (LIST, replace(BASE, parameters={"l": replace(LIST.parameters["l"], max_items=3)}), BREAKING),
        (LIST, replace(BASE, parameters={"l": replace(LIST.parameters["l"], default=[1])}), COMPATIBLE),
    ],
)
def test_results_and_arrays(before: Manifest, now: Manifest, said: str) -> None:
    assert level(before, now, is_code_same=True) == said


def test_a_number_that_hides_a_break_is_refused() -> None:
    """The number is all that most people look at before they take a version."""
    broken = replace(BASE, version="1.0.1", parameters={}, tier=Tier.INSPECT)
    with pytest.raises(ConflictError) as caught:
        refuse_silent_break(BASE, broken)
    for word in ("tier inspect", "parameter n is gone", "parameter s is gone", "make it 2.0.0"):
        assert word in caught.value.message
    refuse_silent_break(BASE, replace(broken, version="2.0.0"))
    refuse_silent_break(BASE, replace(BASE, version="1.0.1", needs=(Need("fs.stat"),)))
    with pytest.raises(ConflictError, match=r"make it 0\.2\.0"):
        refuse_silent_break(replace(BASE, version="0.1.0"), replace(broken, version="0.1.5"))
