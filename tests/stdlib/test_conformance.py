"""Every call of the catalogue, at every tier, under a ceiling that forbids it: a new call cannot escape this.

Nothing is performed: the decision is made on what was really opened, and then the test stands in. What wrong arguments
come to is held by ``test_arguments``, for every parameter of every call.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from running import COMMANDS, Kept
from test_arguments import good

from policies.decide import Effective, Layer, decide_below, decide_effective
from policies.load import builtin
from policies.model import Effect, Facts, Limits, Rule, Verdict
from protocol.tiers import Tier
from sandbox.budget import Budget
from sandbox.gate import Gate
from sandbox.held import Held
from sandbox.parties import Session
from sandbox.replies import Reply
from stdlib.call_specs import CallSpec
from stdlib.catalogue import load
from stdlib.host import Host, RunContext
from stdlib.journal import Journal

GATED = [spec for spec in load() if not spec.is_local]
PASSED_ON = {"secret"}  # handles without methods: other calls take them in place of a text
READS = {"proc.environ"}  # of a high tier for what they may show
FORBIDDEN = "ceiling.yaml:1 deny"


@dataclass
class Thing:
    """A handle that a call may be given."""

    kind: str
    facts: Facts = field(default_factory=Facts)

    def fields(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        """Hold nothing."""


@dataclass
class Stood:
    """A prepared call that is not carried out."""

    facts: tuple[Facts, ...]
    entry: Standing

    def perform(self) -> Any:
        self.entry.performed += 1
        return {"value": None, "stream": iter(()), "handle": Thing("thing")}[self.entry.gives]


class Standing:
    """A call of the catalogue, opened and decided like the real one."""

    def __init__(self, spec: CallSpec) -> None:
        self._spec = spec
        self.tier, self.changes, self.gives = spec.tier, spec.changes, spec.gives
        self.is_blocking, self.lists = True, spec.lists
        self.prepare_at_once = None
        self.performed = 0
        self.facts: tuple[Facts, ...] = ()
        self.bind = spec.bind

    @contextmanager
    def prepare(self, host: Any, run: Any, bound: dict[str, Any], passage: Any) -> Iterator[Stood]:
        with self._spec.prepare(host, run, bound, passage) as prepared:
            self.facts = prepared.facts
            yield Stood(prepared.facts, self)

    def find(self, name: str) -> Any:
        return self if name == self._spec.name else None


def journal(directory: Path) -> tuple[Journal, str]:
    kept = Journal(directory)
    return kept, kept.begin(kept.make("/etc/motd", "fs.write", None, None, "0" * 64), None)


def arguments(spec: CallSpec, entry: str) -> dict[str, Any]:
    """Fitting ones; a call that looks its target up by name gets one that is there."""
    given = {item.name: good(item) for item in spec.parameters if item.is_required}
    special = {
        "fs.undo": {"journal": entry},
        "proc.command": {"name": "df"},
        "sys.package_install": {"names": ["bash"]},
    }
    special |= {name: {"argv": ["/bin/true"]} for name in ("proc.exec", "proc.spawn", "proc.start", "tty.open")}
    handles = [item.name for item in spec.parameters if item.handle is not None]
    given |= {name: {"$handle": number} for number, name in enumerate(handles, 1)}
    for item in spec.parameters:
        if item.is_place and item.is_required:
            given[item.name] = "/etc/outrider-conformance"
    return given | special.get(spec.name, {})


async def decided(spec: CallSpec, layers: list[Layer], tmp_path: Path) -> tuple[Reply, Standing, Kept]:
    entry, kept, context = Standing(spec), Kept(), RunContext()
    store, journal_entry = journal(tmp_path / "journal")
    effective = Effective(tuple(layers))

    def decide(call: str, facts: Facts) -> Verdict:
        return decide_effective(effective, call, facts)

    gate = Gate(
        entry, decide, kept, Session("s", "r", "tester"), Budget(Limits()),
        Host(commands=COMMANDS, journal=store), context, decide_below=partial(decide_below, effective),
    )  # fmt: skip
    for item in spec.parameters:
        if item.handle is not None:
            gate.holder.add(Held("test", Thing(item.handle), ExitStack(), (), 0))
    reply = await gate.call(spec.name, [], arguments(spec, journal_entry))
    await gate.close()
    kept.records = [record for record in kept.records if record["kind"] != "call.end"]
    return reply, entry, kept


@pytest.mark.parametrize("tier", Tier)
@pytest.mark.parametrize("spec", GATED, ids=lambda spec: spec.name)
async def test_no_call_below_its_tier(spec: CallSpec, tier: Tier, tmp_path: Path) -> None:
    """The tier of a declaration is the lowest whose built-in policy may allow it, whatever it is about."""
    policy = builtin(tier)
    reply, entry, kept = await decided(spec, [Layer(policy.name, policy.rules)], tmp_path)
    (record,) = [record for record in kept.records if record["kind"] == "call"]
    if tier < spec.tier:
        assert (entry.performed, record["verdict"]) == (0, "deny"), record
        assert reply.error is not None
        assert len(kept.records) == 1, "nothing is intended that is denied"
    else:
        assert (record["verdict"] == "allow") == (entry.performed == 1)


@pytest.mark.parametrize("spec", GATED, ids=lambda spec: spec.name)
async def test_a_ceiling_lifts_nothing_that_it_forbids(spec: CallSpec, tmp_path: Path) -> None:
    """By name, by family and by everything; the record says that the ceiling decided."""
    everything = Layer("admin", (Rule(Effect.ALLOW, "*", "all"),))
    for name in {spec.name, f"{spec.family}.*" if spec.family else "*", "*"}:
        ceiling = Layer(
            "ceiling", (Rule(Effect.DENY, name, "ceiling.yaml:1"), Rule(Effect.ALLOW, "*", "ceiling.yaml:2"))
        )
        reply, entry, kept = await decided(spec, [everything, ceiling], tmp_path)
        (record,) = kept.records
        assert (entry.performed, record["verdict"], getattr(reply.error, "code", None)) == (0, "deny", "denied"), record
        assert record["rule"].startswith(FORBIDDEN), record


@pytest.mark.parametrize("spec", GATED, ids=lambda spec: spec.name)
async def test_a_call_that_is_not_needed_is_not_had(spec: CallSpec, tmp_path: Path) -> None:
    """No rule means deny, in whichever layer."""
    everything = Layer("admin", (Rule(Effect.ALLOW, "*", "all"),))
    other = Layer("needs", (Rule(Effect.ALLOW, "no.such", "manifest.yaml: needs"),))
    reply, entry, kept = await decided(spec, [everything, other], tmp_path)
    assert (entry.performed, len(kept.records), getattr(reply.error, "code", None)) == (0, 1, "denied")


@pytest.mark.parametrize("spec", GATED, ids=lambda spec: spec.name)
async def test_what_is_allowed_is_recorded_and_intended_first(spec: CallSpec, tmp_path: Path) -> None:
    """One record; before it, for what changes anything, one intent."""
    everything = Layer("admin", (Rule(Effect.ALLOW, "*", "all"),))
    reply, entry, kept = await decided(spec, [everything], tmp_path)
    if spec.has_target:
        assert reply.error is None or reply.error.code in ("denied", "not_found", "unavailable")
        return
    assert reply.error is None, reply.error
    kinds = ["intent", "call"] if spec.changes else ["call"]
    assert ([record["kind"] for record in kept.records], entry.performed) == (kinds, 1)
    assert all(record["verdict"] == "allow" for record in kept.records)


@pytest.mark.parametrize("spec", GATED, ids=lambda spec: spec.name)
def test_declarations_hold_together(spec: CallSpec) -> None:
    """What is read from them elsewhere is there."""
    assert spec.doc.rstrip().endswith("."), "one sentence at least"
    assert set(spec.examples) == {"lua", "python"}
    assert spec.under is None or load().find(spec.under) is not None
    if spec.tier >= Tier.OPERATE and spec.name not in READS:
        assert spec.changes or spec.under, "what is of a tier that changes things says what it changes"
    if spec.gives == "handle":
        has_methods = spec.gives_kind == spec.family or any(other.family == spec.gives_kind for other in GATED)
        assert has_methods or spec.gives_kind in PASSED_ON
