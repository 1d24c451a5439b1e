"""``--sign``: on a host that believes no server's word about who ordered a run or a schedule, as hosts come."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from shell import Shell

from fleet import fleet

NAME = "checks/ordered"
SOURCE = 'return {param("sample"), param("most"), param("on")}\n'
PARAMETERS = """\
parameters:
  sample: {type: number, default: 0.5}
  most: {type: number, default: 80}
  on: {type: array, items: {type: number}, default: [1, 2.5]}
"""


@pytest.fixture(scope="module")
def at_work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell with a script whose parameters have defaults, some of them numbers with a fraction."""
    with fleet(tmp_path_factory.mktemp("orders")) as made:
        made.add_agent("host-1", ceiling="highest_tier: inspect\naccept_server_word: []\n")
        shell = Shell(tmp_path_factory.mktemp("home"), made)
        shell.install(NAME, SOURCE, more=PARAMETERS)
        yield shell


def signed(shell: Shell) -> tuple[str, ...]:
    return ("--sign", "--key", shell.key("operator"))


def test_a_run_with_what_the_script_has_by_default(at_work: Shell) -> None:
    """The order names every parameter that the host is asked to run with, not only those that were typed."""
    called = at_work("run", "host-1", NAME, *signed(at_work), "--json")
    assert called.status == 0, called.err
    assert called.data["runs"][0]["result"] == [0.5, 80, [1, 2.5]]


def test_a_run_with_numbers_that_were_typed(at_work: Shell) -> None:
    words = ("--arg", "sample=0.1", "--arg", "most=90", "--arg", "on=0.25,3")
    called = at_work("run", "host-1", NAME, *words, *signed(at_work), "--json")
    assert called.status == 0, called.err
    assert called.data["runs"][0]["result"] == [0.1, 90, [0.25, 3]]


def test_a_run_that_nobody_signed_says_how_to(at_work: Shell) -> None:
    called = at_work("run", "host-1", NAME)
    assert called.status == 3
    assert "an operator must sign the order" in called.err
    assert "--sign" in called.err


def test_a_schedule(at_work: Shell) -> None:
    words = ("schedule", "add", NAME, "--on", "host-1", "--every", "1s", "--splay", "100ms", "--arg", "sample=0.25")
    added = at_work(*words, *signed(at_work), "--expires", "1h")
    assert added.status == 0, added.err
    assert "signed for 1 host, for 1h; sign another for those that come later" in added.err
    identity = added.out.split()[0]
    assert at_work("schedule", "show", identity, "--json").data["is_signed"] is True

    def ran() -> list[dict[str, object]]:
        return list(at_work("runs", "ls", "--schedule", identity, "--status", "ok", "--json").data)

    run = at_work.fleet.wait_for("a scheduled run", ran)[0]
    assert at_work("runs", "show", str(run["id"]), "--json").data["result"] == [0.25, 80, [1, 2.5]]

    def told() -> re.Match[str] | None:  # the newest may be one that still runs
        return re.search(r"^last run +ok on host-1, ", at_work("schedule", "show", identity).out, re.MULTILINE)

    at_work.fleet.wait_for("the last run", told)
    assert at_work("schedule", "rm", identity, "--yes").status == 0


def test_a_schedule_that_nobody_signed_says_why_nothing_runs(at_work: Shell) -> None:
    """It is on, and no run of it is listed: only the host knows."""
    added = at_work("schedule", "add", NAME, "--on", "host-1", "--every", "1s")
    assert added.status == 0, added.err
    identity = added.out.split()[0]

    def refused() -> re.Match[str] | None:
        shown = at_work("schedule", "show", identity).out
        return re.search(r"^last refused +by host-1, .+: .*an operator must sign the order$", shown, re.MULTILINE)

    at_work.fleet.wait_for("a refusal", refused)
    assert re.search(r"^last run +-$", at_work("schedule", "show", identity).out, re.MULTILINE)
    assert "last_refused" not in at_work("schedule", "show", identity, "--json").data
    assert at_work("schedule", "rm", identity, "--yes").status == 0


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["--on", "host-1", "--expires", "1h"], 2, "--expires is about the order that --sign signs"),
        (["--on", "host-1", "--sign", "--dry-run"], 2, "nothing is made, and so nothing is signed"),
        (["--on", "host-1", "--sign", "--expires", "9000d"], 2, "--expires"),
        (["--on", "host-1", "--sign", "--arg", "sample=much"], 2, "sample"),
        (["--on", "role=nobody", "--sign"], 1, "no host matches role=nobody now, and an order is signed for hosts"),
    ],
)
def test_a_schedule_that_cannot_be_signed(at_work: Shell, words: list[str], status: int, told: str) -> None:
    called = at_work("schedule", "add", NAME, "--every", "1h", *words, "--key", at_work.key("operator"))
    assert (called.status, called.out) == (status, "")
    assert told in called.err
    assert at_work("schedule", "ls", "--json").data == []
