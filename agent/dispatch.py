"""What each request of the server does here. One table; what has no row was refused by the protocol already.

Requests are taken up in their order: what changes trust, schedules or the freeze is durable before the next request is
looked at. A run is only begun in that order; its acceptance is answered when its beginning is durable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from agent.admission import Admission
from agent.bundles import Bundles
from agent.clock import Clock, to_datetime
from agent.consent import SERVER, Consents
from agent.live import LiveSessions, value_of
from agent.live_admission import Wish
from agent.logs import LOG
from agent.recorder import Recorder
from agent.runs import RunRequest
from agent.scheduler import Scheduler
from agent.secrets import Secrets
from agent.sessions import Sessions
from agent.trusting import Freeze, Trust
from protocol.errors import ArgumentError, OutriderError
from protocol.signing import Envelope
from sandbox.held import Held

Body = Mapping[str, Any]
Answer = Awaitable[dict[str, Any]]

_MAX_TOLD_CHARS: Final = 2000
_MAX_TOLD_DIGESTS: Final = 100  # in one record; of more it tells how many


class Dispatcher:
    """Turns requests into actions.

    Args:
        sessions: For runs.
        scheduler: For schedules.
        trust: For rosters and withdrawals.
        admission: For the freeze.
        bundles: To fetch what new schedules need, and for approvals of what is here.
        secrets: For secrets.
        live: For sessions of people.
        consents: For answers to what the host's owner is asked.
        recorder: Changes of trust, done or refused, are on record.
        clock: The present.
        background: Runs what an answer need not wait for.
    """

    def __init__(
        self,
        *,
        sessions: Sessions,
        scheduler: Scheduler,
        trust: Trust,
        admission: Admission,
        bundles: Bundles,
        secrets: Secrets,
        live: LiveSessions,
        consents: Consents,
        recorder: Recorder,
        clock: Clock,
        background: Callable[[Any], None],
    ) -> None:
        self._sessions = sessions
        self._scheduler = scheduler
        self._trust = trust
        self._admission = admission
        self._bundles = bundles
        self._secrets = secrets
        self._live = live
        self._consents = consents
        self._recorder = recorder
        self._clock = clock
        self._background = background
        self._actions: dict[str, Callable[[Body], Awaitable[Answer]]] = {
            "run.start": self._start_run,
            "run.cancel": self._cancel_run,
            "run.known": self._tell_known,
            "schedules.set": self._set_schedules,
            "roster.set": self._set_roster,
            "withdrawals.set": self._set_withdrawals,
            "approvals.add": self._add_approvals,
            "freeze.set": self._set_freeze,
            "secrets.set": self._set_secrets,
            "session.open": self._open_session,
            "session.close": self._close_session,
            "session.call": self._call_in_session,
            "consent.answer": self._answer_question,
        }

    async def handle(self, method: str, body: Body) -> Answer:
        """Take up one request; what is returned is its answer, which may come later.

        Raises:
            OutriderError: It is refused.
        """
        action = self._actions.get(method)
        if action is None:
            raise ArgumentError(f"this agent does not know the request {method:.60}", parameter="method")
        return await action(body)

    async def _start_run(self, body: Body) -> Answer:
        request = RunRequest(
            run_id=body["run_id"],
            digest=body["digest"],
            parameters=body["parameters"],
            principal=body["principal"],
            reason=body["reason"],
            timeout_s=body.get("timeout_s"),
            order=body.get("order"),
            dry_run=body.get("dry_run") is True,
        )

        begun = self._sessions.accept(request)

        async def accepted() -> dict[str, Any]:
            await begun
            return {"accepted": True}

        return accepted()

    async def _cancel_run(self, body: Body) -> Answer:
        self._sessions.cancel(body["run_id"], "cancelled by the server")
        return _done({})

    async def _tell_known(self, body: Body) -> Answer:
        return _done({"known": [run for run in body["run_ids"] if self._sessions.knows(run)]})

    async def _set_schedules(self, body: Body) -> Answer:
        try:
            await self._scheduler.set(body["version"], body["schedules"])
        except OutriderError as error:
            self._record_refusal("schedules.set", error)
            raise
        self._background(self._bundles.bring_needed())
        return _done({"version": self._scheduler.version})

    async def _set_roster(self, body: Body) -> Answer:
        before = self._trust.roster_version
        try:
            self._trust.set_roster(Envelope.from_json(body["envelope"]), to_datetime(self._clock.time_us()))
        except OutriderError as error:
            self._record_refusal("roster.set", error)
            raise
        version = self._trust.roster_version
        if version != before:
            LOG.info("the roster has version %d now", version)
            self._recorder.record(kind="event", outcome="ok", data={"event": "roster", "version": version})
        return _done({"version": version})

    async def _set_withdrawals(self, body: Body) -> Answer:
        try:
            envelopes = [Envelope.from_json(value) for value in body["envelopes"]]
            self._trust.add_withdrawals(envelopes, to_datetime(self._clock.time_us()))
        except OutriderError as error:
            self._record_refusal("withdrawals.set", error)
            raise
        return _done({})

    async def _add_approvals(self, body: Body) -> Answer:
        try:
            changed = self._bundles.learn([Envelope.from_json(value) for value in body["envelopes"]])
        except OutriderError as error:
            self._record_refusal("approvals.add", error)
            raise
        if changed:
            data = {"event": "approvals", "bundles": len(changed), "digests": changed[:_MAX_TOLD_DIGESTS]}
            self._recorder.record(kind="event", outcome="ok", data=data)
        return _done({})

    async def _set_secrets(self, body: Body) -> Answer:
        before = self._secrets.versions
        try:
            refusals = self._secrets.set(body["secrets"])
        except OutriderError as error:
            self._record_refusal("secrets.set", error)
            raise
        for refusal in refusals:
            self._record_refusal("secrets.set", refusal)
        versions = self._secrets.versions
        if versions != before:
            self._recorder.record(kind="event", outcome="ok", data={"event": "secrets", "versions": versions})
        if refusals:
            raise refusals[0]
        return _done({})

    async def _set_freeze(self, body: Body) -> Answer:
        freeze = Freeze(body["reason"]) if body["frozen"] else None
        if freeze is not None:
            why = f"the host was frozen: {freeze.reason or 'no reason given'}"
            self._sessions.stop_all(why)
        try:
            if freeze != self._admission.freeze:
                await self._admission.set_freeze(freeze)
        finally:  # also if the disk refuses, or the link ends meanwhile: it holds from here on
            if freeze is not None:  # after it holds, so that none is opened meanwhile
                await self._live.close_all(why)
        return _done({"frozen": freeze is not None})

    async def _open_session(self, body: Body) -> Answer:
        wish = Wish(
            body["session"], body["kind"], body["tier"], body["principal"], body["reason"], body["grant"],
            body.get("idle_s"), body.get("longest_s"), body.get("order"),
            body.get("access") or {}, None if body.get("users") is None else tuple(body["users"]),
        )  # fmt: skip

        asked = asyncio.Event()
        opening = asyncio.ensure_future(self._live.open(wish, asked.set))
        opening.add_done_callback(lambda _: asked.set())

        async def opened() -> dict[str, Any]:
            await asked.wait()
            if not opening.done():  # a person is asked: what comes of it is told by a record
                self._background(_whatever_comes(opening))
                return {"asking": True}
            made = opening.result().opening
            return {"longest_s": made.limits.wall_s, "idle_s": made.idle_s}

        return opened()

    async def _answer_question(self, body: Body) -> Answer:
        self._consents.answer(body["question"], granted=body["granted"], by=body["by"], channel=SERVER)
        return _done({})

    async def _close_session(self, body: Body) -> Answer:
        async def closed() -> dict[str, Any]:
            await self._live.close(body["session"], body["reason"])
            return {}

        return closed()

    async def _call_in_session(self, body: Body) -> Answer:
        session = self._live.find(body["session"])

        async def called() -> dict[str, Any]:
            given = await session.call(body["call"], body["arguments"])
            if isinstance(given, Held):
                await session.gate.release(given.number)
            return {"value": value_of(given)}

        return called()

    def _record_refusal(self, method: str, error: OutriderError) -> None:
        data = {
            "request": method,
            "reason": getattr(error, "reason", error.code),
            "message": str(error)[:_MAX_TOLD_CHARS],
        }
        self._recorder.record(kind="refusal", verdict="deny", outcome=error.code, data=data)


async def _whatever_comes(opening: asyncio.Future[Any]) -> None:
    with suppress(OutriderError):  # on record already
        await opening


async def _done(body: dict[str, Any]) -> dict[str, Any]:
    return body
