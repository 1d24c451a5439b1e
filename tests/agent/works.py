"""The parts of an agent that carry out runs, put together on one host's disk, and a server that only has bundles."""

from __future__ import annotations

from typing import Any

import pytest
from premises import AGENT, Premises, until

from agent.admission import Admission
from agent.bundles import Bundles
from agent.cache import Cache, Entry
from agent.confinement import Confinement
from agent.link import Fetched
from agent.nesting import Nesting
from agent.nonces import Nonces
from agent.runs import RunRequest
from agent.secrets import Secrets, load_opening_key
from agent.sessions import Sessions
from agent.state import script_state
from agent.work import Worker
from protocol.errors import OutriderError, UnavailableError
from protocol.ledger import Record
from stdlib.catalogue import load as load_catalogue
from stdlib.host import Host


class Repository:
    """What a server has, honest or not: whatever the test puts under a digest is what is sent for it."""

    def __init__(self) -> None:
        self.held: dict[str, Fetched] = {}
        self.asked: list[str] = []

    def put(self, entry: Entry, *, digest: str | None = None, packed: bytes | None = None) -> None:
        approvals = [approval.to_plain() for approval in entry.approvals]
        fetched = Fetched(packed or entry.bundle.pack(), entry.publication.to_plain(), approvals)
        self.held[digest or entry.bundle.digest] = fetched

    async def fetch(self, digest: str) -> Fetched:
        self.asked.append(digest)
        if digest not in self.held:
            raise UnavailableError("the server refused: no such bundle")
        return self.held[digest]


class Works:
    """Admission and sessions over a real spool, a real cache and a real sandbox."""

    def __init__(self, premises: Premises, confinement: Confinement, *, concurrent: int = 8) -> None:
        self.premises = premises
        self.world = premises.world
        self.confinement = confinement
        self.concurrent = concurrent
        self.repository = Repository()
        self.opening = load_opening_key(premises.state.sealing_key)
        self.damages: list[str] = []
        self.open()

    def open(self) -> None:
        premises = self.premises
        self.bundles = Bundles(
            Cache(premises.state.cache),
            lambda entry, given: premises.trust.with_approvals(entry, given, premises.now()),
        )
        self.bundles.fetch = self.repository.fetch
        self.nonces = Nonces(premises.spool)
        self.admission = Admission(
            AGENT, trust=premises.trust, bundles=self.bundles, confinement=self.confinement, spool=premises.spool,
            nonces=self.nonces, recorder=premises.recorder, clock=premises.clock,
        )  # fmt: skip
        self.state = script_state(premises.state, self.damages.append)
        self.secrets = Secrets(premises.state.secrets, self.opening, AGENT)
        self.sessions = Sessions(
            self.admission,
            Worker(
                self.confinement,
                load_catalogue(),
                premises.recorder,
                Host(),
                self.state,
                self.secrets,
                Nesting(self.admission, premises.recorder, premises.clock),
            ),
            premises.recorder,
            premises.spool,
            premises.clock,
            concurrent=self.concurrent,
        )

    async def restart(self) -> None:
        """End the process as a kill would, once what it appended is on disk, and start another one."""
        await self.premises.recorder.commit([])
        self.state.close()
        self.premises.restart()
        self.open()

    async def ask(self, digest: str, *, run_id: str = "run_1", **changes: Any) -> None:
        await self.sessions.accept(wish(digest, run_id=run_id, **changes))

    async def run(self, digest: str, *, run_id: str = "run_1", **changes: Any) -> Record:
        """Run something to its end, which is returned."""
        await self.ask(digest, run_id=run_id, **changes)
        return await self.end(run_id)

    async def end(self, run_id: str = "run_1") -> Record:
        await until(lambda: run_id not in self.sessions._active)
        (record,) = [record for record in await self.premises.records("run.end") if record.run == run_id]
        return record

    async def refusal(self, digest: str, *, run_id: str = "run_1", **changes: Any) -> Record:
        """Return the one record of a run that is refused, after checking that it is the only trace of it."""
        with pytest.raises(OutriderError) as caught:
            await self.ask(digest, run_id=run_id, **changes)
        (record,) = [record for record in await self.premises.records() if record.run == run_id]
        assert (record.kind, record.verdict, record.outcome) == ("refusal", "deny", caught.value.code)
        assert record.data["message"] == str(caught.value)
        assert record.data["digest"] == digest
        return record

    async def reason(self, digest: str, **changes: Any) -> str:
        """Return why a run is refused, in one word, as its record says."""
        return str((await self.refusal(digest, **changes)).data["reason"])


def wish(digest: str, *, run_id: str = "run_1", **changes: Any) -> RunRequest:
    return RunRequest(**({
        "run_id": run_id, "digest": digest, "parameters": {}, "principal": "oli", "reason": "the tests ask",
    } | changes))  # fmt: skip
