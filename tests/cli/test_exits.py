"""The exit statuses of the command line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cli import exits
from protocol.errors import DOORS

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "exit-codes.md"


def test_document_holds_exactly_the_table() -> None:
    """People write scripts by this page; a number that it does not have, or has wrongly, breaks them."""
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert {int(number): text for number, text in rows} == exits.MEANING


def test_document_holds_the_status_of_every_run_status() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert {status: int(number) for status, number in rows} == exits.RUN_STATUS


def test_every_error_code_exits_with_a_documented_status() -> None:
    assert {doors.exit_status for doors in DOORS.values()} <= exits.MEANING.keys()


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (["ok"], exits.OK),
        (["error"], exits.FAILURE),
        (["denied"], exits.DENIED),
        (["refused"], exits.DENIED),
        (["killed"], exits.KILLED),
        (["ok", "ok"], exits.OK),
        (["killed", "killed"], exits.KILLED),
        (["ok", "error"], exits.PARTIAL),
        (["ok", "denied", "ok"], exits.PARTIAL),
        (["error", "killed"], exits.FAILURE),
        ([], exits.FAILURE),
        (["something new"], exits.FAILURE),
    ],
)
def test_status_of_runs_on_several_hosts(statuses: list[str], expected: int) -> None:
    assert exits.of_runs([(status, None) for status in statuses]) == expected


def test_what_kept_a_run_from_beginning_gives_its_status() -> None:
    """A host that is away has forbidden nothing, and whoever scripts this wants to try again later."""
    assert exits.of_runs([("refused", "not_connected")]) == exits.NOT_CONNECTED
    assert exits.of_runs([("refused", "untrusted")]) == exits.DENIED
    assert exits.of_runs([("refused", "unavailable")]) == exits.FAILURE
    assert exits.of_runs([("refused", "something new")]) == exits.DENIED
    assert exits.of_runs([("ok", None), ("refused", "not_connected")]) == exits.PARTIAL
    assert exits.of_runs([("error", "not_connected")]) == exits.FAILURE
