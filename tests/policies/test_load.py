"""Reading policy files: what is wrong is named with file, line and key, and the editors' schema says the same."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import policies.load
from policies.load import MAX_RULES, builtin, load_policy
from policies.model import LIMIT_FIELDS, Effect, Limits
from protocol.document import load
from protocol.errors import ArgumentError, DocumentError
from protocol.manifest import parse as parse_manifest
from protocol.tiers import Tier

FOLDER = Path(policies.load.__file__).parent
SCHEMA = json.loads((FOLDER / "schema.json").read_text())

# text, how the error begins, does the schema see it too?
BAD: list[tuple[str, str, bool]] = [
    ("", "x.yaml:1: tier: 'tier' is missing", True),
    ("- tier\n", "x.yaml:1: must be a mapping", True),
    ("tier: 3\n", "x.yaml:1: tier: must be text, not 3", True),
    ("tier: root\n", "x.yaml:1: tier: 'root' is not a tier (known: compute", True),
    ("tier: Observe\n", "x.yaml:1: tier: 'Observe' is not a tier", True),
    ("tier: observe\nalow: []\n", "x.yaml:2: alow: unknown key 'alow' (did you mean 'allow'?", True),
    ("tier: observe\nallow: {}\n", "x.yaml:2: allow: must be a list", True),
    ("tier: observe\nallow:\n  - fs.read\n", "x.yaml:3: allow[0]: must be a mapping", True),
    ("tier: observe\nallow:\n  - paths: [/a]\n", "x.yaml:3: allow[0].call: 'call' is missing", True),
    ("tier: observe\nallow:\n  - call: FS\n", "x.yaml:3: allow[0].call: 'FS' is not a call", True),
    ("tier: observe\nallow:\n  - call: fs.\n", "x.yaml:3: allow[0].call: 'fs.' is not a call", True),
    ("tier: observe\nallow:\n  - call: '*.read'\n", "x.yaml:3: allow[0].call: '*.read' is not a call", True),
    ("tier: observe\ndeny:\n  - call: a\n  - call: b\n    path: /a\n", "x.yaml:5: deny[1].path: unknown key", True),
    ("tier: observe\nask:\n  - call: a\n    paths: /a\n", "x.yaml:4: ask[0].paths: must be a list of texts", True),
    ("tier: observe\nask:\n  - call: a\n    paths: [1]\n", "x.yaml:4: ask[0].paths: must be a list of texts", True),
    ("tier: observe\nask:\n  - call: a\n    paths: [a/*]\n", "x.yaml:4: ask[0].paths: 'a/*' is not", True),
    ("tier: observe\nask:\n  - call: a\n    paths: [/a**]\n", "x.yaml:4: ask[0].paths: '/a**': ** must", False),
    ("tier: observe\nask:\n  - call: a\n    commands: [df, 1]\n", "x.yaml:4: ask[0].commands: must be a list", True),
    ("tier: observe\ndeny:\n  - call: a\n    commands: [df, /bin/x]\n", "x.yaml:4: deny[0].commands: '/bin/x'", False),
    ("tier: observe\nask:\n  - call: a\n    targets: a:1\n", "x.yaml:4: ask[0].targets: must be a list", True),
    ("tier: observe\nallow:\n  - call: a\n    max_bytes: 4 MB\n", "x.yaml:4: allow[0].max_bytes: '4 MB' is not", True),
    ("tier: observe\nallow:\n  - call: a\n    max_bytes: -1\n", "x.yaml:4: allow[0].max_bytes: -1 is not a size", True),
    ("tier: observe\ndeny:\n  - call: a\n    max_bytes: 1\n", "x.yaml:4: deny[0].max_bytes: only a rule that", True),
    ("tier: observe\ndeny:\n  - call: a\n    arguments: []\n", "x.yaml:4: deny[0].arguments: names none", True),
    ("tier: observe\nask:\n  - call: a\n    arguments: [1]\n", "x.yaml:4: ask[0].arguments: must be a list", True),
    # What binds nothing is not what somebody means who writes the word down.
    *((f"tier: observe\nallow:\n  - call: a\n    {word}: []\n", f"x.yaml:4: allow[0].{word}: says nothing", True)
      for word in ("paths", "commands", "programs", "targets", "names")),
    *((f"tier: observe\nallow:\n  - call: a\n    {word}:\n      # - x\n", f"x.yaml:4: allow[0].{word}: says noth", True)
      for word in ("paths", "commands", "programs", "arguments", "targets", "names", "users", "max_bytes", "declared")),
    ("tier: observe\ndeny:\n  - call: a\n    environment: [A]\n", "x.yaml:4: deny[0].environment: only a rule", True),
    ("tier: observe\nallow:\n  - call: a\n    environment: [A=b]\n", "x.yaml:4: allow[0].environment: 'A=b' is", True),
    ("tier: observe\nallow:\n  - call: a\n    environment: ['LC_*']\n", "x.yaml:4: allow[0].environment: 'LC", True),
    ("tier: observe\ndeny:\n  - call: a\n    paths: []\n", "x.yaml:4: deny[0].paths: says nothing", True),
    ("tier: observe\nlimits: 3\n", "x.yaml:2: limits: must be a mapping", True),
    ("tier: observe\nlimits:\n  wal: 3s\n", "x.yaml:3: limits.wal: unknown key 'wal' (did you mean 'wall'?", True),
    ("tier: observe\nlimits:\n  wall: 3\n", "x.yaml:3: limits.wall: 3 is not a duration", True),
    ("tier: observe\nlimits:\n  cpu: fast\n", "x.yaml:3: limits.cpu: 'fast' is not a duration", True),
    ("tier: observe\nlimits:\n  memory: 64MB\n", "x.yaml:3: limits.memory: '64MB' is not a size", True),
    ("tier: observe\nlimits:\n  memory: true\n", "x.yaml:3: limits.memory: True is not a size", True),
    ("tier: observe\nlimits:\n  calls: many\n", "x.yaml:3: limits.calls: must be a whole number", True),
    ("tier: observe\nlimits:\n  calls: -1\n", "x.yaml:3: limits.calls: must be 0 to", True),
    ("tier: observe\nlimits:\n  log_lines: 1KiB\n", "x.yaml:3: limits.log_lines: must be a whole number", True),
    ("tier: observe\nlimits:\n  processes: 1.5\n", "x.yaml:3: limits.processes: must be a whole number", True),
    ("tier: observe\nlimits:\n  wall: 0s\n", "x.yaml:2: limits: wall and cpu must be above 0", False),
    ("tier: observe\nlimits:\n  memory: 4096\n", "x.yaml:2: limits: wall and cpu must be above 0, memory", False),
    ("tier: observe\ndescription: 3\n", "x.yaml:2: description: must be text", True),
    ("tier: observe\nextends: base\n", "x.yaml:2: extends: 'base' is not a tier", True),
    ("tier: observe\nextends: other.yaml\n", "x.yaml:2: extends: 'other.yaml' is not a tier", True),
    ("tier: observe\nextends: [compute]\n", "x.yaml:2: extends: must be text", True),
    ("tier: observe\nextends: inspect\n", "x.yaml:2: extends: a policy of tier observe cannot extend inspect", False),
]  # fmt: skip


@pytest.mark.parametrize(("text", "words", "_in_schema"), BAD)
def test_what_is_wrong_is_named_with_its_place(text: str, words: str, _in_schema: bool) -> None:
    """A policy that is read wrongly denies nothing loudly; the person who wrote it must be led to the line."""
    with pytest.raises(ArgumentError) as caught:
        load_policy(text, "x.yaml")
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tier: observe\ntier: admin\n", "x.yaml:2: the key 'tier' stands twice"),
        ("tier: observe\nlimits:\n  wall: 1s\n  wall: 2s\n", "x.yaml:4: limits: the key 'wall' stands twice"),
        ("tier: &t observe\nextends: *t\n", "x.yaml:1: anchors and aliases are not allowed"),
        ("tier: observe\nlimits: {<<: {wall: 1s}}\n", "x.yaml:2: limits: a key must be plain text"),
        ("tier: !!python/name:os.system x\n", "x.yaml:1: tier: the tag"),
        ("tier: observe\n---\ntier: admin\n", "x.yaml:2: "),
        ("tier: observe\nlimits: {wall: 1s\n", "x.yaml:3: "),
        ("tier: 'observe\n", "x.yaml:2: "),
    ],
)
def test_yaml_that_two_readers_would_read_differently_is_refused(text: str, words: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        load_policy(text, "x.yaml")
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize("tier", list(Tier))
def test_a_policy_cannot_extend_itself(tier: Tier) -> None:
    """The only loop there can be: every other base is a lower built-in tier."""
    with pytest.raises(ArgumentError, match="extends: a policy cannot extend itself"):
        load_policy(f"tier: {tier.label}\nextends: {tier.label}\n", f"{tier.label}.yaml")


def test_what_a_policy_extends_comes_after_its_own() -> None:
    own = load_policy("tier: inspect\nextends: compute\ndeny: [{call: log.*}]\nlimits: {wall: 1s}\n", "mine.yaml")
    base = builtin(Tier.COMPUTE)
    assert (own.name, own.tier, own.rules[1:]) == ("mine", Tier.INSPECT, base.rules)
    assert own.rules[0].text == "mine.yaml:3 deny log.*"
    assert (own.limits.wall_s, own.limits.open_files) == (1.0, base.limits.open_files)


def test_a_policy_that_extends_nothing_allows_nothing_more_than_it_says() -> None:
    own = load_policy("tier: admin\nallow: [{call: fs.read, max_bytes: 4KiB}]\n", "mine.yaml")
    assert [(rule.effect, rule.call, rule.max_bytes) for rule in own.rules] == [(Effect.ALLOW, "fs.read", 4096)]
    assert own.limits == Limits()


def test_the_number_of_rules_is_bounded() -> None:
    """Every call is held against every rule."""
    line = "  - call: fs.read\n"
    assert len(load_policy("tier: compute\nallow:\n" + line * MAX_RULES, "x.yaml").rules) == MAX_RULES
    with pytest.raises(ArgumentError, match=r"x\.yaml:1: more than 1000 rules"):
        load_policy("tier: compute\nallow:\n" + line * (MAX_RULES + 1), "x.yaml")


# the schema for editors ----------------------------------------------------------------------------------------------


def problems(value: Any) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(value)]


def test_every_limit_has_one_word_wherever_it_can_be_set() -> None:
    """A limit that a policy has and a manifest or an editor does not know would bound nobody who asks for less."""
    schema = set(SCHEMA["properties"]["limits"]["properties"])
    assert schema == set(LIMIT_FIELDS)
    assert sorted(LIMIT_FIELDS.values()) == sorted(field.name for field in dataclasses.fields(Limits))
    units = {"wall": "1s", "cpu": "1s", "memory": "1MiB", "output": "1KiB"}
    asked = "".join(f"  {word}: {units.get(word, 1)}\n" for word in LIMIT_FIELDS)
    policy = load_policy("tier: admin\nlimits:\n" + asked, "mine.yaml").limits
    manifest = parse_manifest("name: a/b\nversion: 1.0.0\nlanguage: lua\nmain: m.lua\ntier: admin\nlimits:\n" + asked)
    assert {field: manifest.limits[word] for word, field in LIMIT_FIELDS.items()} == dataclasses.asdict(policy)


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("tier", list(Tier))
def test_every_built_in_policy_fits_the_schema(tier: Tier) -> None:
    """An editor that marks our own files as wrong teaches people to switch it off."""
    text = (FOLDER / f"{tier.label}.yaml").read_text()
    assert problems(load(text, "x.yaml").value) == []


def test_there_are_no_other_policies_than_the_tiers() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == {tier.label for tier in Tier}


@pytest.mark.parametrize(("text", "_words", "in_schema"), BAD)
def test_the_schema_marks_what_the_program_refuses(text: str, _words: str, in_schema: bool) -> None:
    assert bool(problems(load(text, "x.yaml").value)) is in_schema


def test_a_rule_about_a_command_is_read_strictly() -> None:
    """Patterns of arguments are regular expressions."""
    head = "tier: inspect\nallow:\n  - call: proc.command\n    commands: [df]\n"
    (rule, *_) = load_policy(head + "    programs: [/usr/bin/df]\n    arguments: ['-[hP]+']\n", "x.yaml").rules
    assert rule.arguments is not None
    with pytest.raises(DocumentError, match=r"x.yaml:5: .*arguments: .*is not a regular expression"):
        load_policy(head + "    arguments: ['(']\n", "x.yaml")
    with pytest.raises(DocumentError, match="longer than 256"):
        load_policy(head + f"    arguments: ['{'a' * 257}']\n", "x.yaml")
    with pytest.raises(DocumentError, match=r"x.yaml:5: .*arguments: '\[\[a' holds \[\["):
        load_policy(head + "    arguments: ['[[a]']\n", "x.yaml")
    with pytest.raises(DocumentError, match="programs"):
        load_policy(head + "    programs: [df]\n", "x.yaml")
