"""The parts of one agent, put together: what stands on what. Nothing runs yet.

    ground   spool, recorder, trust, nonces, secrets: what is on disk, and who is believed
    place    what calls find here: programs, journal, blobs, what scripts remember, whom to ask
    scripts  sandbox, bundles, admission, runs, schedules
    people   live sessions, and the owner's desk
    link     to the server, which can ask something of all of them

Each is made of those above it, in this order; the two places where one looks back are written out below. What a part
has to tell, it tells by :class:`Ears` to who keeps it.
"""

from __future__ import annotations

import random
import secrets as randomness
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

from agent import websocket
from agent.admission import Admission
from agent.backoff import Backoff
from agent.blobs import HostBlobs
from agent.bundles import Bundles
from agent.cache import Cache
from agent.clock import Clock, to_datetime
from agent.config import AgentConfig
from agent.confinement import Confinement, start_sandbox
from agent.consent import Consents
from agent.control import ControlSocket
from agent.desk import Desk
from agent.dispatch import Dispatcher
from agent.identity import load_identity
from agent.link import Connection
from agent.live import LiveSessions
from agent.live_acts import ACTS, terminal_act
from agent.nesting import Nesting
from agent.nonces import Nonces
from agent.own_files import kept_objects
from agent.owner_watch import OwnerWatch
from agent.people_here import People as PeopleHere
from agent.recorder import Recorder
from agent.scheduler import Scheduler
from agent.secrets import Secrets, load_opening_key
from agent.sessions import Sessions
from agent.spool import Spool
from agent.state import script_state
from agent.statedir import StateDir
from agent.trusting import Trust
from agent.uplink import LinkState, Uplink
from agent.work import Worker
from protocol.handshake import NONCE_BYTES, AgentHandshake
from protocol.sealing import attest
from protocol.signing import PrivateKey
from stdlib.host import Host
from stdlib.index import Index
from stdlib.index import load as load_index
from stdlib.journal import Journal
from stdlib.processes.start import Processes
from stdlib.store import Store


@dataclass(frozen=True, slots=True)
class Ears:
    """What the parts tell who keeps them."""

    call_soon: Callable[[Callable[[], object]], None]  # from any thread: do this in the loop, if it still turns
    background: Callable[[Coroutine[Any, Any, None]], None]  # work that nobody waits for
    spool_broke: Callable[[Exception], None]  # in the writer's thread: the spool must not be used any more
    owner_changed: Callable[[], None]  # the owner froze the host, or let it go on
    link_changed: Callable[[LinkState], None]
    connected: Callable[[Connection], None]


@dataclass(frozen=True, slots=True)
class Ground:
    """What is on disk, and who is believed."""

    state: StateDir
    config: AgentConfig
    clock: Clock
    key: PrivateKey  # the agent's own
    sealing_key: dict[str, Any]  # for secrets, as the agent attests it to the server
    secrets: Secrets
    trust: Trust
    spool: Spool
    recorder: Recorder
    nonces: Nonces
    calls: Index


@dataclass(frozen=True, slots=True)
class Place:
    """What calls find here."""

    host: Host
    processes: Processes
    script_state: Store
    consents: Consents
    people: PeopleHere
    blobs: HostBlobs


@dataclass(frozen=True, slots=True)
class Scripts:
    """What runs scripts."""

    confinement: Confinement
    bundles: Bundles
    admission: Admission
    sessions: Sessions
    scheduler: Scheduler


@dataclass(frozen=True, slots=True)
class People:
    """What people do here, and what the owner sees of it and says to it."""

    live: LiveSessions
    desk: Desk
    control: ControlSocket


@dataclass(frozen=True, slots=True)
class Parts:
    """All of them."""

    ground: Ground
    place: Place
    scripts: Scripts
    people: People
    uplink: Uplink


def assemble(state: StateDir, config: AgentConfig, clock: Clock, ears: Ears) -> Parts:
    """Put an agent together.

    Raises:
        OutriderError: Something on disk is wrong: the ceiling, the roster, a key, the spool.
    """
    ground = _ground(state, config, clock, ears)
    place = _place(ground, ears)
    scripts = _scripts(ground, place)
    people = _people(ground, place, scripts, ears)
    return Parts(ground, place, scripts, people, _uplink(ground, place, scripts, people, ears))


def _ground(state: StateDir, config: AgentConfig, clock: Clock, ears: Ears) -> Ground:
    key, opening = load_identity(state.identity), load_opening_key(state.sealing_key)
    secrets = Secrets(state.secrets, opening, config.agent_id)
    now = to_datetime(clock.time_us())
    sealing_key = attest(config.agent_id, opening.public, key, now).to_plain()
    calls = load_index()
    trust = Trust(state, config, now)
    trust.ceiling()  # one that is wrong is told at the start, not at the first run
    spool = Spool.open(state.spool, max_bytes=config.settings.spool_max_bytes, on_broken=ears.spool_broke)
    recorder = Recorder(spool, clock, agent_id=config.agent_id, key=key)
    return Ground(
        state, config, clock, key, sealing_key, secrets, trust, spool, recorder, Nonces(spool), calls
    )  # fmt: skip


def _place(ground: Ground, ears: Ears) -> Place:
    # Started when a call first needs it; on a disk that is slow for a sandbox it is slow for this as well.
    processes = Processes(start_timeout_s=ground.config.settings.sandbox_start_timeout_s)
    people = PeopleHere(ground.clock)
    return Place(
        host=Host(
            journal=Journal(ground.state.journal),
            processes=processes,
            people=people,
            kept=kept_objects(ground.state.path),
        ),
        processes=processes,
        script_state=script_state(ground.state, lambda what: ears.call_soon(partial(_damaged, ground.recorder, what))),
        consents=Consents(ground.trust.ceiling, ground.recorder, ground.clock),
        people=people,
        blobs=HostBlobs(ground.state.blobs, ground.config.settings.blobs_max_bytes, ground.recorder),
    )


def _damaged(recorder: Recorder, what: str) -> None:
    recorder.record(kind="event", outcome="damaged", data={"event": "state", "message": what})


def _scripts(ground: Ground, place: Place) -> Scripts:
    settings, recorder, clock = ground.config.settings, ground.recorder, ground.clock
    confinement = Confinement(
        ground.calls.bindings(), partial(start_sandbox, timeout_s=settings.sandbox_start_timeout_s)
    )  # fmt: skip
    bundles = Bundles(
        Cache(ground.state.cache, max_bytes=settings.cache_max_bytes),
        lambda entry, given: ground.trust.with_approvals(entry, given, to_datetime(clock.time_us())),
    )
    admission = Admission(
        ground.config.agent_id, trust=ground.trust, bundles=bundles, confinement=confinement, spool=ground.spool,
        nonces=ground.nonces, recorder=recorder, clock=clock,
    )  # fmt: skip
    worker = Worker(
        confinement, ground.calls, recorder, place.host, place.script_state, ground.secrets,
        Nesting(admission, recorder, clock), place.blobs, place.consents,
    )  # fmt: skip
    sessions = Sessions(admission, worker, recorder, ground.spool, clock, concurrent=settings.concurrent_runs)
    scheduler = Scheduler(ground.config.agent_id, ground.spool, recorder, sessions, clock)
    bundles.needed = lambda: scheduler.digests  # looks back: what schedules need stays in the cache
    return Scripts(confinement, bundles, admission, sessions, scheduler)


def _people(ground: Ground, place: Place, scripts: Scripts, ears: Ears) -> People:
    async def end(session: str, reason: str, outcome: str) -> None:
        await live.close(session, reason, outcome)

    live = LiveSessions(
        ground.config.agent_id, trust=ground.trust, freeze=lambda: scripts.admission.freeze, table=ground.calls,
        recorder=ground.recorder, spool=ground.spool, nonces=ground.nonces, clock=ground.clock, host=place.host,
        acts={**ACTS, "terminal": terminal_act(ground.recorder, end)}, consents=place.consents, blobs=place.blobs,
    )  # fmt: skip
    place.people.live = live  # looks back: scripts see who is here
    desk = Desk(
        place.consents, ground.trust, live, scripts.sessions, ground.recorder, ground.clock, ears.owner_changed
    )  # fmt: skip
    return People(live, desk, ControlSocket(ground.state.path, {**desk.actions, **OwnerWatch(live).actions}))


def _uplink(ground: Ground, place: Place, scripts: Scripts, people: People, ears: Ears) -> Uplink:
    config = ground.config
    dispatcher = Dispatcher(
        sessions=scripts.sessions, scheduler=scripts.scheduler, trust=ground.trust, admission=scripts.admission,
        bundles=scripts.bundles, secrets=ground.secrets, live=people.live, consents=place.consents,
        recorder=ground.recorder, clock=ground.clock, background=ears.background,
    )  # fmt: skip
    uplink = Uplink(
        partial(websocket.connect, config.server, ca_file=config.settings.ca_file),
        lambda: AgentHandshake(
            ground.key, config.agent_id, config.server_key, randomness.token_bytes(NONCE_BYTES)
        ),
        spool=ground.spool, handle=dispatcher.handle, clock=ground.clock,
        backoff=Backoff(random.SystemRandom().random), on_change=ears.link_changed, on_connected=ears.connected,
    )  # fmt: skip
    # The writer's thread tells of durable records; the loop may be closed when the last of them are.
    ground.spool.listen(lambda _, is_awaited: ears.call_soon(partial(uplink.durable, is_awaited=is_awaited)))
    return uplink
