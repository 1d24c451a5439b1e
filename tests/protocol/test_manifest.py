"""Manifests: what is wrong is named with line and key, and what an operator types is held to what was declared."""

from __future__ import annotations

import math
import re
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import limits
from protocol.errors import ArgumentError, DocumentError
from protocol.manifest import Manifest, Result, implied, parse
from protocol.tiers import Tier

HEAD = "name: checks/disk\nversion: 1.2.0\nlanguage: lua\nmain: main.lua\ntier: observe\n"
DIGEST = "sha256:" + "0" * 64


def parameter(declared: str) -> Manifest:
    return parse(HEAD + f"parameters:\n  p: {declared}\n")


def test_all_that_a_manifest_can_say() -> None:
    found = parse(
        HEAD + "description: d\nparameters: {device: {type: string, required: true, pattern: '^[a-z0-9]+$'}}\n"
        "needs: [{call: sys.disk_io}, {call: fs.read, paths: [/etc/**]}]\nlimits: {wall: 10s, memory: 8MiB}\n"
        f"metrics: [{{name: reads, type: int64, unit: reads}}]\nrequires: [{{name: lib/rates, digest: '{DIGEST}'}}]\n"
        "tests: [{parameters: {device: sda}, calls: {sys.disk_io: {reads: 4}}, expect: {metrics: {reads: 4}}}]\n"
        "commands: {df: [/usr/bin/df, -P]}\nkind: library\nvisibility: private\n"
        "tags: [disk, lib.v1]\nlicence: Apache-2.0\n"
        "links: {code: 'https://example.org/x?y=1#z'}\nresult: {type: object, fields: {free: integer}}\n"
    )
    assert (found.name, found.version, found.tier) == ("checks/disk", "1.2.0", Tier.OBSERVE)
    assert [need.call for need in found.needs] == ["sys.disk_io", "fs.read"]
    assert found.limits == {"wall": 10.0, "memory": 8 << 20}
    assert (found.metrics[0].type, found.requires[0].digest) == ("int64", DIGEST)
    assert (found.tests[0].name, found.tests[0].calls) == ("test 1", {"sys.disk_io": {"reads": 4}})
    assert found.commands == {"df": ("/usr/bin/df", "-P")}
    assert (found.kind, found.visibility, found.tags, found.licence) == (
        "library", "private", ("disk", "lib.v1"), "Apache-2.0"
    )  # fmt: skip
    assert found.links == {"code": "https://example.org/x?y=1#z"}
    assert found.result == Result("object", {"free": "integer"})
    plain = parse(HEAD)
    assert (plain.kind, plain.visibility, plain.tags, plain.result) == ("script", "account", (), None)


REPLACED = [
    ("name: checks/disk", "name: disk", "1: name: 'disk' is not a path such as checks/disk"),
    ("name: checks/disk", "name: Checks/disk", "1: name: 'Checks/disk' is not a path"),
    ("name: checks/disk", "name: checks/../disk", "1: name: 'checks/../disk' is not a path"),
    ("name: checks/disk", "name: /checks/disk", "1: name: "),
    ("name: checks/disk", f"name: a/{'b' * limits.MAX_NAME_CHARACTERS}", "1: name: "),
    ("version: 1.2.0", "version: 1.2", "2: version: must be text, not 1.2"),
    ("version: 1.2.0", "version: 01.2.0", "2: version: '01.2.0' is not a version"),
    ("language: lua", "language: ruby", "3: language: 'ruby' is not one of lua, luajit, python"),
    ("main: main.lua", "main: 3", "4: main: must be text"),
    ("tier: observe", "tier: root", "5: tier: 'root' is not a tier"),
    ("tier: observe", "", "1: tier: 'tier' is missing"),
    ("tier: observe", "tier: observe\ntier: admin", "6: the key 'tier' stands twice"),
    ("tier: observe", "teir: observe", "1: tier: 'tier' is missing"),
]
ADDED = [
    ("need: []", "6: need: unknown key 'need' (did you mean 'needs'?"),
    ("needs:\n  - call: fs read", "7: needs[0].call: 'fs read' is not a call"),
    ("needs:\n  - call: '*'", "7: needs[0].call: '*' is not a call"),
    ("needs:\n  - call: fs.read\n    paths: [etc]", "8: needs[0].paths: 'etc' is not an absolute path"),
    ("needs:\n  - call: fs.read\n    path: [/etc]", "8: needs[0].path: unknown key 'path' (did you mean 'paths'?"),
    ("needs:\n  - call: fs.read\n    paths: []", "8: needs[0].paths: says nothing"),
    ("needs:\n  - call: net.http\n    targets:\n    # - a.org", "8: needs[0].targets: says nothing"),
    ("limits: {wall: 10}", "6: limits.wall: 10 is not a duration"),
    ("limits: {walls: 10s}", "6: limits.walls: unknown key"),
    ("metrics: [{name: a, type: float}]", "6: metrics[0].type: 'float' is not one of"),
    ("requires: [{name: lib/a, digest: abc}]", "6: requires[0].digest: 'abc' is not a digest"),
    ("tests: [{call: {}}]", "6: tests[0].call: unknown key 'call' (did you mean 'calls'?"),
    ("commands: {df: df}", "6: commands.df: must be a list of texts"),
    ("commands: {df: [df]}", "6: commands.df: a command is a name and an argv"),
    ("commands: {df: []}", "6: commands.df: a command is"),
    ("commands: {'a b': [/bin/a]}", "6: commands.a b: a command is"),
    ("parameters:\n  a-b: {type: string}", "7: parameters.a-b: 'a-b' is not a name for a parameter"),
    ("parameters:\n  p: {}", "7: parameters.p.type: 'type' is missing"),
    ("parameters:\n  p: {type: text}", "7: parameters.p.type: 'text' is not one of"),
    ("parameters:\n  p: {type: integer, default: x}", "7: parameters.p.default: the parameter 'p' must be an integer"),
    ("parameters:\n  p: {type: integer, minimum: 5, default: 4}", "7: parameters.p.default: the parameter 'p' must"),
    ("parameters:\n  p: {type: string, min: 5}", "7: parameters.p.min: unknown key"),
    ("kind: module", "6: kind: 'module' is not one of script, library"),
    ("visibility: all", "6: visibility: 'all' is not one of private, account, public"),
    ("tags: [A]", "6: tags: 'A' is not a tag"),
    ("tags: [a, a]", "6: tags: at most 16 tags, none of them twice"),
    ("licence: 'x\\u202ey'", "6: licence: "),
    ("links: {code: 'javascript:alert(1)'}", "6: links.code: a link is a word and an https:// address"),
    ("links: {code: 'https://a.org/ x'}", "6: links.code: a link is"),
    ("result: {type: table}", "6: result.type: 'table' is not one of"),
    ("result: {type: array, fields: {a: string}}", "6: result.fields: only an object has fields"),
    ("parameters:\n  p: {type: string, pattern: '['}", "7: parameters.p.pattern: is not a pattern"),
]


@pytest.mark.parametrize(("old", "new", "words"), REPLACED)
def test_a_wrong_field_is_named(old: str, new: str, words: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        parse(HEAD.replace(old, new))
    assert str(caught.value).startswith(f"manifest.yaml:{words}")


@pytest.mark.parametrize(("more", "words"), ADDED)
def test_a_wrong_entry_is_named(more: str, words: str) -> None:
    """Authors see this in an editor or a failed check; the line is what they need."""
    with pytest.raises(ArgumentError) as caught:
        parse(HEAD + more + "\n")
    assert str(caught.value).startswith(f"manifest.yaml:{words}")


def test_a_manifest_is_bounded() -> None:
    with pytest.raises(DocumentError, match="over 65536 bytes"):
        parse(HEAD + "#" * limits.MAX_MANIFEST_BYTES)


# parameters -----------------------------------------------------------------------------------------------------------

VALUES: list[tuple[str, Any, bool]] = [
    ("{type: string}", "x", True),
    ("{type: string}", "", True),
    ("{type: string}", 1, False),
    ("{type: string}", None, False),
    ("{type: string}", "a\0b", False),
    ("{type: string}", "x" * 4096, True),
    ("{type: string}", "x" * 4097, False),
    ("{type: string, pattern: '[a-z]+'}", "abc", True),
    ("{type: string, pattern: '[a-z]+'}", "abc; rm", False),
    ("{type: string, pattern: '^[a-z]+$'}", "abc\n", False),
    ("{type: string, pattern: 'a|b'}", "ab", False),
    ("{type: string, pattern: '[a-z]*'}", "x" * 257, False),
    ("{type: string, choices: [a, b]}", "a", True),
    ("{type: string, choices: [a, b]}", "c", False),
    ("{type: integer}", 3, True),
    ("{type: integer}", True, False),
    ("{type: integer}", 3.0, False),
    ("{type: integer}", 2**63, False),
    ("{type: integer}", -(2**63), True),
    ("{type: integer, minimum: 1, maximum: 3}", 3, True),
    ("{type: integer, minimum: 1, maximum: 3}", 4, False),
    ("{type: integer, minimum: 1, maximum: 3}", 0, False),
    ("{type: number}", 3, True),
    ("{type: number}", 0.5, True),
    ("{type: number}", math.nan, False),
    ("{type: number}", math.inf, False),
    ("{type: number}", "1", False),
    ("{type: boolean}", False, True),
    ("{type: boolean}", 0, False),
]


@pytest.mark.parametrize(("declared", "value", "fits"), VALUES)
def test_a_parameter_is_what_was_declared(declared: str, value: Any, fits: bool) -> None:
    """What an author checked with a pattern must not arrive otherwise."""
    manifest = parameter(declared)
    if fits:
        assert manifest.check_parameters({"p": value}) == {"p": value}
        return
    with pytest.raises(ArgumentError, match="the parameter 'p'") as caught:
        manifest.check_parameters({"p": value})
    assert caught.value.parameter == "p"


def test_unknown_missing_and_default_parameters() -> None:
    manifest = parse(HEAD + "parameters: {a: {type: string, required: true}, b: {type: integer, default: 5}}\n")
    assert manifest.check_parameters({"a": "x"}) == {"a": "x", "b": 5}
    with pytest.raises(ArgumentError, match="the parameter 'a' of checks/disk is required"):
        manifest.check_parameters({"b": 1})
    with pytest.raises(ArgumentError, match=r"has no parameter 'c' \(known: a, b\)"):
        manifest.check_parameters({"a": "x", "c": 1})
    with pytest.raises(ArgumentError, match=r"\(known: none\)"):
        parse(HEAD).check_parameters({"c": 1})


TYPED = [
    ("integer", "12", 12), ("integer", "-1", -1), ("integer", "1.5", None), ("integer", "", None),
    ("integer", "9" * 5000, None), ("number", "1.5", 1.5), ("number", "nan", None), ("number", "1e999", None),
    ("boolean", "TRUE", True), ("boolean", "false", False), ("boolean", "yes", None), ("string", "12", "12"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "value"), TYPED)
def test_what_is_typed_becomes_what_was_declared(kind: str, text: str, value: Any) -> None:
    manifest = parameter(f"{{type: {kind}}}")
    if value is None:
        with pytest.raises(ArgumentError) as caught:
            manifest.convert_parameter("p", text)
        assert caught.value.parameter == "p"
    else:
        assert manifest.convert_parameter("p", text) == value
    with pytest.raises(ArgumentError, match="has no parameter 'q'"):
        manifest.convert_parameter("q", text)


# patterns -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+", "(a|aa)+", "(a*)*b", "a**", "a+?", "a{1,9}{1,9}", "(a)\\1", "(?=a)", "(?i)a", "(?P<x>a)", "(a){9}",
        "a*a*a*a*b", "a+" * 4, "[a]+[a]+[a]+[a]+", "x" * 257, "(a|b)*", "\\d+\\d+\\d+\\d+",
    ],
)  # fmt: skip
def test_a_pattern_that_could_take_for_ever_is_refused(pattern: str) -> None:
    """It runs in the agent, over text that an operator chose."""
    with pytest.raises(DocumentError, match=r"manifest\.yaml:7: parameters\.p\.pattern: only plain patterns"):
        parameter(f"{{type: string, pattern: '{pattern}'}}")


@pytest.mark.parametrize(
    "pattern", ["[a-z]+", "^/dev/[a-z0-9]{1,9}$", "a|b|c", r"\d+\.\d+", r"[*+?{(]+", r"\(\?", "[]x]"]
)
def test_a_plain_pattern_is_taken(pattern: str) -> None:
    parameter(f"{{type: string, pattern: '{pattern}'}}")


@pytest.mark.parametrize("pattern", ["a*a*a*b", "[ab]*[ab]*[ab]*c", "(a|a)(a|a)(a|a)a*a*a*b", ".*.*.*b"])
def test_the_worst_pattern_that_is_taken_stays_cheap(pattern: str) -> None:
    manifest = parameter(f"{{type: string, pattern: '{pattern}'}}")
    started = time.process_time()
    with pytest.raises(ArgumentError):
        manifest.check_parameters({"p": "a" * limits.MAX_PATTERN_TEXT_CHARACTERS})
    assert time.process_time() - started < 2.0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("pattern", ["[[a]", "[a--b]", "[ab||c]", "[^a&&b]", "[a~~b]", "x[[", "\\\\[[a]"])
def test_a_class_that_may_mean_something_else_one_day_is_refused(pattern: str) -> None:
    """On every version of Python alike, and without a warning for whoever's program reads the manifest."""
    with pytest.raises(DocumentError, match=r":7: parameters\.p\.pattern: .* put \\ before"):
        parameter(f"{{type: string, pattern: '{pattern}'}}")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("pattern", [r"[\[a]", r"[a\--]", "a||b", "a--b", r"\[[a-z]", "[a-]", "[^]a]"])
def test_a_class_that_is_clear_is_taken(pattern: str) -> None:
    parameter(f"{{type: string, pattern: '{pattern}'}}")


@pytest.mark.filterwarnings("error")
@settings(max_examples=300)
@given(st.text("ab(|)*+?{1,}[]^\\.$-&~", max_size=12))
def test_hostile_patterns_raise_only_the_documented_error(pattern: str) -> None:
    """Nor do they make anything warn."""
    quoted = pattern.replace("'", "''")
    re.purge()  # a pattern that is known already warns of nothing
    try:
        manifest = parameter(f"{{type: string, pattern: '{quoted}'}}")
    except ArgumentError:
        return
    assert manifest.parameters["p"].pattern == pattern


# bare files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "name", "language"),
    [
        ("peek.lua", "local/peek", "lua"),
        ("My Check.PY.py", "local/my-check-py", "python"),
        ("__.lua", "local/script", "lua"),
        ("ä.py", "local/script", "python"),
    ],
)
def test_a_bare_file_has_an_implied_manifest(file: str, name: str, language: str) -> None:
    found = implied(file, Tier.OBSERVE)
    assert (found.name, found.language, found.main, found.tier) == (name, language, file, Tier.OBSERVE)
    assert parse(HEAD.replace("checks/disk", found.name)).name == name, "it is a name that a manifest could have"


@pytest.mark.parametrize("file", ["peek", "peek.sh", "lua", ""])
def test_a_file_of_no_language_is_refused(file: str) -> None:
    with pytest.raises(ArgumentError, match=r"is not a \.lua or \.py file"):
        implied(file, Tier.OBSERVE)
