"""The arithmetic of the benchmarks: a wrong ratio would be believed."""

from __future__ import annotations

import json
from importlib import import_module

import pytest

from bench.__main__ import MEASURES, lines, report
from bench.measure import Better, Measure, Peer, quantile, spread


def test_quantiles_are_samples() -> None:
    samples = [float(number) for number in range(1, 101)]
    assert spread(samples) == {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "samples": 100.0}
    assert quantile([7.0], 0.99) == 7.0
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    with pytest.raises(ValueError, match="no samples"):
        quantile([], 0.5)


@pytest.mark.parametrize(
    ("value", "target", "better", "met"),
    [
        (5.0, 6.0, Better.LOWER, True),
        (6.0, 6.0, Better.LOWER, True),
        (6.1, 6.0, Better.LOWER, False),
        (5000.0, 5000.0, Better.HIGHER, True),
        (4999.0, 5000.0, Better.HIGHER, False),
        (1.0, None, Better.LOWER, None),
    ],
)
def test_met(value: float, target: float | None, better: Better, met: bool | None) -> None:
    assert Measure("m", value, "ms", target, better).met is met


def test_a_ratio_above_one_is_always_better() -> None:
    assert Measure("m", 2.0, "ms").ratio(Peer("p", 8.0)) == 4.0
    assert Measure("m", 8.0, "1/s", better=Better.HIGHER).ratio(Peer("p", 2.0)) == 4.0
    assert Measure("m", 2.0, "ms").ratio(Peer("p", absent="not installed")) is None


def test_table_names_what_is_absent_and_what_is_not_met() -> None:
    peers = (Peer("bwrap", 9.0), Peer("salt", absent="salt is not installed"))
    text = "\n".join(lines([Measure("cold worker", 3.0, "ms", 2.5, peers=peers), Measure("other", 1.0, "ms", 2.0)]))
    assert "3.00 ms" in text
    assert "at most 2.5 ms" in text
    assert "NOT MET" in text
    assert "3.00 x" in text
    assert "salt is not installed" in text


def test_report_is_json_with_ratios_and_failures() -> None:
    made = report([Measure("m", 2.0, "ms", 6.0, peers=(Peer("p", 8.0),))], {"run": "it broke"}, 1.234)
    plain = json.loads(json.dumps(made))
    assert plain["measures"][0]["met"] is True
    assert plain["measures"][0]["peers"][0]["ratio"] == 4.0
    assert plain["failed"] == {"run": "it broke"}


def test_every_measure_that_was_promised_is_there_and_can_be_loaded() -> None:
    """A measure whose module does not load would only be missed by whoever waits for all of them."""
    promised = {
        "worker", "calls", "commands", "throughput", "records", "files", "run", "repository", "terminals",
        "transfers", "verification",
    }  # fmt: skip
    assert promised <= set(MEASURES)
    for module, function in MEASURES.values():
        assert callable(getattr(import_module(module), function))
