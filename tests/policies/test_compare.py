"""The permission diff: what a version gained over another, and that nothing gained is left out."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from policies.compare import MAX_COMPARED, Asked, Grant, compare
from policies.covers import name_covers, path_covers, target_covers
from policies.paths import PathPattern
from policies.targets import NetTarget, TargetPattern
from protocol.manifest import Parameter
from protocol.tiers import Tier

# old, new, whether the old one covers the new one
PATHS = [
    ("/etc/**", "/etc/nginx/**", True), ("/etc/nginx/**", "/etc/**", False), ("/etc/**", "/etc", True),
    ("/etc/*", "/etc/passwd", True), ("/etc/*", "/etc/**", False), ("/etc/*", "/etc/ssh/x", False),
    ("/etc/**", "/etcetera", False), ("/**", "/", True), ("/**", "/a/**/b", True), ("/a/**/b", "/a/b", True),
    ("/a/**/b", "/a/**", False), ("/a/**", "/a/**/b", True), ("/a/**/b", "/a/**/c/b", True), ("/", "/**", False),
    ("/a/**/b/**", "/a/x/b/y", True), ("/a/*.conf", "/a/x*.conf", True), ("/a/x*.conf", "/a/*.conf", False),
    ("/a/*.conf", "/a/[ab].conf", True), ("/a/[ab]", "/a/a", True), ("/a/[ab]", "/a/[abc]", False),
    ("/a/[ab]", "/a/?", False), ("/a/?", "/a/[ab]", False), ("/a/aba*aba", "/a/aba", False), ("/a/*b*", "/a/*b", False),
    ("/etc/nginx", "/etc/nginx", True), ("/not/../normal", "/not/../normal", True), ("/a/../b", "/b", False),
    ("/**", "/a/../b", False), ("/a/**/**", "/a", True), ("/a/*/**", "/a/**", False), ("/a/**", "/a/*/**", True),
]  # fmt: skip
TARGETS = [
    ("*", "web.example.org:443", True), ("*:443", "web.example.org", False), ("web.example.org", "*", False),
    ("*.example.org", "web.example.org", True), ("*.example.org", "example.org", False),
    ("*.a.example.org", "*.example.org", False), ("*.example.org", "*.a.example.org", True),
    ("10.0.0.0/8", "10.1.0.0/16:22", True), ("10.1.0.0/16", "10.0.0.0/8", False), ("10.0.0.0/8", "*", False),
    ("10.0.0.0/8:1-100", "10.0.0.0/8:22,80", True), ("10.0.0.0/8:22,80", "10.0.0.0/8:1-100", False),
    ("*", "127.0.0.1:6379", False), ("*", "localhost", False), ("0.0.0.0/0", "127.0.0.0/8", False),
    ("127.0.0.0/8", "127.0.0.1", True), ("*", "metadata.google.internal", False), ("*", "169.254.169.254", False),
    ("*.google.internal", "metadata.google.internal", False), ("10.0.0.0/8", "[2001:db8::/32]", False),
    # link-local holds the metadata of clouds, and does not allow them
    ("169.254.0.0/16", "169.254.169.254", False), ("169.254.0.0/16", "169.254.169.254/32:80", False),
    ("169.254.0.0/16", "169.254.1.1", True), ("169.254.0.0/16", "169.254.0.0/17", True),
    ("169.254.169.254", "169.254.169.254/32:80", True), ("[64:ff9b::/96]", "[64:ff9b::7f00:1]", False),
    ("*", "10.0.0.0/8", True), ("localhost:1-9", "localhost:7", True), ("no target/", "*", False),
]  # fmt: skip
NAMES = [
    ("**", "checks/disk", True), ("checks/**", "checks/disk", True), ("checks/**", "checks/a/**", True),
    ("checks/**", "checksums/x", False), ("checks/disk", "checks/**", False), ("checks/**", "**", False),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "covered"), PATHS)
def test_which_path_patterns_cover_others(old: str, new: str, covered: bool) -> None:
    assert path_covers(old, new) is covered


@pytest.mark.parametrize(("old", "new", "covered"), TARGETS)
def test_which_targets_cover_others(old: str, new: str, covered: bool) -> None:
    """A guarded target is allowed only where it is named, so naming it is always something new."""
    assert target_covers(old, new) is covered


def test_no_target_is_allowed_by_what_is_covered_and_not_by_what_covers() -> None:
    """Held against what decides, over networks and addresses of which some are guarded."""
    hosts = ["*", "10.0.0.0/8", "10.1.2.3", "127.0.0.0/8", "127.0.0.1", "0.0.0.0/0", "0.0.0.0", "169.254.0.0/16",
             "169.254.169.254", "100.64.0.0/10", "100.100.100.200", "[::/0]", "[::1]", "[fe80::/10]", "[fe80::1]",
             "[::ffff:127.0.0.1]", "[64:ff9b::/96]", "[64:ff9b::7f00:1]", "[64:ff9b::a01:203]",
             "[fd00::/8]"]  # fmt: skip
    patterns = {text: TargetPattern.parse(text) for text in (f"{x}{port}" for x in hosts for port in ("", ":80"))}
    addresses = ["10.1.2.3", "127.0.0.1", "0.0.0.0", "169.254.169.254", "169.254.1.1", "100.100.100.200", "8.8.8.8",
                 "::1", "fe80::1", "64:ff9b::7f00:1", "64:ff9b::a01:203", "fd00:ec2::254", "2001:db8::1"]  # fmt: skip
    targets = [NetTarget.of(address, port) for address in addresses for port in (None, 80, 443)]
    let = {text: {target for target in targets if made.allows(target)} for text, made in patterns.items()}
    wrong = [(x, y) for x in patterns for y in patterns if target_covers(x, y) and not let[y] <= let[x]]
    assert wrong == []
    assert sum(target_covers(x, y) for x in patterns for y in patterns) > 2 * len(patterns)


@pytest.mark.parametrize(("old", "new", "covered"), NAMES)
def test_which_names_cover_others(old: str, new: str, covered: bool) -> None:
    assert name_covers(old, new) is covered


def test_no_path_fits_what_is_covered_and_not_what_covers() -> None:
    """Held against the matcher that decides: over small paths, covered means contained."""
    parts = ["a", "b", "*", "**", "a*", "[ab]"]
    patterns = ["/" + "/".join(x) for x in ([p, q][:n] for p in parts for q in parts for n in (1, 2))]
    patterns = sorted(set(patterns))
    paths = ["/", *(f"/{x}" for x in ("a", "b", "ab", "c")), *(f"/{x}/{y}" for x in "abc" for y in ("a", "b", "ab")),
             "/a/a/b", "/b/c/a", "/a/b/ab/c"]  # fmt: skip
    fit = {text: {path for path in paths if PathPattern.parse(text).matches(path)} for text in patterns}
    wrong = [(x, y) for x in patterns for y in patterns if path_covers(x, y) and not fit[y] <= fit[x]]
    assert wrong == []
    assert sum(path_covers(x, y) for x in patterns for y in patterns) > 2 * len(patterns)


def asked(*grants: Grant, **more: Any) -> Asked:
    base = Asked(Tier.OPERATE, "lua", grants, is_stated=True)
    return replace(base, **more)


def read(call: str, *paths: str, **more: Any) -> Grant:
    return Grant(call, paths, is_literal=True, **more)


WRITE, FAMILY = Grant("fs.write", ("/etc/nginx/**",)), Grant("fs.*")
ONE = {"service": Parameter("service", "string", choices=("a", "b"))}

# before, now, what is gained, what is given up
CHANGES = [
    (asked(WRITE), asked(WRITE), [], []),
    (asked(), asked(WRITE), ["+ fs.write /etc/nginx/**"], []),
    (asked(WRITE), asked(), [], ["- fs.write /etc/nginx/**"]),
    (asked(WRITE), asked(Grant("fs.write", ("/etc/**",))), ["+ fs.write /etc/**"], []),
    (asked(Grant("fs.write", ("/etc/**",))), asked(WRITE), [], ["- fs.write /etc/**"]),
    (asked(WRITE), asked(Grant("fs.write")), ["+ fs.write anything"], []),
    (asked(WRITE), asked(Grant("fs.write", ("/etc/nginx/**", "/a"))), ["+ fs.write /a"], []),
    (asked(WRITE), asked(Grant("fs.write", ("/etc/nginx/x.conf",))), [], ["- fs.write /etc/nginx/**"]),
    (asked(FAMILY), asked(WRITE), [], ["- fs.* anything"]),
    (asked(WRITE), asked(FAMILY), ["+ fs.* anything"], []),
    (asked(), asked(Grant("sys.uptime")), ["+ sys.uptime"], []),
    (asked(Grant("net.http")), asked(Grant("net.http", targets=("a.org",))), [], ["- net.http anything"]),
    (asked(Grant("net.http")), asked(Grant("net.http", targets=("localhost",))),
     ["+ net.http localhost"], ["- net.http anything"]),
    (asked(Grant("proc.command", commands=("df",))), asked(Grant("proc.command", commands=("df", "du"))),
     ["+ proc.command du"], []),
    (asked(Grant("secret", names=("a",))), asked(Grant("secret", names=("b",))), ["+ secret b"], ["- secret a"]),
    # two lists: both of one rule must cover it, or a mix of two rules would go unseen
    (asked(Grant("x.y", ("/a",), targets=("a.org",)), Grant("x.y", ("/b",), targets=("b.org",))),
     asked(Grant("x.y", ("/a",), targets=("b.org",))), ["+ x.y /a, b.org"], ["- x.y /a, a.org", "- x.y /b, b.org"]),
    # read from code: nothing in a path is a wildcard
    (asked(read("fs.read", "/a/*")), asked(read("fs.read", "/a/b")), ["+ fs.read /a/b"], ["- fs.read /a/*"]),
    (asked(Grant("fs.read", ("/a/*",))), asked(read("fs.read", "/a/{x}")), ["+ fs.read /a/{x}"], ["- fs.read /a/*"]),
    (asked(read("fs.read", "/a")), asked(read("fs.read", "/a", is_bounded=False)), ["+ fs.read and others"], []),
    (asked(read("fs.read", is_bounded=False)), asked(read("fs.read", "/a")), [], ["- fs.read and others"]),
    (asked(WRITE), asked(read("fs.write", "/etc/nginx/x"), is_stated=False), ["+ every call of operate"],
     ["- fs.write /etc/nginx/**"]),
    (asked(is_stated=False), asked(is_stated=True), [], ["- needs stated"]),
    (asked(tier=Tier.INSPECT), asked(), ["+ tier operate"], []),
    (asked(), asked(tier=Tier.INSPECT), [], ["- tier inspect"]),
    (asked(), asked(language="luajit"), ["~ language luajit"], []),
    (asked(), asked(calls=frozenset({"fs.stat"})), ["+ fs.stat"], []),
    (asked(), asked(FAMILY, calls=frozenset({"fs.*"})), ["+ fs.*"], []),
    (asked(calls=frozenset({"fs.stat"})), asked(), [], ["- fs.stat"]),
    (asked(), asked(is_dynamic=True), ["+ calls that nobody can tell"], []),
    (asked(commands={"df": ("/bin/df",)}), asked(commands={"df": ("/bin/df", "-h")}), [], ["- command df /bin/df -h"]),
    (asked(commands={"df": ("/bin/df", "-h")}), asked(commands={"df": ("/bin/df",)}), ["+ command df /bin/df"], []),
    (asked(commands={"df": ("/bin/df",)}), asked(commands={"df": ("/bin/sh",)}), ["~ command df /bin/sh"], []),
    (asked(), asked(commands={"sh": ("/bin/sh",)}), ["+ command sh /bin/sh"], []),
    (asked(limits={"wall": 1.0}), asked(limits={"wall": 60.0}), ["+ limit wall 60"], []),
    (asked(limits={"wall": 60.0}), asked(limits={"wall": 1.0}), [], ["- limit wall 1"]),
    (asked(limits={"wall": 60.0}), asked(), ["+ limit wall the tier's"], []),
    (asked(), asked(limits={"wall": 60.0}), ["~ limit wall 60"], []),
    (asked(requires={"lib/a": "x"}), asked(requires={"lib/a": "y"}), ["~ library lib/a y"], []),
    (asked(), asked(requires={"lib/a": "x"}), ["+ library lib/a x"], []),
    (asked(), asked(parameters=ONE), [], ["+ parameter service string, one of a, b"]),
    (asked(parameters=ONE), asked(parameters={"service": Parameter("service", "string")}),
     ["+ parameter service string"], []),
    (asked(parameters=ONE), asked(parameters={"service": replace(ONE["service"], choices=("a",))}),
     [], ["- parameter service string, one of a"]),
    (asked(parameters=ONE), asked(parameters={"service": replace(ONE["service"], description="x")}), [], []),
    # what is narrower in one way hides nothing that is wider in another
    (asked(parameters={"text": Parameter("text", "string", max_length=10)}),
     asked(parameters={"text": Parameter("text", "string", max_length=9000, pattern=".*")}),
     ["~ parameter text string, pattern .*"], []),
    (asked(parameters={"mode": Parameter("mode", "string", default="safe", is_locked=True)}),
     asked(parameters={"mode": Parameter("mode", "string", default="safe", choices=("safe", "wild"))}),
     ["~ parameter mode string, default 'safe', one of safe, wild"], []),
    # the same letters in other words are another command
    (asked(commands={"it": ("/bin/echo", "-c rm /")}), asked(commands={"it": ("/bin/echo", "-c", "rm", "/")}),
     ["~ command it /bin/echo -c rm /"], []),
]  # fmt: skip


@pytest.mark.parametrize(("before", "now", "gained", "rest"), CHANGES)
def test_what_is_gained_and_what_is_given_up(before: Asked, now: Asked, gained: list[str], rest: list[str]) -> None:
    changes = compare(before, now)
    assert [str(change) for change in changes if change.is_gain] == gained
    assert [str(change) for change in changes if not change.is_gain] == rest


def test_a_change_says_what_was_there_before() -> None:
    (change,) = compare(asked(WRITE), asked(Grant("fs.write", ("/etc/**",))))
    assert change.to_plain() == {
        "area": "needs", "kind": "widened", "subject": "fs.write", "now": "/etc/**", "before": "/etc/nginx/**",
        "gain": True, "text": "+ fs.write /etc/**",
    }  # fmt: skip


def test_a_hostile_manifest_costs_little_and_hides_nothing() -> None:
    """As many patterns as a manifest can hold: past the bound of work, all that differs is a gain."""
    many = 3_000
    old = asked(*(Grant("fs.read", (f"/a/{n}/**",)) for n in range(many)))
    new = asked(*(Grant("fs.read", (f"/b/{n}/**",)) for n in range(many)), *old.grants)
    assert many * many > MAX_COMPARED
    started = time.process_time()
    changes = compare(old, new)
    assert time.process_time() - started < 3.0
    assert len([change for change in changes if change.is_gain]) == many
