"""Sessions of people on this host: opened at the server's wish, calls through a gate of their own, closed for sure.

- ``session.open`` is durable before the first call is made, with the use of its order in the same commit; every session
  that was opened has its ``session.close``, after a crash one that says ``lost``, at the next start.
- What a session does are acts, each on a pipe of its own (:data:`Act`): a call whose result streams, a terminal, a
  forward. Calls with plain results also come as requests. All of it passes the session's gate.
- A session outlives its link, for a while: :data:`LINGER_S` after the link is gone it is closed. Time without a call or
  a byte, and time in all, are bounded by the host's owner.
- A hostile server can do here what the session's policy allows, and nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from agent import rows
from agent.clock import Clock, lived_s, to_datetime
from agent.consent import Consents
from agent.live_admission import Opening, Wish, admit
from agent.logs import LOG
from agent.nonces import Nonces
from agent.orders import Nonce
from agent.recorder import Recorder
from agent.shares import Shares
from agent.spool import Spool
from agent.trusting import Freeze, Trust, check_not_frozen
from kernel.visits import Account, count_for
from policies.ceiling import Consent
from policies.decide import never
from protocol.errors import (
    ArgumentError,
    ConflictError,
    DeniedError,
    InternalError,
    NotFoundError,
    OutriderError,
    RateError,
    UnavailableError,
)
from protocol.frames import decode, encode
from protocol.pipes import Pipe
from sandbox.budget import Budget
from sandbox.gate import Gate
from sandbox.held import Held
from sandbox.parties import Answer, CallTable, Session
from stdlib.host import Host, RunContext, host_of_run
from stdlib.identities import own_user
from stdlib.own_temporaries import Decided

if TYPE_CHECKING:
    from agent.blobs import HostBlobs

PURPOSE: Final = "session"  # of the streams that belong to sessions
LINGER_S: Final = 300.0  # that a session waits for a link to come back; chosen without measurement
MAX_SESSIONS: Final = 64  # of people on one host at the same time
MAX_SESSIONS_OF_ONE: Final = 56  # of one person among these, so that nobody keeps the others out
MAX_ACTS: Final = 160  # of one session at the same time: MAX_CONNECTIONS of a forward, and some more
LOOK_EVERY_S: Final = 5.0  # between two looks for sessions that are over; the promise is to the second before it
WARNED_S: Final = 60.0  # before the end, whoever is in it is told
_MAX_TOLD_CHARS: Final = 1000
_KEPT_AS: Final = "session/"  # in front of its id where runs are kept; no run's id holds a slash, so none is the same

Act = Callable[["LiveSession", Pipe], Awaitable[None]]
"""Serves one pipe of a session until it is done, and then the pipe is closed; what it raises resets the pipe."""


@dataclass(eq=False)
class LiveSession:
    """One session that is open."""

    opening: Opening
    gate: Gate
    context: RunContext
    opened_s: float  # by ``lived_s``, as the next two
    ends_s: float
    used_s: float  # when somebody last did something
    things: dict[str, Any] = field(default_factory=dict)  # what acts keep between two pipes, such as a terminal
    acts: set[asyncio.Task[None]] = field(default_factory=set)
    lonely_since_s: float | None = None  # since when there is no link; None while there is one
    calls: int = 0
    told: dict[str, Callable[[], Any]] = field(default_factory=dict)  # what acts have to say at its end, by name
    warn: Callable[[str], None] | None = None  # tells whoever is in it, if there is a way to
    accounts: tuple[Account, ...] = ()  # what its calls have threads of
    warned_of: tuple[str, float] | None = None  # of which end, so that it is told once

    @property
    def id(self) -> str:
        """As the server gave it."""
        return self.opening.wish.session

    def touch(self) -> None:
        """Something was asked or typed, or went through it; not: was printed, which needs nobody."""
        self.used_s = lived_s()

    async def call(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """Pass one call; return its value, or what the gate holds for it from now on (:class:`sandbox.held.Held`).

        Raises:
            OutriderError: What the call came to.
        """
        self.touch()
        self.calls += 1
        count_for(*self.accounts)
        reply = await self.gate.call(name, [], dict(arguments))
        self.touch()
        if reply.error is not None:
            raise reply.error
        # As it was made ready for a wire: bytes in the place of texts that UTF-8 cannot hold.
        return reply.value if isinstance(reply.value, Held) else decode(reply.body)[1]


class LiveSessions:
    """The sessions of people on one host.

    Args:
        agent_id: Orders must name it.
        trust: Roster and ceiling.
        freeze: The server's freeze, None if there is none.
        table: The calls.
        recorder: For every step.
        spool: Knows the sessions there were.
        nonces: Knows used orders.
        clock: The host's clocks.
        host: As calls reach it.
        acts: By the name that a pipe's header gives.
        consents: Asks the host's owner.
        blobs: Where archives of files come from and go to; None if nowhere.
    """

    def __init__(
        self,
        agent_id: str,
        *,
        trust: Trust,
        freeze: Callable[[], Freeze | None],
        table: CallTable,
        recorder: Recorder,
        spool: Spool,
        nonces: Nonces,
        clock: Clock,
        host: Host,
        acts: Mapping[str, Act],
        consents: Consents,
        blobs: HostBlobs | None = None,
    ) -> None:
        self._agent_id = agent_id
        self._trust = trust
        self._freeze = freeze
        self._table = table
        self._recorder = recorder
        self._spool = spool
        self._nonces = nonces
        self._clock = clock
        self._host = host
        self._acts = acts
        self._consents = consents
        self._blobs = blobs
        self._open: dict[str, LiveSession] = {}
        self._opening: dict[str, str] = {}  # on their way, with whose they are
        self._unwanted: dict[str, str] = {}  # of those, the ones that were closed already, and why
        self._is_closing = False
        self._is_linked = True  # nobody asks without a link; it may be gone when the owner has said yes
        self._shares = Shares()
        self._endings: set[asyncio.Task[None]] = set()

    @property
    def open_sessions(self) -> list[LiveSession]:
        """Those that are open now, oldest first."""
        return list(self._open.values())

    def find(self, session: str) -> LiveSession:
        """Return an open session.

        Raises:
            NotFoundError: There is none of this id.
        """
        found = self._open.get(session)
        if found is None:
            raise NotFoundError(f"no session {session[:40]} is open on this host")
        return found

    async def open(self, wish: Wish, asks: Callable[[], None] = lambda: None) -> LiveSession:
        """Open a session; durable when it returns. Asked again for one that is open, return that.

        Args:
            wish: What is asked for.
            asks: Called if the host's owner is asked first, which takes its time.

        Raises:
            DeniedError: The host is frozen, or its owner does not want it.
            TrustError: What is asked for is not proved, or above the ceiling.
            ConflictError: A session of this id was here before.
            RateError: Too many are open.
            UnavailableError: It cannot be recorded.
        """
        known = self._open.get(wish.session)
        if known is not None and replace(known.opening.wish, order=None) == replace(wish, order=None):
            return known
        try:
            self._check_new(wish)
            opening = self._admit(wish)
        except OutriderError as error:
            self._refuse(wish, error)
            raise
        self._opening[wish.session] = wish.principal
        try:
            consented = ""
            if opening.consent is Consent.ASK:
                asks()
                try:
                    consented, opening = await self._consented(opening)
                except asyncio.CancelledError:  # nobody is told anything, but the order is used up
                    self._recorder.append([], Nonces.used(opening.nonce))
                    raise
            return await self._begin(opening, consented)
        finally:
            self._opening.pop(wish.session, None)
            self._unwanted.pop(wish.session, None)
            if wish.session not in self._open:
                self._consents.forget(wish.session)

    async def close(self, session: str, reason: str, outcome: str = "ok") -> None:
        """Close a session and all that it holds; on record when it returns. One that waits for consent never opens.

        Raises:
            NotFoundError: There is none of this id.
        """
        if session in self._opening:
            self._unwanted[session] = reason  # it may be on its way to the disk, and then ends with its beginning
            self._consents.withdraw(session)
            return
        await self._end(self.find(session), reason, outcome)

    async def close_all(self, reason: str) -> None:
        """Close every session, and wait for it."""
        for session in self._opening:
            self._consents.withdraw(session)
        await asyncio.gather(*(self._end(session, reason, "killed") for session in self.open_sessions))

    async def shut(self) -> None:
        """The agent stops: take nothing more, and close every session."""
        self._is_closing = True
        await self.close_all("the agent was stopped")
        await asyncio.gather(*self._endings, return_exceptions=True)  # also those whose asker is gone

    def linked(self, *, is_linked: bool) -> None:
        """The link came, or is gone."""
        now_s, self._is_linked = lived_s(), is_linked
        for session in self._open.values():
            session.lonely_since_s = None if is_linked else now_s

    def accept(self, pipe: Pipe) -> None:
        """Take up a pipe of the server's; one that means nothing here is given up with a code."""
        session = self._open.get(str(pipe.header.get("session")))
        act = self._acts.get(str(pipe.header.get("act")))
        if session is None or act is None:
            pipe.reset("not_found")
        elif len(session.acts) >= MAX_ACTS:
            pipe.reset("rate_limited")
        else:
            session.touch()
            task = asyncio.create_task(self._serve(session, act, pipe))
            session.acts.add(task)
            task.add_done_callback(session.acts.discard)

    async def watch(self) -> None:
        """Close sessions whose time is over, for as long as the agent runs."""
        never = asyncio.Event()
        while not await self._clock.wait(never, LOOK_EVERY_S):
            for session in self.open_sessions:
                now_s = lived_s()
                over = _why_over(session, now_s)
                if over is not None:
                    await self._end(session, over, "killed")
                else:
                    _warn(session, now_s)

    # one session -----------------------------------------------------------------------------------------------------

    def _check_new(self, wish: Wish) -> None:
        if len(self._open) + len(self._opening) >= MAX_SESSIONS:
            raise RateError(f"{MAX_SESSIONS} sessions are open on this host already")
        whose = [*self._opening.values(), *(session.opening.wish.principal for session in self._open.values())]
        if whose.count(wish.principal) >= MAX_SESSIONS_OF_ONE:
            raise RateError(f"{MAX_SESSIONS_OF_ONE} sessions of {wish.principal} are open on this host already")
        if (
            wish.session in self._open
            or wish.session in self._opening
            or self._spool.knows_run(_KEPT_AS + wish.session)
        ):
            raise ConflictError(f"a session {wish.session[:40]} was here before")

    def _admit(self, wish: Wish) -> Opening:
        opening = self._judge(wish)
        self._nonces.spend(opening.nonce)
        return opening

    def _judge(self, wish: Wish) -> Opening:
        if self._is_closing:
            raise UnavailableError("the agent is stopping")
        ceiling = self._trust.ceiling()
        check_not_frozen(ceiling, self._freeze())
        now = self._trust.present(to_datetime(self._clock.time_us()))
        roster = self._trust.good_roster(ceiling, now) if wish.order is not None else None
        opening = admit(wish, roster, ceiling, agent_id=self._agent_id, now=now, user=own_user())
        return replace(opening, effective=self._trust.on_this_host(opening.effective))

    async def _consented(self, opening: Opening) -> tuple[str, Opening]:
        """Return who consented, and what may be opened now that it took a while to hear."""
        wish = opening.wish
        why = f": {wish.reason}" if wish.reason else ""
        answer = await self._consents.ask(
            f"{wish.principal} wants to open a session ({wish.kind}, tier {opening.tier.label}){why}",
            about="session", session=wish.session, principal=wish.principal,
        )  # fmt: skip
        if not answer.granted:
            error = DeniedError(
                f"this host's owner is asked first: {answer.why}", rule="ceiling.yaml: sessions.consent"
            )
            self._refuse(wish, error, opening.nonce)
            raise error
        try:
            return answer.by, self._judge(wish)
        except OutriderError as error:
            self._refuse(wish, error, opening.nonce)
            raise

    async def _begin(self, opening: Opening, consented: str) -> LiveSession:
        wish, now_us = opening.wish, self._clock.time_us()
        about = about_session(opening)
        statements = [
            rows.open_run(_KEPT_AS + wish.session, encode({"session": about, "principal": wish.principal}), now_us)
        ]
        statements += Nonces.used(opening.nonce)
        record = {
            "kind": "session.open", "session": wish.session, "principal": wish.principal, "outcome": "ok",
            "data": about | {
                "reason": wish.reason[:_MAX_TOLD_CHARS], "ordered": wish.order is not None,
                **({"consented": consented} if consented else {}),
            },
        }  # fmt: skip
        try:
            durable = self._recorder.begin([record], statements)
        except OutriderError:  # nothing is on its way to the disk: as if never asked
            self._nonces.give_back(opening.nonce)
            raise
        await durable
        session = self._made(opening)
        self._open[session.id] = session
        try:  # it went to the disk meanwhile
            if self._is_closing:
                raise UnavailableError("the agent is stopping")
            if session.id in self._unwanted:
                raise ConflictError(f"it was closed while it opened: {self._unwanted[session.id]}")
            check_not_frozen(self._trust.ceiling(), self._freeze())
        except OutriderError as error:
            await self._end(session, str(error), "killed")
            raise
        if opening.consent is Consent.NOTIFY:
            self._consents.notify(
                f"{wish.principal} opened a session ({wish.kind}, tier {opening.tier.label}): {wish.reason}",
                session=session.id, principal=wish.principal,
            )  # fmt: skip
        return session

    def _made(self, opening: Opening) -> LiveSession:
        wish, now_s = opening.wish, lived_s()
        effective, budget = opening.effective, Budget(opening.limits)
        ends_s = now_s + opening.limits.wall_s
        of_calls_s = time.monotonic() + opening.limits.wall_s  # calls wait by the clock of the event loop
        blobs = None if self._blobs is None else self._blobs.of(wish.session, f"a session of {wish.principal}")
        context = RunContext(
            {}, principal=wish.principal, reason=wish.reason, ends_s=of_calls_s, left=budget.remaining, blobs=blobs,
            limits=opening.limits,
        )  # fmt: skip
        decided = Decided(effective, context)

        async def ask(call: str, what: str) -> Answer:
            text = f"{wish.principal} in a session ({wish.kind}): {what}"
            return await self._consents.ask(text, about=call, session=wish.session, principal=wish.principal)

        gate = Gate(
            self._table, decided.decide, self._recorder, Session(wish.session, "", wish.principal, wish.reason), budget,
            host_of_run(self._host, context), context, decide_below=decided.below,
            never=partial(never, effective),
            redactor=context.redactor, on_close=context.end, asker=ask,
        )  # fmt: skip
        accounts = self._shares.of_session(wish.principal)
        lonely_since_s = None if self._is_linked else now_s
        return LiveSession(
            opening, gate, context, now_s, ends_s, now_s, lonely_since_s=lonely_since_s, accounts=accounts
        )

    async def _serve(self, session: LiveSession, act: Act, pipe: Pipe) -> None:
        count_for(*session.accounts)
        code = "closed"  # what the peer hears of an act that was ended
        try:
            await act(session, pipe)
            pipe.close()
            return
        except OutriderError as error:
            LOG.info("an act of session %s ended: %s", session.id, error)
            code = error.code
        except Exception:  # noqa: BLE001 - a fault of ours in one act; the peer hears a bare code, our log all of it
            LOG.exception("an act of session %s failed", session.id)
            code = InternalError.code
        except asyncio.CancelledError:
            pipe.reset(code)
            raise
        pipe.reset(code)

    async def _end(self, session: LiveSession, reason: str, outcome: str) -> None:
        """End a session for sure: whoever asked may be gone in the middle of it, with their link, say."""
        ending = asyncio.ensure_future(self._end_now(session, reason, outcome, asyncio.current_task()))
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)
        await asyncio.shield(ending)

    async def _end_now(self, session: LiveSession, reason: str, outcome: str, asking: asyncio.Task[Any] | None) -> None:
        if self._open.pop(session.id, None) is None:
            return
        tasks = [task for task in session.acts if task is not asking]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        count_for(*session.accounts)  # also what closes things may wait for ever
        await session.gate.close()
        self._consents.forget(session.id)
        now_us, seconds = self._clock.time_us(), lived_s() - session.opened_s
        record = {
            "kind": "session.close", "session": session.id, "principal": session.opening.wish.principal,
            "outcome": outcome, "duration_us": round(seconds * 1_000_000),
            "data": about_session(session.opening)
            | {"reason": reason[:_MAX_TOLD_CHARS], "calls": session.calls}
            | {name: tell() for name, tell in session.told.items()},
        }  # fmt: skip
        closing = [rows.close_run(_KEPT_AS + session.id, now_us)]
        try:
            durable = self._recorder.begin([record], closing)
        except OutriderError as refused:
            LOG.error("the end of session %s waits for the disk: %s", session.id, refused)
            try:
                self._recorder.append([record], closing)
            except OutriderError as error:  # still open on disk: the next start tells its end
                LOG.error("the end of session %s could not be recorded: %s", session.id, error)
            return
        try:
            await durable
        except OutriderError as error:  # it began to refuse only now
            LOG.error("the end of session %s waits for the disk: %s", session.id, error)

    def _refuse(self, wish: Wish, error: OutriderError, spent: Nonce | None = None) -> None:
        LOG.warning("session %s refused: %s", wish.session, error)
        record = {
            "kind": "refusal", "session": wish.session, "principal": wish.principal, "verdict": "deny",
            "rule": getattr(error, "rule", ""), "outcome": error.code,
            "data": {
                "reason": getattr(error, "reason", error.code), "message": str(error)[:_MAX_TOLD_CHARS],
                "session": wish.kind,
            },
        }  # fmt: skip
        self._recorder.append([record], Nonces.used(spent))


def about_session(opening: Opening) -> dict[str, Any]:
    """Return what the records of a session's beginning and end share."""
    return {
        "kind": opening.wish.kind, "tier": opening.tier.label, "longest_s": opening.limits.wall_s,
        "idle_s": opening.idle_s,
    }  # fmt: skip


def lost_record(kept: str, plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return the end of a session that an earlier process of the agent left open.

    Args:
        kept: What it was kept as.
        plain: What was kept with it.
    """
    session = kept.removeprefix(_KEPT_AS)
    return {
        "kind": "session.close", "session": session, "principal": str(plain.get("principal", "")), "outcome": "lost",
        "data": {**plain["session"], "reason": "the agent ended while it was open"},
    }  # fmt: skip


def value_of(given: Any) -> Any:
    """Return a call's value as an answer can hold it.

    Raises:
        ArgumentError: The call gives a stream or a handle, which need a pipe.
    """
    if isinstance(given, Held):
        raise ArgumentError("this call gives a stream or a handle: make it on a pipe", parameter="call")
    return given


def _why_over(session: LiveSession, now_s: float) -> str | None:
    if now_s >= session.ends_s:
        return f"it was open for {session.opening.limits.wall_s:.0f} s, the longest that it may"
    if now_s - session.used_s >= session.opening.idle_s:
        return f"nobody did anything in it for {session.opening.idle_s:.0f} s"
    if session.lonely_since_s is not None and now_s - session.lonely_since_s >= LINGER_S:
        return f"there was no link to the server for {LINGER_S:.0f} s"
    return None


def _warn(session: LiveSession, now_s: float) -> None:
    """Tell whoever is in a session that it will be over soon, once for each such end."""
    if session.warn is None:
        return
    idle_ends_s = session.used_s + session.opening.idle_s
    ends_s, why = min((session.ends_s, "its longest time is over then"), (idle_ends_s, "unless somebody types"))
    left_s = ends_s - now_s
    if left_s <= WARNED_S and session.warned_of != (why, ends_s):
        session.warned_of = why, ends_s
        session.warn(f"this session ends in {max(1, round(left_s))} s: {why}")
