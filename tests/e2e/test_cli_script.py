"""A script's way from ``new`` to ``withdraw``, and mistakes on that way: each names the file and the line."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from shell import Shell

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@pytest.mark.parametrize("language", ["lua", "python"])
def test_from_new_to_withdrawn(outrider: Shell, language: str) -> None:
    """The whole life of a script, as two people live it."""
    name = f"checks/life-{language}"
    made = outrider("script", "new", name, "--language", language)
    assert (made.status, made.out) == (0, "")
    assert f"next: outrider script run life-{language}" in made.err
    folder = f"life-{language}"

    checked = outrider("script", "check", folder)
    assert checked.status == 0, checked.err
    assert checked.err == f"ok      {name}  tier observe, inferred observe  1 test\n"
    assert "reports what the host says  ok" in checked.out
    here = outrider("script", "run", folder, "--json")
    assert here.status == 0
    assert set(here.data) == {"status", "reason", "result", "output", "metrics", "calls", "usage"}

    call = outrider.program if language == "lua" else outrider
    published = call("script", "publish", folder, "--key", outrider.key("author"))
    assert (published.status, published.out) == (0, "")
    match = re.fullmatch(
        rf"published {name} 0\.1\.0  sha256:[0-9a-f]{{12}}\.\.\.  waiting for review \(observe, 1 reviewer\)\n",
        published.err,
    )
    assert match, published.err
    (review,) = (each["id"] for each in outrider("review", "ls", "--json").data if each["script"] == name)
    refused = outrider("run", "host-1", name)
    assert refused.status == 3
    assert "0 of 1 approvals" in refused.err
    assert outrider.approve(review).status == 0
    ran = outrider("run", "host-1", name)
    assert ran.status == 0
    assert "uptime" in ran.out

    listed = outrider("script", "ls", name)
    assert listed.rows[0][:5] == [name, "0.1.0", "observe", "approved", "author"]
    words = ["script", "withdraw", name, "0.1.0", "--reason", "it lies", "--key", outrider.key("author")]
    assert "--yes" in outrider(*words).err, "it cannot be undone, so it asks"
    withdrawn = outrider(*words, "--yes")
    assert (withdrawn.status, withdrawn.err) == (0, f"withdrew {name} 0.1.0\n")
    shown = outrider("script", "show", name).out
    assert re.search(r"WITHDRAWN BY +ON +STATE +REASON\nauthor +\S+ \S+ +ok +it lies", shown), shown
    again = outrider("run", "host-1", name, "--json")
    assert again.status == 3
    assert again.error["reason"] == "withdrawn"
    assert "it lies" in again.error["message"]


def test_show_says_who_stands_for_it(outrider: Shell) -> None:
    """A person reads names and dates; only programs get the envelopes."""
    outrider.install("checks/cli-shown", "return 'shown'\n")
    shown = outrider("script", "show", "checks/cli-shown")
    assert shown.status == 0
    assert "payload" not in shown.out
    assert re.search(r"^published +\d{4}-\d\d-\d\d \d\d:\d\d by author$", shown.out, re.MULTILINE), shown.out
    approval = r"^reviewer +observe +\S+ \d\d:\d\d +\S+ \d\d:\d\d +ok +- +CHG-118$"
    assert re.search(approval, shown.out, re.MULTILINE), shown.out
    assert "--- main.lua\nreturn 'shown'\n" in shown.out
    data = outrider("script", "show", "checks/cli-shown", "--json").data
    assert data["approvals"][0]["payloadType"] == "application/vnd.outrider.approval+json"


def test_show_before_anybody_approved(outrider: Shell) -> None:
    outrider.publish(outrider.write("checks/cli-nobody", "return 1\n"))
    shown = outrider("script", "show", "checks/cli-nobody").out
    assert re.search(r"^approvals +none$", shown, re.MULTILINE)


def test_same_version_with_other_files(outrider: Shell) -> None:
    outrider.publish(outrider.write("checks/cli-twice", "return 1\n"))
    again = outrider("script", "publish", str(outrider.write("checks/cli-twice", "return 2\n")), "--key",
                     outrider.key("author"))  # fmt: skip
    assert again.status == 1
    assert "give it a new version" in again.err


def test_publishing_the_same_again_changes_nothing(outrider: Shell) -> None:
    folder = outrider.write("checks/cli-again", "return 1\n")
    assert outrider.publish(folder) == outrider.publish(folder)


def test_newest_version_is_shown_and_another_on_demand(outrider: Shell) -> None:
    outrider.install("checks/cli-versions", "return 1\n", version="1.0.0")
    outrider.install("checks/cli-versions", "return 2\n", version="1.1.0")
    assert outrider("script", "show", "checks/cli-versions", "--json").data["version"] == "1.1.0"
    old = outrider("script", "show", "checks/cli-versions", "--version", "1.0.0", "--json").data
    assert (old["version"], old["versions"]) == ("1.0.0", ["1.1.0", "1.0.0"])


@pytest.mark.parametrize("words", [["checks/nowhere"], ["checks/cli-versions", "--version", "9.9.9"], ["../agents"]])
def test_script_that_is_not_there(outrider: Shell, words: list[str]) -> None:
    called = outrider("script", "show", *words)
    assert (called.status, called.out) == (1, "")
    assert words[0] in called.err


def test_key_that_the_roster_does_not_know(outrider: Shell) -> None:
    assert outrider("key", "new", "own.key").status == 0
    folder = outrider.write("checks/cli-stranger", "return 1\n")
    called = outrider("script", "publish", str(folder), "--key", "own.key")
    assert called.status == 3
    assert called.err.startswith("refused: ")
    assert "outrider roster show" in called.err


def test_without_a_key(outrider: Shell) -> None:
    called = outrider("script", "publish", str(outrider.write("checks/cli-keyless", "return 1\n")))
    assert called.status == 2
    assert "outrider key new" in called.err


def test_outside_the_author_s_namespace(outrider: Shell) -> None:
    folder = outrider.write("infra/outside", "return 1\n")
    called = outrider("script", "publish", str(folder), "--key", outrider.key("author"), "--json")
    assert called.status == 3
    assert called.error["reason"] == "wrong_namespace"
    assert "infra/outside" in called.error["message"]


@pytest.mark.parametrize(
    ("more", "place", "said"),
    [
        ("limits: {wall: 10 parsecs}\n", "manifest.yaml:6: limits.wall", "'10 parsecs' is not a duration"),
        ("colour: red\n", "manifest.yaml:6: colour", "unknown key 'colour'"),
        ("parameters:\n  n: {type: intger}\n", "manifest.yaml:7", "intger"),
        ("limits: [\n", "manifest.yaml:7", ""),
        ("tests:\n- expect: {status: ok}\n  cals: {}\n", "manifest.yaml:8", "cals"),
    ],
)
@pytest.mark.parametrize("verb", ["check", "run", "publish"])
def test_mistake_in_the_manifest_names_its_line(outrider: Shell, verb: str, more: str, place: str, said: str) -> None:
    folder = outrider.write("checks/cli-manifest", "return 1\n", more=more)
    signing = ["--key", outrider.key("author")] if verb == "publish" else []
    called = outrider("script", verb, str(folder), *signing, "--json")
    assert (called.status, called.out) == (2, "")
    assert called.error["where"].startswith(place), called.error
    assert said in called.error["message"]


@pytest.mark.parametrize(
    ("language", "source", "place"),
    [
        ("lua", "local a = 1\nlocal b = = 2\n", "main.lua:2"),
        ("lua", "if true then\n  return 1\n", "main.lua:"),
        ("python", "def main():\n    x = = 2\n", "main.py:2"),
        ("python", "def main():\n    import os\n", "main.py:2"),
    ],
)
def test_syntax_error_names_its_line(outrider: Shell, language: str, source: str, place: str) -> None:
    name = "checks/cli-syntax"
    assert outrider("script", "new", name, "--language", language).status == 0
    folder = outrider.work / "cli-syntax"
    (folder / ("main.py" if language == "python" else "main.lua")).write_text(source)
    checked = outrider("script", "check", "cli-syntax")
    assert checked.status == 1
    assert checked.out.startswith(place), "the finding is the data"
    assert checked.err.startswith("failed")
    ran = outrider("script", "run", "cli-syntax", "--json")
    assert ran.status == 1
    assert ran.data["reason"].startswith(place), ran.data
    published = outrider("script", "publish", "cli-syntax", "--key", outrider.key("author"))
    assert published.status == 2
    assert published.err.startswith(place)


def test_check_names_calls_that_are_not_there_and_needs_that_are_short(outrider: Shell) -> None:
    source = "local a = 1\nreturn fs.shred('/x'), sys.cpu()\n"
    folder = outrider.write("checks/cli-calls", source, more="needs:\n- call: sys.uptime\n")
    called = outrider("script", "check", str(folder))
    assert called.status == 1
    assert "main.lua:2: there is no call named fs.shred" in called.out
    assert "main.lua:2: calls sys.cpu, which its needs leave out" in called.out


def test_failing_test_of_the_manifest(outrider: Shell) -> None:
    outrider("script", "new", "checks/cli-failing")
    manifest = outrider.work / "cli-failing" / "manifest.yaml"
    manifest.write_text(manifest.read_text().replace("metrics: {uptime: 3600.5}", "metrics: {uptime: 7}"))
    called = outrider("script", "check", "cli-failing")
    assert called.status == 1
    assert re.search(r"reports what the host says +failed +\S.*3600\.5", called.out), called.out


def test_denied_here_names_the_call_and_the_line(outrider: Shell) -> None:
    (outrider.work / "peek.lua").write_text('local a = 1\nreturn fs.read("/etc/shadow")\n')
    called = outrider("script", "run", "peek.lua")
    assert (called.status, called.out) == (3, "")
    assert called.err.startswith("denied  main.lua:2") or called.err.startswith("denied  peek.lua:2"), called.err
    assert "fs.read" in called.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["new", "queue"], "'queue' is not a script's name"),
        (["new", "../../etc/x"], "is not a script's name"),
        (["new", "checks/x", "--language", "perl"], "'perl'"),
        (["run", "nowhere.lua"], "nowhere.lua: "),
        (["run", "."], "holds no manifest.yaml"),
        (["check", "nowhere"], "nowhere: "),
        (["run", "a.lua", "--tier", "root"], "'root'"),
        (["run", "a.lua", "--arg", "x"], "--arg: 'x'"),
        (["run", "a.lua", "--policy", "nowhere.yaml"], "nowhere.yaml: "),
        (["run", "a.lua", "--policy", "wrong.yaml"], "wrong.yaml:3: allow[0].pths"),
        (["publish", "nowhere"], "nowhere: "),
    ],
)
def test_bad_words_exit_2_and_are_named(outrider: Shell, words: list[str], said: str) -> None:
    (outrider.work / "a.lua").write_text("return 1\n")
    (outrider.work / "wrong.yaml").write_text("tier: observe\nallow:\n- {call: fs.stat, pths: [/]}\n")
    called = outrider("script", *words)
    assert (called.status, called.out) == (2, "")
    assert said in called.err


def test_new_overwrites_nothing(outrider: Shell) -> None:
    assert outrider("script", "new", "checks/queue").status == 0
    kept = (outrider.work / "queue" / "main.lua").read_text()
    called = outrider("script", "new", "checks/queue", "--language", "python")
    assert called.status == 1
    assert called.err == "queue: is there already\n"
    assert (outrider.work / "queue" / "main.lua").read_text() == kept


def test_what_is_published_is_what_is_in_the_folder(outrider: Shell, tmp_path: Path) -> None:
    """The digest does not depend on where the folder lies or what an editor left beside."""
    folder = outrider.write("checks/cli-digest", "return 1\n")
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "main.lua~").write_text("return 2\n")
    (copy / ".main.lua.swp").write_text("x")
    words = ["--key", outrider.key("author"), "--json"]
    first, second = (outrider("script", "publish", str(where), *words) for where in (folder, copy))
    assert DIGEST.fullmatch(first.data["digest"])
    assert first.data["digest"] == second.data["digest"]


def test_found_by_words_and_folders(outrider: Shell) -> None:
    more = "description: Counts what waits.\ntags: [postfix]\nlicence: MIT\n"
    outrider.install("checks/found/queue", "return 1\n", more=more)
    rows = outrider("script", "search", "WAITS", "#postfix").rows
    assert rows == [["checks/found/queue", "1.0.0", "observe", "approved", "postfix", "Counts what waits."]]
    assert outrider("script", "search", "waits", "nothing").err == "no scripts\n"
    browsed = outrider("script", "browse", "checks")
    assert "checks/found/  1 script\n" in browsed.out
    assert outrider("script", "browse", "checks/found", "--json").data["scripts"][0]["name"] == "checks/found/queue"
    shown = outrider("script", "show", "checks/found/queue").out
    for line in (r"tags +postfix", r"licence +MIT", r"owners +author", r"visibility +account"):
        assert re.search(f"^{line}$", shown, re.MULTILINE), shown


def test_who_runs_what_is_deprecated_is_warned(outrider: Shell) -> None:
    outrider.install("checks/cli-old", "return 1\n")
    outrider.install("checks/cli-new", "return 2\n")
    told = outrider("script", "deprecate", "checks/cli-old", "--reason", "it lies", "--replacement", "checks/cli-new")
    assert (told.status, told.err) == (0, "checks/cli-old is deprecated\n")
    warning = "warning: checks/cli-old 1.0.0 is deprecated: it lies; use checks/cli-new"
    ran = outrider("run", "host-1", "checks/cli-old")
    assert ran.status == 0, ran.err
    assert warning in ran.err
    assert "(deprecated)" in outrider("script", "search", "cli-old").out
    made = outrider("schedule", "add", "checks/cli-old", "--on", "host-1", "--every", "1h")
    assert warning in made.err
    assert outrider("schedule", "rm", made.out.split()[0], "--yes").status == 0
    silent = outrider("script", "deprecate", "checks/cli-old")
    assert silent.status == 2
    assert "Say why with --reason TEXT, or take it back with --undo." in silent.err
    undone = outrider("script", "deprecate", "checks/cli-old", "--undo")
    assert undone.err == "checks/cli-old is not deprecated any more\n"
    assert "warning" not in outrider("run", "host-1", "checks/cli-old").err


def test_handing_a_script_over(outrider: Shell) -> None:
    outrider.install("checks/cli-mine", "return 1\n")
    words = ["script", "transfer", "checks/cli-mine", "--reason", "moves", "--key"]
    nobody = outrider(*words, outrider.key("author"), "--to", "nobody", "--yes")
    assert nobody.status == 3
    assert "the roster does not let nobody publish checks/cli-mine" in nobody.err
    stranger = outrider(*words, outrider.key("reviewer"), "--to", "author", "--yes")
    assert stranger.status == 3
    assert "only an owner can hand over checks/cli-mine: author" in stranger.err
    told = outrider(*words, outrider.key("author"), "--to", "author", "--yes")
    assert (told.status, told.err) == (0, "checks/cli-mine belongs to author\n")


def test_a_number_that_hides_a_break(outrider: Shell) -> None:
    outrider.publish(outrider.write("checks/cli-break", "return 1\n", more="parameters: {n: {type: integer}}\n"))
    folder = outrider.write("checks/cli-break", "return 1\n", version="1.0.1")
    refused = outrider("script", "publish", str(folder), "--key", outrider.key("author"))
    assert refused.status == 1
    assert "1.0.1 breaks what 1.0.0 promised (the parameter n is gone): make it 2.0.0 or keep that" in refused.err
