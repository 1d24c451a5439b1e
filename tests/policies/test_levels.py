"""The level of a change: what whoever uses a script has to know before taking the next version."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policies.levels import BREAKING, COMPATIBLE, METADATA, level
from protocol.manifest import Manifest, Metric, Need, Parameter, Test
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
    (replace(BASE, tier=Tier.ADMIN), COMPATIBLE),
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
