"""The roster from the command line: describe it, sign it offline, hand it over, look at it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from shell import Shell

DESCRIPTION = """\
version: {version}
expires: 365d
roots: {{threshold: 1, keys: ["{root}"]}}
keys:
- {{name: mia, key: "{mia}", roles: [{{role: author, namespace: checks/mia}}]}}
- {{name: tom, key: "{tom}", roles: [{{role: reviewer, tier: inspect}}]}}
"""


def described(shell: Shell, version: int, **changes: str) -> Path:
    """Write a description that keeps everybody who is on the roster already."""
    keys = {name: shell.fleet.key(name).public.to_text() for name in ("root", "mia", "tom")}
    text = DESCRIPTION.format(version=version, **keys)
    text += "".join(f"- {json.dumps(entry)}\n" for entry in shell.fleet.roster_body()["keys"])
    for old, new in changes.items():
        text = text.replace(old, new)
    path = shell.work / "roster.yaml"
    path.write_text(text)
    return path


def held(shell: Shell) -> int:
    """Return the version that the server has."""
    return int(shell("roster", "show", "--json").data["version"])


def test_sign_show_and_push(outrider: Shell) -> None:
    version = held(outrider) + 1
    described(outrider, version)
    signed = outrider.program("roster", "sign", "roster.yaml", "--key", outrider.key("root"))
    assert (signed.status, signed.out) == (0, "")
    assert signed.err == "wrote roster.json with 1 signature   (next: outrider roster push roster.json)\n"
    shown = outrider("roster", "show", "roster.json")
    assert shown.status == 0
    assert "roots      1 of 1 must sign\n" in shown.out
    assert f"signed by  {outrider.fleet.key('root').public.key_id[:16]}\n" in shown.out
    rows = [line.split() for line in shown.out.splitlines()]
    assert ["mia", "author", "checks/mia", "-", outrider.fleet.key("mia").public.to_text()] in rows
    assert ["tom", "reviewer", "inspect", "-", outrider.fleet.key("tom").public.to_text()] in rows
    pushed = outrider("roster", "push", "roster.json")
    assert (pushed.status, pushed.out, pushed.err) == (0, "", f"the server holds roster version {version}\n")
    assert held(outrider) == version
    assert outrider("status", "--json").data["roster_version"] == version


def test_second_signature_of_an_envelope(outrider: Shell) -> None:
    described(outrider, 9)
    assert outrider("roster", "sign", "roster.yaml", "--key", outrider.key("root"), "--out", "one.json").status == 0
    again = outrider("roster", "sign", "one.json", "--key", outrider.key("mia"), "--out", "two.json", "--json")
    assert again.data == {
        "file": "two.json", "signatures": 2, "complete": True, "missing": 0, "missing_before": None,
    }  # fmt: skip


def test_two_roots_of_three_each_without_a_server(outrider: Shell) -> None:
    """Files go from one machine to the next; no settings, no server, no network is there."""
    for name in ("OUTRIDER_SERVER", "OUTRIDER_TOKEN"):
        outrider.environment.pop(name, None)
    keys = {name: outrider.fleet.key(name).public.to_text() for name in ("ana", "ben", "cleo")}
    text = f"roots: {{threshold: 2, keys: {json.dumps(list(keys.values()))}}}\nexpires: 30d\nkeys: []\n"
    (outrider.work / "one.yaml").write_text("version: 1\n" + text)
    (outrider.work / "two.yaml").write_text(
        "version: 2\n" + text.replace("keys: []", "reviewers: {operate: 2}\nkeys: []")
    )

    first = outrider("roster", "sign", "one.yaml", "--key", outrider.key("ana"))
    assert first.err == "wrote one.json with 1 signature   (missing: 1 of its own roots)\n"
    assert outrider("roster", "check", "one.json", "--json").error["reason"] == "unknown_key"
    added = outrider("roster", "sign", "one.json", "--add", "--key", outrider.key("ben"))
    assert added.err == "wrote one.json with 2 signatures   (next: outrider roster push one.json)\n"
    assert outrider("roster", "check", "one.json").status == 0

    signing = ("--before", "one.json", "--key")
    outrider("roster", "sign", "two.yaml", *signing, outrider.key("ana"))
    shutil.copy(outrider.work / "two.json", outrider.work / "copy.json")
    shown = outrider("roster", "sign", "copy.json", "--add", *signing, outrider.key("cleo"))
    assert "~ version 1 -> 2\n" in shown.err, "who signs sees what"
    assert "~ reviewers 1 -> 2 from operate on\n" in shown.err
    refused = outrider("roster", "sign", "copy.json", "--add", *signing, outrider.key("mallory"), "--json")
    assert refused.error["code"] == "conflict", "no root: the signature would prove nothing"
    both = outrider("roster", "gather", "two.json", "copy.json", "--before", "one.json", "--out", "all.json", "--json")
    assert (both.data["signatures"], both.data["complete"]) == (2, True)
    assert outrider("roster", "check", "all.json", "--before", "one.json", "--json").data == {"version": 2, "ok": True}
    assert outrider("roster", "check", "one.json", "--before", "all.json", "--json").error["reason"] == "rollback"
    other = outrider("roster", "gather", "one.json", "two.json", "--out", "no.json", "--json")
    assert (other.status, other.error["code"]) == (1, "conflict")
    assert not (outrider.work / "no.json").exists()


def test_what_a_roster_changes(outrider: Shell) -> None:
    described(outrider, held(outrider) + 1)
    outrider("roster", "sign", "roster.yaml", "--key", outrider.key("root"))
    changed = outrider("roster", "diff", "roster.json")
    assert changed.status == 0
    assert f"~ version {held(outrider)} -> {held(outrider) + 1}\n" in changed.out
    assert outrider("roster", "diff", "roster.json", "roster.json").out == ""
    assert {"sign": "~", "what": "version", "text": f"{held(outrider)} -> {held(outrider) + 1}"} in outrider(
        "roster", "diff", "roster.json", "--json"
    ).data
    assert outrider("roster", "diff", "roster.json", "roster.json", "roster.json").status == 2


@pytest.mark.parametrize(
    ("later", "signer", "reason"), [(-1, "root", "rollback"), (1, "mia", "unknown_key"), (0, "root", "mix_and_match")]
)
def test_roster_that_must_not_count(outrider: Shell, later: int, signer: str, reason: str) -> None:
    """Older, signed by another key, or another one of the same version."""
    outrider.fleet.roster_version = held(outrider)
    outrider.fleet.put_roster()  # so that there is an older one
    version = held(outrider)
    described(outrider, version + later)
    assert outrider("roster", "sign", "roster.yaml", "--key", outrider.key(signer)).status == 0
    refused = outrider("roster", "push", "roster.json", "--json")
    assert (refused.status, refused.out) == (3, "")
    assert refused.error["reason"] == reason
    assert held(outrider) == version


@pytest.mark.parametrize(
    ("changes", "where", "said"),
    [
        ({"author, namespace: checks/mia": "autor"}, "roster.yaml:5", "keys[0].roles[0] must have a role of author"),
        ({"365d": "later"}, "roster.yaml: expires", "'later' is not a duration"),
        ({"version: 3": "version: none"}, "roster.yaml:1", "version must be a whole number"),
        ({"threshold: 1": "threshold: 2"}, "roster.yaml:3", "threshold"),
        ({"tier: inspect": "tier: root"}, "", "'root' is not a tier"),
        ({"name: tom, ": ""}, "roster.yaml:6", "keys[1] lacks name"),
        ({"keys:\n": "keys: [\n"}, "roster.yaml:", ""),
    ],
)
def test_mistake_in_the_description_names_its_line(
    outrider: Shell, changes: dict[str, str], where: str, said: str
) -> None:
    described(outrider, 3, **changes)
    called = outrider("roster", "sign", "roster.yaml", "--key", outrider.key("root"), "--json")
    assert (called.status, called.out) == (2, "")
    assert (called.error["where"] or "").startswith(where), called.error
    assert said in called.error["message"]
    assert not (outrider.work / "roster.json").exists()


@pytest.mark.parametrize(
    "words", [["show", "nowhere.json"], ["push", "nowhere.json"], ["push", "no.json"], ["show", "no.json"]]
)
def test_file_that_is_no_roster(outrider: Shell, words: list[str]) -> None:
    (outrider.work / "no.json").write_text("not a roster\n")
    called = outrider("roster", *words)
    assert (called.status, called.out) == (2, "")
    assert called.err.startswith(f"{words[1]}: ")
