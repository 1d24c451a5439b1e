"""One hostile peer against the real run, wire, conversation and gate, in this process, and the judgement of it.

Only the worker's process is a double: its end of the socketpair is driven by a coroutine. What must hold:

- The run ends, with exactly one outcome, and raises nothing.
- Each call that reached the gate gave exactly one record; nothing was performed without the verdict ``allow``; what
  changes something had its intent on record before.
- Every record and every answer belongs to the run whose socket it came from, whatever the bytes claim.
- Once the outcome is there, nothing that the peer still sends has any effect.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from arena import Records

from fuzz.streams import Answered, Attack, Send
from policies.decide import Effective, Layer, decide_effective
from policies.load import builtin
from policies.model import Facts, Limits, Verdict
from protocol.errors import ArgumentError, NotFoundError, ProtocolError
from protocol.frames import LengthPrefixed, decode
from protocol.limits import MAX_CHANNEL_FRAME_BYTES
from protocol.tiers import Tier
from sandbox.budget import Budget
from sandbox.gate import Gate
from sandbox.launch import Program
from sandbox.outcome import Ended, Outcome
from sandbox.parties import CallEntry, CallTable, Session
from sandbox.replies import Reply
from sandbox.runs import Run
from sandbox.spares import Started

LIMITS = Limits(wall_s=20.0, cpu_s=5.0, calls=200, output_bytes=64 * 1024, open_files=2, processes=0)
PATIENCE_S = 60.0  # for one run; its deadline is far below, so longer is a hang
TURNS = 60  # of the loop that a peer waits for an answer; it may be that none will ever come
PROGRAM = Program("lua", "main.lua", {"main.lua": b"return 1"})
_numbers = count(1)


@dataclass
class Call:
    """One call of the table of the rig. ``facts`` come from the arguments only in so far as a path is opened."""

    name: str
    answer: Callable[[Ground, list[Any]], Any]
    changes: bool = False
    is_blocking: bool = False
    prepare_at_once: Any = None
    facts: Callable[[list[Any]], Facts] = lambda _args: Facts()
    tier: Tier = Tier.OBSERVE
    gives: str = "value"
    looks_up: bool | tuple[str, ...] = ()
    lists: tuple[str, ...] = ()

    def bind(self, args: list[Any], named: dict[str, Any]) -> dict[str, Any]:
        if len(args) > 8 or set(named) - {"n"}:
            raise ArgumentError("too many arguments", parameter="n")
        return {"args": args, **named}

    @contextmanager
    def prepare(self, host: Any, run: Ground, bound: dict[str, Any], passage: Any) -> Any:
        run.opened += not self.is_blocking  # what has begun on a thread goes on to its end unseen
        try:
            yield _Prepared(self, run, bound["args"])
        finally:
            run.opened -= not self.is_blocking


@dataclass
class _Prepared:
    call: Call
    ground: Ground
    args: list[Any]

    @property
    def facts(self) -> tuple[Facts, ...]:
        return (self.call.facts(self.args),)

    def perform(self) -> Any:
        ground = self.ground
        ground.performed.append(self.call.name)
        if self.call.changes:
            ground.check(len(ground.records.of("intent")) >= ground.changed(), "an effect began without an intent")
        return self.call.answer(ground, self.args)


class Table(dict[str, Call]):
    """The calls of the rig."""

    def find(self, name: str) -> CallEntry | None:
        return self.get(name)


class CountingGate(Gate):
    """The gate, and how often it was asked."""

    asked = 0

    async def call(self, *args: Any, **named: Any) -> Reply:
        self.asked += 1
        return await super().call(*args, **named)


@dataclass
class Ground:
    """What one run did, as seen from outside it."""

    run: str = field(default_factory=lambda: f"run-{next(_numbers)}")
    records: Records = field(default_factory=Records)
    performed: list[str] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)  # frames that the peer received
    broken: list[str] = field(default_factory=list)
    opened: int = 0

    @property
    def secret(self) -> str:
        """What only this run's calls answer with."""
        return f"secret of {self.run};"

    def check(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.broken.append(otherwise)

    def changed(self) -> int:
        return sum(TABLE[name].changes for name in self.performed)


def _fail(error: BaseException) -> Any:
    raise error


async def _wait(ground: Ground, _args: list[Any]) -> Any:
    for _ in range(3):
        await asyncio.sleep(0)
    return ground.secret


async def _late(ground: Ground, _args: list[Any]) -> Any:
    """As a call that is to look without waiting."""
    try:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()
    except TimeoutError:
        return ground.secret


async def _for_ever(_ground: Ground, _args: list[Any]) -> Any:
    await asyncio.Event().wait()


def _path(args: list[Any]) -> Facts:
    """As the catalogue does it: a text or bytes; undecodable bytes as surrogates."""
    given = args[0] if args else "/"
    path = given.decode("utf-8", "surrogateescape") if type(given) is bytes else given
    if type(path) is not str:
        raise ArgumentError("path: must be text", parameter="path")
    if "missing" in path:
        raise NotFoundError(f"{path} is not there")
    return Facts(path=f"/home/{path}"[:4096])


def _at_once(value: Any) -> Any:
    async def answer(ground: Ground, args: list[Any]) -> Any:
        return value(ground, args)

    return answer


#: Names are those of the catalogue where the policy of the tier decides on them.
TABLE = Table(
    {
        call.name: call
        for call in (
            Call("time.now", _at_once(lambda ground, _: ground.secret)),
            Call("param", _at_once(lambda ground, args: [ground.secret, args])),
            Call("fs.space", _at_once(lambda ground, args: [ground.secret, args]), facts=_path),
            Call("fs.stat", lambda ground, args: ground.secret, is_blocking=True, facts=_path),
            Call("fs.list", _at_once(lambda ground, _: ground.secret), facts=_path),
            Call("fs.read", _at_once(lambda ground, _: ground.secret), facts=_path),
            Call("proc.command", _at_once(lambda ground, _: ground.secret), True, facts=lambda _: Facts(command="df")),
            Call("log.info", _at_once(lambda ground, _: None), changes=True),
            Call("log.error", _wait, changes=True),
            Call("log.warning", lambda ground, _: ground.secret, changes=True, is_blocking=True),
            Call("sys.memory", _at_once(lambda ground, _: [ground.secret, b"x" * 900_000])),
            Call("sys.cpu", _late),
            Call("sys.host", _for_ever),
            Call("sys.uptime", _at_once(lambda *_: _fail(ValueError("secret of the agent")))),
            Call("sys.loadavg", _at_once(lambda *_: _fail(ProtocolError("no\udcff")))),
            Call("sys.disk_io", _at_once(lambda *_: {"a\udc80": "b\udcff", "c": object()})),
            Call("net.counters", _at_once(lambda *_: b"x" * (MAX_CHANNEL_FRAME_BYTES + 1))),
            Call("check.ok", _at_once(lambda ground, _: [[ground.secret]] * 40)),
        )
    }
)  # fmt: skip
_POLICY = builtin(Tier.OBSERVE)
_EFFECTIVE = Effective((Layer(_POLICY.name, _POLICY.rules, _POLICY.limits),))


def decide(name: str, facts: Facts) -> Verdict:
    """The real policy of a tier."""
    return decide_effective(_EFFECTIVE, name, facts)


class _Worker:
    """The double of a worker's process: it dies when it is killed or when its peer has done all that it wanted."""

    not_started = None

    def __init__(self, sock: socket.socket) -> None:
        self.ended: asyncio.Future[Ended | None] = asyncio.get_running_loop().create_future()
        self.sock = sock
        self.killed = asyncio.Event()

    def kill(self) -> None:
        self.killed.set()

    def cpu_s(self) -> float:
        return 0.0

    def gone(self) -> None:
        self.sock.close()
        if not self.ended.done():
            self.ended.set_result(Ended(9 if self.killed.is_set() else 0, 1000, 2**20))


class _Zygote:
    walls = ()

    async def stop(self) -> None:
        """Nothing is behind it."""


class _Spares:
    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        self.worker = _Worker(theirs)
        self._ours = ours

    def take(self, _kind: Any) -> Started:
        return Started(self.worker, self._ours)  # type: ignore[arg-type] # a double of it


async def _drive(attack: Attack, worker: _Worker, ground: Ground) -> None:
    """Be the peer: take the steps of the attack one after the other; then close, or stay until killed."""
    loop, splitter, sock = asyncio.get_running_loop(), LengthPrefixed(2**25), worker.sock
    read = 0

    async def receive() -> bool:
        """Wait for a frame; return whether one came."""
        nonlocal read
        for _ in range(TURNS):
            if len(ground.answers) > read:
                read += 1
                return True
            try:
                data = sock.recv(1 << 18)
            except BlockingIOError:
                await asyncio.sleep(0)
                continue
            if not data:
                return False
            ground.answers += [decode(frame, max_bytes=2**25) for frame in splitter.feed(data)]
        return False

    try:
        for step in attack.steps:
            match step:
                case Send(data):
                    await loop.sock_sendall(sock, data)
                    await asyncio.sleep(0)  # so that what comes next is another piece at the other end
                case Answered():
                    if not await receive():
                        return
        if attack.stays:
            await asyncio.Event().wait()
    except OSError:  # the run has closed its end
        return


async def _live(attack: Attack, worker: _Worker, ground: Ground) -> None:
    driving = asyncio.create_task(_drive(attack, worker, ground))
    killed = asyncio.create_task(worker.killed.wait())
    await asyncio.wait([driving, killed], return_when=asyncio.FIRST_COMPLETED)
    for task in (driving, killed):
        task.cancel()
    await asyncio.gather(driving, killed, return_exceptions=True)
    worker.gone()
    if driving.done() and not driving.cancelled() and driving.exception() is not None:
        raise driving.exception()  # type: ignore[misc] # a fault of the rig


@dataclass
class Verdicts:
    """What came of one attack."""

    ground: Ground
    outcome: Outcome
    asked: int


async def attacked(
    attack: Attack,
    limits: Limits = LIMITS,
    gates: type[CountingGate] = CountingGate,
    catalogue: CallTable | None = None,
    host: Any = None,
    context: Any = None,
) -> Verdicts:
    """Run one attack and judge it; ``AssertionError`` if something does not hold.

    Args:
        attack: What the peer does.
        limits: Of its run.
        gates: The kind of gate, so that the judgement can be tried on broken ones.
        catalogue: In place of the calls of the rig.
        host: For the calls of a real catalogue.
        context: For the calls of a real catalogue.
    """
    ground, spares = Ground(), _Spares()
    limits = replace(limits, wall_s=attack.wall_s or limits.wall_s)
    session = Session(f"session-{ground.run}", ground.run, "fuzz")
    gate = gates(catalogue or TABLE, decide, ground.records, session, Budget(limits), host, context or ground)
    run = Run(_Zygote(), spares, PROGRAM, lambda: gate, limits)  # type: ignore[arg-type] # doubles of them
    living = asyncio.create_task(_live(attack, spares.worker, ground))
    try:
        async with asyncio.timeout(PATIENCE_S):
            outcome = await run.complete()
            before = len(ground.records.kept)
            await living
    except TimeoutError:
        raise AssertionError("the run did not end") from None
    finally:
        living.cancel()
        with suppress(asyncio.CancelledError, OSError):
            await living
    for _ in range(2):  # whatever is still on its way would come now
        await asyncio.sleep(0)
    ground.check(len(ground.records.kept) == before, "something was recorded after the end")
    judge(ground, gate, outcome)
    assert not ground.broken, ground.broken
    return Verdicts(ground, outcome, gate.asked)


def judge(ground: Ground, gate: CountingGate, outcome: Outcome) -> None:
    calls, intents = ground.records.of("call"), ground.records.of("intent")
    allowed = [kept for kept in calls if kept["verdict"] == "allow"]
    check = ground.check
    check(outcome.status in ("ok", "error", "denied", "killed"), f"the status is {outcome.status}")
    check(outcome.status == "ok" or bool(outcome.reason), "no reason is given")
    check(gate.asked == len(calls), f"{gate.asked} calls gave {len(calls)} records")
    check(len(outcome.calls) == len(calls), "the list of calls is not the record")
    check(len(ground.performed) <= len(allowed), "a call was performed that was not allowed")
    check(
        sorted(set(ground.performed)) == sorted(set(ground.performed) & {kept["call"] for kept in allowed}),
        "a call was performed under another name",
    )
    check(len(intents) >= ground.changed(), "an effect has no intent")
    for kept in ground.records.kept:
        check((kept["run"], kept["session"]) == (ground.run, f"session-{ground.run}"), "a record names another run")
        check(kept["principal"] == "fuzz", "a record names somebody else")
    check(len(outcome.output) <= gate.budget.limits.output_bytes, "more output than allowed was kept")
    check(len(calls) <= gate.budget.limits.calls + 1, "more calls than allowed were made")
    check(len(ground.answers) <= 1 + gate.asked, "more was answered than asked")
    for number, answer in enumerate(ground.answers):
        check(type(answer) is list and len(answer) == 2, "an answer is malformed")
        check((answer[0] == 0) == (number == 0), "an answer is of the wrong kind")
        said = repr(answer[1]) if number else ""
        check(said.count("secret of run-") == said.count(ground.secret), "an answer is another run's")
        check("secret of the agent" not in said, "an answer tells what is the agent's")
    check(ground.opened == 0, "a target was left open")
    _encodable(outcome, check)


def _encodable(outcome: Outcome, check: Callable[[bool, str], None]) -> None:
    """The agent records and sends the reason, so it must be text that can be sent."""
    try:
        (outcome.reason or "").encode()
    except UnicodeEncodeError:
        check(False, "the reason cannot be sent")
