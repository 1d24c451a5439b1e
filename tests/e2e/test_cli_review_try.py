"""``outrider review try``: a version that nobody approved, dry on a real host, call by call, kept with the review."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from shell import Shell

from fleet import Fleet, fleet

PLACE = Path(f"/tmp/outridertrye-{os.getpid()}")
SOURCE = f'fs.write("{PLACE}/new", "x")\nreturn {{ctx.dry_run(), #fs.list("{PLACE}")}}\n'


@pytest.fixture
def place() -> Iterator[Path]:
    PLACE.mkdir()
    yield PLACE
    shutil.rmtree(PLACE)


@pytest.fixture(scope="module")
def at_work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("try")) as made:
        made.trust_up_to("operate")
        made.add_agent("host-1", ceiling="highest_tier: operate\ndry_runs: true\n")
        made.add_agent("host-2", ceiling="highest_tier: operate\naccept_server_word: [run]\n")
        yield made


def test_tried_before_it_is_approved(at_work: Fleet, place: Path, tmp_path: Path) -> None:
    shell = Shell(tmp_path, at_work)
    review = shell.publish(shell.write("checks/try", SOURCE, tier="operate"))
    words = ("review", "try", review, "--on", "host-1", "--key", shell.key("reviewer"), "--reason", "CHG-7")
    tried = shell(*words)
    assert tried.status == 0, tried.err
    assert [row[0] for row in tried.rows if row[0].startswith("fs.")] == ["fs.write", "fs.list"]
    assert "tried on host-1: 3 calls, 1 not carried out" in tried.err
    data = shell(*words, "--json").data
    (run,) = data["runs"]
    assert run["result"] == [True, 0]
    assert [(call["call"], call["verdict"], call["done"]) for call in run["calls"]] == [
        ("fs.write", "allow", "dry"), ("ctx.dry_run", "allow", "performed"), ("fs.list", "allow", "performed"),
    ]  # fmt: skip
    assert all(call["rule"] for call in run["calls"])
    assert list(place.iterdir()) == []
    shown = shell("review", "show", review)
    assert f"on host-1: ok, run {run['id']}: CHG-7" in shown.out
    history = shell("review", "show", review, "--json").data["history"]
    assert [(event["what"], event["status"]) for event in history] == [
        ("tried", "ok"), ("tried", "ok"), ("published", None),
    ]  # fmt: skip
    refused = shell("run", "host-1", "checks/try", "--sign", "--key", shell.key("operator"), "--dry-run")
    assert refused.status == 3, "a trial is all that it may do"


def test_a_host_whose_owner_wants_none(at_work: Fleet, tmp_path: Path) -> None:
    shell = Shell(tmp_path, at_work)
    review = shell.publish(shell.write("checks/try-none", "return 1\n"))
    refused = shell("review", "try", review, "--on", "host-2", "--key", shell.key("reviewer"), "--json")
    (run,) = refused.data["runs"]
    assert (refused.status, run["status"], run["calls"]) == (3, "refused", [])
    assert shell("review", "show", review, "--json").data["history"][0]["status"] == "refused"


def test_a_refusal_is_told_once_and_as_one(at_work: Fleet, tmp_path: Path) -> None:
    shell = Shell(tmp_path, at_work)
    review = shell.publish(shell.write("checks/try-told", "return 1\n"))
    refused = shell("review", "try", review, "--on", "host-2", "--key", shell.key("reviewer"))
    assert (refused.status, refused.out, refused.err.count("\n")) == (3, "", 1)
    assert "lets nobody try it before (ceiling.yaml: dry_runs)" in refused.err


def test_by_its_author_and_after_a_rejection(at_work: Fleet, tmp_path: Path) -> None:
    shell = Shell(tmp_path, at_work)
    review = shell.publish(shell.write("checks/try-own", "return 1\n"), by="both")
    own = shell("review", "try", review, "--on", "host-1", "--key", shell.key("both"))
    assert own.status == 3
    assert "an author cannot order a trial of their own script" in own.err
    assert shell("review", "reject", review, "--reason", "no").status == 0
    rejected = shell("review", "try", review, "--on", "host-1", "--key", shell.key("reviewer"))
    assert "was rejected" in rejected.err


def test_bad_words(at_work: Fleet, tmp_path: Path) -> None:
    shell = Shell(tmp_path, at_work)
    review = shell.publish(shell.write("checks/try-bad", "return 1\n"))
    key = ("--key", shell.key("reviewer"))
    assert shell("review", "try", review, *key).status == 2
    unknown = shell("review", "try", review, "--on", "host-1", "--on", "host-9", *key)
    assert unknown.status == 1
    assert "host-9" in unknown.err
    assert shell("review", "show", review, "--json").data["history"][0]["what"] == "published", "nothing was tried"
    assert shell("review", "try", "nonesuch", "--on", "host-1", *key).status == 1
