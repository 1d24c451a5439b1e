"""The ceiling: what no server, no approval and no operator can lift on a host, from one file of its owner.

    highest_tier: observe          # nothing above it runs
    accept_server_word: [run]      # what runs without an operator's own signature; empty means nothing does
    required_walls: [seccomp]      # without these nothing runs
    frozen: false                  # true: nothing runs at all
    deny: [{call: fs.read, paths: [/srv/**]}]
    limits: {wall: 20s}

Rules narrow only. Without an ``allow`` everything that the other layers allow passes; with one, nothing else does. A
file that cannot be read as a whole is refused with its place, and then nothing runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from policies.decide import Layer
from policies.load import MAX_RULES, builtin, read_limits, read_rules
from policies.model import Effect, Limits, Rule
from protocol.document import Reader, load
from protocol.tiers import Tier

WORDS: Final = ("run", "schedule")

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
    open_files=1 << 20, processes=1 << 20,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What a host allows at most. The defaults are those of a host whose owner has said nothing."""

    highest_tier: Tier = Tier.OBSERVE
    accept_server_word: frozenset[str] = frozenset()  # of WORDS
    required_walls: frozenset[str] = field(default=ALWAYS_REQUIRED)
    frozen: bool = False
    layer: Layer | None = None  # of rules and limits; None where none are stated


DEFAULT: Final = Ceiling()

DEFAULT_TEXT: Final = """\
# What no server can lift on this host. Only its owner writes here; the agent reads it again when it changes.

# Scripts of a higher tier never run: compute, observe, inspect, operate, admin.
highest_tier: observe

# What may happen on the server's word alone, without an operator's own signature: run, schedule.
accept_server_word: []

# Walls of the sandbox without which nothing runs; `outrider doctor` shows which ones this host can have.
required_walls: [seccomp, rlimits, privileges]

# true: nothing runs at all.
frozen: false
"""


def load_ceiling(text: str, filename: str) -> Ceiling:
    """Return the ceiling in ``text``.

    Raises:
        DocumentError: Names file, line and key.
    """
    reader = Reader(load(text, filename))
    ceiling = Ceiling(
        Tier.parse(reader.text("highest_tier", DEFAULT.highest_tier.label), where=reader.where("highest_tier")),
        _words(reader, "accept_server_word", WORDS, DEFAULT.accept_server_word),
        _words(reader, "required_walls", WALL_NAMES, DEFAULT.required_walls),
        reader.boolean("frozen", False),
        narrowing_layer(reader, "the host's ceiling"),
    )
    reader.finish()
    return ceiling


def narrowing_layer(reader: Reader, name: str) -> Layer | None:
    """Return the layer that ``allow``, ``deny``, ``ask`` and ``limits`` of a mapping make; None if it states none.

    Raises:
        DocumentError: Names the place of what is wrong.
    """
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


def _words(reader: Reader, key: str, known: tuple[str, ...], default: frozenset[str]) -> frozenset[str]:
    words = reader.strings(key, sorted(default))
    for word in words:
        if word not in known:
            raise reader.fail(key, f"{word!r:.60} is none of {', '.join(known)}")
    return frozenset(words)
