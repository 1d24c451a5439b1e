"""The ceiling: what no server, no approval and no operator can lift on a host, from one file of its owner.

    highest_tier: observe          # nothing above it runs
    accept_server_word: [run]      # what runs without an operator's own signature; empty means nothing does
    required_walls: [seccomp]      # without these nothing runs
    frozen: false                  # true: nothing runs at all
    reviewers: {operate: 2}        # people who must have approved for a tier, if more than the roster says
    roster_within: 30d             # nothing runs by a roster that was signed longer ago
    labels: {role: mail}           # what this host is, for approvals that are for some hosts only
    dry_runs: false                # true: reviewers may try here, dry, what is not approved yet
    deny: [{call: fs.read, paths: [/srv/**]}]
    limits: {wall: 20s}
    sessions: {longest: 4h, idle: 15m, consent: ask}  # of people who open terminals, files, forwards here
    # sessions: {users: [deploy, www-data]}           # as whom: nothing in them is done as anybody else

Rules narrow only. Without an ``allow`` everything that the other layers allow passes; with one, nothing else does. A
file that cannot be read as a whole is refused with its place, and then nothing runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from policies.decide import Layer
from policies.load import MAX_RULES, builtin, read_limits, read_rules, users_of
from policies.model import Effect, Limits, Rule
from protocol.document import Reader, load
from protocol.errors import ArgumentError, DocumentError
from protocol.limits import MAX_LABELS
from protocol.roster import read_needed
from protocol.tiers import Tier

WORDS: Final = ("run", "schedule", "session", "consent")
SESSION_KINDS: Final = ("terminal", "command", "files", "forward")
KINDS_OF_USERS: Final = ("terminal", "command", "files")  # in which things are done as a user of the host
MAX_CONSENT_TIMEOUT_S: Final = 600.0  # that a question may wait for an answer; whoever asked waits as long

#: The names of the sandbox's walls, which this package cannot import; a test holds the two lists equal.
WALL_NAMES: Final = (
    "privileges", "user_ns", "pid_ns", "net_ns", "mount_ns", "ipc_ns", "rlimits", "cgroup", "landlock", "seccomp",
    "mdwe", "language",
)  # fmt: skip

#: Every supported kernel has these, whoever the agent runs as, so that doing without them is never needed.
ALWAYS_REQUIRED: Final = frozenset({"seccomp", "rlimits", "privileges"})

#: Widest of each, so that a ceiling without limits narrows nothing.
_UNLIMITED: Final = Limits(
    wall_s=86_400.0, cpu_s=86_400.0, memory_bytes=1 << 40, calls=1 << 40, calls_per_s=1 << 40, output_bytes=1 << 40,
    open_files=1 << 20, processes=1 << 20, log_lines=1 << 40, metrics=1 << 40, rows=1 << 40,
)  # fmt: skip


class Consent(StrEnum):
    """Whether the host's owner is asked before a session of a person opens."""

    NEVER = "never"
    NOTIFY = "notify"  # told, not asked
    ASK = "ask"


@dataclass(frozen=True, slots=True)
class SessionRules:
    """What a host's owner says about sessions of people."""

    longest_s: float = 8 * 3600.0  # seconds from its opening to its end, chosen without measurement
    idle_s: float = 1800.0  # seconds in which nobody does anything, chosen without measurement
    consent: Consent = Consent.NEVER
    consent_of: Mapping[str, Consent] = field(default_factory=dict)  # kind of session -> what holds for that kind
    consent_timeout_s: float = 60.0  # after which a question that nobody answered is denied; of scripts' as well
    users: Layer | None = None  # as whom calls are made in sessions of KINDS_OF_USERS; None: as anybody

    def consent_for(self, kind: str) -> Consent:
        """Return what holds for a kind of session."""
        return self.consent_of.get(kind, self.consent)


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What a host allows at most. The defaults are those of a host whose owner has said nothing."""

    highest_tier: Tier = Tier.OBSERVE
    accept_server_word: frozenset[str] = frozenset()  # of WORDS
    required_walls: frozenset[str] = field(default=ALWAYS_REQUIRED)
    frozen: bool = False
    frozen_reason: str = ""  # why, if the owner has said
    layer: Layer | None = None  # of rules and limits; None where none are stated
    sessions: SessionRules = field(default_factory=SessionRules)
    reviewers: Mapping[Tier, int] = field(default_factory=dict)  # by the lowest tier that it counts for
    roster_within_s: float | None = None  # age of the roster; None: as long as it says itself
    labels: Mapping[str, str] = field(default_factory=dict)  # the owner's; those that the server keeps prove nothing
    dry_runs: bool = False  # whether what nobody approved may be tried here, dry, on a signed order


DEFAULT: Final = Ceiling()

DEFAULT_TEXT: Final = """\
# What no server can lift on this host. Only its owner writes here; the agent reads it again when it changes.

# Scripts of a higher tier never run: compute, observe, inspect, operate, admin.
highest_tier: observe

# What may happen on the server's word alone, without an operator's own signature: run, schedule, session.
# consent: an approver of the server may say yes where this host's owner is asked.
accept_server_word: []

# Walls of the sandbox without which nothing runs; `outrider doctor` shows which ones this host can have.
required_walls: [seccomp, rlimits, privileges]

# true: nothing runs at all.
frozen: false

# Different people who must have approved a script of at least that tier, where the roster asks for fewer.
# reviewers: {operate: 2}

# Nothing runs by a roster that the roots signed longer ago, whatever expiry it has itself: how long a server can keep
# withdrawals and revoked keys from this host.
# roster_within: 30d

# What this host is. An approval can be for hosts with certain labels only; those that the server keeps do not count.
# labels: {role: mail}

# As whom people may be here, in terminals, commands and files: nothing in these sessions is done as anybody else, and
# as the agent's own user only if that is named. `users` can also stand in a rule, as paths do.
# sessions: {users: [deploy, www-data]}

# true: a reviewer or an operator may try here, by a signed order, what nobody has approved yet. It reads what its tier
# may read, and what would change anything is recorded and not done.
# dry_runs: true
"""


def load_ceiling(text: str, filename: str) -> Ceiling:
    """Return the ceiling in ``text``.

    Raises:
        DocumentError: Names file, line and key.
    """
    try:
        return _read(Reader(load(text, filename)))
    except DocumentError:
        raise
    except ArgumentError as error:  # a tier, path or duration in it: it is the file that is wrong, and nobody's order
        raise DocumentError(error.message, where=error.where) from None


def _read(reader: Reader) -> Ceiling:
    ceiling = Ceiling(
        Tier.parse(reader.text("highest_tier", DEFAULT.highest_tier.label), where=reader.where("highest_tier")),
        _words(reader, "accept_server_word", WORDS, DEFAULT.accept_server_word),
        _words(reader, "required_walls", WALL_NAMES, DEFAULT.required_walls),
        reader.boolean("frozen", False),
        layer=narrowing_layer(reader, "the host's ceiling"),
        sessions=_sessions(reader),
        reviewers=_reviewers(reader),
        roster_within_s=_age(reader, "roster_within"),
        labels=_labels(reader),
        dry_runs=reader.boolean("dry_runs", False),
    )
    reader.finish()
    return ceiling


def _reviewers(reader: Reader) -> dict[Tier, int]:
    if not reader.has("reviewers"):
        return {}
    try:
        return read_needed(reader.raw("reviewers"), "reviewers")
    except ArgumentError as error:
        raise reader.fail("reviewers", error.message) from None


def _age(reader: Reader, key: str) -> float | None:
    age_s: float | None = reader.duration(key, None)
    if age_s is not None and age_s <= 0:
        raise reader.fail(key, "must be longer than nothing")
    return age_s


def _labels(reader: Reader) -> dict[str, str]:
    labels = reader.raw("labels", {})
    if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
        raise reader.fail("labels", "must be a mapping of texts to texts")
    if len(labels) > MAX_LABELS:
        raise reader.fail("labels", f"must not have more than {MAX_LABELS} labels")
    return dict(labels)


def narrowing_layer(reader: Reader, name: str) -> Layer | None:
    """Return the layer that ``allow``, ``deny``, ``ask`` and ``limits`` of a mapping make; None if it states none.

    Raises:
        DocumentError: Names the place of what is wrong.
    """
    reader.require_said(("allow",))  # an empty one would let everything pass
    rules = read_rules(reader)
    limits = read_limits(reader.section("limits"), _UNLIMITED) if reader.has("limits") else None
    if len(rules) > MAX_RULES:
        raise reader.document_error(f"more than {MAX_RULES} rules")
    if not rules and limits is None:
        return None
    if any(rule.effect is Effect.ALLOW for rule in rules):
        # What a script reports of itself touches nothing on the host and needs no line in every list.
        return Layer(name, (*rules, *builtin(Tier.COMPUTE).rules), limits, narrows=True)
    return Layer(name, (*rules, Rule(Effect.ALLOW, "*", f"{reader.document.filename}: no allow")), limits, narrows=True)


def _sessions(reader: Reader) -> SessionRules:
    if not reader.has("sessions"):
        return SessionRules()
    section, default = reader.section("sessions"), SessionRules()
    section.require_said(("users",))
    consent, consent_of = _consent(section, default.consent)
    rules = SessionRules(
        section.duration("longest", default.longest_s), section.duration("idle", default.idle_s), consent, consent_of,
        section.duration("consent_timeout", default.consent_timeout_s), _session_users(section),
    )  # fmt: skip
    if not 1.0 <= rules.consent_timeout_s <= MAX_CONSENT_TIMEOUT_S:
        raise section.fail("consent_timeout", f"must be from 1s to {MAX_CONSENT_TIMEOUT_S:.0f}s")
    section.finish()
    return rules


def _session_users(section: Reader) -> Layer | None:
    users = users_of(section)
    return users_layer(users, "the host's ceiling", section.where("users").split(": ")[0]) if users else None


def users_layer(users: tuple[str, ...], name: str, origin: str) -> Layer:
    """Return the layer that lets calls be made as these users only; as nobody if there is none.

    Args:
        users: Their names.
        name: Of the layer, such as ``the access grant``.
        origin: Where they are named.
    """
    rules = (Rule(Effect.ALLOW, "*", origin, users=users),) if users else ()
    return Layer(name, rules, narrows=True)


def _consent(section: Reader, default: Consent) -> tuple[Consent, dict[str, Consent]]:
    """Return what holds for all kinds, and for some: ``ask``, or ``{default: notify, terminal: ask}``."""
    words = [each.value for each in Consent]
    if not isinstance(section.raw("consent", None), dict):
        return Consent(section.choice("consent", words, default.value)), {}
    kinds = section.section("consent")
    found = Consent(kinds.choice("default", words, default.value))
    of = {kind: Consent(kinds.choice(kind, words)) for kind in SESSION_KINDS if kinds.has(kind)}
    kinds.finish()
    return found, of


def _words(reader: Reader, key: str, known: tuple[str, ...], default: frozenset[str]) -> frozenset[str]:
    words = reader.strings(key, sorted(default))
    for word in words:
        if word not in known:
            raise reader.fail(key, f"{word!r:.60} is none of {', '.join(known)}")
    return frozenset(words)
