"""What a run asked of the gate, and what is made of it; and the command, in the real sandbox."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripts_here import write_bundle

from cli.local.tracing import Trace, lowest, merged, traced
from policies.load import builtin
from policies.model import Facts
from policies.targets import NetTarget
from protocol.manifest import Need, parse
from protocol.tiers import Tier
from sandbox.analysis import analyse


def nothing_known() -> Any:
    return analyse("lua", {"main.lua": b"return 1"}, "main.lua", {"fs.read": Tier.INSPECT})


@pytest.mark.parametrize(
    ("call", "facts", "tier"),
    [
        ("log.info", Facts(), Tier.COMPUTE),
        ("sys.uptime", Facts(), Tier.OBSERVE),
        ("fs.read", Facts(path="/etc/hosts"), Tier.INSPECT),
        ("net.tcp_check", Facts(target=NetTarget.of("db.example.org", 5432)), Tier.INSPECT),
        ("secret", Facts(name="db/password"), Tier.INSPECT),
        ("fs.read", Facts(path="/etc/shadow"), None),
    ],
)
def test_lowest_tier(call: str, facts: Facts, tier: Tier | None) -> None:
    """Targets and names count as declared, since the needs that are written will declare them."""
    assert lowest(call, facts) is tier


def test_targets_names_and_refusals() -> None:
    trace = Trace(builtin(Tier.INSPECT))
    for call, facts in [
        ("net.tcp_check", Facts(target=NetTarget.of("db.example.org", 5432))),
        ("net.tcp_check", Facts(target=NetTarget.of("2001:db8::1", 22))),
        ("net.tcp_check", Facts(target=NetTarget.of("169.254.169.254", 80))),
        ("secret", Facts(name="db/password")),
        ("fs.read", Facts(path="/etc/shadow")),
        ("check.metric", Facts()),
    ]:
        trace.decide(call, facts)
    found = traced(trace, nothing_known(), {})
    assert found.needs == (
        Need("net.tcp_check", targets=("[2001:db8::1]:22", "db.example.org:5432")),
        Need("secret", names=("db/password",)),
    )
    assert [(item.call, item.what, item.tier) for item in found.denied] == [
        ("net.tcp_check", "169.254.169.254:80", None), ("fs.read", "/etc/shadow", None),
    ]  # fmt: skip
    assert found.tier is Tier.INSPECT


def test_a_tree_of_which_the_tier_keeps_something_back_is_one_need() -> None:
    """Else the manifest would name what lay there that day, and miss what comes tomorrow."""
    trace = Trace(builtin(Tier.INSPECT))
    for call in ("fs.grep", "fs.glob"):
        for directory in ("/etc", "/var/log", "/var/log/audit", "/var/log/apt"):
            if trace.below(call, directory) is None:
                trace.decide(call, Facts(path=directory))
        trace.decide(call, Facts(path="/var/log/dpkg.log"))
    assert ("fs.grep", "/var/log") in trace.partly, "else this test is about nothing"
    through, chosen = traced(trace, nothing_known(), {}).needs
    assert through == Need("fs.grep", paths=("/etc", "/var/log/**"))
    assert chosen == Need("fs.glob", paths=("/etc", "/var/log", "/var/log/apt/**", "/var/log/dpkg.log"))


def test_needs_of_two_runs_together() -> None:
    before = (Need("fs.read", paths=("/a",)), Need("net.http", targets=("a:1",)))
    now = (Need("fs.read", paths=("/b", "/a")), Need("sys.uptime"))
    assert merged(before, now) == (Need("fs.read", paths=("/a", "/b")), Need("net.http", targets=("a:1",)), now[1])


SOURCE = """
local listed = fs.list(param("dir"))
for _, entry in ipairs(listed.entries) do fs.read(param("dir") .. "/" .. entry.name) end
if param("dir") == "" then fs.hash("/etc/hosts") end
return #listed.entries
"""
PARAMETER = "parameters: {dir: {type: string, required: true}}\n# kept\nneeds: [{call: sys.uptime}]\n"


def test_trace_writes_what_lets_the_run_through(outrider: Callable[..., Any], home: Path) -> None:
    """The walkthrough: denied, traced, written, and then it runs, with nothing more than that."""
    folder = write_bundle(home / "listing", SOURCE, more=PARAMETER)
    given = ("--arg", "dir=/etc/pam.d")
    assert outrider("script", "run", str(folder), *given).status == 3
    traced = outrider("script", "trace", str(folder), "--write-needs", *given)
    assert traced.status == 0, traced.err
    assert traced.out == "needs: fs.list /etc/pam.d\nneeds: fs.read /etc/pam.d/*\ninferred tier: observe -> inspect\n"
    assert "not reached  fs.hash" in traced.err
    text = (folder / "manifest.yaml").read_text()
    assert "# kept" in text
    manifest = parse(text)
    assert manifest.tier is Tier.INSPECT
    assert manifest.needs == (Need("fs.list", paths=("/etc/pam.d",)), Need("fs.read", paths=("/etc/pam.d/*",)))
    assert outrider("script", "run", str(folder), *given).status == 0
    assert outrider("script", "run", str(folder), "--arg", "dir=/etc/security").status == 3
    again = outrider("script", "trace", str(folder), "--merge", "--json", "--arg", "dir=/etc/security").data
    assert {"call": "fs.list", "paths": ["/etc/pam.d", "/etc/security"]} in again["needs"]
    assert (again["inferred_tier"], again["written"]) == ("inspect", False)


def test_trace_does_not_change_the_host_unasked(outrider: Callable[..., Any], home: Path) -> None:
    target = home / "written"
    folder = write_bundle(home / "writes", f'fs.write("{target}", "x")\n')
    refused = outrider("script", "trace", str(folder), "--write-needs")
    assert refused.status == 3
    assert f"denied  fs.write {target}" in refused.err
    assert "--tier operate allows it" in refused.err
    assert "stays as it is" in refused.err
    assert not target.exists()
    assert outrider("script", "trace", str(folder), "--tier", "operate").status == 0
    assert target.read_text() == "x"


def test_trace_with_a_policy_file(outrider: Callable[..., Any], home: Path) -> None:
    policy = home / "mine.yaml"
    policy.write_text("tier: observe\nallow:\n- call: sys.uptime\n")
    path = home / "two.py"
    path.write_text("try:\n    sys.loadavg()\nexcept Exception:\n    pass\nresult = sys.uptime()\n")
    told = outrider("script", "trace", str(path), "--policy", str(policy), "--json").data
    assert told["needs"] == [{"call": "sys.uptime"}]
    assert [(item["call"], item["tier"]) for item in told["denied"]] == [("sys.loadavg", "observe")]
    assert outrider("script", "trace", str(path), "--write-needs").status == 2


OF_ITS_OWN = """
local file, folder = fs.tempfile("x"), fs.tempdir()
fs.write(folder .. "/a", fs.read(file))
for entry in fs.walk(folder) do fs.read(entry.path) end
return fs.read(folder .. "/a")
"""


def test_what_a_run_made_itself_asks_for_no_higher_tier(outrider: Callable[..., Any], home: Path) -> None:
    """Its names are others each time, so they stand for all of them; whose they are, the host looks at."""
    folder = write_bundle(home / "own", OF_ITS_OWN, tier="operate")
    ran = outrider("script", "run", str(folder), "--json")
    assert (ran.status, ran.data["result"]) == (0, "x"), ran.err
    traced = outrider("script", "trace", str(folder), "--write-needs", "--json")
    assert traced.status == 0, traced.err
    assert traced.data["inferred_tier"] == "operate"
    own = f"{os.path.realpath(tempfile.gettempdir())}/outrider-run-*/**"
    needs = {need.call: need.paths for need in parse((folder / "manifest.yaml").read_text()).needs}
    assert needs == {"fs.tempfile": (), "fs.tempdir": (), "fs.read": (own,), "fs.write": (own,), "fs.walk": (own,)}
    assert outrider("script", "run", str(folder)).status == 0
