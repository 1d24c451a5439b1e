"""Listing, searching and browsing 10,000 published and approved scripts, and publishing one more, through the API.

Requests go through the whole application without a socket; database and git are real files, signatures are real ones.
"""

from __future__ import annotations

import base64
import gc
import json
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import structlog
from sqlalchemy import Connection, insert

from bench.measure import Measure
from protocol.bundle import Bundle
from protocol.signing import PrivateKey, sign
from protocol.timestamps import stamp
from protocol.versions import Version
from server import access, config
from server.app import build
from server.core import Core
from server.ledger import OwnLedger
from server.memory import settle
from server.metrics import Metrics
from server.repository import Repository
from server.services import namespace, standing
from server.store.database import Database
from server.store.tables import approvals, reviews, scripts

SCRIPTS = 10_000
FOLDERS = 100
ASKED = 60  # requests of each kind
PUBLISHED = 40
SOURCE_BYTES = 20_000
TARGET_MS = 50.0  # for each of them, p50
_WORDS = ("disk", "mail", "queue", "kernel", "nginx", "postfix", "memory", "journal", "backup", "certificate")


async def measure() -> list[Measure]:
    """Fill a server and ask it."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    thresholds = gc.get_threshold()
    try:
        return await _measured()
    finally:  # what is measured next is no server, perhaps
        gc.set_threshold(*thresholds)
        gc.unfreeze()


async def _measured() -> list[Measure]:
    with tempfile.TemporaryDirectory(prefix="outrider-bench-") as directory:
        made = config.make(Path(directory) / "server", config.DEFAULT_LISTEN)
        people = {name: PrivateKey.generate() for name in ("root", "ann", "bob")}
        async with _served(made) as (core, api):
            _good(await api.put("/roster", json={"envelope": _roster(people)}))
            await core.database.write(lambda connection: _fill(connection, people))
            published = await _publishing(api, people)
            unseen = await _first_look(api, "listing, never looked at")
        async with _served(made) as (core, api):
            return [
                unseen,
                await _first_look(api, "listing, first look after a restart"),
                await _asked(api, "search of 10,000 scripts", "/scripts/search", lambda: {"q": random.choice(_WORDS)}),
                await _asked(
                    api, "search that finds one of them", "/scripts/search",
                    lambda: {"q": f"a{random.randrange(SCRIPTS)}"},
                ),
                await _asked(api, "listing of 10,000 scripts", "/scripts", lambda: {"prefix": _folder()}),
                await _asked(api, "folders of 10,000 scripts", "/scripts/folders", lambda: {"folder": "team"}),
                published,
            ]  # fmt: skip


def server_in(directory: Path) -> Core:
    """Return a new server that lies in a directory."""
    return _core(config.make(directory, config.DEFAULT_LISTEN))


def _core(made: config.Config) -> Core:
    key = config.read_key(made.directory)
    return Core(made, key, Database(made.database), Repository(made.repository), OwnLedger(key), Metrics())


@asynccontextmanager
async def _served(made: config.Config) -> AsyncIterator[tuple[Core, httpx2.AsyncClient]]:
    core = _core(made)
    standing.forget()  # as a process that has just begun
    app = build(core)
    async with app.router.lifespan_context(app):
        settle()
        token = (await core.database.write(lambda c: access.make(c, "bench", ["admin"], 3600.0)))["token"]
        headers = {"Authorization": f"Bearer {token}"}
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://bench/api/v1", headers=headers) as api:
            yield core, api


def _roster(people: dict[str, PrivateKey]) -> Any:
    now = datetime.now(UTC)
    body = {
        "type": "roster", "version": 1, "issued": stamp(now), "expires": stamp(now + timedelta(days=30)),
        "roots": {"threshold": 1, "keys": [people["root"].public.to_text()]},
        "keys": [
            {"name": "ann", "key": people["ann"].public.to_text(), "roles": [{"role": "author", "namespace": ""}]},
            {"name": "bob", "key": people["bob"].public.to_text(), "roles": [{"role": "reviewer", "tier": "admin"}]},
        ],
    }  # fmt: skip
    return json.loads(sign("roster", body, people["root"]).to_json())


def _folder() -> str:
    return f"team/t{random.randrange(FOLDERS)}/"


def _bundle(name: str, source: bytes, version: str = "1.0.0") -> Bundle:
    word = random.choice(_WORDS)
    manifest = (
        f"name: {name}\nversion: {version}\nlanguage: lua\nmain: main.lua\ntier: observe\n"
        f"description: Looks after the {word} of a host and tells what is wrong.\ntags: [{word}]\n"
    )
    return Bundle.from_files({"manifest.yaml": manifest.encode(), "main.lua": source})


def _fill(connection: Connection, people: dict[str, PrivateKey]) -> None:
    """Write what publishing and approving would, except git, which no list reads."""
    now = datetime.now(UTC)
    now_us = int(now.timestamp() * 1e6)
    for number in range(SCRIPTS):
        bundle = _bundle(f"team/t{number % FOLDERS}/a{number}", b"return 1\n")
        about = {"name": bundle.manifest.name, "version": "1.0.0", "digest": bundle.digest, "tier": "observe"}
        publication = sign("publication", {"type": "publication", **about, "issued": stamp(now)}, people["ann"])
        more = {"grant": {}, "issued": stamp(now), "expires": stamp(now + timedelta(days=9)), "reason": "bench"}
        approval = sign("approval", {"type": "approval", **about, **more}, people["bob"])
        rank = Version.parse("1.0.0").rank
        connection.execute(
            insert(scripts).values(
                **about, author="ann", publication=publication.to_json(), commit="", published_us=now_us + number,
                rank=rank, visibility="account", published_by="bench", owners=["ann"], level="first",
            )
        )  # fmt: skip
        connection.execute(
            insert(reviews).values(id=f"r{number}", digest=bundle.digest, state="approved", created_us=now_us)
        )
        connection.execute(
            insert(approvals).values(
                digest=bundle.digest, reviewer="bob", envelope=approval.to_json(), stored_us=now_us
            )
        )
        namespace.keep(connection, bundle, rank, ("ann",))


async def _first_look(api: httpx2.AsyncClient, name: str) -> Measure:
    """Look at folders one by one, each for the first time, and then at the others."""
    folders = iter(range(FOLDERS))
    found = await _asked(api, name, "/scripts", lambda: {"prefix": f"team/t{next(folders)}/"})
    for number in folders:
        _good(await api.get("/scripts", params={"prefix": f"team/t{number}/"}))
    return found


async def _asked(api: httpx2.AsyncClient, name: str, path: str, query: Any) -> Measure:
    taken, worked = [], []
    for _ in range(ASKED):
        began, cpu = time.perf_counter(), time.process_time()
        _good(await api.get(path, params=query()))
        taken.append((time.perf_counter() - began) * 1000)
        worked.append((time.process_time() - cpu) * 1000)
    return _told(name, taken, worked, "pages of 50")


async def _publishing(api: httpx2.AsyncClient, people: dict[str, PrivateKey]) -> Measure:
    taken, worked = [], []
    for number in range(PUBLISHED):
        line = b"total = 0; for index = 1, 10 do total = total + index end -- counts\n"
        source = b"-- %d\n" % number + line * (SOURCE_BYTES // len(line))
        bundle = _bundle(f"more/b{number}", source)
        body = {
            "type": "publication", "name": bundle.manifest.name, "version": "1.0.0", "digest": bundle.digest,
            "tier": "observe", "issued": stamp(datetime.now(UTC)),
        }  # fmt: skip
        told = {
            "publication": json.loads(sign("publication", body, people["ann"]).to_json()),
            "bundle": base64.b64encode(bundle.pack()).decode(),
        }
        began, cpu = time.perf_counter(), time.process_time()
        _good(await api.post("/scripts", json=told))
        taken.append((time.perf_counter() - began) * 1000)
        worked.append((time.process_time() - cpu) * 1000)
    return _told("publish of a 20 kB script", taken, worked, "beside 10,000 others; read, committed to git, durable")


def _told(name: str, taken: list[float], worked: list[float], note: str) -> Measure:
    cut = statistics.quantiles(taken, n=100)
    spread = {"p50": statistics.median(taken), "p90": cut[89], "p99": cut[98], "samples": len(taken)}
    spread["cpu_p50"] = statistics.median(worked)
    note = f"{note}; {spread['cpu_p50']:.1f} ms of processor time"
    return Measure(name, spread["p50"], "ms", TARGET_MS, spread=spread, note=note)


def _good(answer: httpx2.Response) -> None:
    if answer.status_code >= 300:
        raise RuntimeError(f"{answer.request.url}: {answer.status_code} {answer.text[:300]}")
