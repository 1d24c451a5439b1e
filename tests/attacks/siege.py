"""A host under siege: a whole agent, and at the other end of its link a server that is the attacker's.

The agent is the real one: supervisor, link, dispatcher, trust, admission, cache, spool, sandbox. The server speaks the
protocol and says whatever a test has it say. What the honest people of ``tests/protocol/world.py`` signed, the attacker
has; their keys only where a test says that one was stolen.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from peers import Server, statements
from premises import AGENT, Premises, approved, script, until
from world import NOW, World

from agent.cache import Entry
from agent.config import Settings
from agent.identity import save_identity
from agent.notify import Notifier
from agent.supervisor import Supervisor
from protocol import link as events
from protocol.ledger import Record, decode_record
from protocol.signing import Envelope, PrivateKey, add_signature, sign
from protocol.timestamps import stamp

#: Of an owner who trusts the server with everything that a server can be trusted with.
TRUSTING = "highest_tier: admin\naccept_server_word: [run, schedule]\n"
#: Of one who wants an operator's signature on everything.
CAREFUL = "highest_tier: admin\naccept_server_word: []\n"


class Attacker(Server):
    """A server that sends what it likes under the digest that it was asked for."""

    def answer(self, request: events.RequestReceived) -> Mapping[str, Any] | None:
        digest = request.body.get("digest")
        if digest not in self.bundles:
            return super().answer(request)
        self.send_bundle(digest, self.bundles[digest].bundle.pack())
        return statements(self.bundles[digest])


class Siege:
    """One besieged host. ``roster`` is the one that it trusts at the beginning."""

    def __init__(self, premises: Premises) -> None:
        self.premises = premises
        self.world: World = premises.world
        self.server = Attacker(premises)
        self.server_key = self.server.key.public  # as it was pinned
        self.supervisor: Supervisor | None = None
        self._task: asyncio.Task[None] | None = None
        self._runs = 0
        premises.allow(TRUSTING)
        save_identity(premises.state.identity, premises.key)

    # the host --------------------------------------------------------------------------------------------------------

    def allow(self, ceiling: str) -> None:
        """Let the owner write the ceiling."""
        self.premises.allow(ceiling)

    async def start(self, *, is_met: bool = True) -> None:
        """Start the agent, and return when it has spoken to the server, if it is going to."""
        self.premises.close()  # it opens the spool for itself
        config = replace(self.premises.config, server_key=self.server_key, settings=Settings())
        greeted = len(self.server.requests)
        self.supervisor = Supervisor(self.premises.state, config, Notifier({}, os.getpid()), clock=self.premises.clock)
        self._task = asyncio.create_task(self.supervisor.run())
        if is_met:
            await until(lambda: any(request.method == "status" for request in self.server.requests[greeted:]))
        else:
            await until(lambda: self.server.pipes)

    async def stop(self) -> None:
        """End the agent as a service manager does."""
        if self.supervisor is not None and self._task is not None:
            self.supervisor._stop.set()
            await asyncio.wait([self._task])
            self.supervisor = None
            self.premises.open()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    # the attacker ----------------------------------------------------------------------------------------------------

    def offer(self, entry: Entry, digest: str | None = None) -> str:
        """Put a bundle on the server, under its own digest or another one; returns the digest."""
        held = digest or entry.bundle.digest
        self.server.bundles[held] = entry
        return held

    async def say(self, method: str, body: dict[str, Any]) -> Any:
        """Make a request; returns the agent's answer, or the code of its refusal."""
        return await self.server.asked(method, body)

    async def roster(self, version: int = 1, *signers: str, **changes: Any) -> Any:
        """Send a roster, signed by the root or by whom the test names."""
        keys = [self.world.key(name) for name in signers or ("root",)]
        envelope = sign("roster", self.world.roster_body(version, **changes), *keys)
        return await self.say("roster.set", {"envelope": envelope.to_plain()})

    async def withdraw(self, *envelopes: Envelope) -> Any:
        return await self.say("withdrawals.set", {"envelopes": [envelope.to_plain() for envelope in envelopes]})

    def revocation(self, digest: str, signer: str) -> Envelope:
        """Return that somebody takes back what they approved up to now."""
        about = {"digest": digest, "reason": "on second thoughts", "issued": stamp(self.premises.now())}
        return self.world.statement("revocation", (signer,), about, without={"tier"})

    async def attempt(self, digest: str, **changes: Any) -> str:
        """Ask for a run; returns ``ran``, or in one word why it did not, as the host's own record says."""
        body = self.wish(digest) | changes
        run = body["run_id"]
        await self.say("run.start", body)
        await until(lambda: self._outcomes(run))
        return self._outcomes(run)[0]

    def wish(self, digest: str) -> dict[str, Any]:
        """Return what asks for a run."""
        self._runs += 1
        return {
            "run_id": f"run_{self._runs}", "digest": digest, "parameters": {}, "principal": "root",
            "reason": "trust me",
        }  # fmt: skip

    def signed(self, envelope: Envelope, signer: str) -> Envelope:
        """Return what somebody was made to sign, whatever it says."""
        return add_signature(replace(envelope, signatures=()), self.world.key(signer))

    def keep(self, entry: Entry) -> None:
        """Let a bundle be on the host from better days."""
        assert self.supervisor is not None
        self.supervisor._bundles._cache.put(entry.bundle.digest, entry)

    def _outcomes(self, run: str) -> list[str]:
        return [outcome(record) for record in self.records() if record.run == run and record.kind in _ENDS]

    async def recorded_refusal(self, principal: str) -> str:
        """Return why the first run that somebody asked for was refused, once it was."""

        def found() -> list[Record]:
            return [each for each in self.records() if each.kind == "refusal" and each.principal == principal]

        await until(found)
        return outcome(found()[0])

    def records(self) -> list[Record]:
        """Return what the host recorded, as far as the server has seen it."""
        return [decode_record(blob) for blob in self.server.blobs]

    def refusals(self, request: str) -> list[str]:
        """Return why requests of one kind were refused, as the host's records say."""
        return [str(record.data["reason"]) for record in self.records() if record.data.get("request") == request]

    async def recorded(self, request: str, count: int = 1) -> list[str]:
        await until(lambda: len(self.refusals(request)) >= count)
        return self.refusals(request)


_ENDS = ("run.end", "refusal")


def outcome(record: Record) -> str:
    """Return how a run ended, in one word."""
    if record.kind == "refusal":
        return str(record.data.get("reason") or record.outcome)
    return "ran" if record.outcome == "ok" else record.outcome


def order(world: World, digest: str, *, signer: str | PrivateKey = "oli", **changes: Any) -> dict[str, Any]:
    """Return an operator's order to run ``digest`` here once."""
    body = {
        "type": "order", "action": "run", "agents": [AGENT], "digest": digest, "parameters": {},
        "issued": stamp(NOW), "expires": stamp(NOW.replace(hour=13)), "nonce": "once",
    } | changes  # fmt: skip
    key = signer if isinstance(signer, PrivateKey) else world.key(signer)
    return sign("order", body, key).to_plain()


__all__ = ["AGENT", "CAREFUL", "NOW", "TRUSTING", "Siege", "approved", "order", "script", "until"]
