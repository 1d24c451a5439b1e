"""One whole server for tests: a real directory, database, repository and application, and a clock that the test moves.

Requests go through the real application without a socket; an agent's side of a link is played by ``peer.Peer``. Only
time is not real, so that what people signed (tests/protocol/world.py) is valid and can end.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
from fastapi import FastAPI
from jsonschema import Draft202012Validator
from sqlalchemy import event, text
from sqlalchemy.pool import Pool
from world import NOW, World

from protocol.bundle import Bundle
from protocol.enrolment import make_request, parse_token
from protocol.signing import Envelope, PrivateKey, sign
from server import access, config
from server.api.description import COMMITTED
from server.app import build
from server.core import Core
from server.ledger import OwnLedger
from server.metrics import Metrics
from server.repository import Repository
from server.store.database import Database

ROLES = ("viewer", "auditor", "operator", "support", "moderator", "author", "reviewer", "approver", "admin")


class MovedClock:
    """The server's time; it stands still until the test moves it, but no two readings in microseconds are equal."""

    def __init__(self, now: datetime = NOW) -> None:
        self._now = now
        self._readings = itertools.count(1)  # threads read it too, and between two steps another one may

    def now(self) -> datetime:
        return self._now

    def now_us(self) -> int:
        return int(self._now.timestamp() * 1_000_000) + next(self._readings)

    def advance(self, **duration: float) -> None:
        self._now += timedelta(**duration)


class Headquarters:
    """One server. Use through :func:`headquarters`."""

    def __init__(self, directory: Path, world: World, clock: MovedClock) -> None:
        self.directory = directory
        self.world = world
        self.clock = clock
        self.config = config.read(directory)
        self.key = config.read_key(directory)
        self.core = Core(
            self.config, self.key, _hasty(self.config.database), Repository(self.config.repository),
            OwnLedger(self.key), Metrics(),
        )  # fmt: skip
        self.app = _with_known_routes(build(self.core))
        transport = httpx2.ASGITransport(self.app, raise_app_exceptions=False)
        self.api = httpx2.AsyncClient(transport=transport, base_url="http://outrider")
        self.tokens: dict[str, str] = {}  # by role

    # asking -----------------------------------------------------------------------------------------------------

    def token(self, role: str = "admin") -> str:
        """Return a token of a principal that is called as its only role."""
        if role not in self.tokens:
            made = self.core.database.submit(lambda c: access.make(c, role, [role], 30 * 86_400.0)).result()
            self.tokens[role] = made["token"]
        return self.tokens[role]

    def authorization(self, role: str = "admin") -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(role)}"}

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        role: str = "admin",
        headers: Mapping[str, str] | None = None,
        **query: Any,
    ) -> httpx2.Response:
        given = {**self.authorization(role), **(headers or {})}
        more: dict[str, Any] = {} if body is None else {"json": body}
        answer = await self.api.request(method, f"/api/v1{path}", headers=given, params=query or None, **more)
        check_described(method, path, answer)
        return answer

    async def get(self, path: str, *, role: str = "admin", **query: Any) -> Any:
        return expect(await self.ask("GET", path, role=role, **query), 200)

    async def post(self, path: str, body: Any, status: int = 200, **more: Any) -> Any:
        return expect(await self.ask("POST", path, body, **more), status)

    async def pages(self, path: str, **query: Any) -> list[dict[str, Any]]:
        """Return all items of a list."""
        found: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            page = await self.get(path, **{**query, **cursor})
            found += page["items"]
            if page["next"] is None:
                return found
            cursor = {"cursor": page["next"]}

    async def records(self, agent: str = "server", **query: Any) -> list[dict[str, Any]]:
        return await self.pages("/records", agent=agent, **query)

    # people -----------------------------------------------------------------------------------------------------

    async def put_roster(self, version: int = 1, **changes: Any) -> httpx2.Response:
        body = self.world.roster_body(version, **changes)
        return await self.ask("PUT", "/roster", {"envelope": plain(sign("roster", body, self.world.key("root")))})

    def about(self, bundle: Bundle) -> dict[str, Any]:
        """Return what a statement about ``bundle`` names."""
        manifest = bundle.manifest
        return {"digest": bundle.digest, "name": manifest.name, "version": manifest.version}

    async def publish(self, bundle: Bundle, publication: Envelope | None = None) -> httpx2.Response:
        told = publication or self.world.publication(**self.about(bundle), tier=bundle.manifest.tier.label)
        return await self.ask("POST", "/scripts", {"publication": plain(told), "bundle": packed(bundle)})

    async def approve(self, bundle: Bundle, approval: Envelope | None = None) -> httpx2.Response:
        told = approval or self.world.approval(**self.about(bundle), tier=bundle.manifest.tier.label)
        (review,) = [item for item in await self.pages("/reviews") if item["digest"] == bundle.digest]
        return await self.ask("POST", f"/reviews/{review['id']}/approve", {"approval": plain(told)})

    async def withdraw(self, bundle: Bundle, *signers: str) -> httpx2.Response:
        told = self.world.withdrawal(*signers, **self.about(bundle))
        return await self.ask("POST", "/scripts/withdraw", {"envelope": plain(told)})

    async def bring_in(self, bundle: Bundle) -> Bundle:
        """Publish and approve."""
        expect(await self.publish(bundle), 201)
        expect(await self.approve(bundle), 200)
        return bundle

    # agents -----------------------------------------------------------------------------------------------------

    async def invite(self, **body: Any) -> str:
        return str((await self.post("/invites", body, 201))["token"])

    async def enrol(self, token: str, key: PrivateKey, name: str | None = None, **more: Any) -> httpx2.Response:
        body = make_request(parse_token(token), key, hostname="host", nonce=bytes(32), name=name, **more)
        return await self.api.post("/agent/v1/enroll", json=body)

    async def add_agent(self, name: str, key: PrivateKey | None = None, **labels: str) -> str:
        """Enrol an agent and return its id."""
        answer = await self.enrol(await self.invite(labels=labels), key or PrivateKey.generate(), name)
        return str(expect(answer, 201)["agent_id"])

    # behind the server's back -----------------------------------------------------------------------------------

    def tamper(self, statement: str, **values: Any) -> None:
        """Change the database as somebody who holds the file could."""
        self.core.database.submit(lambda connection: connection.execute(text(statement), values)).result()


class _Made(Database):
    def _migrate(self) -> None:
        return


def _hasty(path: Path) -> Database:
    """Open a database that was made before, and whose commits do not wait for the disk.

    That the steps lead to it and that commits wait is held by test_database; here both would only take time.
    """

    def relax(connection: Any, *_: object) -> None:
        connection.execute("PRAGMA synchronous=OFF")

    event.listen(Pool, "checkout", relax)
    try:
        database = _Made(path)
        database.submit(lambda _: None).result(60)  # the writer has its connection
    finally:
        event.remove(Pool, "checkout", relax)
    return database


@cache
def _forms() -> list[tuple[str, re.Pattern[str], dict[str, Draft202012Validator]]]:
    """Return method, path and the form of each answer by status, of every operation that is described."""
    told = json.loads(COMMITTED.read_text(encoding="utf-8"))
    found = []
    for path, methods in told["paths"].items():
        pattern = re.compile(re.sub(r"\{\w+\}", "[^/]+", path.removeprefix("/api/v1")))
        for method, operation in methods.items():
            forms = {}
            for status, response in operation["responses"].items():
                for content in response.get("content", {}).values():
                    schema = content.get("schema", {}) | {"components": told["components"]}
                    forms[status] = Draft202012Validator(schema)
            found.append((method.upper(), pattern, forms))
    # Where two patterns fit, the one without a parameter is the route's.
    return sorted(found, key=lambda item: "[^/]+" in item[1].pattern)


def check_described(method: str, path: str, answer: httpx2.Response) -> None:
    """Hold an answer against what the committed description says about it."""
    for known, pattern, forms in _forms():
        if known == method and pattern.fullmatch(path.partition("?")[0]):
            form = forms.get(str(answer.status_code), forms["default"])
            if answer.content:
                form.validate(answer.json())
            return


_ROUTES: list[Any] = []  # of the first application


def _with_known_routes(app: FastAPI) -> FastAPI:
    """Share the routes between applications: they know no server, and analysing them takes longer than most tests."""
    if _ROUTES:
        app.router.routes[:] = _ROUTES
    else:
        _ROUTES[:] = app.router.routes
    return app


@asynccontextmanager
async def headquarters(directory: Path, world: World, clock: MovedClock) -> AsyncIterator[Headquarters]:
    """Start the server in ``directory`` (made before) and end it as its process would."""
    made = Headquarters(directory, world, clock)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(made.api.aclose)
        await stack.enter_async_context(made.app.router.lifespan_context(made.app))
        yield made


def expect(answer: httpx2.Response, status: int) -> Any:
    """Return the body of an answer that must have ``status``."""
    assert answer.status_code == status, f"{answer.request.url}: {answer.status_code} {answer.text}"
    return answer.json() if answer.content else None


def refused(answer: httpx2.Response, status: int, code: str, **attributes: Any) -> dict[str, Any]:
    """Return the problem document of an answer that must be this refusal."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    told = dict(answer.json())
    assert (answer.status_code, told["status"], told["code"]) == (status, status, code), told
    assert {name: told.get(name) for name in attributes} == attributes, told
    return told


def plain(envelope: Envelope) -> dict[str, Any]:
    return dict(json.loads(envelope.to_json()))


def packed(bundle: Bundle) -> str:
    return base64.b64encode(bundle.pack()).decode()


def script(
    source: str = "return 1\n",
    *,
    name: str = "checks/disk",
    version: str = "1.2.0",
    tier: str = "observe",
    more: str = "",
    files: Mapping[str, bytes] | None = None,
) -> Bundle:
    manifest = (
        f"name: {name}\nversion: {version}\nlanguage: lua\nmain: main.lua\ntier: {tier}\n"
        f"description: A script of the tests.\n{more}"
    )
    return Bundle.from_files({"manifest.yaml": manifest.encode(), "main.lua": source.encode(), **(files or {})})
