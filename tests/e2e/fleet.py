"""A whole Outrider in one test: a real server process, real agent processes, real keys, on free loopback ports.

Processes are started and killed as an operator's init system would; nothing is imported from ``agent`` or ``server``.
All waiting is for an event (a record, a line, a closed pipe), with a deadline, never for a time.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
from ports import free_port

from protocol.bundle import Bundle
from protocol.signing import Envelope, PrivateKey, sign

START_DEADLINE_S = 90.0  # for a machine that is busy; what does not come is told by its absence, not by its lateness
#: Of a host that takes the server's word for all that people do there.
CEILING = "highest_tier: admin\naccept_server_word: [run, schedule, session]\n"


def stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Daemon:
    """One process of ours, restarted on demand, its output kept in a file."""

    name: str
    arguments: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    _before: int = 0  # bytes of the log, of those that ran before this one

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._before = log.tell()
            self.process = subprocess.Popen(
                [sys.executable, *self.arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self, timeout_s: float = 60.0) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not stop in {timeout_s} s\n{self.tail()}") from None

    def has_said(self, text: str) -> bool:
        """Tell whether a text is in the log, since it was last started."""
        with self.log.open("rb") as log:
            log.seek(self._before)
            return text.encode() in log.read()

    def tail(self, lines: int = 40) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


@dataclass
class Fleet:
    """Server, agents, people and their keys. Use through :func:`fleet`."""

    directory: Path
    port: int = field(default_factory=free_port)
    keys: dict[str, PrivateKey] = field(default_factory=dict)
    roster_version: int = 0
    server: Daemon = field(init=False)
    agents: dict[str, Daemon] = field(default_factory=dict)
    api: httpx2.Client = field(init=False)

    def __post_init__(self) -> None:
        where = self.directory / "server"
        self.run_tool("server", "init", "--dir", str(where), "--listen", f"127.0.0.1:{self.port}")
        self.server = Daemon("server", ["-m", "server", "run", "--dir", str(where)], self.directory / "server.log")
        token = next(path for path in where.rglob("*admin*token*")).read_text().strip()
        self.api = httpx2.Client(
            base_url=f"http://127.0.0.1:{self.port}", headers={"Authorization": f"Bearer {token}"}, timeout=90.0
        )

    def run_tool(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60
        )
        assert not check or done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    # people -----------------------------------------------------------------------------------------------------

    def key(self, name: str) -> PrivateKey:
        return self.keys.setdefault(name, PrivateKey.generate())

    def roster_body(self, *, version: int | None = None, lifetime: timedelta = timedelta(days=30)) -> dict[str, Any]:
        now = datetime.now(UTC)
        people: list[tuple[str, list[dict[str, str]]]] = [
            ("author", [{"role": "author", "namespace": "checks"}]),
            ("reviewer", [{"role": "reviewer", "tier": "inspect"}]),
            ("both", [{"role": "author", "namespace": "checks"}, {"role": "reviewer", "tier": "inspect"}]),
            ("operator", [{"role": "operator", "tier": "inspect"}, {"role": "schedule"}]),
        ]
        return {
            "type": "roster",
            "version": self.roster_version if version is None else version,
            "issued": stamp(now - timedelta(hours=1)),
            "expires": stamp(now + lifetime),
            "roots": {"threshold": 1, "keys": [self.key("root").public.to_text()]},
            "keys": [{"name": name, "key": self.key(name).public.to_text(), "roles": roles} for name, roles in people],
        }

    def put_roster(self, body: Mapping[str, Any] | None = None) -> httpx2.Response:
        if body is None:
            self.roster_version += 1
            body = self.roster_body()
        envelope = sign("roster", dict(body), self.key("root"))
        return self.api.put("/api/v1/roster", json={"envelope": as_json(envelope)})

    def trust_up_to(self, tier: str) -> None:
        """Let reviewers and operators have this tier from now on."""
        self.roster_version += 1
        body = self.roster_body()
        for role in (role for person in body["keys"] for role in person["roles"] if "tier" in role):
            role["tier"] = tier
        expect(self.put_roster(body), 200)

    # scripts ----------------------------------------------------------------------------------------------------

    def publication(self, bundle: Bundle, *, author: str = "author", digest: str | None = None) -> Envelope:
        body = {
            "type": "publication",
            "name": bundle.manifest.name,
            "version": bundle.manifest.version,
            "digest": digest or bundle.digest,
            "tier": bundle.manifest.tier.label,
            "issued": stamp(datetime.now(UTC)),
        }
        return sign("publication", body, self.key(author))

    def publish(self, bundle: Bundle, publication: Envelope | None = None) -> httpx2.Response:
        envelope = publication or self.publication(bundle)
        packed = base64.b64encode(bundle.pack()).decode()
        return self.api.post("/api/v1/scripts", json={"publication": as_json(envelope), "bundle": packed})

    def approval(self, bundle: Bundle, *, reviewer: str = "reviewer", tier: str | None = None) -> Envelope:
        now = datetime.now(UTC)
        body = {
            "type": "approval",
            "name": bundle.manifest.name,
            "version": bundle.manifest.version,
            "digest": bundle.digest,
            "tier": tier or bundle.manifest.tier.label,
            "grant": {},
            "issued": stamp(now),
            "expires": stamp(now + timedelta(days=30)),
            "reason": "tested",
        }
        return sign("approval", body, self.key(reviewer))

    def approve(self, review: str, approval: Envelope) -> httpx2.Response:
        return self.api.post(f"/api/v1/reviews/{review}/approve", json={"approval": as_json(approval)})

    def publish_and_approve(self, bundle: Bundle) -> None:
        published = expect(self.publish(bundle), 201)
        expect(self.approve(published["review"], self.approval(bundle)), 200)

    def run(self, script: str, *, target: str = "host-1", wait_s: float = 60, **more: Any) -> dict[str, Any]:
        body = {"target": target, "script": script, "parameters": {}, "reason": "test", "wait_s": wait_s, **more}
        answer = expect(self.api.post("/api/v1/runs", json=body), 201)
        (run,) = answer["runs"]
        return dict(run)

    # processes --------------------------------------------------------------------------------------------------

    def start_server(self) -> None:
        self.server.start()
        self.wait_for("the server to be ready", self._ready)

    def _ready(self) -> bool:
        assert self.server.process is not None
        assert self.server.process.poll() is None, f"the server ended\n{self.server.tail()}"
        try:
            return self.api.get("/readyz").status_code == 200
        except httpx2.TransportError:
            return False

    def invite(self) -> str:
        return str(expect(self.api.post("/api/v1/invites", json={"ttl_s": 600}), 201)["token"])

    def enroll(self, name: str, token: str | None = None, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        where = self.directory / name
        where.mkdir(mode=0o700, exist_ok=True)
        return self.run_tool(
            "agent", "enroll", "--server", f"http://127.0.0.1:{self.port}", "--token", token or self.invite(),
            "--dir", str(where), "--name", name, check=check,
        )  # fmt: skip

    def add_agent(self, name: str = "host-1", *, ceiling: str | None = None) -> Daemon:
        self.enroll(name)
        text = ceiling or "highest_tier: observe\naccept_server_word: [run, schedule]\n"
        (self.directory / name / "ceiling.yaml").write_text(text)
        daemon = Daemon(
            name, ["-m", "agent", "run", "--dir", str(self.directory / name)], self.directory / f"{name}.log"
        )
        self.agents[name] = daemon
        daemon.start()
        self.wait_for(f"{name} to connect", lambda: self.connected(name))
        self.wait_for(f"{name} to say what it is", lambda: self.api.get(f"/api/v1/agents/{name}").json()["sealing_key"])
        return daemon

    def connected(self, name: str) -> bool:
        """Tell whether an agent is, and not only one that ran before it, of which the server does not know it yet."""
        daemon = self.agents[name].process
        assert daemon is not None
        assert daemon.poll() is None, f"{name} ended\n{self.agents[name].tail()}"
        if not self.agents[name].has_said("connected to the server"):
            return False
        try:
            answer = self.api.get(f"/api/v1/agents/{name}")
        except httpx2.TransportError:
            return False
        return answer.status_code == 200 and bool(answer.json().get("connected"))

    # looking ----------------------------------------------------------------------------------------------------

    def pages(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        cursor: str | None = None
        while True:
            answer = expect(self.api.get(path, params={**query, **({"cursor": cursor} if cursor else {})}), 200)
            yield from answer["items"]
            cursor = answer["next"]
            if not cursor:
                return

    def records(self, agent: str, **query: Any) -> list[dict[str, Any]]:
        return list(self.pages("/api/v1/records", agent=agent, limit=200, **query))

    def wait_for(self, what: str, look: Callable[[], Any], deadline_s: float = START_DEADLINE_S) -> Any:
        """Look until it is there. Looking again costs a request, so this paces itself by the answers it gets."""
        end = time.monotonic() + deadline_s
        while time.monotonic() < end:
            found = look()
            if found:
                return found
            pause()
        logs = "\n".join(f"--- {daemon.name}\n{daemon.tail()}" for daemon in [self.server, *self.agents.values()])
        raise AssertionError(f"waited {deadline_s} s for {what}\n{logs}")

    def close(self) -> None:
        for daemon in [*self.agents.values(), self.server]:
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.stop()
        self.api.close()


def pause() -> None:
    """Let another process have the processor for a moment: a bounded wait on a descriptor that never becomes ready."""
    import select

    select.select([], [], [], 0.02)


def is_kept(took_s: list[float], within_s: float) -> bool:
    """Hold times that were measured against what is promised: of a few in a row one must keep it, and that is enough.

    A machine that stands still for a second says nothing of us; what only looks now and then, such as every 30 s, is
    seldom in time. Measure again as long as this returns false.
    """
    if took_s and took_s[-1] < within_s:
        return True
    assert len(took_s) < 4, f"it took {', '.join(f'{each:.2f}' for each in took_s)} s, never under {within_s} s"
    return False


def in_time(measure: Callable[[], float], within_s: float) -> None:
    """Hold what ``measure`` returns, in seconds, against what is promised: as :func:`is_kept`."""
    took_s: list[float] = []
    while not is_kept(took_s, within_s):
        took_s.append(measure())


def as_json(envelope: Envelope) -> Any:
    return json.loads(envelope.to_json())


def expect(answer: httpx2.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, (
        f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text}"
    )
    return dict(answer.json()) if answer.content else {}


def script_bundle(name: str = "checks/probe", source: str = "return 1\n", **manifest: Any) -> Bundle:
    fields = {"name": name, "version": "1.0.0", "language": "lua", "main": "main.lua", "tier": "observe", **manifest}
    fields.setdefault("description", "A probe of the tests.")
    text = "".join(f"{key}: {json.dumps(value)}\n" for key, value in fields.items())
    return Bundle.from_files({"manifest.yaml": text.encode(), str(fields["main"]): source.encode()})


@contextmanager
def fleet(directory: Path) -> Iterator[Fleet]:
    made = Fleet(directory)
    try:
        made.start_server()
        expect(made.put_roster(), 200)
        yield made
    finally:
        made.close()


def descendants(pid: int) -> list[int]:
    """Every process below ``pid`` now, nearest first."""
    found: list[int] = []
    todo = [pid]
    while todo:
        parent = todo.pop()
        try:
            tasks = os.listdir(f"/proc/{parent}/task")
        except OSError:  # it is gone, and with it its children's parentage
            continue
        for task in tasks:
            try:
                children = [int(text) for text in Path(f"/proc/{parent}/task/{task}/children").read_text().split()]
            except OSError:  # that thread ended between the two looks
                continue
            found += children
            todo += children
    return found
