"""``outrider secret`` with a real server and a real agent: from a value that is typed to a box that a host holds."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from shell import Shell

from fleet import Fleet

VALUE = "correct horse battery"


@pytest.fixture
def at_work(shared: Fleet, tmp_path: Path) -> Iterator[Shell]:
    """A shell whose secrets are gone afterwards."""
    shell = Shell(tmp_path, shared)
    yield shell
    for secret in shell("secret", "ls", "--json").data:
        shell("secret", "rm", secret["name"], "--yes")


def held(fleet: Fleet, name: str) -> list[int]:
    """The versions of a secret that the host holds."""
    path = fleet.directory / "host-1" / "secrets.json"
    found = json.loads(path.read_text())["secrets"] if path.exists() else []
    return [item["version"] for item in found if item["name"] == name]


def test_from_set_to_rm(at_work: Shell, shared: Fleet) -> None:
    (at_work.work / "value").write_text(f"{VALUE}\n")
    words = ["secret", "set", "cli-one", "--on", "host-1", "--for", "checks/**", "--from-file", "value"]
    made = at_work(*words)
    assert made.status == 0, made.err
    assert "cli-one version 1 is sealed for 1 host, for checks/**" in made.err
    shared.wait_for("the host to hold it", lambda: held(shared, "cli-one") == [1])
    listed = at_work("secret", "ls")
    assert listed.rows[0][:4] == ["cli-one", "host-1", "1", "checks/**"]
    again = at_work(*words, "--json")
    assert again.data["hosts"][0]["version"] == 2
    shared.wait_for("the host to hold the newer one", lambda: held(shared, "cli-one") == [2])
    gone = at_work("secret", "rm", "cli-one", "--yes")
    assert (gone.status, gone.err) == (0, "removed cli-one\n")
    shared.wait_for("the host to hold none", lambda: held(shared, "cli-one") == [])
    assert at_work("secret", "rm", "cli-one", "--yes").status == 1
    third = at_work(*words, "--json")
    assert third.data["hosts"][0]["version"] == 3


def test_no_value_is_in_anything_that_is_kept_or_said(at_work: Shell, shared: Fleet) -> None:
    (at_work.work / "value").write_text(VALUE)
    made = at_work("secret", "set", "cli-two", "--on", "host-1", "--for", "checks/a", "--from-file", "value")
    shared.wait_for("the host to hold it", lambda: held(shared, "cli-two") != [])
    assert VALUE not in made.out + made.err
    looked_at = set()
    for folder, _, names in os.walk(shared.directory):
        for path in (Path(folder, name) for name in names if not Path(folder, name).is_socket()):
            with suppress(FileNotFoundError):  # it is gone by now: two programs work here
                assert VALUE.encode() not in path.read_bytes(), path
                looked_at.add(path.name)
    assert {"secrets.json", "server.sqlite", "server.log", "host-1.log"} <= looked_at
    calls = [item for item in shared.records("server") if item["call"] == "secret.set"]
    assert calls
    assert VALUE not in json.dumps(calls)


def test_a_value_from_standard_input(at_work: Shell, shared: Fleet) -> None:
    made = at_work.program(
        "secret", "set", "cli-three", "--on", "host-1", "--for", "checks/a", "--from-file", "-", stdin="hunter2!\n"
    )
    assert made.status == 0, made.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["BAD", "--on", "host-1", "--for", "checks/a"], "is no name for a secret"),
        (["x/y", "--on", "host-1", "--for", "checks/a"], "is no name for a secret"),
        (["ok", "--on", "host-1", "--for", "checks/*"], "neither a name nor a namespace"),
        (["ok", "--on", "nobody-*", "--for", "checks/a"], "no host matches"),
        (["ok", "--on", "host-1"], "--for"),
        (["ok", "--on", "host-1", "--for", "checks/a", "--from-file", "nothing"], "cannot be read"),
        (["ok", "--on", "host-1", "--for", "checks/a", "--from-file", "short"], "4 to 8192 bytes"),
        (["ok", "--on", "host-1", "--for", "checks/a", "--from-file", "long"], "4 to 8192 bytes"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_set(at_work: Shell, words: list[str], told: str) -> None:
    (at_work.work / "short").write_text("abc\n")
    (at_work.work / "long").write_text("x" * 9000)
    if "--from-file" not in words:
        (at_work.work / "value").write_text(VALUE)
        words = [*words, "--from-file", "value"]
    answer = at_work("secret", "set", *words)
    assert answer.status != 0
    assert told in answer.err
    assert at_work("secret", "ls", "--json").data == []


def test_another_key_of_a_host_is_refused(at_work: Shell) -> None:
    """A server that is taken over must not be able to have values sealed for itself."""
    (at_work.work / "value").write_text(VALUE)
    words = ["secret", "set", "cli-four", "--on", "host-1", "--for", "checks/a", "--from-file", "value"]
    first = at_work(*words)
    assert "host-1: seen for the first time, its key is" in first.err
    assert "for the first time" not in at_work(*words).err
    path = at_work.home / "config" / "outrider" / "known-agents.json"
    known = json.loads(path.read_text())
    (pins,) = known.values()
    for agent in pins:
        pins[agent] = "0" * 64
    path.write_text(json.dumps(known))
    refused = at_work(*words)
    assert refused.status == 3
    assert "before" in refused.err
