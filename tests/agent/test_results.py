"""The end of a run as a record: it always fits, and what had to go is said, the least valuable first."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.results import About, Ending, end_data
from protocol.frames import encode
from protocol.ledger import Chain, decode_record
from protocol.limits import MAX_RECORD_BYTES

ABOUT = About("checks/disk", "1.2.0", "sha256:" + 64 * "a", "observe", "oli", "sch_1", 1_800_000_000_000_000)
METRIC = {"name": "n" * 100, "type": "int64", "value": 1, "unit": "pieces", "dimension": None}


def kept(ending: Ending) -> dict[str, Any]:
    """Return the data as it is read back from a record."""
    data = end_data(ABOUT, ending)
    _, blob, _ = Chain().append(
        kind="run.end", time_us=1, mono_us=1, session="s" * 128, run="r" * 128, principal="p" * 200, outcome="ok",
        data=data,
    )  # fmt: skip
    return decode_record(blob).data


def test_what_fits_is_kept_whole() -> None:
    ending = Ending(
        "ok", result={"free": 12}, output="gr\u00fcn\n".encode(), metrics=[METRIC], state="available",
        status_text="well", timestamp_ms=0, walls_missing=["landlock"],
        rows=[{"a": 1}], progress={"pct": 5.0, "text": "x"},
    )  # fmt: skip
    data = kept(ending)
    assert data == ABOUT.to_plain() | {
        "status": "ok", "reason": None, "result": {"free": 12}, "output": "gr\u00fcn\n", "truncated": False, "cut": [],
        "metrics": [METRIC], "state": "available", "status_text": "well", "timestamp_ms": 0, "rows": [{"a": 1}],
        "progress": {"pct": 5.0, "text": "x"}, "usage": ending.usage, "walls": ["landlock"],
    }  # fmt: skip


def test_printed_output_goes_first_and_only_as_much_as_must() -> None:
    """A result is what a check is for; its chatter is not."""
    data = kept(Ending("ok", result="r" * 20_000, output=b"x" * 200_000, metrics=[METRIC] * 50))
    assert (data["result"], len(data["metrics"])) == ("r" * 20_000, 50)
    assert (data["truncated"], data["cut"]) == (True, ["output"])
    assert 0 <= MAX_RECORD_BYTES - 4096 - len(encode(data)) < 8, "hardly a byte more is cut than must be"


def test_no_character_is_cut_in_two() -> None:
    data = kept(Ending("ok", output="\u20ac".encode() * 50_000))
    assert set(data["output"]) == {"\u20ac"}


def test_then_metrics_beyond_the_first_ones_go() -> None:
    data = kept(Ending("ok", result=7, output=b"x" * 10, metrics=[METRIC] * 1000))
    assert (data["output"], data["result"], len(data["metrics"])) == ("", 7, 200)
    assert data["cut"] == ["output", "metrics"]


def test_then_the_result_goes() -> None:
    data = kept(Ending("ok", result="r" * 100_000, metrics=[METRIC] * 10))
    assert (data["result"], len(data["metrics"]), data["cut"]) == (None, 10, ["result"])


def test_metrics_that_are_too_large_by_themselves_go_last() -> None:
    data = kept(Ending("ok", result=7, metrics=[METRIC | {"value": "v" * 5000}] * 20))
    assert (data["metrics"], data["cut"]) == ([], ["result", "metrics"])


def test_what_cannot_even_be_measured_fits() -> None:
    """A run whose end is too large to be told would have none on record, and look as if it ran for ever."""
    long = METRIC | {"type": "string", "value": "v" * 65_536}
    data = kept(
        Ending("ok", result="r" * 786_432, output=b"\xff" * 4_194_304, metrics=[long] * 1000, state="available")
    )
    assert (data["status"], data["metrics"], data["state"]) == ("ok", [], "available")
    assert data["cut"] == ["output", "metrics", "result"]


def test_output_that_the_sandbox_had_cut_already_is_said() -> None:
    data = kept(Ending("killed", "output: too much", output=b"x", output_truncated=True))
    assert (data["output"], data["truncated"], data["cut"]) == ("x", True, ["output"])


def test_output_that_is_no_text_is_shown_as_far_as_it_is() -> None:
    assert kept(Ending("ok", output=b"a\xff\xfeb"))["output"] == "a\ufffd\ufffdb"


def test_a_long_reason_is_cut() -> None:
    assert len(kept(Ending("error", "x" * 100_000))["reason"]) == 2000


@settings(max_examples=60, deadline=None)
@given(
    output=st.integers(0, 300_000),
    word=st.sampled_from([b"x", "\u00fc".encode(), "\U0001f600".encode(), b"\xff"]),
    result=st.one_of(st.none(), st.integers(0, 100_000).map(lambda size: "r" * size)),
    metrics=st.integers(0, 1000),
    reason=st.integers(0, 3000),
)
def test_whatever_a_run_leaves_fits_into_a_record(
    output: int, word: bytes, result: str | None, metrics: int, reason: int
) -> None:
    """An end that does not fit could not be recorded, and the run would be told as lost."""
    data = kept(Ending("ok", "\U0001f600" * reason, result, word * (output // len(word)), metrics=[METRIC] * metrics))
    assert data["truncated"] == bool(data["cut"])


@pytest.mark.parametrize("about", [ABOUT, About("a/b", "1.0.0", "sha256:" + 64 * "b", "compute", "p")])
def test_what_it_was_is_told_the_same_way_at_both_ends(about: About) -> None:
    assert about.to_plain().items() <= end_data(about, Ending("ok")).items()
