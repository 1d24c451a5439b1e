"""Hosts from the command line: list, show, invite, label, freeze, remove."""

from __future__ import annotations

import pytest
from shell import Shell

from fleet import Fleet


def test_list_in_a_pipe_and_in_json(outrider: Shell) -> None:
    listed = outrider.program("agent", "ls")
    assert (listed.status, listed.err) == (0, "")
    assert "\x1b" not in listed.out
    assert {row[0]: row[1] for row in listed.rows} == {"host-1": "connected", "gone-1": "away"}
    data = outrider("agent", "ls", "--json").data
    assert {agent["name"]: agent["connected"] for agent in data} == {"host-1": True, "gone-1": False}


def test_list_of_nothing_says_so_on_stderr(outrider: Shell) -> None:
    called = outrider("agent", "ls", "--name", "nowhere-*")
    assert (called.status, called.out) == (0, "")
    assert called.err.startswith("no agents")
    assert outrider("agent", "ls", "--name", "nowhere-*", "--json").data == []


def test_show_tells_state_and_walls(outrider: Shell) -> None:
    # A host that has just connected tells of itself a moment later.
    outrider.fleet.wait_for("its walls", lambda: "seccomp" in outrider("agent", "show", "host-1").out)
    shown = outrider("agent", "show", "host-1")
    assert shown.status == 0
    assert shown.out.splitlines()[0].split() == ["name", "host-1"]
    assert shown.out.splitlines()[1].split() == ["state", "connected"]
    assert "seccomp" in shown.out
    walls = outrider("agent", "show", "host-1", "--json").data["facts"]["walls"]
    assert {wall["name"] for wall in walls} >= {"seccomp", "landlock", "mount_ns"}


@pytest.mark.parametrize("verb", [["show"], ["label", "role=x"], ["freeze", "--reason", "x"], ["rm", "--yes"]])
@pytest.mark.parametrize("name", ["nobody", "ho st", "ä?#%"])
def test_unknown_host(outrider: Shell, verb: list[str], name: str) -> None:
    called = outrider("agent", verb[0], name, *verb[1:], "--json")
    assert (called.status, called.out) == (1, "")
    assert called.error["code"] == "not_found"


@pytest.mark.parametrize("name", ["", ".", "..", "../schedules/x", "host/1"])
def test_name_that_would_reach_something_else(outrider: Shell, name: str) -> None:
    called = outrider("agent", "rm", name, "--yes")
    assert called.status == 2
    assert "neither a name nor an id" in called.err


def test_labels_are_set_and_taken_away(outrider: Shell) -> None:
    assert outrider("agent", "label", "host-1", "role=mail", "env=prod").status == 0
    assert outrider("agent", "ls", "-l", "role=mail", "--json").data[0]["name"] == "host-1"
    changed = outrider("agent", "label", "host-1", "env-", "--json")
    assert changed.data["labels"] == {"role": "mail"}
    assert outrider("agent", "label", "host-1", "role-", "--json").data["labels"] == {}


@pytest.mark.parametrize(("text", "said"), [("role", "K=V"), ("=x", "K=V"), ("role=a b", "role=a b")])
def test_bad_label(outrider: Shell, text: str, said: str) -> None:
    called = outrider("agent", "label", "host-1", text)
    assert called.status == 2
    assert said in called.err


def test_invitation_prints_the_token_alone_on_stdout(outrider: Shell) -> None:
    """So that ``outrider agent invite > token`` is the file that the host needs."""
    made = outrider.program("agent", "invite", "--name", "new-1", "-l", "role=mail", "--ttl", "5m")
    assert made.status == 0
    assert len(made.out.split()) == 1
    assert f"outrider-agent enroll --server {outrider.url}" in made.err
    assert made.out.strip() not in made.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ttl", "soon"], "--ttl: 'soon' is not a duration"),
        (["--name", "a b"], "is no name for an agent"),
        (["-l", "role"], "--label: 'role'"),
        (["--name", "server"], "server"),
    ],
)
def test_bad_invitation(outrider: Shell, words: list[str], said: str) -> None:
    called = outrider("agent", "invite", *words)
    assert (called.status, called.out) == (2, "")
    assert said in called.err


def test_frozen_host_runs_nothing_until_it_is_let(outrider: Shell, shared: Fleet) -> None:
    outrider.install("checks/cli-frozen", "return 1\n")
    needs_reason = outrider("agent", "freeze", "host-1")
    assert needs_reason.status == 2
    assert "--reason" in needs_reason.err
    frozen = outrider("agent", "freeze", "host-1", "--reason", "T-2291")
    assert (frozen.status, frozen.out, frozen.err) == (0, "", "host-1 is frozen\n")
    try:
        shared.wait_for("the host to be frozen", lambda: outrider("run", "host-1", "checks/cli-frozen").status == 3)
        assert outrider("agent", "ls").rows[1][1] == "frozen"
        assert "T-2291" in outrider("agent", "show", "host-1").out
    finally:
        undone = outrider("agent", "freeze", "host-1", "--reason", "T-2291 is over", "--undo", "--json")
    assert undone.data["frozen"] is False
    shared.wait_for("the host to run again", lambda: outrider("run", "host-1", "checks/cli-frozen").status == 0)
    assert "freeze reason" not in outrider("agent", "show", "host-1").out, "the reason of a time that is over"


def test_remove_asks_first_and_keeps_the_records(outrider: Shell, shared: Fleet) -> None:
    shared.enroll("short-lived")
    unasked = outrider("agent", "rm", "short-lived")
    assert unasked.status == 2
    assert "--yes" in unasked.err
    assert outrider("agent", "show", "short-lived").status == 0
    assert outrider("agent", "rm", "short-lived", "--yes", "--json").data == {"removed": "short-lived"}
    assert outrider("agent", "show", "short-lived").status == 1
    assert outrider("record", "ls", "--call", "agent.remove", "--json").data[0]["arguments"]["name"] == "short-lived"
