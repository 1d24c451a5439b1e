"""The ceiling: what its owner wrote narrows, nothing widens, and a file that is wrong is refused as a whole."""

from __future__ import annotations

import pytest

from policies.ceiling import ALWAYS_REQUIRED, DEFAULT, DEFAULT_TEXT, WALL_NAMES, Consent, load_ceiling
from policies.decide import Effective, Layer, decide_effective
from policies.load import builtin
from policies.model import Effect, Facts
from protocol.errors import ArgumentError, DocumentError
from protocol.tiers import Tier
from sandbox.jail import walls


def under(text: str, tier: Tier = Tier.ADMIN) -> Effective:
    policy = builtin(tier)
    layer = load_ceiling(text, "ceiling.yaml").layer
    return Effective((Layer("tier", policy.rules, policy.limits), *([layer] if layer else [])))


def test_the_names_of_the_walls_are_the_sandboxes() -> None:
    """This package cannot import them; a name it does not know could not be required."""
    assert tuple(walls.WALLS) == WALL_NAMES


def test_the_shipped_text_says_what_holds_without_it() -> None:
    """Whoever reads the file must see what is in force, not a suggestion."""
    assert load_ceiling(DEFAULT_TEXT, "ceiling.yaml") == DEFAULT
    assert load_ceiling("", "ceiling.yaml") == DEFAULT
    assert (DEFAULT.highest_tier, DEFAULT.accept_server_word) == (Tier.OBSERVE, frozenset())
    assert DEFAULT.dry_runs is False
    assert DEFAULT.required_walls == ALWAYS_REQUIRED


def test_every_key_is_read() -> None:
    ceiling = load_ceiling(
        "highest_tier: operate\naccept_server_word: [run]\nrequired_walls: [landlock]\nfrozen: true\n", "c.yaml"
    )
    assert ceiling.highest_tier is Tier.OPERATE
    assert ceiling.accept_server_word == {"run"}
    assert ceiling.required_walls == {"landlock"}
    assert ceiling.frozen
    assert ceiling.layer is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("highest_tier: root\n", "c.yaml:1: highest_tier: 'root' is not a tier"),
        ("highest_teir: admin\n", "c.yaml:1: highest_teir: unknown key 'highest_teir' (did you mean 'highest_tier'?"),
        ("frozen: 1\n", "c.yaml:1: frozen: must be true or false"),
        ("frozen: 'false'\n", "c.yaml:1: frozen: must be true or false"),
        ("dry_runs: 1\n", "c.yaml:1: dry_runs: must be true or false"),
        ("dry_runs: 'true'\n", "c.yaml:1: dry_runs: must be true or false"),
        ("accept_server_word: run\n", "c.yaml:1: accept_server_word: must be a list of texts"),
        ("accept_server_word: [runs]\n", "c.yaml:1: accept_server_word: 'runs' is none of run, schedule, session"),
        ("required_walls: [moat]\n", "c.yaml:1: required_walls: 'moat' is none of"),
        ("frozen: false\ndeny:\n  - call: fs.read\n    paths: [srv]\n", "c.yaml:4: deny[0].paths: 'srv' is not"),
        ("limits:\n  wall: 20\n", "c.yaml:2: limits.wall: 20 is not a duration"),
        ("frozen: true\nfrozen: false\n", "c.yaml:2: the key 'frozen' stands twice"),
        # These would let everything pass, and as anybody, where their owner wrote that nothing and nobody may.
        ("frozen: false\nallow: []\n", "c.yaml:2: allow: says nothing"),
        ("frozen: false\nallow:\n  # - call: fs.read\n", "c.yaml:2: allow: says nothing"),
        ("sessions:\n  users:\n    # - deploy\n", "c.yaml:2: sessions.users: says nothing"),
        ("allow:\n  - call: fs.read\n    paths: []\n", "c.yaml:3: allow[0].paths: says nothing"),
        ("allow:\n" + "  - call: fs.read\n" * 1001, "c.yaml:1: more than 1000 rules"),
    ],
)
def test_a_wrong_ceiling_names_the_place(text: str, words: str) -> None:
    """Half a ceiling is none: what could not be read might have been the line that mattered."""
    with pytest.raises(DocumentError) as caught:
        load_ceiling(text, "c.yaml")
    assert str(caught.value).startswith(words)


def test_a_deny_narrows_and_leaves_the_rest() -> None:
    effective = under("deny: [{call: fs.read, paths: [/srv/**]}]\n")
    refused = decide_effective(effective, "fs.read", Facts(path="/srv/a", bytes=1))
    assert (refused.effect, refused.rule) == (Effect.DENY, "ceiling.yaml:1 deny fs.read")
    assert decide_effective(effective, "fs.read", Facts(path="/opt/a", bytes=1)).allowed
    assert decide_effective(effective, "fs.stat", Facts(path="/srv/a")).allowed


def test_an_ask_asks_and_leaves_the_rest() -> None:
    effective = under("ask: [{call: proc.command}]\n")
    assert decide_effective(effective, "proc.command", Facts(command="df")).effect is Effect.ASK
    assert decide_effective(effective, "fs.stat", Facts(path="/")).allowed


def test_with_an_allow_nothing_else_passes_but_what_touches_nothing() -> None:
    effective = under("allow: [{call: fs.stat, paths: [/srv/**]}]\n")
    assert decide_effective(effective, "fs.stat", Facts(path="/srv/a")).allowed
    assert not decide_effective(effective, "fs.stat", Facts(path="/etc")).allowed
    assert not decide_effective(effective, "sys.host", Facts()).allowed
    assert decide_effective(effective, "check.metric", Facts()).allowed


@pytest.mark.parametrize(
    "text",
    [
        "allow: [{call: '*'}]\n",
        "deny: [{call: fs.write}]\n",
        "limits: {calls: 1000000, log_lines: 1000000, metrics: 1000000, rows: 1000000}\n",
    ],
)
def test_no_ceiling_lets_a_tier_do_more(text: str) -> None:
    effective = under(text, Tier.OBSERVE)
    assert not decide_effective(effective, "fs.read", Facts(path="/etc/hostname", bytes=1)).allowed
    assert effective.limits == builtin(Tier.OBSERVE).limits


def test_limits_alone_narrow_only_the_limits() -> None:
    effective = under("limits: {wall: 20s, memory: 8MiB, log_lines: 0, metrics: 0, rows: 5}\n")
    assert (effective.limits.wall_s, effective.limits.memory_bytes, effective.limits.log_lines) == (20.0, 8 << 20, 0)
    assert (effective.limits.metrics, effective.limits.rows) == (0, 5)
    assert effective.limits.calls == builtin(Tier.ADMIN).limits.calls
    assert decide_effective(effective, "anything", Facts()).allowed


def test_what_an_owner_asks_of_people_rosters_and_labels() -> None:
    text = "reviewers: {operate: 2}\nroster_within: 30d\nlabels: {role: mail}\n"
    ceiling = load_ceiling(text, "ceiling.yaml")
    assert (ceiling.reviewers, ceiling.roster_within_s) == ({Tier.OPERATE: 2}, 30 * 86400.0)
    assert ceiling.labels == {"role": "mail"}
    assert (DEFAULT.reviewers, DEFAULT.roster_within_s, DEFAULT.labels) == ({}, None, {})


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("reviewers: 2", "reviewers"),
        ("reviewers: {root: 2}", "reviewers"),
        ("reviewers: {operate: 0}", "reviewers"),
        ("reviewers: {operate: true}", "reviewers"),
        ("roster_within: 0s", "roster_within"),
        ("roster_within: soon", "roster_within"),
        ("labels: [mail]", "labels"),
        ("labels: {role: 3}", "labels"),
    ],
)
def test_what_an_owner_asks_wrongly_is_named(text: str, key: str) -> None:
    with pytest.raises(ArgumentError, match=rf"ceiling\.yaml:1: {key}"):
        load_ceiling(text, "ceiling.yaml")


def test_consent_of_the_owner_for_all_kinds_and_for_some() -> None:
    assert load_ceiling("", "c.yaml").sessions.consent_for("terminal") is Consent.NEVER
    one = load_ceiling("sessions: {consent: ask, consent_timeout: 90s}\n", "c.yaml").sessions
    assert (one.consent_for("files"), one.consent_timeout_s) == (Consent.ASK, 90.0)
    some = load_ceiling("sessions: {consent: {default: notify, terminal: ask}}\n", "c.yaml").sessions
    assert [some.consent_for(kind) for kind in ("terminal", "forward")] == [Consent.ASK, Consent.NOTIFY]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("consent: sometimes", "sometimes"),
        ("consent: {files: maybe}", "maybe"),
        ("consent: {shell: ask}", "shell"),
        ("consent: [ask]", "consent"),
        ("consent_timeout: 0s", "consent_timeout"),
        ("consent_timeout: 11m", "consent_timeout"),
    ],
)
def test_a_consent_rule_that_is_wrong_is_refused_with_its_place(text: str, word: str) -> None:
    with pytest.raises(ArgumentError, match=word):
        load_ceiling(f"sessions: {{{text}}}\n", "ceiling.yaml")
