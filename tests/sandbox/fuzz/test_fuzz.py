"""Hostile bytes against the real gate: in this process by the ten thousand, and from real workers behind real walls."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from arena import BINDINGS, HERE, Records, native
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from visiting import all_back

from fuzz import rig
from fuzz.campaign import campaign
from fuzz.rig import LIMITS, TABLE, CountingGate, Ground, attacked, decide
from fuzz.streams import ERROR, MAX_FRAME, NAMES, NEVER_ANSWERED, OK, Answered, Attack, Send, Source, frame, packed
from policies.model import Facts
from sandbox import runs
from sandbox.budget import Budget
from sandbox.call_records import CallRecords
from sandbox.channel import Conversation
from sandbox.decisions import Decisions
from sandbox.launch import Options, Sandbox
from sandbox.parties import Session
from sandbox.replies import Reply
from stdlib.catalogue import load
from stdlib.host import Host, RunContext

BLOCKS = 6
STREAMS = 250  # of a block; about 3,500 frames
FIRST_SEED = 20_261_125
MAX_HELD_BYTES = (
    20 << 20
)  # for one hostile worker: one frame, one answer, what they are decoded to; here also the peer's
JAILED = 300  # streams
AT_ONCE = 6

CALL = frame(packed([1, "time.now", [], {}]))
RESULT = frame(packed(OK))


def steps(*sent: bytes | Answered, **more: Any) -> Attack:
    return Attack(tuple(each if isinstance(each, Answered) else Send(each) for each in sent), **more)


# In this process ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(BLOCKS))
async def test_streams_from_a_seed(number: int) -> None:
    """The same streams each time; ``make fuzz`` makes others. A failure names the seed to give it."""
    first = FIRST_SEED + number * STREAMS
    tally = await campaign(range(first, first + STREAMS))
    await all_back()  # what threads of runs that were cut short have yet to say, they say to this loop
    assert tally.failed == {}
    assert tally.streams == STREAMS
    assert set(tally.statuses) >= {"ok", "killed"}
    assert tally.calls > STREAMS, "the streams hardly reach the gate any more"


async def test_streams_against_the_real_catalogue() -> None:
    """Its calls look at this very host; the policy of the tier lets through what only reads."""
    asked = 0
    for first in range(0, STREAMS, AT_ONCE):
        made = [Source(seed).attack() for seed in range(first, first + AT_ONCE)]
        came = await asyncio.gather(
            *(attacked(each, catalogue=load(), host=Host(), context=RunContext()) for each in made)
        )
        asked += sum(one.asked for one in came)
    assert asked > STREAMS, "the streams hardly reach the gate any more"


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(st.characters(codec=None), max_size=5)
    | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3) | st.integers(0, 9), inner, max_size=4)
    ),
    max_leaves=12,
)
HONEST = st.one_of(
    st.tuples(st.just(1), st.sampled_from(NAMES), st.lists(PLAIN, max_size=2), st.just({})).map(list),
    st.tuples(st.just(2), st.binary(min_size=1, max_size=9)).map(list),
    st.just(OK),
    st.just([3, None, ERROR, 0]),
)
MESSAGES = st.one_of(HONEST, HONEST, PLAIN, st.tuples(st.integers(0, 4), PLAIN, PLAIN, PLAIN).map(list))


@st.composite
def sent(draw: st.DrawFn) -> bytes:
    """Return a frame, perhaps with bytes changed, or no frame at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(min_size=1, max_size=40))
    body = packed(draw(MESSAGES))
    data = bytearray(frame(body, draw(st.none() | st.integers(0, 2**32 - 1)) if draw(st.integers(0, 9)) == 0 else None))
    for _ in range(draw(st.sampled_from((0, 0, 0, 1, 3)))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


@st.composite
def attacks(draw: st.DrawFn) -> Attack:
    """Return steps: frames cut at any byte, and answers that are waited for."""
    made: list[Send | Answered] = []
    for data in draw(st.lists(sent(), min_size=1, max_size=8)):
        cut = draw(st.integers(0, len(data)))
        made += [Send(part) for part in (data[:cut], data[cut:]) if part]
        made += [Answered()] * draw(st.sampled_from((0, 1, 1, 2)))
    return Attack(tuple(made))


@settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(attacks(), min_size=1, max_size=3))
def test_streams_from_a_grammar(made: list[Attack]) -> None:
    """Shrunk by hypothesis if one of them breaks something; several workers at once."""

    async def all_of_them() -> None:
        await asyncio.gather(*(attacked(each) for each in made))

    asyncio.run(all_of_them())


def test_a_conversation_may_be_cut_at_any_byte() -> None:
    """Each of all cuts into three pieces gives the same events."""
    stream = frame(packed([2, b"out"])) + CALL
    whole = Conversation().receive(stream)
    for first in range(len(stream)):
        for second in range(first, len(stream)):
            one = Conversation()
            pieces = (stream[:first], stream[first:second], stream[second:])
            assert [event for piece in pieces for event in one.receive(piece)] == whole


# Time -----------------------------------------------------------------------------------------------------------------


async def test_a_call_that_is_never_answered_ends_at_the_deadline() -> None:
    """It is recorded as cut short, and nothing that comes later is acted on."""
    waits = frame(packed([1, NEVER_ANSWERED, [], {}]))
    for wall_s in (0.1, 1.0, 10.0):  # a slow machine is given a later one, until the call has come
        came = await attacked(steps(Answered(), waits, stays=True, wall_s=wall_s))
        if came.asked:
            break
    assert (came.outcome.reason or "").startswith("wall:")
    assert [kept["outcome"] for kept in came.ground.records.kept] == ["cut short"]
    came = await attacked(steps(Answered(), waits, CALL, stays=True))
    assert came.outcome.reason == "a frame came while a call was open"
    assert [kept["outcome"] for kept in came.ground.records.kept] == ["cut short"]


async def test_a_worker_that_says_nothing_ends_at_the_deadline() -> None:
    """Also in the middle of a frame."""
    for data in (b"", b"\0", CALL[:-1]):
        came = await attacked(steps(data, stays=True, wall_s=0.05))
        assert (came.outcome.reason or "").startswith("wall:")
        assert came.asked == 0


async def test_a_worker_that_stays_after_its_result_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has said its last word, and what it does afterwards is not looked at."""
    monkeypatch.setattr(runs, "EXIT_GRACE_S", 0.05)
    came = await attacked(steps(CALL, Answered(), Answered(), RESULT, stays=True))
    assert came.outcome.status == "ok"
    assert came.asked == 1


async def test_what_comes_after_the_result_is_not_looked_at() -> None:
    """In one piece with it or later: no call, no record."""
    for attack in (steps(RESULT + CALL * 3), steps(RESULT, CALL, CALL)):
        came = await attacked(attack)
        assert (came.outcome.status, came.asked) == ("ok", 0)


@pytest.mark.parametrize("size", [1, 100, 5000])
async def test_a_flood_of_calls_leaves_the_loop_to_others(size: int) -> None:
    """A hostile worker may use its own time, not that of the other runs."""
    limits = replace(LIMITS, calls=5000)
    flood = steps(Answered(), *[CALL, Answered()] * size, RESULT)
    others = await asyncio.gather(
        attacked(flood, limits), *(attacked(steps(CALL, Answered(), RESULT)) for _ in range(5))
    )
    assert [came.asked for came in others] == [size, 1, 1, 1, 1, 1]


# Memory ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


FLOODS = {
    "calls whose answers are never read": steps(
        *[frame(packed([1, "sys.memory", [], {}]))] * 150, stays=True, wall_s=5.0
    ),
    "output of no bytes": steps(*[frame(packed([2, b""])) * 8000] * 40),
    "output of two bytes": steps(*[frame(packed([2, b"xx"])) * 7000] * 40),
    "large output": steps(*[frame(packed([2, bytes(1 << 19)]))] * 40),
    "half a frame": steps(frame(bytes(1000), MAX_FRAME), *[bytes(1 << 16)] * 15),
    "a frame that never ends, byte by byte": steps(frame(b"", MAX_FRAME), *[b"x"] * 3000),
    "a frame of containers": steps(frame(packed([1, "param", [[[]] * 49_000], {}])), Answered(), Answered(), RESULT),
    "a frame of maps": steps(frame(packed([1, "param", [[{"a": 1}] * 16_000], {}])), Answered(), Answered(), RESULT),
    "a frame of texts": steps(frame(packed([1, "param", ["x" * 6 + str(n) for n in range(49_000)], {}])), RESULT),
    "empty frames": steps(bytes(1 << 18)),
    "a result of containers": steps(frame(packed([3, [[]] * 49_000, None, 0]))),
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
@pytest.mark.usefixtures("traced")
async def test_the_agent_holds_little_for_a_hostile_worker(flood: Attack) -> None:
    """However much it sends, and however little it reads."""
    await attacked(steps(CALL, Answered(), Answered(), RESULT))  # what is made only once is not counted
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    await attacked(flood)
    _, peak = tracemalloc.get_traced_memory()
    assert peak - before < MAX_HELD_BYTES, f"{(peak - before) / 2**20:.1f} MiB"


# The rig itself -------------------------------------------------------------------------------------------------------


class NoRecord(CallRecords):
    def call(self, *args: Any, **named: Any) -> None:
        del args, named


class TwoRecords(CallRecords):
    def call(self, *args: Any, **named: Any) -> None:
        super().call(*args, **named)
        super().call(*args, **named)


class NoIntent(CallRecords):
    async def intend(self, attempt: Any) -> None:
        del attempt


class Yes(Decisions):
    def allow(self, entry: Any, attempt: Any, facts: tuple[Facts, ...]) -> tuple[str, ...]:
        del entry, attempt, facts
        return ()


class Tampered(CountingGate):
    """A gate one of whose parts does something else than it should."""

    its_records: type[CallRecords] = CallRecords
    its_decisions: type[Decisions] = Decisions

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.records.__class__ = self.its_records
        self.decisions.__class__ = self.its_decisions


class Forgetful(Tampered):
    """Leaves no record."""

    its_records = NoRecord


class Twice(Tampered):
    """Leaves two records."""

    its_records = TwoRecords


class Generous(Tampered):
    """Performs what the policy denies."""

    its_decisions = Yes


class Hasty(Tampered):
    """Performs before it has written the intent."""

    its_records = NoIntent


class Confused(CountingGate):
    """Answers with what another run was told."""

    told: bytes | None = None

    async def call(self, name: str, args: list[Any], named: dict[str, Any], answer: Any = None) -> Reply:
        def other(body: bytes) -> None:
            type(self).told, other_body = body, type(self).told or body
            answer(other_body)

        return await super().call(name, args, named, other)


class Credulous(CountingGate):
    """Believes what the arguments say about whose call it is."""

    async def call(self, *args: Any, **named: Any) -> Reply:
        self.records._session = replace(self.records._session, run="run-1")
        return await super().call(*args, **named)


@pytest.mark.parametrize("gates", [Forgetful, Twice, Generous, Hasty, Confused, Credulous])
async def test_a_gate_that_is_broken_is_found_out(gates: type[CountingGate]) -> None:
    """The tests above prove nothing if it is not."""
    calls = [frame(packed([1, name, ["/"], {}])) for name in ("time.now", "proc.command", "log.info", "time.now")]
    attack = steps(Answered(), *(each for data in calls for each in (data, Answered())), RESULT)
    await attacked(attack)
    assert not all([await holds(attack, gates) for _ in range(2)])


async def holds(attack: Attack, gates: type[CountingGate]) -> bool:
    try:
        await attacked(attack, gates=gates)
    except AssertionError:
        return False
    return True


# From a real worker ---------------------------------------------------------------------------------------------------


async def test_streams_from_a_worker_behind_every_wall() -> None:
    """The same streams through a real process: the sandbox survives each, and the records are whole."""
    sandbox = await Sandbox.start(bindings=BINDINGS, options=Options(entry="native", import_path=(HERE,)))
    limits, seeds, found = replace(LIMITS, wall_s=0.3, memory_bytes=128 << 20), iter(range(JAILED)), []

    async def work() -> None:
        for seed in seeds:
            made, ground = Source(seed).attack(), Ground()
            session = Session(f"session-{ground.run}", ground.run, "fuzz")
            gate = CountingGate(TABLE, decide, ground.records, session, Budget(limits), run=ground)
            program = native("send_and_stay" if made.stays else "send", made.data)
            found.append((gate, ground, await sandbox.run(program, gate, limits)))

    try:
        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        last = CountingGate(TABLE, decide, Records(), Session("s", "r", "fuzz"), Budget(LIMITS), run=Ground())
        assert (await sandbox.run(native("call", "time.now"), last, LIMITS)).status == "ok"
    finally:
        await sandbox.close()
    assert len(found) == JAILED
    for gate, ground, outcome in found:
        rig.judge(ground, gate, outcome)
        assert ground.broken == []
    assert sum(gate.asked for gate, _, _ in found) > JAILED / 4, "the streams hardly reach the gate any more"
